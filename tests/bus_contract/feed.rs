//! The feed: commits in one order per room, live and stored, fenced by the position of the last
//! one.

use crate::{
    things::*,
    world::{World, shard_of},
};
use futures::{StreamExt, future::join_all};
use safe_chat::{
    bus::{Error, Head, Live, Position, Published},
    room::{Epoch, RoomId, Seq},
};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

fn is_conflict<T: std::fmt::Debug>(result: Result<T, Error>) {
    assert!(matches!(result, Err(Error::Conflict(_))), "{result:?}");
}

pub(crate) async fn a_published_commit_is_live_and_stored(world: World) {
    let lobby = room("lobby");
    let mut live = world.b.live(&lobby).await.unwrap();
    let first = world
        .a
        .publish(&lobby, &commit(1, 1, 3), Position::ZERO)
        .await
        .unwrap();
    let second = world
        .a
        .publish(&lobby, &commit(1, 4, 4), first)
        .await
        .unwrap();
    assert!(second > first);
    for expected in [commit(1, 1, 3), commit(1, 4, 4)] {
        assert_eq!(next(&mut live).await, Live::Commit(Arc::new(expected)));
    }
    let stored = world.b.stored(&lobby, Position::ZERO, 10).await.unwrap();
    let expected = [(first, commit(1, 1, 3)), (second, commit(1, 4, 4))];
    assert_eq!(stored.len(), 2);
    for (stored, (position, commit)) in stored.into_iter().zip(expected) {
        assert_eq!(
            (stored.position, stored.epoch, stored.events),
            (position, commit.epoch, commit.events)
        );
    }
}

pub(crate) async fn an_outdated_publish_stores_nothing_and_nobody_sees_it(world: World) {
    let lobby = room("lobby");
    let mut live = world.b.live(&lobby).await.unwrap();
    let first = world
        .a
        .publish(&lobby, &commit(1, 1, 1), Position::ZERO)
        .await
        .unwrap();
    is_conflict(
        world
            .b
            .publish(&lobby, &commit(1, 7, 7), Position::ZERO)
            .await,
    );
    is_conflict(
        world
            .b
            .publish(&lobby, &commit(1, 8, 8), first.next())
            .await,
    );
    world
        .b
        .publish(&lobby, &commit(1, 2, 2), first)
        .await
        .unwrap();
    is_conflict(world.a.publish(&lobby, &commit(1, 9, 9), first).await);
    // Another room has an order of its own.
    world
        .a
        .publish(&room("other"), &commit(1, 1, 1), Position::ZERO)
        .await
        .unwrap();
    for seq in [1, 2] {
        assert_eq!(
            next(&mut live).await,
            Live::Commit(Arc::new(commit(1, seq, seq)))
        );
    }
    assert_eq!(
        world
            .a
            .stored(&lobby, Position::ZERO, 10)
            .await
            .unwrap()
            .len(),
        2
    );
}

pub(crate) async fn a_claim_outdates_every_earlier_owner_and_nobody_sees_it(world: World) {
    let lobby = room("lobby");
    let mut live = world.b.live(&lobby).await.unwrap();
    let first = world
        .a
        .publish(&lobby, &commit(1, 1, 2), Position::ZERO)
        .await
        .unwrap();
    let claim = world
        .b
        .publish_claim(&lobby, Epoch(2), Seq(2), first)
        .await
        .unwrap();
    is_conflict(world.a.publish(&lobby, &commit(1, 3, 3), first).await);
    is_conflict(world.a.publish_claim(&lobby, Epoch(3), Seq(2), first).await);
    world
        .b
        .publish(&lobby, &commit(2, 3, 3), claim)
        .await
        .unwrap();
    for expected in [commit(1, 1, 2), commit(2, 3, 3)] {
        assert_eq!(next(&mut live).await, Live::Commit(Arc::new(expected)));
    }
    let stored = world.a.stored(&lobby, claim, 1).await.unwrap();
    assert_eq!(
        (stored[0].position, stored[0].epoch, stored[0].events.len()),
        (claim, Epoch(2), 0)
    );
}

pub(crate) async fn the_last_message_is_told_with_epoch_and_place(world: World) {
    let lobby = room("lobby");
    assert_eq!(world.a.last(&lobby).await.unwrap(), None);
    let position = world
        .a
        .publish_claim(&lobby, Epoch(4), Seq::ZERO, Position::ZERO)
        .await
        .unwrap();
    assert_eq!(
        world.b.last(&lobby).await.unwrap(),
        Some(Published {
            position,
            epoch: Epoch(4),
            seq: Seq::ZERO
        })
    );
    let position = world
        .a
        .publish(&lobby, &commit(5, 1, 3), position)
        .await
        .unwrap();
    assert_eq!(
        world.b.last(&lobby).await.unwrap(),
        Some(Published {
            position,
            epoch: Epoch(5),
            seq: Seq(3)
        })
    );
    let position = world
        .a
        .publish_claim(&lobby, Epoch(6), Seq(3), position)
        .await
        .unwrap();
    assert_eq!(
        world.b.last(&lobby).await.unwrap(),
        Some(Published {
            position,
            epoch: Epoch(6),
            seq: Seq(3)
        })
    );
}

/// Publishes `commits` commits of `each` places to a room, each second one followed by a claim;
/// returns their positions.
async fn fill(world: &World, lobby: &RoomId, commits: u64, each: u64) -> Vec<Position> {
    let (mut positions, mut after) = (Vec::new(), Position::ZERO);
    for n in 0..commits {
        after = world
            .a
            .publish(lobby, &commit(1, n * each + 1, (n + 1) * each), after)
            .await
            .unwrap();
        positions.push(after);
        world
            .a
            .publish_claim(
                &room(&format!("other-{n}")),
                Epoch(1),
                Seq::ZERO,
                Position::ZERO,
            )
            .await
            .unwrap();
        if n % 2 == 1 {
            after = world
                .a
                .publish_claim(lobby, Epoch(1), Seq((n + 1) * each), after)
                .await
                .unwrap();
        }
    }
    positions
}

