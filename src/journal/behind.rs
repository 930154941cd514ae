//! A journal that ends before what was published of it: it was put back to before that, or forgot
//! its newest events. The bus has them until its bounds drop them; whoever opens the room next
//! writes them back.

use crate::room::{RoomId, Seq};
use std::fmt;

/// A room of which more was published than the journal has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behind {
    /// The room.
    pub room: RoomId,
    /// Up to where the journal has it.
    pub journaled: Seq,
    /// Up to where it was published.
    pub published: Seq,
}

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            room,
            journaled,
            published,
        } = self;
        write!(
            f,
            "the journal ends before the bus (room {room} at {journaled} there, at {published} \
             here): it was put back to before that, or lost its newest events. A node that opens a \
             room writes back what the bus still has of it. For all rooms, before the bus lets \
             that go: stop all nodes, run `safe-chat journal recover` with their configuration, \
             and start them again"
        )
    }
}
