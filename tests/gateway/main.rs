//! Gateways, over the memory adapters and at real sockets.
//!
//! One program, because each one that is linked takes seconds.

mod access;
mod bus;
mod core;
mod faults;
mod former;
mod gone;
mod handshakes;
mod holes;
mod hostile;
mod http;
mod keys;
mod lanes;
mod limits;
mod origins;
mod proofs;
mod sealed;
mod sealed_access;
mod sockets;
mod streams;
mod support;
mod world;
