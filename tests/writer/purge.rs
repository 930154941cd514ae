//! A purged room: nothing of before is stored after a while, on both journals, whoever dies in the
//! middle and whether or not anybody asks for the room; and it goes on.

use crate::world::{
    Client, JOURNALS, LONG, NoSnapshots, Node, SOON, World, close, open, post, send,
};
use safe_chat::{
    bus::{Answered, Position},
    cluster::Owner,
    journal::memory::{Fate, Faults, Op, Outcome},
    room::{Action, Kind, Seq},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::sleep;

/// The forms of which this is a part.
const FORMATS: u32 = 5;

impl Node {
    async fn takes(&self) -> &Self {
        self.writer.note_formats(FORMATS);
        self.take().await;
        self
    }

    /// The places that are stored: in the journal, and published.
    async fn places(&self, world: &World, head: u64) -> [Vec<u64>; 2] {
        let journaled = self.events(&world.room, Seq(head)).await;
        let published = self.bus.stored(&world.room, Position::ZERO, 1000).await;
        let published = published.unwrap().into_iter();
        [
            journaled.iter().map(|event| event.seq.0).collect(),
            published
                .flat_map(|message| message.events)
                .map(|event| event.seq.0)
                .collect(),
        ]
    }

    async fn remembers(&self, world: &World, purged: u64) -> bool {
        let room = &world.room;
        self.journal
            .has_snapshot_below(room, Seq(purged))
            .await
            .unwrap()
    }
}

/// So many messages by somebody who has a session, and by somebody who has none any more.
async fn talk(client: &mut Client, messages: u64) -> u64 {
    client.journaled(open(7, None)).await;
    client.journaled(open(8, None)).await;
    for id in 1..=messages {
        client.journaled(send(id)).await;
    }
    client.journaled(close(8)).await.0
}

/// What changed last made no event, so the room is saved.
async fn is_saved(client: &Client) {
    sleep(Duration::from_secs(30)).await;
    assert!(client.view().await.snapshot > Seq::ZERO);
}

#[tokio::test(start_paused = true)]
async fn what_was_before_is_removed_and_the_room_goes_on() {
    for make in JOURNALS {
        let world = World::without_deletes();
        let first = make(&world, 1);
        first.takes().await;
        let mut client = world.client().await;
        let head = talk(&mut client, 700).await;
        let purged = head + 1;
        assert_eq!(client.journaled(Action::Purge).await, (purged, false));
        let view = client.view().await;
        assert_eq!(
            (view.head, view.purged, view.first),
            (Seq(purged), Seq(purged), Seq(purged))
        );
        assert_eq!(view.members.len(), 1, "nobody is sent away");
        let refused = client.ask(post(1000, 1)).await;
        assert!(
            matches!(&refused, Answered::Rejected(why) if why.retry_after_ms.is_some()),
            "of the same millisecond: {refused:?}"
        );
        sleep(Duration::from_millis(1)).await;
        assert_eq!(
            client.journaled(post(1000, 1)).await,
            (purged + 1, false),
            "it goes on"
        );
        sleep(Duration::from_secs(20)).await;
        let left = [purged, purged + 1];
        assert_eq!(first.places(&world, purged + 1).await, [left, left]);
        assert!(!first.remembers(&world, purged).await);
        let event = &first.events(&world.room, Seq(purged)).await[0];
        assert_eq!(event.kind, Kind::Purged);
        // Sent again it is none, by this owner and the next one.
        assert!(client.journaled(send(700)).await.1);
        first.writer.lose(first.shard).await;
        let second = make(&world, 2);
        second.takes().await;
        assert!(client.journaled(send(1)).await.1);
        let view = client.view().await;
        assert_eq!((view.head, view.purged), (Seq(purged + 1), Seq(purged)));
        sleep(LONG).await;
        assert_eq!(second.places(&world, purged + 1).await, [left, left]);
    }
}

/// At whatever moment the owner dies, the next one goes on at once, though nobody asks for the
/// room.
#[tokio::test(start_paused = true)]
async fn whoever_dies_in_the_middle_leaves_nothing() {
    for make in JOURNALS {
        for died_after in (0..4_000).step_by(250) {
            let world = World::without_deletes();
            let (first, second) = (make(&world, 1), make(&world, 2));
            first.takes().await;
            let mut client = world.client().await;
            let purged = talk(&mut client, 20).await + 1;
            is_saved(&client).await;
            client.submit(Action::Purge).await;
            sleep(Duration::from_millis(died_after)).await;
            first.writer.lose(first.shard).await;
            second.takes().await;
            sleep(SOON).await;
            let left = second.places(&world, purged).await;
            assert_eq!(left, [[purged], [purged]], "{died_after}");
            assert!(!second.remembers(&world, purged).await, "{died_after}");
            let view = client.view().await;
            let found = (view.head, view.purged, view.members.len());
            assert_eq!(found, (Seq(purged), Seq(purged), 1), "{died_after}");
        }
    }
}

/// Messages come while it is removed: a room that is never quiet is purged as well.
#[tokio::test(start_paused = true)]
async fn a_busy_room_is_purged_as_well() {
    for make in JOURNALS {
        let world = World::without_deletes();
        let node = make(&world, 1);
        node.takes().await;
        let mut client = world.client().await;
        let purged = talk(&mut client, 50).await + 1;
        client.submit(Action::Purge).await;
        let mut last = 0;
        for id in 1000..1200 {
            sleep(Duration::from_millis(50)).await;
            last = client.journaled(post(id, id.into())).await.0;
        }
        let left: Vec<u64> = (purged..=last).collect();
        assert_eq!(node.places(&world, last).await, [left.clone(), left]);
        assert!(!node.remembers(&world, purged).await);
    }
}

/// Nothing but the event says then that the room was purged, and a room that nobody asks for is not
/// replayed: the command is read again.
#[tokio::test(start_paused = true)]
async fn an_owner_that_could_save_nothing_leaves_the_command_to_the_next_one() {
    let world = World::without_deletes();
    let (first, second) = (world.node_with(1, Arc::new(NoSnapshots)), world.node(2));
    first.takes().await;
    let mut client = world.client().await;
    let purged = talk(&mut client, 20).await + 1;
    assert_eq!(client.journaled(Action::Purge).await.0, purged);
    sleep(Duration::from_secs(30)).await;
    first.writer.lose(first.shard).await;
    second.takes().await;
    sleep(Duration::from_secs(20)).await;
    let left = second.places(&world, purged).await;
    assert_eq!(left, [[purged], [purged]]);
    assert!(!second.remembers(&world, purged).await);
}

/// While it is wanted, snapshots come long after their owner has given them up.
#[derive(Default)]
struct Late(AtomicBool);

impl Faults for Late {
    fn call(&self, op: Op) -> Fate {
        let is_late = op == Op::PutSnapshot && self.0.load(Relaxed);
        Fate {
            outcome: match is_late {
                true => Outcome::Late(Duration::from_secs(20)),
                false => Outcome::Done,
            },
            ..Fate::default()
        }
    }
}

/// One of before comes when all of before is gone.
#[tokio::test(start_paused = true)]
async fn a_snapshot_that_comes_late_does_not_stay() {
    let (world, late) = (World::without_deletes(), Arc::new(Late::default()));
    let node = world.node_with(1, late.clone());
    node.takes().await;
    let mut client = world.client().await;
    talk(&mut client, 20).await;
    is_saved(&client).await;
    // A change without an event, which a snapshot has to keep.
    late.0.store(true, Relaxed);
    client.journaled(open(9, None)).await;
    sleep(Duration::from_secs(7)).await;
    late.0.store(false, Relaxed);
    let (purged, _) = client.journaled(Action::Purge).await;
    sleep(Duration::from_secs(8)).await;
    assert!(!node.remembers(&world, purged).await, "it was removed");
    sleep(Duration::from_secs(12)).await;
    assert!(node.remembers(&world, purged).await, "it has come");
    sleep(Duration::from_secs(60)).await;
    assert!(!node.remembers(&world, purged).await);
}
