//! What every journal promises, whatever it is built on.

pub use crate::strangers::*;
use crate::{
    cluster::{Case, Node},
    events::{commit, message, sized},
};
use futures::future::join_all;
use safe_chat::{
    bus::Commit,
    journal::{Claim, Error, Limits, Opened},
    room::{Change, Epoch, Event, Incarnation, Seq, SessionId, State},
};
use std::collections::BTreeSet;
use uuid::Uuid;

fn replay(opened: &Opened) -> State {
    let mut state = opened.state.clone();
    opened.events.iter().for_each(|event| state.evolve(event));
    state
}

/// Appends as an owner does, and says whether the commit is journaled.
pub async fn journal(node: &Node, case: &Case, claim: Claim, commit: &Commit) -> Result<(), Error> {
    node.append(&case.room, claim, commit).await
}

/// A new owner of the room, which it has opened.
pub async fn owner(case: &Case) -> (Node, Claim, Opened) {
    let node = case.node().await;
    let claim = case.claim(&node).await;
    let opened = node.open(&case.room, claim).await.unwrap();
    (node, claim, opened)
}

pub async fn a_claim_is_higher_than_every_earlier_one(case: Case) {
    let mut last = Epoch::default();
    for _ in 0..5 {
        let epoch = case.claim(&case.node().await).await.epoch();
        assert!(epoch > last, "{epoch} after {last}");
        last = epoch;
    }
    let far = case
        .claim_at_least(&case.node().await, Epoch(last.0 + 100))
        .await
        .unwrap();
    assert!(far.epoch().0 >= last.0 + 100);
}

pub async fn claims_at_the_same_time_get_different_epochs(case: Case) {
    let nodes = join_all((0..6).map(|_| case.node())).await;
    let claims = join_all(nodes.iter().map(|node| case.claim_at_least(node, Epoch(1)))).await;
    let won: Vec<_> = claims
        .into_iter()
        .filter_map(|claim| Some(claim.ok()?.epoch()))
        .collect();
    assert!(!won.is_empty());
    assert_eq!(
        won.iter().collect::<BTreeSet<_>>().len(),
        won.len(),
        "{won:?}"
    );
}

pub async fn a_room_that_was_never_written_opens_empty(case: Case) {
    let (node, claim, opened) = owner(&case).await;
    assert_eq!(opened, Opened::default());
    node.confirm(claim).await.unwrap();
    assert_eq!(node.read(&case.room, Seq(1), Seq(0)).await.unwrap(), []);
}

pub async fn opening_a_room_that_was_never_written_stores_nothing(case: Case) {
    for _ in 0..3 {
        let (node, claim, opened) = owner(&case).await;
        assert_eq!(opened, Opened::default());
        node.close(&case.room);
        node.open(&case.room, claim).await.unwrap();
    }
    assert_eq!(case.stored().await, Vec::<String>::new());
    let mut after = None;
    let node = case.node().await;
    loop {
        let page = node.rooms(after.as_ref(), 500).await.unwrap();
        assert!(
            !page.contains(&case.room),
            "a room that nobody wrote is listed"
        );
        let Some(last) = page.last().cloned() else {
            break;
        };
        after = Some(last);
    }
}

pub async fn an_owner_of_an_unwritten_room_is_fenced_at_its_first_append(case: Case) {
    let (old, old_claim, _) = owner(&case).await;
    let (new, new_claim, _) = owner(&case).await;
    let first = commit(new_claim, 1, 2, "new owner");
    journal(&new, &case, new_claim, &first).await.unwrap();
    let late = journal(&old, &case, old_claim, &commit(old_claim, 1, 1, "zombie")).await;
    assert!(
        matches!(late, Err(Error::Fenced { seen }) if seen >= new_claim.epoch()),
        "{late:?}"
    );
    assert!(
        old.save_snapshot(&case.room, old_claim, &State::default())
            .await
            .is_err()
            || !old.publishes()
    );
    journal(&new, &case, new_claim, &commit(new_claim, 3, 1, "goes on"))
        .await
        .unwrap();
    let opened = owner(&case).await.2;
    assert_eq!(
        opened.events,
        [first.events, commit(new_claim, 3, 1, "goes on").events].concat()
    );
}

