//! The bus within one process: a [`Hub`] in place of the servers, and a connection to it per node.
//! Exact, deterministic, and on tokio's clock only, so that many nodes run in one simulation under
//! virtual time. [`Faults`] decides what goes wrong; the hub's own methods break things from
//! outside.

mod buckets;
mod commands;
mod direct;
mod faults;
mod feed;
mod line;
mod registry;
mod state;

pub use faults::{Delivered, Fate, Faults, NoFaults, Op, Outcome, Passage};

use crate::{
    bus::{Bus, Error, Health, Held, Position},
    room::{Millis, RoomId, Seq, Shards},
};
use futures::stream::BoxStream;
use state::{Connection, State};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

/// What a hub is like.
#[derive(Debug, Clone)]
pub struct Config {
    /// How many shards there are.
    pub shards: Shards,
    /// The stored time of the moment in which the hub is made.
    pub epoch: Millis,
    /// The most commands that it keeps; beyond them it is full.
    pub commands: usize,
    /// The most events that it keeps, oldest forgotten first; `None`: all (they are the journal).
    pub events: Option<usize>,
    /// The most bytes of each small store.
    pub bucket_bytes: usize,
    /// Whether nobody can delete single events, so that rooms may let their past go.
    pub deny_delete: bool,
    /// How long a question or a probe waits for its answer.
    pub deadline: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            shards: Shards::new(64).expect("64 is a valid count"),
            epoch: Millis(1_700_000_000_000),
            commands: 1_000_000,
            events: None,
            bucket_bytes: 64 * 1024 * 1024,
            deny_delete: false,
            deadline: Duration::from_secs(5),
        }
    }
}

/// In place of the servers.
#[derive(Clone)]
pub struct Hub {
    server: Arc<Server>,
}

/// A connection to a hub. Clones are the same connection.
#[derive(Clone)]
pub struct Memory {
    server: Arc<Server>,
    connection: ConnectionId,
}

/// Names a connection to a hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub usize);

struct Server {
    config: Config,
    faults: Arc<dyn Faults>,
    started: Instant,
    state: Mutex<State>,
}

impl Hub {
    /// A hub where nothing goes wrong by itself.
    pub fn new(config: Config) -> Self {
        Self::with_faults(config, Arc::new(NoFaults))
    }

    /// A hub where `faults` decides what goes wrong.
    pub fn with_faults(config: Config, faults: Arc<dyn Faults>) -> Self {
        Self {
            server: Arc::new(Server {
                config,
                faults,
                started: Instant::now(),
                state: Mutex::default(),
            }),
        }
    }

    /// Changes what all connections, also later ones, are told of the hub's health.
    pub fn diagnose(&self, change: impl Fn(&mut Health)) {
        let mut state = self.server.state();
        change(&mut state.health);
        let told = state.connections.iter();
        told.for_each(|connection| connection.health.send_modify(&change));
    }

    /// Takes no larger commits and blobs any more, as servers do whose limit was lowered. Nodes are
    /// told by [`Hub::diagnose`].
    pub fn limit(&self, bytes: usize) {
        self.server.state().largest = Some(bytes);
    }

    /// A new connection; nodes that share one are cut off together.
    pub fn connect(&self) -> Memory {
        let mut state = self.server.state();
        let connection = Connection {
            up: watch::Sender::new(true),
            health: watch::Sender::new(state.health.clone()),
        };
        state.connections.push(connection);
        Memory {
            server: self.server.clone(),
            connection: ConnectionId(state.connections.len() - 1),
        }
    }

    /// Cuts a connection: its calls fail, nothing is delivered to it, and the hub knows nobody
    /// there.
    pub fn cut(&self, connection: ConnectionId) {
        self.server.state().connections[connection.0]
            .up
            .send_replace(false);
    }

    /// Restores a connection that was cut, with its subscriptions. Those to live events are told
    /// that they may have missed something.
    pub fn restore(&self, connection: ConnectionId) {
        let state = self.server.state();
        if state.connections[connection.0].up.send_replace(true) {
            return;
        }
        state
            .live
            .values()
            .flatten()
            .filter(|line| line.connection == connection)
            .for_each(|line| line.interrupt());
    }

