//! The writer with the journal on the bus, whose servers take smaller and smaller messages, whose
//! bucket of snapshots fails, and which loses events.

use crate::world::{Client, Node, World, open, post, send, send_large, send_through};
use futures::StreamExt;
use safe_chat::{
    bus::{
        self, Answered, Feed,
        memory::{ConnectionId, Fate, Faults, Hub, Op, Outcome},
    },
    cluster::Owner,
    journal::bus::OnBus,
    room::{Action, CommandId, Incarnation, Reason, RequestId, Seq, Shards, UserId},
};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

/// How the next calls of a kind go, and how all of them do.
#[derive(Default)]
struct Script {
    next: Mutex<HashMap<Op, VecDeque<Outcome>>>,
    always: Mutex<HashMap<Op, Fate>>,
}

impl Script {
    fn next(&self, op: Op, outcome: Outcome) {
        let mut next = self.next.lock().unwrap();
        next.entry(op).or_default().push_back(outcome);
    }

    fn always(&self, op: Op, fate: Fate) {
        self.always.lock().unwrap().insert(op, fate);
    }
}

impl Faults for Script {
    fn call(&self, _: ConnectionId, op: Op) -> Fate {
        let next = self
            .next
            .lock()
            .unwrap()
            .get_mut(&op)
            .and_then(VecDeque::pop_front);
        match next {
            Some(outcome) => Fate {
                outcome,
                ..Fate::default()
            },
            None => self
                .always
                .lock()
                .unwrap()
                .get(&op)
                .copied()
                .unwrap_or_default(),
        }
    }
}

fn world() -> (World, Arc<Script>) {
    let script = Arc::new(Script::default());
    let config = bus::memory::Config {
        shards: Shards::new(1).unwrap(),
        ..bus::memory::Config::default()
    };
    let mut world = World::on(config.clone());
    world.hub = Hub::with_faults(config, script.clone());
    (world, script)
}

fn node(world: &World, n: u128) -> Node {
    let mut node = world.node(n);
    node.journal = Arc::new(OnBus::new(node.bus.clone(), world.shards));
    node.writer = safe_chat::writer::Handle::new(
        safe_chat::writer::Config::default(),
        node.bus.clone(),
        node.journal.clone(),
    );
    node
}

/// The servers take no larger messages any more, and the nodes know.
fn limit(world: &World, bytes: usize) {
    world.hub.limit(bytes);
    world.hub.diagnose(|health| health.largest = bytes);
}

/// Takes the shard whenever it was lost, as the cluster does.
fn keep(mut node: Node) {
    tokio::spawn(async move {
        loop {
            node.take().await;
            node.ended.recv().await.expect("it holds the other end");
            sleep(Duration::from_millis(300)).await;
        }
    });
}

async fn is_refused(client: &mut Client, tag: u64) {
    match client.answer(tag).await {
        Answered::Rejected(rejection) => {
            assert_eq!(rejection.reason, Reason::Unavailable);
            assert!(rejection.retry_after_ms.is_some());
        }
        journaled => panic!("{journaled:?}"),
    }
}

/// The largest message, brought by a request.
fn post_large(id: u64) -> Action {
    let mut action = send_large(id);
    if let Action::Send { request, .. } = &mut action {
        *request = Some(RequestId::new(Uuid::from_u128(id.into())));
    }
    action
}

const KIB: usize = 1024;