pub async fn of_two_owners_that_saw_a_room_empty_one_gets_the_first_place(case: Case) {
    let (old, old_claim, _) = owner(&case).await;
    let (new, new_claim, opened) = owner(&case).await;
    assert_eq!(opened.events, []);
    let (zombie, mine) = (
        commit(old_claim, 1, 1, "zombie"),
        commit(new_claim, 1, 2, "new owner"),
    );
    let of_old = journal(&old, &case, old_claim, &zombie).await;
    let of_new = journal(&new, &case, new_claim, &mine).await;
    let (third, claim, opened) = owner(&case).await;
    // Which of them depends on the journal; what was journaled is there, and nothing else.
    match (of_old, of_new) {
        (Err(Error::Fenced { .. }), Ok(())) => assert_eq!(opened.events, mine.events),
        (Ok(()), Err(Error::Fenced { .. })) => assert_eq!(opened.events, zombie.events),
        other => panic!("{other:?}"),
    }
    let head = opened.events.len() as u64;
    journal(
        &third,
        &case,
        claim,
        &commit(claim, head + 1, 1, "third owner"),
    )
    .await
    .unwrap();
    assert_eq!(owner(&case).await.2.events.len() as u64, head + 1);
}

pub async fn an_empty_room_is_written_after_its_snapshot(case: Case) {
    let (old, old_claim, _) = owner(&case).await;
    let (node, claim, _) = owner(&case).await;
    let mut state = State::default();
    state.change(Change::Closed {
        session: SessionId::new(Uuid::now_v7()),
    });
    node.save_snapshot(&case.room, claim, &state).await.unwrap();
    let late = journal(&old, &case, old_claim, &commit(old_claim, 1, 1, "zombie")).await;
    assert!(matches!(late, Err(Error::Fenced { .. })), "{late:?}");
    let first = commit(claim, 1, 2, "after the snapshot");
    journal(&node, &case, claim, &first).await.unwrap();
    assert_eq!(
        owner(&case).await.2,
        Opened {
            state,
            events: first.events,
            holes: vec![]
        }
    );
}

pub async fn what_is_journaled_is_read_and_replayed(case: Case) {
    let (node, claim, _) = owner(&case).await;
    let mut all = Vec::new();
    for (first, count) in [(1, 1), (2, 3), (5, 5)] {
        let commit = commit(claim, first, count, "first owner");
        journal(&node, &case, claim, &commit).await.unwrap();
        all.extend(commit.events);
    }
    assert_eq!(node.read(&case.room, Seq(1), Seq(9)).await.unwrap(), all);
    assert_eq!(
        node.read(&case.room, Seq(3), Seq(6)).await.unwrap(),
        all[2..6]
    );

    let (next, _, opened) = owner(&case).await;
    assert_eq!(
        opened,
        Opened {
            state: State::default(),
            events: all.clone(),
            holes: vec![]
        }
    );
    assert_eq!(next.read(&case.room, Seq(1), Seq(9)).await.unwrap(), all);
}

pub async fn the_next_owner_goes_on_where_the_last_one_ended(case: Case) {
    let mut head = 0;
    let mut all = Vec::new();
    for _ in 0..4 {
        let (node, claim, opened) = owner(&case).await;
        assert_eq!(opened.events, all);
        for count in [2, 1] {
            let commit = commit(claim, head + 1, count, "whoever it is");
            journal(&node, &case, claim, &commit).await.unwrap();
            head += count;
            all.extend(commit.events);
        }
    }
    assert_eq!(
        case.node()
            .await
            .read(&case.room, Seq(1), Seq(head))
            .await
            .unwrap(),
        all
    );
}

