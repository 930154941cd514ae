//! The model notices whatever is left out of the fencing.

use model::{
    Fencing,
    Level::{Quorums, Replicas},
    Mutation, Scenario,
};
use stateright::{Checker, Expectation, HasDiscoveries, Model};

/// Asserts that something that must always hold does not, at both levels, and says what and after
/// how many steps.
fn is_noticed(mutation: Mutation, scenario: Scenario) {
    for level in [Quorums, Replicas] {
        let (steps, failed) = shortest(&Fencing(Scenario {
            level,
            mutation: Some(mutation),
            ..scenario.clone()
        }));
        println!(
            "{mutation:?}, {level:?}: after {steps} steps: {}",
            failed.join(", ")
        );
    }
}

/// The fewest steps that lead to a failure, and what fails there. One thread, so that it is the
/// same each time.
fn shortest(model: &Fencing) -> (usize, Vec<&'static str>) {
    let mut shortest = None;
    let mut depth = 0;
    loop {
        let checker = model
            .clone()
            .checker()
            .target_max_depth(depth)
            .finish_when(HasDiscoveries::AnyFailures)
            .spawn_bfs()
            .join();
        let always = |name: &str| {
            model.properties().iter().any(|property| {
                property.name == name && property.expectation == Expectation::Always
            })
        };
        let failed = checker
            .discoveries()
            .into_iter()
            .filter(|(name, _)| always(name))
            .map(|(name, path)| (path.into_actions().len(), name));
        let Some((steps, name)) = failed.min() else {
            break;
        };
        shortest = Some((steps, vec![name]));
        // What is deeper is not looked at: the first state has the depth 1.
        depth = steps + 1;
    }
    shortest.unwrap_or_else(|| {
        panic!(
            "{:?} is not noticed at the level of {:?}",
            model.0.mutation, model.0.level
        )
    })
}

fn owners(owners: usize, commands: u8, sizes: &'static [usize]) -> Scenario {
    Scenario {
        owners,
        commands,
        sizes,
        ..Scenario::default()
    }
}

#[test]
fn a_commit_that_is_not_confirmed() {
    is_noticed(Mutation::NoConfirm, owners(2, 1, &[1]));
}

#[test]
fn a_confirmation_before_the_write() {
    is_noticed(Mutation::ConfirmBeforeWrite, owners(2, 1, &[1]));
}

#[test]
fn a_stranger_that_opens_a_room_of_another_shard() {
    is_noticed(Mutation::StrangerOpens, owners(3, 2, &[1]));
}

#[test]
fn an_opening_that_is_not_confirmed() {
    is_noticed(Mutation::OpeningNotConfirmed, owners(3, 1, &[1]));
}

#[test]
fn a_last_commit_that_is_not_written_again() {
    is_noticed(Mutation::LastCommitNotRewritten, owners(2, 1, &[1]));
}

#[test]
fn a_last_commit_of_which_only_one_row_is_written_again() {
    is_noticed(Mutation::OnlyLastRowRewritten, owners(2, 2, &[2]));
}

#[test]
fn a_lower_epoch_that_counts() {
    is_noticed(Mutation::LowestEpochWins, owners(3, 1, &[1]));
}

#[test]
fn a_walk_that_does_not_stop_where_the_epoch_decreases() {
    is_noticed(Mutation::NoStopAtDecrease, owners(3, 3, &[1, 2]));
}

#[test]
fn a_confirmation_of_what_was_lost_and_not_written_again() {
    is_noticed(
        Mutation::ConfirmedNotWrittenAgain,
        Scenario {
            crashes: 1,
            ..owners(2, 1, &[1])
        },
    );
}

#[test]
fn a_snapshot_of_unconfirmed_events() {
    is_noticed(
        Mutation::SnapshotUnconfirmed,
        Scenario {
            snapshots: true,
            ..owners(3, 1, &[1])
        },
    );
}

#[test]
fn a_tail_that_is_read_before_the_claim_is_seen() {
    is_noticed(Mutation::ClaimNotRead, owners(2, 1, &[1]));
}

#[test]
fn a_claim_that_only_one_replica_has() {
    is_noticed(Mutation::ClaimNotRepaired, owners(2, 1, &[1]));
}

#[test]
fn a_page_that_repairs_a_part_of_a_commit() {
    is_noticed(Mutation::JournalReadRepaired, owners(3, 2, &[2]));
}

#[test]
fn an_opening_that_decides_again_what_to_write() {
    is_noticed(Mutation::OpeningReadAgain, owners(2, 1, &[1]));
}
