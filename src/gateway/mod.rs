//! The gateway: where clients come in. Any client of a room may be at any gateway.
//!
//! A client [`Join`]s and becomes a [`Session`]: what it sends goes to the bus in its order, with
//! what others here send to the same room ([`lane`]); what the room makes of it comes back through
//! the room's replica ([`replica`]: one task and one subscription per room, whatever the number of
//! clients), which puts every event, encoded once, into each client's bounded [`Outbox`]. Old
//! events come in pages from the journal, at the client's pace ([`history_cache`], [`join`]). What
//! clients may do per second and at a time is decided before any of that ([`limits`]). None of it
//! knows sockets; [`http`] and [`websocket`] connect them, a simulation connects its own clients.

mod checks;
mod close;
mod config;
mod core;
mod creation;
mod device;
mod disconnect;
mod episode;
mod expiry;
mod handle;
mod history;
mod history_cache;
mod http;
mod join;
mod lane;
mod limits;
mod losses;
mod metrics;
mod newcomers;
mod outbox;
mod owner;
mod pending_replies;
mod port;
mod proofs;
mod replays;
mod replica;
mod resume;
mod service;
mod session;
mod session_revalidation;
mod websocket;

pub use close::{Close, Fault};
pub use config::Config;
pub use handle::Handle;
#[doc(hidden)] // For fuzzing: it reads what anybody may send.
pub use http::request;
pub use join::{Join, Watch};
pub use limits::Client;
pub use outbox::{Form, Outbox, Taken};
pub use port::Port;
pub use resume::StartAt;
pub use service::{Service, bind};
pub use session::Session;
#[doc(hidden)] // For fuzzing: it reads what anybody may send.
pub use websocket::items as websocket_items;
