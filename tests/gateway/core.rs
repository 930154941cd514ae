//! The gateway without sockets, over the memory adapters and in virtual time: what every client
//! sees, whatever goes wrong.

use crate::world;
use crate::world::{LONG, World, dense, device, full, join, since, texts};
use safe_chat::{
    bus::{self, Registry},
    gateway::{Close, Config, Join, StartAt},
    journal::memory,
    room::{Key, Millis, Reason, RoomId},
};
use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::{sleep, timeout};

#[tokio::test(start_paused = true)]
async fn clients_of_two_gateways_see_the_same_events_in_the_same_order() {
    let mut world = World::new().await;
    let (one, two) = (world.gateway(), world.gateway());
    let mut harry = one.join(join("harry")).await;
    let welcome = harry.frame().await;
    assert_eq!(
        (&welcome["type"], &welcome["seq"], &welcome["members"]),
        (&json!("welcome"), &json!(1), &json!(["harry"]))
    );
    let mut charly = two.join(join("charly")).await;
    assert_eq!(charly.frame().await["members"], json!(["charly", "harry"]));
    for n in 0..20 {
        harry.send(&format!("h{n}"));
        charly.send(&format!("c{n}"));
    }
    let (of_harry, of_charly) = (harry.events(42).await, charly.events(42).await);
    assert_eq!(of_harry, of_charly);
    dense(&of_harry, 1, 42);
    for from in ["h", "c"] {
        let sent: Vec<_> = texts(&of_harry)
            .into_iter()
            .filter(|text| text.starts_with(from))
            .collect();
        assert_eq!(
            sent,
            (0..20).map(|n| format!("{from}{n}")).collect::<Vec<_>>(),
            "a session's messages keep their order"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn resume_from_any_seq_never_skips_and_never_repeats() {
    let mut world = World::new().await;
    let mut head = 300;
    let _harry = full(&mut world, head).await;
    let warm = world.gateway();
    let _stays = warm.join(join("harry")).await;
    for seq in (0..=head)
        .step_by(7)
        .chain([1, 127, 128, 129, 256, 257, head - 1, head])
    {
        // A gateway that knows nothing of the room yet, and one that has a part of it.
        let cold = world.gateway();
        for gateway in [&cold, &warm] {
            let mut charly = gateway.join(since("charly", seq, 3)).await;
            head += 1;
            let welcome = charly.frame().await;
            assert_eq!(
                (&welcome["recovered"], &welcome["seq"]),
                (&json!(true), &json!(head))
            );
            dense(&charly.events(head).await, seq + 1, head);
            drop(charly);
            // The end of the session comes as an event as well.
            head += 1;
            let mut last = gateway.join(since("harry", head - 1, 0)).await;
            dense(&last.events(head).await, head, head);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_beyond_the_head_is_a_reset() {
    let mut world = World::new().await;
    let _harry = full(&mut world, 20).await;
    let gateway = world.gateway();
    let mut charly = gateway.join(since("charly", 1000, 5)).await;
    let (welcome, reset) = (charly.frame().await, charly.frame().await);
    assert_eq!(
        (&welcome["recovered"], &welcome["seq"]),
        (&json!(false), &json!(21))
    );
    assert_eq!(
        (&reset["type"], &reset["seq"]),
        (&json!("reset"), &json!(17))
    );
    dense(&charly.events(21).await, 17, 21);
    let mut none = gateway.join(since("dora", u64::MAX, 0)).await;
    assert_eq!(
        (
            none.frame().await["seq"].clone(),
            none.frame().await["seq"].clone()
        ),
        (json!(22), json!(23)),
        "head + 1 when none follows"
    );
}

#[tokio::test(start_paused = true)]
async fn a_message_is_accepted_then_journaled_and_a_repetition_gets_the_first_place() {
    let mut world = World::new().await;
    let gateway = world.gateway();
    let mut harry = gateway.join(join("harry")).await;
    harry.send("m1");
    let mut kinds = Vec::new();
    while !kinds.contains(&"journaled".to_owned()) {
        kinds.push(harry.frame().await["type"].as_str().unwrap().to_owned());
    }
    assert!(kinds.iter().filter(|kind| *kind == "accepted").count() <= 1);
    harry.send("m1");
    let again = harry.until("journaled").await;
    assert_eq!(
        (&again["seq"], &again["duplicate"]),
        (&json!(2), &json!(true))
    );
}

#[tokio::test(start_paused = true)]
async fn the_ninth_session_and_another_key_are_refused_and_the_same_device_replaces() {
    let mut world = World::new().await;
    let (one, two) = (world.gateway(), world.gateway());
    let mut first = one.join(device("harry", "phone")).await;
    let mut others = Vec::new();
    for _ in 0..7 {
        others.push(one.join(join("harry")).await);
    }
    assert_eq!(
        one.try_join(join("harry")).await.err().unwrap().reason,
        Reason::TooManySessions
    );
    let _second = two.join(device("harry", "phone")).await;
    assert_eq!(first.end().await, Close::Replaced);
    let other = safe_chat::gateway::Join {
        key: Key::parse("other").unwrap(),
        ..join("harry")
    };
    assert_eq!(
        two.try_join(other).await.err().unwrap().reason,
        Reason::KeyMismatch
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_vanishes_while_it_joins_leaves_nothing_open() {
    let mut world = World::deserted();
    let gateway = world.gateway();
    // Nobody owns the room, so the opening is stored and not answered.
    assert!(
        timeout(Duration::from_secs(4), gateway.handle.join(join("harry")))
            .await
            .is_err()
    );
    world.own().await;
    let mut charly = gateway.join(join("charly")).await;
    charly.say(&json!({"type": "members", "id": "q"}));
    assert_eq!(charly.until("members").await["members"], json!(["charly"]));
    assert_eq!(gateway.handle.sessions(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_join_waits_for_an_owner_but_not_for_ever() {
    let mut world = World::deserted();
    let gateway = world.gateway();
    assert_eq!(
        gateway.try_join(join("harry")).await.err().unwrap().reason,
        Reason::Unavailable
    );
    let (handle, wish) = (gateway.handle.clone(), join("charly"));
    let waiting = tokio::spawn(async move { handle.join(wish).await.is_ok() });
    sleep(Duration::from_secs(5)).await;
    world.own().await;
    assert!(waiting.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_is_closed_and_the_others_go_on() {
    let mut world = World::new().await;
    let small = Config {
        backlog_bytes: 256 * 1024,
        ..Config::default()
    };
    let gateway = world.gateway_with(small, Arc::new(memory::NoFaults));
    let (mut slow, mut harry) = (
        gateway.join(join("slow")).await,
        gateway.join(join("harry")).await,
    );
    let text = "x".repeat(16_000);
    for n in 0..40 {
        harry.say(&json!({"type": "send", "id": format!("m{n}"), "text": text}));
        harry.events(n + 3).await;
    }
    assert_eq!(
        slow.next().await,
        Err(Close::Slow),
        "what waited is dropped, so that it hears of its end"
    );
    drop(slow);
    harry.events(43).await;
    let mut back = gateway.join(since("slow", 2, 0)).await;
    dense(&back.events(44).await, 3, 44);
}

#[tokio::test(start_paused = true)]
async fn a_long_catch_up_goes_at_the_pace_of_the_client_while_the_room_goes_on() {
    let mut world = World::new().await;
    let mut harry = full(&mut world, 2000).await;
    let small = Config {
        backlog_frames: 256,
        ..Config::default()
    };
    let gateway = world.gateway_with(small, Arc::new(memory::NoFaults));
    let mut charly = gateway.join(since("charly", 0, 0)).await;
    for n in 0..200 {
        harry.send(&format!("late{n}"));
        sleep(Duration::from_millis(1)).await;
    }
    dense(&charly.events(2201).await, 1, 2201);
    harry.send("live");
    dense(&charly.events(2202).await, 2202, 2202);
}

#[tokio::test(start_paused = true)]
async fn a_drain_says_goodbye_and_closes_every_session_in_the_rooms() {
    let mut world = World::new().await;
    let (one, two) = (world.gateway(), world.gateway());
    let (mut harry, mut charly) = (
        one.join(join("harry")).await,
        two.join(join("charly")).await,
    );
    let handle = one.handle.clone();
    let draining = tokio::spawn(async move { handle.drain().await });
    let bye = harry.until("bye").await;
    assert!(bye["reconnect_after_ms"].as_u64().unwrap() >= 500);
    assert_eq!(harry.end().await, Close::GoingAway);
    drop(harry);
    draining.await.unwrap();
    assert_eq!(charly.events(3).await.pop().unwrap()["kind"], "left");
    assert_eq!(
        one.try_join(join("harry")).await.err().unwrap().reason,
        Reason::Draining
    );
    assert_eq!(one.handle.sessions(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_mark_on_a_room_is_there_from_before_the_first_session_until_after_the_last() {
    let mut world = World::new().await;
    let gateway = world.gateway();
    let shard = world.shards.of(&RoomId::parse("aaa").unwrap());
    let harry = gateway.join(join("harry")).await;
    assert_eq!(gateway.bus.marks(shard).await.unwrap().len(), 1);
    drop(harry);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(gateway.bus.marks(shard).await.unwrap().len(), 0);
    let _back = gateway.join(join("harry")).await;
    assert_eq!(gateway.bus.marks(shard).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_client_said_before_it_went_away_is_in_the_room() {
    let mut world = World::new().await;
    let gateway = world.gateway();
    let (mut harry, mut charly) = (
        gateway.join(join("harry")).await,
        gateway.join(join("charly")).await,
    );
    (0..10).for_each(|n| harry.send(&format!("m{n}")));
    drop(harry);
    let events = charly.events(13).await;
    assert_eq!(texts(&events).len(), 10);
    assert_eq!(events.last().unwrap()["kind"], "left");
}

/// Counts reads of rows.
#[derive(Default)]
struct Reads(AtomicUsize);

impl memory::Faults for Reads {
    fn call(&self, op: memory::Op) -> memory::Fate {
        if op == memory::Op::Rows {
            self.0.fetch_add(1, Relaxed);
        }
        memory::Fate {
            before: Duration::from_millis(5),
            ..Default::default()
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_clients_that_come_back_at_once_cost_a_few_reads() {
    let mut world = World::new().await;
    let _harry = full(&mut world, 200).await;
    let reads = Arc::new(Reads::default());
    let gateway = world.gateway_with(Config::default(), reads.clone());
    let joins = (0..1000).map(|n| gateway.try_join(since(&format!("u{n}"), 150, 50)));
    let clients = futures::future::join_all(joins).await;
    for client in clients {
        dense(&client.unwrap().events(1200).await, 151, 1200);
    }
    assert!(
        reads.0.load(Relaxed) < 40,
        "{} reads",
        reads.0.load(Relaxed)
    );
}

/// Counts the questions to owners.
#[derive(Default)]
struct Asks(AtomicUsize);

impl bus::memory::Faults for Asks {
    fn call(&self, _: bus::memory::ConnectionId, op: bus::memory::Op) -> bus::memory::Fate {
        if op == bus::memory::Op::Ask {
            self.0.fetch_add(1, Relaxed);
        }
        bus::memory::Fate::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_join_storm_asks_the_owner_once_and_reads_each_page_once() {
    let asks = Arc::new(Asks::default());
    let mut world = World::with_faults(asks.clone());
    world.own().await;
    let _harry = full(&mut world, 384).await;
    let (reads, before) = (Arc::new(Reads::default()), asks.0.load(Relaxed));
    let gateway = world.gateway_with(Config::default(), reads.clone());
    let wish = |n| Join {
        from: StartAt {
            since: None,
            since_at: None,
            history: 500,
        },
        ..join(&format!("u{n}"))
    };
    let clients = futures::future::join_all((0..500).map(|n| gateway.try_join(wish(n)))).await;
    for client in clients {
        let events = client.unwrap().events(884).await;
        dense(&events, world::seqs(&events)[0], 884);
    }
    assert_eq!(asks.0.load(Relaxed) - before, 1);
    // Three pages of 128, and what of the storm itself was read before its own events were recent.
    assert!(
        reads.0.load(Relaxed) < 20,
        "{} reads",
        reads.0.load(Relaxed)
    );
}

/// At a gateway that has the event at hand, and at one that reads it.
#[tokio::test(start_paused = true)]
async fn whoever_comes_back_to_a_place_that_another_event_has_now_is_reset() {
    let mut world = World::new().await;
    let (one, two) = (world.gateway(), world.gateway());
    let mut harry = one.join(join("harry")).await;
    let joined = harry.until("event").await;
    let (place, at) = (
        joined["seq"].as_u64().unwrap(),
        joined["at"].as_u64().unwrap(),
    );
    for gateway in [&one, &two] {
        for (since_at, expected) in [(None, true), (Some(at), true), (Some(at + 1), false)] {
            let mut wish = since("charly", place, 0);
            wish.from.since_at = since_at.map(Millis);
            let mut charly = gateway.join(wish).await;
            let welcome = charly.frame().await;
            assert_eq!(welcome["recovered"], expected, "{since_at:?}: {welcome}");
            let then = charly.frame().await;
            let expected = if expected { "event" } else { "reset" };
            assert_eq!(then["type"], expected, "{since_at:?}: {then}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn recent_history_is_read_by_nobody() {
    let mut world = World::new().await;
    let mut harry = full(&mut world, 300).await;
    let reads = Arc::new(Reads::default());
    let gateway = world.gateway_with(Config::default(), reads.clone());
    let mut charly = gateway.join(since("charly", 300, 0)).await;
    (0..200).for_each(|n| harry.send(&format!("more{n}")));
    dense(&charly.events(501).await, 301, 501);
    let before = reads.0.load(Relaxed);
    for (before, limit, first) in [(None, 50, 452), (Some(451), 100, 351)] {
        charly.say(&json!({"type": "history", "id": "h", "before": before, "limit": limit}));
        let page = charly.until("history").await;
        dense(page["events"].as_array().unwrap(), first, first + limit - 1);
        assert_eq!(page["more"], true);
    }
    assert_eq!(reads.0.load(Relaxed), before);
    // A part of it is not at hand.
    charly.say(&json!({"type": "history", "id": "h", "before": 321, "limit": 320}));
    let page = charly.until("history").await;
    dense(page["events"].as_array().unwrap(), 1, 320);
    assert!(page["more"] == false && reads.0.load(Relaxed) > before);
}

#[tokio::test(start_paused = true)]
async fn history_comes_in_pages_to_the_beginning() {
    let mut world = World::new().await;
    let mut harry = full(&mut world, 300).await;
    let (mut before, mut got) = (None, Vec::new());
    loop {
        harry.say(&json!({"type": "history", "id": "h", "before": before, "limit": 77}));
        let page = harry.until("history").await;
        let mut events = page["events"].as_array().unwrap().clone();
        before = events.first().map(|event| event["seq"].as_u64().unwrap());
        events.append(&mut got);
        got = events;
        if page["more"] == false {
            break;
        }
    }
    dense(&got, 1, 300);
}

#[tokio::test(start_paused = true)]
async fn twenty_bad_frames_in_a_row_end_a_session_and_nineteen_do_not() {
    let mut world = World::new().await;
    let gateway = world.gateway();
    let mut harry = gateway.join(join("harry")).await;
    for _ in 0..19 {
        harry.say(&json!([]));
    }
    harry.say(&json!({"type": "ping", "id": "p"}));
    for _ in 0..19 {
        harry.say(&json!({"type": "dance", "id": "d"}));
    }
    assert_eq!(harry.until("pong").await["id"], "p");
    harry.say(&json!(7));
    assert_eq!(harry.end().await, Close::BadFrames);
}

/// A journal whose operator has cut what was before a place.
#[tokio::test(start_paused = true)]
async fn an_operator_ends_a_session() {
    let mut world = World::new().await;
    let gateway = world.gateway();
    let mut harry = gateway.join(join("harry")).await;
    assert!(gateway.handle.end(harry.session.id()));
    assert_eq!(harry.end().await, Close::Operator);
    let id = harry.session.id();
    drop(harry);
    timeout(LONG, async {
        while gateway.handle.sessions() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert!(!gateway.handle.end(id));
}
