//! Watches the servers while a node runs: whether streams and buckets are still as nats/*.json
//! define them, whether what they hold is still what was there before, and how large a message may
//! be. What it finds is the bus's [`Health`].
//!
//! It makes again what holds nothing that cannot be replaced: commands (gateways send theirs
//! again), notes and records (nodes write them again), snapshots (rooms are replayed). It never
//! makes an empty journal beside a cluster that had one; an operator does.

use super::{
    Config,
    definition::Definition,
    link::Link,
    payload::{self, Payload},
    registry,
    subjects::Subjects,
};
use crate::{
    bus::{Error, Fault, Health, Settings, Store},
    metric,
};
use futures::future::join_all;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{sync::watch, time::sleep};
use tracing::{info, warn};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// Looks that must agree before something counts as missing: a server that starts does not know all
/// its streams at once.
const SURE: u32 = 2;
/// Looks without an answer after which a stream counts as away. Each takes up to the deadline of a
/// call; an election of a leader, some 9 s at most, is none.
const SILENT: u32 = 5;

/// The highest position of an event that this node has seen stored.
#[derive(Clone, Default)]
pub(super) struct Reached(Arc<AtomicU64>);

impl Reached {
    pub(super) fn note(&self, position: u64) {
        self.0.fetch_max(position, Relaxed);
    }
}

/// The watch over the servers of one bus.
pub(super) struct Watch {
    pub(super) link: Link,
    /// What is stored goes through this one, which knows whether there is space.
    pub(super) stores: Link,
    pub(super) payload: Payload,
    pub(super) streams: Vec<Watched>,
    pub(super) reached: Reached,
    pub(super) subjects: Arc<Subjects>,
    /// The cluster's settings may be lost, and are to be stored again.
    pub(super) settings_lost: bool,
    pub(super) health: watch::Sender<Health>,
}

/// A stream, and what is known of it.
pub(super) struct Watched {
    definition: Definition,
    seen: Option<Seen>,
    /// Looks in a row that found it missing, or refused.
    missing: u32,
    /// Looks in a row without an answer.
    silent: u32,
    /// Looks in a row that found less than was there.
    behind: u32,
    verdict: Verdict,
}

/// What was seen of a stream that is there.
struct Seen {
    created: String,
    last: u64,
    /// When the message at `last` was stored; `None`: it was removed.
    at: Option<i128>,
}

/// What a look gave.
#[derive(Default)]
struct Verdict {
    fault: Option<Arc<str>>,
    warning: Option<Arc<str>>,
    /// The most bytes of a message, if the stream has such a bound.
    largest: Option<usize>,
    /// It was made anew, or holds less than before, or something else.
    went_back: bool,
}

impl Watched {
    pub(super) fn new(definition: Definition) -> Self {
        Self {
            definition,
            seen: None,
            missing: 0,
            silent: 0,
            behind: 0,
            verdict: Verdict::default(),
        }
    }
}

/// The bus's health as it is before the first look, when every definition was just made or checked.
pub(super) fn channel() -> (watch::Sender<Health>, watch::Receiver<Health>) {
    watch::channel(Health::default())
}

impl Watch {
    /// Looks at once, then every second and after each reconnect, until nobody asks for the health
    /// any more.
    pub(super) async fn run(mut self) {
        let mut gaps = self.link.gaps();
        loop {
            self.look().await;
            tokio::select! {
                biased; // The end first; a reconnect before the time.
                () = self.health.closed() => return,
                _ = gaps.changed() => {}
                () = sleep(EVERY) => {}
            }
        }
    }

    async fn look(&mut self) {
        if self.link.ready().is_err() {
            return; // The connection says so itself.
        }
        let reached = self.reached.0.load(Relaxed);
        let link = &self.link;
        let looks = self.streams.iter_mut().map(|stream| {
            let reached = match stream.definition.store {
                Store::Events => reached,
                _ => 0,
            };
            stream.look(link, reached)
        });
        join_all(looks).await;
        self.payload.look().await;
        self.tell().await;
    }

