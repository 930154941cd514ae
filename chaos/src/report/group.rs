//! Runs of the same scenario on the same journal, as one line of a table.

use super::{Report, Run, Sealed, text};

/// One or more runs of one scenario on one journal.
pub(super) struct Group<'a> {
    pub(super) scenario: &'a str,
    pub(super) journal: &'a str,
    pub(super) runs: Vec<&'a Run>,
}

/// In the order in which they were first made.
pub(super) fn of(reports: &[Report]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for run in reports.iter().flat_map(|report| &report.runs) {
        match groups
            .iter_mut()
            .find(|group| group.scenario == run.scenario && group.journal == run.journal)
        {
            Some(group) => group.runs.push(run),
            None => groups.push(Group {
                scenario: &run.scenario,
                journal: &run.journal,
                runs: vec![run],
            }),
        }
    }
    groups
}

/// The heads of the columns that [`Group::cells`] fills.
pub(super) const HEADS: [&str; 15] = [
    "scenario",
    "journal",
    "runs",
    "clients",
    "sent",
    "journaled",
    "rejected",
    "connects",
    "failures seen",
    "longest gap",
    "after a fault",
    "p50 / p99",
    "broken promises",
    "wanted",
    "sealed: sent / read / epochs",
];

impl Group<'_> {
    pub(super) fn met(&self) -> bool {
        self.runs
            .iter()
            .all(|run| run.met && run.violations.is_empty())
    }

    pub(super) fn broken(&self) -> usize {
        self.runs.iter().map(|run| run.violations.len()).sum()
    }

    /// What there was in sealed rooms.
    fn sealed(&self) -> String {
        let sealed: Vec<_> = self
            .runs
            .iter()
            .filter_map(|run| run.sealed.as_ref())
            .collect();
        let sum = |of: fn(&Sealed) -> u64| text::count(sealed.iter().map(|it| of(it)).sum());
        match sealed.is_empty() {
            true => "-".to_owned(),
            false => format!(
                "{} / {} / {}",
                sum(|it| it.counts.journaled),
                sum(|it| it.counts.read),
                sum(|it| it.counts.epochs)
            ),
        }
    }

    /// All figures but the verdict.
    pub(super) fn cells(&self) -> [String; 15] {
        let sum = |of: fn(&Run) -> u64| text::count(self.runs.iter().map(|run| of(run)).sum());
        let most = |of: fn(&Run) -> u64| {
            text::micros(self.runs.iter().map(|run| of(run)).max().unwrap_or(0))
        };
        let first = self.runs.first();
        let load = first.map_or(String::new(), |run| {
            format!(
                "{} in {} rooms, {}",
                run.clients,
                run.rooms,
                text::duration(run.seconds)
            )
        });
        let wanted = first
            .and_then(|run| run.wanted.clone())
            .unwrap_or_else(|| "promises kept".to_owned());
        [
            self.scenario.to_owned(),
            self.journal.to_owned(),
            self.runs.len().to_string(),
            load,
            sum(|run| run.sent),
            sum(|run| run.journaled),
            sum(|run| run.rejected),
            sum(|run| run.connects),
            sum(|run| run.failures_seen),
            spread(self.runs.iter().map(|run| run.longest_gap_ms).collect()),
            spread(
                self.runs
                    .iter()
                    .filter_map(|run| run.gap_after_fault_ms)
                    .collect(),
            ),
            format!("{} / {}", most(|run| run.p50_us), most(|run| run.p99_us)),
            self.broken().to_string(),
            wanted,
            self.sealed(),
        ]
    }
}

/// A figure of one run; of several: the median and the 99th of 100, which is the greatest when
/// there are fewer.
fn spread(mut figures: Vec<f64>) -> String {
    figures.sort_by(f64::total_cmp);
    let rank = |part: f64| {
        figures[((part * figures.len() as f64).ceil() as usize).clamp(1, figures.len()) - 1]
    };
    match figures.len() {
        0 => "-".to_owned(),
        1 => text::millis(figures[0]),
        _ => format!(
            "p50 {}, p99 {}",
            text::millis(rank(0.5)),
            text::millis(rank(0.99))
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_figures_are_a_median_and_the_worst() {
        assert_eq!(spread(vec![]), "-");
        assert_eq!(spread(vec![7.0]), "7.0 ms");
        assert_eq!(
            spread((1..=20).rev().map(|n| f64::from(n) * 100.0).collect()),
            "p50 1.00 s, p99 2.00 s"
        );
    }

    #[test]
    fn one_bad_run_of_many_is_a_bad_line() {
        let run = |met| Run {
            scenario: "owner-kill".into(),
            journal: "bus".into(),
            met,
            ..Run::default()
        };
        let report = |runs| Report {
            runs,
            ..Report::default()
        };
        let reports = [report(vec![run(true), run(true)]), report(vec![run(false)])];
        let groups = of(&reports);
        assert_eq!(
            (groups.len(), groups[0].runs.len(), groups[0].met()),
            (1, 3, false)
        );
        assert!(of(&reports[..1])[0].met());
    }
}
