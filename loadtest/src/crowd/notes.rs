//! What happened, as it happens.

use super::{
    is_answer,
    talk::{REMEMBERED, text_of},
};
use crate::history::{Event, History, Step};
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    time::Duration,
};
use tokio::time::Instant;

/// How long a gateway that is cut off from the bus may tell what it had.
const NOTICES: Duration = Duration::from_secs(10);

/// Something to write down.
pub(super) enum Note {
    /// A message is to be sent now.
    Due {
        room: usize,
        id: String,
        at: Instant,
    },
    /// A message that was answered is sent once more.
    Again { id: String },
    /// It was not sent after all, because too many wait.
    NotMade { id: String, is_new: bool },
    /// A client did or saw something.
    Step {
        user: String,
        room: usize,
        at: Instant,
        step: Step,
    },
}

/// What is known of a message.
pub(super) struct Message {
    pub(super) room: usize,
    pub(super) due: Instant,
    pub(super) journaled: Option<Instant>,
}

/// One room.
#[derive(Default)]
pub(super) struct Room {
    pub(super) history: History,
    /// The last places that clients saw.
    saw: HashMap<String, u64>,
    /// Who is connected.
    pub(super) connected: BTreeSet<String>,
    left: BTreeSet<String>,
    pub(super) head: u64,
    /// The last messages of each user that were answered, and when.
    pub(super) answered: HashMap<String, VecDeque<(Instant, String)>>,
    last_journaled: Option<Instant>,
    /// When an operator was told that something is gone, and the places of the events that say so.
    pub(super) confirmed: Vec<(Instant, u64)>,
    /// Since when each client is without a connection.
    pub(super) free: HashMap<String, Instant>,
    altered: Vec<String>,
}

/// Everything that is written down.
pub(super) struct Notes {
    pub(super) rooms: Vec<Room>,
    /// Rooms of which an operator was told that something is gone, and which nobody new has seen
    /// since.
    pub(super) unseen: Vec<usize>,
    pub(super) messages: HashMap<String, Message>,
    pub(super) open: BTreeSet<String>,
    /// Answers to messages so far, and events seen: whether anything moves.
    pub(super) steps: usize,
    pub(super) rejected: usize,
    pub(super) connects: Vec<Instant>,
    /// Refusals for now, with their reasons.
    pub(super) refused: Vec<(Instant, String)>,
    /// Connections that ended without a `bye`.
    pub(super) lost: Vec<Instant>,
}

impl Notes {
    pub(super) fn new(rooms: usize) -> Self {
        let rooms = (0..rooms).map(|_| Room::default()).collect();
        let (messages, open) = (HashMap::new(), BTreeSet::new());
        Self {
            rooms,
            unseen: Vec::new(),
            messages,
            open,
            steps: 0,
            rejected: 0,
            connects: Vec::new(),
            refused: Vec::new(),
            lost: Vec::new(),
        }
    }

    pub(super) fn take(&mut self, note: Note) {
        match note {
            Note::Due { room, id, at } => {
                self.open.insert(id.clone());
                self.messages.insert(
                    id,
                    Message {
                        room,
                        due: at,
                        journaled: None,
                    },
                );
            }
            Note::Again { id } => drop(self.open.insert(id)),
            Note::NotMade { id, is_new } => {
                self.open.remove(&id);
                if is_new {
                    self.messages.remove(&id);
                }
            }
            Note::Step {
                user,
                room,
                at,
                step,
            } => self.step(user, room, at, step),
        }
    }

    fn step(&mut self, user: String, room: usize, at: Instant, step: Step) {
        let here = &mut self.rooms[room];
        if is_answer(&step) || matches!(step, Step::Saw(_)) {
            self.steps += 1;
        }
        match &step {
            Step::Journaled { id, seq } | Step::Repeated { id, seq } => {
                here.head = here.head.max(*seq);
                here.last_journaled = Some(at);
                if let Some(message) = self.messages.get_mut(id) {
                    message.journaled.get_or_insert(at);
                }
                let answered = here.answered.entry(user.clone()).or_default();
                answered.push_back((at, id.clone()));
                if answered.len() > REMEMBERED {
                    answered.pop_front();
                }
            }
            Step::Rejected { .. } => self.rejected += 1,
            Step::Refused { reason, .. } => self.refused.push((at, reason.clone())),
            Step::Connected { .. } => {
                self.connects.push(at);
                here.connected.insert(user.clone());
                let told = here.told(&user);
                let steps = here.history.clients.entry(user).or_default();
                steps.push(step);
                return steps.extend(told);
            }
            Step::Closed { bye } => {
                if !bye {
                    self.lost.push(at);
                }
                here.connected.remove(&user);
                here.free.insert(user.clone(), at);
            }
            Step::Saw(event) => here.saw(&user, event),
            _ => {}
        }
        if is_answer(&step) {
            let (Step::Journaled { id, .. }
            | Step::Repeated { id, .. }
            | Step::Rejected { id, .. }) = &step
            else {
                return;
            };
            self.open.remove(id);
        }
        here.history.clients.entry(user).or_default().push(step);
    }

