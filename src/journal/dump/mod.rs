//! Rooms of a journal in a file, and back: `safe-chat journal export` and `import`; and from one
//! journal into another, `safe-chat journal copy`.
//!
//! A room that is carried ([`Incoming`]) is its events, oldest first in pages, and the state at its
//! head. It comes from a journal ([`Source`]), up to the head that was found at the beginning, or
//! from a file ([`Reader`]). It goes into a file ([`Writer`]), or through the port of the journal
//! ([`Intake`]), which claims the shard as any owner does: whoever wrote it before is fenced.
//!
//! What is there already is never written over. A room goes on where the journal has the same
//! events up to its own end, so that each of this can be repeated, and goes on where it stopped.

mod check;
mod form;
mod intake;
mod names;
mod read;
mod refill;
mod source;
mod write;

pub use check::{Checked, check};
pub use form::{FORM, Header};
pub use intake::{Elect, Intake, Taken};
pub use names::Names;
pub use read::{FileRoom, Item, Reader};
pub use source::{JournalRoom, Source};
pub use write::{Writer, Written};

use super::{Error as JournalError, Hole, Journal, inspect::Inspect};
use crate::room::{Event, RoomId, Seq, State};
use async_trait::async_trait;
use std::io;

/// A journal that can be written, and looked at as it is stored.
pub trait Whole: Journal + Inspect {}

impl<T: Journal + Inspect> Whole for T {}

/// Why a room, or a whole file, was not carried.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The journal that was read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A line of a file is not what it must be.
    #[error("line {line}: {what}")]
    Form {
        /// Which line, from 1 on.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
    /// The file itself cannot be read or written.
    #[error("{0}")]
    File(#[from] io::Error),
    /// What is in the journal already does not go with what comes.
    #[error("{0}")]
    Refused(String),
}

impl Error {
    /// Whether it is about one room alone: others can be carried.
    pub fn is_of_room(&self) -> bool {
        use JournalError::{Damaged, TooLarge, Unsupported};
        match self {
            Self::Refused(_) => true,
            Self::Journal(error) => {
                matches!(error, Damaged(_) | TooLarge(_) | Unsupported { .. })
            }
            Self::Form { .. } | Self::File(_) => false,
        }
    }
}

/// A room on its way.
#[async_trait]
pub trait Incoming: Send {
    /// Its name.
    fn room(&self) -> &RoomId;

    /// Its last place.
    fn head(&self) -> Seq;

    /// The next events, ascending; none: there are no more. What is missing between them is gone.
    async fn page(&mut self) -> Result<Vec<Event>, Error>;

    /// Whether only its newest events come, as the bus has them of rooms in Cassandra: whatever the
    /// journal has besides stays, and its state is what they make of the one there.
    fn is_partial(&self) -> bool {
        false
    }

    /// The first place that is not to be gone, as far as that is known beforehand.
    fn let_go(&self) -> Seq {
        Seq::ZERO
    }

    /// Its state at the head. Asked once, after the last page.
    async fn state(&mut self) -> Result<State, Error>;
}

/// All that is known of a room: the state, with the keys that are in records.
async fn whole(
    journal: &dyn Journal,
    room: &RoomId,
    mut state: State,
) -> Result<State, JournalError> {
    if state.away.is_used {
        let recorded = journal.all_recorded(room, state.generation()).await?;
        state.recall_all(recorded);
    }
    Ok(state)
}

/// Replays the events of a room as they come.
#[derive(Default)]
struct Replay {
    state: State,
    holes: Vec<Hole>,
    events: u64,
    /// The first and the last place of an event.
    ends: Option<(Seq, Seq)>,
}

impl Replay {
    /// Takes the next event. The caller knows that it comes after those before.
    fn take(&mut self, event: &Event) {
        self.holes.extend(Hole::between(self.state.head, event.seq));
        self.state.skip_to(Seq(event.seq.0 - 1));
        self.state.evolve(event);
        self.events += 1;
        let first = self.ends.map_or(event.seq, |(first, _)| first);
        self.ends = Some((first, event.seq));
    }

    /// The room ends here.
    fn end(&mut self, head: Seq) {
        self.holes
            .extend(Hole::between(self.state.head, head.next()));
        self.state.skip_to(head);
    }
}
