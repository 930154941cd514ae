//! Watches the servers while a node runs: whether streams and buckets are still as nats/*.json
//! define them, whether what they hold is still what was there before, and how large a message may
//! be. What it finds is the bus's [`Health`].
//!
//! It makes again what holds nothing that cannot be replaced: commands (gateways send theirs
//! again), notes and records (nodes write them again), snapshots (rooms are replayed). It never
//! makes an empty journal beside a cluster that had one; an operator does.

use super::{
    Agreed, Config,
    api::StreamInfo,
    definition::Definition,
    foreign::Foreign,
    link::Link,
    payload::{Payload, shortage},
    settings::{self, Kept},
    skipped::Skipped,
    subjects::Subjects,
    sweep::Sweep,
};
use crate::{
    bus::{Error, Fault, Health, Settings, Store},
    metric,
};
use futures::future::join_all;
use std::{
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tracing::{info, warn};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// Looks that must agree before something counts as missing: a server that starts does not know all
/// its streams at once.
const SURE: u32 = 2;
/// Looks without an answer after which a stream counts as away. Each takes up to the deadline of a
/// call; an election of a leader, some 9 s at most, is none.
const SILENT: u32 = 5;

/// Looks that are left out at a store that is not there and that a cluster does without: a login
/// that may not look at it is refused each time, and the servers note that.
const REST: u32 = 10;

/// How long it is said that events were removed.
const REMOVAL_TOLD: Duration = Duration::from_secs(600);

/// The highest position of an event that this node has seen stored.
#[derive(Clone, Default)]
pub(super) struct Reached(Arc<AtomicU64>);

impl Reached {
    pub(super) fn note(&self, position: u64) {
        self.0.fetch_max(position, Relaxed);
    }
}

/// What a bus tells its watch, and is told by it.
pub(super) struct Shared {
    pub(super) reached: Reached,
    pub(super) foreign: Foreign,
    /// The cluster's settings, once this node has agreed with them.
    pub(super) agreed: Agreed,
    pub(super) skipped: Skipped,
    /// Whether the settings said at the start where rooms are kept.
    pub(super) knew_journal: bool,
}

/// The watch over the servers of one bus.
pub(super) struct Watch {
    pub(super) link: Link,
    /// What is stored goes through this one, which knows whether there is space.
    pub(super) stores: Link,
    pub(super) payload: Payload,
    pub(super) streams: Vec<Watched>,
    pub(super) reached: Reached,
    pub(super) foreign: Foreign,
    pub(super) subjects: Arc<Subjects>,
    /// The cluster's settings, once this node has agreed with them, and why they are not so now.
    pub(super) agreed: Agreed,
    pub(super) settings: Result<(), Kept>,
    /// Whether they said at the start where rooms are kept: what counts until this node has agreed.
    pub(super) knew_journal: bool,
    pub(super) sweep: Sweep,
    pub(super) writes: bool,
    pub(super) health: watch::Sender<Health>,
}

/// A stream, and what is known of it.
pub(super) struct Watched {
    definition: Definition,
    /// Whether this node owns shards: it makes what is missing, and reads commands.
    writes: bool,
    seen: Option<Seen>,
    /// Looks in a row that found it missing, or refused.
    missing: u32,
    /// Looks in a row without an answer.
    silent: u32,
    /// Looks that are left out now.
    rest: u32,
    /// Looks in a row that found less than was there.
    behind: u32,
    /// How many events are gone from the journal that an operator removed, and since when.
    removed: Option<(u64, Instant)>,
    verdict: Verdict,
}

/// What was seen of a stream that is there.
struct Seen {
    created: String,
    last: u64,
    /// How many of its messages are gone.
    gone: u64,
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
    /// The bytes that it holds, and the most that it takes.
    filled: (u64, u64),
    /// It was made anew, or holds less than before, or something else.
    went_back: bool,
}

/// What was found, as a fault or as a warning.
fn apart<T>(found: Option<(T, bool)>) -> (Option<T>, Option<T>) {
    match found {
        Some((fault, true)) => (Some(fault), None),
        Some((warning, false)) => (None, Some(warning)),
        None => (None, None),
    }
}

impl Watched {
    pub(super) fn new(definition: Definition, writes: bool) -> Self {
        Self {
            definition,
            writes,
            seen: None,
            missing: 0,
            silent: 0,
            rest: 0,
            behind: 0,
            removed: None,
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
        let (link, foreign) = (&self.link, &self.foreign);
        let agreed = self.agreed().map(|settings| settings.journal.is_some());
        let knows_journal = agreed.unwrap_or(self.knew_journal);
        let looks = self.streams.iter_mut().map(|stream| {
            let reached = match stream.definition.store {
                Store::Events => reached,
                _ => 0,
            };
            stream.look(link, reached, foreign, knows_journal)
        });
        join_all(looks).await;
        // At once, because clients wait for it: what follows is told with the next look.
        self.tell().await;
        self.payload.look().await;
        self.look_at_settings().await;
        self.sweep().await;
    }

    /// Removes commands of no shard, once it is known for sure which shards there are.
    async fn sweep(&mut self) {
        if !self.writes || self.agreed().is_none() {
            return;
        }
        let is_commands = |it: &&Watched| it.definition.store == Store::Commands;
        if let Some(commands) = self.streams.iter().find(is_commands) {
            let (bytes, most) = commands.verdict.filled;
            self.sweep.look(&self.link, bytes, most).await;
        }
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
        next.records_lost += u64::from(back(Store::Shards));
        if back(Store::Events) {
            self.reached.0.store(0, Relaxed);
        }
        let fault = |stream: &Watched, why: &Option<Arc<str>>| {
            let store = Some(stream.definition.store);
            why.clone().map(|why| Fault { store, why })
        };
        let of_all = |why| Fault { store: None, why };
        let of_shards = |why| Fault {
            store: Some(Store::Shards),
            why,
        };
        let (others, lost) = match &self.settings {
            Err(Kept::Other(why)) => (Some(why.clone()), None),
            Err(Kept::Lost(why)) => (None, Some(why.clone())),
            _ => (None, None),
        };
        let (least, less) = apart(self.payload.shortage());
        let (optional, needed): (Vec<_>, Vec<_>) = self
            .streams
            .iter()
            .partition(|stream| stream.definition.store.is_optional());
        next.faults = needed
            .into_iter()
            .filter_map(|stream| fault(stream, &stream.verdict.fault))
            .chain(others.map(of_shards))
            .chain(least.map(of_all))
            .collect();
        next.warnings = self
            .streams
            .iter()
            .filter_map(|stream| fault(stream, &stream.verdict.warning))
            .chain(
                optional
                    .into_iter()
                    .filter_map(|stream| fault(stream, &stream.verdict.fault)),
            )
            .chain(lost.map(of_shards))
            .chain(less.map(of_all))
            .chain(self.stores.fullness().map(of_all))
            .chain(self.link.unpurged().into_iter().map(of_all))
            .chain(self.stores.unpurged().into_iter().map(of_all))
            .chain(self.foreign.warning().map(|why| Fault {
                store: Some(Store::Events),
                why,
            }))
            .chain(self.streams.iter().filter_map(|stream| {
                let store = Some(stream.definition.store);
                stream.removal().map(|why| Fault { store, why })
            }))
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

    fn agreed(&self) -> Option<Settings> {
        *self.agreed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the settings in their bucket, if that is there.
    async fn look_at_settings(&mut self) {
        let is_there = |stream: &Watched| {
            stream.definition.store == Store::Shards && stream.missing + stream.silent == 0
        };
        // Until then its start sees to them.
        let Some(mut ours) = self.agreed().filter(|_| self.writes) else {
            return;
        };
        if !self.streams.iter().any(is_there) {
            return;
        }
        let before = ours;
        match settings::keep(&self.link, &self.subjects, &mut ours).await {
            Err(Kept::Unknown) => {}
            known => self.settings = known,
        }
        if ours != before {
            let mut agreed = self.agreed.lock().unwrap_or_else(PoisonError::into_inner);
            // What this node agreed with meanwhile stands.
            *agreed = agreed.map(|now| now.learning(&ours));
        }
    }
}

fn log_changes(before: &Health, now: &Health) {
    let news = |now: &[Fault], before: &[Fault]| -> Vec<Fault> {
        let new = now.iter().filter(|fault| !before.contains(fault));
        new.cloned().collect()
    };
    let faults = news(&now.faults, &before.faults);
    let warnings = news(&now.warnings, &before.warnings);
    for fault in &faults {
        metric::BUS_FAULTS.increment(1);
        warn!(why = %fault, "the bus is not as it must be: this node is not ready, and promises nothing that it cannot keep");
    }
    for warning in &warnings {
        warn!(why = %warning, "the bus is not as it should be");
    }
    let gone =
        news(&before.faults, &now.faults).len() + news(&before.warnings, &now.warnings).len();
    // What is only said anew now is no mending.
    let mended = gone.saturating_sub(faults.len() + warnings.len());
    if mended > 0 {
        let left = now.faults.len() + now.warnings.len();
        info!(mended, left, "the bus was mended");
    }
}

impl Watched {
    /// Sees how the stream is. Without an answer the verdict of before stays, for a while.
    async fn look(&mut self, link: &Link, reached: u64, foreign: &Foreign, knows_journal: bool) {
        self.verdict.went_back = false;
        if self.rest > 0 {
            self.rest -= 1;
            return;
        }
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
                let capacity = info.config["max_bytes"].as_u64().unwrap_or(0);
                metric::BUS_CAPACITY_BYTES.of(store).set(capacity as f64);
                let bound = info.config["max_msg_size"]
                    .as_u64()
                    .map(|size| size as usize);
                let largest = bound
                    .filter(|_| matches!(self.definition.store, Store::Commands | Store::Events));
                let remedy = format!("nats stream edit {name} --max-msg-size=-1");
                let whose = format!("stream {name} takes messages of");
                let short = largest.and_then(|bytes| shortage(&whose, bytes, &remedy));
                let (least, less) = apart(short);
                if self.definition.store == Store::Events {
                    let stays = info.config["deny_delete"].as_bool().unwrap_or_default();
                    foreign.stays.store(stays, Relaxed);
                }
                let differs = self.definition.check(&info.config, knows_journal).err();
                let copies = info.cluster.as_ref();
                let away = copies.and_then(|copies| self.definition.is_short_of_copies(copies));
                let (stopped, away) = apart(away);
                let fewer_copies = self.definition.has_fewer_copies(&info.config);
                let keeps_less = bound.and_then(|bytes| self.definition.keeps_less(bytes));
                self.verdict = Verdict {
                    went_back: self.compare(link, &info, reached, foreign).await,
                    fault: differs.or(stopped).map(Into::into).or(least),
                    warning: less
                        .or(fewer_copies.or(away).map(Into::into))
                        .or(keeps_less.map(Into::into))
                        .or(self.definition.is_nearly_full(info.state.bytes, capacity)),
                    largest,
                    filled: (info.state.bytes, capacity),
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
            Err(error) => {
                self.silent += 1;
                if self.silent >= SILENT {
                    self.verdict.fault = Some(self.definition.unanswered(&error));
                }
            }
        }
        if self.definition.store.is_optional() && self.verdict.fault.is_some() {
            self.rest = REST;
        }
    }

    /// Makes a stream that is missing, unless it was the journal.
    async fn replace(&mut self, link: &Link) {
        let name = &self.definition.name;
        if self.definition.is_journal {
            self.verdict.fault = Some(self.definition.lost().into());
            return;
        }
        if !self.writes {
            self.verdict.fault = Some(self.definition.left_to_writers().into());
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
    async fn compare(
        &mut self,
        link: &Link,
        info: &StreamInfo,
        reached: u64,
        foreign: &Foreign,
    ) -> bool {
        let (created, last) = (info.created.as_str(), info.state.last_seq);
        let gone = last.saturating_sub(info.state.messages);
        let name = self.definition.name.clone();
        let behind = last < self.seen.as_ref().map_or(0, |seen| seen.last).max(reached);
        self.behind = if behind { self.behind + 1 } else { 0 };
        let went_back = match &self.seen {
            Some(seen) if seen.created != *created => true,
            // A new leader may not have caught up with itself when it is asked first.
            _ if behind => self.behind >= SURE,
            Some(seen) => !still_there(link, &name, seen).await,
            None => false,
        };
        if behind && !went_back {
            return false;
        }
        self.behind = 0;
        if went_back {
            let store = self.definition.store.as_str();
            metric::BUS_ROLLBACKS.of(store).increment(1);
            let consequence = match self.definition.store {
                Store::Events if self.definition.is_journal => {
                    "rooms are read again, and their clients start again"
                }
                Store::Events => "what is missing is read from the journal",
                Store::Commands => "gateways send again what has no answer",
                Store::Marks => "nodes note their sessions again",
                Store::Nodes | Store::Shards => "nodes write their records again",
                Store::Blobs => "rooms without a snapshot are replayed",
                Store::Packages => "devices publish their key packages again",
                Store::Welcomes => "devices that wait for a welcome are added again",
            };
            warn!(stream = %name, last, consequence, "a stream was made anew, or lost what it had stored");
        }
        if went_back && self.definition.store == Store::Events {
            foreign.forget();
        }
        let before = self.seen.as_ref().filter(|_| !went_back);
        if let Some(more) = before.and_then(|seen| gone.checked_sub(seen.gone).filter(|n| *n > 0)) {
            // What an operator's own bound drops is no news, nor what rooms let go.
            let goes = self.definition.keeps_only(&info.config).is_some()
                || self.definition.keeps_everything(&info.config).is_none();
            if !goes {
                self.note_removed(link, more, foreign).await;
            }
        }
        let is_new = |seen: &Seen| went_back || seen.last != last;
        if self.seen.as_ref().is_none_or(is_new) {
            let at = match self.definition.store {
                Store::Commands if !self.writes => None, // Another node looks.
                Store::Commands | Store::Events => stored_at(link, &name, last).await,
                // Only the last message of each key stays: what is gone proves nothing.
                _ => None,
            };
            let created = created.to_owned();
            self.seen = Some(Seen {
                created,
                last,
                gone,
                at,
            });
        } else if let Some(seen) = &mut self.seen {
            seen.gone = gone;
        }
        went_back
    }

    /// Messages were removed where no room lets any go. The foreign ones are no loss.
    async fn note_removed(&mut self, link: &Link, more: u64, foreign: &Foreign) {
        if self.definition.store != Store::Events {
            return;
        }
        let lost = more.saturating_sub(foreign.look_again(link).await);
        if self.definition.is_journal && lost > 0 {
            let before = self.removed.map_or(0, |(count, _)| count);
            self.removed = Some((before + lost, Instant::now()));
        }
    }

    /// What it means that events were removed a while ago.
    fn removal(&self) -> Option<Arc<str>> {
        let (count, since) = self.removed?;
        let name = &self.definition.name;
        (since.elapsed() < REMOVAL_TOLD).then(|| {
            format!(
                "{count} messages were removed from stream {name}, the journal of all rooms: what \
                 they held is gone, rooms go on without it (safe-chat journal verify ROOM); if \
                 that was not wanted: nats stream restore"
            )
            .into()
        })
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
    shared: Shared,
    health: watch::Sender<Health>,
) -> Watch {
    let Shared {
        reached,
        foreign,
        agreed,
        skipped,
        knew_journal,
    } = shared;
    let [commands, registry, live] = links.map(Link::clone);
    Watch {
        link: registry.clone(),
        stores: commands.clone(),
        payload: Payload::new(config, [commands, registry, live]),
        streams: definitions
            .into_iter()
            .map(|definition| Watched::new(definition, config.writes))
            .collect(),
        reached,
        foreign,
        sweep: Sweep::new(subjects.clone(), skipped),
        subjects,
        agreed,
        settings: Ok(()),
        knew_journal,
        writes: config.writes,
        health,
    }
}