    pub(super) fn last_journaled(&self) -> Vec<Option<Instant>> {
        self.rooms.iter().map(|room| room.last_journaled).collect()
    }

    /// Everything is answered, and everybody saw it.
    pub(super) fn is_settled(&self) -> bool {
        self.open.is_empty() && self.rooms.iter().all(Room::is_settled)
    }

    pub(super) fn is_over(&self) -> bool {
        self.rooms.iter().all(|room| room.connected.is_empty())
    }

    pub(super) fn has_read_all(&self, room: usize, user: &str) -> bool {
        let room = &self.rooms[room];
        room.saw.get(user).is_some_and(|saw| *saw == room.head)
            && room.saw.values().all(|saw| *saw == room.head)
    }

    pub(super) fn has_left(&self, room: usize, user: &str) -> bool {
        self.rooms[room].left.contains(user)
    }

    pub(super) fn liveness(&self) -> Vec<String> {
        let mut broken: Vec<String> = self
            .rooms
            .iter()
            .enumerate()
            .flat_map(|(n, room)| {
                room.history
                    .liveness()
                    .into_iter()
                    .map(move |it| told(n, &it))
            })
            .collect();
        // Made, but never on a connection: the history does not know them.
        let known = |id: &&String| !broken.iter().any(|it| it.contains(&format!("{id} of ")));
        let more: Vec<_> = self
            .open
            .iter()
            .filter(known)
            .map(|id| format!("{id} was never answered"))
            .collect();
        broken.extend(more);
        broken
    }

    pub(super) fn safety(&self) -> Vec<String> {
        let rooms = self.rooms.iter().enumerate();
        rooms
            .flat_map(|(n, room)| {
                let broken = room
                    .history
                    .safety()
                    .into_iter()
                    .map(move |it| told(n, &it));
                broken.chain(room.altered.iter().map(move |it| told(n, &it)))
            })
            .collect()
    }
}

impl Room {
    fn saw(&mut self, user: &str, event: &Event) {
        self.head = self.head.max(event.seq);
        self.saw.insert(user.to_owned(), event.seq);
        match event.kind.as_str() {
            "left" => drop(self.left.insert(event.from.clone())),
            "joined" => drop(self.left.remove(&event.from)),
            // What they are about is for the history.
            "purged" | "erased" => {}
            _ => {
                let wanted = event.id.as_deref().map(text_of);
                let is_other = event.text != wanted && !(event.erased && event.text.is_none());
                if wanted.is_none() || is_other {
                    self.altered.push(format!(
                        "seq {} of {} is not what was sent as {:?}",
                        event.seq, event.from, event.id
                    ));
                }
            }
        }
    }

    /// The first place that somebody was shown.
    pub(super) fn first_shown(&self, user: &str) -> Option<u64> {
        let mut steps = self.history.clients.get(user)?.iter();
        steps.find_map(|step| match step {
            Step::Saw(event) => Some(event.seq),
            _ => None,
        })
    }

    /// Whether somebody has seen the last event.
    pub(super) fn has_seen_end(&self, user: &str) -> bool {
        self.saw.get(user) == Some(&self.head)
    }

    /// Who connects learns of what was confirmed before he began to: of that nobody is told any
    /// more then.
    fn told(&self, user: &str) -> Option<Step> {
        let began = *self.free.get(user)?;
        let before = self
            .confirmed
            .iter()
            .filter(|(at, _)| *at + NOTICES < began);
        let seq = before.map(|(_, seq)| *seq).max()?;
        Some(Step::Told { seq })
    }

    fn is_settled(&self) -> bool {
        self.connected.len() == self.history.clients.len()
            && self
                .history
                .clients
                .keys()
                .all(|user| self.saw.get(user) == Some(&self.head))
    }
}

fn told(room: usize, what: &impl std::fmt::Display) -> String {
    format!("room {}: {what}", room + 1)
}
