//! Everything that a node measures. One table names each metric, with its kind, unit, label and
//! help (`table`); parts hold no handles of their own, they use the table's statics, whose handles
//! are made once (`series`). Nothing else in the crate makes a metric, so what is not in the table
//! is not measured, and what is in it and not used does not compile without a warning.
//!
//! A room, user, key or address is never a label. The values of a label are a fixed list, except
//! shards, of which at most [`shards::LABELS`] have a name of their own.

mod series;
pub(crate) mod shards;
mod table;
pub(crate) mod text;

pub use table::TABLE;
pub(crate) use table::*;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use std::sync::{Mutex, PoisonError};

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from 0 when the process starts.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How often a value was at most so much.
    Histogram,
}

impl Kind {
    /// As Prometheus calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric of a node, as the table describes it.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name, which ends with its unit.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What it counts or measures.
    pub unit: &'static str,
    /// Its label and the values that the label may have; no values: those of the machine.
    pub label: Option<(&'static str, &'static [&'static str])>,
    /// What it says, in a sentence.
    pub help: &'static str,
}

/// Upper bounds of the buckets of what is measured in seconds: from a memory access over the
/// network to a client's patience. 0.25 is the bound of the first objective.
const SECONDS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Of events, up to those of a commit and beyond.
const COUNTS: [f64; 10] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0,
];
/// Of bytes, up to those of a commit.
const BYTES: [f64; 8] = [
    64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 131_072.0, 262_144.0,
];

impl Metric {
    fn buckets(&self) -> &'static [f64] {
        match self.unit {
            "seconds" => &SECONDS,
            "bytes" => &BYTES,
            _ => &COUNTS,
        }
    }
}

/// Where the metrics of this process are read from: it has one recorder, however many nodes run in
/// it (tests). Made before anything is counted, for what was counted before is nowhere.
pub(crate) fn recorder() -> Result<PrometheusHandle, BuildError> {
    static RECORDER: Mutex<Option<PrometheusHandle>> = Mutex::new(None);
    // Held while it is installed, so that two nodes that start at the same moment do not both try.
    let mut recorder = RECORDER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*recorder {
        return Ok(handle.clone());
    }
    let mut builder = PrometheusBuilder::new();
    for metric in TABLE.iter().filter(|it| it.kind == Kind::Histogram) {
        builder =
            builder.set_buckets_for_metric(Matcher::Full(metric.name.into()), metric.buckets())?;
    }
    let handle = builder.install_recorder()?;
    // From 0 on, so that the first of its kind is an increase.
    register();
    *recorder = Some(handle.clone());
    Ok(handle)
}

/// Writes the figures of a node that the recorder does not keep, but for those of the process.
pub(crate) fn write(out: &mut String, node: &str) {
    shards::write(out);
    let of = format!(
        "version=\"{}\",commit=\"{}\",node=\"{}\"",
        env!("CARGO_PKG_VERSION"),
        env!("SAFE_CHAT_COMMIT"),
        // As Prometheus' text form has it; a name has no line breaks.
        node.replace('\\', "\\\\").replace('"', "\\\"")
    );
    text::write(out, "safechat_build_info", &[(of, 1.0)]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_end_with_their_unit_and_are_told_once() {
        let mut names = BTreeSet::new();
        for metric in TABLE {
            let name = metric.name;
            assert!(names.insert(name), "{name} is there twice");
            assert!(
                name.starts_with("safechat_") || name.starts_with("process_"),
                "{name}"
            );
            assert_eq!(
                name.ends_with("_total"),
                metric.kind == Kind::Counter,
                "{name}"
            );
            let stem = name.trim_end_matches("_total");
            if ["seconds", "bytes"].contains(&metric.unit) {
                assert!(stem.ends_with(metric.unit), "{name} in {}", metric.unit);
            }
            assert!(
                !metric.help.is_empty() && !metric.help.ends_with('.'),
                "{name}"
            );
        }
    }

    #[test]
    fn no_label_can_grow_with_what_people_do() {
        const PERSONAL: [&str; 6] = ["room", "user", "key", "pub", "address", "session"];
        for (name, label, values) in TABLE
            .iter()
            .filter_map(|it| it.label.map(|(label, values)| (it.name, label, values)))
        {
            assert!(!PERSONAL.contains(&label), "{name}");
            let by_machine = ["shard", "version"].contains(&label);
            assert_eq!(values.is_empty(), by_machine, "{name}");
        }
    }
}
