//! Members come and go while others talk. Every second one that comes back resumes, and has to get
//! exactly what it missed.

use super::{Findings, Member, Plan, load};
use crate::engine::Engine;
use anyhow::Result;
use std::time::{Duration, Instant};

/// Of how many sessions one stays and talks.
const STAYS: usize = 4;
/// Sessions that are away at a time.
const AWAY: usize = 20;

pub(super) fn run(
    plan: &Plan,
    engine: &mut Engine,
    sessions: &[Member],
    findings: &mut Findings,
) -> Result<()> {
    let senders: Vec<_> = sessions.iter().step_by(STAYS).map(|it| it.id).collect();
    let mut goers: Vec<Member> = sessions
        .iter()
        .enumerate()
        .filter(|(n, _)| n % STAYS != 0)
        .map(|(_, member)| member.clone())
        .collect();
    if goers.is_empty() {
        anyhow::bail!("churn needs at least 2 members");
    }
    let mut away: Vec<(usize, u64)> = Vec::new();
    let every = Duration::from_secs_f64(1.0 / plan.shape.churn.max(0.1));
    let (start, mut moves) = (Instant::now(), 0_u32);
    engine.recorder.begin();
    load(engine, &senders, plan.pace, plan.length, &mut |engine| {
        while start + every * moves <= Instant::now() {
            if away.len() >= AWAY.min(goers.len()) {
                let (goer, last) = away.remove(0);
                let goer = &mut goers[goer];
                let since = (moves / 2 % 2 == 0).then_some(last);
                goer.id = engine.join(&goer.room, &goer.user, since)?;
            } else {
                let goer = moves as usize % goers.len();
                if let Some(last) = engine.last(goers[goer].id) {
                    engine.drop(goers[goer].id);
                    away.push((goer, last));
                }
            }
            moves += 1;
        }
        Ok(())
    })?;
    engine.settle_joins(Duration::from_secs(30))?;
    findings.moving = true;
    findings
        .figures
        .insert("churn.moves".into(), f64::from(moves));
    Ok(())
}
