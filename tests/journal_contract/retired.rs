//! What every journal promises of rooms that are gone. One on the bus begins at 1 again; in
//! Cassandra no place is given again.

use crate::{
    claims::{journal, owner},
    cluster::{Case, Node},
    events::commit,
};
use safe_chat::{
    bus::Commit,
    journal::{Claim, Error},
    room::{Event, Kind, Millis, Seq, State},
};
use std::time::SystemTime;

/// The place of the event that says that the room was purged.
const PURGED: u64 = 10;

fn now() -> Millis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Millis(since.unwrap().as_millis() as u64)
}

/// A room that was purged, and its owner, who has saved it.
async fn gone(case: &Case) -> (Node, Claim, State) {
    let (node, claim, _) = owner(case).await;
    let mut state = State::default();
    for first in 1..PURGED {
        let commit = commit(claim, first, 1, "purged");
        journal(&node, case, claim, &commit).await.unwrap();
        commit.events.iter().for_each(|event| state.evolve(event));
    }
    let purge = Commit {
        epoch: claim.epoch(),
        events: vec![Event {
            seq: Seq(PURGED),
            at: Millis(7),
            kind: Kind::Purged,
            changes: Vec::new(),
        }],
    };
    journal(&node, case, claim, &purge).await.unwrap();
    state.evolve(&purge.events[0]);
    for _ in 0..2 {
        node.save_snapshot(&case.room, claim, &state).await.unwrap();
    }
    assert!(node.trim(&case.room, claim, Seq(PURGED)).await.unwrap());
    assert!(state.is_gone());
    (node, claim, state)
}

async fn retire(node: &Node, case: &Case, claim: Claim) -> Result<(), Error> {
    node.retire(&case.room, claim, Seq(PURGED), now()).await
}

async fn is_listed(node: &Node, case: &Case) -> bool {
    let rooms = node.rooms_of(case.shard, None, 1000).await.unwrap();
    rooms.contains(&case.room)
}

/// How far a room goes that was removed.
fn reached(node: &Node) -> u64 {
    match node.publishes() {
        true => 0,
        false => PURGED,
    }
}

async fn page(node: &Node, case: &Case, last: u64) -> Vec<u64> {
    let page = node.read(&case.room, Seq(1), Seq(last)).await.unwrap();
    page.iter().map(|event| event.seq.0).collect()
}

pub async fn a_room_that_is_gone_goes_with_its_name(case: Case) {
    let (node, claim, _) = gone(&case).await;
    assert!(is_listed(&node, &case).await);
    retire(&node, &case, claim).await.unwrap();
    node.close(&case.room);
    assert!(!is_listed(&node, &case).await);
    assert!(case.stored().await.is_empty());
    assert!(page(&node, &case, PURGED).await.is_empty());
    assert_eq!(
        node.glance(&case.room).await.unwrap().is_some(),
        !node.publishes()
    );
    // Opening it stores no name, by this owner and the next one.
    let own = node.open(&case.room, claim).await.unwrap();
    for opened in [own, owner(&case).await.2] {
        assert_eq!(
            (opened.head(), &opened.holes),
            (Seq(reached(&node)), &vec![])
        );
        assert!(opened.replay().is_gone());
        assert!(!is_listed(&node, &case).await);
    }
}

pub async fn a_removed_room_is_written_again(case: Case) {
    let (node, claim, _) = gone(&case).await;
    retire(&node, &case, claim).await.unwrap();
    node.close(&case.room);
    let opened = node.open(&case.room, claim).await.unwrap();
    let first = opened.head().next().0;
    let mut state = opened.replay();
    for place in first..first + 9 {
        let commit = commit(claim, place, 1, "anew");
        journal(&node, &case, claim, &commit).await.unwrap();
        commit.events.iter().for_each(|event| state.evolve(event));
    }
    let last = first + 8;
    let all: Vec<u64> = (first..=last).collect();
    assert!(is_listed(&node, &case).await);
    assert_eq!(page(&node, &case, last).await, all);
    let (node, claim, opened) = owner(&case).await;
    assert_eq!((opened.head(), &opened.holes), (Seq(last), &vec![]));
    assert_eq!(opened.replay(), state);
    // It can let its past go like any other, and be erased.
    for _ in 0..2 {
        node.save_snapshot(&case.room, claim, &state).await.unwrap();
    }
    let start = Seq(first + 5);
    let kept = node.read(&case.room, Seq(first), Seq(last)).await.unwrap();
    let erased: Vec<Event> = kept.iter().map(Event::erased).collect();
    node.rewrite(&case.room, claim, &erased[..8]).await.unwrap();
    let adopted = node.adopt_rewritten(&case.room, claim, Seq(last)).await;
    let dropped = node.drop_rewritten(&case.room, claim, adopted.unwrap());
    assert!(dropped.await.unwrap());
    let read = node.read(&case.room, Seq(first), Seq(last)).await.unwrap();
    assert_eq!((&read[..8], &read[8..]), (&erased[..8], &kept[8..]));
    assert!(node.trim(&case.room, claim, start).await.unwrap());
    assert_eq!(page(&node, &case, last).await, all[5..]);
}

pub async fn an_owner_that_was_replaced_removes_no_room(case: Case) {
    let (old, old_claim, state) = gone(&case).await;
    let (node, claim, _) = owner(&case).await;
    let refused = retire(&old, &case, old_claim).await;
    assert!(matches!(refused, Err(Error::Fenced { .. })), "{refused:?}");
    let opened = owner(&case).await.2;
    assert_eq!(opened.replay(), state);
    let refused = retire(&node, &case, claim).await;
    assert!(matches!(refused, Err(Error::Fenced { .. })), "{refused:?}");
    assert!(is_listed(&node, &case).await);
    assert_eq!(page(&node, &case, PURGED).await, [PURGED]);
}

pub async fn a_room_that_has_grown_stays(case: Case) {
    let (node, claim, _) = gone(&case).await;
    let next = commit(claim, PURGED + 1, 1, "came back");
    journal(&node, &case, claim, &next).await.unwrap();
    retire(&node, &case, claim).await.unwrap_err();
    // It is not saved as it is now.
    let unsaved = node.retire(&case.room, claim, Seq(PURGED + 1), now()).await;
    unsaved.unwrap_err();
    assert!(is_listed(&node, &case).await);
    assert_eq!(page(&node, &case, PURGED + 1).await, [PURGED, PURGED + 1]);
    assert_eq!(owner(&case).await.2.head(), Seq(PURGED + 1));
}

pub async fn no_other_room_goes(case: Case) {
    let (node, claim, _) = gone(&case).await;
    let other = case.another_room();
    node.open(&other, claim).await.unwrap();
    let mut state = State::default();
    for first in 1..=3 {
        let commit = commit(claim, first, 1, "elsewhere");
        node.append(&other, claim, &commit).await.unwrap();
        commit.events.iter().for_each(|event| state.evolve(event));
    }
    node.save_snapshot(&other, claim, &state).await.unwrap();
    retire(&node, &case, claim).await.unwrap();
    let rooms = node.rooms_of(case.shard, None, 1000).await.unwrap();
    assert_eq!(rooms, std::slice::from_ref(&other));
    assert_eq!(node.glance(&other).await.unwrap(), Some(state));
    assert_eq!(node.read(&other, Seq(1), Seq(3)).await.unwrap().len(), 3);
}
