//! Many runs, none of which may break a promise; and runs that are what they claim to be.

use simulation::{
    run::{Conditions, run_in},
    seeds,
};
use std::{env, thread};

/// Seeds of a usual test run; `SEEDS` sets another number, `FROM` the first, `FAILURES` after how
/// many failed ones it ends.
const SEEDS: u64 = 500;

/// Seeds in which rooms go; `GOING` sets another number.
const GOING: u64 = 20;

/// Seeds in which the database is put back; `BACK` sets another number.
const BACK: u64 = 50;

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number"))
    })
}

#[test]
fn no_seed_breaks_a_promise() {
    let from = number("FROM", 0);
    let jobs = thread::available_parallelism().map_or(1, Into::into);
    let summary = seeds::all(
        Conditions::Rough,
        from..from + number("SEEDS", SEEDS),
        jobs,
        number("FAILURES", 5) as usize,
    );
    println!("{} seeds: {}", summary.runs, summary.count);
    let failed = summary.failed.iter().map(|outcome| {
        let seed = outcome.seed;
        format!(
            "seed {seed} (cargo xtask simulate --from {seed} --trace):\n  {}",
            outcome.violations.join("\n  ")
        )
    });
    let failed: Vec<String> = failed.collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    // Runs in which nothing happens would pass as well.
    if summary.runs >= 500 {
        let needed = [
            "takeovers",
            "duplicates answered",
            "pages",
            "closed 4003",
            "closed 4010",
            "told bye",
            "runs on the bus",
            "runs in the database",
        ];
        let missing: Vec<_> = needed
            .into_iter()
            .filter(|what| summary.count.of(what) == 0)
            .collect();
        assert!(missing.is_empty(), "never happened: {missing:?}");
    }
}

#[test]
fn a_room_that_goes_is_never_shown_in_the_next_one() {
    let from = number("FROM", 0);
    let jobs = thread::available_parallelism().map_or(1, Into::into);
    let seeds = from..from + number("GOING", GOING);
    let summary = seeds::all(Conditions::RoomsGo, seeds, jobs, 5);
    println!("{} seeds: {}", summary.runs, summary.count);
    let failed = summary.failed.iter();
    let failed = failed.map(|it| format!("seed {}:\n  {}", it.seed, it.violations.join("\n  ")));
    let failed: Vec<String> = failed.collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    // Rooms that never go would pass as well.
    let (lives, ended) = (
        summary.count.of("lives"),
        summary.count.of("rooms that are gone in the end"),
    );
    assert!(
        summary.runs < GOING || lives > ended,
        "{lives} lives of {ended} rooms"
    );
}

/// What was journaled and the bus has still is there again: nothing that anybody was shown or told
/// is missing, or another.
#[test]
fn what_the_bus_has_is_there_again_after_the_database_was_put_back() {
    let from = number("FROM", 0);
    let jobs = thread::available_parallelism().map_or(1, Into::into);
    let seeds = from..from + number("BACK", BACK);
    let summary = seeds::all(Conditions::PutBack, seeds, jobs, 5);
    println!("{} seeds: {}", summary.runs, summary.count);
    let failed = summary.failed.iter();
    let failed = failed.map(|it| format!("seed {}:\n  {}", it.seed, it.violations.join("\n  ")));
    let failed: Vec<String> = failed.collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(summary.count.of("PutBack") > 0);
}

#[cfg(tokio_unstable)] // Without it tokio takes no seed; .cargo/config.toml sets it.
#[test]
fn a_seed_does_the_same_again() {
    for seed in 0..10 {
        let (one, other) = (
            run_in(Conditions::Rough, seed),
            run_in(Conditions::Rough, seed),
        );
        assert_eq!(
            (one.digest, one.count),
            (other.digest, other.count),
            "seed {seed}"
        );
    }
}