#[tokio::test(start_paused = true)]
async fn a_commit_that_was_stored_is_found_although_it_would_not_fit_any_more() {
    let (world, script) = world();
    keep(node(&world, 1));
    let mut client = world.client().await;
    assert_eq!(client.journaled(post(1, 1)).await, (1, false));
    let mut live = world.hub.connect().live(&world.room).await.unwrap();
    script.next(Op::Publish, Outcome::Unanswered);
    script.next(Op::Last, Outcome::Vanished);
    let large = client.submit(post_large(2)).await;
    live.next().await.unwrap();
    limit(&world, 16 * KIB);
    assert_eq!(client.place(large).await, (2, false));
    assert_eq!(client.journaled(post(3, 3)).await, (3, false));
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_was_not_stored_and_does_not_fit_any_more_is_refused() {
    let (world, script) = world();
    keep(node(&world, 1));
    let mut client = world.client().await;
    assert_eq!(client.journaled(post(1, 1)).await, (1, false));
    script.next(Op::Publish, Outcome::Vanished);
    script.next(Op::Last, Outcome::Vanished);
    let large = client.submit(post_large(2)).await;
    let small = client.submit(post(3, 3)).await;
    sleep(Duration::from_millis(100)).await; // Its outcome is not known.
    limit(&world, 16 * KIB);
    is_refused(&mut client, large).await;
    assert_eq!(client.place(small).await, (2, false));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_was_decided_before_the_limit_was_known_is_refused_alone() {
    let (world, _) = world();
    keep(node(&world, 1));
    let mut client = world.client().await;
    assert_eq!(client.journaled(post(1, 1)).await, (1, false));
    world.hub.limit(16 * KIB);
    let before = client.submit(post(2, 2)).await;
    let large = client.submit(post_large(3)).await;
    let after = client.submit(post(4, 4)).await;
    sleep(Duration::from_secs(2)).await;
    limit(&world, 16 * KIB);
    assert_eq!(client.place(before).await, (2, false));
    is_refused(&mut client, large).await;
    assert_eq!(client.place(after).await, (3, false));
}

/// Whose names are as long as they can be, which is most of it.
fn send_with_long_names(n: u64) -> Action {
    let mut action = send(n);
    if let Action::Send { user, id, to, .. } = &mut action {
        *user = UserId::parse(&"u".repeat(UserId::MAX)).unwrap();
        *id = CommandId::parse(&format!("{n:0>64}")).unwrap();
        *to = Some(UserId::parse(&"t".repeat(UserId::MAX)).unwrap());
    }
    action
}

/// The shard is not taken again: it is never lost.
#[tokio::test(start_paused = true)]
async fn many_small_messages_fit_whatever_the_limit() {
    for (bytes, known) in [(64, true), (8, true), (2, true), (64, false), (2, false)] {
        let (world, _) = world();
        let node = node(&world, 1);
        node.take().await;
        world.hub.limit(bytes * KIB);
        if known {
            limit(&world, bytes * KIB);
        }
        let mut client = world.client().await;
        let mut tags = Vec::new();
        for n in 1..=600 {
            tags.push(client.submit(send_with_long_names(n)).await);
        }
        for (seq, tag) in (1..).zip(tags) {
            assert_eq!(
                client.place(tag).await,
                (seq, false),
                "{bytes} KiB, {known}"
            );
        }
    }
}

fn open_of(user: u64, session: u128) -> Action {
    let mut action = open(session, None);
    if let Action::Open { user: name, .. } = &mut action {
        *name = UserId::parse(&format!("user{user}")).unwrap();
    }
    action
}

/// More of what takes no place than a message holds, before a message, and at the end of a node.
#[tokio::test(start_paused = true)]
async fn changes_beyond_what_a_message_holds_are_saved_first() {
    const USERS: u64 = 300;
    let (world, _) = world();
    let (first, second) = (node(&world, 1), node(&world, 2));
    first.take().await;
    limit(&world, 4 * KIB);
    let mut client = world.client().await;
    for user in 1..=USERS {
        let place = client.journaled(open_of(user, user.into())).await;
        assert_eq!(place, (user, false));
    }
    for user in 1..=USERS {
        client.submit(open_of(user, u128::from(USERS + user))).await;
    }
    assert_eq!(client.journaled(send(1)).await, (USERS + 1, false));

    let gateway = Incarnation::new(Uuid::from_u128(0xc11e));
    let abandon = client.submit(Action::Abandon { gateway }).await;
    let after = client.submit(send(2)).await;
    assert_eq!(client.place(abandon).await, (2 * USERS + 1, false));
    assert_eq!(client.place(after).await, (2 * USERS + 2, false));
    assert!(client.view().await.members.is_empty());

    first.writer.lose(first.shard).await;
    second.take().await;
    assert_eq!(client.journaled(send(3)).await, (2 * USERS + 3, false));
    assert!(client.view().await.members.is_empty());
}

/// Its events may be dropped by an operator's bounds, and who is in it, and with which key, with
/// them.
#[tokio::test(start_paused = true)]
async fn a_room_in_use_is_saved_although_it_has_few_events() {
    let (world, _) = world();
    let node = node(&world, 1);
    node.take().await;
    let mut client = world.client().await;
    client.journaled(open(1, None)).await;
    for minute in 1..=11 {
        client.journaled(send(minute)).await;
        sleep(Duration::from_secs(60)).await;
        let saved = client.view().await.snapshot;
        assert_eq!(
            saved > Seq::ZERO,
            minute > 9,
            "after {minute} minutes: {saved}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_does_not_answer_slows_no_commit() {
    let (world, script) = world();
    let node = node(&world, 1);
    node.take().await;
    let mut client = world.client().await;
    let silent = Fate {
        before: Duration::from_secs(2),
        outcome: Outcome::Vanished,
        ..Fate::default()
    };
    script.always(Op::Put, silent);
    let start = Instant::now();
    for n in 1..=100 {
        assert_eq!(client.journaled(send(n)).await, (n, false));
    }
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_room_with_a_hole_opens_although_it_cannot_be_saved() {
    let (world, script) = world();
    let (first, second) = (node(&world, 1), node(&world, 2));
    first.take().await;
    let mut client = world.client().await;
    for n in 1..=3 {
        client.journaled(send(n)).await;
    }
    first.writer.release(first.shard).await;
    world.hub.delete_events(|_, _, seq| seq == Seq(2));
    let full = Fate {
        outcome: Outcome::Refused,
        ..Fate::default()
    };
    script.always(Op::Put, full);
    second.take().await;
    assert_eq!(client.journaled(send(4)).await, (4, false));
    script.always(Op::Put, Fate::default());
    assert_eq!(client.journaled(send(5)).await, (5, false));
}

/// Its gateway, whose answer was lost as well, asks for it again.
#[tokio::test(start_paused = true)]
async fn a_message_whose_event_is_gone_is_refused_when_it_is_asked_for() {
    let (world, _) = world();
    let (first, second) = (node(&world, 1), node(&world, 2));
    first.take().await;
    let mut client = world.client().await;
    client.journaled(open(1, None)).await;
    for n in 1..=3 {
        client.journaled(send_through(1, n, n - 1)).await;
    }
    sleep(Duration::from_secs(10)).await; // The floor passes all of it.
    first.writer.release(first.shard).await;
    world.hub.delete_events(|_, _, seq| seq == Seq(3));
    second.take().await;
    let asked = client.submit(send_through(1, 2, 1)).await;
    is_refused(&mut client, asked).await;
    assert_eq!(client.journaled(send_through(1, 1, 0)).await, (2, false));
    assert_eq!(client.journaled(send_through(1, 4, 3)).await, (5, false));
}
