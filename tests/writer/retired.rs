//! A room that is gone goes with its name once it has been for long enough, on both journals,
//! whoever dies in the middle; and somebody who comes back finds a new one.

use crate::world::{Client, JOURNALS, Node, World, close, open, post, send};
use safe_chat::{
    bus::{self, Answered, FORMATS, Position},
    cluster::Owner,
    room::{Action, Millis, Seq},
    writer::Config,
};
use std::time::{Duration, SystemTime};
use tokio::time::sleep;

/// Several ways of the sweep through all rooms.
pub(crate) const SWEEPS: Duration = Duration::from_secs(1200);

const DAY: u64 = 24 * 60 * 60 * 1000;

/// A world in which it is so many days ago.
pub(crate) fn ago(days: u64) -> World {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.unwrap().as_millis() as u64;
    World::on(bus::memory::Config {
        deny_delete: true,
        epoch: Millis(now - days * DAY),
        ..bus::memory::Config::default()
    })
}

/// A node that looks at its rooms often.
fn node(world: &World, n: u128, make: fn(&World, u128) -> Node, gone_after_s: u64) -> Node {
    let made = make(world, n);
    let config = Config {
        trim_ms: 1000,
        gone_after_s,
        ..Config::default()
    };
    world.node_with_config(n, config, made.bus.clone(), made.journal.clone())
}

fn often(world: &World, n: u128, make: fn(&World, u128) -> Node) -> Node {
    node(world, n, make, Config::default().gone_after_s)
}

impl Node {
    async fn retires(&self) -> &Self {
        self.writer.note_formats(FORMATS);
        self.take().await;
        self
    }

    async fn has(&self, world: &World) -> bool {
        let rooms = self.journal.rooms(None, 9).await.unwrap();
        rooms.contains(&world.room)
    }

    /// All that is stored of the room.
    async fn count(&self, world: &World) -> usize {
        let published = self.bus.stored(&world.room, Position::ZERO, 1000).await;
        let events = self.events(&world.room, Seq(1000)).await;
        published.unwrap().len() + events.len()
    }
}

/// Somebody comes, says something and leaves; then an operator has it all forgotten.
async fn purged(client: &mut Client) -> u64 {
    client.journaled(open(7, None)).await;
    for id in 1..=5 {
        client.journaled(send(id)).await;
    }
    client.journaled(close(7)).await;
    client.journaled(Action::Purge).await.0
}

#[tokio::test(start_paused = true)]
async fn a_room_that_is_gone_for_long_goes_with_its_name() {
    for make in JOURNALS {
        let world = ago(100);
        let owner = often(&world, 1, make);
        owner.retires().await;
        let mut client = world.client().await;
        let purged = purged(&mut client).await;
        assert!(owner.has(&world).await);
        sleep(SWEEPS).await;
        assert!(!owner.has(&world).await);
        assert_eq!(owner.count(&world).await, 0);
        // Who comes back is placed in a new room, or behind what is gone.
        let first = if owner.journal.publishes() {
            1
        } else {
            purged + 1
        };
        assert_eq!(client.journaled(post(1, 1)).await, (first, false));
        let view = client.view().await;
        assert_eq!((view.head, view.members.len()), (Seq(first), 0));
        assert!(owner.has(&world).await);
        // Its name has a key now.
        sleep(SWEEPS).await;
        assert!(owner.has(&world).await);
        assert_eq!(client.view().await.head, Seq(first));
    }
}

