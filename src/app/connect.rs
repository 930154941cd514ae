//! The adapters behind the ports, as the configuration chooses them. Waits for servers that are not there yet.

use super::{Ports, wait::Wait};
use crate::{
    bus::{
        Error as BusError,
        nats::{self, Nats},
    },
    config::{Config, JournalKind},
    journal::{
        Error as JournalError, Journal,
        bus::OnBus,
        cassandra::{self, Cassandra},
    },
    ops::{Readiness, banner::Fact},
    room::Shards,
};
use std::sync::Arc;

/// Connects to NATS and to the journal, and makes or checks what is needed there.
pub(super) async fn ports(config: &Config, shards: Shards, readiness: &Readiness) -> anyhow::Result<Ports> {
    let nats = bus(config, shards, readiness).await?;
    let mut facts: Vec<Fact> =
        vec![("bus", format!("{} (nats-server {}), prefix {}", config.bus.shown(), nats.server_version(), config.bus.prefix))];
    let bus = Arc::new(nats);
    let (journal, fact) = journal(config, shards, readiness, bus.clone()).await?;
    facts.push(("journal", fact));
    Ok(Ports { bus, journal, facts })
}

async fn bus(config: &Config, shards: Shards, readiness: &Readiness) -> anyhow::Result<Nats> {
    let on_bus = config.journal.kind == JournalKind::Bus;
    let settings = nats::Config {
        servers: config.bus.servers.clone(),
        prefix: config.bus.prefix.clone(),
        replicas: config.bus.replicas,
        shards,
        command_bytes: config.bus.command_bytes,
        event_bytes: (!on_bus).then_some(config.bus.event_bytes),
        ..nats::Config::default()
    };
    let patience = config.node.start_timeout();
    let wait = Wait { what: "NATS", address: config.bus.shown(), flag: "--nats", patience, readiness };
    wait.until(|| Nats::connect(&settings), |error| matches!(error, BusError::Unusable(_))).await
}

async fn journal(config: &Config, shards: Shards, readiness: &Readiness, bus: Arc<Nats>) -> anyhow::Result<(Arc<dyn Journal>, String)> {
    if config.journal.kind == JournalKind::Bus {
        return Ok((Arc::new(OnBus::new(bus, shards)), "on the bus: every event stays in its stream".into()));
    }
    let settings = &config.cassandra;
    let address = settings.shown();
    let wait = Wait { what: "Cassandra", address, flag: "--cassandra", patience: config.node.start_timeout(), readiness };
    let journal = wait.until(|| cassandra::connect(settings, shards), |error| matches!(error, JournalError::Unusable(_))).await?;
    let fact = cassandra_fact(config, &journal).await?;
    Ok((Arc::new(journal), fact))
}

async fn cassandra_fact(config: &Config, journal: &Cassandra) -> anyhow::Result<String> {
    let release = journal.store().release().await?;
    let (address, keyspace, events) = (config.cassandra.shown(), &config.cassandra.keyspace, config.cassandra.partition_size);
    Ok(format!("Cassandra {release} at {address}, keyspace {keyspace}, {events} events in a partition"))
}
