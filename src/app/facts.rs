//! What a node says of itself when it starts.

use super::Running;
use crate::{
    bus::Role,
    cluster::View,
    config::Config,
    journal::codec,
    ops::{
        banner::{Fact, render},
        host,
    },
    telemetry::{Format, say},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

const MIB: u64 = 1024 * 1024;

/// Says what this node is and what it found: a banner for people, one object for machines.
pub(super) fn announce(config: &Config, running: &Running, ports: &[Fact]) {
    let facts = facts(config, running, ports);
    match config.log.format {
        Format::Pretty => {
            let title = format!("safe-chat {}", env!("CARGO_PKG_VERSION"));
            say(&render(&title, &facts));
        }
        Format::Json => {
            let facts: serde_json::Map<_, _> = facts
                .into_iter()
                .map(|(name, fact)| (name.to_owned(), fact.into()))
                .collect();
            info!(version = env!("CARGO_PKG_VERSION"), facts = %serde_json::Value::from(facts), "started");
        }
    }
}

/// Says how many shards this node writes, whenever that has settled.
pub(super) async fn tell_shards(
    mut views: watch::Receiver<View>,
    shards: u16,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut told = 0;
    let tell = async {
        while let Ok(view) = views
            .wait_for(|view| view.fresh && view.waiting == 0 && view.owned.len() != told)
            .await
        {
            told = view.owned.len();
            info!("writes {told} of {shards} shards");
        }
    };
    stop.run_until_cancelled(tell).await;
    stop.cancelled().await;
    Ok(())
}

fn facts(config: &Config, running: &Running, ports: &[Fact]) -> Vec<Fact> {
    let internal = running.internal_address();
    let scheme = match config.gateway.tls_certificate {
        Some(_) => "https",
        None => "http",
    };
    let mut facts = vec![
        (
            "node",
            format!(
                "{} (incarnation {})",
                config.node.name,
                running.incarnation()
            ),
        ),
        ("roles", roles(&config.node.roles)),
    ];
    facts.extend(
        running
            .client_address()
            .map(|address| ("clients", format!("{scheme}://{address}/"))),
    );
    facts.push((
        "internal",
        format!(
            "http://{internal}/ready, /live, /metrics, and management (user {})",
            config.ops.user
        ),
    ));
    facts.extend_from_slice(ports);
    facts.push(("schema", schema()));
    facts.push(("shards", config.cluster.shards.to_string()));
    facts.push(("machine", machine()));
    facts
}

fn roles(roles: &[Role]) -> String {
    roles
        .iter()
        .map(Role::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}

fn schema() -> String {
    let older = |mapping: &codec::Mapping| {
        let older: Vec<_> = mapping
            .reads
            .iter()
            .filter(|version| **version != mapping.version)
            .map(u32::to_string)
            .collect();
        if older.is_empty() {
            String::new()
        } else {
            format!(" (reads {} too)", older.join(", "))
        }
    };
    codec::schema()
        .iter()
        .map(|mapping| format!("{mapping}{}", older(mapping)))
        .collect::<Vec<_>>()
        .join(", ")
}

fn machine() -> String {
    let memory = host::memory_limit().map_or("no memory limit".to_owned(), |bytes| {
        format!("memory limit {} MiB", bytes / MIB)
    });
    let files = host::open_files().map_or(String::new(), |files| format!(", {files} open files"));
    format!("{} cores, {memory}{files}", host::cores())
}
