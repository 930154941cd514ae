//! One readable line for anything that is on the bus: what `safe-chat decode` prints. With a
//! subject the kind is known; without one it is told by the shape: the bytes are read strictly as
//! each kind, and the kind is believed that gives exactly these bytes again.
//!
//! Contents are shown by size unless they are asked for; keys never.

use super::{
    Answer, Answered, Ask, BatchOutcome, Commit, Head, Inbound, Outcomes, ReplyTo, RoomView,
    Submission, Wanted,
    codec::{
        decode_ask, decode_command, decode_heads, decode_inbound, decode_view, encode_ask,
        encode_command, encode_heads, encode_inbound, encode_view,
    },
};
use crate::{
    journal::codec::{decode_commit, encode_commit},
    room::{Action, Body, CommandId, Event, Kind, RoomId, UserId},
};
use bytes::Bytes;

/// What a payload is.
enum Payload {
    Commit(Commit),
    Command(Submission),
    Inbound(Inbound),
    View(RoomView),
    Heads(Vec<Head>),
    Ask(Ask),
}

/// The line. `bodies`: with the texts of messages.
pub fn describe(bytes: &[u8], subject: Option<&str>, bodies: bool) -> String {
    escaped(&raw(bytes, subject, bodies))
}

/// A record or a refusal may hold anything; in a terminal it must stay one line of text.
fn escaped(line: &str) -> String {
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let escape = |c: char| {
        if breaks(c) {
            c.escape_unicode().to_string()
        } else {
            c.to_string()
        }
    };
    if line.contains(breaks) {
        line.chars().map(escape).collect()
    } else {
        line.into()
    }
}

fn raw(bytes: &[u8], subject: Option<&str>, bodies: bool) -> String {
    if bytes.is_empty() {
        return "(empty)".into();
    }
    if bytes.starts_with(b"{")
        && let Ok(record) = serde_json::from_slice::<serde_json::Value>(bytes)
    {
        return record.to_string();
    }
    match subject.map_or_else(|| by_shape(bytes), |subject| by_subject(bytes, subject)) {
        Some(payload) => line(&payload, bodies),
        None => format!("{} bytes that are nothing of safe-chat's", bytes.len()),
    }
}

/// By the second token of the subject, `<prefix>.<kind>. ...`.
fn by_subject(bytes: &[u8], subject: &str) -> Option<Payload> {
    let owned = Bytes::copy_from_slice(bytes);
    match subject.split('.').nth(1) {
        Some("cmd") => decode_command(&room_of(subject), owned)
            .ok()
            .map(Payload::Command),
        Some("evt" | "live") => decode_commit(bytes).ok().map(Payload::Commit),
        Some("node") => decode_inbound(owned).ok().map(Payload::Inbound),
        Some("head") => decode_heads(owned).ok().map(Payload::Heads),
        Some("ask") => decode_ask(owned).ok().map(Payload::Ask),
        _ => by_shape(bytes),
    }
}

fn by_shape(bytes: &[u8]) -> Option<Payload> {
    let owned = || Bytes::copy_from_slice(bytes);
    let same = |again: Bytes| again == bytes;
    // Stored commits of older versions are not written the same again: a known event name in each
    // event is proof enough.
    let commit = || {
        decode_commit(bytes)
            .ok()
            .filter(|commit| !commit.events.is_empty() || same(encode_commit(commit)))
    };
    let command = || {
        decode_command(&room_of(""), owned())
            .ok()
            .filter(|command| same(encode_command(command)))
    };
    let inbound = || {
        decode_inbound(owned())
            .ok()
            .filter(|inbound| same(encode_inbound(inbound)))
    };
    let view = || {
        decode_view(owned())
            .ok()
            .filter(|view| same(encode_view(view)))
    };
    let heads = || {
        decode_heads(owned())
            .ok()
            .filter(|heads| same(encode_heads(heads)))
    };
    let ask = || decode_ask(owned()).ok().filter(|ask| same(encode_ask(ask)));
    commit()
        .map(Payload::Commit)
        .or_else(|| command().map(Payload::Command))
        .or_else(|| inbound().map(Payload::Inbound))
        .or_else(|| view().map(Payload::View))
        .or_else(|| heads().map(Payload::Heads))
        .or_else(|| ask().map(Payload::Ask))
}

