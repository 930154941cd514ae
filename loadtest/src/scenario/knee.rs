//! The highest rate at which answers and last members are still fast enough: steps upwards, then
//! between the last that passed and the first that did not.

use super::{Findings, Pace, Plan, load};
use crate::{
    engine::{Engine, Id},
    measure::{Histogram, Quantiles},
};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// From one step to the next.
const FACTOR: f64 = 1.6;
/// Steps between the last that passed and the first that did not.
const BETWEEN: usize = 3;
/// More messages per second are not tried.
const MOST: f64 = 200_000.0;
/// How long a step may take to settle.
const SETTLE: Duration = Duration::from_secs(10);

/// One rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Messages per second that were to be sent.
    pub rate: f64,
    /// Messages per second that were answered.
    pub answered: f64,
    /// From when a message was due to its answer.
    pub answer: Quantiles,
    /// The same to the last member.
    pub last: Quantiles,
    /// How late messages were sent.
    pub late: Quantiles,
    /// CPU of the servers.
    pub server_cores: f64,
    /// CPU of this generator.
    pub own_cores: f64,
    /// Whether it was fast enough, and nothing was refused.
    pub passed: bool,
}

pub(super) fn run(
    plan: &Plan,
    engine: &mut Engine,
    senders: &[Id],
    findings: &mut Findings,
) -> Result<()> {
    engine.recorder.begin();
    let (mut good, mut bad, mut rate) = (0.0, None, plan.pace.rate);
    let mut between = 0;
    while rate <= MOST && between < BETWEEN {
        engine.recorder.label(format!("{rate:.0} messages/s"));
        let step = one(plan, engine, senders, rate)?;
        if step.passed {
            good = rate;
        } else {
            bad = Some(rate);
        }
        findings.steps.push(step);
        rate = match bad {
            None => rate * FACTOR,
            Some(bad) => {
                between += 1;
                (good + bad) / 2.0
            }
        };
    }
    findings.figures.insert("knee".into(), good);
    let failed = findings.steps.iter().filter(|step| !step.passed);
    let by_us = failed.clone().any(|step| step.own_cores > 0.95);
    if by_us {
        findings.notes.push(
            "above the knee the generator was at the limit of its core: the knee may be higher"
                .into(),
        );
    }
    if bad.is_none() {
        findings.notes.push(format!(
            "no step failed up to {MOST} messages/s: the knee is higher"
        ));
    }
    Ok(())
}

fn one(plan: &Plan, engine: &mut Engine, senders: &[Id], rate: f64) -> Result<Step> {
    engine.recorder.new_step();
    let (before, errors) = (engine.recorder.total, engine.recorder.total.errors);
    let seconds = engine.recorder.seconds.len();
    let (cpu, _) = engine.recorder.servers().now();
    let pace = Pace { rate, ..plan.pace };
    load(engine, senders, pace, plan.length, &mut |_| Ok(()))?;
    let in_time = engine.recorder.total.answered - before.answered;
    let used = engine.recorder.servers().now().0.saturating_sub(cpu);
    let own: Vec<f64> = engine.recorder.seconds[seconds..]
        .iter()
        .map(|second| second.own_cores)
        .collect();
    engine.settle(SETTLE)?;
    let recorder = &engine.recorder;
    let quantiles = |histogram: &Histogram| Quantiles::of(histogram);
    let (answer, last) = (
        quantiles(&recorder.answer.due),
        quantiles(&recorder.last.due),
    );
    let length = plan.length.as_secs_f64();
    let passed = answer.p99 <= plan.shape.limit
        && last.p99 <= plan.shape.limit
        && recorder.total.errors == errors;
    Ok(Step {
        rate,
        answered: in_time as f64 / length,
        answer,
        last,
        late: quantiles(&recorder.late),
        server_cores: used.as_secs_f64() / length,
        own_cores: own.iter().sum::<f64>() / own.len().max(1) as f64,
        passed,
    })
}
