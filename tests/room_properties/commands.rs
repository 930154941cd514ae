//! Random histories of commands, of a small world.

use proptest::{collection::vec, option, prelude::*};
use safe_chat::room::{
    Action, BatchMessage, Body, Command, CommandId, DeviceId, Identity, Incarnation, Key, Millis,
    Policy, Producer, ProducerSeq, RequestId, Retention, SessionId, Turn, UserId,
};
use std::collections::HashMap;
use uuid::Uuid;

pub(super) fn session(n: u8) -> SessionId {
    SessionId::new(Uuid::from_u128(1000 + u128::from(n)))
}

pub(super) fn gateway(n: u8) -> Incarnation {
    Incarnation::new(Uuid::from_u128(u128::from(n)))
}

pub(super) fn request(n: u8) -> RequestId {
    RequestId::new(Uuid::from_u128(2000 + u128::from(n)))
}

pub(super) fn user(n: u8) -> UserId {
    UserId::parse(&format!("user-{n}")).unwrap()
}

pub(super) fn key(n: u8) -> Key {
    Key::parse(&format!("key-{n}")).unwrap()
}

prop_compose! {
    fn open()(s in 0..40u8, k in 0..8u8, f in 0..4u8, proven in any::<bool>(), device in option::of(0..2u8), g in 0..3u8, p in 0..12usize) -> Action {
        // A session belongs to one user; one in eight brings the wrong key.
        let device = device.map(|n| DeviceId::parse(&format!("device-{n}")).unwrap());
        Action::Open { session: session(s), user: user(s % 3), key: key(if k == 0 { 9 } else { s % 3 }), identity: Identity::of(proven), device, gateway: gateway(g), policy: Policy::ALL.get(p).copied(), former: (f == 0).then(|| key(if k == 0 { s % 3 } else { 9 })) }
    }
}

prop_compose! {
    fn send()(u in 0..3u8, s in option::of(0..40u8), number in 0..6u64, after in 0..4u64, id in 0..30u8, k in 0..8u8, proven in any::<bool>(), r in option::of(0..40u8)) -> Action {
        let from = s.map_or(u, |s| s % 3);
        Action::Send {
            user: user(from),
            key: key(if k == 0 { 9 } else { from }),
            identity: Identity::of(proven),
            turn: s.map(|s| Turn { session: session(s), number }),
            request: r.filter(|_| s.is_none()).map(request),
            after: if s.is_some() { after } else { 0 },
            id: CommandId::parse(&format!("id-{id}")).unwrap(),
            to: None,
            body: Body::Text("hello".into()),
        }
    }
}

prop_compose! {
    /// Batches of three gateways, each with two generations. What is in one follows from its
    /// number: sent again it is the same.
    fn batch()(g in 0..3u8, generation in 1..3u64, sequence in 1..5u64) -> Action {
        let producer = Producer { gateway: gateway(g), generation };
        let first = generation * 100 + sequence * 10;
        let message = |n: u64| {
            let s = ((first + 7 * n) % 40) as u8;
            BatchMessage {
                turn: Turn { session: session(s), number: 1_000 + first + n },
                user: user(s % 3),
                id: CommandId::parse(&format!("id-{}", (first * 3 + n) % 30)).unwrap(),
                to: None,
                body: Body::Text("hello".into()),
            }
        };
        Action::Batch { from: ProducerSeq { producer, sequence }, messages: (0..4).map(message).collect() }
    }
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => batch(),
        4 => open(),
        3 => (0..40u8).prop_map(|s| Action::Close { session: session(s), gateway: None }),
        6 => send(),
        1 => (0..3u8).prop_map(|g| Action::Abandon { gateway: gateway(g) }),
        1 => Just(Action::Purge),
        1 => (0..3u8).prop_map(|u| Action::Erase { user: user(u) }),
        1 => (0..3u8).prop_map(|u| Action::Unpin { user: user(u) }),
        1 => prop::option::of(1..9u64).prop_map(|most| Action::Retain {
            own: most.map(|most| Retention { events: Some(most), ..Retention::default() }),
        }),
    ]
}

/// Commands as the bus stores them: each with a time of its own. Nobody sends through a session
/// before it was opened, and a number of a session names one message: a second one would be taken
/// for it. So does a request. Both are of one key.
pub(super) fn commands() -> impl Strategy<Value = Vec<Command>> {
    vec(action(), 0..120).prop_map(|mut actions| {
        let (mut opened, mut numbered) = (HashMap::new(), HashMap::new());
        let mut requested = HashMap::new();
        actions.retain_mut(|action| match action {
            Action::Open {
                session,
                key,
                identity,
                ..
            } => {
                let is_new = !opened.contains_key(session);
                opened
                    .entry(*session)
                    .or_insert_with(|| (key.clone(), *identity));
                is_new
            }
            Action::Send {
                turn: Some(turn),
                id,
                key,
                identity,
                ..
            } => {
                // A gateway brings the key that opened the session, and what was shown of it.
                let Some(opened) = opened.get(&turn.session) else {
                    return false;
                };
                (*key, *identity) = opened.clone();
                let message = (id.clone(), key.clone(), *identity);
                let mut is_named = || {
                    let named = numbered.entry((turn.session, turn.number));
                    *named.or_insert_with(|| message.clone()) == message
                };
                turn.number == 0 || is_named()
            }
            Action::Send {
                request: Some(request),
                user,
                id,
                key,
                identity,
                ..
            } => {
                let message = (user.clone(), id.clone(), key.clone(), *identity);
                let asked = requested.entry(*request);
                *asked.or_insert_with(|| message.clone()) == message
            }
            Action::Send { turn: None, .. }
            | Action::Batch { .. }
            | Action::Close { .. }
            | Action::Abandon { .. }
            | Action::Unpin { .. }
            | Action::Retain { .. }
            | Action::Purge
            | Action::Erase { .. } => true,
        });
        (1..)
            .zip(actions)
            .map(|(at, action)| Command {
                at: Millis(at),
                action,
            })
            .collect()
    })
}
