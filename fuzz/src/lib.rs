//! What must hold for whatever comes from outside, one file per kind of it. Each takes any bytes
//! and panics when something does not hold: libFuzzer looks for such bytes, `tests/fuzz_corpus.rs`
//! runs those that are kept.

pub mod bus;
pub mod frames;
pub mod handshake;
pub mod json;
pub mod names;
pub mod nats;
pub mod proto;
pub mod request;
mod shown;
pub mod snapshot;
pub mod stored;
pub mod terminal;
pub mod text;

/// Panics when something does not hold for these bytes.
pub type Check = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Check); 12] = [
    ("bus", bus::check),
    ("frames", frames::check),
    ("handshake", handshake::check),
    ("json", json::check),
    ("names", names::check),
    ("nats", nats::check),
    ("proto", proto::check),
    ("request", request::check),
    ("snapshot", snapshot::check),
    ("stored", stored::check),
    ("terminal", terminal::check),
    ("text", text::check),
];
