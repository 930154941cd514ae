//! What sessions say on its way to the room: together in few stored messages, in order whatever the
//! bus loses, and answered by its events.

use crate::world::{World, dense, join, texts};
use safe_chat::bus::memory::{ConnectionId, Delivered, Fate, Faults, Op, Passage};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

/// Counts what is stored and what nodes are told; storing takes 5 ms.
#[derive(Default)]
struct Counted {
    on: AtomicBool,
    stored: AtomicUsize,
    told: AtomicUsize,
}

impl Faults for Counted {
    fn call(&self, _: ConnectionId, op: Op) -> Fate {
        if !self.on.load(Relaxed) {
            return Fate::default();
        }
        let counter = match op {
            Op::Submit => &self.stored,
            Op::Tell => &self.told,
            _ => return Fate::default(),
        };
        counter.fetch_add(1, Relaxed);
        Fate {
            before: Duration::from_millis(5),
            ..Fate::default()
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_room_costs_few_stored_messages_and_no_answers_however_much_is_said() {
    let counted = Arc::new(Counted::default());
    let mut world = World::with_faults(counted.clone());
    world.own().await;
    let gateway = world.gateway();
    let mut harry = gateway.join(join("harry")).await;
    let mut charly = gateway.join(join("charly")).await;
    harry.events(2).await;
    counted.on.store(true, Relaxed);
    for n in 0..500 {
        harry.send(&format!("h{n}"));
        charly.send(&format!("c{n}"));
    }
    let mut journaled = Vec::new();
    while journaled.len() < 500 {
        journaled.push(harry.until("journaled").await["id"].clone());
    }
    dense(&charly.events(1002).await, 1, 1002);
    let (stored, told) = (counted.stored.load(Relaxed), counted.told.load(Relaxed));
    assert!(stored <= 1000 / 256 + 2, "{stored} stored messages");
    assert_eq!(told, 0, "the events are the answers");
    let expected: Vec<_> = (0..500).map(|n| format!("h{n}")).collect();
    assert_eq!(journaled, expected);
}

/// What made no event is told, all that one commit is about at once.
#[tokio::test(start_paused = true)]
async fn repetitions_are_told_together() {
    let counted = Arc::new(Counted::default());
    let mut world = World::with_faults(counted.clone());
    world.own().await;
    let (one, two) = (world.gateway(), world.gateway());
    let (mut harry, mut other) = (one.join(join("harry")).await, two.join(join("harry")).await);
    for n in 0..20 {
        harry.send(&format!("m{n}"));
    }
    other.events(21).await;
    counted.on.store(true, Relaxed);
    for n in 0..20 {
        other.send(&format!("m{n}"));
    }
    for n in 0..20 {
        let frame = other.until("journaled").await;
        let place = (frame["seq"].as_u64(), frame["duplicate"].as_bool());
        assert_eq!(place, (Some(n + 2), Some(true)), "{frame}");
    }
    let (stored, told) = (counted.stored.load(Relaxed), counted.told.load(Relaxed));
    assert!(stored <= 2 && told <= 2, "{stored} stored, {told} told");
}

/// Nobody owns the room; the bus loses the newest of what it had acknowledged.
#[tokio::test(start_paused = true)]
async fn what_the_bus_lost_of_a_lane_is_said_in_its_place() {
    let mut world = World::new().await;
    let gateway = world.gateway();
    let mut harry = gateway.join(join("harry")).await;
    harry.events(1).await;
    world.disown().await;
    for n in 0..4 {
        harry.send(&format!("m{n}"));
        harry.until("accepted").await;
    }
    world.hub.lose_tail(3, 0);
    harry.send("m4");
    harry.until("accepted").await;
    world.own().await;
    let events = harry.events(6).await;
    assert_eq!(texts(&events), ["m0", "m1", "m2", "m3", "m4"]);
}

/// Loses every event until it is let go.
struct Deaf(AtomicBool);

impl Faults for Deaf {
    fn delivery(&self, _: ConnectionId, what: Delivered) -> Passage {
        let lost = what == Delivered::Event && self.0.load(Relaxed);
        Passage {
            copies: usize::from(!lost),
            ..Passage::default()
        }
    }
}

/// Another gateway's session says the same under the same number; its event is no answer here.
#[tokio::test(start_paused = true)]
async fn only_the_own_event_is_an_answer() {
    let mut world = World::new().await;
    let (one, two) = (world.gateway(), world.gateway());
    let (mut harry, mut charly) = (
        one.join(join("harry")).await,
        two.join(join("charly")).await,
    );
    charly.events(2).await;
    world.hub.cut(one.bus.connection());
    harry.send("m1");
    charly.send("m1");
    let of_charly = charly.until("journaled").await;
    assert_eq!(of_charly["seq"], 3);
    world.hub.restore(one.bus.connection());
    let of_harry = harry.until("journaled").await;
    assert_eq!(
        (&of_harry["seq"], &of_harry["duplicate"]),
        (&4.into(), &false.into())
    );
}

/// Without any event the owner still answers what is submitted again.
#[tokio::test(start_paused = true)]
async fn a_gateway_that_hears_no_events_is_answered_by_the_owner() {
    let deaf = Arc::new(Deaf(AtomicBool::new(false)));
    let mut world = World::with_faults(deaf.clone());
    world.own().await;
    let gateway = world.gateway();
    let mut harry = gateway.join(join("harry")).await;
    harry.events(1).await;
    deaf.0.store(true, Relaxed);
    harry.send("m1");
    let answer = harry.until("journaled").await;
    assert_eq!(
        (&answer["seq"], &answer["duplicate"]),
        (&2.into(), &false.into())
    );
}
