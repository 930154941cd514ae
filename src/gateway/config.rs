//! The settings of the gateway, with their defaults and bounds.

use super::{
    http::{Origins, may_embed},
    limits::Proxies,
    outbox,
};
use crate::{
    listener::is_loopback,
    pressure::Pressure,
    tls::{self, Identity},
    wire::proof,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, sync::Arc, thread::available_parallelism, time::Duration};

/// How the gateway serves clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// The address to listen on. Default 127.0.0.1.
    pub host: String,
    /// The port. Default 8080; 0: any free one.
    pub port: u16,
    /// The file of the certificate (PEM; with those between it and its authority) that clients see.
    /// With it the port speaks TLS and nothing else. Read again when it changes, and on SIGHUP.
    /// Default: none, no TLS.
    pub tls_certificate: Option<PathBuf>,
    /// The file of its private key (PEM, not encrypted).
    pub tls_key: Option<PathBuf>,
    /// The most sessions and event streams at a time; beyond them a join is `unavailable`. Default
    /// 100000.
    pub max_sessions: usize,
    /// The most open TCP connections; beyond them new ones are refused with HTTP 503. Default 0:
    /// three quarters of the open files that the system lets this process have (it asks for as many
    /// as it may), which leaves the rest to NATS, Cassandra and files.
    pub max_connections: usize,
    /// The port for operators of the same node, which those who ask for it here are told; no
    /// setting.
    #[serde(skip)]
    pub internal_port: Option<u16>,
    /// As `writer.gone_after_s`; no setting of its own.
    #[serde(skip)]
    pub gone_after_s: u64,
    /// Bytes that may wait for one client before it is closed as slow (4003). 262144 to 67108864,
    /// default 1048576.
    pub backlog_bytes: usize,
    /// Threads that own the sockets of WebSockets without TLS. 0 to 1024, default 0: as many as
    /// this process has processors.
    pub socket_threads: usize,
    /// Frames that may wait for one client before it is closed as slow. 256 to 1048576, default
    /// 8192.
    pub backlog_frames: usize,
    /// Milliseconds after which a connection that asks nothing more is closed. 1000 to 3600000,
    /// default 75000: longer than the 60 s that load balancers keep connections for, so that
    /// none sends a request into a connection that is being closed.
    pub keep_alive_ms: u64,
    /// Milliseconds that a stop waits until the ends of all sessions are stored. Default 10000.
    pub drain_ms: u64,
    /// Frames per second that a session may send, understood or not; beyond them they are
    /// `rate_limited`. A question for members counts as five, a page of history as five and one
    /// more per 100 events. 0: no limit. Default 200: more than a person types and a script needs.
    pub session_rate: u32,
    /// Frames that a session may send at once after a pause. Default 1000: what a client sends
    /// again when it comes back.
    pub session_burst: u32,
    /// The same for all sessions of a user (a name with its key) at this gateway, and its messages
    /// over HTTP. 0: no limit. Default 800: four sessions at their limit, which is a person with a
    /// few devices.
    pub user_rate: u32,
    /// Default 4000.
    pub user_burst: u32,
    /// Frames and HTTP requests per second of a client address (of IPv6: a network of 64 bits);
    /// beyond them they are `rate_limited`, HTTP 429. A token or a proof that a request brings
    /// counts as five more. 0: no limit. Default 2000: ten sessions at their limit, or a few hundred
    /// people behind one address.
    pub address_rate: u32,
    /// Default 10000.
    pub address_burst: u32,
    /// Bytes of content per second that a session may send, and of frames that were not understood;
    /// beyond them what it sends is `rate_limited`. 0: no limit. Default 524288: eight of the
    /// largest messages.
    pub session_bytes_rate: u32,
    /// Bytes that a session may send at once after a pause. Default 4194304: a few times what it
    /// can have under way.
    pub session_bytes_burst: u32,
    /// The same for all sessions of a user, and its messages over HTTP. Default 2097152.
    pub user_bytes_rate: u32,
    /// Default 16777216.
    pub user_bytes_burst: u32,
    /// The same for all clients of an address. Default 5242880: one address alone must not fill the
    /// bus.
    pub address_bytes_rate: u32,
    /// Default 41943040, a sixth of what the bus keeps of commands by default.
    pub address_bytes_burst: u32,
    /// Sessions and event streams per second that an address may open. 0: no limit. Default 500:
    /// each costs the room's owner a command.
    pub join_rate: u32,
    /// Default 5000: all clients behind one address come back at once.
    pub join_burst: u32,
    /// Open connections of an address; beyond them HTTP 429. 0: no limit. Default 10000: a company
    /// behind one address.
    pub connections_per_address: usize,
    /// Different rooms in which clients of an address may be at a time; beyond them a join is
    /// refused with HTTP 429. 0: no limit. Default 10000.
    pub rooms_per_address: usize,
    /// Rooms per hour that clients of an address may make, by coming to one where nobody has been;
    /// beyond them that is `rate_limited`, HTTP 429. 0: no limit. Default 3600: whatever is made
    /// stays.
    pub new_rooms_rate: u32,
    /// Rooms that clients of an address may make at once after a pause. Default 10000.
    pub new_rooms_burst: u32,
    /// Rooms per hour that a user (a name with its key) may make. 0: no limit. Default 360.
    pub user_new_rooms_rate: u32,
    /// Rooms that a user may make at once after a pause. Default 1000.
    pub user_new_rooms_burst: u32,
    /// Names per hour under which clients of an address may come to rooms that have never seen
    /// them, for a room keeps each: beyond them that is `rate_limited`, HTTP 429. Names that a
    /// room knows are let in. 0: no limit. Default 36000: it takes ten days to fill a room.
    pub new_names_rate: u32,
    /// Such names at once after a pause. Default 1000000: everybody behind one address.
    pub new_names_burst: u32,
    /// Rooms of the whole cluster; beyond about so many nobody makes another one. They are counted
    /// once in a while, so that a few more are possible. 0: no limit. Default 1000000.
    pub max_rooms: u64,
    /// Times per hour that an identity may ask for the key packages of others, to add their devices
    /// to a sealed room; beyond them HTTP 429. 0: no limit. Default 600.
    pub key_claims_rate: u32,
    /// Times that an identity may ask at once after a pause. Default 200: more than a commit adds.
    pub key_claims_burst: u32,
    /// The same for all clients of an address: identities cost nothing. Default 1200.
    pub address_key_claims_rate: u32,
    /// Default 600.
    pub address_key_claims_burst: u32,
    /// Times per hour that devices of an address may publish key packages, some 20 KB each; beyond
    /// them HTTP 429. A new device needs three. 0: no limit. Default 360: one address alone must
    /// not fill their store.
    pub key_publish_rate: u32,
    /// Default 900: all devices behind one address come for the first time.
    pub key_publish_burst: u32,
    /// Addresses and networks of proxies whose `X-Forwarded-For` is believed, such as 10.0.0.0/8;
    /// every other client is known by the address that it connects from. Default none. Behind a
    /// proxy that is not named here all clients share the limits of one address.
    pub trusted_proxies: Vec<String>,
    /// Origins of web pages that may read rooms, open sessions and send messages here besides the
    /// server's own pages: https://app.example; all below a domain, https://*.example.org; app
    /// shells, capacitor://localhost or tauri://localhost; pages without one, null or file://; or *
    /// for every page. Others are refused with HTTP 403. Programs that are no browsers send no
    /// origin and are not held back. Default none.
    pub allowed_origins: Vec<String>,
    /// What clients call this service: the hosts in its addresses, such as chat.example or
    /// chat.example:8443. A proof of possession is for one of them, so that another server cannot
    /// pass it on. Requests for rooms that call it by another name are refused (403), for a page can
    /// have its own name lead here; addresses and localhost are its own, too, and with TLS every
    /// name is. Default none: what each request says counts, its Host or the host of its Origin,
    /// which whoever passes a proof on makes up; but on loopback (gateway.host) no other name does.
    pub public_hosts: Vec<String>,
    /// The path that the page and everything for clients is below, such as /chat-service, behind a
    /// proxy that passes paths on as they are. Default none.
    pub base_path: String,
    /// Sites whose pages may show this server's page in a frame: origins such as
    /// https://app.example, self or *. Default none.
    pub frame_ancestors: Vec<String>,
}

