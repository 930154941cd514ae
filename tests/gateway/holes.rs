//! What clients get of a room of which events are gone: everything else, and word of what is
//! missing.

use crate::world::*;
use safe_chat::{
    bus::{Commands as _, Submission},
    gateway::{Client as Address, StartAt, Taken},
    room::{Action, RoomId, Seq, UserId},
};
use serde_json::{Value, json};
use std::ops::RangeInclusive;

fn room() -> RoomId {
    RoomId::parse("aaa").unwrap()
}

fn lose(world: &World, places: RangeInclusive<u64>) {
    world
        .database
        .lose_rows(&room(), |seq, _| places.contains(&seq.0));
}

fn address(gateway: &Gateway) -> Address {
    gateway.handle.client("192.0.2.1".parse().unwrap())
}

/// What comes up to the event at `last`: events by their places, resets as negative ones.
async fn seen(client: &mut Client, last: i64) -> Vec<i64> {
    let mut seen = Vec::new();
    while seen.last() != Some(&last) {
        let frame = client.frame().await;
        let seq = frame["seq"].as_i64();
        match frame["type"].as_str() {
            Some("event") => seen.extend(seq),
            Some("reset") => seen.extend(seq.map(|seq| -seq)),
            _ => {}
        }
    }
    seen
}

fn around(first: i64, hole: RangeInclusive<i64>, last: i64) -> Vec<i64> {
    let behind = *hole.end() + 1;
    (first..*hole.start())
        .chain([-behind])
        .chain(behind..=last)
        .collect()
}

