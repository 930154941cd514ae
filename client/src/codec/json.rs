//! `safechat.v1+json`: one object per text frame. Unknown members are ignored, null is the same as
//! absent, an unknown type is `Other`.

use super::DecodeError;
use crate::frame::{Body, ClientFrame, Content, Event, Page, ServerFrame, Welcome};
use base64::{
    Engine as _,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};

/// base64url; padding is accepted and never sent.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The text of a frame.
pub fn encode(frame: &ClientFrame) -> String {
    let out = match frame {
        ClientFrame::Send { id, to, content } => {
            let (text, sealed, handshake) = match content {
                Content::Text(text) => (Some(text.as_str()), None, None),
                Content::Sealed(bytes) => (None, Some(BASE64.encode(bytes)), None),
                Content::Handshake(bytes) => (None, None, Some(BASE64.encode(bytes))),
            };
            Out::Send {
                id,
                to: to.as_deref(),
                text,
                sealed,
                handshake,
            }
        }
        ClientFrame::History { id, before, limit } => Out::History {
            id,
            before: *before,
            limit: *limit,
        },
        ClientFrame::Members { id, after } => Out::Members {
            id,
            after: after.as_deref(),
        },
        ClientFrame::Ping { id } => Out::Ping { id },
        ClientFrame::Token { id, token } => Out::Token {
            id,
            token: token.as_str(),
        },
        ClientFrame::Proof {
            host,
            signature,
            former,
        } => Out::Proof {
            host,
            signature: BASE64.encode(signature),
            former: former.map(|former| BASE64.encode(former)),
        },
    };
    serde_json::to_string(&out).expect("strings and numbers are JSON")
}

