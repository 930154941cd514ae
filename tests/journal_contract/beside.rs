//! What is kept beside a snapshot: what the next event of a room is to take along.

use crate::{
    claims::{journal, owner},
    cluster::{Case, Node},
    events::commit,
};
use safe_chat::{
    journal::Claim,
    room::{Change, Seq, SessionId, State},
};
use uuid::Uuid;

fn ended() -> Change {
    Change::Closed {
        session: SessionId::new(Uuid::now_v7()),
    }
}

/// Journals the next event of a room, with what it is to take along.
async fn goes_on(node: &Node, case: &Case, claim: Claim, state: &mut State) {
    let mut next = commit(claim, state.head.0 + 1, 1, "goes on");
    next.events[0].changes = state.unjournaled.clone();
    journal(node, case, claim, &next).await.unwrap();
    state.evolve(&next.events[0]);
}

async fn keeps(node: &Node, case: &Case, claim: Claim, state: &State) -> bool {
    let carried = state.carried();
    node.save_carried(&case.room, claim, &carried)
        .await
        .unwrap()
}

async fn saves(node: &Node, case: &Case, claim: Claim, state: &mut State) {
    node.save_snapshot(&case.room, claim, state).await.unwrap();
    state.saved(state.unjournaled.len(), false);
}

pub async fn what_the_next_event_is_to_take_along_is_kept_beside_a_snapshot(case: Case) {
    let (node, claim, _) = owner(&case).await;
    let mut state = State::default();
    goes_on(&node, &case, claim, &mut state).await;
    state.change(ended());
    assert!(
        !keeps(&node, &case, claim, &state).await,
        "there is no snapshot"
    );
    saves(&node, &case, claim, &mut state).await;
    // Of the snapshot's own head.
    state.change(ended());
    assert!(keeps(&node, &case, claim, &state).await);
    let found = owner(&case).await.2.replay();
    assert_eq!(
        (found.ended.len(), &found.unjournaled),
        (2, &state.unjournaled)
    );

    let (node, claim, opened) = owner(&case).await;
    let mut state = opened.replay();
    assert!(
        !keeps(&node, &case, claim, &state).await,
        "it is another's snapshot"
    );
    goes_on(&node, &case, claim, &mut state).await;
    assert_eq!(owner(&case).await.2.replay(), state);

    // Of a later head, twice: the last one counts.
    let (node, claim, opened) = owner(&case).await;
    let mut state = opened.replay();
    saves(&node, &case, claim, &mut state).await;
    goes_on(&node, &case, claim, &mut state).await;
    for _ in 0..2 {
        state.change(ended());
        assert!(keeps(&node, &case, claim, &state).await);
    }
    assert_eq!(owner(&case).await.2.replay(), state);
}

/// Whatever it says has happened before, and in that order.
pub async fn what_an_event_has_taken_along_is_not_done_again(case: Case) {
    let (node, claim, _) = owner(&case).await;
    let mut state = State::default();
    goes_on(&node, &case, claim, &mut state).await;
    saves(&node, &case, claim, &mut state).await;
    state.change(ended());
    assert!(keeps(&node, &case, claim, &state).await);
    for _ in 0..3 {
        goes_on(&node, &case, claim, &mut state).await;
    }
    assert_eq!(owner(&case).await.2.replay(), state);

    // It is of before a snapshot.
    let (node, claim, opened) = owner(&case).await;
    let mut state = opened.replay();
    saves(&node, &case, claim, &mut state).await;
    state.change(ended());
    assert!(keeps(&node, &case, claim, &state).await);
    saves(&node, &case, claim, &mut state).await;
    goes_on(&node, &case, claim, &mut state).await;
    assert_eq!(owner(&case).await.2.replay(), state);
}

pub async fn what_a_replaced_owner_keeps_late_counts_for_nothing(case: Case) {
    let (old, old_claim, _) = owner(&case).await;
    let mut state = State::default();
    goes_on(&old, &case, old_claim, &mut state).await;
    saves(&old, &case, old_claim, &mut state).await;
    let mut late = state.clone();
    late.change(ended());

    let (new, new_claim, _) = owner(&case).await;
    saves(&new, &case, new_claim, &mut state).await;
    state.change(ended());
    assert!(keeps(&new, &case, new_claim, &state).await);
    let carried = late.carried();
    let kept = old.save_carried(&case.room, old_claim, &carried).await;
    assert!(!kept.unwrap_or_default());
    assert_eq!(owner(&case).await.2.replay(), state);
}

pub async fn what_is_lost_of_a_room_takes_nothing_along_that_is_kept(case: Case) {
    let (node, claim, _) = owner(&case).await;
    let mut state = State::default();
    goes_on(&node, &case, claim, &mut state).await;
    saves(&node, &case, claim, &mut state).await;
    goes_on(&node, &case, claim, &mut state).await;
    state.change(ended());
    assert!(keeps(&node, &case, claim, &state).await);
    case.lose(2, 2).await;
    let opened = owner(&case).await.2;
    assert_eq!(opened.replay().ended, state.ended);
}

pub async fn a_snapshot_later_nothing_is_left_of_what_was_beside_one(case: Case) {
    let (node, claim, _) = owner(&case).await;
    let mut state = State::default();
    goes_on(&node, &case, claim, &mut state).await;
    saves(&node, &case, claim, &mut state).await;
    state.change(ended());
    assert!(keeps(&node, &case, claim, &state).await);
    goes_on(&node, &case, claim, &mut state).await;
    let is_left = async || node.has_snapshot_below(&case.room, Seq(2)).await.unwrap();
    saves(&node, &case, claim, &mut state).await;
    assert!(is_left().await);
    saves(&node, &case, claim, &mut state).await;
    assert!(!is_left().await);
}
