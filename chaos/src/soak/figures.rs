//! What is measured: how much each process holds. Nodes say it in their metrics, nats-server on its
//! monitoring port.

use crate::report::Series;
use anyhow::{Context, Result};
use serde_json::Value;
use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt, path::Path, time::Duration};

/// One answer may take this long, on a busy machine.
const ANSWER: Duration = Duration::from_secs(10);
const MIB: f64 = 1024.0 * 1024.0;

/// Where a process is asked for its figures.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// `http://HOST:PORT`; of a disk: the folder.
    pub(crate) url: String,
}

/// What it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Node,
    Nats,
    /// What servers keep below a folder.
    Disk,
}

/// A figure: where it stands, what it is called, its unit, and what it may grow by in an hour
/// (`None`: it goes up and down with the load).
type Figure = (&'static str, &'static str, &'static str, Option<f64>);

/// How many clients a node has closed as slow.
pub(super) const SLOW: &str = "clients closed as slow";

const OF_A_NODE: [Figure; 8] = [
    (
        "process_resident_memory_bytes",
        "resident memory",
        "bytes",
        Some(16.0 * MIB),
    ),
    ("process_open_fds", "open files", "", Some(30.0)),
    ("process_threads", "threads", "", Some(4.0)),
    ("safechat_tasks", "tasks", "", Some(60.0)),
    ("safechat_sessions", "sessions", "", Some(30.0)),
    ("safechat_rooms", "rooms with clients", "", Some(30.0)),
    (
        "safechat_waiting_bytes",
        "bytes waiting for clients",
        "bytes",
        Some(4.0 * MIB),
    ),
    ("safechat_backlog_closes_total", SLOW, "", None),
];
const OF_NATS: [Figure; 10] = [
    ("mem", "resident memory of NATS", "bytes", Some(32.0 * MIB)),
    ("connections", "connections to NATS", "", Some(10.0)),
    ("subscriptions", "subscriptions at NATS", "", Some(60.0)),
    ("CHAT_CMD.messages", "commands kept", "", Some(5000.0)),
    (
        "CHAT_CMD.bytes",
        "bytes of commands kept",
        "bytes",
        Some(4.0 * MIB),
    ),
    ("CHAT_EVT.messages", "commits kept", "", Some(20_000.0)),
    (
        "CHAT_EVT.bytes",
        "bytes of commits kept",
        "bytes",
        Some(16.0 * MIB),
    ),
    ("messages", "everything kept, messages", "", Some(20_000.0)),
    ("bytes", "everything kept", "bytes", Some(16.0 * MIB)),
    ("consumers", "consumers", "", Some(20.0)),
];
const OF_A_DISK: [Figure; 1] = [("bytes", "disk", "bytes", Some(64.0 * MIB))];

/// What a journal on the bus lets grow by design where rooms keep everything: its events, and the
/// index of them.
const OF_THE_PAST: [&str; 6] = [
    "resident memory of NATS",
    "commits kept",
    "bytes of commits kept",
    "everything kept, messages",
    "everything kept",
    "disk",
];

/// Series that grow by a point at a time.
pub(super) struct Figures {
    places: Vec<Place>,
    series: Vec<Series>,
}

impl Figures {
    /// `keeps_all`: rooms do, so that what they keep grows.
    pub(super) fn new(places: Vec<Place>, keeps_all: bool) -> Self {
        let series = places.iter().flat_map(|place| {
            figures(place.kind)
                .iter()
                .map(|(_, what, unit, tolerance)| Series {
                    process: place.name.clone(),
                    what: (*what).to_owned(),
                    unit: (*unit).to_owned(),
                    tolerance: tolerance.filter(|_| !keeps_all || !OF_THE_PAST.contains(what)),
                    ..Series::default()
                })
        });
        Self {
            series: series.collect(),
            places,
        }
    }

    /// Takes all figures once, `at` seconds from the beginning. A process that does not answer is
    /// an error; the others are measured all the same.
    pub(super) fn take(&mut self, at: f64) -> Result<()> {
        let mut failed = Ok(());
        let mut series = self.series.iter_mut();
        for place in &self.places {
            let measured =
                measure(place).with_context(|| format!("{} does not tell its figures", place.name));
            for (key, ..) in figures(place.kind) {
                let series = series.next().context("every figure has a series")?;
                if let Some(value) = measured
                    .as_ref()
                    .ok()
                    .and_then(|measured| measured.get(*key))
                {
                    series.points.push((at, *value));
                }
            }
            failed = failed.and(measured.map(drop));
        }
        failed
    }

    /// The last value of a figure of each process that has it.
    pub(super) fn now(&self, what: &str) -> Vec<f64> {
        self.series
            .iter()
            .filter(|series| series.what == what)
            .filter_map(Series::last)
            .collect()
    }

    pub(super) fn into_series(self) -> Vec<Series> {
        self.series
    }
}

fn figures(kind: Kind) -> &'static [Figure] {
    match kind {
        Kind::Node => &OF_A_NODE,
        Kind::Nats => &OF_NATS,
        Kind::Disk => &OF_A_DISK,
    }
}