pub async fn a_room_that_was_closed_is_opened_again_under_the_same_epoch(case: Case) {
    let (node, claim, _) = owner(&case).await;
    let mut all = Vec::new();
    for first in 1..4 {
        let commit = commit(claim, first, 1, "again");
        journal(&node, &case, claim, &commit).await.unwrap();
        all.extend(commit.events);
        node.close(&case.room);
        assert_eq!(node.open(&case.room, claim).await.unwrap().events, all);
    }
}

pub async fn an_owner_that_was_replaced_journals_nothing(case: Case) {
    let (old, old_claim, _) = owner(&case).await;
    journal(&old, &case, old_claim, &commit(old_claim, 1, 2, "in time"))
        .await
        .unwrap();
    let (_new, new_claim, _) = owner(&case).await;

    let late = journal(&old, &case, old_claim, &commit(old_claim, 3, 1, "too late")).await;
    assert!(
        matches!(late, Err(Error::Fenced { seen }) if seen >= new_claim.epoch()),
        "{late:?}"
    );
    let confirmed = old.confirm(old_claim).await;
    assert!(
        matches!(confirmed, Err(Error::Fenced { seen }) if seen >= new_claim.epoch()),
        "{confirmed:?}"
    );
}

pub async fn what_a_replaced_owner_writes_is_never_seen(case: Case) {
    let (old, old_claim, _) = owner(&case).await;
    let base = commit(old_claim, 1, 3, "in time");
    journal(&old, &case, old_claim, &base).await.unwrap();
    let (new, new_claim, opened) = owner(&case).await;
    assert_eq!(opened.events, base.events);

    // The zombie writes more than the new owner, so that some of it lies behind the new head.
    old.append(&case.room, old_claim, &commit(old_claim, 4, 3, "zombie"))
        .await
        .ok();
    let (third, third_claim, opened) = owner(&case).await;
    assert_eq!(
        opened.events, base.events,
        "nothing of a zombie, though the second owner wrote nothing"
    );

    let mine = commit(third_claim, 4, 1, "third owner");
    journal(&third, &case, third_claim, &mine).await.unwrap();
    new.append(
        &case.room,
        new_claim,
        &commit(new_claim, 4, 2, "another zombie"),
    )
    .await
    .ok();
    let all: Vec<Event> = base.events.into_iter().chain(mine.events).collect();
    assert_eq!(third.read(&case.room, Seq(1), Seq(4)).await.unwrap(), all);
    assert_eq!(owner(&case).await.2.events, all);
}

pub async fn opening_starts_at_the_newest_snapshot(case: Case) {
    let (node, claim, _) = owner(&case).await;
    let mut state = State::default();
    let mut after = Vec::new();
    for first in 1..=4 {
        let commit = commit(claim, first, 1, "under a snapshot");
        journal(&node, &case, claim, &commit).await.unwrap();
        if first < 4 {
            state.evolve(&commit.events[0]);
            node.save_snapshot(&case.room, claim, &state).await.unwrap();
        } else {
            after = commit.events;
        }
    }
    let (next, claim, opened) = owner(&case).await;
    assert_eq!(
        opened,
        Opened {
            state,
            events: after,
            holes: vec![]
        }
    );

    // A snapshot at the head, from which nothing follows, and another one of the same head with a
    // change that has no place.
    let mut state = replay(&opened);
    next.save_snapshot(&case.room, claim, &state).await.unwrap();
    state.change(Change::Closed {
        session: SessionId::new(Uuid::now_v7()),
    });
    next.save_snapshot(&case.room, claim, &state).await.unwrap();
    let (third, claim, opened) = owner(&case).await;
    assert_eq!(
        opened,
        Opened {
            state: state.clone(),
            events: vec![],
            holes: vec![]
        }
    );
    state.change(Change::Closed {
        session: SessionId::new(Uuid::now_v7()),
    });
    third
        .save_snapshot(&case.room, claim, &state)
        .await
        .unwrap();
    journal(&third, &case, claim, &commit(claim, 5, 2, "after it"))
        .await
        .unwrap();
    assert_eq!(owner(&case).await.2.state, state);
}

