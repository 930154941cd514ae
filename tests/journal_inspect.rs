//! Looking at stored rooms, sound and damaged.

use safe_chat::{
    bus::{
        Commit, Registry, ShardRecord,
        memory::{Config, Hub},
    },
    journal::{
        Claim, Hole, Journal,
        bus::OnBus,
        codec::encode_event,
        inspect::{Inspect, inspect, verify},
        memory::{Database, Memory},
        readback::{Partitions, Row, Store},
    },
    room::{
        Action, Body, Change, Command, CommandId, Epoch, Event, Identity, Incarnation, Key, Kind,
        Millis, Producer, ProducerSeq, RoomId, Seq, SessionId, ShardId, Shards, State, UserId,
        decide,
    },
};
use std::sync::Arc;
use uuid::Uuid;

fn shards() -> Shards {
    Shards::new(1).unwrap()
}

fn room() -> RoomId {
    RoomId::parse("room").unwrap()
}

/// A room with two owners and a snapshot, in which something was said.
async fn fill(journal: &dyn Journal) -> Claim {
    let me = Incarnation::new(Uuid::now_v7());
    let claim = journal.claim(ShardId(0), me, Epoch(1)).await.unwrap();
    let mut state = journal.open(&room(), claim).await.unwrap().state;
    state.change(Change::Pinned {
        user: UserId::parse("harry").unwrap(),
        key: Key::parse("KEY").unwrap(),
        identity: Identity::Claimed,
    });
    for n in 1..=3 {
        let action = Action::Send {
            user: UserId::parse("harry").unwrap(),
            key: Key::parse("KEY").unwrap(),
            identity: Identity::Claimed,
            turn: None,
            request: None,
            after: 0,
            id: CommandId::parse(&format!("m{n}")).unwrap(),
            to: None,
            body: Body::Text("secret words".into()),
        };
        let command = Command {
            at: Millis(n),
            action,
        };
        let decision = decide(&state, &command);
        let events = state.apply_decision(&decision, &command);
        journal
            .append(
                &room(),
                claim,
                &Commit {
                    epoch: claim.epoch(),
                    events,
                },
            )
            .await
            .unwrap();
    }
    state.change(Change::Closed {
        session: SessionId::new(Uuid::now_v7()),
    });
    journal.save_snapshot(&room(), claim, &state).await.unwrap();
    claim
}

async fn lines(journal: &dyn Inspect, content: bool) -> Vec<String> {
    let mut lines = Vec::new();
    inspect(journal, &room(), content, &mut |line| {
        lines.push(line);
        std::ops::ControlFlow::Continue(())
    })
    .await
    .unwrap();
    lines
}

async fn rows_of(memory: &Memory) -> Vec<Row> {
    memory.store().rows(&room(), Seq(1), Seq(10)).await.unwrap()
}

#[tokio::test]
async fn a_sound_room_is_told_line_by_line_without_its_content() {
    let memory = Database::new(Partitions::new(10)).connect(shards());
    fill(&memory).await;
    let next = memory
        .claim(ShardId(0), Incarnation::new(Uuid::now_v7()), Epoch(1))
        .await
        .unwrap();
    memory.open(&room(), next).await.unwrap();

    let told = lines(&memory, false).await;
    assert_eq!(told.len(), 5, "{told:#?}");
    assert_eq!(
        told[0],
        "         -         1       1         1  1970-01-01T00:00:00.001Z  text harry -> * text of 12 bytes, 1 changes"
    );
    assert_eq!(
        told[2],
        "         -         3       2         3  1970-01-01T00:00:00.003Z  text harry -> * text of 12 bytes, 0 changes"
    );
    assert_eq!(told[4], "snapshot at 3: 0 members, 0 sessions");
    assert!(lines(&memory, true).await[0].contains("\"secret words\""));

    let report = verify(&memory, &room()).await.unwrap();
    assert!(report.is_sound(), "{report}");
    assert_eq!(
        (report.head, report.hidden, report.snapshot),
        (Seq(3), 1, Some(Seq(3)))
    );
    assert_eq!(report.epochs, [(Epoch(1), Seq(1)), (Epoch(2), Seq(3))]);
}

