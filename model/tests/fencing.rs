//! The fencing holds in every interleaving, and the model notices whatever is left out of it.

use model::{Fencing, Mutation};
use stateright::{Checker, HasDiscoveries, Model};

/// Explores all states and asserts that every property holds.
fn holds(name: &str, model: Fencing) {
    let checker = model.checker().threads(2).spawn_bfs().join();
    println!("{name}: {} states, depth {}", checker.unique_state_count(), checker.max_depth());
    assert!(checker.is_done(), "{name}: every state was explored");
    checker.assert_properties();
}

/// Explores until something that must always hold does not; asserts that this happens.
fn is_caught(mutation: Mutation, owners: usize, commits: &[usize], snapshots: bool) {
    let model = Fencing { owners, commits: commits.to_vec(), snapshots, mutation: Some(mutation) };
    let checker = model.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_dfs().join();
    let found: Vec<_> = checker.discoveries().into_iter().filter(|(name, _)| !name.starts_with("the last owner")).collect();
    println!("{mutation:?}: {} states", checker.unique_state_count());
    assert!(!found.is_empty(), "{mutation:?} is not noticed");
    for (name, path) in found {
        println!("  not so: {name}, after {} steps", path.into_actions().len());
    }
}

#[test]
fn two_owners_with_two_commits() {
    holds("2 owners, commits of 1 and 1 rows", Fencing { owners: 2, commits: vec![1, 1], snapshots: false, mutation: None });
}

#[test]
fn three_owners_with_a_commit() {
    holds("3 owners, a commit of 1 row", Fencing { owners: 3, commits: vec![1], snapshots: false, mutation: None });
}

#[test]
fn two_owners_with_snapshots() {
    holds("2 owners, a commit of 2 rows, snapshots", Fencing { owners: 2, commits: vec![2], snapshots: true, mutation: None });
}

#[test]
fn a_commit_that_is_not_confirmed_is_noticed() {
    is_caught(Mutation::NoConfirm, 2, &[1, 1], false);
}

#[test]
fn a_confirmation_before_the_write_is_noticed() {
    is_caught(Mutation::ConfirmBeforeWrite, 2, &[1, 1], false);
}

#[test]
fn an_opening_that_is_not_confirmed_is_noticed() {
    is_caught(Mutation::OpeningNotConfirmed, 3, &[1], false);
}

#[test]
fn a_last_commit_that_is_not_written_again_is_noticed() {
    is_caught(Mutation::LastCommitNotRewritten, 3, &[1], false);
}

#[test]
fn a_last_commit_of_which_only_one_row_is_written_again_is_noticed() {
    is_caught(Mutation::OnlyLastRowRewritten, 3, &[2], false);
}

#[test]
fn a_reader_that_takes_the_lowest_epoch_is_noticed() {
    is_caught(Mutation::LowestEpochWins, 2, &[1, 1], false);
}

#[test]
fn a_walk_that_goes_on_where_the_epoch_decreases_is_noticed() {
    is_caught(Mutation::NoStopAtDecrease, 3, &[2], false);
}

#[test]
fn a_snapshot_of_unconfirmed_events_is_noticed() {
    is_caught(Mutation::SnapshotUnconfirmed, 2, &[1], true);
}

#[test]
fn a_tail_that_is_read_before_the_claim_is_seen_is_noticed() {
    is_caught(Mutation::ClaimNotRead, 2, &[1, 1], false);
}

#[test]
fn a_claim_that_only_one_replica_has_is_noticed() {
    is_caught(Mutation::NoReadRepair, 2, &[1], false);
}
