//! The cluster's records: compare-and-set, watched.

use crate::{
    things::*,
    world::{World, shard_of},
};
use safe_chat::{
    bus::{ClusterId, Error, JournalKind, NodeRecord, NodeSeen, Plan, Role, Settings, ShardSeen},
    room::{Incarnation, ShardId},
};

fn beat(incarnation: Incarnation, draining: bool) -> NodeRecord {
    NodeRecord {
        incarnation,
        name: "node-1".into(),
        roles: vec![Role::Gateway, Role::Writer],
        draining,
        version: "0.1.0".into(),
        commit: "".into(),
        address: "127.0.0.1:8558".into(),
        unreachable: Vec::new(),
        formats: safe_chat::bus::FORMATS,
        keeps: None,
        gone_after_s: None,
    }
}

pub(crate) async fn the_first_settings_stay(world: World) {
    let (four, nine) = (Settings::of_shards(4), Settings::of_shards(9));
    assert_eq!(world.a.settings(&four).await.unwrap(), four);
    assert_eq!(world.b.settings(&nine).await.unwrap(), four);
    assert_eq!(world.a.settings(&four).await.unwrap(), four);
}

pub(crate) async fn settings_that_are_open_are_filled_in_by_the_first_who_knows_them(world: World) {
    let first = Settings {
        cluster: Some(ClusterId::make()),
        journal: Some(JournalKind::Cassandra),
        ..Settings::of_shards(4)
    };
    let stored = world.a.settings(&Settings::of_shards(4)).await.unwrap();
    assert_eq!(stored.contradiction(&first), None);
    assert_eq!(world.b.settings(&first).await.unwrap(), first);
    let second = Settings {
        cluster: Some(ClusterId::make()),
        format: 1,
        ..first
    };
    let both = Settings { format: 1, ..first };
    assert_eq!(world.a.settings(&second).await.unwrap(), both);
    // Of one that may not go on nothing is taken.
    let other = Settings {
        journal: Some(JournalKind::Bus),
        format: 2,
        ..second
    };
    let stored = world.b.settings(&other).await.unwrap();
    assert_eq!(stored, both);
    assert!(stored.contradiction(&other).is_some());
}

pub(crate) async fn of_two_that_set_a_shard_one_is_first(world: World) {
    let (shard, one, two) = (ShardId(3), node(), node());
    assert_eq!(world.a.shard(shard).await.unwrap(), None);
    let first = world
        .a
        .set_shard(shard, &record(Some(one), 1, 0), 0)
        .await
        .unwrap();
    assert!(matches!(
        world.b.set_shard(shard, &record(Some(two), 1, 0), 0).await,
        Err(Error::Conflict(_))
    ));
    assert_eq!(
        world.b.shard(shard).await.unwrap(),
        Some((record(Some(one), 1, 0), first))
    );
    let (of_one, of_two) = (record(Some(one), 2, 5), record(Some(two), 2, 5));
    let (by_a, by_b) = tokio::join!(
        world.a.set_shard(shard, &of_one, first),
        world.b.set_shard(shard, &of_two, first)
    );
    let (record_of_winner, revision) = world.a.shard(shard).await.unwrap().unwrap();
    match (by_a, by_b) {
        (Ok(won), Err(Error::Conflict(_))) => {
            assert_eq!((record_of_winner.owner, revision), (Some(one), won))
        }
        (Err(Error::Conflict(_)), Ok(won)) => {
            assert_eq!((record_of_winner.owner, revision), (Some(two), won))
        }
        other => panic!("not exactly one was first: {other:?}"),
    }
    let released = world
        .a
        .set_shard(shard, &record(None, 2, 9), revision)
        .await
        .unwrap();
    assert!(released > revision && revision > first);
    assert_eq!(
        world.b.shard(shard).await.unwrap(),
        Some((record(None, 2, 9), released))
    );
}

pub(crate) async fn shards_are_watched_from_what_is_stored_on(world: World) {
    let owner = node();
    let mut nothing = world.a.shards().await.unwrap();
    assert_eq!(next(&mut nothing).await, ShardSeen::Current);
    world.a.settings(&Settings::of_shards(4)).await.unwrap();
    let mut revision = world
        .a
        .set_shard(ShardId(1), &record(Some(owner), 1, 0), 0)
        .await
        .unwrap();
    let stored = |record, revision| ShardSeen::Stored {
        shard: ShardId(1),
        record,
        revision,
    };
    let mut watched = world.b.shards().await.unwrap();
    assert_eq!(
        next(&mut watched).await,
        stored(record(Some(owner), 1, 0), revision)
    );
    assert_eq!(next(&mut watched).await, ShardSeen::Current);
    assert_eq!(
        next(&mut nothing).await,
        stored(record(Some(owner), 1, 0), revision)
    );
    for floor in 1..=3 {
        revision = world
            .a
            .set_shard(ShardId(1), &record(Some(owner), 1, floor), revision)
            .await
            .unwrap();
        assert_eq!(
            next(&mut watched).await,
            stored(record(Some(owner), 1, floor), revision)
        );
    }
}

