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

/// Explores until something that must always hold does not; asserts that this happens. Of two owners the shortest way there is near; of three the
/// depths are faster reached than the breadth.
fn is_caught(mutation: Mutation, owners: usize, commits: &[usize]) {
    let model = Fencing { owners, commits: commits.to_vec(), snapshots: false, mutation: Some(mutation) };
    let checker = model.checker().threads(2).finish_when(HasDiscoveries::AnyFailures);
    let found = if owners == 2 { failures(checker.spawn_bfs().join()) } else { failures(checker.spawn_dfs().join()) };
    println!("{mutation:?} is noticed: {found:?}");
    assert!(!found.is_empty(), "{mutation:?} is not noticed");
}

/// What must always hold and does not, and after how many steps.
fn failures(checker: impl Checker<Fencing>) -> Vec<(&'static str, usize)> {
    let always = |name: &str| !name.starts_with("the last owner");
    let found = checker.discoveries().into_iter().filter(|(name, _)| always(name));
    found.map(|(name, path)| (name, path.into_actions().len())).collect()
}

#[test]
fn two_owners_with_a_commit_of_two_rows() {
    holds("2 owners, a commit of 2 rows", Fencing { owners: 2, commits: vec![2], snapshots: false, mutation: None });
}

#[test]
fn two_owners_with_snapshots() {
    holds("2 owners, a commit of 2 rows, snapshots", Fencing { owners: 2, commits: vec![2], snapshots: true, mutation: None });
}

#[test]
fn a_commit_that_is_not_confirmed_is_noticed() {
    is_caught(Mutation::NoConfirm, 2, &[1, 1]);
}

#[test]
fn a_confirmation_before_the_write_is_noticed() {
    is_caught(Mutation::ConfirmBeforeWrite, 2, &[1, 1]);
}

#[test]
fn a_last_commit_that_is_not_written_again_is_noticed() {
    is_caught(Mutation::LastCommitNotRewritten, 3, &[1]);
}

#[test]
fn a_last_commit_of_which_only_one_row_is_written_again_is_noticed() {
    is_caught(Mutation::OnlyLastRowRewritten, 3, &[2]);
}

#[test]
fn a_tail_that_is_read_before_the_claim_is_seen_is_noticed() {
    is_caught(Mutation::ClaimNotRead, 2, &[1, 1]);
}

#[test]
fn a_claim_that_only_one_replica_has_is_noticed() {
    is_caught(Mutation::NoReadRepair, 2, &[1]);
}