/// Reads a frame.
///
/// # Errors
/// It is no JSON object of this protocol.
pub fn decode(text: &str) -> Result<ServerFrame, DecodeError> {
    let frame: In =
        serde_json::from_str(text).map_err(|_| DecodeError::new("frame of safechat.v1+json"))?;
    frame.read()
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Out<'a> {
    Send {
        id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        sealed: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        handshake: Option<String>,
    },
    History {
        id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        before: Option<u64>,
        limit: u16,
    },
    Members {
        id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<&'a str>,
    },
    Ping {
        id: &'a str,
    },
    Token {
        id: &'a str,
        token: &'a str,
    },
    Proof {
        host: &'a str,
        signature: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        former: Option<String>,
    },
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum In {
    Challenge {
        nonce: String,
    },
    Welcome {
        #[serde(default, deserialize_with = "or_default")]
        room: String,
        #[serde(default, deserialize_with = "or_default")]
        user: String,
        #[serde(default, deserialize_with = "or_default")]
        session: String,
        seq: u64,
        #[serde(default, deserialize_with = "or_default")]
        recovered: bool,
        #[serde(default, deserialize_with = "or_default")]
        members: Vec<String>,
        #[serde(default, deserialize_with = "or_default")]
        epoch: u64,
        #[serde(default, deserialize_with = "or_default")]
        node: String,
        #[serde(default, deserialize_with = "or_default")]
        proven: bool,
        #[serde(default)]
        member_count: Option<u64>,
        #[serde(default, deserialize_with = "or_default")]
        policy: String,
    },
    Event(InEvent),
    Accepted {
        id: String,
    },
    Journaled {
        id: String,
        seq: u64,
        #[serde(default, deserialize_with = "or_default")]
        epoch: u64,
        #[serde(default, deserialize_with = "or_default")]
        duplicate: bool,
    },
    Rejected {
        id: Option<String>,
        reason: String,
        #[serde(default, deserialize_with = "or_default")]
        message: String,
        retry_after_ms: Option<u64>,
        seq: Option<u64>,
    },
    History {
        #[serde(default, deserialize_with = "or_default")]
        id: String,
        events: Vec<InEvent>,
        #[serde(default, deserialize_with = "or_default")]
        more: bool,
        missing: Option<(u64, u64)>,
    },
    Members {
        #[serde(default, deserialize_with = "or_default")]
        id: String,
        members: Vec<String>,
        #[serde(default, deserialize_with = "or_default")]
        more: bool,
    },
    Pong {
        #[serde(default, deserialize_with = "or_default")]
        id: String,
    },
    Reset {
        seq: u64,
        #[serde(default, deserialize_with = "or_default")]
        reason: String,
    },
    Bye {
        #[serde(default, deserialize_with = "or_default")]
        reason: String,
        #[serde(default, deserialize_with = "or_default")]
        reconnect_after_ms: u64,
    },
    Expiring {
        #[serde(default, deserialize_with = "or_default")]
        expires_in_ms: u64,
    },
    Refreshed {
        #[serde(default, deserialize_with = "or_default")]
        id: String,
        expires_in_ms: Option<u64>,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct InEvent {
    seq: u64,
    #[serde(default, deserialize_with = "or_default")]
    at: u64,
    kind: String,
    #[serde(default, deserialize_with = "or_default")]
    from: String,
    to: Option<String>,
    text: Option<String>,
    sealed: Option<String>,
    handshake: Option<String>,
    id: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    erased: bool,
    #[serde(default, deserialize_with = "or_default")]
    changed: bool,
}

/// null is the same as absent.
fn or_default<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl In {
    fn read(self) -> Result<ServerFrame, DecodeError> {
        Ok(match self {
            Self::Challenge { nonce } => {
                let nonce = BASE64.decode(nonce);
                let nonce = nonce.map_err(|_| DecodeError::new("base64url"))?;
                ServerFrame::Challenge {
                    nonce: nonce.into(),
                }
            }
            Self::Welcome {
                room,
                user,
                session,
                seq,
                recovered,
                members,
                epoch,
                node,
                proven,
                member_count,
                policy,
            } => ServerFrame::Welcome(Welcome {
                room,
                user,
                session,
                seq: Some(seq),
                recovered,
                members,
                member_count,
                epoch,
                node,
                proven,
                policy,
            }),
            Self::Event(event) => ServerFrame::Event(event.read()?),
            Self::Accepted { id } => ServerFrame::Accepted { id },
            Self::Journaled {
                id,
                seq,
                epoch,
                duplicate,
            } => ServerFrame::Journaled {
                id,
                seq,
                epoch,
                duplicate,
            },
            Self::Rejected {
                id,
                reason,
                message,
                retry_after_ms,
                seq,
            } => ServerFrame::Rejected {
                id,
                reason,
                message,
                retry_after_ms,
                seq,
            },
            Self::History {
                id,
                events,
                more,
                missing,
            } => ServerFrame::History(Page {
                id,
                events: events
                    .into_iter()
                    .map(InEvent::read)
                    .collect::<Result<_, _>>()?,
                more,
                missing,
            }),
            Self::Members { id, members, more } => ServerFrame::Members { id, members, more },
            Self::Pong { id } => ServerFrame::Pong { id },
            Self::Reset { seq, reason } => ServerFrame::Reset { seq, reason },
            Self::Bye {
                reason,
                reconnect_after_ms,
            } => ServerFrame::Bye {
                reason,
                reconnect_after_ms,
            },
            Self::Expiring { expires_in_ms } => ServerFrame::Expiring { expires_in_ms },
            Self::Refreshed { id, expires_in_ms } => ServerFrame::Refreshed { id, expires_in_ms },
            Self::Other => ServerFrame::Other,
        })
    }
}

impl InEvent {
    fn read(self) -> Result<Event, DecodeError> {
        let body = match (self.kind.as_str(), self.text, self.sealed) {
            ("joined", ..) => Body::Joined,
            ("left", ..) => Body::Left,
            ("unpinned", ..) if self.changed => Body::KeyChanged,
            ("unpinned", ..) => Body::Unpinned,
            ("purged", ..) => Body::Purged,
            ("erased", ..) => Body::Erased,
            ("text", ..) if self.erased => Body::ErasedText,
            ("text", text, _) => Body::Text(text.unwrap_or_default()),
            ("sealed", _, sealed) => {
                let bytes = BASE64.decode(sealed.unwrap_or_default());
                Body::Sealed(Bytes::from(
                    bytes.map_err(|_| DecodeError::new("base64url"))?,
                ))
            }
            ("handshake", ..) => {
                let bytes = BASE64.decode(self.handshake.unwrap_or_default());
                Body::Handshake(Bytes::from(
                    bytes.map_err(|_| DecodeError::new("base64url"))?,
                ))
            }
            (other, ..) => Body::Other(other.to_owned()),
        };
        Ok(Event {
            seq: self.seq,
            at: self.at,
            from: self.from,
            to: self.to,
            id: self.id,
            body,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_written_as_the_protocol_says() {
        let send = |to: Option<&str>, content| {
            encode(&ClientFrame::Send {
                id: "m1".into(),
                to: to.map(Into::into),
                content,
            })
        };
        assert_eq!(
            send(None, Content::Text("Hello".into())),
            r#"{"type":"send","id":"m1","text":"Hello"}"#
        );
        assert_eq!(
            send(
                Some("charly"),
                Content::Sealed(Bytes::from_static(&[251, 255]))
            ),
            r#"{"type":"send","id":"m1","to":"charly","sealed":"-_8"}"#
        );
        let history = ClientFrame::History {
            id: "h1".into(),
            before: Some(120),
            limit: 50,
        };
        assert_eq!(
            encode(&history),
            r#"{"type":"history","id":"h1","before":120,"limit":50}"#
        );
        assert_eq!(
            encode(&ClientFrame::Ping { id: "p1".into() }),
            r#"{"type":"ping","id":"p1"}"#
        );
    }

    #[test]
    fn null_and_absent_are_the_same_and_unknown_members_are_ignored() {
        let short = decode(r#"{"type":"event","seq":3,"at":1,"kind":"joined","from":"a"}"#);
        let long = decode(
            r#"{"type":"event","seq":3,"at":1,"kind":"joined","from":"a","to":null,"text":null,"id":null,"new":[1]}"#,
        );
        assert!(short.is_ok());
        assert_eq!(short, long);
        let bye = decode(r#"{"type":"bye","reason":null,"reconnect_after_ms":null}"#);
        assert!(matches!(
            bye,
            Ok(ServerFrame::Bye {
                reconnect_after_ms: 0,
                ..
            })
        ));
    }

    #[test]
    fn a_frame_of_a_later_protocol_is_other_and_what_is_none_is_an_error_without_its_bytes() {
        assert_eq!(
            decode(r#"{"type":"typing","from":"a"}"#),
            Ok(ServerFrame::Other)
        );
        let error = decode(r#"{"type":"event","seq":"secret"}"#).unwrap_err();
        assert!(!error.to_string().contains("secret"));
    }

    #[test]
    fn a_handshake_goes_and_comes_as_base64url_and_a_welcome_says_what_the_room_asks() {
        let bytes = Bytes::from_static(&[251, 255]);
        let frame = ClientFrame::Send {
            id: "m1".into(),
            to: None,
            content: Content::Handshake(bytes.clone()),
        };
        let sent = r#"{"type":"send","id":"m1","handshake":"-_8"}"#;
        assert_eq!(encode(&frame), sent);
        let event = decode(
            r#"{"type":"event","seq":1,"at":1,"kind":"handshake","from":"a","handshake":"-_8"}"#,
        );
        let Ok(ServerFrame::Event(event)) = event else {
            panic!("{event:?}")
        };
        assert_eq!(
            (event.kind(), &event.body),
            ("handshake", &Body::Handshake(bytes))
        );
        let welcome = decode(r#"{"type":"welcome","seq":1,"policy":"sealed"}"#);
        assert!(matches!(welcome, Ok(ServerFrame::Welcome(it)) if it.policy == "sealed"));
    }

    #[test]
    fn sealed_content_comes_with_or_without_padding() {
        for sealed in ["-_8", "-_8="] {
            let frame = decode(&format!(
                r#"{{"type":"event","seq":1,"at":1,"kind":"sealed","from":"a","sealed":"{sealed}"}}"#
            ));
            let Ok(ServerFrame::Event(event)) = frame else {
                panic!("{frame:?}")
            };
            assert_eq!(event.body, Body::Sealed(Bytes::from_static(&[251, 255])));
        }
    }

    #[test]
    fn a_page_names_what_is_missing() {
        let page =
            decode(r#"{"type":"history","id":"h1","events":[],"more":false,"missing":[175,179]}"#);
        assert!(matches!(
            page,
            Ok(ServerFrame::History(Page {
                missing: Some((175, 179)),
                ..
            }))
        ));
    }
}
