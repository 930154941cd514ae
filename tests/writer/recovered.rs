//! What an operator had removed, and had set, when the database is put back to before that: the
//! newest events come back from the bus, and with them what they say is to go.

use crate::{
    erase::{erase, has_content, says, talk, user},
    world::{Client, LONG, NoSnapshots, Node, SOON, World},
};
use async_trait::async_trait;
use safe_chat::{
    bus::{Bus, Commit, Position},
    cluster::{Lease, Owner},
    journal::{
        Hole, Journal,
        bus::OnBus,
        dump::{self, Elect, Incoming, Intake, Source, Taken},
        memory::{Fate, Faults, Op, Outcome},
    },
    room::{
        Action, Command, Epoch, Event, Incarnation, Kind, Millis, Retention, RoomId, Seq, ShardId,
        decide,
    },
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
    pub(crate) async fn recover(&self) -> Taken {
        self.try_recover().await.unwrap()
    }

    async fn try_recover(&self) -> Result<Taken, dump::Error> {
        let bus: Arc<dyn Bus> = Arc::new(self.hub.connect());
        let there = Arc::new(OnBus::new(bus.clone(), self.shards));
        let mut incoming = Source::newest(there)
            .room(&self.room)
            .await
            .unwrap()
            .unwrap();
        let journal = Arc::new(self.database.connect(self.shards));
        let mut intake = Intake::new(journal, self.shards, Anyone(bus));
        intake.take(&mut incoming).await
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
        all.extend(node.events_from(&self.room, Seq(1), Seq(head)).await);
        all
    }
}

impl Node {
    /// The events that the journal has of a room, also behind holes.
    pub(crate) async fn events_from(&self, room: &RoomId, mut next: Seq, last: Seq) -> Vec<Event> {
        let mut all = Vec::new();
        while next <= last {
            let page = self.journal.read(room, next, last).await.unwrap();
            let Some(end) = page.last() else { break };
            next = end.seq.next();
            all.extend(page);
        }
        all
    }
}

/// Removes nothing.
struct NoTrims;

impl Faults for NoTrims {
    fn call(&self, op: Op) -> Fate {
        Fate {
            outcome: match op {
                Op::Trim => Outcome::Refused,
                _ => Outcome::Done,
            },
            ..Fate::default()
        }
    }
}

/// Whether one of these is a message of the user with its content.
pub(crate) fn has_said(events: &[Event], name: &str) -> bool {
    events
        .iter()
        .filter(|event| has_content(event))
        .any(|event| matches!(&event.kind, Kind::Message { from, .. } if from.as_str() == name))
}