#[tokio::test(start_paused = true)]
async fn who_reads_from_the_beginning_gets_all_but_the_hole() {
    let mut world = World::new().await;
    let _harry = full(&mut world, 300).await;
    // Within a page, and over several.
    for hole in [175..=179_i64, 100..=270] {
        lose(
            &world,
            hole.start().unsigned_abs()..=hole.end().unsigned_abs(),
        );
        let gateway = world.gateway();
        let mut charly = gateway.join(since("charly", 0, 0)).await;
        assert_eq!(charly.frame().await["recovered"], true);
        let got = seen(&mut charly, 300).await;
        assert_eq!(got, around(1, hole, 300));
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_stream_gets_a_reset_in_the_place_of_a_hole() {
    let mut world = World::new().await;
    let _harry = full(&mut world, 300).await;
    lose(&world, 175..=179);
    let gateway = world.gateway();
    let from = StartAt {
        since: Some(Seq(0)),
        since_at: None,
        history: 0,
    };
    let watch = gateway
        .handle
        .watch(&address(&gateway), &room(), from)
        .await
        .unwrap();
    let mut text = String::new();
    while !text.contains("id: 300\n") {
        let Taken::Frames(frames) = watch.outbox().take().await else {
            panic!("it ended")
        };
        for frame in frames {
            text += std::str::from_utf8(frame.bytes()).unwrap();
        }
    }
    let (before, after) = text.split_once("event: reset\n").unwrap();
    assert!(before.contains("id: 174\n") && !before.contains("id: 180\n"));
    assert!(after.contains(r#""seq":180"#) && !after.contains("id: 174\n"));
}

#[tokio::test(start_paused = true)]
async fn a_hole_right_after_since_is_a_reset_to_the_newest() {
    let mut world = World::new().await;
    let _harry = full(&mut world, 300).await;
    lose(&world, 175..=179);
    let gateway = world.gateway();
    for since_seq in [174, 176] {
        let mut charly = gateway.join(since("charly", since_seq, 20)).await;
        let welcome = charly.frame().await;
        assert_eq!(welcome["recovered"], false);
        let head = welcome["seq"].as_i64().unwrap();
        let got = seen(&mut charly, head).await;
        assert_eq!(
            got,
            [vec![19 - head], (head - 19..=head).collect()].concat()
        );
    }
    let mut charly = gateway.join(since("charly", 179, 20)).await;
    assert_eq!(charly.frame().await["recovered"], true);
    dense(&charly.events(300).await, 180, 300);
}

async fn page(gateway: &Gateway, before: u64, limit: u16) -> Value {
    let frame = gateway
        .handle
        .history(&address(gateway), &room(), Some(Seq(before)), limit)
        .await
        .unwrap();
    let safe_chat::wire::ServerFrame::History {
        events,
        more,
        missing,
        ..
    } = frame
    else {
        panic!("a page")
    };
    let ends = [events.first(), events.last()].map(|event| event.map(|event| event.seq.0));
    let dense = events.windows(2).all(|two| two[0].seq.next() == two[1].seq);
    assert!(dense, "a page has no hole in it");
    json!([ends, more, missing.map(|(first, last)| [first.0, last.0])])
}

#[tokio::test(start_paused = true)]
async fn a_page_ends_at_a_hole_and_the_next_one_names_it() {
    let mut world = World::new().await;
    let _harry = full(&mut world, 300).await;
    lose(&world, 175..=179);
    lose(&world, 1..=9);
    let gateway = world.attach(
        unlimited(),
        std::sync::Arc::new(world.database.connect(world.shards)),
    );
    for (before, limit, expected) in [
        (200, 10, json!([[190, 199], true, null])),
        (200, 50, json!([[180, 199], true, null])),
        (200, 20, json!([[180, 199], true, null])),
        (180, 50, json!([[125, 174], true, [175, 179]])),
        (178, 50, json!([[125, 174], true, [175, 177]])),
        (176, 1, json!([[174, 174], true, [175, 175]])),
        (175, 2, json!([[173, 174], true, null])),
        (20, 50, json!([[10, 19], false, null])),
        (10, 50, json!([[null, null], false, [1, 9]])),
        (5, 50, json!([[null, null], false, [1, 4]])),
        (1, 50, json!([[null, null], false, null])),
    ] {
        assert_eq!(
            page(&gateway, before, limit).await,
            expected,
            "{before} {limit}"
        );
    }
}

/// Harry, and Charly, who has read up to his own event 6 at a gateway that is cut off from the bus
/// since.
async fn one_cut_off(world: &mut World) -> (Client, Gateway, Client) {
    let mut harry = full(world, 5).await;
    let gateway = world.gateway();
    let mut charly = gateway.join(since("charly", 5, 0)).await;
    charly.events(6).await;
    harry.events(6).await;
    world.hub.cut(gateway.bus.connection());
    (harry, gateway, charly)
}

/// Live events were missed, and when they are looked for they are gone.
#[tokio::test(start_paused = true)]
async fn a_live_session_whose_next_event_is_gone_gets_a_reset() {
    let mut world = World::new().await;
    let (mut harry, gateway, mut charly) = one_cut_off(&mut world).await;
    for n in 7..=10 {
        harry.send(&format!("m{n}"));
        harry.events(n).await;
    }
    lose(&world, 7..=8);
    world.hub.restore(gateway.bus.connection());
    assert_eq!(seen(&mut charly, 10).await, [-9, 9, 10]);
    charly.send("m11");
    assert_eq!(charly.until("journaled").await["seq"], 11);
    charly.say(&json!({"type": "members", "id": "q"}));
    assert_eq!(
        charly.until("members").await["members"],
        json!(["charly", "harry"])
    );
}

/// What a gateway missed it reads from the journal, which has the content still.
#[tokio::test(start_paused = true)]
async fn who_missed_an_erasure_is_told_nothing_of_what_went() {
    let mut world = World::new().await;
    let (mut harry, gateway, mut charly) = one_cut_off(&mut world).await;
    for n in 7..=10 {
        harry.send(&format!("m{n}"));
        harry.events(n).await;
    }
    let user = UserId::parse("harry").unwrap();
    let erase = Submission {
        room: room(),
        action: Action::Erase { user },
        reply: None,
    };
    world.hub.connect().submit(&erase).await.unwrap();
    harry.events(11).await;
    harry.send("m12");
    harry.events(12).await;
    world.hub.restore(gateway.bus.connection());
    let missed = charly.events(12).await;
    dense(&missed, 7, 12);
    let mut late = gateway.join(since("moritz", 0, 0)).await;
    let all = late.events(12).await;
    dense(&all, 1, 12);
    let of_harry = |event: &&Value| event["kind"] == "text" && event["from"] == "harry";
    for event in missed.iter().chain(&all).filter(of_harry) {
        let is_later = event["seq"] == 12;
        assert_eq!(event["text"] == "", !is_later, "{event}");
        assert_eq!(event["erased"] == true, !is_later, "{event}");
    }
    assert_eq!(missed[4]["kind"], "erased");
    assert_eq!(missed.iter().filter(of_harry).count(), 5);
}

/// Nothing is left behind the hole: the reset names the place that comes next.
#[tokio::test(start_paused = true)]
async fn a_live_session_gets_a_reset_also_when_the_end_is_gone() {
    let mut world = World::new().await;
    let (mut harry, gateway, mut charly) = one_cut_off(&mut world).await;
    harry.send("m7");
    harry.events(7).await;
    lose(&world, 7..=7);
    world.hub.restore(gateway.bus.connection());
    assert_eq!(charly.until("reset").await["seq"], 8);
    harry.send("m8");
    dense(&charly.events(8).await, 8, 8);
}

/// A new owner finds holes in the middle and at the end, without a snapshot: what the bus has still
/// is there again.
#[tokio::test(start_paused = true)]
async fn the_next_owner_of_a_room_with_holes_fills_them() {
    let mut world = World::new().await;
    let mut harry = full(&mut world, 100).await;
    // The floor passes the commands, so that the next owner does not place them again.
    tokio::time::sleep(LONG).await;
    world.disown().await;
    lose(&world, 40..=49);
    lose(&world, 98..=100);
    world.own().await;
    harry.send("m101");
    let answer = loop {
        let answer = harry.frame().await;
        match answer["type"].as_str() {
            Some("journaled") if answer["id"] == "m101" => break answer,
            // With the last events the room lost how far its gateway is.
            Some("rejected") if answer["reason"] == "unavailable" => harry.send("m101"),
            _ => {}
        }
    };
    assert_eq!(answer["seq"], 101);
    let gateway = world.gateway();
    let mut charly = gateway.join(since("charly", 0, 0)).await;
    dense(&charly.events(102).await, 1, 102);
    drop(charly);
    world.disown().await;
    world.own().await;
    harry.send("m104");
    let journaled = harry.until("journaled").await;
    assert_eq!(journaled["seq"], 104, "one left meanwhile");
}
