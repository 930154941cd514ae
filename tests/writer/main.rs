//! The writer over the memory bus and the memory journal, in virtual time: what is answered, and
//! what a successor finds.

mod beside;
mod erase;
mod held;
mod on_bus;
mod past;
mod purge;
mod put_back;
mod records;
mod recovered;
mod retired;
#[path = "../support/sealed.rs"]
mod sealed;
mod sealed_rooms;
mod strangers;
mod world;

use futures::StreamExt;
use safe_chat::{
    bus::{self, Answered, Ask, Inbound},
    cluster::Owner,
    journal::memory,
    room::{Kind, Limits, Reason, Seq, SessionId, UserId},
};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;
use world::{LONG, Node, World, close, open, post, send, send_large, send_through};

#[tokio::test(start_paused = true)]
async fn commands_get_dense_places_in_the_order_in_which_they_were_stored() {
    let world = World::new();
    let node = world.node(1);
    node.take().await;
    let mut client = world.client().await;
    let mut tags = Vec::new();
    for id in 1..=600 {
        tags.push(client.submit(send(id)).await);
    }
    for (seq, tag) in (1..).zip(tags) {
        let Answered::Journaled {
            seq: place,
            duplicate: false,
            ..
        } = client.answer(tag).await
        else {
            panic!("journaled")
        };
        assert_eq!(place, Seq(seq));
    }
    let events = [
        node.events(&world.room, Seq(500)).await,
        node.journal
            .read(&world.room, Seq(501), Seq(600))
            .await
            .unwrap(),
    ]
    .concat();
    for (n, event) in (1..).zip(&events) {
        assert_eq!(event.seq, Seq(n));
        assert!(
            matches!(&event.kind, Kind::Message { id: Some(id), .. } if id.shown() == Some(&format!("m{n}")))
        );
    }
    assert_eq!(events.len(), 600);
}

#[tokio::test(start_paused = true)]
async fn what_is_journaled_is_published_as_well() {
    let world = World::new();
    let node = world.node(1);
    let mut live = node.bus.live(&world.room).await.unwrap();
    node.take().await;
    let mut client = world.client().await;
    assert_eq!(client.journaled(send(1)).await, (1, false));
    let bus::Live::Commit(commit) = live.next().await.unwrap() else {
        panic!("a commit")
    };
    assert_eq!((commit.first(), commit.last()), (Seq(1), Seq(1)));
}

/// The bus forgot the first: the gateway submits all again.
#[tokio::test(start_paused = true)]
async fn a_message_does_not_overtake_the_one_that_must_come_first() {
    let world = World::new();
    let (first, second) = (world.node(1), world.node(2));
    first.take().await;
    let mut client = world.client().await;
    client.journaled(open(1, None)).await;
    for early in [send_through(1, 2, 1), send_through(1, 3, 2)] {
        let tag = client.submit(early).await;
        assert_eq!(client.inbox.next().await, Some(Inbound::Early { tag }));
    }
    assert_eq!(
        client.journaled(send(9)).await,
        (2, false),
        "others do not wait for it"
    );
    first.writer.lose(first.shard).await;
    second.take().await;
    for (place, number) in (3..).zip(1..=3) {
        assert_eq!(
            client.journaled(send_through(1, number, number - 1)).await,
            (place, false)
        );
    }
    assert_eq!(client.journaled(send_through(1, 2, 1)).await, (4, false));
}

#[tokio::test(start_paused = true)]
async fn a_repeated_id_gets_its_first_place_across_a_takeover() {
    let world = World::new();
    let (first, second) = (world.node(1), world.node(2));
    first.take().await;
    let mut client = world.client().await;
    assert_eq!(client.journaled(send(1)).await, (1, false));
    assert_eq!(client.journaled(send(2)).await, (2, false));
    assert_eq!(client.journaled(send(1)).await, (1, true));
    first.writer.lose(first.shard).await;
    second.take().await;
    assert_eq!(client.journaled(send(1)).await, (1, true));
    assert_eq!(client.journaled(send(3)).await, (3, false));
}

