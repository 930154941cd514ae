//! The adapters behind the ports, as the configuration chooses them. Waits for servers that are not
//! there yet.

use super::{
    Ports, cassandra,
    look::{found_again, strange},
    wait::{Outlook, Wait},
};
use crate::{
    access::Access,
    bus::{
        Error as BusError, Role, Settings,
        nats::{self, Nats, Survey, survey},
    },
    config::{Config, JournalKind},
    journal::{Behind, Journal, bus::OnBus},
    ops::{Accounts, Readiness, banner::Fact},
    room::Shards,
};
use anyhow::Context;
use std::sync::Arc;

/// Says which file that the configuration names cannot be used, if one cannot. Connects to nothing.
pub(crate) fn check_files(config: &Config) -> anyhow::Result<()> {
    let shards = config.cluster.validate()?;
    let of_gateway = config.gateway.identity();
    of_gateway.context("gateway.tls_certificate, gateway.tls_key")?;
    Access::load(&config.access).context("access")?;
    Accounts::load(&config.ops).context("ops.operators_file")?;
    nats::check_files(&nats_config(config, shards)).context("bus")?;
    if config.journal.kind == JournalKind::Cassandra {
        let of_cassandra = config.cassandra.check_files();
        of_cassandra.context("cassandra.tls_ca, tls_certificate, tls_key")?;
    }
    Ok(())
}

/// How the servers of the bus are. One attempt.
pub(crate) async fn examine_bus(config: &Config) -> anyhow::Result<nats::Examined> {
    let shards = config.cluster.validate()?;
    Ok(nats::examine(&nats_config(config, shards)).await?)
}

/// Connects to NATS and to the journal, and makes or checks what is needed there.
pub(super) async fn ports(
    config: &Config,
    shards: Shards,
    readiness: &Readiness,
) -> anyhow::Result<(Ports, Nats)> {
    let nats = bus(config, shards, readiness).await?;
    let mut facts: Vec<Fact> = vec![(
        "bus",
        format!(
            "{} (nats-server {}), prefix {}",
            config.bus.shown(),
            nats.server_version(),
            config.bus.prefix
        ),
    )];
    let wanted = found_again(config, &nats, super::known(config)).await?;
    let settings = super::agree(config, &nats, wanted).await?;
    settings.check_complete()?;
    let bus = Arc::new(nats.clone());
    let (journal, mut fact, behind) = journal(config, readiness, bus.clone(), settings).await?;
    if config.node.has(Role::Writer) {
        let keeps = config.writer.retention();
        fact += &format!("; rooms keep {keeps}, unless an operator says otherwise of one");
    }
    facts.push(("journal", fact));
    facts.extend(settings.cluster.map(|id| ("cluster", id.to_string())));
    let ports = Ports {
        bus,
        journal,
        behind,
        facts,
    };
    Ok((ports, nats))
}

async fn bus(config: &Config, shards: Shards, readiness: &Readiness) -> anyhow::Result<Nats> {
    let settings = nats_config(config, shards);
    let patience = config.node.start_timeout();
    let wait = Wait {
        what: "NATS",
        address: config.bus.shown(),
        flag: "--nats",
        patience,
        readiness,
    };
    wait.until(
        || connected(config, &settings),
        |error| match error {
            BusError::Unusable(_) => Outlook::Hopeless,
            BusError::Denied(_) => Outlook::Denied,
            _ => Outlook::Absent,
        },
    )
    .await
}

/// Connects, unless that would make a cluster anew which is there under another prefix.
async fn connected(config: &Config, settings: &nats::Config) -> Result<Nats, BusError> {
    if config.journal.kind == JournalKind::Cassandra {
        let found = survey(settings).await?;
        let is_new = matches!(found, Survey::Nothing(_));
        if let Some(why) = strange(config, &found, None).await.filter(|_| is_new) {
            return Err(BusError::Unusable(why));
        }
    }
    let connected = Nats::connect(settings).await;
    connected.map_err(|error| match error {
        BusError::Full(why) => BusError::Denied(format!(
            "NATS at {} has no space left for the streams of a node ({why}): give its servers, or \
             this account, more for JetStream (max_file_store, nats account info), or remove \
             streams that nobody uses (nats stream report)",
            config.bus.shown()
        )),
        error => error,
    })
}

pub(super) fn nats_config(config: &Config, shards: Shards) -> nats::Config {
    let on_bus = config.journal.kind == JournalKind::Bus;
    nats::Config {
        servers: config.bus.servers.clone(),
        node: config.node.name.clone(),
        writes: config.node.has(Role::Writer),
        login: config.bus.login(),
        tls: config.bus.tls(),
        prefix: config.bus.prefix.clone(),
        replicas: config.bus.replicas,
        shards,
        command_bytes: config.bus.command_bytes,
        key_bytes: config.bus.key_bytes,
        welcome_bytes: config.bus.welcome_bytes,
        event_bytes: (!on_bus).then_some(config.bus.event_bytes),
        ..nats::Config::default()
    }
}

async fn journal(
    config: &Config,
    readiness: &Readiness,
    bus: Arc<Nats>,
    settings: Settings,
) -> anyhow::Result<(Arc<dyn Journal>, String, Option<Behind>)> {
    let shards = config.cluster.validate()?;
    if config.journal.kind == JournalKind::Bus {
        let fact = match bus.keeps_only().await {
            None => "on the bus: its stream drops nothing by itself".into(),
            Some(bounds) => format!("on the bus: its stream drops old events ({bounds})"),
        };
        return Ok((Arc::new(OnBus::new(bus, shards)), fact, None));
    }
    cassandra::journal(config, readiness, &bus, settings).await
}