    /// Tells what is different now.
    async fn tell(&mut self) {
        let mut next = self.health.borrow().clone();
        let back = |store| {
            self.streams
                .iter()
                .any(|stream| stream.definition.store == store && stream.verdict.went_back)
        };
        let lost_journal = self
            .streams
            .iter()
            .any(|stream| stream.definition.is_journal && stream.verdict.went_back);
        next.rollbacks += u64::from(lost_journal);
        next.marks_lost += u64::from(back(Store::Marks));
        if back(Store::Shards) {
            next.records_lost += 1;
            self.settings_lost = true;
        }
        let unsettled = match self.settings_lost {
            true => self.restore_settings().await.err(),
            false => None,
        };
        self.settings_lost = unsettled.is_some();
        if back(Store::Events) {
            self.reached.0.store(0, Relaxed);
        }
        let fault = |stream: &Watched, why: &Option<Arc<str>>| {
            let store = Some(stream.definition.store);
            why.clone().map(|why| Fault { store, why })
        };
        next.faults = self
            .streams
            .iter()
            .filter_map(|stream| fault(stream, &stream.verdict.fault))
            .collect();
        next.warnings = self
            .streams
            .iter()
            .filter_map(|stream| fault(stream, &stream.verdict.warning))
            .chain(unsettled.map(|why| Fault {
                store: Some(Store::Shards),
                why,
            }))
            .chain(self.payload.warning().map(|why| Fault { store: None, why }))
            .chain(self.stores.fullness().map(|why| Fault { store: None, why }))
            .collect();
        let bounds = self.streams.iter().filter_map(|s| s.verdict.largest);
        next.largest = bounds.fold(self.payload.largest(), usize::min);
        metric::BUS_FAULTS_NOW.set(next.faults.len() as f64);
        metric::BUS_WARNINGS_NOW.set(next.warnings.len() as f64);
        let before = self.health.borrow().clone();
        if before != next {
            log_changes(&before, &next);
            self.health.send_replace(next);
        }
    }

    /// The records of shards were lost, and with them the cluster's settings; a node that starts
    /// must not choose others.
    async fn restore_settings(&self) -> Result<(), Arc<str>> {
        let ours = Settings {
            shards: self.subjects.shards().count(),
        };
        let bucket = self.subjects.bucket("SHARDS");
        match registry::settings(&self.link, &self.subjects, &ours).await {
            Ok(stored) if stored == ours => Ok(()),
            Ok(stored) => Err(format!(
                "the settings in {bucket} say {} shards where this cluster has {}: stop the nodes \
                 that were started since, and remove the key `settings`",
                stored.shards, ours.shards
            )
            .into()),
            // Without its details, which may differ each time: one warning is enough.
            Err(_) => Err(format!(
                "the cluster's settings in {bucket} were lost and cannot be stored: a node that \
                 starts now may choose other shards"
            )
            .into()),
        }
    }
}

fn log_changes(before: &Health, now: &Health) {
    let news = |now: &[Fault], before: &[Fault]| -> Vec<Fault> {
        let new = now.iter().filter(|fault| !before.contains(fault));
        new.cloned().collect()
    };
    for fault in news(&now.faults, &before.faults) {
        metric::BUS_FAULTS.increment(1);
        warn!(why = %fault, "the bus is not as it must be: this node is not ready, and promises nothing that it cannot keep");
    }
    for warning in news(&now.warnings, &before.warnings) {
        warn!(why = %warning, "the bus is not as it should be");
    }
    let gone =
        news(&before.faults, &now.faults).len() + news(&before.warnings, &now.warnings).len();
    if gone > 0 {
        let left = now.faults.len() + now.warnings.len();
        info!(mended = gone, left, "the bus was mended");
    }
}

impl Watched {
    /// Sees how the stream is. Without an answer the verdict of before stays, for a while.
    async fn look(&mut self, link: &Link, reached: u64) {
        self.verdict.went_back = false;
        let name = &self.definition.name;
        match self.definition.find(link).await {
            Ok(Some(info)) => {
                (self.missing, self.silent) = (0, 0);
                let store = self.definition.store.as_str();
                metric::BUS_STORED_MESSAGES
                    .of(store)
                    .set(info.state.messages as f64);
                metric::BUS_STORED_BYTES
                    .of(store)
                    .set(info.state.bytes as f64);
                let largest = info.config["max_msg_size"]
                    .as_u64()
                    .map(|size| size as usize);
                let largest = largest
                    .filter(|_| matches!(self.definition.store, Store::Commands | Store::Events));
                let too_small = largest.filter(|bytes| *bytes < payload::NEEDED).map(|bytes| {
                    format!(
                        "stream {name} takes messages of {bytes} bytes, fewer than {}: larger ones are refused; nats stream edit {name} --max-msg-size=-1",
                        payload::NEEDED
                    )
                });
                let went_back = self.compare(link, &info.created, info.state.last_seq, reached);
                self.verdict = Verdict {
                    went_back: went_back.await,
                    fault: self.definition.check(&info.config).err().map(Into::into),
                    warning: too_small
                        .or_else(|| self.definition.has_fewer_copies(&info.config))
                        .map(Into::into),
                    largest,
                };
            }
            Ok(None) => {
                (self.missing, self.silent) = (self.missing + 1, 0);
                if self.missing >= SURE {
                    self.replace(link).await;
                }
            }
            Err(Error::Unusable(why)) => {
                (self.missing, self.silent) = (self.missing + 1, 0);
                if self.missing >= SURE {
                    self.verdict.fault = Some(why.into());
                }
            }
            Err(_) => {
                self.silent += 1;
                if self.silent >= SILENT {
                    let why = format!(
                        "stream {name} does not answer: it has no leader (nats stream info {name})"
                    );
                    self.verdict.fault = Some(why.into());
                }
            }
        }
    }

