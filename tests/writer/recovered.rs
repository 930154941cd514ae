//! What an operator had removed, and had set, when the database is put back to before that: the
//! newest events come back from the bus, and with them what they say is to go.

use crate::{
    erase::{erase, has_content, says, talk, user},
    world::{Client, Node, SOON, World},
};
use async_trait::async_trait;
use safe_chat::{
    bus::{Bus, Position},
    cluster::{Lease, Owner},
    journal::{
        Hole,
        bus::OnBus,
        dump::{self, Elect, Incoming, Intake, Source, Taken},
    },
    room::{Action, Epoch, Event, Incarnation, Kind, Retention, Seq, ShardId},
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::sleep};
use uuid::Uuid;

/// Whoever asks is elected.
struct Anyone(Arc<dyn Bus>);

#[async_trait]
impl Elect for Anyone {
    async fn elect(&mut self, shard: ShardId) -> Result<(Incarnation, Epoch), dump::Error> {
        let (ends, _) = mpsc::unbounded_channel();
        let me = Incarnation::new(Uuid::from_u128(99));
        let found = self.0.shard(shard).await.unwrap();
        let lease = Lease::take(self.0.clone(), ends, me, shard, found, Epoch(0)).await;
        let lease = lease.unwrap();
        let (epoch, floor) = (lease.epoch(), lease.floor());
        lease.release(floor).await.unwrap();
        Ok((me, epoch))
    }
}

impl World {
    /// What `safe-chat journal recover` does about the room.
    async fn recover(&self) -> Taken {
        let bus: Arc<dyn Bus> = Arc::new(self.hub.connect());
        let there = Arc::new(OnBus::new(bus.clone(), self.shards));
        let mut incoming = Source::newest(there)
            .room(&self.room)
            .await
            .unwrap()
            .unwrap();
        let journal = Arc::new(self.database.connect(self.shards));
        let mut intake = Intake::new(journal, self.shards, Anyone(bus));
        intake.take(&mut incoming).await.unwrap()
    }

    /// What an export or a copy of the room has.
    async fn exported(&self) -> Vec<Event> {
        let journal = Arc::new(self.database.connect(self.shards));
        let source = Source::new(journal, None, false);
        let mut room = source.room(&self.room).await.unwrap().unwrap();
        let mut all = Vec::new();
        loop {
            let page = room.page().await.unwrap();
            if page.is_empty() {
                return all;
            }
            all.extend(page);
        }
    }

    /// All events of the room that are stored, on the bus as well.
    async fn stored(&self, node: &Node, head: u64) -> Vec<Event> {
        let published = node.bus.stored(&self.room, Position::ZERO, 5000).await;
        let published = published.unwrap().into_iter();
        let mut all: Vec<Event> = published.flat_map(|message| message.events).collect();
        let mut next = Seq(1);
        while next <= Seq(head) {
            let page = node.journal.read(&self.room, next, Seq(head)).await;
            let page = page.unwrap();
            let Some(last) = page.last() else { break };
            next = last.seq.next();
            all.extend(page);
        }
        all
    }
}

/// Whether one of these is a message of the user with its content.
fn has_said(events: &[Event], name: &str) -> bool {
    events
        .iter()
        .filter(|event| has_content(event))
        .any(|event| matches!(&event.kind, Kind::Message { from, .. } if from.as_str() == name))
}

/// So many more messages of charly's, from this one on; the last place.
async fn goes_on(client: &mut Client, ids: std::ops::Range<u64>) -> u64 {
    let mut last = 0;
    for id in ids {
        sleep(Duration::from_millis(50)).await;
        last = client.journaled(says(id, "charly")).await.0;
    }
    last
}

