//! Where clients write down what they did and saw, and how far they are.

use crate::count::Count;
use loadtest::{
    history::{Event, History, Step},
    sealed::driver::Page as Device,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

/// What all clients of a run wrote down. Clones are the same board.
#[derive(Clone, Default)]
pub(crate) struct Board(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    rooms: BTreeMap<String, Room>,
    sealed: BTreeMap<String, Holders>,
    count: Count,
    slowest: Duration,
}

/// The devices of a sealed room, by `user/device`.
pub(crate) type Holders = BTreeMap<String, Device>;

/// What the clients of a room wrote down.
#[derive(Default)]
pub(crate) struct Room {
    pub(crate) history: History,
    /// Pages that clients asked for.
    pub(crate) pages: Vec<Page>,
    /// What a client was told that no client may be told.
    pub(crate) complaints: Vec<String>,
    /// How far each client is.
    pub(crate) standing: BTreeMap<String, Standing>,
}

/// A page that a client asked for.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) client: String,
    /// How many steps the client had noted by then.
    pub(crate) steps: usize,
    pub(crate) events: Vec<Event>,
}

/// How far a client is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    /// It has a session.
    pub(crate) connected: bool,
    /// Messages that are not answered yet.
    pub(crate) open: usize,
    /// The last place that it saw.
    pub(crate) seen: u64,
    /// The members, as it was told last.
    pub(crate) members: Vec<String>,
}

impl Board {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics with it")
    }

    pub(crate) fn count(&self, what: impl Into<String>) {
        self.state().count.add(what, 1);
    }

    pub(crate) fn counted(&self) -> Count {
        self.state().count.clone()
    }

    /// A message was answered after so long.
    pub(crate) fn answered(&self, after: Duration) {
        let mut state = self.state();
        state.slowest = state.slowest.max(after);
    }

    pub(crate) fn slowest(&self) -> Duration {
        self.state().slowest
    }

    /// Changes what is written of a room.
    pub(crate) fn room<T>(&self, room: &str, change: impl FnOnce(&mut Room) -> T) -> T {
        change(self.state().rooms.entry(room.to_owned()).or_default())
    }

    /// Reads or changes what is written of sealed rooms.
    pub(crate) fn sealed<T>(&self, change: impl FnOnce(&mut BTreeMap<String, Holders>) -> T) -> T {
        change(&mut self.state().sealed)
    }

    /// Reads what is written of all rooms.
    pub(crate) fn rooms<T>(&self, read: impl FnMut((&String, &Room)) -> T) -> Vec<T> {
        self.state().rooms.iter().map(read).collect()
    }
}

impl Room {
    pub(crate) fn page(&mut self, client: &str, events: Vec<Event>) {
        let steps = self.history.clients.get(client).map_or(0, Vec::len);
        self.pages.push(Page {
            client: client.to_owned(),
            steps,
            events,
        });
    }

    pub(crate) fn step(&mut self, client: &str, step: Step) {
        self.history
            .clients
            .entry(client.to_owned())
            .or_default()
            .push(step);
    }
}
