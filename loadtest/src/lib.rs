//! Many clients of a safe-chat, and a checker of everything that they saw.
//!
//! [`client`] is a client as the protocol wants it: it reconnects, resumes, and sends again with
//! the same id until it is answered. What it sends and sees goes into a [`history`], whose checker
//! holds it against the promises of the client protocol. [`run`] puts many of them into one room
//! and measures; [`crowd`] keeps them talking while things happen to the servers; [`slow`] sits
//! beside them and takes nothing, over a [`raw`] socket.

pub mod client;
pub mod crowd;
pub mod history;
pub mod raw;
pub mod run;
pub mod slow;
