//! What an operator has removed while clients talk, and the look whether it is gone in the end.

use crate::operator::{Method, Operator, Question, Refusal};
use loadtest::{crowd::Record, history::Removal};
use serde_json::Value;
use std::{ops::RangeInclusive, time::Duration};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

/// How long he tries: longer than any fault lasts, and until all is mended.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long it may take until what a room is to let go is gone.
const GOES: Duration = Duration::from_secs(90);
/// How often it is looked.
const LOOK: Duration = Duration::from_millis(500);

/// What he orders. Rooms and users are counted round and round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// A room keeps so many of its last events.
    Retain {
        /// Which room.
        room: usize,
        /// How many.
        events: u64,
    },
    /// Everything in a room is forgotten.
    Purge {
        /// Which room.
        room: usize,
    },
    /// What a user said in a room goes.
    Erase {
        /// Which room.
        room: usize,
        /// Whose content.
        user: usize,
    },
}

/// Who orders, and where it is written down. Orders go on beside the faults.
pub struct Orders {
    operator: Operator,
    record: Record,
    tasks: JoinSet<Done>,
    given: usize,
}

/// What became of an order.
pub struct Done {
    /// The number of it.
    pub n: usize,
    /// When.
    pub at: Instant,
    /// Whether it was done.
    pub result: Result<(), Refusal>,
}

impl Orders {
    /// In the rooms of a record.
    pub fn new(operator: Operator, record: Record) -> Self {
        let (tasks, given) = (JoinSet::new(), 0);
        Self {
            operator,
            record,
            tasks,
            given,
        }
    }

    /// The names that an order is about: of the room, and of the user.
    pub fn names(&self, order: Order) -> Vec<String> {
        let rooms = self.record.rooms();
        let room = |room: usize| rooms[room % rooms.len()].clone();
        match order {
            Order::Retain { room: nth, .. } | Order::Purge { room: nth } => vec![room(nth)],
            Order::Erase { room: nth, user } => {
                vec![room(nth), self.record.user(nth % rooms.len(), user)]
            }
        }
    }

    /// Gives order `n`, to the next node each time.
    pub fn give(&mut self, n: usize, order: Order) {
        let names = self.names(order);
        let rooms = self.record.rooms().len();
        let (room, removal, question) = match order {
            Order::Retain { room, events } => {
                let path = format!("/rooms/{}/retention?events={events}", names[0]);
                (room, Removal::Keep(events), (Method::Put, path))
            }
            Order::Purge { room } => {
                let path = format!("/rooms/{}", names[0]);
                (room, Removal::Purge, (Method::Delete, path))
            }
            Order::Erase { room, .. } => {
                let path = format!("/rooms/{}/users/{}/messages", names[0], names[1]);
                let removal = Removal::Erase(names[1].clone());
                (room, removal, (Method::Delete, path))
            }
        };
        let (operator, record, nth) = (self.operator.clone(), self.record.clone(), self.given);
        self.given += 1;
        self.tasks.spawn(async move {
            let (room, (method, path)) = (room % rooms, question);
            let (question, until) = (Question { method, path }, Instant::now() + PATIENCE);
            let asked = operator.asks(nth, &question, until, || record.ordered(room, &removal));
            let answer = asked.await;
            if let Some(seq) = answer.as_ref().ok().and_then(|it| it["seq"].as_u64()) {
                record.confirmed(room, removal, seq);
            }
            Done {
                n,
                at: Instant::now(),
                result: answer.map(drop),
            }
        });
    }

    /// What became of all of them.
    pub async fn finish(self) -> Vec<Done> {
        self.tasks.join_all().await
    }
}

/// At which place each room begins, once everything is gone that is to go; and what is not so.
pub async fn starts(operator: &Operator, record: &Record) -> (Vec<u64>, Vec<String>) {
    let (mut starts, mut broken) = (Vec::new(), Vec::new());
    for (nth, name) in record.rooms().iter().enumerate() {
        let until = Instant::now() + GOES;
        let question = Question {
            method: Method::Get,
            path: format!("/rooms/{name}"),
        };
        let (start, wrong) = loop {
            let looked = operator.asks(nth, &question, until, || {}).await;
            let (start, wrong) = match looked {
                Ok(room) => wrong(&room, &record.starts(nth)),
                Err(refusal) => (1, Some(format!("cannot be looked at: {refusal:?}"))),
            };
            if wrong.is_none() || Instant::now() > until {
                break (start, wrong);
            }
            sleep(LOOK).await;
        };
        starts.push(start);
        broken.extend(wrong.map(|what| format!("{name} {what}")));
    }
    (starts, broken)
}

/// Where a room begins, as an operator is shown it, and what is wrong with it.
fn wrong(room: &Value, may: &RangeInclusive<u64>) -> (u64, Option<String>) {
    let first = room["first"].as_u64().unwrap_or_default();
    let erasing = room["erasing"].as_array().map_or(0, Vec::len);
    let wrong = match erasing {
        0 if may.contains(&first) => None,
        0 => {
            let (least, most) = (may.start(), may.end());
            Some(format!("begins at {first}, not at {least} to {most}"))
        }
        _ => Some("still has content that is to be erased".to_owned()),
    };
    (first, wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_room_begins_where_it_was_purged_or_limited_and_nowhere_else() {
        let is_wrong = |room: Value| wrong(&room, &(7..=9)).1.is_some();
        assert!(!is_wrong(json!({"first": 7, "erasing": []})));
        assert!(!is_wrong(json!({"first": 9})));
        assert!(is_wrong(json!({"first": 6, "erasing": []})));
        assert!(is_wrong(json!({"first": 10, "erasing": []})));
        assert!(is_wrong(json!({"first": 8, "erasing": ["harry"]})));
    }
}
