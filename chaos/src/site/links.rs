//! The network of a site: one proxy for each way that something can take.

use super::{SPARE, places::Places};
use crate::proxy::{self, Handle, Rules};
use anyhow::{Context, Result};
use std::net::SocketAddr;

/// A way from one program to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// Of that node to NATS.
    ToBus(String),
    /// Of that node to Cassandra.
    ToJournal(String),
    /// Of clients to that node.
    ToNode(String),
    /// Of every node to NATS and Cassandra, and of every client.
    Everywhere,
}

/// All proxies.
pub struct Links(Vec<(Way, Handle)>);

impl Links {
    pub(super) async fn start(
        places: &Places,
        nats: u16,
        cassandra: usize,
        seed: u64,
    ) -> Result<Self> {
        let mut links = Vec::new();
        for i in 1..=SPARE {
            let node = format!("node-{i}");
            let mut wanted: Vec<(Way, (SocketAddr, SocketAddr))> =
                vec![(Way::ToNode(node.clone()), places.clients(i))];
            wanted.extend((0..nats).map(|n| (Way::ToBus(node.clone()), places.nats(i, n))));
            wanted.extend((0..cassandra).map(|n| (Way::ToJournal(node.clone()), places.cql(i, n))));
            for (way, (from, to)) in wanted {
                let chance = seed.wrapping_add(links.len() as u64);
                let proxy = proxy::start(from, to, chance)
                    .await
                    .with_context(|| format!("no proxy at {from}"))?;
                links.push((way, proxy));
            }
        }
        Ok(Self(links))
    }

    /// Puts rules in force on a way.
    pub fn set(&self, way: &Way, rules: Rules) {
        for (_, proxy) in self
            .0
            .iter()
            .filter(|(which, _)| *way == Way::Everywhere || which == way)
        {
            proxy.set(rules);
        }
    }

    /// All passes again.
    pub fn mend(&self) {
        self.set(&Way::Everywhere, Rules::OPEN);
    }

    /// Connections that were reset so far.
    pub fn resets(&self) -> u64 {
        self.0.iter().map(|(_, proxy)| proxy.resets()).sum()
    }
}
