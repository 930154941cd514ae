//! End-to-end encrypted rooms: MLS (RFC 9420) with the room's single writer as delivery service. No
//! I/O, no clock, no tasks: frames, what a user wants and the time go in; frames, what there is to
//! show, and what must be stored before anything is sent come out.
//!
//! ```text
//! user -> Member -> Step { changes -> Shelf, then frames -> the room's writer, shown -> user }
//!                                                                |
//!         Member <- events of the room, in their order <- Delivery (in the writer)
//! ```
//!
//! - [`Identity`], [`device`], [`export`], [`number`]: who somebody is, with which devices, how the
//!   key moves between them, and how two people make sure of each other.
//! - `member`: a device in its rooms. `shelf`: what it must not forget.
//! - `delivery`: what the writer can check of a group that it cannot read.
//! - `handshake`: what changes a group, as it travels.
//! - `content`: what is inside an encrypted message.
//! - `conversation`: a device in one room, as terminal and page run it.
//! - `direct`: rooms of two people.
//! - `rules`: bounds, and what both of them refuse.
//!
//! Why so: `docs/adr/0004-seal.md`. Randomness of MLS itself comes from the system.

mod codec;
#[cfg(feature = "mls")]
pub mod content;
#[cfg(feature = "mls")]
pub mod conversation;
#[cfg(feature = "mls")]
mod crypto;
#[cfg(feature = "mls")]
pub mod delivery;
pub mod device;
#[cfg(feature = "mls")]
pub mod direct;
#[cfg(feature = "mls")]
mod entry;
pub mod export;
#[cfg(feature = "mls")]
mod handshake;
mod identity;
#[cfg(feature = "mls")]
mod lists;
#[cfg(feature = "mls")]
pub mod member;
#[cfg(feature = "mls")]
mod mls;
pub mod number;
#[cfg(feature = "mls")]
mod published;
#[cfg(feature = "mls")]
pub mod rules;
#[cfg(feature = "mls")]
pub mod shelf;

pub use device::{Certificate, DeviceKey, Name};
pub use identity::{BadPublic, Identity, Public};

#[cfg(feature = "mls")]
pub use {
    conversation::Conversation,
    delivery::Delivery,
    handshake::{Handshake, MOST_HANDSHAKE},
    member::Member,
    published::Published,
    rules::{Bundle, Founding, Refusal},
    shelf::{Changes, Shelf},
};
