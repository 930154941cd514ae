//! The client protocols: frames in and out, as docs/protocol.md fixes them. Pure: bytes to types
//! and back, no I/O, no clock.
//!
//! A gateway agrees on a [`Protocol`], turns what a client sends into a [`ClientFrame`] with
//! [`Protocol::decode`], and what it answers into bytes with [`Protocol::encode`]. An event goes to
//! all members of a room: [`SharedEvent`] encodes it once per protocol. [`http`] is for what is
//! said without a WebSocket, [`keys`] outside of rooms, [`proof`] for what shows that a client has the key that it names.
//! Whatever a client sends, decoding ends in a frame or in a [`Refused`], in time linear to its
//! size.

mod check;
mod frame;
pub mod http;
mod json;
pub mod keys;
pub mod proof;
mod proto;
mod shared;
mod text;
mod view;

pub use frame::{ClientFrame, Encoded, Incoming, Message, Refused, ServerFrame, Utf8};
pub use shared::SharedEvent;

use crate::room::{Reason, Rejection, RoomId, UserId};

/// How frames look on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Lines for people; when no subprotocol is offered.
    Text,
    /// `safechat.v1+json`: one object per text frame.
    Json,
    /// `safechat.v1+proto`: one message per binary frame.
    Proto,
}

impl Protocol {
    /// All protocols.
    pub const ALL: [Protocol; 3] = [Self::Text, Self::Json, Self::Proto];

    /// The name in `Sec-WebSocket-Protocol`; the text protocol has none.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Text => None,
            Self::Json => Some("safechat.v1+json"),
            Self::Proto => Some("safechat.v1+proto"),
        }
    }

    /// The protocol of an offered name. The text protocol has one for those who must offer some,
    /// as a browser that brings a token must.
    fn named(name: &str) -> Option<(Protocol, &'static str)> {
        if name == TEXT {
            return Some((Self::Text, TEXT));
        }
        let mut all = Self::ALL.into_iter();
        all.find_map(|known| Some((known, known.name().filter(|known| *known == name)?)))
    }

    /// Chooses by the values of all `Sec-WebSocket-Protocol` headers (each a name, or names
    /// separated by commas): the first known name wins, no name at all is the text protocol.
    /// Returns also the name to echo. Only unknown names, or only such as [`brought`] finds:
    /// [`Reason::BadQuery`].
    pub fn negotiate<'a>(
        offered: impl IntoIterator<Item = &'a str>,
    ) -> Result<(Protocol, Option<&'static str>), Rejection> {
        let mut unknown = false;
        for name in names(offered) {
            if let Some((known, name)) = Self::named(name) {
                return Ok((known, Some(name)));
            }
            unknown = true;
        }
        if unknown {
            let message = "none of the offered subprotocols is known: offer safechat.v1+json, \
                           safechat.v1+proto or safechat.v1+text, or none for text";
            return Err(Rejection::new(Reason::BadQuery, message));
        }
        Ok((Self::Text, None))
    }

    /// Reads what a client sent. `user` is the user of the path, whom the text protocol names again
    /// in each line.
    pub fn decode(self, message: Incoming<'_>, user: &UserId) -> Result<ClientFrame, Refused> {
        match (self, message) {
            (Self::Text, Incoming::Text(line)) => text::decode(line, user),
            (Self::Json, Incoming::Text(text)) => json::decode(text),
            (Self::Proto, Incoming::Binary(bytes)) => proto::decode(bytes),
            (Self::Text | Self::Json, Incoming::Binary(_)) => Err(Refused::bad_frame(
                "this protocol uses text frames, not binary ones",
            )),
            (Self::Proto, Incoming::Text(_)) => Err(Refused::bad_frame(
                "this protocol uses binary frames, not text ones",
            )),
        }
    }

    /// Reads the answer to a challenge; `None`: it is none.
    pub fn decode_proof(self, message: Incoming<'_>) -> Option<proof::Proof> {
        proof::decode(self, message)
    }

    /// The bytes of a frame; `None` where the protocol has no such frame (the text protocol does
    /// not answer what succeeds).
    pub fn encode(self, room: &RoomId, frame: &ServerFrame) -> Option<Encoded> {
        match (self, frame) {
            (_, ServerFrame::Event(event)) => Some(event.encoded(self)),
            (Self::Text, _) => text::encode(room, frame).map(Encoded::Text),
            (Self::Json, _) => Some(Encoded::Text(json::encode(room, frame))),
            (Self::Proto, _) => Some(Encoded::Binary(proto::encode(room, frame))),
        }
    }
}

/// The name of the text protocol for those who must offer one.
const TEXT: &str = "safechat.v1+text";

/// What is brought as an offered subprotocol, behind this beginning of its name: a browser can send
/// no other header with a WebSocket. The last one counts.
pub fn brought<'a>(offered: impl IntoIterator<Item = &'a str>, beginning: &str) -> Option<&'a str> {
    names(offered)
        .filter_map(|name| name.strip_prefix(beginning))
        .last()
}

fn names<'a>(offered: impl IntoIterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    let names = offered.into_iter().flat_map(|value| value.split(','));
    names.map(str::trim).filter(|name| !name.is_empty())
}

/// Reads the body of `POST /rooms/{room}/messages`: a JSON `send` object; its `type` may be absent.
/// The message has an id.
pub fn decode_send_object(body: &[u8]) -> Result<Message, Refused> {
    let text =
        std::str::from_utf8(body).map_err(|_| Refused::bad_frame("the body must be UTF-8"))?;
    json::decode_send(text)
}

#[cfg(test)]
mod tests;