/// So many more messages of charly's, from this one on; the last place.
pub(crate) async fn goes_on(client: &mut Client, ids: std::ops::Range<u64>) -> u64 {
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

/// Nobody has run `recover`: the owner writes back what the bus has, without what was erased since,
/// and erases again what the older database has.
#[tokio::test(start_paused = true)]
async fn an_owner_whose_database_is_older_than_the_bus_writes_back_what_the_bus_has() {
    let mut world = World::without_deletes();
    let first = world.node(1);
    first.takes_newest().await;
    let mut client = world.client().await;
    let said = talk(&mut client, 20).await;
    sleep(SOON).await;
    let backup = world.database.copy();
    client.journaled(erase("harry")).await;
    let head = goes_on(&mut client, 200..900).await;
    let before = world.stored(&first, head).await;
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
    let places = |events: &[Event]| -> Vec<u64> {
        let mut places: Vec<u64> = events.iter().map(|event| event.seq.0).collect();
        places.sort_unstable();
        places.dedup();
        places
    };
    assert_eq!(places(&stored), places(&before), "all of it is there");

    // And it stays so for whoever comes next, on the journal alone.
    second.writer.lose(second.shard).await;
    let third = world.node(3);
    third.takes_newest().await;
    assert_eq!(client.journaled(says(900, "charly")).await.0, head + 1);
    assert_eq!(third.writer.warnings(), Vec::<String>::new());
    let journaled = third.events_from(&world.room, Seq(1), Seq(head + 1)).await;
    assert_eq!(places(&journaled), (1..=head + 1).collect::<Vec<_>>());
}

/// What a purge was about is not written back, though the bus has it still; who is here stays.
#[tokio::test(start_paused = true)]
async fn what_was_purged_is_not_written_back() {
    let mut world = World::without_deletes();
    let faults = Arc::new(NoSnapshots);
    let first = world.node_with(1, faults);
    first.takes_newest().await;
    let mut client = world.client().await;
    talk(&mut client, 4).await;
    let backup = world.database.copy();
    let last = goes_on(&mut client, 200..210).await;
    client.submit(Action::Purge).await;
    sleep(Duration::from_millis(200)).await;
    let head = last + 1;
    let published = first.bus.last(&world.room).await.unwrap().unwrap();
    assert_eq!(published.seq, Seq(head));
    // Whoever purged dies before anything is removed.
    first.writer.lose(first.shard).await;
    assert!(has_said(&world.stored(&first, head).await, "charly"));

    world.database = backup;
    let second = world.node_with(2, Arc::new(NoTrims));
    second.takes_newest().await;
    assert_eq!(client.journaled(says(900, "charly")).await.0, head + 1);
    let written = second.events_from(&world.room, Seq(6), Seq(head + 1)).await;
    let places: Vec<u64> = written.iter().map(|event| event.seq.0).collect();
    assert_eq!(places, [head, head + 1]);
    assert_eq!(client.view().await.head, Seq(head + 1));
}

/// The bus lacks some of it, too: that is a hole, and what follows it is there again.
#[tokio::test(start_paused = true)]
async fn what_the_bus_lacks_as_well_is_a_hole_and_the_rest_is_written_back() {
    let mut world = World::new();
    let first = world.node(1);
    first.takes_newest().await;
    let mut client = world.client().await;
    talk(&mut client, 9).await;
    let backup = world.database.copy();
    let head = goes_on(&mut client, 200..220).await;
    first.writer.lose(first.shard).await;
    let missing = first.bus.find(&world.room, Seq(14)).await.unwrap();
    first
        .bus
        .purge(&world.room, missing.unwrap())
        .await
        .unwrap();

    world.database = backup;
    let second = world.node(2);
    second.takes_newest().await;
    assert_eq!(client.journaled(says(900, "charly")).await.0, head + 1);
    let there = second.events_from(&world.room, Seq(1), Seq(head + 1)).await;
    let places: Vec<u64> = there.iter().map(|event| event.seq.0).collect();
    assert_eq!(places, (1..=10).chain(14..=head + 1).collect::<Vec<_>>());
}

/// A room of which the older database has nothing at all.
#[tokio::test(start_paused = true)]
async fn a_room_that_was_made_since_is_written_back_when_it_is_opened() {
    let mut world = World::without_deletes();
    let backup = world.database.copy();
    let first = world.node(1);
    first.takes_newest().await;
    let mut client = world.client().await;
    let head = talk(&mut client, 9).await;
    first.writer.lose(first.shard).await;
    world.database = backup;
    let second = world.node(2);
    second.takes_newest().await;
    assert_eq!(client.journaled(says(900, "charly")).await.0, head + 1);
    let there = second.events_from(&world.room, Seq(1), Seq(head)).await;
    assert_eq!(there.len() as u64, head);
    assert_eq!(second.journal.rooms(None, 9).await.unwrap(), [world.room]);
}

/// Nobody opens a room that was put back: the sweep of its owner does.
#[tokio::test(start_paused = true)]
async fn a_room_that_nobody_opens_is_written_back_in_time() {
    let mut world = World::without_deletes();
    let first = world.node(1);
    first.takes_newest().await;
    let mut client = world.client().await;
    talk(&mut client, 4).await;
    sleep(SOON).await;
    let backup = world.database.copy();
    let head = goes_on(&mut client, 200..210).await;
    sleep(SOON).await;
    first.writer.lose(first.shard).await;
    world.database = backup;
    let second = world.node(2);
    second.takes_newest().await;
    sleep(LONG).await;
    let there = second.events_from(&world.room, Seq(1), Seq(head)).await;
    assert_eq!(there.len() as u64, head);
}

/// As nodes of before wrote it, or one that could not ask the bus: the room goes on behind what the
/// older database lacks, or (`reached` is where that ends) in its places.
pub(crate) async fn goes_on_without(world: &World, reached: u64, said: u64) -> u64 {
    let bus: Arc<dyn Bus> = Arc::new(world.hub.connect());
    let shard = world.shards.of(&world.room);
    let (me, least) = Anyone(bus.clone()).elect(shard).await.unwrap();
    let journal = world.database.connect(world.shards);
    let claim = journal.claim(shard, me, least).await.unwrap();
    let opened = journal
        .open_reaching(&world.room, claim, Seq(reached))
        .await;
    let mut state = opened.unwrap().replay();
    journal
        .save_snapshot(&world.room, claim, &state)
        .await
        .unwrap();
    for id in 0..said {
        let command = Command {
            at: Millis(1_795_465_200_000),
            action: says(5_000 + id, "charly"),
        };
        let decision = decide(&state, &command);
        let events = state.apply_decision(&decision, &command);
        let commit = Commit {
            epoch: claim.epoch(),
            events,
        };
        journal.append(&world.room, claim, &commit).await.unwrap();
        if reached > 0 {
            let last = bus.last(&world.room).await.unwrap().unwrap();
            bus.publish(&world.room, &commit, last.position)
                .await
                .unwrap();
        }
    }
    state.head.0
}

/// Nodes have run before `recover`, and the room has gone on behind a hole.
#[tokio::test(start_paused = true)]
async fn what_is_missing_below_the_end_is_written_back_as_well() {
    for said in [0, 3] {
        let mut world = World::without_deletes();
        let first = world.node(1);
        first.takes_newest().await;
        let mut client = world.client().await;
        talk(&mut client, 20).await;
        sleep(SOON).await;
        let backup = world.database.copy();
        // Over the end of a partition, and more than a page.
        let head = goes_on(&mut client, 200..1400).await;
        let before = first.events_from(&world.room, Seq(1), Seq(head)).await;
        // The floor passes the commands: the owner below does not know that they are placed.
        sleep(SOON).await;
        first.writer.lose(first.shard).await;

        world.database = backup;
        let last = goes_on_without(&world, head, said).await;
        assert_eq!(last, head + said);
        let taken = world.recover().await;
        assert_eq!((taken.was, taken.head), (Seq(last), Seq(last)));
        assert_eq!((taken.added, taken.holes.len()), (head - 21, 0));
        assert_eq!(world.recover().await.added, 0);
        let second = world.node(2);
        second.takes_newest().await;
        let there = second.events_from(&world.room, Seq(1), Seq(last)).await;
        assert_eq!(there[..before.len()], before);
        assert_eq!(there.len() as u64, last);
        assert_eq!(client.journaled(says(9_000, "charly")).await.0, last + 1);
        assert_eq!(second.writer.warnings(), Vec::<String>::new());
        second.writer.lose(second.shard).await;
        let third = world.node(3);
        third.takes_newest().await;
        assert_eq!(client.journaled(says(9_001, "charly")).await.0, last + 2);
        let there = third.events_from(&world.room, Seq(1), Seq(last + 2)).await;
        assert_eq!(there.len() as u64, last + 2);
    }
}

/// The room has gone on with other content where the bus has what was said before.
#[tokio::test(start_paused = true)]
async fn what_has_its_places_meanwhile_is_never_written_over() {
    let mut world = World::without_deletes();
    let first = world.node(1);
    first.takes_newest().await;
    let mut client = world.client().await;
    talk(&mut client, 20).await;
    sleep(SOON).await;
    let backup = world.database.copy();
    goes_on(&mut client, 200..210).await;
    first.writer.lose(first.shard).await;

    world.database = backup;
    let last = goes_on_without(&world, 0, 3).await;
    let journal = world.database.connect(world.shards);
    let before = journal.read(&world.room, Seq(1), Seq(last)).await.unwrap();
    let refused = world.try_recover().await.unwrap_err().to_string();
    assert!(refused.contains("its event 22"), "{refused}");
    let after = journal.read(&world.room, Seq(1), Seq(last)).await.unwrap();
    assert_eq!(before, after);
}
