//! Gateways and a room that was gone and begins again at 1, under the same owner: who watches it,
//! or comes from before, is told.

use crate::world::{Gateway, LONG, World, join, since, unlimited};
use safe_chat::{
    bus::{self, Bus, Commands, FORMATS, Submission, memory::Hub},
    cluster::{Lease, Owner},
    gateway::{Config, StartAt, Taken, Watch},
    journal::{Journal, bus::OnBus},
    room::{Action, Epoch, Incarnation, Millis, RoomId, Seq},
    writer,
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use uuid::Uuid;

/// Rooms go so long after their last event.
const GONE_AFTER_S: u64 = 600;
/// Longer than that, and several ways of the sweep through all rooms.
const SWEEPS: Duration = Duration::from_secs(2400);
const DAY: u64 = 24 * 60 * 60 * 1000;

fn room() -> RoomId {
    RoomId::parse("aaa").unwrap()
}

fn on_bus(world: &World) -> Arc<dyn Journal> {
    Arc::new(OnBus::new(Arc::new(world.hub.connect()), world.shards))
}

/// A world 100 days ago, where time passes as it does for tokio.
fn world() -> (World, writer::Clock) {
    let mut world = World::deserted();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let epoch = now.unwrap().as_millis() as u64 - 100 * DAY;
    world.hub = Hub::new(bus::memory::Config {
        shards: world.shards,
        deny_delete: true,
        epoch: Millis(epoch),
        ..bus::memory::Config::default()
    });
    let began = Instant::now();
    let clock = move || Millis(epoch + began.elapsed().as_millis() as u64);
    (world, Arc::new(clock))
}

/// An owner of all rooms that looks at them often.
async fn owner(world: &World, clock: writer::Clock) -> writer::Handle {
    let config = writer::Config {
        trim_ms: 1000,
        gone_after_s: GONE_AFTER_S,
        ..writer::Config::default()
    };
    let bus: Arc<dyn Bus> = Arc::new(world.hub.connect());
    let (ends, mut ended) = mpsc::unbounded_channel();
    let writer = writer::Handle::with_clock(config, bus.clone(), on_bus(world), clock);
    writer.note_formats(FORMATS);
    let me = Incarnation::new(Uuid::from_u128(0xabc));
    for shard in world.shards.all() {
        let found = bus.shard(shard).await.unwrap();
        let lease = Lease::take(bus.clone(), ends.clone(), me, shard, found, Epoch(0));
        writer.acquire(lease.await.unwrap()).await;
    }
    tokio::spawn(async move {
        let lost = ended.recv().await;
        assert!(lost.is_none(), "no shard is lost");
    });
    writer
}

async fn watch(gateway: &Gateway, since: u64) -> Watch {
    let client = gateway.handle.client("192.0.2.1".parse().unwrap());
    let from = StartAt {
        since: Some(Seq(since)),
        ..StartAt::default()
    };
    gateway.handle.watch(&client, &room(), from).await.unwrap()
}

/// What it tells until it has told this; `None`: it ended before.
async fn told(watch: &Watch, until: &str) -> Option<String> {
    let mut told = String::new();
    while !told.contains(until) {
        let taken = timeout(LONG, watch.outbox().take()).await;
        let Taken::Frames(frames) = taken.expect("something comes") else {
            return None;
        };
        let frames = frames.iter().map(|frame| &frame.bytes()[..]);
        told += &String::from_utf8(frames.collect::<Vec<_>>().concat()).unwrap();
    }
    Some(told)
}

/// Long enough for an owner's answer, and for nothing that waits for better ones.
const ANSWERED: Duration = Duration::from_secs(3);

/// Two gateways; at the second one somebody watches a room from its purge, at place 6, on, until it
/// is removed.
async fn removed(world: &mut World) -> (Gateway, Gateway, Watch) {
    let journal = on_bus(world);
    let config = Config {
        gone_after_s: GONE_AFTER_S,
        ..unlimited()
    };
    let (one, two) = (
        world.attach(config.clone(), journal.clone()),
        world.attach(config, journal),
    );
    let mut harry = one.join(join("harry")).await;
    for id in ["m1", "m2", "m3"] {
        harry.send(id);
        harry.until("journaled").await;
    }
    drop(harry);
    sleep(Duration::from_secs(60)).await;
    let purge = Submission {
        room: room(),
        action: Action::Purge,
        reply: None,
    };
    one.bus.submit(&purge).await.unwrap();
    sleep(Duration::from_secs(60)).await;
    let stays = watch(&two, 5).await;
    told(&stays, "purged").await.expect("the purge");
    sleep(SWEEPS).await;
    let rooms = on_bus(world).rooms(None, 9).await.unwrap();
    assert!(rooms.is_empty(), "{rooms:?}");
    (one, two, stays)
}

/// What the second gateway has missed only its owner tells: nothing that is said in the room now
/// comes there.
#[tokio::test(start_paused = true)]
async fn who_watched_a_room_that_was_gone_is_reset_when_only_its_owner_says_so() {
    for is_anew in [false, true] {
        let (mut world, clock) = world();
        let _owner = owner(&world, clock).await;
        let (one, two, stays) = removed(&mut world).await;
        world.hub.cut(two.bus.connection());
        let harry = match is_anew {
            true => Some(one.join(join("harry")).await),
            false => None,
        };
        world.hub.restore(two.bus.connection());
        let ends = timeout(ANSWERED, told(&stays, "joined")).await;
        assert_eq!(ends.expect("it ends at once"), None, "{is_anew}");
        let back = watch(&two, 6).await;
        let _harry = match harry {
            Some(harry) => harry,
            None => one.join(join("harry")).await,
        };
        let anew = told(&back, "joined").await.expect("the room as it is");
        assert!(anew.contains("event: reset"), "{anew}");
    }
}

/// The new room is longer than what was there, and the second gateway hears of no event at a place
/// that it has.
#[tokio::test(start_paused = true)]
async fn who_watched_a_room_that_was_gone_is_shown_no_later_place_of_another() {
    let (mut world, clock) = world();
    let _owner = owner(&world, clock).await;
    let (one, two, stays) = removed(&mut world).await;
    world.hub.cut(two.bus.connection());
    let mut harry = one.join(join("harry")).await;
    for id in ["n1", "n2", "n3", "n4", "n5", "n6", "n7"] {
        harry.send(id);
        harry.until("journaled").await;
    }
    world.hub.restore(two.bus.connection());
    let ends = timeout(ANSWERED, told(&stays, "n7")).await;
    assert_eq!(ends.expect("it ends at once"), None);
    let back = watch(&two, 6).await;
    let anew = told(&back, "n7").await.expect("the room as it is");
    assert!(anew.contains("event: reset"), "{anew}");
}

#[tokio::test(start_paused = true)]
async fn who_watched_a_room_that_was_gone_is_reset_when_it_begins_again() {
    let (mut world, clock) = world();
    let _owner = owner(&world, clock).await;
    let (one, two, stays) = removed(&mut world).await;

    // Somebody who comes from before.
    let mut harry = one.join(since("harry", 3, 10)).await;
    let welcome = harry.frame().await;
    assert_eq!(welcome["recovered"], false, "{welcome}");
    assert_eq!(harry.frame().await["type"], "reset");
    assert_eq!(harry.until("event").await["seq"], 1);
    assert_eq!(told(&stays, "joined").await, None, "it ends");
    let back = watch(&two, 6).await;
    let anew = told(&back, "joined").await.expect("the room as it is");
    assert!(anew.contains("event: reset"), "{anew}");
    harry.send("again");
    harry.until("journaled").await;
    told(&back, "again").await.expect("what follows");
}
