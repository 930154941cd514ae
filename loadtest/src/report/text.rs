//! The report in a terminal.

use super::{Report, limit::unit_of};
use std::fmt;

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}", self.scenario)?;
        let figure = |name: &str| self.figures.get(name).copied();
        writeln!(
            out,
            "  {:<22} {:>9} {:>9} {:>9} {:>9} {:>9}  ms",
            "", "p50", "p90", "p99", "p99.9", "max"
        )?;
        for name in [
            "answer",
            "answer.uncorrected",
            "delivery",
            "delivery.uncorrected",
            "last",
            "last.uncorrected",
            "late",
            "connect",
            "ping",
            "resume",
        ] {
            let Some(p50) = figure(&format!("{name}.p50")) else {
                continue;
            };
            write!(out, "  {name:<22} {p50:>9.2}")?;
            for quantile in ["p90", "p99", "p999", "pmax"] {
                let value = figure(&format!("{name}.{quantile}")).unwrap_or_default();
                write!(out, " {value:>9.2}")?;
            }
            writeln!(out)?;
        }
        for (name, value) in &self.figures {
            let last = name.rsplit('.').next().unwrap_or_default();
            if !matches!(last, "p50" | "p90" | "p99" | "p999" | "pmax") {
                writeln!(
                    out,
                    "  {name:<32} {:>12} {}",
                    rounded(*value),
                    unit_of(name)
                )?;
            }
        }
        for step in &self.steps {
            writeln!(
                out,
                "  {:>8.0}/s: answer p99 {:>8.1} ms, last p99 {:>8.1} ms, servers {:.2} cores, this {:.2}  {}",
                step.rate,
                step.answer.p99,
                step.last.p99,
                step.server_cores,
                step.own_cores,
                if step.passed { "ok" } else { "too slow" }
            )?;
        }
        for (kind, what, count) in &self.errors {
            writeln!(out, "  {kind} {what}: {count}")?;
        }
        for note in &self.notes {
            writeln!(out, "  note: {note}")?;
        }
        for broken in &self.broken {
            writeln!(out, "  BROKEN {broken}")?;
        }
        Ok(())
    }
}

/// As many digits as mean something.
pub(super) fn rounded(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 || value == value.trunc() => format!("{value:.0}"),
        middle if middle >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}