pub(crate) async fn stored_messages_come_in_pages_of_one_room(world: World) {
    let lobby = room("lobby");
    let positions = fill(&world, &lobby, 25, 2).await;
    let (mut seen, mut from) = (Vec::new(), Position::ZERO);
    loop {
        let page = world.b.stored(&lobby, from, 7).await.unwrap();
        assert!(page.len() <= 7);
        let Some(last) = page.last() else { break };
        from = last.position.next();
        seen.extend(page.into_iter().filter(|stored| !stored.events.is_empty()));
    }
    assert_eq!(
        seen.iter()
            .map(|stored| stored.position)
            .collect::<Vec<_>>(),
        positions
    );
    let places: Vec<_> = seen
        .iter()
        .flat_map(|stored| &stored.events)
        .map(|event| event.seq.0)
        .collect();
    assert_eq!(places, (1..=50).collect::<Vec<_>>());
    assert_eq!(
        world
            .b
            .stored(&room("nobody"), Position::ZERO, 7)
            .await
            .unwrap(),
        []
    );
}

pub(crate) async fn a_place_is_found_by_bisection_among_claims_and_other_rooms(world: World) {
    let lobby = room("lobby");
    assert_eq!(world.b.find(&lobby, Seq(1)).await.unwrap(), None);
    let positions = fill(&world, &lobby, 20, 3).await;
    assert_eq!(
        world.b.find(&lobby, Seq(0)).await.unwrap(),
        Some(positions[0])
    );
    for seq in 1..=60 {
        let expected = positions[(seq as usize - 1) / 3];
        assert_eq!(
            world.b.find(&lobby, Seq(seq)).await.unwrap(),
            Some(expected),
            "place {seq}"
        );
    }
    assert_eq!(world.b.find(&lobby, Seq(61)).await.unwrap(), None);
}

pub(crate) async fn a_live_subscriber_misses_nothing_published_after_it_returned(world: World) {
    let rooms: Vec<_> = (0..200).map(|n| room(&format!("room-{n}"))).collect();
    let (a, b) = (&world.a, &world.b);
    let seen = rooms.iter().map(|room| async move {
        let mut live = b.live(room).await.unwrap();
        a.publish(room, &commit(1, 1, 1), Position::ZERO)
            .await
            .unwrap();
        next(&mut live).await
    });
    for live in join_all(seen).await {
        assert_eq!(live, Live::Commit(Arc::new(commit(1, 1, 1))));
    }
}

pub(crate) async fn a_buffer_that_dropped_a_room_takes_its_next_commit(world: World) {
    let small = world.small().await;
    let (lobby, busy) = (room("lobby"), room("busy"));
    let mut after = small
        .a
        .publish(&lobby, &commit(1, 1, 1), Position::ZERO)
        .await
        .unwrap();
    let mut of_busy = Position::ZERO;
    let mut seq = 0;
    while small.a.last(&lobby).await.unwrap().is_some() {
        assert!(seq < 1000, "the buffer is never full");
        seq += 1;
        of_busy = small
            .a
            .publish(&busy, &commit(1, seq, seq), of_busy)
            .await
            .unwrap();
    }
    after = small
        .a
        .publish(&lobby, &commit(1, 2, 2), after)
        .await
        .unwrap();
    assert_eq!(
        small.b.find(&lobby, Seq(1)).await.unwrap(),
        Some(after),
        "the first one left holds a later place"
    );
}

pub(crate) async fn rooms_of_a_shard_are_listed_in_order_of_their_names(world: World) {
    let shard = shard_of(&room("room-0"));
    assert_eq!(world.a.rooms_of(shard, None, 10).await.unwrap(), []);
    let all: Vec<_> = (0..200)
        .map(|n| room(&format!("room-{}", n * 7 % 200)))
        .collect();
    let (mut names, others): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|room| shard_of(room) == shard);
    names.truncate(9);
    for name in names.iter().chain(&others[..3]) {
        world
            .a
            .publish(name, &commit(1, 1, 1), Position::ZERO)
            .await
            .unwrap();
    }
    names.sort();
    let of = async |after, limit| world.b.rooms_of(shard, after, limit).await.unwrap();
    let first = of(None, 2).await;
    assert_eq!(first, names[..2]);
    assert_eq!(of(first.last(), 9).await, names[2..]);
    assert_eq!(of(names.last(), 9).await, []);
}

pub(crate) async fn heads_reach_every_gateway(world: World) {
    let (mut of_a, mut of_b) = (
        world.a.heads().await.unwrap(),
        world.b.heads().await.unwrap(),
    );
    let shard = shard_of(&room("room-0"));
    let rooms = (0..).map(|n| room(&format!("room-{n}")));
    let told: Vec<_> = rooms
        .filter(|room| shard_of(room) == shard)
        .zip(0..3)
        .map(|(room, n)| Head {
            room,
            epoch: Epoch(2),
            seq: Seq(n),
        })
        .collect();
    for heads in [&mut of_a, &mut of_b] {
        // They are repeated; the other servers of a cluster may not know of a subscription at
        // first.
        let first = soon(async {
            loop {
                world.a.tell_heads(shard, &told).await.unwrap();
                if let Ok(head) = timeout(Duration::from_millis(50), heads.next()).await {
                    return head;
                }
            }
        });
        assert_eq!(first.await.as_ref(), told.first());
        for head in &told[1..] {
            assert_eq!(&next(heads).await, head);
        }
    }
}
