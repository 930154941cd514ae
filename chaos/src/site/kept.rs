//! Where rooms are kept.

use anyhow::Result;
use std::{net::Ipv4Addr, path::Path};
use xtask::{
    cassandra::{Cassandra, CommitLog},
    interrupt::Interrupt,
    node::Journal,
    obtain,
};

/// Where rooms are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// On the bus.
    Bus,
    /// In Cassandra.
    Cassandra,
}

impl Kept {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bus => "bus",
            Self::Cassandra => "cassandra",
        }
    }

    /// The Cassandra that it needs, one node for each address.
    pub(crate) fn ring(
        self,
        hosts: Vec<Ipv4Addr>,
        data: &Path,
        interrupt: &Interrupt,
    ) -> Result<Option<Cassandra>> {
        Ok(match self {
            Self::Bus => None,
            Self::Cassandra => Some(Cassandra {
                program: obtain::cassandra::cassandra(interrupt)?,
                hosts,
                data: data.to_owned(),
                // As nats-server, it acknowledges what is on disk.
                commit_log: CommitLog::Group,
                tls: false,
            }),
        })
    }
}

/// What nodes are told of it, where nothing is between them and it.
pub(crate) fn journal(ring: Option<&Cassandra>) -> Journal {
    match ring {
        None => Journal::Bus,
        Some(ring) => Journal::Cassandra {
            hosts: ring.addresses(),
            replication: ring.hosts.len(),
        },
    }
}
