//! What `loadtest peers` has written: every figure of every turn.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct Turns {
    turns: Vec<Turn>,
}

#[derive(Deserialize)]
struct Turn {
    round: usize,
    system: String,
    outcome: Outcome,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Measured { figures: BTreeMap<String, f64> },
    Bottleneck(String),
    Broken(String),
    Failed(String),
}

/// Sorted values of some rounds.
pub(super) struct Spread(Vec<f64>);

impl Spread {
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut all: Vec<f64> = values.into_iter().collect();
        all.sort_by(f64::total_cmp);
        (!all.is_empty()).then_some(Self(all))
    }

    pub(super) fn median(&self) -> f64 {
        let (all, middle) = (&self.0, self.0.len() / 2);
        match all.len().is_multiple_of(2) {
            true => f64::midpoint(all[middle - 1], all[middle]),
            false => all[middle],
        }
    }

    pub(super) fn low(&self) -> f64 {
        self.0[0]
    }

    pub(super) fn high(&self) -> f64 {
        self.0[self.0.len() - 1]
    }
}

impl Turns {
    /// All systems, as they had their turns.
    pub(super) fn systems(&self) -> Vec<&str> {
        let mut all: Vec<&str> = Vec::new();
        for turn in &self.turns {
            if !all.contains(&turn.system.as_str()) {
                all.push(&turn.system);
            }
        }
        all
    }

    fn by_round(&self, system: &str, figure: &str) -> BTreeMap<usize, f64> {
        let turns = self.turns.iter().filter(|turn| turn.system == system);
        turns
            .filter_map(|turn| match &turn.outcome {
                Outcome::Measured { figures } => Some((turn.round, *figures.get(figure)?)),
                _ => None,
            })
            .collect()
    }

    pub(super) fn spread(&self, system: &str, figure: &str) -> Option<Spread> {
        Spread::of(self.by_round(system, figure).into_values())
    }

    /// Of two systems, within a round.
    pub(super) fn ratio(&self, system: &str, base: &str, figure: &str) -> Option<Spread> {
        let base = self.by_round(base, figure);
        let values = self.by_round(system, figure);
        Spread::of(
            values
                .iter()
                .filter_map(|(round, value)| Some(value / base.get(round)?)),
        )
    }

    /// Why a turn of a system counts nothing.
    pub(super) fn why_not(&self, system: &str) -> Option<String> {
        let turns = self.turns.iter().filter(|turn| turn.system == system);
        turns
            .filter_map(|turn| match &turn.outcome {
                Outcome::Measured { .. } => None,
                Outcome::Bottleneck(why) => {
                    Some(format!("the generator was the bottleneck: {why}"))
                }
                Outcome::Broken(what) => Some(format!("promises were broken: {what}")),
                Outcome::Failed(why) => Some(why.clone()),
            })
            .next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TURNS: &str = r#"{"turns":[
        {"round":1,"system":"bare","outcome":{"measured":{"figures":{"x":2.0},"errors":{}}}},
        {"round":1,"system":"other","outcome":{"measured":{"figures":{"x":1.0},"errors":{}}}},
        {"round":2,"system":"bare","outcome":{"measured":{"figures":{"x":4.0},"errors":{}}}},
        {"round":2,"system":"other","outcome":{"failed":"gone"}}]}"#;

    #[test]
    fn ratios_are_of_rounds_in_which_both_were_measured() {
        let turns: Turns = serde_json::from_str(TURNS).unwrap();
        assert_eq!(turns.systems(), ["bare", "other"]);
        let spread = turns.spread("bare", "x").unwrap();
        assert_eq!(
            (spread.low(), spread.median(), spread.high()),
            (2.0, 3.0, 4.0)
        );
        let ratio = turns.ratio("other", "bare", "x").unwrap();
        assert_eq!((ratio.low(), ratio.high()), (0.5, 0.5));
        assert_eq!(turns.why_not("other").as_deref(), Some("gone"));
        assert!(turns.spread("bare", "y").is_none());
    }
}
