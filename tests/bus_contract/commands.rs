//! Commands: stored, in order, until they are discarded.

use crate::{
    things::*,
    world::{World, shard_of},
};
use safe_chat::{
    bus::{Error, Position, ReplyTo, Submission},
    room::{Action, BatchMessage, Body, CommandId, DeviceId, Millis, Producer, ProducerSeq, Turn},
};

pub(crate) async fn a_command_is_delivered_as_it_was_submitted(world: World) {
    let device = DeviceId::parse("phone").ok();
    let gateway = node();
    let actions = [
        Action::Open {
            session: session(),
            user: user("harry"),
            key: key(),
            device: device.clone(),
            gateway,
        },
        Action::Open {
            session: session(),
            user: user("harry"),
            key: key(),
            device: None,
            gateway,
        },
        Action::Close { session: session() },
        Action::Abandon { gateway },
        Action::Send {
            user: user("harry"),
            key: key(),
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
