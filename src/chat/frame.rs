//! The frames of `safechat.v1+json`, as a client writes and reads them. Deliberately its own
//! reading of the protocol, not the server's types: so each side tests the other.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// The subprotocol to offer.
pub(super) const PROTOCOL: &str = "safechat.v1+json";

/// Bytes of a text that the service takes. A longer one is not even sent: its frame could break the
/// limit that ends a connection.
pub(super) const TEXT_BYTES: usize = 16_384;

/// What we say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ClientFrame {
    Send {
        id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<String>,
        text: String,
    },
    History {
        id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        before: Option<u64>,
        limit: u16,
    },
    Members {
        id: String,
    },
}

/// What the server says; frames added later are `Other`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ServerFrame {
    Welcome {
        seq: u64,
        #[serde(default)]
        recovered: bool,
        #[serde(default)]
        members: Vec<String>,
        #[serde(default)]
        node: String,
    },
    Event(Event),
    Accepted {
        id: String,
    },
    Journaled {
        id: String,
        seq: u64,
    },
    Rejected {
        id: Option<String>,
        reason: String,
        #[serde(default)]
        message: String,
        retry_after_ms: Option<u64>,
    },
    History {
        #[serde(default)]
        id: String,
        events: Vec<Event>,
        #[serde(default)]
        more: bool,
    },
    Members {
        members: Vec<String>,
    },
    Reset {
        seq: u64,
        #[serde(default)]
        reason: String,
    },
    Bye {
        #[serde(default)]
        reason: String,
        #[serde(default)]
        reconnect_after_ms: u64,
    },
    #[serde(other)]
    Other,
}

/// One place in the room.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Event {
    pub(super) seq: u64,
    /// Milliseconds since 1970 UTC.
    #[serde(default)]
    pub(super) at: i64,
    pub(super) kind: String,
    #[serde(default)]
    pub(super) from: String,
    pub(super) to: Option<String>,
    pub(super) text: Option<String>,
    pub(super) sealed: Option<String>,
    pub(super) id: Option<String>,
}

impl Event {
    /// Bytes of the sealed content, from the length of its base64url.
    pub(super) fn sealed_bytes(&self) -> usize {
        self.sealed
            .as_deref()
            .unwrap_or_default()
            .trim_end_matches('=')
            .len()
            * 3
            / 4
    }
}

/// An id for a message that no other session of the same user chooses, too.
pub(super) fn new_id() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 12]>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> ServerFrame {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn frames_are_written_as_the_protocol_says() {
        let send = ClientFrame::Send {
            id: "m1".into(),
            to: None,
            text: "Hello".into(),
        };
        assert_eq!(
            serde_json::to_string(&send).unwrap(),
            r#"{"type":"send","id":"m1","text":"Hello"}"#
        );
        let history = ClientFrame::History {
            id: "h1".into(),
            before: Some(120),
            limit: 50,
        };
        assert_eq!(
            serde_json::to_string(&history).unwrap(),
            r#"{"type":"history","id":"h1","before":120,"limit":50}"#
        );
    }

    #[test]
    fn null_and_absent_are_the_same_and_unknown_members_are_ignored() {
        let short = read(r#"{"type":"event","seq":3,"at":1,"kind":"joined","from":"a"}"#);
        let long = read(
            r#"{"type":"event","seq":3,"at":1,"kind":"joined","from":"a","to":null,"text":null,"id":null,"new":[1]}"#,
        );
        assert_eq!(short, long);
    }

    #[test]
    fn a_frame_of_a_later_protocol_is_other() {
        assert_eq!(read(r#"{"type":"typing","from":"a"}"#), ServerFrame::Other);
    }

    #[test]
    fn a_frame_that_was_not_understood_is_rejected_without_an_id() {
        let frame =
            read(r#"{"type":"rejected","id":null,"reason":"bad_frame","message":"not JSON"}"#);
        assert!(matches!(
            frame,
            ServerFrame::Rejected {
                id: None,
                retry_after_ms: None,
                ..
            }
        ));
    }
}