/// The room that a subject ends with; without one a dash, which is a room's name too.
fn room_of(subject: &str) -> RoomId {
    let dash = || RoomId::parse("-").expect("a dash is a name");
    subject
        .rsplit('.')
        .next()
        .and_then(|name| RoomId::parse(name).ok())
        .unwrap_or_else(dash)
}

fn line(payload: &Payload, bodies: bool) -> String {
    match payload {
        Payload::Commit(Commit { epoch, events }) if events.is_empty() => {
            format!("claim epoch {epoch}")
        }
        Payload::Commit(commit) => {
            let events: Vec<_> = commit
                .events
                .iter()
                .map(|event| event_line(event, bodies))
                .collect();
            format!("commit epoch {} | {}", commit.epoch, events.join(" | "))
        }
        Payload::Command(submission) => command_line(submission, bodies),
        Payload::Inbound(Inbound::Answer(Answer { tag, answered })) => match answered {
            Answered::Journaled {
                seq,
                epoch,
                duplicate,
            } => {
                format!(
                    "answer {tag}: journaled {seq} epoch {epoch}{}",
                    if *duplicate { " (duplicate)" } else { "" }
                )
            }
            Answered::Rejected(rejection) => format!("answer {tag}: rejected {rejection}"),
        },
        Payload::Inbound(Inbound::Early { tag }) => format!("early {tag}"),
        Payload::Inbound(Inbound::Outcomes(outcomes)) => outcomes_line(outcomes),
        Payload::Inbound(Inbound::Replaced { room, session }) => {
            format!("replaced session {session} in {room}")
        }
        Payload::Inbound(Inbound::Expel { room, user }) => format!("expel {user} from {room}"),
        Payload::View(view) => {
            let refused = view
                .refused
                .as_ref()
                .map(|refused| format!(", refused {refused}"))
                .unwrap_or_default();
            let more = if view.more_members { " and more" } else { "" };
            format!(
                "view epoch {} head {} with {} members{more}{refused}",
                view.epoch,
                view.head,
                view.members.len()
            )
        }
        Payload::Heads(heads) => {
            let heads: Vec<_> = heads
                .iter()
                .map(|head| format!("{} {} epoch {}", head.room, head.seq, head.epoch))
                .collect();
            format!("heads | {}", heads.join(" | "))
        }
        Payload::Ask(ask) => {
            let (room, who) = (&ask.room, &ask.admission);
            match (who, &ask.members) {
                (Some(who), _) => format!("ask {room} whether {} may join", who.user),
                (None, Wanted::After(Some(name))) => format!("ask {room} who is behind {name}"),
                (None, _) => format!("ask {room}"),
            }
        }
    }
}

fn outcomes_line(Outcomes { room, batches }: &Outcomes) -> String {
    let batches = batches.iter().map(|of| {
        let said = match &of.outcome {
            BatchOutcome::OutOfOrder { expected } => format!("out of order, expected {expected}"),
            BatchOutcome::Refused(rejection) => format!("refused {rejection}"),
            BatchOutcome::Messages(messages) => format!("{} answers", messages.len()),
        };
        format!("batch {}.{}: {said}", of.generation, of.sequence)
    });
    format!(
        "outcomes in {room} | {}",
        batches.collect::<Vec<_>>().join(" | ")
    )
}

fn event_line(event: &Event, bodies: bool) -> String {
    let what = match &event.kind {
        Kind::Joined { user } => format!("{user} joined"),
        Kind::Left { user } => format!("{user} left"),
        Kind::Unpinned { user, changed } => {
            let how = if *changed { ", by its former key" } else { "" };
            format!("{user} unpinned{how}")
        }
        Kind::Purged => "purged".into(),
        Kind::Erased { user, through } => format!("{user} erased up to {through}"),
        Kind::Message {
            from, to, body, id, ..
        } => message_line(from, to.as_ref(), body, id.as_ref(), bodies),
    };
    let changes = match event.changes.len() {
        0 => String::new(),
        n => format!(" (+{n} changes)"),
    };
    format!("{} {what}{changes}", event.seq)
}

