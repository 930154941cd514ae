//! A room with very many messages, to which somebody comes back who has missed only the last ones:
//! what lies below must cost nothing.

use super::{Findings, Member, Plan, SETTLE};
use crate::engine::{Engine, Id};
use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// Messages that are under way while the room fills.
const AT_ONCE: usize = 512;
/// How long one return may take.
const RETURN: Duration = Duration::from_secs(30);

pub(super) fn run(
    plan: &Plan,
    engine: &mut Engine,
    sessions: &[Member],
    findings: &mut Findings,
) -> Result<()> {
    let [talker, goers @ ..] = sessions else {
        bail!("deep needs a room");
    };
    if goers.is_empty() || plan.rooms > 1 {
        bail!("deep needs one room, and at least 2 members");
    }
    for goer in goers {
        engine.drop(goer.id);
    }
    engine.recorder.label("the room fills");
    fill(engine, talker.id, plan.shape.depth)?;
    engine.recorder.label("members come back");
    engine.recorder.begin();
    let (start, every) = (
        Instant::now(),
        Duration::from_secs_f64(1.0 / plan.pace.rate),
    );
    let mut returns = 0_u32;
    while start.elapsed() < plan.length {
        let goer = &goers[returns as usize % goers.len()];
        let head = engine.last(talker.id).unwrap_or_default();
        let since = head.saturating_sub(plan.shape.missed as u64);
        let id = engine.join(&goer.room, &goer.user, Some(since))?;
        engine.settle_joins(RETURN)?;
        engine.drop(id);
        returns += 1;
        while Instant::now() < start + every * returns {
            engine.turn(Some(start + every * returns))?;
        }
    }
    findings.moving = true;
    findings
        .figures
        .insert("deep.returns".into(), f64::from(returns));
    let head = engine.last(talker.id).unwrap_or_default();
    findings.figures.insert("deep.head".into(), head as f64);
    Ok(())
}

fn fill(engine: &mut Engine, talker: Id, messages: usize) -> Result<()> {
    let mut sent = 0;
    while sent < messages {
        let now = Instant::now();
        let batch = AT_ONCE.min(messages - sent);
        (0..batch).for_each(|_| engine.queue(talker, now));
        engine.flush(talker);
        sent += batch;
        let late = now + SETTLE;
        while !engine.is_seen_by_all() {
            if Instant::now() > late || !engine.is_live(talker) {
                bail!("the room does not fill: {sent} messages were sent, and not all came back");
            }
            engine.turn(Some(late))?;
        }
    }
    Ok(())
}
