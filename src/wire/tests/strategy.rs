//! Any frame, for the property tests.

use super::*;
use crate::{
    room::{Epoch, Identity, Policy, SessionId, Token},
    wire::proof::Nonce,
};
use proptest::{collection::vec, option, prelude::*};
use std::sync::Arc;
use uuid::Uuid;

pub(super) fn any_user() -> impl Strategy<Value = UserId> {
    "[A-Za-z0-9_-]{1,64}".prop_map(|name| UserId::parse(&name).unwrap())
}

pub(super) fn any_room() -> impl Strategy<Value = RoomId> {
    "[A-Za-z0-9_-]{1,64}".prop_map(|name| RoomId::parse(&name).unwrap())
}

fn any_id() -> impl Strategy<Value = Arc<str>> {
    "[!-~]{1,64}".prop_map(Into::into)
}

/// Text with many of the characters that make trouble.
fn any_text() -> impl Strategy<Value = String> {
    let nasty = prop::sample::select(vec![
        '\n', '\r', '\t', '\0', '\u{1b}', '\u{7f}', '\u{85}', '\u{9b}', '\u{2028}', '\u{2029}',
        '[', ']', '!', ':', '\\', '"', '>',
    ]);
    vec(prop_oneof![nasty, any::<char>()], 1..200).prop_map(String::from_iter)
}

fn any_body() -> impl Strategy<Value = Body> {
    prop_oneof![
        any_text().prop_map(|text| Body::Text(text.as_str().into())),
        vec(any::<u8>(), 1..200).prop_map(|bytes| Body::Sealed(bytes.into())),
        vec(any::<u8>(), 1..200).prop_map(|bytes| Body::Handshake(bytes.into())),
    ]
}

fn any_stored() -> impl Strategy<Value = Body> {
    prop_oneof![3 => any_body(), 1 => Just(Body::Erased)]
}

pub(super) fn any_message() -> impl Strategy<Value = Message> {
    (any_id(), option::of(any_user()), any_body()).prop_map(|(id, to, body)| Message {
        id: Some(CommandId::Client(id)),
        to,
        body,
    })
}

pub(super) fn any_client_frame() -> impl Strategy<Value = ClientFrame> {
    prop_oneof![
        any_message().prop_map(ClientFrame::Send),
        (any_id(), option::of(any::<u64>()), 1_u16..=500).prop_map(|(id, before, limit)| {
            ClientFrame::History {
                id,
                before: before.map(Seq),
                limit,
            }
        }),
        (any_id(), option::of(any_user()))
            .prop_map(|(id, after)| ClientFrame::Members { id, after }),
        any_id().prop_map(|id| ClientFrame::Ping { id }),
        (any_id(), "[!-~]{1,200}").prop_map(|(id, token)| ClientFrame::Token {
            id,
            token: Token::new(&token),
        }),
    ]
}

fn any_session() -> impl Strategy<Value = SessionId> {
    any::<u128>().prop_map(|id| SessionId::new(Uuid::from_u128(id)))
}

fn any_kind() -> impl Strategy<Value = Kind> {
    let gateway_id = any_session().prop_map(|session| CommandId::Gateway(session, 1));
    let id = option::of(prop_oneof![
        any_id().prop_map(CommandId::Client),
        gateway_id
    ]);
    prop_oneof![
        any_user().prop_map(|user| Kind::Joined { user }),
        any_user().prop_map(|user| Kind::Left { user }),
        (any_user(), any::<bool>()).prop_map(|(user, changed)| Kind::Unpinned { user, changed }),
        Just(Kind::Purged),
        (any_user(), any::<u64>()).prop_map(|(user, through)| Kind::Erased {
            user,
            through: Seq(through),
        }),
        (any_user(), option::of(any_user()), any_stored(), id).prop_map(|(from, to, body, id)| {
            Kind::Message {
                from,
                to,
                body,
                id,
                device: None,
                turn: None,
                request: None,
            }
        }),
    ]
}

pub(super) fn any_event() -> impl Strategy<Value = Event> {
    (any::<u64>(), any::<u64>(), any_kind()).prop_map(|(seq, at, kind)| Event {
        seq: Seq(seq),
        at: Millis(at),
        kind,
        changes: Vec::new(),
    })
}

fn any_rejection() -> impl Strategy<Value = Rejection> {
    (
        prop::sample::select(Reason::ALL.to_vec()),
        any_text(),
        option::of(any::<u64>()),
        option::of(any::<u64>().prop_map(Seq)),
    )
        .prop_map(|(reason, message, retry_after_ms, seq)| Rejection {
            reason,
            message,
            retry_after_ms,
            seq,
        })
}

fn any_welcome() -> impl Strategy<Value = ServerFrame> {
    let numbers = (any::<u64>(), any::<bool>(), any::<u64>(), 0..3_usize);
    (
        any_user(),
        any_session(),
        numbers,
        vec(any_user(), 0..5),
        any_text(),
    )
        .prop_map(
            |(user, session, (seq, recovered, epoch, left_out), members, node)| {
                ServerFrame::Welcome {
                    user,
                    session,
                    seq: Seq(seq),
                    recovered,
                    members,
                    left_out,
                    epoch: Epoch(epoch),
                    node,
                    identity: Identity::of(recovered),
                    policy: Policy::ALL[(seq % 3) as usize],
                }
            },
        )
}

/// Any frame of the server to a client of room `aaa`.
pub(super) fn any_server_frame() -> impl Strategy<Value = ServerFrame> {
    prop_oneof![
        (any::<[u8; 32]>(), any::<u64>()).prop_map(|(nonce, within_ms)| ServerFrame::Challenge {
            nonce: Nonce(nonce),
            within_ms,
        }),
        any_welcome(),
        any_event().prop_map(|event| ServerFrame::Event(SharedEvent::new(room(), event))),
        any_id().prop_map(|id| ServerFrame::Accepted { id }),
        (any_id(), any::<u64>(), any::<u64>(), any::<bool>()).prop_map(
            |(id, seq, epoch, duplicate)| {
                ServerFrame::Journaled {
                    id,
                    seq: Seq(seq),
                    epoch: Epoch(epoch),
                    duplicate,
                }
            }
        ),
        (option::of(any_id()), any_rejection())
            .prop_map(|(id, rejection)| ServerFrame::Rejected { id, rejection }),
        (
            option::of(any_id()),
            vec(any_event(), 0..4),
            any::<bool>(),
            option::of((any::<u64>(), any::<u64>()))
        )
            .prop_map(|(id, events, more, missing)| ServerFrame::History {
                id,
                events,
                more,
                missing: missing.map(|(first, last)| (Seq(first), Seq(last))),
            }),
        (any_id(), vec(any_user(), 0..5), any::<bool>())
            .prop_map(|(id, members, more)| ServerFrame::Members { id, members, more }),
        any_id().prop_map(|id| ServerFrame::Pong { id }),
        (any::<u64>(), any_text()).prop_map(|(seq, reason)| ServerFrame::Reset {
            seq: Seq(seq),
            reason: reason.into()
        }),
        (any_text(), any::<u64>()).prop_map(|(reason, reconnect_after_ms)| ServerFrame::Bye {
            reason: reason.into(),
            reconnect_after_ms
        }),
        any::<u64>().prop_map(|expires_in_ms| ServerFrame::Expiring { expires_in_ms }),
        (any_id(), option::of(any::<u64>()))
            .prop_map(|(id, expires_in_ms)| ServerFrame::Refreshed { id, expires_in_ms }),
    ]
}
