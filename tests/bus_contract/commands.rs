//! Commands: stored, in order, until they are discarded.

use crate::{
    things::*,
    world::{self, World, shard_of},
};
use safe_chat::{
    bus::{Bus, Error, Position, ReplyTo, Submission},
    room::{
        Action, BatchMessage, Body, CommandId, DeviceId, Identity, Millis, Producer, ProducerSeq,
        ShardId, Turn,
    },
};

pub(crate) async fn a_command_is_delivered_as_it_was_submitted(world: World) {
    let device = DeviceId::parse("phone").ok();
    let gateway = node();
    let actions = [
        Action::Open {
            session: session(),
            user: user("harry"),
            key: key(),
            identity: Identity::Claimed,
            device: device.clone(),
            gateway,
            policy: None,
            former: None,
        },
        Action::Open {
            session: session(),
            user: user("harry"),
            key: key(),
            identity: Identity::Claimed,
            device: None,
            gateway,
            policy: None,
            former: None,
        },
        Action::Close {
            session: session(),
            gateway: None,
        },
        Action::Close {
            session: session(),
            gateway: Some(node()),
        },
        Action::Abandon { gateway },
        Action::Send {
            user: user("harry"),
            key: key(),
            identity: Identity::Claimed,
            turn: Some(Turn {
                session: session(),
                number: 7,
            }),
            request: None,
            after: 6,
            id: CommandId::Gateway(session(), 7),
            to: Some(user("charly")),
            body: Body::Sealed(vec![0, 159, 146, 150].into()),
        },
        send("lobby", 1).action,
        Action::Batch {
            from: ProducerSeq {
                producer: Producer {
                    gateway,
                    generation: 3,
                },
                sequence: 9,
            },
            messages: (1..=256)
                .map(|number| BatchMessage {
                    turn: Turn {
                        session: session(),
                        number,
                    },
                    user: user("harry"),
                    id: CommandId::Gateway(session(), number),
                    to: (number % 2 == 0).then(|| user("charly")),
                    body: match number % 3 {
                        0 => Body::Sealed(vec![0, 159, 146, 150].into()),
                        _ => Body::Text("x".repeat(512).into()),
                    },
                })
                .collect(),
        },
    ];
    let mut reader = world
        .b
        .commands(shard_of(&room("lobby")), Position::ZERO)
        .await
        .unwrap();
    let mut before = (Position::ZERO, 0);
    for (n, action) in actions.into_iter().enumerate() {
        let reply = (n % 2 == 0).then_some(ReplyTo {
            node: gateway,
            tag: n as u64,
        });
        let submission = Submission {
            room: room("lobby"),
            action,
            reply,
        };
        let position = world.a.submit(&submission).await.unwrap();
        let delivery = next(&mut reader).await;
        assert_eq!(
            (delivery.position, &delivery.submission),
            (position, &submission)
        );
        assert!(
            position > before.0 && delivery.at.0 >= before.1,
            "positions rise and time does not fall"
        );
        before = (position, delivery.at.0);
    }
}

pub(crate) async fn a_shard_sees_its_own_commands_in_stored_order(world: World) {
    let rooms: Vec<String> = (0..12).map(|n| format!("room-{n}")).collect();
    for n in 0..120 {
        world
            .a
            .submit(&send(&rooms[n % rooms.len()], n as u64))
            .await
            .unwrap();
    }
    let shard = shard_of(&room(&rooms[0]));
    let of_shard = |n: &u64| shard_of(&room(&rooms[*n as usize % rooms.len()])) == shard;
    let mut reader = world.b.commands(shard, Position::ZERO).await.unwrap();
    for expected in (0..120).filter(of_shard) {
        assert_eq!(number(&next(&mut reader).await.submission), expected);
    }
}

pub(crate) async fn a_reader_starts_where_it_is_told_and_sees_what_comes_later(world: World) {
    let shard = shard_of(&room("lobby"));
    let mut positions = Vec::new();
    for n in 0..10 {
        positions.push(world.a.submit(&send("lobby", n)).await.unwrap());
    }
    let mut from_sixth = world.b.commands(shard, positions[6]).await.unwrap();
    let mut from_end = world.b.commands(shard, positions[9].next()).await.unwrap();
    for n in 10..13 {
        world.a.submit(&send("lobby", n)).await.unwrap();
    }
    for expected in 6..13 {
        assert_eq!(number(&next(&mut from_sixth).await.submission), expected);
    }
    for expected in 10..13 {
        assert_eq!(number(&next(&mut from_end).await.submission), expected);
    }
}