pub async fn a_snapshot_of_an_empty_room_keeps_its_changes(case: Case) {
    let (node, claim, _) = owner(&case).await;
    let mut state = State::default();
    state.change(Change::Closed {
        session: SessionId::new(Uuid::now_v7()),
    });
    node.save_snapshot(&case.room, claim, &state).await.unwrap();
    assert_eq!(
        owner(&case).await.2,
        Opened {
            state,
            events: vec![],
            holes: vec![]
        }
    );
}

pub async fn the_late_snapshot_of_a_replaced_owner_replaces_nothing(case: Case) {
    let (old, old_claim, _) = owner(&case).await;
    let base = commit(old_claim, 1, 1, "in time");
    journal(&old, &case, old_claim, &base).await.unwrap();
    let mut state = State::default();
    state.evolve(&base.events[0]);
    let late = state.clone();
    let (new, new_claim, _) = owner(&case).await;
    state.change(Change::Closed {
        session: SessionId::new(Uuid::now_v7()),
    });
    for _ in 0..2 {
        new.save_snapshot(&case.room, new_claim, &state)
            .await
            .unwrap();
    }
    for _ in 0..3 {
        old.save_snapshot(&case.room, old_claim, &late).await.ok();
    }
    assert_eq!(owner(&case).await.2.state, state);
}

pub async fn a_large_room_has_large_snapshots(case: Case) {
    let (node, claim, _) = owner(&case).await;
    let mut state = State::default();
    for _ in 0..12_000 {
        state.change(Change::Opened {
            session: SessionId::new(Uuid::now_v7()),
            user: case.user(),
            device: None,
            gateway: Incarnation::new(Uuid::now_v7()),
        });
    }
    node.save_snapshot(&case.room, claim, &state).await.unwrap();
    assert_eq!(owner(&case).await.2.state, state);
}

pub async fn an_event_of_an_unknown_version_refuses_its_room_and_nothing_is_overwritten(
    case: Case,
) {
    let (node, claim, _) = owner(&case).await;
    journal(&node, &case, claim, &commit(claim, 1, 1, "known"))
        .await
        .unwrap();
    let next = case.node().await;
    let claim = case.claim(&next).await;
    if !case.store_unknown(Seq(2), claim.epoch()).await {
        return println!("left out: this adapter keeps no stored form");
    }
    let before = case.stored().await;

    let last = case.node().await;
    let claim = case.claim(&last).await;
    match last.open(&case.room, claim).await {
        Err(Error::Unsupported {
            seq: Seq(2),
            name,
            version: 99,
        }) => assert_eq!(name, "text"),
        other => panic!("{other:?}"),
    }
    let page = last.read(&case.room, Seq(1), Seq(2)).await;
    assert!(
        matches!(page, Err(Error::Unsupported { seq: Seq(2), .. })),
        "{page:?}"
    );
    let after = case.stored().await;
    assert_eq!(after[..before.len()], before, "nothing was changed");
    assert!(
        after[before.len()..]
            .iter()
            .all(|line| line.contains("claim")),
        "nothing was added but a claim: {after:?}"
    );
}