/// Nothing, or segments that mean themselves, each after a slash.
fn is_base_path(path: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let segment =
        |text: &str| !text.is_empty() && text != "." && text != ".." && text.chars().all(allowed);
    path.is_empty()
        || path
            .strip_prefix('/')
            .is_some_and(|rest| rest.split('/').all(segment))
}

impl Default for Config {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: 8080,
            tls_certificate: None,
            tls_key: None,
            max_sessions: 100_000,
            max_connections: 0,
            internal_port: None,
            gone_after_s: 0,
            socket_threads: 0,
            backlog_bytes: 1024 * 1024,
            backlog_frames: 8192,
            keep_alive_ms: 75_000,
            drain_ms: 10_000,
            session_rate: 200,
            session_burst: 1_000,
            user_rate: 800,
            user_burst: 4_000,
            address_rate: 2_000,
            address_burst: 10_000,
            session_bytes_rate: 512 * 1024,
            session_bytes_burst: 4 * 1024 * 1024,
            user_bytes_rate: 2 * 1024 * 1024,
            user_bytes_burst: 16 * 1024 * 1024,
            address_bytes_rate: 5 * 1024 * 1024,
            address_bytes_burst: 40 * 1024 * 1024,
            join_rate: 500,
            join_burst: 5_000,
            connections_per_address: 10_000,
            rooms_per_address: 10_000,
            new_rooms_rate: 3_600,
            new_rooms_burst: 10_000,
            user_new_rooms_rate: 360,
            user_new_rooms_burst: 1_000,
            new_names_rate: 36_000,
            new_names_burst: 1_000_000,
            max_rooms: 1_000_000,
            key_claims_rate: 600,
            key_claims_burst: 200,
            address_key_claims_rate: 1_200,
            address_key_claims_burst: 600,
            key_publish_rate: 360,
            key_publish_burst: 900,
            trusted_proxies: Vec::new(),
            allowed_origins: Vec::new(),
            public_hosts: Vec::new(),
            base_path: String::new(),
            frame_ancestors: Vec::new(),
        }
    }
}