/// Its successor decides the stored commands again, and its answers are the ones that arrive. The
/// client sent each of them once.
#[tokio::test(start_paused = true)]
async fn what_an_owner_journaled_and_did_not_answer_is_no_repetition_of_the_client() {
    let world = World::new();
    let (first, second) = (world.node(1), world.node(2));
    first.take().await;
    let mut client = world.client().await;
    client.journaled(open(1, None)).await;
    let through = client.submit(send_through(1, 1, 0)).await;
    let posted = client.submit(post(2, 7)).await;
    for (tag, seq) in [(through, 2), (posted, 3)] {
        assert_eq!(client.place(tag).await, (seq, false), "of the first owner");
    }
    first.writer.lose(first.shard).await;
    second.take().await;
    for (tag, seq) in [(through, 2), (posted, 3)] {
        assert_eq!(client.place(tag).await, (seq, false), "of its successor");
    }
    // Its gateway submits both again, perhaps after the room left the memory and came back with a
    // snapshot.
    sleep(Duration::from_secs(300)).await;
    assert_eq!(client.journaled(send_through(1, 1, 0)).await, (2, false));
    assert_eq!(client.journaled(post(2, 7)).await, (3, false));
    // The client sends them again: another request, another message of a session.
    assert_eq!(client.journaled(post(1, 8)).await, (2, true));
    assert_eq!(client.journaled(post(2, 9)).await, (3, true));
    assert_eq!(client.journaled(send_through(1, 2, 1)).await, (3, true));
    assert_eq!(client.journaled(send_through(1, 2, 1)).await, (3, true));
}