/// Its life before is in a database that is put back, and nothing of that is on the bus any more.
#[tokio::test(start_paused = true)]
async fn what_was_purged_of_a_life_before_is_not_told_in_this_one() {
    for recovers in [false, true] {
        let mut world = ago(100);
        let first = often(&world, 1, World::node);
        first.retires().await;
        let mut client = world.client().await;
        client.journaled(open(7, None)).await;
        let said = client.journaled(send(1)).await.0;
        sleep(Duration::from_secs(20)).await;
        let backup = world.database.copy();
        client.journaled(close(7)).await;
        client.journaled(Action::Purge).await;
        sleep(SWEEPS).await;
        assert!(!first.has(&world).await);
        let again = client.journaled(post(2, 2)).await.0;
        first.writer.lose(first.shard).await;
        world.database = backup;
        if recovers {
            assert!(world.recover().await.forgets);
        }
        let second = often(&world, 2, World::node);
        second.retires().await;
        let last = client.journaled(post(3, 3)).await.0;
        assert_eq!(last, again + 1);
        sleep(Duration::from_secs(20)).await;
        let there = second.events(&world.room, Seq(last)).await;
        let places: Vec<u64> = there.iter().map(|event| event.seq.0).collect();
        assert!(places.iter().all(|place| *place > said), "{places:?}");
        assert!(places.ends_with(&[again, last]), "{places:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_room_stays_that_is_not_gone_for_long_or_never_to_go() {
    for make in JOURNALS {
        for (days, gone_after_s, formats) in [
            (80, Config::default().gone_after_s, FORMATS),
            (100, 0, FORMATS),
            (100, Config::default().gone_after_s, 7),
        ] {
            let world = ago(days);
            let owner = node(&world, 1, make, gone_after_s);
            owner.retires().await;
            owner.writer.note_formats(formats);
            let mut client = world.client().await;
            let purged = purged(&mut client).await;
            sleep(SWEEPS).await;
            assert!(owner.has(&world).await, "{days} {gone_after_s} {formats}");
            assert_eq!(client.view().await.head, Seq(purged));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_room_in_which_somebody_is_stays() {
    for make in JOURNALS {
        let world = ago(100);
        let owner = often(&world, 1, make);
        owner.retires().await;
        let mut client = world.client().await;
        client.journaled(open(7, None)).await;
        let purged = client.journaled(Action::Purge).await.0;
        sleep(SWEEPS).await;
        assert!(owner.has(&world).await);
        let view = client.view().await;
        assert_eq!((view.head, view.members.len()), (Seq(purged), 1));
    }
}

/// Commands come all the time, at whatever moment the room goes: each is placed once.
#[tokio::test(start_paused = true)]
async fn whoever_comes_back_meanwhile_waits_and_is_placed_once() {
    for make in JOURNALS {
        for after in (358_000..368_000).step_by(2000) {
            let world = ago(100);
            let (first, second) = (often(&world, 1, make), often(&world, 2, make));
            first.retires().await;
            let mut client = world.client().await;
            let purged = purged(&mut client).await;
            sleep(Duration::from_millis(after)).await;
            let (place, repeated) = client.journaled(post(1000, 1)).await;
            assert!(
                [1, purged + 1].contains(&place) && !repeated,
                "{after}: {place}"
            );
            assert_eq!(
                client.journaled(post(1000, 2)).await,
                (place, true),
                "{after}"
            );
            first.writer.lose(first.shard).await;
            second.retires().await;
            assert_eq!(
                client.journaled(post(1000, 3)).await,
                (place, true),
                "{after}"
            );
            sleep(Duration::from_secs(30)).await;
            assert!(second.has(&world).await, "{after}");
            let events = second.events(&world.room, Seq(place)).await;
            assert_eq!(events.last().map(|event| event.seq), Some(Seq(place)));
        }
    }
}

/// At whatever moment the owner dies, the next one removes the rest.
#[tokio::test(start_paused = true)]
async fn what_is_left_goes_with_the_next_owner() {
    for make in JOURNALS {
        let world = ago(100);
        let (first, second) = (often(&world, 1, make), often(&world, 2, make));
        first.retires().await;
        let mut client = world.client().await;
        purged(&mut client).await;
        first.writer.lose(first.shard).await;
        second.retires().await;
        sleep(SWEEPS).await;
        assert!(!second.has(&world).await);
        assert_eq!(second.count(&world).await, 0);
        let refused = client.ask(Action::Purge).await;
        assert!(matches!(
            refused,
            Answered::Journaled { .. } | Answered::Rejected(_)
        ));
    }
}
