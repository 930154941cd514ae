//! The fencing holds in every interleaving.

use model::{
    Fencing,
    Level::{self, Quorums, Replicas},
    Scenario,
};
use stateright::{Checker, Model};
use std::time::Instant;

/// Explores all states and asserts that every property holds: what must always, in each; what must
/// be possible, in some.
fn holds(scenario: Scenario) {
    let Scenario {
        level,
        owners,
        commands,
        sizes,
        snapshots,
        reopens,
        crashes,
        ..
    } = scenario;
    let with = if snapshots { ", snapshots" } else { "" };
    let name = format!(
        "{level:?}: {owners} owners, {commands} commands in commits of {sizes:?}{with}, opened \
         again {reopens} times, {crashes} crashes"
    );
    let started = Instant::now();
    let checker = Fencing(scenario).checker().threads(2).spawn_bfs().join();
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    println!(
        "{name}: {states} states, depth {depth}, {:.1} s",
        started.elapsed().as_secs_f32()
    );
    assert!(checker.is_done(), "{name}: every state was explored");
    checker.assert_properties();
}

fn scenario(level: Level, owners: usize, commands: u8) -> Scenario {
    Scenario {
        level,
        owners,
        commands,
        sizes: &[1, 2],
        snapshots: true,
        ..Scenario::default()
    }
}

#[test]
fn two_owners_with_many_commits() {
    holds(scenario(Replicas, 2, 4));
}

#[test]
fn two_owners_that_open_the_room_again() {
    holds(Scenario {
        reopens: 1,
        ..scenario(Replicas, 2, 3)
    });
}

#[test]
fn three_owners() {
    holds(scenario(Replicas, 3, 3));
}

#[test]
fn three_owners_with_many_commits_over_quorums() {
    holds(scenario(Quorums, 3, 5));
}

#[test]
fn three_owners_that_open_the_room_again_over_quorums() {
    holds(Scenario {
        reopens: 1,
        ..scenario(Quorums, 3, 3)
    });
}

#[test]
fn replicas_that_lose_what_was_not_confirmed() {
    holds(Scenario {
        crashes: 2,
        ..scenario(Replicas, 2, 3)
    });
}

#[test]
fn replicas_that_lose_what_was_not_confirmed_over_quorums() {
    holds(Scenario {
        crashes: 1,
        ..scenario(Quorums, 3, 3)
    });
}

#[test]
fn four_owners_over_quorums() {
    holds(scenario(Quorums, 4, 3));
}