pub(crate) async fn nodes_are_watched_from_beat_to_forgotten(world: World) {
    let (one, gone) = (node(), node());
    world.a.beat(&beat(gone, false)).await.unwrap();
    world.a.forget(gone).await.unwrap();
    world.a.beat(&beat(one, false)).await.unwrap();
    let mut watched = world.b.nodes().await.unwrap();
    let mut last = match next(&mut watched).await {
        NodeSeen::Beat { node, revision } if node == beat(one, false) => revision,
        other => panic!("what was forgotten before is no news: {other:?}"),
    };
    assert_eq!(next(&mut watched).await, NodeSeen::Current);
    for draining in [false, true] {
        world.a.beat(&beat(one, draining)).await.unwrap();
        match next(&mut watched).await {
            NodeSeen::Beat { node, revision } if node == beat(one, draining) && revision > last => {
                last = revision
            }
            other => panic!("a beat is seen with a higher revision: {other:?}"),
        }
    }
    world.a.forget(one).await.unwrap();
    assert_eq!(next(&mut watched).await, NodeSeen::Forgotten(one));
}

pub(crate) async fn a_node_that_was_declared_down_is_told_so_whatever_it_beats(world: World) {
    let one = node();
    world.a.beat(&beat(one, false)).await.unwrap();
    let mut watched = world.b.nodes().await.unwrap();
    assert!(matches!(next(&mut watched).await, NodeSeen::Beat { .. }));
    assert_eq!(next(&mut watched).await, NodeSeen::Current);
    world.a.down(one).await.unwrap();
    let mut seen = vec![next(&mut watched).await, next(&mut watched).await];
    seen.sort_by_key(|seen| matches!(seen, NodeSeen::Forgotten(_)));
    assert_eq!(seen, [NodeSeen::Downed(one), NodeSeen::Forgotten(one)]);
    // As a frozen node does that wakes up.
    world.a.beat(&beat(one, false)).await.unwrap();
    let mut later = world.b.nodes().await.unwrap();
    let mut all = vec![next(&mut later).await, next(&mut later).await];
    all.sort_by_key(|seen| matches!(seen, NodeSeen::Beat { .. }));
    assert!(matches!(all[1], NodeSeen::Beat { .. }), "{all:?}");
    assert_eq!(all[0], NodeSeen::Downed(one));
    assert_eq!(next(&mut later).await, NodeSeen::Current);
    world.a.clear_down(one).await.unwrap();
    world.a.forget(one).await.unwrap();
    let mut last = world.b.nodes().await.unwrap();
    assert_eq!(next(&mut last).await, NodeSeen::Current, "nothing is left");
}

pub(crate) async fn a_plan_is_watched_with_the_shards(world: World) {
    let (one, two) = (node(), node());
    assert_eq!(world.a.plan().await.unwrap(), None);
    let plan = |to| Plan {
        writers: vec![one, two],
        moved: [(ShardId(1), to), (ShardId(3), two)].into(),
    };
    let first = world.a.set_plan(&plan(one), 0).await.unwrap();
    let conflict = world.b.set_plan(&plan(two), 0).await;
    assert!(matches!(conflict, Err(Error::Conflict(_))));
    assert_eq!(world.b.plan().await.unwrap(), Some((plan(one), first)));
    let mut watched = world.b.shards().await.unwrap();
    let mut seen = vec![next(&mut watched).await, next(&mut watched).await];
    seen.sort_by_key(|seen| *seen == ShardSeen::Current);
    assert_eq!(seen, [ShardSeen::Plan(plan(one)), ShardSeen::Current]);
    world.a.set_plan(&plan(two), first).await.unwrap();
    assert_eq!(next(&mut watched).await, ShardSeen::Plan(plan(two)));
}

pub(crate) async fn marks_are_listed_by_shard_until_taken_back(world: World) {
    let (one, two) = (node(), node());
    let (lobby, shard) = (room("lobby"), shard_of(&room("lobby")));
    let named = |same: bool| {
        let mut names = (0..).map(|n| room(&format!("room-{n}")));
        names
            .find(|name| (shard_of(name) == shard) == same)
            .unwrap()
    };
    let (den, attic) = (named(true), named(false));
    assert_eq!(world.b.marks(shard).await.unwrap(), []);
    for (node, room) in [
        (one, &lobby),
        (one, &lobby),
        (one, &den),
        (two, &lobby),
        (two, &attic),
    ] {
        world.a.mark(node, room).await.unwrap();
    }
    let marks = async |shard| {
        let mut marks = world.b.marks(shard).await.unwrap();
        marks.sort();
        marks
    };
    let mut expected = vec![(one, den), (one, lobby.clone()), (two, lobby.clone())];
    expected.sort();
    assert_eq!(marks(shard).await, expected);
    assert_eq!(marks(shard_of(&attic)).await, [(two, attic)]);
    world.b.unmark(one, &lobby).await.unwrap();
    world.b.unmark(one, &lobby).await.unwrap();
    expected.retain(|mark| *mark != (one, lobby.clone()));
    assert_eq!(marks(shard).await, expected);
    world.a.mark(one, &lobby).await.unwrap();
    assert_eq!(marks(shard).await.len(), 3, "a room can be marked again");
}
