//! Who is not the owner: it was replaced, or owns another shard. It opens nothing and leaves what
//! is stored as it is.

use crate::{
    claims::{journal, owner},
    cluster::Case,
    events::commit,
};
use safe_chat::{
    journal::Error,
    room::{Epoch, State},
};

/// Nor does it write anything while it tries: what it would write again under its epoch is not its
/// to write.
pub async fn a_replaced_owner_opens_no_room(case: Case) {
    let (first, first_claim, _) = owner(&case).await;
    let base = commit(first_claim, 1, 3, "in time");
    journal(&first, &case, first_claim, &base).await.unwrap();
    let old = case.node().await;
    let old_claim = case.claim(&old).await;
    let new = case.node().await;
    let new_claim = case.claim(&new).await;
    let stored = case.stored().await;
    for _ in 0..2 {
        let opened = old.open(&case.room, old_claim).await;
        assert!(
            matches!(opened, Err(Error::Fenced { seen }) if seen >= new_claim.epoch()),
            "{opened:?}"
        );
        assert_eq!(case.stored().await, stored, "it wrote something");
    }
    let opened = new.open(&case.room, new_claim).await.unwrap();
    assert_eq!(opened.events, base.events);
}

/// Epochs of two shards cannot be compared, so it does not matter whether the stranger's is lower,
/// the same or higher.
pub async fn a_claim_is_good_for_rooms_of_its_shard_only(case: Case) {
    let (node, claim, _) = owner(&case).await;
    let base = commit(claim, 1, 3, "of the owner");
    journal(&node, &case, claim, &base).await.unwrap();
    let stored = case.stored().await;
    for ahead in [0, 0, 100] {
        let stranger = case.node().await;
        let least = Epoch(claim.epoch().0 + ahead);
        let elsewhere = case.claim_another_shard(&stranger, least).await;
        let next = commit(elsewhere, 4, 1, "of a stranger");
        let state = State::default();
        // Also on the very node that has the room open for its owner.
        for node in [&stranger, &node] {
            let outcomes = [
                node.open(&case.room, elsewhere).await.map(drop),
                node.append(&case.room, elsewhere, &next).await,
                node.save_snapshot(&case.room, elsewhere, &state).await,
            ];
            for outcome in outcomes {
                assert!(
                    matches!(&outcome, Err(Error::Stranger { room, shard, .. })
                        if *room == case.room && *shard == case.shard),
                    "{outcome:?}"
                );
            }
        }
    }
    assert_eq!(case.stored().await, stored, "a stranger wrote something");
    let next = commit(claim, 4, 2, "goes on");
    journal(&node, &case, claim, &next).await.unwrap();
    let all = [base.events, next.events].concat();
    assert_eq!(owner(&case).await.2.events, all);
}