#[tokio::test(start_paused = true)]
async fn a_command_that_was_stored_while_nobody_owned_the_shard_is_decided_later() {
    let world = World::new();
    let mut client = world.client().await;
    let tag = client.submit(send(1)).await;
    sleep(Duration::from_secs(60)).await;
    let node = world.node(1);
    node.take().await;
    assert!(matches!(
        client.answer(tag).await,
        Answered::Journaled {
            seq: Seq(1),
            duplicate: false,
            ..
        }
    ));
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_was_replaced_without_noticing_steps_down_and_answers_nothing_wrong() {
    let world = World::new();
    let (mut zombie, successor) = (world.node(1), world.node(2));
    zombie.take().await;
    let mut client = world.client().await;
    assert_eq!(client.journaled(send(1)).await, (1, false));
    // Both read the same commands from now on.
    successor.take().await;
    let mut places = Vec::new();
    for id in 2..50 {
        places.push((id, client.journaled(send(id)).await.0));
    }
    let events = successor.events(&world.room, Seq(49)).await;
    assert_eq!(events.len(), 49, "no command was journaled twice");
    for (id, place) in places {
        let event = &events[place as usize - 1];
        assert!(
            matches!(&event.kind, Kind::Message { id: Some(shown), .. } if shown.shown() == Some(&format!("m{id}")))
        );
    }
    let ended = timeout(LONG, zombie.ended.recv())
        .await
        .expect("the zombie steps down")
        .unwrap();
    assert_eq!(ended.shard, zombie.shard);
    assert!(
        ended.seen > ended.epoch,
        "it knows of the epoch that replaced it"
    );
}

#[tokio::test(start_paused = true)]
async fn a_released_shard_leaves_nothing_to_read_again() {
    let world = World::new();
    let (mut first, second) = (world.node(1), world.node(2));
    first.take().await;
    let mut client = world.client().await;
    for id in 1..=20 {
        client.submit(send(id)).await;
    }
    let last = client.submit(send(21)).await;
    client.answer(last).await;
    first.writer.release(first.shard).await;
    first.ended.recv().await.unwrap();
    let (record, _) = first.bus.shard(first.shard).await.unwrap().unwrap();
    assert_eq!((record.owner, record.floor), (None, bus::Position(22)));
    second.take().await;
    assert_eq!(client.journaled(send(22)).await, (22, false));
}

#[tokio::test(start_paused = true)]
async fn a_release_takes_no_time_worth_speaking_of() {
    let world = World::new();
    let node = world.node(1);
    node.take().await;
    let mut client = world.client().await;
    client.journaled(send(1)).await;
    client.submit(send(2)).await;
    let start = Instant::now();
    node.writer.release(node.shard).await;
    assert!(
        start.elapsed() < Duration::from_millis(50),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_session_that_no_event_tells_of_survives_its_owner() {
    for settle in [Duration::ZERO, Duration::from_secs(60)] {
        let world = World::new();
        let (first, second) = (world.node(1), world.node(2));
        first.take().await;
        let mut client = world.client().await;
        assert_eq!(client.journaled(open(1, None)).await, (1, false));
        // The second session of a user makes no event.
        assert_eq!(client.journaled(open(2, None)).await, (1, false));
        sleep(settle).await;
        first.writer.lose(first.shard).await;
        second.take().await;
        assert_eq!(client.journaled(send_through(2, 1, 0)).await, (2, false));
        assert_eq!(client.journaled(close(1)).await, (2, false));
        assert_eq!(
            client.journaled(close(2)).await,
            (3, false),
            "harry left when his last session ended, after {settle:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_floor_waits_for_changes_until_a_snapshot_has_them() {
    let world = World::new();
    let node = world.node(1);
    node.take().await;
    let mut client = world.client().await;
    client.journaled(open(1, None)).await;
    client.journaled(open(2, None)).await;
    sleep(Duration::from_secs(3)).await;
    assert_eq!(
        node.floor().await,
        bus::Position(2),
        "the second session is in no event and no snapshot"
    );
    sleep(Duration::from_secs(10)).await;
    assert_eq!(node.floor().await, bus::Position(3));
}

#[tokio::test(start_paused = true)]
async fn a_session_of_the_same_device_replaces_the_earlier_one() {
    let world = World::new();
    let node = world.node(1);
    node.take().await;
    let mut client = world.client().await;
    client.journaled(open(1, Some("phone"))).await;
    let tag = client.submit(open(2, Some("phone"))).await;
    let mut replaced = None;
    let mut answered = false;
    while replaced.is_none() || !answered {
        match timeout(LONG, client.inbox.next()).await.unwrap().unwrap() {
            Inbound::Answer(answer) => answered |= answer.tag == tag,
            Inbound::Replaced { session, .. } => replaced = Some(session),
            Inbound::Early { .. } | Inbound::Outcomes(_) | Inbound::Expel { .. } => {
                unreachable!("nothing is lost, and no operator is here")
            }
        }
    }
    assert_eq!(replaced, Some(SessionId::new(Uuid::from_u128(1))));
    let Answered::Rejected(rejection) = client.ask(send_through(1, 1, 0)).await else {
        panic!("the old session is over")
    };
    assert_eq!(rejection.reason, Reason::NotMember);
}

#[tokio::test(start_paused = true)]
async fn the_ninth_session_of_a_user_is_refused() {
    let world = World::new();
    let node = world.node(1);
    node.take().await;
    let mut client = world.client().await;
    for session in 1..=Limits::SESSIONS_PER_USER as u128 {
        client.journaled(open(session, None)).await;
    }
    let Answered::Rejected(rejection) = client.ask(open(9, None)).await else {
        panic!("refused")
    };
    assert_eq!(rejection.reason, Reason::TooManySessions);
}

#[tokio::test(start_paused = true)]
async fn the_view_of_a_room_is_its_published_head_and_members() {
    let world = World::new();
    let node = world.node(1);
    node.take().await;
    let mut client = world.client().await;
    client.journaled(open(1, None)).await;
    client.journaled(send_through(1, 1, 0)).await;
    let view = loop {
        let view = client.view().await;
        if view.head == Seq(2) {
            break view;
        }
        sleep(Duration::from_millis(1)).await;
    };
    assert_eq!(view.members, [UserId::parse("harry").unwrap()]);
    assert_eq!(view.refused, None);
}

#[tokio::test(start_paused = true)]
async fn a_room_that_nobody_uses_leaves_the_memory_and_forgets_nothing() {
    let world = World::new();
    let node = world.node(1);
    node.take().await;
    let mut client = world.client().await;
    client.journaled(open(1, None)).await;
    client.journaled(send_through(1, 1, 0)).await;
    sleep(Duration::from_secs(300)).await;
    assert_eq!(client.journaled(send_through(1, 1, 0)).await, (2, false));
    assert_eq!(client.journaled(send_through(1, 2, 0)).await, (3, false));
}

#[tokio::test(start_paused = true)]
async fn a_room_that_everybody_has_left_leaves_the_memory_soon() {
    let world = World::new();
    let node = world.node(1);
    node.take().await;
    let mut client = world.client().await;
    let loaded = |node: &Node| node.writer.loaded()[0].1;
    client.journaled(open(1, None)).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(loaded(&node), 1, "somebody is in it");
    client.journaled(close(1)).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(loaded(&node), 1, "they may come back");
    sleep(Duration::from_secs(10)).await;
    assert_eq!(loaded(&node), 0);
    client.journaled(open(2, None)).await;
    assert_eq!(client.view().await.head, Seq(3));
}

/// A journal that cannot be reached until a moment.
struct AwayUntil(Instant);

impl memory::Faults for AwayUntil {
    fn call(&self, _: memory::Op) -> memory::Fate {
        let outcome = if Instant::now() < self.0 {
            memory::Outcome::Vanished
        } else {
            memory::Outcome::Done
        };
        memory::Fate {
            outcome,
            ..memory::Fate::default()
        }
    }
}

#[tokio::test(start_paused = true)]
async fn commands_wait_for_a_journal_that_is_away() {
    let world = World::new();
    let node = world.node_with(
        1,
        Arc::new(AwayUntil(Instant::now() + Duration::from_secs(180))),
    );
    node.take().await;
    let mut client = world.client().await;
    let start = Instant::now();
    let tags = [client.submit(send(1)).await, client.submit(send(2)).await];
    for (seq, tag) in (1..).zip(tags) {
        assert!(
            matches!(client.answer(tag).await, Answered::Journaled { seq: place, duplicate: false, .. } if place == Seq(seq))
        );
    }
    let took = start.elapsed();
    assert!(
        (Duration::from_secs(180)..Duration::from_secs(184)).contains(&took),
        "{took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_busy_room_gets_past_its_window_and_the_floor_follows() {
    let world = World::new();
    let node = world.node(1);
    node.take().await;
    let mut client = world.client().await;
    let total = 3 * Limits::REREAD;
    for id in 1..=total {
        client.submit(send(id)).await;
    }
    let tag = client.submit(send(total + 1)).await;
    assert!(
        matches!(client.answer(tag).await, Answered::Journaled { seq, .. } if seq == Seq(total + 1))
    );
    sleep(Duration::from_secs(5)).await;
    assert_eq!(node.floor().await, bus::Position(total + 2));
}

/// Everything was decided before the first time that it could have been forgotten, and nothing
/// comes after it. The bus keeps the newest one.
#[tokio::test(start_paused = true)]
async fn a_full_bus_takes_commands_again_without_a_new_one() {
    let world = World::on(bus::memory::Config {
        commands: 9,
        ..bus::memory::Config::default()
    });
    let (first, second) = (world.node(1), world.node(2));
    let mut client = world.client().await;
    first.take().await;
    for id in 1..=8 {
        client.journaled(send(id)).await;
    }
    sleep(Duration::from_secs(10)).await;
    for id in 9..=16 {
        client.journaled(send(id)).await;
    }
    // Its successor finds all of them settled, and the bus full.
    first.writer.release(first.shard).await;
    second.take().await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(client.journaled(send(17)).await, (17, false));
}

#[tokio::test(start_paused = true)]
async fn large_commands_are_forgotten_as_soon_as_they_are_decided() {
    let world = World::on(bus::memory::Config {
        commands: 100,
        ..bus::memory::Config::default()
    });
    let node = world.node(1);
    node.take().await;
    let mut client = world.client().await;
    let start = Instant::now();
    for id in 1..=1000 {
        client.journaled(send_large(id)).await;
    }
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_lost_its_tail_is_read_from_its_beginning() {
    let world = World::new();
    let node = world.node(1);
    node.take().await;
    let mut client = world.client().await;
    for id in 1..=5 {
        client.journaled(send(id)).await;
    }
    world.hub.lose_tail(3, 0);
    // What was journaled stays so; what comes now takes positions that were taken before.
    assert_eq!(client.journaled(send(6)).await, (6, false));
    assert_eq!(client.journaled(send(2)).await, (2, true));
}

#[tokio::test(start_paused = true)]
async fn changes_without_events_do_not_pile_up() {
    let world = World::new();
    let (first, second) = (world.node(1), world.node(2));
    first.take().await;
    let mut client = world.client().await;
    client.journaled(open(1, None)).await;
    for round in 0..5 {
        for session in 0..20 {
            client
                .journaled(open(100 + 20 * round + session, Some("phone")))
                .await;
        }
        // Longer than changes wait for an event: a snapshot has them.
        sleep(Duration::from_secs(10)).await;
    }
    assert_eq!(client.journaled(send_through(1, 1, 0)).await, (2, false));
    let events = first.events(&world.room, Seq(2)).await;
    assert_eq!(events[1].changes.len(), 0, "the snapshots have them");
    first.writer.lose(first.shard).await;
    second.take().await;
    assert_eq!(
        client.journaled(send_through(199, 2, 0)).await,
        (3, false),
        "the last session of the phone is open"
    );
    let Answered::Rejected(rejection) = client.ask(send_through(198, 3, 0)).await else {
        panic!("it was replaced")
    };
    assert_eq!(rejection.reason, Reason::NotMember);
}

/// What an owner knows of a room is void once the bus lost it, whether or not somebody told the
/// owner.
#[tokio::test(start_paused = true)]
async fn what_the_bus_lost_is_neither_told_nor_answered_from_memory() {
    for asks_first in [true, false] {
        let world = World::new();
        let node = world.node_on_bus(1);
        node.take().await;
        let mut client = world.client().await;
        for id in 1..=2 {
            assert_eq!(client.journaled(send(id)).await, (id, false));
        }
        // Nothing is decided again, and the room, where nobody is, still in memory.
        sleep(Duration::from_secs(8)).await;
        world.hub.lose_tail(0, 1);
        if asks_first {
            let view = client.bus.ask(&Ask::room(world.room.clone())).await;
            assert!(view.is_err(), "{view:?}");
        }
        let tag = client.submit(send(2)).await;
        let early = timeout(Duration::from_secs(10), client.answer(tag)).await;
        assert!(early.is_err(), "{early:?}");
        node.take().await;
        assert_eq!(client.place(tag).await, (2, false));
        assert_eq!(client.view().await.head, Seq(2));
    }
}

#[tokio::test(start_paused = true)]
async fn an_owner_goes_on_answering_when_the_last_message_was_deleted() {
    let world = World::new();
    let node = world.node_on_bus(1);
    node.take().await;
    let mut client = world.client().await;
    for id in 1..=2 {
        client.journaled(send(id)).await;
    }
    world.hub.delete_events(|_, _, seq| seq == Seq(2));
    assert_eq!(client.view().await.head, Seq(2));
    assert_eq!(client.journaled(send(2)).await, (2, true));
    assert_eq!(client.journaled(send(3)).await, (3, false));
}
