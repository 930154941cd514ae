//! A client of safe-chat: one user in one room, through whatever connections it takes.
//!
//! It connects to one of several gateways, goes to the next one when that fails, resumes from the
//! last event that it told, and sends what was not answered again with the same id. So every event
//! of the room is told once, in order and without a gap, and a message is one message however often
//! the network broke. The contract that this rests on is the client protocol (`docs/protocol.md`).
//!
//! ```no_run
//! use safe_chat_client::{Client, Notice};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let mut client = Client::builder()
//!     .gateway("http://127.0.0.1:8080")
//!     .gateway("http://127.0.0.2:8080")
//!     .room("lobby")
//!     .user("harry")
//!     .key("the-public-key-of-harry")
//!     .connect()
//!     .await?;
//!
//! let receipt = client.send("Hello").await?; // journaled: no failure takes it back
//! println!("I am at place {}", receipt.seq);
//!
//! while let Some(notice) = client.next().await {
//!     match notice {
//!         Notice::Event(event) => println!("{} {}: {:?}", event.seq, event.from, event.text()),
//!         Notice::Reset { .. } => println!("forget what you know of the room"),
//!         Notice::Disconnected { why, wait } => eprintln!("{why}; trying again in {wait:?}"),
//!         Notice::Ended(end) => eprintln!("{end}"),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Sending
//! [`Handle::send`] waits for the answer, [`Handle::submit`] only for a place in the window:
//!
//! ```no_run
//! # use safe_chat_client::{Handle, Message, SendError};
//! # async fn example(client: &Handle) -> Result<(), SendError> {
//! let order = Message::text("two teas").to("kitchen").with_id("order-4711");
//! let mut sending = client.submit(order).await?;
//! sending.accepted().await; // stored: it will be decided even if this process dies now
//! match sending.await {
//!     Ok(receipt) => println!("place {}, {:?}", receipt.seq, receipt.duplicate),
//!     Err(SendError::Rejected { reason, .. }) => println!("not in the room: {reason}"),
//!     Err(unknown) => println!("it may be in the room: {unknown}"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What is bounded
//! Undecided messages by [`Builder::window`]; notices that nobody takes by [`Builder::queue`], so
//! that a slow reader costs neither memory nor answers. Attempts to connect and writes end after [`Builder::deadline`], messages
//! and questions after [`Builder::answer_within`].
//!
//! # How it is built
//! [`session::Session`] is pure and decides everything that matters: where to resume, what is sent
//! again and with which id, what is told. `schedule` says which gateway is next, and when; the
//! modules of [`codec`] read and write frames, one for each protocol. `driver` is the task that does
//! what they say over one [`connection`] after another.

mod address;
mod builder;
mod client;
mod close;
pub mod codec;
pub mod connection;
mod driver;
pub mod frame;
mod key;
pub mod keys;
mod message;
mod notice;
mod schedule;
pub mod session;
mod tls;
mod token;

pub use address::{Gateway, check_key, check_name};
pub use builder::{Builder, ConnectError};
pub use client::{Client, Handle, Link, QueryError, Sending, Status, TrySendError};
pub use close::{CloseCode, Lost, Refusal};
pub use codec::Protocol;
pub use connection::Silence;
pub use frame::{Body, Event, Page, Policy, Welcome};
pub use key::KeyPair;
pub use message::{
    Duplicate, End, HANDSHAKE_BYTES, Message, Receipt, SEALED_BYTES, SendError, TEXT_BYTES,
};
pub use notice::Notice;
pub use schedule::Backoff;
pub use session::Resend;
pub use tls::Tls;
pub use token::Token;
