//! Sealed rooms: devices as their users run them, what they note, and the checker of that.
//!
//! A [`Device`] is `seal::Conversation` with its disk, without I/O; a [`driver::Driver`] runs one
//! over the network, a [`Circle`] several of them in a room. [`check`] holds what they noted
//! against the room's journal, and a [`Marker`] says whether anybody else has what they said.

mod check;
mod circle;
pub mod device;
pub mod driver;
mod journal;
mod marker;
mod note;
mod replay;
#[cfg(test)]
mod tests;

pub use check::{Counts, Seen, check};
pub use circle::{Circle, Outcome, Plan, marker};
pub use device::Device;
pub use journal::journal;
pub use marker::Marker;
pub use note::{Note, Noted};
pub use replay::Journaled;