pub(crate) async fn discarded_commands_are_not_read_again(world: World) {
    let (shard, other) = (
        shard_of(&room("lobby")),
        (0..)
            .map(|n| format!("other-{n}"))
            .find(|name| shard_of(&room(name)) != shard_of(&room("lobby"))),
    );
    let other = other.unwrap();
    world.a.submit(&send(&other, 100)).await.unwrap();
    let mut positions = Vec::new();
    for n in 0..10 {
        positions.push(world.a.submit(&send("lobby", n)).await.unwrap());
    }
    let mut reader = world.b.commands(shard, positions[6]).await.unwrap();
    let newest = next(&mut reader).await;
    assert!(
        world
            .b
            .discard(shard, positions[7], Some((newest.position, newest.at)))
            .await
            .unwrap()
    );
    assert!(
        world
            .b
            .discard(shard, positions[7], Some((newest.position, newest.at)))
            .await
            .unwrap(),
        "once more"
    );
    world.b.discard(shard, Position::ZERO, None).await.unwrap();
    // As after a loss of the tail: it ends before, or another command is there now.
    assert!(
        !world
            .b
            .discard(shard, Position(positions[9].0 + 1000), None)
            .await
            .unwrap()
    );
    assert!(
        !world
            .b
            .discard(shard, positions[9].next(), Some((positions[9], Millis(7))))
            .await
            .unwrap()
    );
    // An adapter may keep the very last of them, and a copy of the stream that lags behind may show
    // more for a moment.
    soon(async {
        loop {
            let mut reader = world.b.commands(shard, Position::ZERO).await.unwrap();
            if (6..=7).contains(&number(&next(&mut reader).await.submission)) {
                return;
            }
        }
    })
    .await;
    let mut others = world
        .b
        .commands(shard_of(&room(&other)), Position::ZERO)
        .await
        .unwrap();
    assert_eq!(
        number(&next(&mut others).await.submission),
        100,
        "other shards keep theirs"
    );
}

pub(crate) async fn a_full_bus_refuses_and_stores_nothing(world: World) {
    let small = world.small().await;
    let mut stored = 0;
    let error = loop {
        assert!(stored < 10_000, "it is never full");
        match small.a.submit(&send("lobby", stored)).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Full(_)), "{error:?}");
    let shard = shard_of(&room("lobby"));
    let mut reader = small.b.commands(shard, Position::ZERO).await.unwrap();
    let mut last = Position::ZERO;
    for expected in 0..stored {
        let delivery = next(&mut reader).await;
        assert_eq!(number(&delivery.submission), expected);
        last = delivery.position;
    }
    assert!(small.b.discard(shard, last.next(), None).await.unwrap());
    small.a.submit(&send("lobby", 77_777)).await.unwrap();
    assert_eq!(
        number(&next(&mut reader).await.submission),
        77_777,
        "the refused one was not stored"
    );
}

/// Submits so many commands at the same time, to several rooms, and reads all shards: what was said
/// to be stored is there, each at its own place, and nothing else is.
pub(crate) async fn submit_at_once(a: &dyn Bus, count: u64) -> Vec<Result<Position, Error>> {
    let to = |n: u64| format!("room-{}", n % 12);
    let before = a.submit(&send(&to(0), count)).await.unwrap();
    let submissions: Vec<_> = (0..count).map(|n| send(&to(n), n)).collect();
    let submitting = submissions.iter().map(|submission| a.submit(submission));
    let outcomes = futures::future::join_all(submitting).await;
    let mut stored: Vec<(Position, u64)> = (0_u64..)
        .zip(&outcomes)
        .filter_map(|(n, outcome)| Some((*outcome.as_ref().ok()?, n)))
        .collect();
    // Behind all of them.
    let mut ends = Vec::new();
    for n in 0..12 {
        ends.push(a.submit(&send(&to(n), count + n)).await);
    }
    let mut read = Vec::new();
    for shard in 0..world::SHARDS {
        let last = (0..12).filter(|n| shard_of(&room(&to(*n))) == ShardId(shard));
        let Some(last) = last.filter_map(|n| ends[n as usize].as_ref().ok()).max() else {
            continue;
        };
        let mut reader = a.commands(ShardId(shard), before.next()).await.unwrap();
        loop {
            let delivery = next(&mut reader).await;
            let n = number(&delivery.submission);
            assert_eq!(delivery.submission.room, room(&to(n % count)));
            if n < count {
                read.push((delivery.position, n));
            }
            if delivery.position == *last {
                break;
            }
        }
    }
    stored.sort_unstable();
    read.sort_unstable();
    assert_eq!(read, stored);
    outcomes
}

pub(crate) async fn what_is_submitted_at_once_is_each_where_it_is_said_to_be(world: World) {
    let outcomes = submit_at_once(&*world.a, 200).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
}

pub(crate) async fn of_what_comes_at_once_a_full_bus_stores_what_it_has_room_for(world: World) {
    let small = world.small().await;
    let many = (0..500).map(|n| send("lobby", n)).collect::<Vec<_>>();
    let submitting = many.iter().map(|submission| small.a.submit(submission));
    let outcomes = futures::future::join_all(submitting).await;
    let (stored, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert!(!stored.is_empty());
    assert!(
        refused.iter().all(|it| matches!(it, Err(Error::Full(_)))),
        "{refused:?}"
    );
    let mut positions: Vec<_> = stored.into_iter().map(Result::unwrap).collect();
    positions.sort_unstable();
    let shard = shard_of(&room("lobby"));
    let mut reader = small.b.commands(shard, Position::ZERO).await.unwrap();
    for position in positions {
        assert_eq!(next(&mut reader).await.position, position);
    }
}
