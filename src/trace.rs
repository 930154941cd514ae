//! Follows the messages of one room or one user through a node, for as long as an operator looks
//! on: which hop each has passed and when, never what it says.
//!
//! A trace lives as long as somebody takes its steps, and a bounded time at most. While there is
//! none, a hop costs one load of an atomic.
//!
//! The same hops are spans for a collector, without names, in [`crate::telemetry::trace::hop`].

use crate::room::{CommandId, Event, Kind, RoomId, Seq, UserId};
use serde::{Deserialize, Serialize};
use std::{
    collections::VecDeque,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};
use tokio::time::Instant;
use utoipa::ToSchema;

/// Traces at a time in one node.
const TRACES: usize = 4;
/// Steps that wait to be taken; what is more is counted.
const STEPS: usize = 4096;
/// Bytes of the steps that are taken at a time, about: they travel in one message. The rest waits.
const TAKEN: usize = 256 * 1024;
/// A trace whose steps nobody takes for so long has ended.
const UNATTENDED: Duration = Duration::from_secs(5);

/// The hops of a message, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Hop {
    /// The gateway has it from its client.
    Received,
    /// The bus has stored it as a command.
    Stored,
    /// The owner of the room has decided it.
    Decided,
    /// The journal has it.
    Journaled,
    /// It is published to the gateways.
    Published,
    /// A gateway has put it into the outboxes of its clients.
    Delivered,
}

/// What happened to a message somewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Step {
    /// When, by the clock of the node: milliseconds since 1970 UTC.
    pub at: u64,
    /// How far it has come.
    pub hop: Hop,
    /// The room.
    pub room: String,
    /// Whose message it is.
    pub user: String,
    /// The id that its client gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its place in the room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// What more there is to say: to how many, under which epoch, why not.
    pub what: String,
}

impl Step {
    /// Bytes of it as JSON, at most: every other character may be escaped.
    fn size(&self) -> usize {
        let names = self.room.len() + self.user.len();
        128 + 2 * (names + self.id.as_ref().map_or(0, String::len) + self.what.len())
    }
}

/// What a trace is about: both, where both are given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Messages of this room.
    pub room: Option<RoomId>,
    /// Messages of this user.
    pub user: Option<UserId>,
}

impl About {
    fn fits(&self, room: &RoomId, user: &UserId) -> bool {
        self.room.as_ref().is_none_or(|wanted| wanted == room)
            && self.user.as_ref().is_none_or(|wanted| wanted == user)
    }
}

/// What was taken of a trace.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// What happened since the last time, in order.
    pub steps: Vec<Step>,
    /// How many steps did not fit.
    pub missed: u64,
}

/// Why nothing can be traced.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{TRACES} traces run already: end one of them, or wait until it ends by itself")]
pub struct TooMany;

/// Where the hops of a part are noted. Clones note to the same traces.
#[derive(Clone, Default)]
pub struct Tracer(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// How many traces there are; those that have ended count until the next look.
    count: AtomicUsize,
    traces: Mutex<Vec<Trace>>,
}

struct Trace {
    id: u64,
    about: About,
    /// Unless its steps are taken again before.
    until: Instant,
    steps: VecDeque<Step>,
    missed: u64,
}

/// Where a message is, as far as it is known at a hop.
pub struct At<'a> {
    /// The room.
    pub room: &'a RoomId,
    /// Whose message.
    pub user: &'a UserId,
    /// The id that its client gave it.
    pub id: Option<&'a str>,
    /// Its place.
    pub seq: Option<Seq>,
}

impl<'a> At<'a> {
    /// Of a message that has no place yet.
    pub fn message(room: &'a RoomId, user: &'a UserId, id: &'a CommandId) -> Self {
        let id = id.shown();
        let seq = None;
        Self {
            room,
            user,
            id,
            seq,
        }
    }

    /// Of an event: it has a place. `None`: it is nobody's.
    pub fn event(room: &'a RoomId, event: &'a Event) -> Option<Self> {
        let (user, id) = match &event.kind {
            Kind::Joined { user }
            | Kind::Left { user }
            | Kind::Unpinned { user, .. }
            | Kind::Erased { user, .. } => (user, None),
            Kind::Message { from, id, .. } => (from, id.as_ref().and_then(|id| id.shown())),
            Kind::Purged => return None,
        };
        let seq = Some(event.seq);
        Some(Self {
            room,
            user,
            id,
            seq,
        })
    }
}

impl Tracer {
    /// Whether anything is traced now.
    pub fn is_on(&self) -> bool {
        self.0.count.load(Ordering::Relaxed) > 0
    }

    /// Notes a hop of a message, if a trace is about it.
    pub fn note(&self, hop: Hop, at: &At<'_>, what: impl FnOnce() -> String) {
        if !self.is_on() {
            return;
        }
        let mut traces = self.living(Instant::now());
        let fits = |trace: &&mut Trace| trace.about.fits(at.room, at.user);
        let mut fitting = traces.iter_mut().filter(fits).peekable();
        if fitting.peek().is_none() {
            return;
        }
        let step = Step {
            at: now(),
            hop,
            room: at.room.to_string(),
            user: at.user.to_string(),
            id: at.id.map(str::to_owned),
            seq: at.seq.map(|seq| seq.0),
            what: what(),
        };
        for trace in fitting {
            match trace.steps.len() < STEPS {
                true => trace.steps.push_back(step.clone()),
                false => trace.missed += 1,
            }
        }
    }

