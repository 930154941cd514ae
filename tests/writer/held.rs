//! While the servers are backed up nothing goes that what was backed up already does not say, and
//! afterwards all of it goes.

use crate::{
    erase::{erase, has_content, talk},
    world::{JOURNALS, LONG, Node, World, send},
};
use safe_chat::{
    cluster::Owner,
    room::{Action, Event, Kind, Millis, Retention, Seq},
};
use tokio::time::sleep;

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
            world.hub.hold(Millis(u64::MAX));
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

            world.hub.hold(Millis(0));
            // What a room lets go by itself goes when somebody has it opened.
            client.view().await;
            sleep(LONG).await;
            assert!(harrys(&second, &world).await <= 5, "{goes:?}");
            assert_eq!(second.writer.warnings(), Vec::<String>::new());
        }
    }
}
