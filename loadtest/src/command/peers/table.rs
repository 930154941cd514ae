//! What came of all turns: medians, and ratios to the bare server within a round.

use super::Exit;
use serde::Serialize;
use std::{collections::BTreeMap, fmt};

/// What all others are held against.
const BASE: &str = "bare";

/// What came of one turn.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    Measured {
        figures: BTreeMap<String, f64>,
        /// What was refused or closed, and how often.
        errors: BTreeMap<String, u64>,
    },
    /// The generator was measured, and how that shows.
    Bottleneck(String),
    /// Messages were lost, repeated, or out of order.
    Broken(String),
    Failed(String),
}

impl Outcome {
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Measured { .. } => Exit::Good,
            Self::Bottleneck(_) => Exit::Bottleneck,
            Self::Broken(_) => Exit::Broken,
            Self::Failed(_) => Exit::Failed,
        }
    }

    fn figure(&self, name: &str) -> Result<f64, String> {
        match self {
            Self::Measured { figures, .. } => {
                let found = figures.get(name).copied();
                found.ok_or_else(|| format!("there is no figure {name}"))
            }
            Self::Bottleneck(why) => Err(format!("the generator was the bottleneck: {why}")),
            Self::Broken(what) => Err(format!("promises were broken: {what}")),
            Self::Failed(why) => Err(why.clone()),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Turn {
    pub(super) round: usize,
    pub(super) system: String,
    pub(super) outcome: Outcome,
}

/// See the module.
#[derive(Debug, Serialize)]
pub(super) struct Table {
    command: String,
    figure: String,
    turns: Vec<Turn>,
    /// What was not measured at all, and why.
    skipped: BTreeMap<String, String>,
}

impl Table {
    pub(super) fn new(figure: &str) -> Self {
        Self {
            command: std::env::args().collect::<Vec<_>>().join(" "),
            figure: figure.to_owned(),
            turns: Vec::new(),
            skipped: BTreeMap::new(),
        }
    }

    pub(super) fn skip(&mut self, name: String, why: String) {
        println!("  skipped: {why}");
        self.skipped.insert(name, why);
    }

    pub(super) fn add(&mut self, turn: Turn) {
        let (round, system) = (turn.round, &turn.system);
        match turn.outcome.figure(&self.figure) {
            Ok(value) => println!("  round {round}  {system:<16} {value:>14.2}"),
            Err(why) => println!("  round {round}  {system:<16} {:>14}  {why}", "-"),
        }
        if let Outcome::Measured { errors, .. } = &turn.outcome {
            for (what, count) in errors {
                println!("           {system:<16} {what}: {count}");
            }
        }
        self.turns.push(turn);
    }

    /// By its round.
    fn values(&self, system: &str) -> BTreeMap<usize, f64> {
        let turns = self.turns.iter().filter(|turn| turn.system == system);
        turns
            .filter_map(|turn| Some((turn.round, turn.outcome.figure(&self.figure).ok()?)))
            .collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "  {}: median, and the median of the ratios to bare within a round [low-high]",
            self.figure
        )?;
        let base = self.values(BASE);
        let mut systems: Vec<&str> = Vec::new();
        for turn in &self.turns {
            if !systems.contains(&turn.system.as_str()) {
                systems.push(&turn.system);
            }
        }
        for system in systems {
            let values = self.values(system);
            let ratios = values
                .iter()
                .filter_map(|(round, value)| Some(value / base.get(round)?));
            let ratios = sorted(ratios.collect());
            let all = sorted(values.into_values().collect());
            match (median(&all), median(&ratios)) {
                (Some(value), Some(ratio)) => {
                    let (low, high) = (ratios[0], ratios[ratios.len() - 1]);
                    writeln!(
                        out,
                        "  {system:<16} {value:>14.2}  {ratio:.2} [{low:.2}-{high:.2}]"
                    )?;
                }
                (Some(value), None) => writeln!(out, "  {system:<16} {value:>14.2}")?,
                (None, _) => writeln!(out, "  {system:<16} {:>14}", "-")?,
            }
        }
        Ok(())
    }
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// Of sorted values.
fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    Some(match sorted.len() {
        0 => return None,
        even if even.is_multiple_of(2) => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&sorted(vec![3.0, 1.0, 2.0])), Some(2.0));
        assert_eq!(median(&sorted(vec![4.0, 1.0, 2.0, 3.0])), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_turn_that_was_not_measured_leaves_the_others_their_ratios() {
        let mut table = Table::new("x");
        let mut add = |round, system: &str, value: Option<f64>| {
            let outcome = value.map_or(Outcome::Failed("gone".into()), |value| Outcome::Measured {
                figures: BTreeMap::from([("x".into(), value)]),
                errors: BTreeMap::new(),
            });
            table.add(Turn {
                round,
                system: system.into(),
                outcome,
            });
        };
        for (round, bare, other) in [(1, 2.0, Some(4.0)), (2, 1.0, None), (3, 4.0, Some(2.0))] {
            add(round, "bare", Some(bare));
            add(round, "other", other);
        }
        let shown = table.to_string();
        assert!(
            shown.contains("bare                       2.00  1.00 [1.00-1.00]"),
            "{shown}"
        );
        assert!(
            shown.contains("other                      3.00  1.25 [0.50-2.00]"),
            "{shown}"
        );
    }
}
