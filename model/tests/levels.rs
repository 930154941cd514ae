//! The reductions lose nothing: what clients can be told is the same without them.

use model::{Fencing, Level, Mutation, Scenario, record::Record};
use stateright::Model;
use std::collections::{HashSet, VecDeque};

/// Everything that clients can have been told at some moment.
fn told(scenario: &Scenario) -> HashSet<Record> {
    let model = Fencing(scenario.clone());
    let mut seen: HashSet<_> = model.init_states().into_iter().collect();
    let mut pending: VecDeque<_> = seen.iter().cloned().collect();
    while let Some(state) = pending.pop_front() {
        for next in model.next_states(&state) {
            if seen.insert(next.clone()) {
                pending.push_back(next);
            }
        }
    }
    println!(
        "{:?}, eager {}, {:?}: {} states",
        scenario.level,
        scenario.eager,
        scenario.mutation,
        seen.len()
    );
    seen.into_iter().map(|state| state.record).collect()
}

/// The right fencing, and some wrong ones, with which clients can be told much more.
fn scenarios() -> impl Iterator<Item = Scenario> {
    let right = Scenario {
        owners: 2,
        commands: 2,
        sizes: &[1, 2],
        snapshots: true,
        ..Scenario::default()
    };
    let mutations = [
        None,
        Some(Mutation::NoConfirm),
        Some(Mutation::OpeningNotConfirmed),
        Some(Mutation::OpeningReadAgain),
    ];
    mutations.into_iter().map(move |mutation| Scenario {
        mutation,
        ..right.clone()
    })
}

#[test]
fn writes_that_arrive_at_any_time_add_nothing() {
    for scenario in scenarios() {
        let lazy = Scenario {
            level: Level::Replicas,
            ..scenario
        };
        assert_eq!(
            told(&lazy),
            told(&Scenario {
                eager: true,
                ..lazy.clone()
            }),
            "{:?}",
            lazy.mutation
        );
    }
}

#[test]
fn whatever_replicas_can_do_quorums_can() {
    for scenario in scenarios() {
        let quorums = told(&scenario);
        let replicas = told(&Scenario {
            level: Level::Replicas,
            ..scenario.clone()
        });
        assert!(replicas.is_subset(&quorums), "{:?}", scenario.mutation);
    }
}
