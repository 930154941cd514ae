//! The protobuf types, generated from `proto/` by `cargo run -p proto`. They are outer forms:
//! `wire`, `journal::codec` and `bus::codec` turn them into the types of `room` and back.

#![allow(missing_docs, clippy::doc_markdown, clippy::large_enum_variant)]

/// Client frames of `safechat.v1+proto`.
pub mod client {
    /// First version.
    pub mod v1 {
        include!("../client/src/codec/generated/safechat.client.v1.rs");
    }
}

/// What travels between nodes.
pub mod bus {
    /// First version.
    pub mod v1 {
        include!("proto/generated/safechat.bus.v1.rs");
    }
}

/// What devices leave outside of rooms.
pub mod keys {
    /// First version.
    pub mod v1 {
        include!("proto/generated/safechat.keys.v1.rs");
    }
}

/// What is stored, by schema version.
pub mod journal {
    /// First versions.
    pub mod v1 {
        include!("proto/generated/safechat.journal.v1.rs");
    }
    /// Second versions.
    pub mod v2 {
        include!("proto/generated/safechat.journal.v2.rs");
    }
}