/// An owner had erased all of it, and later events came, before the database was lost.
#[tokio::test(start_paused = true)]
async fn what_was_erased_is_told_to_nobody_and_erased_again() {
    for lost in [0, 5] {
        let mut world = World::without_deletes();
        let first = world.node(1);
        first.takes_newest().await;
        let mut client = world.client().await;
        talk(&mut client, 20).await;
        sleep(SOON).await;
        let backup = world.database.copy();
        let said = goes_on(&mut client, 100..100 + lost).await.max(21);
        assert_eq!(client.journaled(erase("harry")).await.0, said + 1);
        // In a room that is never quiet.
        let head = goes_on(&mut client, 200..400).await;
        assert!(client.view().await.erasing.is_empty(), "it is done");
        assert!(!has_said(&world.stored(&first, head).await, "harry"));
        first.writer.lose(first.shard).await;

        world.database = backup;
        let taken = world.recover().await;
        assert_eq!((taken.was, taken.head), (Seq(21), Seq(head)));
        assert!(taken.forgets);
        let missing: Vec<_> = taken.holes.iter().map(Hole::to_string).collect();
        let expected = match lost {
            0 => vec![],
            _ => vec!["22 to 26"],
        };
        assert_eq!(missing, expected, "its owner took them from the bus");
        let exported = world.exported().await;
        assert!(has_said(&exported, "charly") && !has_said(&exported, "harry"));
        let second = world.node(2);
        second.takes_newest().await;
        assert_eq!(
            client.journaled(says(2, "charly")).await.0,
            3,
            "it was said"
        );
        let view = client.view().await;
        let erasing: Vec<_> = view.erasing.iter().collect();
        assert_eq!(erasing, [(&user("harry"), Seq(said))]);
        sleep(SOON).await;
        assert!(client.view().await.erasing.is_empty(), "it is done again");
        let stored = world.stored(&second, head).await;
        assert!(has_said(&stored, "charly") && !has_said(&stored, "harry"));
    }
}

/// It was in a snapshot before an event came.
#[tokio::test(start_paused = true)]
async fn how_much_of_the_past_is_kept_is_as_it_was_set() {
    let mut world = World::without_deletes();
    let first = world.node(1);
    first.takes_newest().await;
    let mut client = world.client().await;
    talk(&mut client, 20).await;
    sleep(SOON).await;
    let backup = world.database.copy();
    let own = |events| {
        Some(Retention {
            events: Some(events),
            ..Retention::default()
        })
    };
    for events in [1000, 2000] {
        let own = own(events);
        client.ask(Action::Retain { own }).await;
        sleep(SOON).await;
    }
    let head = goes_on(&mut client, 100..101).await;
    sleep(SOON).await;
    first.writer.lose(first.shard).await;

    world.database = backup;
    assert_eq!(world.recover().await.head, Seq(head));
    let second = world.node(2);
    second.takes_newest().await;
    let found = second.journal.glance(&world.room).await.unwrap();
    assert_eq!(found.expect("it was saved").kept.own, own(2000));
    assert_eq!(client.journaled(says(100, "charly")).await.0, head);
    assert_eq!(client.view().await.head, Seq(head));
    assert_eq!(
        second.writer.warnings(),
        Vec::<String>::new(),
        "all is there"
    );
}

/// Nobody has written back what the bus has: the places are a hole, and what it did counts.
#[tokio::test(start_paused = true)]
async fn an_owner_whose_database_is_older_than_the_bus_goes_by_what_the_bus_has() {
    let mut world = World::without_deletes();
    let first = world.node(1);
    first.takes_newest().await;
    let mut client = world.client().await;
    let said = talk(&mut client, 20).await;
    sleep(SOON).await;
    let backup = world.database.copy();
    client.journaled(erase("harry")).await;
    let head = goes_on(&mut client, 200..900).await;
    first.writer.lose(first.shard).await;

    world.database = backup;
    let second = world.node(2);
    second.takes_newest().await;
    let again = client.journaled(says(899, "charly")).await.0;
    assert_eq!(again, head, "it was said, and is known");
    let warned = second.writer.warnings().join("; ");
    let ends = format!("room aaa at {said} there, at {head} here");
    let tells = [&*ends, "`safe-chat journal recover`"];
    assert!(tells.iter().all(|part| warned.contains(part)), "{warned}");
    let view = client.view().await;
    let erasing: Vec<_> = view.erasing.iter().collect();
    assert_eq!(erasing, [(&user("harry"), Seq(said))]);
    sleep(SOON).await;
    assert!(client.view().await.erasing.is_empty(), "it is done again");
    let stored = world.stored(&second, head).await;
    assert!(has_said(&stored, "charly") && !has_said(&stored, "harry"));
}
