//! While the servers are backed up nothing goes that what was backed up already does not say, and
//! afterwards all of it goes.

use crate::{
    erase::{erase, has_content, talk},
    world::{JOURNALS, LONG, Node, World, send},
};
use safe_chat::{
    bus::{
        Held,
        memory::{self, ConnectionId, Fate, Faults, Hub, Op},
    },
    cluster::Owner,
    room::{Action, Event, Kind, Millis, Retention, Seq},
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::sleep;

const HELD: Held = Held {
    until: Millis(u64::MAX),
    left: Duration::from_secs(24 * 60 * 60),
};

/// What is stored of the room where it was journaled first, with harry's content.
async fn harrys(node: &Node, world: &World) -> usize {
    let stored = node.events_from(&world.room, Seq(1), Seq(700)).await;
    let of_harry = |event: &&Event| matches!(&event.kind, Kind::Message { from, .. } if from.as_str() == "harry");
    let said = stored.iter().filter(of_harry);
    said.filter(|event| has_content(event)).count()
}

#[tokio::test(start_paused = true)]
async fn nothing_is_removed_while_that_is_held_and_all_of_it_afterwards() {
    let retain = Action::Retain {
        own: Some(Retention {
            events: Some(10),
            ..Retention::default()
        }),
    };
    for make in JOURNALS {
        for goes in [erase("harry"), Action::Purge, retain.clone()] {
            let world = World::without_deletes();
            let first = make(&world, 1);
            first.takes_newest().await;
            let mut client = world.client().await;
            talk(&mut client, 600).await;
            world.hub.hold(Some(HELD));
            client.submit(goes.clone()).await;
            sleep(LONG).await;
            assert_eq!(harrys(&first, &world).await, 300, "{goes:?}");
            let said = first.writer.warnings().join("; ");
            assert!(said.contains("journal hold"), "{said}");

            // Whoever comes next removes nothing either.
            first.writer.lose(first.shard).await;
            let second = make(&world, 2);
            second.takes_newest().await;
            if goes != Action::Purge {
                assert!(client.journaled(send(599)).await.1);
            }
            sleep(LONG).await;
            assert_eq!(harrys(&second, &world).await, 300, "{goes:?}");

            world.hub.hold(None);
            // What a room lets go by itself goes when somebody has it opened.
            client.view().await;
            sleep(LONG).await;
            assert!(harrys(&second, &world).await <= 5, "{goes:?}");
            assert_eq!(second.writer.warnings(), Vec::<String>::new());
        }
    }
}

/// What the bus was asked to do, in order.
#[derive(Default)]
struct Asked(Mutex<Vec<Op>>);

impl Faults for Asked {
    fn call(&self, _: ConnectionId, op: Op) -> Fate {
        self.0.lock().unwrap().push(op);
        Fate::default()
    }
}

/// A backup of copies may be taken as soon as it is held: so what stands for what goes is stored
/// before that is asked, and not after.
#[tokio::test(start_paused = true)]
async fn what_stands_for_what_goes_is_stored_before_it_is_asked_whether_that_is_held() {
    let asked = Arc::new(Asked::default());
    let mut world = World::without_deletes();
    let config = memory::Config {
        deny_delete: true,
        ..memory::Config::default()
    };
    world.hub = Hub::with_faults(config, asked.clone());
    let node = World::node_on_bus(&world, 1);
    node.takes_newest().await;
    let mut client = world.client().await;
    talk(&mut client, 600).await;
    asked.0.lock().unwrap().clear();
    client.submit(erase("harry")).await;
    sleep(LONG).await;
    assert_eq!(harrys(&node, &world).await, 0);
    let ops = asked.0.lock().unwrap().clone();
    let goes: Vec<usize> = (0..ops.len()).filter(|at| ops[*at] == Op::Purge).collect();
    assert!(!goes.is_empty(), "nothing was removed: {ops:?}");
    for at in goes {
        let mut before = ops[..at].iter().rev();
        let last = before.find(|op| matches!(op, Op::Put | Op::Settings));
        assert_eq!(last, Some(&Op::Settings), "{ops:?}");
    }
}
