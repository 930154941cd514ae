//! The gateway and a bus that is not as it must be: what is sent is refused, and what the bus lost ends the sessions that saw it.

mod gateway;

use gateway::{World, join, since};
use safe_chat::{
    bus::{Commit, Fault, Feed, Store},
    gateway::Close,
    room::{Epoch, Event, Kind, Millis, Reason, RoomId, Seq, UserId},
};
use serde_json::json;

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

/// Nobody noticed that the store was replaced by an older one.
#[tokio::test(start_paused = true)]
async fn an_event_that_contradicts_one_that_was_shown_ends_the_session() {
    let mut world = World::new().await;
    let one = world.gateway();
    let mut harry = one.join(join("harry")).await;
    harry.send("m1");
    harry.events(2).await;
    let room = RoomId::parse("aaa").unwrap();
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
    let last = one.bus.last(&room).await.unwrap().unwrap();
    one.bus
        .publish(&room, &commit, last.position)
        .await
        .unwrap();
    assert_eq!(harry.end().await, Close::Unavailable);
}
