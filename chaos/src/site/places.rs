//! Which address and port everything of a site has.
//!
//! A Cassandra driver takes the addresses of all nodes from the ring, and for all the port of the
//! one it first asked: so the proxies of a node listen on the ring's own addresses, on a port of
//! that node.

use std::net::{Ipv4Addr, SocketAddr};
use xtask::{loopback, node::Place};

/// All ports, from the one of node 1 on.
const HTTP: u16 = 8081;
const INTERNAL: u16 = 8561;
const CLIENTS: u16 = 8181;
const CQL: u16 = 9042;
const CQL_PROXY: u16 = 9143;
const NATS: u16 = 4222;
/// Ten for each node.
const NATS_PROXY: u16 = 4310;

pub(super) struct Places([Ipv4Addr; 3]);

impl Places {
    pub(super) fn of_this_process() -> Self {
        Self(loopback::three_of_pid(std::process::id()))
    }

    pub(super) fn host(&self) -> Ipv4Addr {
        self.0[0]
    }

    pub(super) fn cassandra(&self, nodes: usize) -> Vec<Ipv4Addr> {
        self.0[..nodes.min(3)].to_vec()
    }

    pub(super) fn node(&self, i: u8) -> Place {
        let i = u16::from(i) - 1;
        Place {
            host: self.host(),
            http: HTTP + i,
            internal: INTERNAL + i,
        }
    }

    /// From and to: where clients of node i connect, and where it listens.
    pub(super) fn clients(&self, i: u8) -> (SocketAddr, SocketAddr) {
        let Place { host, http, .. } = self.node(i);
        (
            (host, CLIENTS + u16::from(i) - 1).into(),
            (host, http).into(),
        )
    }

    pub(super) fn url(&self, i: u8) -> String {
        format!("http://{}", self.clients(i).0)
    }

    /// From and to: where node i connects to NATS server n, and where that listens.
    pub(super) fn nats(&self, i: u8, n: u16) -> (SocketAddr, SocketAddr) {
        let from = NATS_PROXY + 10 * (u16::from(i) - 1) + n;
        ((self.host(), from).into(), (self.host(), NATS + n).into())
    }

    pub(super) fn nats_proxies(&self, i: u8, servers: u16) -> String {
        list((0..servers).map(|n| format!("nats://{}", self.nats(i, n).0)))
    }

    /// From and to: where node i connects to Cassandra node n, and where that listens.
    pub(super) fn cql(&self, i: u8, n: usize) -> (SocketAddr, SocketAddr) {
        let host = self.0[n];
        (
            (host, CQL_PROXY + u16::from(i) - 1).into(),
            (host, CQL).into(),
        )
    }

    pub(super) fn cassandra_proxies(&self, i: u8, nodes: usize) -> String {
        list((0..nodes).map(|n| self.cql(i, n).0.to_string()))
    }
}

fn list(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::SPARE;
    use std::collections::BTreeSet;

    #[test]
    fn no_address_is_used_twice() {
        let places = Places::of_this_process();
        let mut used = BTreeSet::new();
        for i in 1..=SPARE {
            let Place { host, internal, .. } = places.node(i);
            let (proxy, http) = places.clients(i);
            let proxies =
                (0..3).flat_map(|n| [places.nats(i, n).0, places.cql(i, usize::from(n)).0]);
            for at in [proxy, http, (host, internal).into()]
                .into_iter()
                .chain(proxies)
            {
                assert!(used.insert(at), "{at}");
            }
        }
    }
}
