//! What every journal promises of rooms that let their past go.

use crate::{
    claims::{journal, owner},
    cluster::{Case, Node},
    events::commit,
};
use safe_chat::{
    journal::{Claim, Error, Hole},
    room::{Event, Seq, State},
};

/// A room of so many commits of one event each, and its owner.
async fn ones(case: &Case, count: u64) -> (Node, Claim, Vec<Event>) {
    let (node, claim, _) = owner(case).await;
    let mut all = Vec::new();
    for first in 1..=count {
        let commit = commit(claim, first, 1, "for a while");
        journal(&node, case, claim, &commit).await.unwrap();
        all.extend(commit.events);
    }
    (node, claim, all)
}

async fn save(node: &Node, case: &Case, claim: Claim, events: &[Event]) -> State {
    let mut state = State::default();
    events.iter().for_each(|event| state.evolve(event));
    node.save_snapshot(&case.room, claim, &state).await.unwrap();
    state
}

async fn trim(node: &Node, case: &Case, claim: Claim, start: u64) -> bool {
    node.trim(&case.room, claim, Seq(start)).await.unwrap()
}

async fn page(node: &Node, case: &Case, first: u64, last: u64) -> Vec<u64> {
    let page = node.read(&case.room, Seq(first), Seq(last)).await.unwrap();
    page.iter().map(|event| event.seq.0).collect()
}

async fn below(node: &Node, case: &Case, below: u64) -> u64 {
    let last = node.last_below(&case.room, Seq(below)).await.unwrap();
    last.unwrap_or_default().0
}

pub async fn what_is_trimmed_is_gone_and_nothing_else(case: Case) {
    let (node, claim, all) = ones(&case, 9).await;
    let state = save(&node, &case, claim, &all).await;
    let before = case.stored().await.len();
    assert!(trim(&node, &case, claim, 6).await);
    assert_eq!(page(&node, &case, 1, 9).await, [6, 7, 8, 9]);
    assert_eq!(page(&node, &case, 3, 7).await, [6, 7]);
    assert!(page(&node, &case, 2, 5).await.is_empty());
    assert_eq!(
        (below(&node, &case, 6).await, below(&node, &case, 9).await),
        (0, 8)
    );
    assert!(case.stored().await.len() <= before - 5);
    let next = commit(claim, 10, 1, "goes on");
    journal(&node, &case, claim, &next).await.unwrap();
    let (node, claim, opened) = owner(&case).await;
    assert_eq!((&opened.state, &opened.events), (&state, &next.events));
    assert_eq!((opened.head(), opened.holes), (Seq(10), vec![]));
    assert!(trim(&node, &case, claim, 6).await, "once more does nothing");
    assert_eq!(page(&node, &case, 1, 10).await, [6, 7, 8, 9, 10]);
}

pub async fn nothing_goes_that_no_snapshot_holds(case: Case) {
    let (node, claim, all) = ones(&case, 9).await;
    assert!(!trim(&node, &case, claim, 6).await);
    assert_eq!(page(&node, &case, 1, 9).await, (1..=9).collect::<Vec<_>>());
    save(&node, &case, claim, &all[..4]).await;
    assert!(!trim(&node, &case, claim, 6).await);
    assert_eq!(page(&node, &case, 1, 9).await, [4, 5, 6, 7, 8, 9]);
    let opened = owner(&case).await.2;
    assert_eq!((opened.events, opened.holes), (all[4..].to_vec(), vec![]));
}

/// It may take two snapshots, where the older one is kept for the case that the newer one does not
/// fit.
pub async fn after_another_snapshot_the_rest_goes(case: Case) {
    let (node, claim, all) = ones(&case, 9).await;
    save(&node, &case, claim, &all[..2]).await;
    assert!(!trim(&node, &case, claim, 6).await);
    save(&node, &case, claim, &all).await;
    if !trim(&node, &case, claim, 6).await {
        save(&node, &case, claim, &all).await;
        assert!(trim(&node, &case, claim, 6).await);
    }
    assert_eq!(page(&node, &case, 1, 9).await, [6, 7, 8, 9]);
}

/// The commit that a snapshot ends with, and the last one, stay: an opening reads on from there.
pub async fn the_last_commit_stays(case: Case) {
    let (node, claim, _) = owner(&case).await;
    let commits = [commit(claim, 1, 3, "gone"), commit(claim, 4, 3, "stays")];
    for commit in &commits {
        journal(&node, &case, claim, commit).await.unwrap();
    }
    let all = [commits[0].events.clone(), commits[1].events.clone()].concat();
    let state = save(&node, &case, claim, &all).await;
    assert!(
        trim(&node, &case, claim, 7).await,
        "there is no more to come"
    );
    assert_eq!(page(&node, &case, 1, 6).await, [4, 5, 6]);
    let (node, claim, opened) = owner(&case).await;
    assert_eq!((opened.head(), &opened.state), (Seq(6), &state));
    // Behind the claim of another owner, too.
    save(&node, &case, claim, &all).await;
    trim(&node, &case, claim, 7).await;
    save(&node, &case, claim, &all).await;
    trim(&node, &case, claim, 7).await;
    assert_eq!(page(&node, &case, 1, 6).await, [4, 5, 6]);
    journal(&node, &case, claim, &commit(claim, 7, 1, "goes on"))
        .await
        .unwrap();
    assert_eq!(owner(&case).await.2.head(), Seq(7));
}