impl Config {
    /// Says what is wrong, if something is.
    pub fn validate(&self) -> Result<(), String> {
        let within = |name: &str, value: usize, least: usize, most: usize| match (least..=most)
            .contains(&value)
        {
            true => Ok(()),
            false => Err(format!(
                "gateway.{name} must be {least} to {most}, not {value}"
            )),
        };
        within("max_sessions", self.max_sessions, 1, 10_000_000)?;
        within("max_connections", self.max_connections, 0, 10_000_000)?;
        // The least holds the largest frame (a page of history) beside what is paced.
        within(
            "backlog_bytes",
            self.backlog_bytes,
            256 * 1024,
            64 * 1024 * 1024,
        )?;
        within("socket_threads", self.socket_threads, 0, 1024)?;
        within("backlog_frames", self.backlog_frames, 256, 1024 * 1024)?;
        within(
            "keep_alive_ms",
            self.keep_alive_ms as usize,
            1_000,
            3_600_000,
        )?;
        within("drain_ms", self.drain_ms as usize, 1, 600_000)?;
        // The least lets the dearest frame through, the most keeps what a bucket forgets within
        // hours.
        let (frames, bytes) = (10..=1_000_000, 128 * 1024..=1_000_000_000);
        let limits = [
            ("session", self.session_rate, self.session_burst, &frames),
            ("user", self.user_rate, self.user_burst, &frames),
            ("address", self.address_rate, self.address_burst, &frames),
            ("join", self.join_rate, self.join_burst, &frames),
            (
                "session_bytes",
                self.session_bytes_rate,
                self.session_bytes_burst,
                &bytes,
            ),
            (
                "user_bytes",
                self.user_bytes_rate,
                self.user_bytes_burst,
                &bytes,
            ),
            (
                "address_bytes",
                self.address_bytes_rate,
                self.address_bytes_burst,
                &bytes,
            ),
        ];
        let rooms = 1..=1_000_000;
        let limits = limits.into_iter().chain([
            (
                "new_rooms",
                self.new_rooms_rate,
                self.new_rooms_burst,
                &rooms,
            ),
            (
                "user_new_rooms",
                self.user_new_rooms_rate,
                self.user_new_rooms_burst,
                &rooms,
            ),
            (
                "new_names",
                self.new_names_rate,
                self.new_names_burst,
                &rooms,
            ),
            (
                "key_claims",
                self.key_claims_rate,
                self.key_claims_burst,
                &rooms,
            ),
            (
                "address_key_claims",
                self.address_key_claims_rate,
                self.address_key_claims_burst,
                &rooms,
            ),
            (
                "key_publish",
                self.key_publish_rate,
                self.key_publish_burst,
                &rooms,
            ),
        ]);
        for (name, rate, burst, bounds) in limits {
            within(
                &format!("{name}_burst"),
                burst as usize,
                *bounds.start(),
                *bounds.end(),
            )?;
            within(&format!("{name}_rate"), rate as usize, 0, *bounds.end())?;
        }
        if let Err(wrong) = Proxies::parse(&self.trusted_proxies) {
            return Err(format!(
                "gateway.trusted_proxies: {wrong} is no address and no network: write 10.0.0.7 or 10.0.0.0/8"
            ));
        }
        if let Err(wrong) = Origins::parse(&self.allowed_origins) {
            return Err(format!(
                "gateway.allowed_origins: {wrong} is no origin: write https://app.example or \
                 https://*.example.org, without a path, capacitor://localhost, null, or *"
            ));
        }
        let no_host = |host: &&String| proof::host(host).is_none();
        if let Some(wrong) = self.public_hosts.iter().find(no_host) {
            return Err(format!(
                "gateway.public_hosts: {wrong} is no host: write chat.example or \
                 chat.example:8443, without a scheme"
            ));
        }
        if !is_base_path(&self.base_path) {
            return Err(format!(
                "gateway.base_path: {} is no path that clients can be below: write /path, of \
                 A-Z a-z 0-9 _ - . and /, without a / at the end",
                self.base_path
            ));
        }
        if let Some(wrong) = self.frame_ancestors.iter().find(|site| !may_embed(site)) {
            return Err(format!(
                "gateway.frame_ancestors: {wrong} is no site: write https://app.example, without \
                 a path, self, or *"
            ));
        }
        if self.host.is_empty() {
            return Err(
                "gateway.host is empty: name an address to listen on, such as 127.0.0.1".into(),
            );
        }
        tls::check_pair(
            ["gateway.tls_certificate", "gateway.tls_key"],
            [self.tls_certificate.is_some(), self.tls_key.is_some()],
        )
    }

