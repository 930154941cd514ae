//! Sessions that do nothing: what they cost while they are there, how fast one message reaches a
//! room of them, and what is left when they have gone.

use super::{Findings, Member, Pace, Plan, load};
use crate::engine::Engine;
use anyhow::Result;
use std::time::{Duration, Instant};

/// How long the servers have to give memory back.
const AFTER: Duration = Duration::from_secs(30);

pub(super) fn run(
    plan: &Plan,
    engine: &mut Engine,
    sessions: &[Member],
    kib_before: u64,
    findings: &mut Findings,
) -> Result<()> {
    let end = Instant::now() + plan.length;
    while Instant::now() < end {
        engine.turn(Some(end))?;
    }
    let (cpu, kib) = engine.recorder.servers().now();
    engine.recorder.begin();
    let senders = [sessions[0].id];
    let pace = Pace {
        rate: plan.pace.rate,
        ..plan.pace
    };
    load(engine, &senders, pace, plan.length, &mut |_| Ok(()))?;
    let used = engine.recorder.servers().now().0.saturating_sub(cpu);
    engine.recorder.end();
    engine.settle(Duration::from_secs(10))?;
    engine.recorder.label("they leave");
    for member in sessions {
        engine.drop(member.id);
    }
    let (left, mut after) = (Instant::now(), u64::MAX);
    let target = kib_before + kib_before / 10;
    while left.elapsed() < AFTER && after > target {
        engine.turn(Some(Instant::now() + Duration::from_millis(100)))?;
        after = engine.recorder.servers().now().1;
    }
    if !engine.recorder.servers().is_empty() {
        let mut note = |name: &str, value: f64| {
            findings.figures.insert(name.into(), value);
        };
        let sessions = sessions.len() as f64;
        note("memory.before_kib", kib_before as f64);
        note("memory.with_all_kib", kib as f64);
        note("memory.after_they_left_kib", after as f64);
        note("memory.after_they_left_s", left.elapsed().as_secs_f64());
        note(
            "memory.per_session_kib",
            kib.saturating_sub(kib_before) as f64 / sessions,
        );
        note(
            "cpu.idle_cores",
            used.as_secs_f64() / plan.length.as_secs_f64(),
        );
    }
    Ok(())
}
