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
use std::time::Duration;
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

const MIB: u64 = 1024 * 1024;
/// How long the assignment of shards must stay as it is to count as settled.
const SETTLED: Duration = Duration::from_secs(1);

/// Says what this node is and what it found: a banner for people, one object for machines.
pub(super) fn announce(config: &Config, running: &Running, ports: &[Fact]) {
    if is_open_to_all(config) {
        warn!(
            host = config.gateway.host,
            "every room is open: whoever reaches this port may read all of them and take any free \
             name; set access.rooms or access.default, or let nobody reach it who must not"
        );
    }
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

/// Whether others than this machine reach rooms, and nothing is asked of them.
fn is_open_to_all(config: &Config) -> bool {
    config.node.has(Role::Gateway) && !config.gateway.is_loopback() && config.access.is_open()
}

/// Says how many shards this node writes, once for each time that the assignment has settled.
pub(super) async fn tell_shards(
    mut views: watch::Receiver<View>,
    shards: u16,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut told = 0;
    let tell = async {
        while let Some(owned) = settled(&mut views, told).await {
            told = owned;
            info!(
                shards = told,
                of = shards,
                "writes {told} of {shards} shards"
            );
        }
    };
    stop.run_until_cancelled(tell).await;
    stop.cancelled().await;
    Ok(())
}

/// How many shards this node writes when that is not `told` any more and has not changed for a
/// while: shards come and go one by one. `None`: the cluster part has ended.
async fn settled(views: &mut watch::Receiver<View>, told: usize) -> Option<usize> {
    let is_news = |view: &View| view.fresh && view.waiting == 0 && view.owned.len() != told;
    loop {
        let owned = views.wait_for(is_news).await.ok()?.owned.len();
        let changed = views.wait_for(|view| !is_news(view) || view.owned.len() != owned);
        match timeout(SETTLED, changed).await {
            Err(_) => return Some(owned),
            Ok(changed) => drop(changed.ok()?),
        }
    }
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
    let access = match (config.access.is_open(), is_open_to_all(config)) {
        (true, true) => "OPEN to whoever reaches the port: any name, every room",
        (true, false) => "open: any name, every room",
        (false, _) => "by the policy of each room",
    };
    facts.push(("access", access.into()));
    let operators = running.accounts().described();
    if config.ops.probes().is_some() {
        let probes = running.probes_address();
        facts.push((
            "internal",
            format!("http://{internal}/: management ({operators})"),
        ));
        facts.push(("probes", format!("http://{probes}/ready, /live, /metrics")));
    } else {
        let all = format!("http://{internal}/ready, /live, /metrics, and management ({operators})");
        facts.push(("internal", all));
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::ShardId;
    use tokio::time::{Instant, sleep};

    fn view(owned: u16, waiting: usize) -> View {
        View {
            owned: (0..owned).map(ShardId).collect(),
            waiting,
            fresh: true,
            ..View::default()
        }
    }

    #[test]
    fn only_who_lets_others_into_every_room_is_warned_of() {
        let mut config = Config::default();
        assert!(!is_open_to_all(&config), "on loopback");
        config.gateway.host = "0.0.0.0".into();
        assert!(is_open_to_all(&config));
        config.node.roles = vec![Role::Writer];
        assert!(!is_open_to_all(&config), "nobody comes in here");
        config.node.roles = vec![Role::Gateway];
        config.access.rooms = vec!["team-*=token".into()];
        assert!(!is_open_to_all(&config));
    }

    #[tokio::test(start_paused = true)]
    async fn shards_that_come_and_go_one_by_one_are_told_once() {
        let (sender, mut views) = watch::channel(view(0, 64));
        let begun = Instant::now();
        let moves = async {
            for owned in (1..=64).chain((32..64).rev()) {
                sleep(Duration::from_millis(20)).await;
                let waiting = if begun.elapsed() < SETTLED { 64 } else { 0 };
                sender.send_replace(view(owned, waiting));
            }
            sleep(SETTLED * 3).await;
            sender.send_replace(view(33, 0));
            sleep(SETTLED * 3).await;
            drop(sender);
        };
        let told = async {
            let mut all = vec![0];
            while let Some(owned) = settled(&mut views, *all.last().unwrap()).await {
                all.push(owned);
            }
            all
        };
        let ((), told) = tokio::join!(moves, told);
        assert_eq!(told, [0, 32, 33]);
    }
}
