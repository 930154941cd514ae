//! The environment as a source of values: which of its variables are meant for this program.

use super::{Error, layers::may_be_secret};
use std::{collections::BTreeMap, ffi::OsString, net::IpAddr};

/// Variables that others set too, or that are short to type, and the keys that they set.
pub(super) const SHORT: [(&str, &str); 9] = [
    ("HOSTNAME", "node.name"),
    ("HTTP_PORT", "gateway.port"),
    ("NATS", "bus.servers"),
    ("CASSANDRA", "cassandra.hosts"),
    ("CAS_USER", "cassandra.user"),
    ("CAS_PWS", "cassandra.password"),
    ("RUST_LOG", "log.level"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "trace.endpoint"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "trace.headers"),
];
/// Begins the names of all other variables of this program.
pub(super) const PREFIX: &str = "SAFE_CHAT_";
/// Variables with the prefix that are not configuration: the path of the file, and what development
/// commands use.
const NOT_KEYS: [&str; 5] = [
    "SAFE_CHAT_CONFIG",
    "SAFE_CHAT_ADMIN_AT",
    "SAFE_CHAT_TEST_",
    "SAFE_CHAT_CACHE",
    "SAFE_CHAT_STATE",
];
/// What a variable's name ends with when its value is the path of a file that holds the secret, as
/// orchestrators hand secrets to containers. Only for keys that may hold one: programs of others
/// set variables such as `RUST_LOG_FILE`.
pub(super) const IN_A_FILE: &str = "_FILE";
/// Variables with which a cluster of Akka finds its nodes. Scripts that used to start one set them.
pub(super) const OF_AKKA: [&str; 5] = [
    "AKKA_PORT",
    "CONTACT_POINTS",
    "DISCOVERY_METHOD",
    "SEEDS",
    "ENV",
];

/// The variables that are meant as configuration. One that is set to nothing counts as not set:
/// that is how compose files leave one out. One that is not UTF-8 is refused without its value,
/// which may be a secret.
pub(super) fn own<K: Into<OsString>, V: Into<OsString>>(
    environment: impl IntoIterator<Item = (K, V)>,
) -> Result<BTreeMap<String, String>, Error> {
    let mut own = BTreeMap::new();
    for (name, value) in environment {
        let (name, value) = (name.into(), value.into());
        // A misspelt name may be anything, and is only shown.
        let name = name.to_string_lossy();
        if OF_AKKA.contains(&&*name) {
            // Only that it is set matters.
            own.insert(name.into_owned(), value.to_string_lossy().into_owned());
            continue;
        }
        let names_a_file = name.strip_suffix(IN_A_FILE);
        let is_short = SHORT.iter().any(|(short, key)| {
            *short == name || (names_a_file == Some(*short) && may_be_secret(key))
        });
        let is_own = name.starts_with(PREFIX) || is_short;
        let is_key = !NOT_KEYS.iter().any(|other| name.starts_with(other));
        if !is_own || !is_key || value.is_empty() {
            continue;
        }
        let Some(text) = value.to_str() else {
            return Err(Error::Value(format!(
                "the environment variable {name} is not UTF-8: set it anew, or unset it"
            )));
        };
        if !is_of_a_service(&name, text) {
            own.insert(name.into_owned(), text.to_owned());
        }
    }
    Ok(own)
}

/// Whether Kubernetes sets such a variable, for a service whose name begins like a variable of this
/// program: `safe-chat`, `safe-chat-gateway`, `http`. As the links of containers once did:
/// `NAME_SERVICE_HOST`, `NAME_SERVICE_PORT[_PORTNAME]`, `NAME_PORT`,
/// `NAME_PORT_8080_TCP[_PROTO|_PORT|_ADDR]`. The value must fit as well:
/// `SAFE_CHAT_GATEWAY_PORT=8080` is a misspelt `SAFE_CHAT_GATEWAY__PORT`.
fn is_of_a_service(name: &str, value: &str) -> bool {
    let is_address = || value.parse::<IpAddr>().is_ok();
    let is_port = || value.parse::<u16>().is_ok();
    if name.ends_with("_SERVICE_HOST") {
        return is_address();
    }
    if name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_") {
        return is_port();
    }
    if name.ends_with("_PORT") && is_url(value) {
        return true;
    }
    let Some((_, port)) = name.rsplit_once("_PORT_") else {
        return false;
    };
    let mut parts = port.split('_');
    let numbered = parts.next().is_some_and(|part| part.parse::<u16>().is_ok());
    let protocol = parts.next().is_some_and(is_protocol);
    let fits = match parts.next() {
        None => is_url(value),
        Some("ADDR") => is_address(),
        Some("PORT") => is_port(),
        Some("PROTO") => is_protocol(value),
        Some(_) => false,
    };
    numbered && protocol && fits && parts.next().is_none()
}

