//! How rooms let their past go: what an operator says is done, on both journals, whoever dies in
//! the middle, and nothing else is lost with it.

use crate::world::{Client, LONG, Node, World, close, open, send};
use safe_chat::{
    bus::Submission,
    cluster::Owner,
    room::{Action, Retention, Seq},
    writer::Config,
};
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;

/// The forms of which this is a part.
const FORMATS: u32 = 5;

fn last(events: u64) -> Action {
    let own = Some(Retention {
        events: Some(events),
        ..Retention::default()
    });
    Action::Retain { own }
}

impl Client {
    async fn retains(&self, action: Action) {
        let submission = Submission {
            room: self.room.clone(),
            action,
            reply: None,
        };
        self.bus.submit(&submission).await.unwrap();
    }
}

async fn places(node: &Node, world: &World, head: u64) -> Vec<u64> {
    let events = node.events(&world.room, Seq(head)).await;
    events.iter().map(|event| event.seq.0).collect()
}

/// A node of each journal.
type Make = fn(&World, u128) -> Node;
const JOURNALS: [Make; 2] = [World::node, World::node_on_bus];

fn trims(node: &Node) -> &Node {
    node.writer.note_formats(FORMATS);
    node
}

/// The next owner, whose rooms keep 10 events, after some time.
async fn keeps_10(world: &World, before: &Node) -> Node {
    let config = Config {
        keep_events: 10,
        ..Config::default()
    };
    let (bus, journal) = (before.bus.clone(), before.journal.clone());
    let next = world.node_with_config(2, config, bus, Arc::clone(&journal));
    trims(&next).take().await;
    sleep(LONG + LONG).await;
    next
}

#[tokio::test(start_paused = true)]
async fn a_room_keeps_what_an_operator_says_and_forgets_nothing_else() {
    for make in JOURNALS {
        let world = World::without_deletes();
        let (first, second) = (make(&world, 1), make(&world, 2));
        trims(&first).take().await;
        let mut client = world.client().await;
        client.journaled(open(7, None)).await;
        for id in 1..=400 {
            assert_eq!(client.journaled(send(id)).await, (id + 1, false));
        }
        client.retains(last(50)).await;
        sleep(Duration::from_secs(300)).await;
        assert_eq!(
            places(&first, &world, 401).await,
            (352..=401).collect::<Vec<_>>()
        );
        let view = client.view().await;
        assert_eq!((view.head, view.first), (Seq(401), Seq(352)));
        assert_eq!(view.retention.and_then(|own| own.events), Some(50));
        first.writer.lose(first.shard).await;
        trims(&second).take().await;
        // Its place is known although the event is gone, and who is a member.
        assert_eq!(client.journaled(send(1)).await, (2, true));
        let view = client.view().await;
        assert_eq!((view.head, view.members.len()), (Seq(401), 1));
        assert_eq!(client.journaled(send(500)).await, (402, false));
        client.retains(Action::Retain { own: None }).await;
        sleep(Duration::from_secs(300)).await;
        assert_eq!(
            places(&second, &world, 402).await.len(),
            51,
            "as all rooms: everything"
        );
    }
}

/// At whatever moment the owner dies, the next one goes on, with all that is to stay.
#[tokio::test(start_paused = true)]
async fn whoever_dies_in_the_middle_loses_nothing_that_stays() {
    for make in JOURNALS {
        for died_after in (0..6_000).step_by(250) {
            let world = World::without_deletes();
            let (first, second) = (make(&world, 1), make(&world, 2));
            trims(&first).take().await;
            let mut client = world.client().await;
            client.journaled(open(7, None)).await;
            for id in 1..=100 {
                client.journaled(send(id)).await;
            }
            client.retains(last(10)).await;
            sleep(Duration::from_secs(59) + Duration::from_millis(died_after)).await;
            first.writer.lose(first.shard).await;
            trims(&second).take().await;
            assert_eq!(client.journaled(send(1)).await, (2, true), "{died_after}");
            let view = client.view().await;
            let found = (view.head, view.members.len());
            assert_eq!(found, (Seq(101), 1), "{died_after}");
            sleep(Duration::from_secs(200)).await;
            let kept = places(&second, &world, 101).await;
            assert_eq!(kept, (92..=101).collect::<Vec<_>>(), "{died_after}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_goes_while_a_node_cannot_read_that() {
    let world = World::without_deletes();
    let node = world.node(1);
    node.writer.note_formats(FORMATS - 1);
    node.take().await;
    let mut client = world.client().await;
    for id in 1..=100 {
        client.journaled(send(id)).await;
    }
    client.retains(last(10)).await;
    sleep(LONG).await;
    assert_eq!(places(&node, &world, 100).await.len(), 100);
}

/// It left the memory long before anybody said what is kept of it.
#[tokio::test(start_paused = true)]
async fn a_room_that_nobody_uses_lets_its_past_go_as_well() {
    for make in JOURNALS {
        let world = World::without_deletes();
        let first = make(&world, 1);
        trims(&first).take().await;
        let mut client = world.client().await;
        client.journaled(open(7, None)).await;
        for id in 1..=100 {
            client.journaled(send(id)).await;
        }
        client.journaled(close(7)).await;
        sleep(LONG).await;
        first.writer.lose(first.shard).await;
        let second = keeps_10(&world, &first).await;
        let kept = places(&second, &world, 102).await;
        assert_eq!(kept, (93..=102).collect::<Vec<_>>());
    }
}

/// Its owner died before it was ever saved, and the next one has nothing to do with it.
#[tokio::test(start_paused = true)]
async fn a_room_without_a_snapshot_lets_its_past_go_as_well() {
    for make in JOURNALS {
        let world = World::without_deletes();
        let first = make(&world, 1);
        trims(&first).take().await;
        let mut client = world.client().await;
        for id in 1..=100 {
            client.journaled(send(id)).await;
        }
        // Longer than until the floor is stored.
        sleep(Duration::from_secs(3)).await;
        first.writer.lose(first.shard).await;
        let glanced = first.journal.glance(&world.room).await.unwrap();
        assert!(glanced.is_none(), "it was saved");
        let second = keeps_10(&world, &first).await;
        let kept = places(&second, &world, 100).await;
        assert_eq!(kept, (91..=100).collect::<Vec<_>>());
    }
}

/// The stored times are those of a world of some years ago.
#[tokio::test(start_paused = true)]
async fn what_is_too_old_goes_and_the_last_commit_stays() {
    for make in JOURNALS {
        let world = World::without_deletes();
        let node = make(&world, 1);
        trims(&node).take().await;
        let mut client = world.client().await;
        for id in 1..=20 {
            client.journaled(send(id)).await;
        }
        let own = Some(Retention {
            age: Some(86_400),
            ..Retention::default()
        });
        client.retains(Action::Retain { own }).await;
        sleep(LONG).await;
        assert_eq!(places(&node, &world, 20).await, [20]);
        assert_eq!(client.journaled(send(21)).await, (21, false));
        sleep(LONG).await;
        assert_eq!(places(&node, &world, 21).await, [21]);
    }
}