#[tokio::test]
async fn a_room_on_the_bus_is_told_with_its_claims() {
    let hub = Hub::default();
    let bus = OnBus::new(Arc::new(hub.connect()), shards());
    let first = fill(&bus).await;
    let (next, owner) = (hub.connect(), Incarnation::new(Uuid::now_v7()));
    let (record, revision) = next.shard(ShardId(0)).await.unwrap().unwrap();
    next.set_shard(
        ShardId(0),
        &ShardRecord {
            owner: Some(owner),
            epoch: first.epoch().next(),
            ..record
        },
        revision,
    )
    .await
    .unwrap();
    let next = OnBus::new(Arc::new(next), shards());
    let claim = next.claim(ShardId(0), owner, Epoch(1)).await.unwrap();
    next.open(&room(), claim).await.unwrap();
    let told = lines(&bus, false).await;
    assert_eq!(
        told[0],
        "         1         1       1         1  1970-01-01T00:00:00.001Z  text harry -> * text of 12 bytes, 1 changes"
    );
    assert_eq!(
        told[3],
        format!(
            "         4         -  {:>6}         -  -                         claim",
            claim.epoch().to_string()
        )
    );
    let report = verify(&bus, &room()).await.unwrap();
    assert!(report.is_sound(), "{report}");
    assert_eq!(
        (report.head, report.claims, report.snapshot),
        (Seq(3), 1, Some(Seq(3)))
    );
}

/// Rewrites what is before the last event, as an erasure does, and removes what was there.
async fn rewrite(journal: &dyn Journal, claim: Claim) {
    let copies = journal.read(&room(), Seq(1), Seq(2)).await.unwrap();
    journal.rewrite(&room(), claim, &copies).await.unwrap();
    let state = journal.glance(&room()).await.unwrap().unwrap();
    journal.save_snapshot(&room(), claim, &state).await.unwrap();
    let adopted = journal.adopt_rewritten(&room(), claim, Seq(3)).await;
    let dropped = journal
        .drop_rewritten(&room(), claim, adopted.unwrap())
        .await;
    assert!(dropped.unwrap());
}

#[tokio::test]
async fn a_room_of_which_something_was_erased_is_sound_and_says_so() {
    let memory = Database::new(Partitions::new(10)).connect(shards());
    rewrite(&memory, fill(&memory).await).await;
    let deny_delete = true;
    let hub = Hub::new(Config {
        deny_delete,
        ..Config::default()
    });
    let bus = OnBus::new(Arc::new(hub.connect()), shards());
    rewrite(&bus, fill(&bus).await).await;
    for journal in [&memory as &dyn Inspect, &bus] {
        let told = lines(journal, false).await;
        let copies = told.iter().filter(|line| line.contains("    copy  "));
        assert_eq!((told.len(), copies.count()), (4, 2), "{told:#?}");
        let report = verify(journal, &room()).await.unwrap();
        assert!(report.is_sound(), "{report}");
        assert_eq!((report.head, report.copies), (Seq(3), 2));
        assert!(report.to_string().contains("2 events are copies"));
        let (mut events, mut mark) = (Vec::new(), Some(0));
        while let Some(from) = mark {
            let (page, next) = journal.events(&room(), from, Seq(3)).await.unwrap();
            events.extend(page.iter().map(|event| event.seq.0));
            mark = next;
        }
        assert_eq!(events, [1, 2, 3]);
    }
}

#[tokio::test]
async fn a_room_that_never_existed_is_not_sound_but_empty() {
    let memory = Database::new(Partitions::new(10)).connect(shards());
    let bus = OnBus::new(Arc::new(Hub::default().connect()), shards());
    for report in [
        verify(&memory, &room()).await.unwrap(),
        verify(&bus, &room()).await.unwrap(),
    ] {
        assert!(report.is_empty());
        assert_eq!(report.to_string(), "nothing is stored\n");
    }
    fill(&memory).await;
    assert!(!verify(&memory, &room()).await.unwrap().is_empty());
}

/// What a room is left with that was purged, left by all, and removed with its name.
#[tokio::test]
async fn a_room_that_was_removed_is_not_damaged() {
    let memory = Database::new(Partitions::new(10)).connect(shards());
    let claim = fill(&memory).await;
    let gone = State {
        head: Seq(3),
        ..State::default()
    };
    let remains = gone.remains();
    memory
        .save_snapshot(&room(), claim, &remains)
        .await
        .unwrap();
    memory.store().trim(&room(), Seq(4)).await.unwrap();
    let report = verify(&memory, &room()).await.unwrap();
    let removed = "removed: nothing of it is stored but how far it went, event 3";
    assert!(report.is_sound() && !report.is_empty(), "{report}");
    assert_eq!(report.to_string(), format!("{removed}\n"));
    assert_eq!(lines(&memory, false).await, [removed]);
}

/// As an owner leaves it that has lost all of it and goes on.
#[tokio::test]
async fn a_room_of_which_nothing_but_a_snapshot_is_left_has_a_hole_and_says_so() {
    let memory = Database::new(Partitions::new(10)).connect(shards());
    fill(&memory).await;
    memory.store().trim(&room(), Seq(4)).await.unwrap();
    let report = verify(&memory, &room()).await.unwrap();
    assert_eq!(report.holes.len(), 1, "{report}");
    let told = report.to_string();
    let told = told.contains("holes: nothing of these places is stored. The room");
    assert!(told, "{report}");
}

