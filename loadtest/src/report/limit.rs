//! What somebody demands of a figure: `p99<100ms`, `answer.p50<=5ms`, `rate.delivered>1000`,
//! `broken=0`.

use super::Report;
use std::{fmt, str::FromStr};

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    text: String,
    figure: String,
    compare: Compare,
    value: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compare {
    Below,
    AtMost,
    Above,
    AtLeast,
    Is,
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bare: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let signs = [
            ("<=", Compare::AtMost),
            (">=", Compare::AtLeast),
            ("<", Compare::Below),
            (">", Compare::Above),
            ("=", Compare::Is),
        ];
        let found = signs.iter().find_map(|(sign, compare)| {
            let (figure, value) = bare.split_once(sign)?;
            Some((
                figure.to_owned(),
                value.trim_start_matches('=').to_owned(),
                *compare,
            ))
        });
        let Some((figure, value, compare)) = found else {
            return Err(format!(
                "{text}: say it like p99<100ms, answer.p50<=5ms or broken=0"
            ));
        };
        // A quantile alone is that of delivery: what members feel.
        let is_quantile = ["p50", "p90", "p99", "p999", "pmax"].contains(&&*figure);
        let figure = if is_quantile {
            format!("delivery.{figure}")
        } else {
            figure
        };
        let value = value_in(&value, unit_of(&figure))
            .ok_or_else(|| format!("{text}: {value} is no number in a unit that fits {figure}"))?;
        Ok(Self {
            text: text.to_owned(),
            figure,
            compare,
            value,
        })
    }
}

impl Limit {
    /// Whether a report keeps it; `Err`: why not.
    ///
    /// # Errors
    /// It does not, or there is no such figure in it.
    pub fn check(&self, report: &Report) -> Result<(), String> {
        let Some(is) = report.figures.get(&self.figure).copied() else {
            let known: Vec<_> = report.figures.keys().map(String::as_str).collect();
            return Err(format!(
                "{self}: there is no figure {} in this report, only {}",
                self.figure,
                known.join(", ")
            ));
        };
        let holds = match self.compare {
            Compare::Below => is < self.value,
            Compare::AtMost => is <= self.value,
            Compare::Above => is > self.value,
            Compare::AtLeast => is >= self.value,
            Compare::Is => is == self.value,
        };
        if holds {
            Ok(())
        } else {
            let unit = unit_of(&self.figure);
            Err(format!("{self}: it is {is:.3} {unit}"))
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

/// The unit of a figure, by its name.
pub(super) fn unit_of(figure: &str) -> &'static str {
    let last = figure.rsplit('.').next().unwrap_or_default();
    match last {
        "p50" | "p90" | "p99" | "p999" | "pmax" => "ms",
        _ if last.ends_with("_us") => "us",
        _ if last.ends_with("_s") && !last.ends_with("per_s") => "s",
        _ if last == "kib" || last.ends_with("_kib") => "KiB",
        _ if last == "cores" || last.ends_with("_cores") => "cores",
        _ if figure.starts_with("rate.") || last.ends_with("per_s") || figure == "knee" => "/s",
        _ => "",
    }
}

/// A number with a unit, in another unit; a bare number is in it already.
fn value_in(text: &str, unit: &str) -> Option<f64> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || ".-e_".contains(c)));
    let (number, of) = text.split_at(end.unwrap_or(text.len()));
    let number: f64 = number.replace('_', "").parse().ok()?;
    let seconds = |unit: &str| match unit {
        "s" => Some(1.0),
        "ms" => Some(1e-3),
        "us" | "µs" => Some(1e-6),
        _ => None,
    };
    let kib = |unit: &str| match unit {
        "B" => Some(1.0 / 1024.0),
        "KiB" => Some(1.0),
        "MiB" => Some(1024.0),
        "GiB" => Some(1024.0 * 1024.0),
        _ => None,
    };
    if of.is_empty() || of == unit {
        return Some(number);
    }
    if let (Some(of), Some(unit)) = (seconds(of), seconds(unit)) {
        return Some(number * of / unit);
    }
    kib(of).zip(kib(unit)).map(|(of, unit)| number * of / unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Environment;

    fn report(figures: &[(&str, f64)]) -> Report {
        Report {
            scenario: "fanout".into(),
            command: String::new(),
            environment: Environment::default(),
            figures: figures
                .iter()
                .map(|(name, value)| ((*name).to_owned(), *value))
                .collect(),
            notes: Vec::new(),
            spectra: Vec::new(),
            seconds: Vec::new(),
            marks: Vec::new(),
            steps: Vec::new(),
            errors: Vec::new(),
            broken: Vec::new(),
        }
    }

    fn holds(limit: &str, figure: &str, value: f64) -> bool {
        let limit: Limit = limit.parse().unwrap();
        limit.check(&report(&[(figure, value)])).is_ok()
    }

    #[test]
    fn limits_compare_in_the_unit_of_the_figure() {
        assert!(holds("p99<100ms", "delivery.p99", 99.9));
        assert!(!holds("p99<100ms", "delivery.p99", 100.0));
        assert!(holds("answer.p50 <= 0.1 s", "answer.p50", 100.0));
        assert!(holds("delivery.p99<1500us", "delivery.p99", 1.4));
        assert!(holds(
            "memory.per_session_kib<2048B",
            "memory.per_session_kib",
            1.9
        ));
        assert!(holds("rate.delivered>=1_000", "rate.delivered", 1000.0));
        assert!(holds("broken=0", "broken", 0.0));
        assert!(holds("broken==0", "broken", 0.0));
        assert!(!holds("broken=0", "broken", 1.0));
        assert!(holds("storm.all_s<500ms", "storm.all_s", 0.4));
    }

    #[test]
    fn a_limit_that_cannot_be_checked_is_refused_and_one_without_a_figure_fails() {
        for bad in ["p99", "p99<", "p99<fast", "p99<5KiB", "broken=0ms"] {
            assert!(bad.parse::<Limit>().is_err(), "{bad}");
        }
        assert!(!holds("nothing<1", "delivery.p99", 0.0));
    }

    #[test]
    fn what_was_late_by_the_generators_own_fault_is_no_report() {
        let late = report(&[("late.p99", 30.0), ("delivery.p99", 40.0)]);
        assert!(late.bottleneck().unwrap().contains("late"));
        let busy = report(&[("generator.cores", 0.99), ("delivery.p99", 40.0)]);
        assert!(busy.bottleneck().unwrap().contains("core"));
        let fine = [
            ("late.p99", 1.0),
            ("delivery.p99", 2.0),
            ("generator.cores", 0.5),
        ];
        assert_eq!(report(&fine).bottleneck(), None);
    }
}
