//! For whom a command speaks. A gateway stores its commands under its name, which its login binds
//! it to; so what it says there is checked to be of its own sessions, answered to itself. What
//! carries no name comes from a writer, which is trusted with the rooms anyway, or from an older
//! version.

use crate::{bus::Submission, room::Action};

/// Why a node may not say something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Mismatch {
    #[error("it is about sessions of another node")]
    Sessions,
    #[error("it wants its answer sent to another node")]
    Reply,
    #[error("it does not say whose session it is about")]
    Nobody,
    #[error("only a node that writes may say how much is kept, purge or erase")]
    Writers,
}

/// Whether the node of this name may submit this.
pub(super) fn may_say(name: &str, submission: &Submission) -> Result<(), Mismatch> {
    let gateway = match &submission.action {
        Action::Open { gateway, .. } | Action::Abandon { gateway } => Some(*gateway),
        Action::Batch { from, .. } => Some(from.producer.gateway),
        Action::Close { gateway, .. } => Some(gateway.ok_or(Mismatch::Nobody)?),
        // Those that read names submit the messages of sessions in batches.
        Action::Send { turn: Some(_), .. } => return Err(Mismatch::Nobody),
        // An operator may free a name at any node.
        Action::Send { turn: None, .. } | Action::Unpin { .. } => None,
        // Whoever takes over a gateway must not make rooms forget what was said.
        Action::Retain { .. } | Action::Purge | Action::Erase { .. } => {
            return Err(Mismatch::Writers);
        }
    };
    if gateway.is_some_and(|gateway| !gateway.is_of(name)) {
        return Err(Mismatch::Sessions);
    }
    match submission.reply {
        Some(reply) if !reply.node.is_of(name) => Err(Mismatch::Reply),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bus::ReplyTo,
        room::{
            BatchMessage, Body, CommandId, Identity, Incarnation, Key, Producer, ProducerSeq,
            RoomId, SessionId, Turn, UserId,
        },
    };
    use uuid::Uuid;

    #[test]
    fn a_gateway_speaks_for_its_own_sessions_only() {
        let [one, two] = ["one", "two"].map(|name| Incarnation::of_node(name, Uuid::now_v7()));
        let session = SessionId::new(Uuid::from_u128(1));
        let user = UserId::parse("harry").unwrap();
        let key = Key::parse("key").unwrap();
        let id = CommandId::parse("m1").unwrap();
        let turn = Turn { session, number: 1 };
        let body = Body::Text("Hello".into());
        let open = |gateway| Action::Open {
            session,
            user: user.clone(),
            key: key.clone(),
            identity: Identity::Claimed,
            device: None,
            gateway,
            policy: None,
            former: None,
        };
        let close = |gateway| Action::Close { session, gateway };
        let send = |turn| Action::Send {
            user: user.clone(),
            key: key.clone(),
            identity: Identity::Claimed,
            turn,
            after: 0,
            request: None,
            id: id.clone(),
            to: None,
            body: body.clone(),
        };
        let batch = |gateway| Action::Batch {
            from: ProducerSeq {
                producer: Producer {
                    gateway,
                    generation: 1,
                },
                sequence: 1,
            },
            messages: [BatchMessage {
                turn,
                user: user.clone(),
                id: id.clone(),
                to: None,
                body: body.clone(),
            }]
            .into(),
        };
        let abandon = |gateway| Action::Abandon { gateway };
        let unpin = Action::Unpin { user: user.clone() };
        let says = |action, reply: Option<Incarnation>| {
            let room = RoomId::parse("aaa").unwrap();
            let reply = reply.map(|node| ReplyTo { node, tag: 1 });
            let submission = Submission {
                room,
                action,
                reply,
            };
            may_say("one", &submission)
        };
        for own in [
            open(one),
            close(Some(one)),
            batch(one),
            abandon(one),
            send(None),
            unpin,
        ] {
            assert_eq!(says(own.clone(), Some(one)), Ok(()), "{own:?}");
            assert_eq!(says(own.clone(), None), Ok(()), "{own:?}");
            assert_eq!(says(own, Some(two)), Err(Mismatch::Reply));
        }
        for others in [open(two), close(Some(two)), batch(two), abandon(two)] {
            assert_eq!(says(others.clone(), Some(one)), Err(Mismatch::Sessions));
        }
        let erase = Action::Erase {
            user: UserId::parse("harry").unwrap(),
        };
        for forgets in [Action::Retain { own: None }, Action::Purge, erase] {
            assert_eq!(says(forgets, None), Err(Mismatch::Writers));
        }
        for unsaid in [close(None), send(Some(turn))] {
            assert_eq!(says(unsaid, Some(one)), Err(Mismatch::Nobody));
        }
    }
}