    /// Whether only this machine reaches the port.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }

    /// What clients see that come with TLS, if the port speaks it.
    pub fn identity(&self) -> Result<Option<Arc<Identity>>, tls::Error> {
        let pair = self.tls_certificate.as_ref().zip(self.tls_key.as_ref());
        pair.map(|(certificate, key)| Identity::load(certificate, key))
            .transpose()
    }

    pub(super) fn backlog(&self, pressure: Pressure) -> outbox::Limits {
        outbox::Limits {
            bytes: self.backlog_bytes,
            frames: self.backlog_frames,
            pressure,
        }
    }

    pub(super) fn loops(&self) -> usize {
        match self.socket_threads {
            // Of a container as many as it may use.
            0 => available_parallelism().map_or(1, usize::from),
            count => count,
        }
    }

    pub(super) fn proxies(&self) -> Proxies {
        // What cannot be parsed is refused when the configuration is loaded.
        Proxies::parse(&self.trusted_proxies).unwrap_or_default()
    }

    pub(super) fn origins(&self) -> Origins {
        // As above.
        Origins::parse(&self.allowed_origins).unwrap_or_default()
    }

    pub(super) fn keep_alive(&self) -> Duration {
        Duration::from_millis(self.keep_alive_ms)
    }

    pub(super) fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_a_bound_names_its_key() {
        assert_eq!(Config::default().validate(), Ok(()));
        let small = Config {
            backlog_bytes: 1,
            ..Config::default()
        };
        assert!(
            small
                .validate()
                .unwrap_err()
                .starts_with("gateway.backlog_bytes must be 262144 to")
        );
        let proxy = Config {
            trusted_proxies: vec!["10.0.0.0/8".into(), "proxy.example".into()],
            ..Config::default()
        };
        assert!(
            proxy
                .validate()
                .unwrap_err()
                .contains("proxy.example is no address")
        );
    }
}