/// A journal that was put back from a backup, and what a later time still had of it.
#[tokio::test]
async fn what_lies_below_a_purge_is_no_hole_and_below_a_trim_if_a_snapshot_has_it() {
    let trimmed = |start| Change::Trimmed {
        start: Seq(start),
        since: Millis(1),
        bytes: 0,
    };
    for (of_last, changes, first, still) in [
        (Kind::Purged, vec![], Some(Seq(8)), 0),
        // The snapshot is of event 3.
        (left(), vec![trimmed(8)], None, 4),
        (left(), vec![trimmed(4)], None, 4),
        (left(), vec![], None, 4),
    ] {
        let memory = Database::new(Partitions::new(10)).connect(shards());
        let claim = fill(&memory).await;
        let row = |seq: u64, kind: Kind, changes: Vec<Change>| Row {
            epoch: claim.epoch(),
            first: Seq(seq),
            event: encode_event(&Event {
                seq: Seq(seq),
                at: Millis(seq),
                kind,
                changes,
            }),
        };
        let rows = [row(8, left(), vec![]), row(9, of_last, changes)];
        memory.store().write(&room(), &rows).await.unwrap();
        let report = verify(&memory, &room()).await.unwrap();
        let missing: u64 = report.holes.iter().map(Hole::count).sum();
        assert_eq!((report.first, missing), (first, still), "{report}");
        assert_eq!(report.is_sound(), still == 0, "{report}");
    }
}

fn left() -> Kind {
    let user = UserId::parse("harry").unwrap();
    Kind::Left { user }
}

#[tokio::test]
async fn a_snapshot_that_differs_from_the_replay_is_a_problem() {
    let memory = Database::new(Partitions::new(10)).connect(shards());
    let claim = fill(&memory).await;
    let wrong = State {
        head: Seq(3),
        ..State::default()
    };
    memory.save_snapshot(&room(), claim, &wrong).await.unwrap();
    let report = verify(&memory, &room()).await.unwrap();
    assert_eq!(
        report.problems,
        ["the snapshot at event 3 differs from the replay in keys, messages"]
    );
}

/// The owner of a quiet room saves changes that no event carries; the events that follow do not
/// either, and the next snapshot takes the place of that one.
#[tokio::test]
async fn a_snapshot_may_know_changes_that_no_event_carries() {
    let memory = Database::new(Partitions::new(10)).connect(shards());
    let claim = fill(&memory).await;
    let mut state = memory.open(&room(), claim).await.unwrap().state;
    // A batch of which everything was there already.
    state.change(Change::BatchTaken {
        from: ProducerSeq {
            producer: Producer {
                gateway: Incarnation::new(Uuid::from_u128(7)),
                generation: 1,
            },
            sequence: 1,
        },
        repeats: vec![(0, Seq(2))],
    });
    state.saved(state.unjournaled.len(), true);
    let action = Action::Send {
        user: UserId::parse("harry").unwrap(),
        key: Key::parse("KEY").unwrap(),
        identity: Identity::Claimed,
        turn: None,
        request: None,
        after: 0,
        id: CommandId::parse("m4").unwrap(),
        to: None,
        body: Body::Text("more".into()),
    };
    let command = Command {
        at: Millis(4),
        action,
    };
    let decision = decide(&state, &command);
    let events = state.apply_decision(&decision, &command);
    memory
        .append(
            &room(),
            claim,
            &Commit {
                epoch: claim.epoch(),
                events,
            },
        )
        .await
        .unwrap();
    memory.save_snapshot(&room(), claim, &state).await.unwrap();
    let report = verify(&memory, &room()).await.unwrap();
    assert!(report.is_sound(), "{report}");
    assert_eq!(report.snapshot, Some(Seq(4)));
}

#[tokio::test]
async fn a_missing_event_and_an_unreadable_one_are_problems() {
    let (good, damaged) = (
        Database::new(Partitions::new(10)),
        Database::new(Partitions::new(10)),
    );
    let memory = good.connect(shards());
    fill(&memory).await;
    let mut rows = rows_of(&memory).await;
    rows.remove(1);
    rows[0].event.version = 99;
    let damaged = damaged.connect(shards());
    damaged.store().write(&room(), &rows).await.unwrap();

    let report = verify(&damaged, &room()).await.unwrap();
    assert_eq!(report.problems.len(), 1, "{report}");
    assert!(report.problems[0].contains("`text` version 99"), "{report}");
    assert!(
        report.to_string().contains("hole: events 2 are gone\n"),
        "{report}"
    );
    assert!(report.to_string().starts_with("DAMAGED"));
}