    /// Loses the newest positions of both streams, as servers do that died before they synced them.
    pub fn lose_tail(&self, commands: u64, events: u64) {
        let mut state = self.server.state();
        state.commands.lose_tail(commands);
        state.lose_events(events);
    }

    /// From now on nothing, or everything, is removed of what rooms let go.
    pub fn hold(&self, held: Option<Held>) {
        self.server.state().held = held;
    }

    /// Deletes the messages of events that `which` names by room, position and last place, as an
    /// operator does who purges the stream.
    pub fn delete_events(&self, which: impl Fn(&RoomId, Position, Seq) -> bool) {
        self.server.state().delete_events(which);
    }

    /// Deletes what is stored under names, as an operator does who purges a bucket.
    pub fn delete_blobs(&self, which: impl Fn(&str) -> bool) {
        let mut state = self.server.state();
        state.blobs.entries.retain(|name, _| !which(name));
    }
}

impl Default for Hub {
    fn default() -> Self {
        Self::new(Config::default())
    }
}

impl Server {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Millis {
        Millis(self.config.epoch.0 + self.started.elapsed().as_millis() as u64)
    }
}

impl Memory {
    /// Which connection this is.
    pub fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// Changes what this connection alone is told of the hub's health: nodes look at different
    /// moments.
    pub fn diagnose(&self, change: impl FnOnce(&mut Health)) {
        let state = self.server.state();
        let connection = &state.connections[self.connection.0];
        connection.health.send_modify(change);
    }

    /// Makes a call: `step` is its one atomic effect on the hub.
    async fn call<T>(
        &self,
        op: Op,
        step: impl FnOnce(&mut State) -> Result<T, Error> + Send,
    ) -> Result<T, Error> {
        let cut_off = || {
            Error::Unavailable(format!(
                "connection {} to the hub is cut",
                self.connection.0
            ))
        };
        let unanswered = || match op.writes() {
            true => Error::Unknown(format!("no answer to {op:?}")),
            false => Error::Unavailable(format!("no answer to {op:?}")),
        };
        if !self.is_up() {
            return Err(cut_off());
        }
        let fate = self.server.faults.call(self.connection, op);
        pause(fate.before).await;
        match fate.outcome {
            Outcome::Refused => return Err(Error::Unavailable(format!("{op:?} was refused"))),
            Outcome::Vanished => return Err(unanswered()),
            Outcome::Done | Outcome::Unanswered => {}
        }
        let result = {
            let mut state = self.server.state();
            if !state.is_up(self.connection) {
                return Err(unanswered());
            }
            step(&mut state)
        };
        pause(fate.after).await;
        if fate.outcome == Outcome::Unanswered || !self.is_up() {
            return Err(unanswered());
        }
        result
    }

    fn is_up(&self) -> bool {
        self.server.state().is_up(self.connection)
    }

    /// Waits until the connection is there.
    async fn connected(&self) {
        let mut up = self.server.state().connections[self.connection.0]
            .up
            .subscribe();
        // The hub outlives its connections, so this never fails.
        let _ = up.wait_for(|up| *up).await;
    }

    /// When something that leaves the hub now arrives at `to`, and how often.
    fn passage(&self, to: ConnectionId, what: Delivered) -> (Instant, usize) {
        let passage = self.server.faults.delivery(to, what);
        (Instant::now() + passage.delay, passage.copies)
    }
}

impl Bus for Memory {
    fn ready(&self) -> Result<(), String> {
        self.is_up()
            .then_some(())
            .ok_or_else(|| format!("connection {} to the hub is cut", self.connection.0))
    }

    fn health(&self) -> watch::Receiver<Health> {
        let state = self.server.state();
        state.connections[self.connection.0].health.subscribe()
    }
}

async fn pause(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

/// The stream of what `next` returns, until it returns `None`.
fn stream<S: Send + 'static, T: Send + 'static, F>(
    start: S,
    next: impl FnMut(S) -> F + Send + 'static,
) -> BoxStream<'static, T>
where
    F: Future<Output = Option<(T, S)>> + Send + 'static,
{
    Box::pin(futures::stream::unfold(start, next))
}
