//! What came of it, for figures.

use super::{Plan, notes::Notes};
use std::time::Duration;
use tokio::time::Instant;

/// A message that was answered `journaled`. Times count from the first message on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answer {
    /// Which room.
    pub room: usize,
    /// When it was to be sent.
    pub due: Duration,
    /// When it was answered.
    pub at: Duration,
}

/// What happened when. Times count from the first message on.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// How long they talked.
    pub talked: Duration,
    /// Rooms.
    pub rooms: Vec<String>,
    /// Clients.
    pub clients: usize,
    /// Messages that were to be sent, each counted once.
    pub sent: usize,
    /// Answers, in the order of their times.
    pub answers: Vec<Answer>,
    /// Messages that were refused for good.
    pub rejected: usize,
    /// Messages that were refused for now, and why.
    pub refused: Vec<(Duration, String)>,
    /// Connections that ended without a `bye`.
    pub lost: Vec<Duration>,
    /// Connections that were made after the beginning.
    pub connects: Vec<Duration>,
    /// Broken promises, as a person reads them.
    pub broken: Vec<String>,
}

impl Outcome {
    pub(super) fn new(
        plan: &Plan,
        notes: &Notes,
        (began, ended): (Instant, Instant),
        broken: Vec<String>,
    ) -> Self {
        let since = |at: &Instant| at.saturating_duration_since(began);
        // What the end of a run does (a reader, those who leave) is not what happened to the
        // clients.
        let within = |at: &&Instant| **at > began && **at <= ended;
        let answer = |message: &super::notes::Message| {
            let at = since(&message.journaled?);
            Some(Answer {
                room: message.room,
                due: since(&message.due),
                at,
            })
        };
        let mut answers: Vec<Answer> = notes.messages.values().filter_map(answer).collect();
        answers.sort_by_key(|answer| answer.at);
        Self {
            talked: ended - began,
            rooms: plan.rooms.clone(),
            clients: plan.clients,
            sent: notes.messages.len(),
            answers,
            rejected: notes.rejected,
            refused: notes
                .refused
                .iter()
                .map(|(at, why)| (since(at), why.clone()))
                .collect(),
            lost: notes.lost.iter().filter(within).map(since).collect(),
            connects: notes.connects.iter().filter(within).map(since).collect(),
            broken,
        }
    }

    /// The longest time without an answer in any one room that ends after `from`, counted from
    /// `from` at the earliest; the first message was due at 0. A message that is overdue without an
    /// answer at the end is for liveness to find.
    pub fn longest_gap(&self, from: Duration) -> Option<Duration> {
        self.longest_gap_within(from, self.talked)
    }

    /// The same, of times that begin before `until`.
    pub fn longest_gap_within(&self, from: Duration, until: Duration) -> Option<Duration> {
        let gap = |room: usize| {
            let mut last = Duration::ZERO;
            let mut longest = None;
            for answer in self.answers.iter().filter(|answer| answer.room == room) {
                if answer.at >= from && last < until {
                    longest = longest.max(Some(answer.at - last.max(from)));
                }
                last = answer.at;
            }
            longest
        };
        (0..self.rooms.len()).filter_map(gap).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(places: &[(usize, u64)]) -> Outcome {
        let ms = Duration::from_millis;
        let answers = places
            .iter()
            .map(|(room, at)| Answer {
                room: *room,
                due: ms(0),
                at: ms(*at),
            })
            .collect();
        Outcome {
            rooms: vec!["a".into(), "b".into()],
            answers,
            talked: ms(10_000),
            ..Outcome::default()
        }
    }

    #[test]
    fn a_gap_is_that_of_one_room_and_begins_with_the_fault() {
        let ms = Duration::from_millis;
        let outcome = answers(&[(0, 10), (1, 20), (0, 30), (1, 900), (0, 400), (1, 950)]);
        assert_eq!(outcome.longest_gap(Duration::ZERO), Some(ms(880)));
        assert_eq!(outcome.longest_gap(ms(100)), Some(ms(800)));
        assert_eq!(outcome.longest_gap(ms(920)), Some(ms(30)));
        assert_eq!(outcome.longest_gap(ms(1000)), None);
        assert_eq!(outcome.longest_gap_within(ms(0), ms(15)), Some(ms(20)));
    }
}
