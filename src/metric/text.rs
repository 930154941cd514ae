//! Figures that are taken when somebody asks, in Prometheus' text form: those that end with what
//! they tell of (a shard), or that count parts of a whole (seconds).

use super::{Metric, TABLE};
use std::fmt::{Display, Write};

/// Writes a metric of the table, with its samples: labels as they are written, or none.
pub(crate) fn write(out: &mut String, name: &str, samples: &[(String, f64)]) {
    if samples.is_empty() {
        return;
    }
    let metric = TABLE.iter().find(|metric| metric.name == name);
    let Metric { kind, help, .. } = metric.expect("every metric is in the table");
    line(out, format_args!("# HELP {name} {help}"));
    line(out, format_args!("# TYPE {name} {}", kind.as_str()));
    for (labels, value) in samples {
        match labels.is_empty() {
            true => line(out, format_args!("{name} {value}")),
            false => line(out, format_args!("{name}{{{labels}}} {value}")),
        }
    }
    out.push('\n');
}

fn line(out: &mut String, text: impl Display) {
    writeln!(out, "{text}").expect("a string takes everything");
}