fn command_line(Submission { action, reply, .. }: &Submission, bodies: bool) -> String {
    let what = match action {
        Action::Open {
            session,
            user,
            device,
            gateway,
            ..
        } => {
            let device = device
                .as_ref()
                .map(|device| format!(" on {device}"))
                .unwrap_or_default();
            format!("open session {session} of {user}{device} at {gateway}")
        }
        Action::Close { session, .. } => format!("close session {session}"),
        Action::Abandon { gateway } => format!("abandon {gateway}"),
        Action::Unpin { user } => format!("unpin {user}"),
        Action::Retain { own: Some(own) } => format!("retain {own}"),
        Action::Retain { own: None } => "retain as much as of all rooms".into(),
        Action::Purge => "purge".into(),
        Action::Erase { user } => format!("erase {user}"),
        Action::Send {
            user, to, body, id, ..
        } => format!(
            "send {}",
            message_line(user, to.as_ref(), body, Some(id), bodies)
        ),
        Action::Batch { from, messages } => {
            let lines = messages.iter().map(|message| {
                let (to, id) = (message.to.as_ref(), Some(&message.id));
                message_line(&message.user, to, &message.body, id, bodies)
            });
            format!(
                "batch {}.{} of {} | {}",
                from.producer.generation,
                from.sequence,
                from.producer.gateway,
                lines.collect::<Vec<_>>().join(" | ")
            )
        }
    };
    let reply = reply
        .map(|ReplyTo { node, tag }| format!(", answer {tag} to {node}"))
        .unwrap_or_default();
    format!("command {what}{reply}")
}

