//! From what clients noted to the figures of a report. Pure.

use crate::{
    report::{Fault, Second},
    scenario::Scenario,
};
use hdrhistogram::Histogram;
use loadtest::crowd::Outcome;
use std::time::Duration;

/// How long after a fault is over a gap may begin that is still its.
const AFTERMATH: Duration = Duration::from_secs(5);

/// The run as the report has it, except for what the clients cannot know.
pub fn run(scenario: &Scenario, outcome: &Outcome, faults: Vec<Fault>) -> crate::report::Run {
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    let mut all = latencies();
    for answer in &outcome.answers {
        all.saturating_record((answer.at - answer.due.min(answer.at)).as_micros() as u64);
    }
    crate::report::Run {
        scenario: scenario.name.clone(),
        seconds: outcome.talked.as_secs_f64(),
        clients: outcome.clients,
        rooms: outcome.rooms.len(),
        sent: outcome.sent as u64,
        journaled: outcome.answers.len() as u64,
        rejected: outcome.rejected as u64,
        connects: outcome.connects.len() as u64,
        failures_seen: (outcome.refused.len() + outcome.lost.len()) as u64,
        violations: outcome.broken.clone(),
        per_second: per_second(outcome),
        longest_gap_ms: outcome.longest_gap(Duration::ZERO).map_or(0.0, ms),
        gap_after_fault_ms: faults
            .iter()
            .filter_map(|fault| after(outcome, fault))
            .max()
            .map(ms),
        faults,
        p50_us: all.value_at_quantile(0.5),
        p99_us: all.value_at_quantile(0.99),
        wanted: scenario.wanted.told(),
        ..crate::report::Run::default()
    }
}

fn after(outcome: &Outcome, fault: &Fault) -> Option<Duration> {
    let seconds = |s: f64| Duration::from_secs_f64(s.max(0.0));
    outcome.longest_gap_within(
        seconds(fault.at_s),
        seconds(fault.until_s.unwrap_or(fault.at_s)) + AFTERMATH,
    )
}

fn per_second(outcome: &Outcome) -> Vec<Second> {
    let last = outcome
        .answers
        .last()
        .map_or(Duration::ZERO, |answer| answer.at)
        .max(outcome.talked);
    let mut seconds = vec![Second::default(); last.as_secs() as usize + 1];
    let mut histograms: Vec<Option<Histogram<u64>>> = vec![None; seconds.len()];
    for answer in &outcome.answers {
        let second = answer.at.as_secs() as usize;
        seconds[second].journaled += 1;
        let micros = (answer.at - answer.due.min(answer.at)).as_micros() as u64;
        histograms[second]
            .get_or_insert_with(latencies)
            .saturating_record(micros);
    }
    for at in &outcome.connects {
        if let Some(second) = seconds.get_mut(at.as_secs() as usize) {
            second.connects += 1;
        }
    }
    for (second, histogram) in seconds.iter_mut().zip(histograms) {
        if let Some(histogram) = histogram {
            (second.p50_us, second.p99_us) = (
                histogram.value_at_quantile(0.5),
                histogram.value_at_quantile(0.99),
            );
        }
    }
    seconds
}

/// 1 microsecond to 30 minutes, to three digits.
fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 1_800_000_000, 3).expect("the bounds are valid")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario;
    use loadtest::crowd::Answer;

    fn answer(due: u64, at: u64) -> Answer {
        Answer {
            room: 0,
            due: Duration::from_millis(due),
            at: Duration::from_millis(at),
        }
    }

    #[test]
    fn a_gap_belongs_to_the_fault_that_it_follows_or_spans() {
        let answers = (0..100)
            .map(|n| answer(n * 100, n * 100 + 10))
            .filter(|it| it.at.as_millis() < 2_000 || it.at.as_millis() > 3_500);
        let outcome = Outcome {
            talked: Duration::from_secs(10),
            rooms: vec!["a".into()],
            answers: answers.collect(),
            ..Outcome::default()
        };
        let scenario = scenario::all(1, Duration::from_secs(60), 1, 1).remove(0);
        let fault = |at_s, until_s| {
            vec![Fault {
                at_s,
                until_s,
                what: String::new(),
            }]
        };
        let gap = |faults| {
            run(&scenario, &outcome, faults)
                .gap_after_fault_ms
                .unwrap()
                .round()
        };
        assert_eq!(gap(fault(2.0, None)), 1510.0);
        assert_eq!(gap(fault(1.0, Some(2.5))), 1600.0);
        assert_eq!(gap(fault(6.0, None)), 100.0);
        assert_eq!(
            run(&scenario, &outcome, Vec::new()).gap_after_fault_ms,
            None
        );
    }

    #[test]
    fn a_second_has_the_answers_that_came_in_it() {
        let outcome = Outcome {
            talked: Duration::from_secs(2),
            rooms: vec!["a".into()],
            answers: vec![answer(0, 500), answer(900, 1100), answer(950, 1900)],
            connects: vec![Duration::from_millis(1500)],
            ..Outcome::default()
        };
        let seconds = per_second(&outcome);
        assert_eq!(
            seconds
                .iter()
                .map(|second| (second.journaled, second.connects))
                .collect::<Vec<_>>(),
            [(1, 0), (2, 1), (0, 0)]
        );
        assert!(seconds[1].p99_us.abs_diff(950_000) < 1_000, "{seconds:?}");
    }
}
