//! The names of all rooms of a journal, one after another.

use super::Whole;
use crate::{journal::Error, room::RoomId};

/// Names that are asked for at once.
const PAGE: usize = 1_000;

/// How far somebody is among the rooms of a journal.
pub struct Names<'a> {
    journal: &'a dyn Whole,
    /// What was read and not given yet, the next one last.
    page: Vec<RoomId>,
    last: Option<RoomId>,
    is_over: bool,
}

impl<'a> Names<'a> {
    /// All of a journal.
    pub fn of(journal: &'a dyn Whole) -> Self {
        Self {
            journal,
            page: Vec::new(),
            last: None,
            is_over: false,
        }
    }

    /// The next room; `None`: that were all.
    ///
    /// # Errors
    /// Those of [`crate::journal::Journal::rooms`].
    pub async fn next(&mut self) -> Result<Option<RoomId>, Error> {
        if self.page.is_empty() && !self.is_over {
            self.page = self.journal.rooms(self.last.as_ref(), PAGE).await?;
            self.is_over = self.page.len() < PAGE;
            self.last = self.page.last().cloned();
            self.page.reverse();
        }
        Ok(self.page.pop())
    }
}
