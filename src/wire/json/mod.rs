//! The JSON protocol: one object per text frame.

mod read;
mod write;

pub(super) use read::{BASE64URL, decode, decode_send};
pub(super) use write::{encode, event};