    /// Makes a stream that is missing, unless it was the journal.
    async fn replace(&mut self, link: &Link) {
        let name = &self.definition.name;
        if self.definition.is_journal {
            self.verdict.fault = Some(self.definition.lost().into());
            return;
        }
        self.verdict.fault = match self.definition.create(link).await {
            Ok(()) => {
                warn!(stream = %name, "a stream was missing and is made again, empty");
                None
            }
            Err(error) => Some(format!("stream {name} is missing: {error}").into()),
        };
    }

    /// Whether the stream is another one now, or holds less than before, or something else at the
    /// same place. Remembers how it is.
    async fn compare(&mut self, link: &Link, created: &str, last: u64, reached: u64) -> bool {
        let name = &self.definition.name;
        let behind = last < self.seen.as_ref().map_or(0, |seen| seen.last).max(reached);
        self.behind = if behind { self.behind + 1 } else { 0 };
        let went_back = match &self.seen {
            Some(seen) if seen.created != created => true,
            // A new leader may not have caught up with itself when it is asked first.
            _ if behind => self.behind >= SURE,
            Some(seen) => !still_there(link, name, seen).await,
            None => false,
        };
        if behind && !went_back {
            return false;
        }
        self.behind = 0;
        if went_back {
            metric::BUS_ROLLBACKS.increment(1);
            let consequence = match self.definition.store {
                Store::Events if self.definition.is_journal => {
                    "rooms are read again, and their clients start again"
                }
                Store::Events => "what is missing is read from the journal",
                Store::Commands => "gateways send again what has no answer",
                Store::Marks => "nodes note their sessions again",
                Store::Nodes | Store::Shards => "nodes write their records again",
                Store::Blobs => "rooms without a snapshot are replayed",
            };
            warn!(stream = %name, last, consequence, "a stream was made anew, or lost what it had stored");
        }
        let is_new = |seen: &Seen| went_back || seen.last != last;
        if self.seen.as_ref().is_none_or(is_new) {
            let at = match self.definition.store {
                Store::Commands | Store::Events => stored_at(link, name, last).await,
                // Only the last message of each key stays: what is gone proves nothing.
                _ => None,
            };
            let created = created.to_owned();
            self.seen = Some(Seen { created, last, at });
        }
        went_back
    }
}

/// Whether the message that was the last one is still the same. One that was removed, or cannot be
/// read now, proves nothing.
async fn still_there(link: &Link, stream: &str, seen: &Seen) -> bool {
    match seen.at {
        Some(at) => stored_at(link, stream, seen.last)
            .await
            .is_none_or(|now| now == at),
        None => true,
    }
}

async fn stored_at(link: &Link, stream: &str, position: u64) -> Option<i128> {
    let message = link.at(stream, position).await.ok().flatten()?;
    Some(message.time.unix_timestamp_nanos())
}

/// The watch for a bus whose streams were just made or checked.
pub(super) fn new(
    config: &Config,
    definitions: Vec<Definition>,
    links: [&Link; 3],
    subjects: Arc<Subjects>,
    reached: Reached,
    health: watch::Sender<Health>,
) -> Watch {
    let [commands, registry, live] = links.map(Link::clone);
    Watch {
        link: registry.clone(),
        stores: commands.clone(),
        payload: Payload::new(config, [commands, registry, live]),
        streams: definitions.into_iter().map(Watched::new).collect(),
        reached,
        subjects,
        settings_lost: false,
        health,
    }
}
