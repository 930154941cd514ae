//! The gateway and a bus that is not as it must be: what is sent is refused, and what the bus lost
//! ends the sessions that saw it.

use crate::world::{Client, Gateway, World, join, seqs, since};
use safe_chat::{
    bus::{
        Commit, Fault, Feed, Head, Registry, Store,
        memory::{ConnectionId, Delivered, Fate, Faults, Op, Outcome, Passage},
    },
    gateway::{Close, StartAt, Taken, Watch},
    room::{Epoch, Event, Kind, Millis, Reason, Rejection, RoomId, Seq, UserId},
};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::sleep;

fn room() -> RoomId {
    RoomId::parse("aaa").unwrap()
}

fn fault(store: Store) -> Fault {
    Fault {
        store: Some(store),
        why: "it is missing".into(),
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_bus_keeps_nothing_all_that_waits_and_all_that_comes_is_refused() {
    let mut world = World::new().await;
    let one = world.gateway();
    let mut harry = one.join(join("harry")).await;
    world.disown().await;
    harry.send("waits");
    harry.until("accepted").await;
    for store in [Store::Commands, Store::Events] {
        world
            .hub
            .diagnose(|health| health.faults = vec![fault(store)]);
        harry.send("comes");
        let ids = if store == Store::Commands { 2 } else { 1 };
        for _ in 0..ids {
            let refused = harry.until("rejected").await;
            assert_eq!(refused["reason"], "unavailable");
            assert!(refused["retry_after_ms"].is_u64(), "{refused}");
        }
        let rejection = one.try_join(join("charly")).await.err().expect("refused");
        assert_eq!(rejection.reason, Reason::Unavailable);
    }
    world
        .hub
        .diagnose(|health| health.faults = vec![fault(Store::Marks)]);
    assert!(one.try_join(join("charly")).await.is_err());
    world.hub.diagnose(|health| health.faults.clear());
    world.own().await;
    harry.send("waits");
    let journaled = harry.until("journaled").await;
    assert_eq!(
        (&journaled["id"], &journaled["seq"]),
        (&json!("waits"), &json!(2))
    );
    one.join(join("charly")).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_the_bus_does_not_carry_holds_up_no_other() {
    let mut world = World::new().await;
    let one = world.gateway();
    let mut harry = one.join(join("harry")).await;
    world.hub.diagnose(|health| health.largest = 8 * 1024);
    harry.say(&json!({"type": "send", "id": "large", "text": "x".repeat(8 * 1024)}));
    harry.send("small");
    let refused = harry.until("rejected").await;
    assert_eq!(
        (&refused["id"], &refused["reason"]),
        (&json!("large"), &json!("unavailable"))
    );
    assert_eq!(harry.until("journaled").await["id"], "small");
    world.hub.diagnose(|health| health.largest = 1024 * 1024);
    harry.say(&json!({"type": "send", "id": "large", "text": "x".repeat(8 * 1024)}));
    assert_eq!(harry.until("journaled").await["id"], "large");
}

#[tokio::test(start_paused = true)]
async fn events_that_the_bus_lost_end_the_sessions_that_may_have_seen_them() {
    let mut world = World::new().await;
    let one = world.gateway();
    let mut harry = one.join(join("harry")).await;
    harry.send("m1");
    harry.until("journaled").await;
    world.hub.diagnose(|health| health.rollbacks += 1);
    assert_eq!(harry.end().await, Close::Unavailable);
    world.own().await;
    let mut harry = one.join(since("harry", 99, 50)).await;
    assert_eq!(harry.frame().await["recovered"], false);
    assert_eq!(harry.frame().await["type"], "reset");
}

/// Nobody noticed that the store was replaced by an older one, in which the room went on otherwise.
#[tokio::test(start_paused = true)]
async fn an_event_that_contradicts_one_that_was_shown_ends_the_session() {
    let mut world = World::on_bus().await;
    let one = world.gateway();
    let mut harry = one.join(join("harry")).await;
    let last = one.bus.last(&room()).await.unwrap().unwrap().position;
    harry.send("m1");
    harry.events(2).await;
    world.hub.lose_tail(0, 1);
    let room = room();
    let user = UserId::parse("somebody").unwrap();
    let event = Event {
        seq: Seq(2),
        at: Millis(1),
        kind: Kind::Joined { user },
        changes: Vec::new(),
    };
    let commit = Commit {
        epoch: Epoch(9),
        events: vec![event],
    };
    one.bus.publish(&room, &commit, last).await.unwrap();
    assert_eq!(harry.end().await, Close::Unavailable);
}

/// Heard of the room, and its journal says otherwise: another event at a place that was shown, one
/// of an owner of before, one behind a gap of an owner that nobody knows.
#[tokio::test(start_paused = true)]
async fn what_the_journal_does_not_have_is_not_shown_and_closes_nobody() {
    let mut world = World::new().await;
    world.own().await;
    let one = world.gateway();
    let mut harry = one.join(join("harry")).await;
    harry.send("m1");
    harry.events(2).await;
    let said = |epoch, seq| Commit {
        epoch: Epoch(epoch),
        events: vec![Event {
            seq: Seq(seq),
            at: Millis(1),
            kind: Kind::Joined {
                user: UserId::parse("nobody").unwrap(),
            },
            changes: Vec::new(),
        }],
    };
    for (epoch, seq) in [(9, 2), (1, 4), (1 << 39, 6)] {
        one.bus.say(&room(), &said(epoch, seq));
        // Longer than any owner may be out of date.
        sleep(Duration::from_secs(30)).await;
        let id = format!("after-{epoch}");
        harry.send(&id);
        let event = harry.until("event").await;
        assert_eq!(event["id"], id.as_str(), "{event}");
    }
    let mut charly = one.join(join("charly")).await;
    charly.send("here");
    charly.until("journaled").await;
}

/// Delivers nothing of what owners say to all, once it is told so.
#[derive(Default)]
struct Deaf(AtomicBool);

impl Faults for Deaf {
    fn delivery(&self, _: ConnectionId, what: Delivered) -> Passage {
        let is_lost = matches!(what, Delivered::Event | Delivered::Head) && self.0.load(Relaxed);
        Passage {
            copies: usize::from(!is_lost),
            ..Passage::default()
        }
    }
}

/// Nothing has told the gateway yet, when its client learns by what it says that the room does not
/// know it. Opening another session has an event there, or none when the user is in the room.
#[tokio::test(start_paused = true)]
async fn who_comes_back_before_its_gateway_has_noticed_an_older_store_does_not_go_on() {
    for is_member in [false, true] {
        let deaf = Arc::new(Deaf::default());
        let mut world = World::on_bus_with(deaf.clone()).await;
        let (one, two) = (world.gateway(), world.gateway());
        let mut harry = one.join(join("harry")).await;
        let _other = match is_member {
            true => Some(one.join(join("charly")).await),
            false => None,
        };
        harry.send("stays");
        let kept = harry.until("journaled").await["seq"].as_u64().unwrap();
        for id in ["goes-1", "goes-2"] {
            harry.send(id);
            harry.until("journaled").await;
        }
        let mut charly = two.join(join("charly")).await;
        // Its opening goes with the next event, if it has none.
        harry.send("goes-3");
        let last = kept + if is_member { 3 } else { 4 };
        charly.events(last).await;
        sleep(Duration::from_secs(10)).await;

        deaf.0.store(true, Relaxed);
        world.hub.lose_tail(0, last - kept);
        world.own().await;
        charly.send("more");
        assert_eq!(charly.end().await, Close::Unavailable);
        let welcome = loop {
            match two.try_join(since("charly", last, 50)).await {
                Ok(mut charly) => break charly.frame().await,
                Err(refused) => assert_eq!(refused.reason, Reason::Unavailable),
            }
            sleep(Duration::from_millis(100)).await;
        };
        assert_eq!(welcome["recovered"], false, "{is_member}: {welcome}");
    }
}

/// Nothing has told the gateway yet; its reader has learned of the loss elsewhere, or not at all.
#[tokio::test(start_paused = true)]
async fn an_event_stream_that_comes_back_before_its_gateway_has_noticed_an_older_store_is_reset() {
    let deaf = Arc::new(Deaf::default());
    let mut world = World::on_bus_with(deaf.clone()).await;
    let (one, two) = (world.gateway(), world.gateway());
    let mut harry = one.join(join("harry")).await;
    for id in ["stays", "goes-1", "goes-2"] {
        harry.send(id);
        harry.until("journaled").await;
    }
    let stay = stream(&two, 0).await.unwrap();
    assert!(first_of(&stay).await.contains("goes-2"));
    sleep(Duration::from_secs(10)).await;

    deaf.0.store(true, Relaxed);
    world.hub.lose_tail(0, 2);
    world.own().await;
    let back = loop {
        match stream(&two, 4).await {
            Ok(stream) => break stream,
            Err(refused) => assert_eq!(refused.reason, Reason::Unavailable),
        }
        sleep(Duration::from_millis(100)).await;
    };
    let told = first_of(&back).await;
    assert!(
        told.contains("event: reset") && told.contains("stays") && !told.contains("goes"),
        "{told}"
    );
    while let Taken::Frames(_) = stay.outbox().take().await {}
}

async fn stream(gateway: &Gateway, since: u64) -> Result<Watch, Rejection> {
    let client = gateway.handle.client("192.0.2.1".parse().unwrap());
    let from = StartAt {
        since: Some(Seq(since)),
        ..StartAt::default()
    };
    gateway.handle.watch(&client, &room(), from).await
}

/// What a stream begins with.
async fn first_of(stream: &Watch) -> String {
    let Taken::Frames(frames) = stream.outbox().take().await else {
        panic!("it ended")
    };
    let frames = frames.iter().map(|frame| &frame.bytes()[..]);
    String::from_utf8(frames.collect::<Vec<_>>().concat()).unwrap()
}

/// A room on the bus with ten events, one message each, which no owner decides again.
async fn ten_events() -> (World, Client) {
    let mut world = World::on_bus().await;
    let mut harry = world.gateway().join(join("harry")).await;
    for n in 2..=10 {
        harry.send(&format!("m{n}"));
        harry.until("journaled").await;
    }
    sleep(Duration::from_secs(10)).await;
    (world, harry)
}

/// Sends a message, and returns the events up to that.
async fn up_to_own(client: &mut Client) -> Vec<Value> {
    client.send("own");
    let mut events = Vec::new();
    while events.last().is_none_or(|last: &Value| last["id"] != "own") {
        events.push(client.until("event").await);
    }
    events
}

fn is_dense(events: &[Value]) {
    assert_eq!(seqs(events), (1..=events.len() as u64).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_has_not_noticed_a_loss_tells_no_gateway_of_what_is_gone() {
    let (mut world, _harry) = ten_events().await;
    world.hub.lose_tail(0, 5);
    let two = world.gateway();
    let later = async {
        sleep(Duration::from_secs(1)).await;
        world.own().await;
    };
    let (mut charly, ()) = tokio::join!(two.join(join("charly")), later);
    is_dense(&up_to_own(&mut charly).await);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_has_not_noticed_a_loss_ends_the_sessions_that_expect_more() {
    let (mut world, _harry) = ten_events().await;
    let (two, three) = (world.gateway(), world.gateway());
    // Nothing is kept there of what was before: nothing contradicts what follows.
    let from = StartAt {
        since: None,
        since_at: None,
        history: 0,
    };
    let mut charly = two
        .join(safe_chat::gateway::Join {
            from,
            ..join("charly")
        })
        .await;
    sleep(Duration::from_secs(10)).await;
    world.hub.lose_tail(0, 6);
    world.own().await;
    let mut dora = three.join(join("dora")).await;
    assert_eq!(charly.end().await, Close::Unavailable);
    is_dense(&up_to_own(&mut dora).await);
}

#[tokio::test(start_paused = true)]
async fn nobody_makes_a_hole_of_places_that_only_a_head_speaks_of() {
    for epoch in [0, 9] {
        let mut world = World::on_bus().await;
        let one = world.gateway();
        let mut harry = one.join(join("harry")).await;
        harry.events(1).await;
        let head = Head {
            room: room(),
            epoch: Epoch(epoch),
            seq: Seq(40),
        };
        let shard = world.shards.of(&room());
        one.bus.tell_heads(shard, &[head]).await.unwrap();
        sleep(Duration::from_secs(2)).await;
        harry.send("next");
        let event = harry.frame().await;
        assert_ne!(event["type"], "reset", "{event}, told by epoch {epoch}");
        assert_eq!(harry.events(2).await.len(), 1);
    }
}

/// Commands take long to be stored; it can be that the removal of a mark has no answer.
#[derive(Default)]
struct Slow {
    submits: Duration,
    unmarked: AtomicBool,
}

impl Faults for Slow {
    fn call(&self, _: ConnectionId, op: Op) -> Fate {
        match op {
            Op::Submit => Fate {
                before: self.submits,
                ..Fate::default()
            },
            Op::Unmark if self.unmarked.swap(false, Relaxed) => Fate {
                outcome: Outcome::Unanswered,
                ..Fate::default()
            },
            _ => Fate::default(),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_joins_while_a_room_is_cleared_after_a_loss_has_a_mark() {
    let slow = Slow {
        submits: Duration::from_millis(500),
        ..Slow::default()
    };
    let mut world = World::with_faults(Arc::new(slow));
    world.own().await;
    let (one, shard) = (world.gateway(), world.shards.of(&room()));
    one.bus.mark(one.me, &room()).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    one.bus.diagnose(|health| health.rollbacks += 1);
    sleep(Duration::from_millis(100)).await;
    let mut harry = one.join(join("harry")).await;
    sleep(Duration::from_secs(1)).await;
    let marks = one.bus.marks(shard).await.unwrap();
    assert_eq!(marks, [(one.me, room())]);
    is_dense(&up_to_own(&mut harry).await);
    drop(harry);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(one.bus.marks(shard).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_may_have_been_removed_is_made_again_for_the_next_session() {
    let slow = Arc::new(Slow::default());
    let mut world = World::with_faults(slow.clone());
    world.own().await;
    let (one, shard) = (world.gateway(), world.shards.of(&room()));
    drop(one.join(join("harry")).await);
    slow.unmarked.store(true, Relaxed);
    // The replica stays until it has an answer.
    while slow.unmarked.load(Relaxed) {
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(one.bus.marks(shard).await.unwrap(), []);
    let _charly = one.join(join("charly")).await;
    assert_eq!(one.bus.marks(shard).await.unwrap(), [(one.me, room())]);
}