fn message_line(
    from: &UserId,
    to: Option<&UserId>,
    body: &Body,
    id: Option<&CommandId>,
    bodies: bool,
) -> String {
    let to = to.map_or("*", UserId::as_str);
    let body = match body {
        Body::Text(text) if bodies => format!("{text:?}"),
        Body::Text(text) => format!("{} bytes of text", text.len()),
        Body::Sealed(bytes) => format!("{} bytes sealed", bytes.len()),
        Body::Handshake(bytes) => format!("handshake of {} bytes", bytes.len()),
        Body::Erased => "erased".into(),
    };
    let id = id
        .and_then(CommandId::shown)
        .map(|id| format!(" (id {id})"))
        .unwrap_or_default();
    format!("{from} -> {to}: {body}{id}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::Admission;
    use crate::room::{
        Epoch, Identity, Incarnation, Key, Millis, Reason, Rejection, Seq, SessionId, Turn,
    };
    use uuid::Uuid;

    const NODE: Incarnation = Incarnation::new(Uuid::from_u128(0x1122));
    const SESSION: SessionId = SessionId::new(Uuid::from_u128(0x3344));

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    fn room(name: &str) -> RoomId {
        RoomId::parse(name).unwrap()
    }

    fn commit() -> Commit {
        let id = CommandId::parse("c-1");
        let message = Kind::Message {
            from: user("harry"),
            to: None,
            body: Body::Text("secret".into()),
            id,
            device: None,
            turn: None,
            request: None,
        };
        let event = |seq, kind| Event {
            seq: Seq(seq),
            at: Millis(1),
            kind,
            changes: Vec::new(),
        };
        Commit {
            epoch: Epoch(3),
            events: vec![
                event(
                    8,
                    Kind::Joined {
                        user: user("harry"),
                    },
                ),
                event(9, message),
            ],
        }
    }

    fn commands() -> Vec<Submission> {
        let key = Key::parse("topsecret").unwrap();
        let send = |body| Action::Send {
            user: user("harry"),
            key: key.clone(),
            identity: Identity::Claimed,
            turn: Some(Turn {
                session: SESSION,
                number: 1,
            }),
            request: None,
            after: 0,
            id: CommandId::Gateway(SESSION, 1),
            to: None,
            body,
        };
        let actions = [
            Action::Open {
                session: SESSION,
                user: user("harry"),
                key: key.clone(),
                identity: Identity::Claimed,
                device: None,
                gateway: NODE,
                policy: None,
                former: None,
            },
            Action::Close {
                session: SESSION,
                gateway: Some(NODE),
            },
            Action::Abandon { gateway: NODE },
            Action::Unpin {
                user: user("harry"),
            },
            send(Body::Text("secret".into())),
            send(Body::Sealed(vec![1, 2, 3].into())),
        ];
        let reply = Some(ReplyTo { node: NODE, tag: 5 });
        actions
            .into_iter()
            .map(|action| Submission {
                room: room("-"),
                action,
                reply,
            })
            .collect()
    }

    /// Every kind, and how its line begins.
    fn samples() -> Vec<(Bytes, &'static str)> {
        let claim = Commit {
            epoch: Epoch(4),
            events: Vec::new(),
        };
        let rejected = Answered::Rejected(Rejection::new(Reason::Busy, "later"));
        let journaled = Answered::Journaled {
            seq: Seq(9),
            epoch: Epoch(3),
            duplicate: true,
        };
        let view = RoomView {
            epoch: Epoch(3),
            head: Seq(9),
            members: vec![user("harry")],
            snapshot: Seq(7),
            ..RoomView::default()
        };
        let head = |name: &str| Head {
            room: room(name),
            epoch: Epoch(3),
            seq: Seq(9),
        };
        let mut samples = vec![
            (
                encode_commit(&commit()),
                "commit epoch 3 | 8 harry joined | 9 harry -> *: 6 bytes of text (id c-1)",
            ),
            (encode_commit(&claim), "claim epoch 4"),
            (
                encode_inbound(&Inbound::Answer(Answer {
                    tag: 7,
                    answered: journaled,
                })),
                "answer 7: journaled 9 epoch 3 (duplicate)",
            ),
            (
                encode_inbound(&Inbound::Answer(Answer {
                    tag: 7,
                    answered: rejected,
                })),
                "answer 7: rejected busy",
            ),
            (encode_inbound(&Inbound::Early { tag: 7 }), "early 7"),
            (
                encode_inbound(&Inbound::Replaced {
                    room: room("sixteen-letters-"),
                    session: SESSION,
                }),
                "replaced session",
            ),
            (
                encode_inbound(&Inbound::Expel {
                    room: room("lobby"),
                    user: user("harry"),
                }),
                "expel harry from lobby",
            ),
            (encode_view(&view), "view epoch 3 head 9 with 1 members"),
            (
                encode_heads(&[head("lobby"), head("den")]),
                "heads | lobby 9 epoch 3 | den 9 epoch 3",
            ),
            (encode_ask(&Ask::room(room("lobby"))), "ask lobby"),
            (
                encode_ask(&Ask::admission(
                    room("lobby"),
                    Admission {
                        user: user("harry"),
                        key: Key::parse("secret").unwrap(),
                        identity: Identity::Claimed,
                        device: None,
                        policy: None,
                        former: None,
                    },
                )),
                "ask lobby whether harry may join",
            ),
        ];
        let begins = [
            "command open",
            "command close",
            "command abandon",
            "command unpin",
            "command send",
            "command send",
        ];
        samples.extend(commands().iter().map(encode_command).zip(begins));
        samples
    }

    #[test]
    fn every_kind_is_told_by_its_shape() {
        for (bytes, begins) in samples() {
            let line = describe(&bytes, None, false);
            assert!(line.starts_with(begins), "{line}");
        }
    }

    #[test]
    fn bodies_are_shown_only_when_asked_for_and_keys_never() {
        for (bytes, _) in samples() {
            assert!(!describe(&bytes, None, false).contains("secret"));
            assert!(!describe(&bytes, None, true).contains("topsecret"));
        }
        assert!(
            describe(&encode_commit(&commit()), Some("chat.evt.3.lobby"), true)
                .contains("\"secret\"")
        );
    }

    #[test]
    fn whatever_it_holds_is_one_line_without_control_characters() {
        let rejected =
            Answered::Rejected(Rejection::new(Reason::Busy, "later\r\n\u{1b}[2J\u{2028}"));
        let line = describe(
            &encode_inbound(&Inbound::Answer(Answer {
                tag: 7,
                answered: rejected,
            })),
            None,
            false,
        );
        assert_eq!(
            line,
            r"answer 7: rejected busy: later\u{d}\u{a}\u{1b}[2J\u{2028}"
        );
        assert_eq!(
            describe("{\"name\":\"\u{9b}2J\"}".as_bytes(), None, false),
            r#"{"name":"\u{9b}2J"}"#
        );
    }

    #[test]
    fn a_subject_says_the_kind_and_anything_else_is_not_ours() {
        let close = encode_command(&commands()[1]);
        assert!(describe(&close, Some("chat.cmd.3.lobby"), false).starts_with("command close"));
        assert_eq!(
            describe(&close, Some("chat.live.3.lobby"), false),
            "31 bytes that are nothing of safe-chat's".replace("31", &close.len().to_string())
        );
        assert_eq!(describe(b"", None, false), "(empty)");
        assert_eq!(
            describe(b"hello world", None, false),
            "11 bytes that are nothing of safe-chat's"
        );
        assert_eq!(
            describe(br#"{"shards":64}"#, Some("$KV.CHAT_SHARDS.settings"), false),
            r#"{"shards":64}"#
        );
    }
}
