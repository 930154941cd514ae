//! Tests of `room.rs`.

use super::*;
use crate::{
    bus::Submission,
    room::{Action, Body, CommandId, Identity, Key, Millis, Pin, RoomId},
    writer::floor::Floor,
};

#[test]
fn a_room_that_many_came_to_is_saved_less_often() {
    // Nothing moves into records.
    let names = names::Bounds {
        in_snapshot: None,
        most: u64::MAX,
    };
    let (now, epoch, key) = (Instant::now(), Epoch(1), Key::parse("key").unwrap());
    let user = |n: u64| UserId::parse(&format!("user{n}")).unwrap();
    for (users, expected) in [(0, 300), (2_400, 342), (8_000, 1_142)] {
        let pin = Pin {
            key: key.clone(),
            identity: Identity::Claimed,
        };
        let state = State {
            pins: (0..users).map(|n| (user(n), pin.clone())).collect(),
            ..State::default()
        };
        let (mut room, mut floor) = (
            Room::new(state, Seq::ZERO, Position::ZERO, now),
            Floor::new(Position(1)),
        );
        let mut say = |n: u64| {
            let (id, body) = (
                CommandId::parse(&format!("m{n}")).unwrap(),
                Body::Text("Hello".into()),
            );
            let action = Action::Send {
                user: user(0),
                key: key.clone(),
                identity: Identity::Claimed,
                turn: None,
                request: None,
                after: 0,
                id,
                to: None,
                body,
            };
            let submission = Submission {
                room: RoomId::parse("aaa").unwrap(),
                action,
                reply: None,
            };
            let delivery = Delivery {
                position: Position(n),
                at: Millis(n),
                submission,
                trace: Context::default(),
            };
            let ticket = floor.read(&delivery, 1);
            let (boundary, fits) = (|_| Seq(u64::MAX), usize::MAX);
            let bounds = Bounds {
                boundary,
                fits,
                names: u64::MAX,
            };
            room.decide(delivery, ticket, epoch, bounds, now, |_, _, _| {});
            let mut batch = room.next_batch(names).unwrap();
            let commit = batch.take_commit(epoch);
            room.committed(commit, Vec::new(), Span::none(), true, now);
            batch.snapshot.is_some()
        };
        assert_eq!(
            (1..10_000).find(|n| say(*n)),
            Some(expected),
            "{users} users"
        );
    }
}
