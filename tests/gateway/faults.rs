//! The gateway when things go wrong: cuts, lost answers and events, a gateway judged dead, a room
//! whose beginning was cut.

use crate::world::{World, cut::Cut, dense, full, join, since, texts};
use safe_chat::{
    bus::{
        Commands, Submission,
        memory::{ConnectionId, Delivered, Fate, Faults, Op, Outcome, Passage},
    },
    gateway::{Close, Config, Taken},
    room::{Action, Reason, RoomId, Seq},
    wire::ServerFrame,
};
use serde_json::json;
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

#[tokio::test(start_paused = true)]
async fn a_gateway_that_was_cut_off_repairs_what_it_missed() {
    let mut world = World::new().await;
    let (one, two) = (world.gateway(), world.gateway());
    let (mut harry, mut charly) = (
        one.join(join("harry")).await,
        two.join(join("charly")).await,
    );
    world.hub.cut(two.bus.connection());
    for n in 0..50 {
        harry.send(&format!("m{n}"));
    }
    harry.events(52).await;
    world.hub.restore(two.bus.connection());
    dense(&charly.events(52).await, 1, 52);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_is_cut_off_tells_no_history_that_may_be_purged() {
    let mut world = World::new().await;
    let gateway = world.gateway();
    let mut harry = gateway.join(join("harry")).await;
    let ask = serde_json::json!({"type": "history", "id": "h"});
    harry.say(&ask);
    harry.until("history").await;
    world.hub.cut(gateway.bus.connection());
    harry.say(&ask);
    assert_eq!(harry.until("rejected").await["reason"], "unavailable");
    world.hub.restore(gateway.bus.connection());
    harry.say(&ask);
    harry.until("history").await;
}

/// Loses or delays by a fixed pattern, so that every run is the same.
#[derive(Default)]
struct Losing {
    on: AtomicBool,
    what: Option<Delivered>,
    submits: bool,
    count: AtomicU64,
}

impl Faults for Losing {
    fn call(&self, _: ConnectionId, op: Op) -> Fate {
        if !self.submits || op != Op::Submit || !self.on.load(Relaxed) {
            return Fate::default();
        }
        let outcomes = [
            Outcome::Done,
            Outcome::Refused,
            Outcome::Unanswered,
            Outcome::Done,
            Outcome::Vanished,
        ];
        let n = self.count.fetch_add(1, Relaxed);
        let before = Duration::from_millis(n * 7 % 13);
        Fate {
            before,
            outcome: outcomes[(n % 5) as usize],
            ..Fate::default()
        }
    }

    fn delivery(&self, _: ConnectionId, what: Delivered) -> Passage {
        let lost = self.on.load(Relaxed)
            && Some(what) == self.what
            && !self.count.fetch_add(1, Relaxed).is_multiple_of(3);
        Passage {
            copies: usize::from(!lost),
            ..Passage::default()
        }
    }
}

/// Sends 100 messages into a room where something is lost; each must be there once, in order, and
/// answered.
async fn endure(losing: Losing) {
    let losing = Arc::new(losing);
    let mut world = World::with_faults(losing.clone());
    world.own().await;
    let (one, two) = (world.gateway(), world.gateway());
    let (mut harry, mut charly) = (
        one.join(join("harry")).await,
        two.join(join("charly")).await,
    );
    losing.on.store(true, Relaxed);
    let wanted: Vec<_> = (0..100).map(|n| format!("m{n}")).collect();
    wanted.iter().for_each(|id| harry.send(id));
    let mut journaled = Vec::new();
    while journaled.len() < 100 {
        let frame = harry.frame().await;
        assert_ne!(frame["type"], "rejected", "{frame}");
        if frame["type"] == "journaled" {
            journaled.push(frame["id"].as_str().unwrap().to_owned());
        }
    }
    let events = charly.events(102).await;
    dense(&events, 1, 102);
    assert_eq!(texts(&events), wanted);
    journaled.sort();
    let answers = journaled.len();
    journaled.dedup();
    assert_eq!(
        (answers, journaled.len()),
        (100, 100),
        "each is answered once"
    );
}

#[tokio::test(start_paused = true)]
async fn lost_answers_are_made_up_for() {
    endure(Losing {
        what: Some(Delivered::Inbound),
        ..Losing::default()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn lost_events_are_made_up_for() {
    endure(Losing {
        what: Some(Delivered::Event),
        ..Losing::default()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn submits_that_fail_change_neither_order_nor_number() {
    endure(Losing {
        submits: true,
        ..Losing::default()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_was_judged_dead_is_closed_to_resume() {
    let mut world = World::new().await;
    let (one, two) = (world.gateway(), world.gateway());
    let (mut harry, mut charly) = (
        one.join(join("harry")).await,
        two.join(join("charly")).await,
    );
    let abandon = Submission {
        room: RoomId::parse("aaa").unwrap(),
        action: Action::Abandon { gateway: one.me },
        reply: None,
    };
    two.bus.submit(&abandon).await.unwrap();
    assert_eq!(harry.end().await, Close::Unavailable);
    let left = charly.events(3).await.pop().unwrap();
    assert_eq!(
        (&left["kind"], &left["from"]),
        (&json!("left"), &json!("harry"))
    );
    drop(harry);
    let mut back = one.join(since("harry", 2, 0)).await;
    dense(&back.events(4).await, 3, 4);
}

#[tokio::test(start_paused = true)]
async fn what_retention_has_cut_is_a_reset_to_what_is_left() {
    let mut world = World::new().await;
    let mut head = 300;
    let _harry = full(&mut world, head).await;
    // Within a page, at its beginning, and so that whole pages are gone.
    for (cut, since_seq, history, first) in [
        (100, 40, 500, 100),
        (129, 127, 400, 129),
        (299, 5, 20, 0),
        (299, 297, 500, 299),
    ] {
        let gateway = world.attach(Config::default(), Cut::at(&world, cut));
        let mut charly = gateway.join(since("charly", since_seq, history)).await;
        head += 1;
        let first = if first == 0 { head - 19 } else { first };
        let first = first.max(cut);
        assert_eq!(charly.frame().await["recovered"], false);
        assert_eq!(charly.until("reset").await["seq"], first);
        dense(&charly.events(head).await, first, head);
        charly.say(&json!({"type": "history", "id": "h", "limit": 500}));
        let page = charly.until("history").await;
        assert_eq!(
            (&page["events"][0]["seq"], &page["more"]),
            (&json!(cut), &json!(false))
        );
        drop(charly);
        head += 1;
        let mut last = gateway.join(since("harry", head - 1, 0)).await;
        dense(&last.events(head).await, head, head);
    }
}

/// The largest messages, some small ones between them: what is read at once ends at any place of a
/// page.
#[tokio::test(start_paused = true)]
async fn large_messages_are_read_in_parts() {
    let mut world = World::new().await;
    let mut harry = full(&mut world, 5).await;
    let head = 70;
    let sealed = "A".repeat(87_380);
    for n in 6..=head {
        let content = if n % 9 == 0 {
            json!({"text": "small"})
        } else {
            json!({"sealed": sealed})
        };
        let mut message = json!({"type": "send", "id": format!("m{n}")});
        message
            .as_object_mut()
            .unwrap()
            .extend(content.as_object().unwrap().clone());
        harry.say(&message);
        harry.events(n).await;
    }
    for since_seq in [0, 4, 17, 30, 53, head - 1] {
        let gateway = world.gateway();
        let watch = gateway.handle.client("192.0.2.1".parse().unwrap());
        let from = safe_chat::gateway::StartAt {
            since: Some(Seq(since_seq)),
            since_at: None,
            history: 0,
        };
        let watch = gateway
            .handle
            .watch(&watch, &RoomId::parse("aaa").unwrap(), from)
            .await
            .unwrap();
        let mut seen = Vec::new();
        while seen.last() != Some(&head) {
            let Taken::Frames(frames) = watch.outbox().take().await else {
                panic!("it ended")
            };
            seen.extend(frames.iter().map(|frame| event_id(frame.bytes())));
        }
        assert_eq!(seen, (since_seq + 1..=head).collect::<Vec<_>>());
    }
    let journal = Cut::at(&world, 1);
    let gateway = world.attach(
        Config {
            address_rate: 0,
            ..Config::default()
        },
        journal.clone(),
    );
    let client = gateway.handle.client("192.0.2.1".parse().unwrap());
    for limit in [1, 10, 500] {
        let (mut before, mut told, mut largest) = (None, Vec::new(), 0);
        loop {
            let read = journal.bytes.load(Relaxed);
            let page = gateway
                .handle
                .history(&client, &RoomId::parse("aaa").unwrap(), before, limit)
                .await
                .unwrap();
            largest = largest.max(journal.bytes.load(Relaxed) - read);
            let ServerFrame::History { events, more, .. } = page else {
                panic!("a page")
            };
            before = events.first().map(|event| event.seq);
            told.splice(0..0, events.iter().map(|event| event.seq.0));
            if !more {
                break;
            }
        }
        assert_eq!(told, (1..=head).collect::<Vec<_>>());
        assert!(
            largest
                <= if limit == 1 {
                    2 * 65_536
                } else {
                    2 * 1024 * 1024
                },
            "{largest} bytes were read for one page of {limit}"
        );
    }
}

/// The place of a server-sent event.
fn event_id(bytes: &[u8]) -> u64 {
    let text = std::str::from_utf8(bytes).unwrap();
    text.lines()
        .find_map(|line| line.strip_prefix("id: ").or(line.strip_prefix("id:")))
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_sent_again_while_the_bus_is_away_is_one_message_in_its_place() {
    let mut world = World::new().await;
    let one = world.gateway();
    let mut harry = one.join(join("harry")).await;
    world.hub.cut(one.bus.connection());
    for id in ["m1", "m2", "m1", "m3", "m1"] {
        harry.send(id);
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    harry.send("m2");
    world.hub.restore(one.bus.connection());

    let mut places = Vec::new();
    let mut answers = Vec::new();
    while answers.len() < 6 || places.len() < 3 {
        let frame = harry.frame().await;
        match frame["type"].as_str() {
            Some("event") if frame["kind"] == "text" => {
                places.push(frame["id"].as_str().unwrap().to_owned())
            }
            Some("journaled") => answers.push((
                frame["id"].as_str().unwrap().to_owned(),
                frame["duplicate"] == true,
            )),
            Some("rejected") => panic!("{frame}"),
            _ => {}
        }
    }
    assert_eq!(places, ["m1", "m2", "m3"]);
    answers.sort();
    let expected = [
        ("m1", false),
        ("m1", true),
        ("m1", true),
        ("m2", false),
        ("m2", true),
        ("m3", false),
    ];
    assert_eq!(
        answers,
        expected.map(|(id, duplicate)| (id.to_owned(), duplicate))
    );
}

/// Delays and loses what is named, while it is on.
struct Slow {
    on: AtomicBool,
    lost: Option<Delivered>,
    /// What arrives so much later.
    late: (Delivered, Duration),
    /// Answers after so many are lost.
    answers: u64,
    answered: AtomicU64,
}

impl Slow {
    fn new(late: (Delivered, Duration), answers: u64) -> Arc<Self> {
        Self::losing(None, late, answers)
    }

    fn losing(lost: Option<Delivered>, late: (Delivered, Duration), answers: u64) -> Arc<Self> {
        Arc::new(Self {
            on: AtomicBool::new(true),
            lost,
            late,
            answers,
            answered: AtomicU64::new(0),
        })
    }
}

impl Faults for Slow {
    fn delivery(&self, _: ConnectionId, what: Delivered) -> Passage {
        let on = self.on.load(Relaxed);
        let unanswered =
            what == Delivered::Inbound && self.answered.fetch_add(1, Relaxed) >= self.answers;
        let lost = on && (unanswered || Some(what) == self.lost);
        let delay = if on && what == self.late.0 {
            self.late.1
        } else {
            Duration::ZERO
        };
        Passage {
            delay,
            copies: usize::from(!lost),
        }
    }
}

async fn abandon(gateway: &crate::world::Gateway, by: &crate::world::Gateway) {
    let abandon = Submission {
        room: RoomId::parse("aaa").unwrap(),
        action: Action::Abandon {
            gateway: gateway.me,
        },
        reply: None,
    };
    by.bus.submit(&abandon).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_message_that_was_answered_is_a_duplicate_also_when_only_its_event_answers() {
    // The answers to the join and to the message arrive, later ones do not.
    let slow = Slow::new((Delivered::Event, Duration::from_millis(500)), 2);
    let mut world = World::with_faults(slow.clone());
    world.own().await;
    let one = world.gateway();
    let mut harry = one.join(join("harry")).await;
    harry.send("m1");
    assert_eq!(harry.until("journaled").await["duplicate"], false);
    harry.send("m1");
    assert_eq!(harry.until("journaled").await["duplicate"], true);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_was_sent_once_is_no_duplicate_when_only_its_event_answers() {
    // The answer to the join arrives, later ones do not.
    let slow = Slow::new((Delivered::Event, Duration::ZERO), 1);
    let mut world = World::with_faults(slow.clone());
    world.own().await;
    let one = world.gateway();
    let mut harry = one.join(join("harry")).await;
    harry.send("m1");
    assert_eq!(harry.until("journaled").await["duplicate"], false);
    harry.send("m1");
    slow.on.store(false, Relaxed);
    assert_eq!(harry.until("journaled").await["duplicate"], true);
}

#[tokio::test(start_paused = true)]
async fn who_is_welcomed_is_a_member_whatever_happened_while_the_room_was_new_here() {
    let slow = Slow::new((Delivered::Question, Duration::from_secs(1)), u64::MAX);
    let mut world = World::with_faults(slow);
    world.own().await;
    let (one, two) = (world.gateway(), world.gateway());
    let judged_dead = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        abandon(&one, &two).await;
    };
    let (mut harry, ()) = tokio::join!(one.join(join("harry")), judged_dead);
    assert_eq!(harry.frame().await["members"], json!(["harry"]));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ended_while_it_opened_may_be_tried_again() {
    let slow = Slow::new((Delivered::Head, Duration::ZERO), 0);
    let mut world = World::with_faults(slow.clone());
    world.own().await;
    let (one, two) = (world.gateway(), world.gateway());
    let judged_dead = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        abandon(&one, &two).await;
        slow.on.store(false, Relaxed);
    };
    let (joined, ()) = tokio::join!(one.try_join(join("harry")), judged_dead);
    let rejection = joined
        .err()
        .expect("the room says that the session is over");
    assert_eq!(
        (rejection.reason, rejection.retry_after_ms.is_some()),
        (Reason::Unavailable, true)
    );
}

/// The replica in which the session opened lost the thread, and the one after it never heard that
/// the session is over.
#[tokio::test(start_paused = true)]
async fn a_session_is_not_taken_in_by_a_replica_that_began_after_it() {
    let slow = Slow::losing(
        Some(Delivered::Event),
        (Delivered::Inbound, Duration::from_secs(5)),
        u64::MAX,
    );
    let mut world = World::with_faults(slow.clone());
    world.own().await;
    let beginning_is_cut = Cut::at(&world, 3);
    let (one, two) = (
        world.attach(Config::default(), beginning_is_cut),
        world.gateway(),
    );
    let judged_dead = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        abandon(&one, &two).await;
    };
    let (joined, ()) = tokio::join!(one.try_join(join("harry")), judged_dead);
    assert_eq!(
        joined.err().map(|rejection| rejection.reason),
        Some(Reason::Unavailable)
    );
    slow.on.store(false, Relaxed);
    assert_eq!(
        one.join(join("harry")).await.frame().await["members"],
        json!(["harry"])
    );
}

#[tokio::test(start_paused = true)]
async fn messages_that_a_bus_forgot_come_in_their_order() {
    let losing = Arc::new(Losing {
        submits: true,
        ..Losing::default()
    });
    let mut world = World::with_faults(losing.clone());
    let one = world.gateway();
    world.own().await;
    let mut harry = one.join(join("harry")).await;
    // Nobody decides for some time: the shard's owner is gone.
    world.disown().await;
    let wanted: Vec<_> = (0..40).map(|n| format!("m{n}")).collect();
    wanted.iter().for_each(|id| harry.send(id));
    for _ in 0..40 {
        harry.until("accepted").await;
    }
    losing.on.store(true, Relaxed);
    world.hub.lose_tail(40, 0);
    tokio::time::sleep(Duration::from_secs(20)).await;
    world.own().await;
    assert_eq!(texts(&harry.events(41).await), wanted);
}

/// Loses one event to a connection; what is read takes long from then on.
#[derive(Default)]
struct SlowReads {
    of: OnceLock<ConnectionId>,
    lost: AtomicBool,
    count: AtomicU64,
}

impl Faults for SlowReads {
    fn call(&self, _: ConnectionId, op: Op) -> Fate {
        let is_slow = op == Op::Stored && self.of.get().is_some();
        self.count.fetch_add(u64::from(is_slow), Relaxed);
        Fate {
            before: Duration::from_secs(if is_slow { 3 } else { 0 }),
            ..Fate::default()
        }
    }

    fn delivery(&self, connection: ConnectionId, what: Delivered) -> Passage {
        let is_first = what == Delivered::Event
            && self.of.get() == Some(&connection)
            && !self.lost.swap(true, Relaxed);
        Passage {
            copies: usize::from(!is_first),
            ..Passage::default()
        }
    }
}

/// A page takes longer than it takes until the owner says again how far the room goes.
#[tokio::test(start_paused = true)]
async fn a_gateway_that_reads_slowly_hears_what_came_meanwhile() {
    let slow = Arc::new(SlowReads::default());
    let mut world = World::on_bus_with(slow.clone()).await;
    let (one, two) = (world.gateway(), world.gateway());
    let (mut harry, mut charly) = (
        one.join(join("harry")).await,
        two.join(join("charly")).await,
    );
    slow.of.set(two.bus.connection()).unwrap();
    for n in 0..100 {
        harry.send(&format!("m{n}"));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    dense(&charly.events(102).await, 1, 102);
    let reads = slow.count.load(Relaxed);
    assert!(
        (1..=2).contains(&reads),
        "what is heard is not read: {reads}"
    );
}