pub async fn pages_are_dense_and_end_at_their_bound(case: Case) {
    let (node, claim, _) = owner(&case).await;
    let mut all = Vec::new();
    while all.len() < 1100 {
        let first = all.len() as u64 + 1;
        let count = (node.boundary(Seq(first)).0 - first + 1)
            .min(100)
            .min(1101 - first);
        let commit = commit(claim, first, count, "page");
        journal(&node, &case, claim, &commit).await.unwrap();
        all.extend(commit.events);
    }
    for (first, last, expected) in [
        (1, 1100, 500),
        (601, 1100, 500),
        (602, 1100, 499),
        (1100, 1100, 1),
        (9, 22, 14),
    ] {
        let page = node.read(&case.room, Seq(first), Seq(last)).await.unwrap();
        assert_eq!(
            page,
            all[first as usize - 1..][..expected],
            "{first} to {last}"
        );
    }
    let (_, _, opened) = owner(&case).await;
    assert_eq!(
        opened.events, all,
        "opening reads more than one slice, page and partition"
    );
}

pub async fn a_page_of_large_events_ends_earlier(case: Case) {
    let (node, claim, _) = owner(&case).await;
    for seq in 1..=40 {
        journal(
            &node,
            &case,
            claim,
            &Commit {
                epoch: claim.epoch(),
                events: vec![sized(seq, 64 * 1024)],
            },
        )
        .await
        .unwrap();
    }
    for (first, last, expected) in [
        (1, 40, 1..=16),
        (3, 40, 3..=18),
        (30, 40, 30..=40),
        (40, 40, 40..=40),
    ] {
        let page = node.read(&case.room, Seq(first), Seq(last)).await.unwrap();
        assert_eq!(
            page.iter().map(|event| event.seq.0).collect::<Vec<_>>(),
            expected.collect::<Vec<_>>()
        );
    }
}

pub async fn the_largest_commits_are_kept_whole(case: Case) {
    let (node, claim, _) = owner(&case).await;
    let mut all = vec![];
    let mut first = 1;
    for (count, bytes) in [
        (1, 64 * 1024),
        (Limits::EVENTS as u64, 256),
        (Limits::EVENTS as u64, 512),
        (1, 1),
    ] {
        let end = first + count - 1;
        while first <= end {
            let last = node.boundary(Seq(first)).0.min(end);
            let commit = Commit {
                epoch: claim.epoch(),
                events: (first..=last).map(|seq| sized(seq, bytes)).collect(),
            };
            journal(&node, &case, claim, &commit).await.unwrap();
            all.extend(commit.events);
            first = last + 1;
        }
    }
    assert_eq!(owner(&case).await.2.events, all);
}

pub async fn every_room_that_was_written_is_listed(case: Case) {
    let node = case.node().await;
    let claim = case.claim(&node).await;
    let mut written = BTreeSet::new();
    for _ in 0..7 {
        let room = case.another_room();
        node.open(&room, claim).await.unwrap();
        node.append(&room, claim, &commit(claim, 1, 1, "listed"))
            .await
            .unwrap();
        written.insert(room);
    }
    let mut listed = BTreeSet::new();
    let mut after = None;
    loop {
        let page = node.rooms(after.as_ref(), 3).await.unwrap();
        assert!(page.len() <= 3);
        let Some(last) = page.last().cloned() else {
            break;
        };
        for room in page {
            assert!(listed.insert(room.clone()), "{room} is listed twice");
        }
        after = Some(last);
    }
    assert!(listed.is_superset(&written), "{written:?} in {listed:?}");
}

pub async fn many_rooms_of_a_shard_share_their_confirmations(case: Case) {
    let node = case.node().await;
    let claim = case.claim(&node).await;
    let rooms: Vec<_> = (0..40).map(|_| case.another_room()).collect();
    let owners = rooms.iter().map(|room| async {
        node.open(room, claim).await.unwrap();
        for first in 1..=10 {
            node.append(
                room,
                claim,
                &Commit {
                    epoch: claim.epoch(),
                    events: vec![message(first, room.as_str())],
                },
            )
            .await
            .unwrap();
            node.confirm(claim).await.unwrap();
        }
        assert_eq!(
            node.read(room, Seq(1), Seq(10)).await.unwrap(),
            (1..=10)
                .map(|seq| message(seq, room.as_str()))
                .collect::<Vec<_>>()
        );
    });
    join_all(owners).await;
}
