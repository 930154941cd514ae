//! What holds when the servers die, and when they lose what they had not synced.

use crate::{
    things::*,
    world::{Mortal, shard_of},
};
use safe_chat::{
    bus::{Error, Live, NodeSeen, Position, ShardSeen},
    room::ShardId,
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// Submits until the servers take it.
async fn submit(world: &Mortal, n: u64) -> Position {
    until_ok(async || world.bus.submit(&send("lobby", n)).await).await
}

pub(crate) async fn readers_and_watchers_go_on_after_a_restart(mut world: Mortal) {
    let mut reader = world
        .bus
        .commands(shard_of(&room("lobby")), Position::ZERO)
        .await
        .unwrap();
    let (mut shards, mut nodes) = (
        world.bus.shards().await.unwrap(),
        world.bus.nodes().await.unwrap(),
    );
    assert_eq!(next(&mut shards).await, ShardSeen::Current);
    assert_eq!(next(&mut nodes).await, NodeSeen::Current);
    let mut revision = 0;
    for round in 0..3 {
        for n in 0..50 {
            submit(&world, round * 100 + n).await;
        }
        assert_eq!(number(&next(&mut reader).await.submission), round * 100);
        world.kill().await;
        world.revive().await;
        submit(&world, round * 100 + 50).await;
        for n in 1..=50 {
            assert_eq!(number(&next(&mut reader).await.submission), round * 100 + n);
        }
        let set = record(None, round, round);
        revision = until_ok(async || world.bus.set_shard(ShardId(1), &set, revision).await).await;
        assert_eq!(
            next(&mut shards).await,
            ShardSeen::Stored {
                shard: ShardId(1),
                record: set,
                revision
            }
        );
    }
}

pub(crate) async fn a_live_subscriber_is_told_that_it_may_have_missed_something(mut world: Mortal) {
    let lobby = room("lobby");
    let mut live = world.bus.live(&lobby).await.unwrap();
    let first = world
        .bus
        .publish(&lobby, &commit(1, 1, 1), Position::ZERO)
        .await
        .unwrap();
    assert_eq!(
        next(&mut live).await,
        Live::Commit(Arc::new(commit(1, 1, 1)))
    );
    world.kill().await;
    world.revive().await;
    assert_eq!(next(&mut live).await, Live::Interrupted);
    // It is subscribed again when it is told so.
    let last = until_ok(async || world.bus.last(&lobby).await).await;
    assert_eq!(
        last.map(|last| last.position),
        Some(first),
        "what was stored is still there"
    );
    world
        .bus
        .publish(&lobby, &commit(1, 2, 2), first)
        .await
        .unwrap();
    assert_eq!(
        next(&mut live).await,
        Live::Commit(Arc::new(commit(1, 2, 2)))
    );
}

pub(crate) async fn calls_while_the_servers_are_away_say_that_nothing_happened(mut world: Mortal) {
    world.kill().await;
    let why = world.bus.ready().unwrap_err();
    assert!(!why.is_empty());
    let called = Instant::now();
    let lobby = room("lobby");
    let results = [
        world.bus.submit(&send("lobby", 1)).await.map(drop),
        world
            .bus
            .publish(&lobby, &commit(1, 1, 1), Position::ZERO)
            .await
            .map(drop),
        world.bus.last(&lobby).await.map(drop),
        world.bus.stored(&lobby, Position::ZERO, 10).await.map(drop),
        world
            .bus
            .set_shard(ShardId(1), &record(None, 1, 0), 0)
            .await
            .map(drop),
        world.bus.live(&lobby).await.map(drop),
        world.bus.probe(node()).await.map(drop),
    ];
    for result in results {
        assert!(matches!(result, Err(Error::Unavailable(_))), "{result:?}");
    }
    assert!(
        called.elapsed() < Duration::from_secs(1),
        "they do not wait"
    );
    world.revive().await;
    let mut reader =
        until_ok(async || world.bus.commands(shard_of(&lobby), Position::ZERO).await).await;
    submit(&world, 2).await;
    assert_eq!(
        number(&next(&mut reader).await.submission),
        2,
        "nothing arrives late"
    );
}

pub(crate) async fn a_reader_starts_again_when_the_stream_has_lost_its_tail(mut world: Mortal) {
    let mut reader = world
        .bus
        .commands(shard_of(&room("lobby")), Position::ZERO)
        .await
        .unwrap();
    for n in 0..5 {
        submit(&world, n).await;
    }
    world.stop_syncing().await;
    let mut last = Position::ZERO;
    for n in 5..8 {
        submit(&world, n).await;
    }
    for n in 0..8 {
        let delivery = next(&mut reader).await;
        assert_eq!(number(&delivery.submission), n);
        last = delivery.position;
    }
    world.kill().await;
    world.forget(3, 0);
    world.revive().await;
    // More than was lost: the end of the stream alone does not tell.
    for n in 10..15 {
        submit(&world, n).await;
    }
    let again = next(&mut reader).await;
    assert!(
        again.position <= last,
        "a position that is not above the one before says so"
    );
    assert_eq!(number(&again.submission), 0);
    for expected in [1, 2, 3, 4, 10, 11, 12, 13, 14] {
        assert_eq!(number(&next(&mut reader).await.submission), expected);
    }
}

pub(crate) async fn a_reader_that_comes_later_starts_again_too(mut world: Mortal) {
    for n in 0..3 {
        submit(&world, n).await;
    }
    world.stop_syncing().await;
    let mut floor = Position::ZERO;
    for n in 3..8 {
        floor = submit(&world, n).await.next();
    }
    world.kill().await;
    world.forget(5, 0);
    world.revive().await;
    submit(&world, 10).await;
    let mut reader =
        until_ok(async || world.bus.commands(shard_of(&room("lobby")), floor).await).await;
    for expected in [0, 1, 2, 10] {
        assert_eq!(number(&next(&mut reader).await.submission), expected);
    }
}

pub(crate) async fn a_reader_starts_again_when_nothing_is_left_where_it_was(mut world: Mortal) {
    let lobby = shard_of(&room("lobby"));
    let other = (0..)
        .map(|n| format!("room-{n}"))
        .find(|name| shard_of(&room(name)) != lobby)
        .unwrap();
    let mut reader = world.bus.commands(lobby, Position::ZERO).await.unwrap();
    for n in 0..3 {
        submit(&world, n).await;
    }
    world.stop_syncing().await;
    let last = submit(&world, 3).await;
    for n in 0..4 {
        assert_eq!(number(&next(&mut reader).await.submission), n);
    }
    world.kill().await;
    world.forget(1, 0);
    world.revive().await;
    // Another shard gets the place, and is done with it before this reader looks.
    for n in 4..6 {
        until_ok(async || world.bus.submit(&send(&other, n)).await).await;
    }
    assert!(
        world
            .bus
            .discard(shard_of(&room(&other)), last.next().next(), None)
            .await
            .unwrap()
    );
    submit(&world, 10).await;
    for expected in [0, 1, 2, 10] {
        assert_eq!(number(&next(&mut reader).await.submission), expected);
    }
}
