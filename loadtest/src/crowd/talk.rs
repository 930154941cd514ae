//! What one client says: a message at each of its times, now and then one that was answered before.

use super::notes::{Note, Notes};
use crate::client::Outgoing;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

/// Of how many of its last answered messages one is sent again.
pub(super) const REMEMBERED: usize = 50;
/// What was answered before is not sent again: the room may have forgotten it (its window is 4096
/// messages) before this is decided.
const RECENT: Duration = Duration::from_secs(10);

pub(super) struct Talk {
    pub(super) user: String,
    pub(super) room: usize,
    pub(super) first: Instant,
    pub(super) every: Duration,
    /// Of 100 messages.
    pub(super) repeats: u32,
    pub(super) outgoing: mpsc::Sender<Outgoing>,
    pub(super) notes: Arc<Mutex<Notes>>,
    pub(super) noted: mpsc::UnboundedSender<Note>,
    pub(super) quiet: watch::Receiver<bool>,
}

impl Talk {
    pub(super) async fn run(mut self) {
        for n in 0_u32.. {
            let due = self.first + self.every * n;
            tokio::select! {
                biased;
                _ = self.quiet.wait_for(|quiet| *quiet) => return,
                () = sleep_until(due) => {}
            }
            // Not by chance: each run says the same.
            let is_repeat =
                self.repeats > 0 && n.is_multiple_of((100 / self.repeats).max(1)) && n > 0;
            let earlier = if is_repeat {
                self.earlier(n as usize)
            } else {
                None
            };
            let is_new = earlier.is_none();
            let id = earlier.unwrap_or_else(|| format!("{}-{n}", self.user));
            let note = if is_new {
                Note::Due {
                    room: self.room,
                    id: id.clone(),
                    at: due,
                }
            } else {
                Note::Again { id: id.clone() }
            };
            let _ = self.noted.send(note);
            let message = Outgoing {
                text: text_of(&id),
                id,
            };
            if let Err(mpsc::error::TrySendError::Full(lost)) = self.outgoing.try_send(message) {
                let _ = self.noted.send(Note::NotMade {
                    id: lost.id,
                    is_new,
                });
            }
        }
    }

    fn earlier(&self, n: usize) -> Option<String> {
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let answered = notes.rooms[self.room].answered.get(&self.user)?;
        let recent = |(at, _): &&(Instant, String)| at.elapsed() < RECENT;
        answered
            .get(n % answered.len().max(1))
            .filter(recent)
            .map(|(_, id)| id.clone())
    }
}

/// What a message with this id says, so that everybody can tell whether it arrived as it was sent.
pub(super) fn text_of(id: &str) -> String {
    format!("{id}: ") + &"The quick brown fox jumps over the lazy dog. ".repeat(2)
}