/// What it tells now, by name.
pub(crate) fn measure(Place { kind, url, .. }: &Place) -> Result<BTreeMap<String, f64>> {
    Ok(match kind {
        Kind::Node => prometheus(&get(&format!("{url}/metrics"))?),
        Kind::Nats => {
            let varz = serde_json::from_str(&get(&format!("{url}/varz"))?)?;
            let jsz = serde_json::from_str(&get(&format!("{url}/jsz?streams=true"))?)?;
            let mut figures = numbers(&varz, &["mem", "connections", "subscriptions", "in_bytes"]);
            figures.extend(numbers(&jsz, &["messages", "bytes", "consumers"]));
            figures.extend(streams(&jsz));
            figures
        }
        Kind::Disk => BTreeMap::from([("bytes".to_owned(), taken(Path::new(url)) as f64)]),
    })
}

fn get(url: &str) -> Result<String> {
    let agent = ureq::Agent::from(
        ureq::Agent::config_builder()
            .timeout_global(Some(ANSWER))
            .proxy(None)
            .build(),
    );
    Ok(agent.get(url).call()?.body_mut().read_to_string()?)
}

/// Metrics by name; labels are part of it.
fn prometheus(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
        .collect()
}

fn numbers(said: &Value, names: &[&str]) -> BTreeMap<String, f64> {
    let figure = |name: &&str| Some(((*name).to_owned(), said[*name].as_f64()?));
    names.iter().filter_map(figure).collect()
}

/// Bytes on the disk of everything below a folder. What goes meanwhile counts nothing.
fn taken(folder: &Path) -> u64 {
    let there = fs::read_dir(folder).into_iter().flatten().flatten();
    there
        .filter_map(|entry| {
            let about = entry.metadata().ok()?;
            Some(match about.is_dir() {
                true => taken(&entry.path()),
                false => about.blocks() * 512,
            })
        })
        .sum()
}

/// `STREAM.messages` and `STREAM.bytes`.
fn streams(jsz: &Value) -> BTreeMap<String, f64> {
    let accounts = jsz["account_details"].as_array().into_iter().flatten();
    let streams =
        accounts.flat_map(|account| account["stream_detail"].as_array().into_iter().flatten());
    let figures = streams.flat_map(|stream| {
        let name = stream["name"].as_str().unwrap_or_default();
        ["messages", "bytes"]
            .map(|what| Some((format!("{name}.{what}"), stream["state"][what].as_f64()?)))
    });
    figures.flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn metrics_are_read_by_name() {
        let text = "# HELP safechat_tasks x\n# TYPE safechat_tasks gauge\nsafechat_tasks 41\nsafechat_joins_total{outcome=\"joined\"} 7\nx NaNa\n";
        assert_eq!(
            prometheus(text),
            BTreeMap::from([
                ("safechat_joins_total{outcome=\"joined\"}".to_owned(), 7.0),
                ("safechat_tasks".to_owned(), 41.0)
            ])
        );
    }

    #[test]
    fn streams_are_found_in_what_nats_says() {
        let stream = json!({"name": "CHAT_CMD", "state": {"messages": 12, "bytes": 3456}});
        let figures = streams(&json!({"account_details": [{"stream_detail": [stream]}]}));
        assert_eq!(
            (figures["CHAT_CMD.messages"], figures["CHAT_CMD.bytes"]),
            (12.0, 3456.0)
        );
        assert_eq!(streams(&json!({})).len(), 0);
        let said = json!({"mem": 5, "connections": 1, "other": 2});
        assert_eq!(numbers(&said, &["mem", "connections", "none"]).len(), 2);
    }

    #[test]
    fn a_process_that_does_not_answer_is_told_by_name() {
        let nowhere = Place {
            name: "node-1".into(),
            kind: Kind::Node,
            url: "http://127.0.0.1:1".into(),
        };
        let error = Figures::new(vec![nowhere], false)
            .take(0.0)
            .unwrap_err()
            .to_string();
        assert_eq!(error, "node-1 does not tell its figures");
    }
}
