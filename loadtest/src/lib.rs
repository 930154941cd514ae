//! Load on a safe-chat, and a checker of everything that its clients saw.
//!
//! Two kinds of clients. [`client`] is the one of everybody else, watched: what it sends and sees
//! goes into a [`history`], whose checker holds it against the promises of the client protocol.
//! [`mod@run`] puts many of them into one room; [`crowd`] keeps them talking while things happen to
//! the servers; [`sealed`] has the devices of encrypted rooms;
//! [`slow`] sits beside them and takes nothing, over a [`raw`] socket.
//!
//! The [`engine`] has sessions that cost little more than their socket, for thousands of members on
//! one core; it checks loss, order, repeats and content as it reads. A [`scenario`] says what they
//! do, [`measure`] what it took, [`report`] makes files of it, [`floors`] says what the machine
//! can do at most, [`bare`] is the least server there can be, a [`peer`] one of others.
//! [`command`] is the command line.

pub mod bare;
pub mod client;
pub mod command;
pub mod crowd;
pub mod engine;
pub mod floors;
pub mod history;
mod leftover;
pub mod measure;
pub mod peer;
pub mod raw;
pub mod report;
pub mod run;
pub mod scenario;
pub mod sealed;
pub mod slow;