/// `tcp://10.0.0.1:8080`
fn is_url(value: &str) -> bool {
    value
        .split_once("://")
        .is_some_and(|(protocol, _)| is_protocol(protocol))
}

fn is_protocol(word: &str) -> bool {
    ["tcp", "udp", "sctp"]
        .iter()
        .any(|protocol| word.eq_ignore_ascii_case(protocol))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    #[test]
    fn variables_that_kubernetes_sets_for_services_are_not_own() {
        for of_a_service in [
            ("SAFE_CHAT_SERVICE_HOST", "10.0.0.1"),
            ("SAFE_CHAT_SERVICE_PORT", "80"),
            ("SAFE_CHAT_SERVICE_PORT_HTTP", "80"),
            ("SAFE_CHAT_SERVICE_PORT_HTTP_METRICS", "8558"),
            ("SAFE_CHAT_PORT", "tcp://10.0.0.1:80"),
            ("SAFE_CHAT_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("SAFE_CHAT_PORT_80_TCP_PROTO", "tcp"),
            ("SAFE_CHAT_PORT_80_TCP_PORT", "80"),
            ("SAFE_CHAT_PORT_80_TCP_ADDR", "fd00::1"),
            ("SAFE_CHAT_GATEWAY_SERVICE_HOST", "10.0.0.1"),
            ("SAFE_CHAT_GATEWAY_PORT", "tcp://[fd00::1]:8080"),
            ("SAFE_CHAT_GATEWAY_PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("SAFE_CHAT_OPS_PORT_53_UDP", "udp://10.0.0.1:53"),
            ("SAFE_CHAT_PORT_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("HTTP_PORT", "tcp://10.0.0.1:80"),
        ] {
            assert_eq!(own([of_a_service]).unwrap().len(), 0, "{of_a_service:?}");
        }
        for meant in [
            ("SAFE_CHAT_GATEWAY_PORT", "8080"),
            ("SAFE_CHAT_PORT", "8080"),
            ("SAFE_CHAT_GATEWAY__PORT", "8080"),
            ("SAFE_CHAT_SERVICE_HOST", "gateway"),
            ("SAFE_CHAT_PORT_80_TCP_NAME", "x"),
            ("SAFE_CHAT_PORT_TCP", "tcp://10.0.0.1:80"),
            ("SAFE_CHAT_BUS__SERVERS", "tcp://10.0.0.1:4222"),
            ("HTTP_PORT", "8080"),
            ("NATS", "tcp://10.0.0.1:4222"),
        ] {
            assert_eq!(own([meant]).unwrap().len(), 1, "{meant:?}");
        }
    }

    #[test]
    fn what_is_not_utf_8_is_refused_without_its_value_and_ignored_when_foreign() {
        let odd = || OsString::from_vec(b"geheim\xe9".into());
        for name in [
            "CAS_PWS",
            "HOSTNAME",
            "SAFE_CHAT_OPS__PASSWORD",
            "SAFE_CHAT_OTHER",
        ] {
            let why = own([(OsString::from(name), odd())])
                .unwrap_err()
                .to_string();
            assert!(why.contains(name) && !why.contains("geheim"), "{why}");
        }
        for name in [
            "PATH",
            "NATS_URL",
            "SAFE_CHAT_CONFIG",
            "SAFE_CHAT_TEST_NATS",
        ] {
            assert_eq!(
                own([(OsString::from(name), odd())]).unwrap().len(),
                0,
                "{name}"
            );
        }
        assert_eq!(own([(odd(), odd())]).unwrap().len(), 0);
    }
}