    /// Notes a hop of each of these events.
    pub fn note_events<'a>(
        &self,
        hop: Hop,
        room: &RoomId,
        events: impl IntoIterator<Item = &'a Event>,
        what: impl Fn() -> String,
    ) {
        if self.is_on() {
            let events = events.into_iter();
            let places = events.filter_map(|event| At::event(room, event));
            places.for_each(|at| self.note(hop, &at, &what));
        }
    }

    /// Begins a trace or goes on with it, and takes its steps.
    pub fn take(&self, id: u64, about: &About) -> Result<Taken, TooMany> {
        let now = Instant::now();
        let mut traces = self.living(now);
        let running = traces.iter().position(|trace| trace.id == id);
        let at = match running {
            Some(at) => at,
            None if traces.len() >= TRACES => return Err(TooMany),
            None => {
                traces.push(Trace {
                    id,
                    about: about.clone(),
                    until: now,
                    steps: VecDeque::new(),
                    missed: 0,
                });
                self.0.count.store(traces.len(), Ordering::Relaxed);
                traces.len() - 1
            }
        };
        let trace = &mut traces[at];
        trace.until = now + UNATTENDED;
        let (mut steps, mut bytes) = (Vec::new(), 0);
        while bytes < TAKEN {
            let Some(step) = trace.steps.pop_front() else {
                break;
            };
            bytes += step.size();
            steps.push(step);
        }
        Ok(Taken {
            steps,
            missed: mem::take(&mut trace.missed),
        })
    }

    fn living(&self, now: Instant) -> MutexGuard<'_, Vec<Trace>> {
        let traces = self.0.traces.lock();
        let mut traces = traces.unwrap_or_else(PoisonError::into_inner);
        traces.retain(|trace| now < trace.until);
        self.0.count.store(traces.len(), Ordering::Relaxed);
        traces
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(name: &str) -> About {
        About {
            room: Some(RoomId::parse(name).unwrap()),
            user: None,
        }
    }

    fn hop(tracer: &Tracer, room: &str, user: &str) {
        let (room, user) = (RoomId::parse(room).unwrap(), UserId::parse(user).unwrap());
        let (room, user) = (&room, &user);
        let at = At {
            room,
            user,
            id: None,
            seq: None,
        };
        tracer.note(Hop::Received, &at, String::new);
    }

    fn taken(tracer: &Tracer, id: u64, about: &About) -> Vec<(String, String)> {
        let taken = tracer.take(id, about).unwrap();
        let names = |step: Step| (step.room, step.user);
        taken.steps.into_iter().map(names).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_trace_holds_what_it_is_about_from_its_beginning_on() {
        let tracer = Tracer::default();
        hop(&tracer, "aaa", "harry");
        let of_charly = About {
            room: None,
            user: Some(UserId::parse("charly").unwrap()),
        };
        assert_eq!(taken(&tracer, 1, &room("aaa")), []);
        assert_eq!(taken(&tracer, 2, &of_charly), []);
        hop(&tracer, "aaa", "harry");
        hop(&tracer, "bbb", "charly");
        let pair = |room: &str, user: &str| (room.to_owned(), user.to_owned());
        assert_eq!(taken(&tracer, 1, &room("aaa")), [pair("aaa", "harry")]);
        assert_eq!(taken(&tracer, 2, &of_charly), [pair("bbb", "charly")]);
        assert_eq!(taken(&tracer, 2, &of_charly), [], "taken once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_trace_ends_when_nobody_takes_its_steps() {
        let tracer = Tracer::default();
        taken(&tracer, 1, &room("aaa"));
        tokio::time::advance(UNATTENDED - Duration::from_millis(1)).await;
        hop(&tracer, "aaa", "harry");
        assert!(tracer.is_on());
        tokio::time::advance(Duration::from_millis(1)).await;
        hop(&tracer, "aaa", "harry");
        assert!(!tracer.is_on());
        assert_eq!(taken(&tracer, 1, &room("aaa")), [], "it begins anew");
    }

    #[tokio::test(start_paused = true)]
    async fn traces_and_their_steps_are_bounded() {
        let tracer = Tracer::default();
        for id in 0..TRACES as u64 {
            taken(&tracer, id, &room("aaa"));
        }
        assert_eq!(tracer.take(99, &room("aaa")), Err(TooMany));
        (0..STEPS + 7).for_each(|_| hop(&tracer, "aaa", "harry"));
        let first = tracer.take(0, &room("aaa")).unwrap();
        assert_eq!(first.missed, 7);
        let json = serde_json::to_vec(&first).unwrap();
        assert!(
            json.len() < TAKEN + 1024,
            "fits into a message: {}",
            json.len()
        );
        let mut taken = first.steps.len();
        loop {
            let more = tracer.take(0, &room("aaa")).unwrap();
            if more == Taken::default() {
                break;
            }
            taken += more.steps.len();
        }
        assert_eq!(taken, STEPS);
    }
}
