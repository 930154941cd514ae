//! Everybody loses the connection at once, misses messages, and comes back.

use super::{Findings, Member, Plan, SETTLE};
use crate::engine::Engine;
use anyhow::Result;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// How long the return may take.
const RETURN: Duration = Duration::from_secs(120);

pub(super) fn run(
    plan: &Plan,
    engine: &mut Engine,
    sessions: &[Member],
    findings: &mut Findings,
) -> Result<()> {
    engine.recorder.begin();
    // The first member of each room stays and talks.
    let mut rooms: BTreeMap<&str, usize> = BTreeMap::new();
    for member in sessions {
        rooms.entry(&member.room).or_insert(member.id);
    }
    let stays: Vec<usize> = rooms.into_values().collect();
    let gone: Vec<_> = sessions
        .iter()
        .filter(|member| !stays.contains(&member.id))
        .map(|member| (member, engine.last(member.id).unwrap_or_default()))
        .collect();
    for (member, _) in &gone {
        engine.drop(member.id);
    }
    engine.recorder.label("they miss messages");
    let due = Instant::now();
    for sender in &stays {
        for _ in 0..plan.shape.missed {
            engine.queue(*sender, due);
        }
        engine.flush(*sender);
    }
    engine.settle(SETTLE)?;
    // That they left is part of what they miss.
    let quiet = Instant::now() + Duration::from_secs(1);
    while Instant::now() < quiet {
        engine.turn(Some(quiet))?;
    }
    engine.recorder.label("they come back");
    let (cpu, _) = engine.recorder.servers().now();
    let began = Instant::now();
    for (member, last) in &gone {
        engine.join(&member.room, &member.user, Some(*last))?;
    }
    engine.settle_joins(RETURN)?;
    let took = began.elapsed();
    let used = engine.recorder.servers().now().0.saturating_sub(cpu);
    let mut note = |name: &str, value: f64| {
        findings.figures.insert(name.into(), value);
    };
    note("storm.sessions", gone.len() as f64);
    note("storm.all_s", took.as_secs_f64());
    if !engine.recorder.servers().is_empty() {
        note("storm.cpu_s", used.as_secs_f64());
    }
    Ok(())
}
