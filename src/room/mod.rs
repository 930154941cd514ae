//! The room: what a command means and what an event changes. Pure: no clock, no randomness, no I/O,
//! no async.
//!
//! [`decide`] turns a command into changes or refuses it; [`State::evolve`] and [`State::change`]
//! apply them and never fail. The same functions run in the owner of the room and in every replay,
//! so a replayed state equals the live one.

mod away;
mod batch;
mod command;
mod decide;
mod dedupe;
mod erase;
mod event;
mod gone;
mod group;
mod id;
mod limits;
mod pin;
mod policy;
mod producers;
mod purge;
mod refilled;
mod rejection;
mod retention;
mod sessions;
mod state;
mod window;

pub use away::{Away, Known, Moving};
pub use command::{
    Action, Attempt, BatchMessage, Body, Command, CommandId, Producer, ProducerSeq, Turn,
};
pub use decide::{Decision, Notice, Outcome, decide, decide_knowing, decide_within};
pub use dedupe::{Holder, MessageKey, Sent};
pub use erase::{Erasing, Erasure, Erasures};
pub use event::{Change, Event, Kind};
pub use gone::Hold;
pub use group::{
    Admitted, Group, Reentry, is_of_another_room, not_sealed, only_sealed, refusal_of, stale_epoch,
};
pub use id::{
    DeviceId, Epoch, Incarnation, Invalid, Key, Millis, RequestId, RoomId, Seq, SessionId, ShardId,
    Shards, Token, UserId,
};
pub use limits::Limits;
pub use pin::{Identity, Pin};
pub use policy::{Maker, Policy};
pub use producers::{Producers, Standing};
pub use purge::Purge;
pub use rejection::{Reason, Rejection};
pub use retention::{Excess, Kept, Retention};
pub use sessions::{Session, Sessions};
pub use state::{Carried, Ended, State};
pub use window::Window;

#[cfg(test)]
mod instructions_tests;