pub async fn an_owner_that_was_replaced_removes_nothing(case: Case) {
    let (old, old_claim, all) = ones(&case, 9).await;
    save(&old, &case, old_claim, &all).await;
    let (node, claim, _) = owner(&case).await;
    let refused = old.trim(&case.room, old_claim, Seq(6)).await;
    assert!(matches!(refused, Err(Error::Fenced { .. })), "{refused:?}");
    assert_eq!(page(&node, &case, 1, 9).await, (1..=9).collect::<Vec<_>>());
    assert!(trim(&node, &case, claim, 6).await);
}

/// What goes of one room is no loss of another, whose end no snapshot holds.
pub async fn no_other_room_is_moved(case: Case) {
    let (node, claim, _) = ones(&case, 9).await;
    let other = case.another_room();
    node.open(&other, claim).await.unwrap();
    let mut state = State::default();
    for first in 1..=20 {
        let commit = commit(claim, first, 1, "elsewhere");
        node.append(&other, claim, &commit).await.unwrap();
        commit.events.iter().for_each(|event| state.evolve(event));
    }
    node.save_snapshot(&other, claim, &state).await.unwrap();
    assert!(node.trim(&other, claim, Seq(20)).await.unwrap());
    let (node, claim, opened) = owner(&case).await;
    assert_eq!((opened.head(), opened.holes), (Seq(9), Vec::<Hole>::new()));
    journal(&node, &case, claim, &commit(claim, 10, 1, "goes on"))
        .await
        .unwrap();
    node.verify(&case.room, claim).await.unwrap();
}

/// Over several partitions, and again further on.
pub async fn a_long_past_goes_in_pieces(case: Case) {
    let (node, claim, _) = owner(&case).await;
    let mut state = State::default();
    let mut first = 1;
    while first <= 3000 {
        let last = node.boundary(Seq(first)).0.min(first + 199).min(3000);
        let commit = commit(claim, first, last - first + 1, "of many");
        journal(&node, &case, claim, &commit).await.unwrap();
        commit.events.iter().for_each(|event| state.evolve(event));
        first = last + 1;
    }
    for _ in 0..2 {
        node.save_snapshot(&case.room, claim, &state).await.unwrap();
    }
    for start in [650, 701, 2150, 2151] {
        assert!(trim(&node, &case, claim, start).await);
        let readable = page(&node, &case, 1, 3000).await;
        // In whole commits.
        let (first, dense) = (
            readable[0],
            readable.windows(2).all(|two| two[1] == two[0] + 1),
        );
        assert!((start - 200..=start).contains(&first) && dense, "{first}");
        assert_eq!(below(&node, &case, first).await, 0);
        assert_eq!(page(&node, &case, start, start).await, [start]);
    }
    let opened = owner(&case).await.2;
    assert_eq!((opened.head(), opened.holes), (Seq(3000), vec![]));
    assert_eq!(opened.state, state);
}

pub async fn a_glance_shows_the_newest_snapshot(case: Case) {
    let (node, claim, all) = ones(&case, 3).await;
    assert_eq!(node.glance(&case.room).await.unwrap(), None);
    let state = save(&node, &case, claim, &all).await;
    assert_eq!(node.glance(&case.room).await.unwrap(), Some(state));
    let rooms = node.rooms_of(case.shard, None, 10).await.unwrap();
    assert!(rooms.contains(&case.room), "{rooms:?}");
    let other = node
        .rooms_of(case.shard, Some(&case.room), 10)
        .await
        .unwrap();
    assert!(!other.contains(&case.room), "{other:?}");
}

/// What an owner waits for that has a room purged: names of before are in snapshots.
pub async fn two_snapshots_later_nothing_is_left_of_one(case: Case) {
    let (node, claim, all) = ones(&case, 9).await;
    let is_left = async || node.has_snapshot_below(&case.room, Seq(6)).await.unwrap();
    assert!(!is_left().await, "there is none");
    save(&node, &case, claim, &all[..5]).await;
    assert!(is_left().await);
    save(&node, &case, claim, &all[..6]).await;
    assert!(is_left().await);
    save(&node, &case, claim, &all).await;
    assert!(!is_left().await);
}
