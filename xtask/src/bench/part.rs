//! The parts of the benchmark: what each runs, and which rows come of it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::collections::BTreeMap;

use super::Bench;
use super::document::Row;
use super::figures::{Spread, Turns};
use crate::console::Step;
use crate::{console, tool};

/// The service where rooms are sealed, in figures.
const SEALED: &str = "safe-chat-sealed";
/// What others call the service in figures.
const OURS: &str = "safe-chat";
/// Takes long, and varies little.
const FEW: u32 = 2;
/// A single command of loadtest ends within this.
const LIMIT: Duration = Duration::from_secs(5 * 60);

pub(super) type Part = fn(&mut Bench<'_>) -> Result<Vec<Row>>;

/// In this order: the first finds a fresh node, the last one starts more.
pub(super) const PARTS: [(&str, Part); 11] = [
    ("idle", idle),
    ("fanout", fanout),
    ("sealed", sealed),
    ("storm", storm),
    ("durable", durable),
    ("latency", latency),
    ("session", session),
    ("mixed", mixed),
    ("rooms", rooms),
    ("deep", deep),
    ("nodes", nodes),
];

/// The same figure of all systems, as rows.
struct Compared<'a> {
    what: &'a str,
    unit: &'static str,
    figure: &'a str,
    base: &'a str,
    must: &'static str,
    aim: &'static str,
}

impl Compared<'_> {
    fn rows(&self, turns: &Turns) -> Vec<Row> {
        let of = |system: &str| {
            let is_ours = system == OURS;
            Row {
                what: self.what.to_owned(),
                system: system.to_owned(),
                unit: self.unit,
                value: turns.spread(system, self.figure),
                ratio: turns.ratio(system, self.base, self.figure),
                must: if is_ours { self.must } else { "" },
                aim: if is_ours { self.aim } else { "" },
                note: turns.why_not(system),
            }
        };
        turns.systems().into_iter().map(of).collect()
    }
}

fn idle(bench: &mut Bench<'_>) -> Result<Vec<Row>> {
    // Once: what a node has had in memory it uses again, so only a fresh one shows what it takes.
    // Of the node alone, as of the others: nats-server's follows what is stored.
    let node = bench.servers.node();
    let turns = bench.peers_with(&["idle", "--rounds", "1", "--seconds", "5"], &node)?;
    let mut rows = Compared {
        what: "idle session of 8000, RSS",
        unit: "KiB",
        figure: "memory.per_session_kib",
        base: "bare",
        must: "5",
        aim: "2",
    }
    .rows(&turns);
    let after = |figure: &str| turns.spread(OURS, figure).map(|it| it.median());
    let (before, left) = (
        after("memory.before_kib"),
        after("memory.after_they_left_kib"),
    );
    if let (Some(before), Some(left)) = (before, left) {
        rows.push(Row {
            must: "1.10",
            ..Row::of(
                "RSS within 30 s after 8000 left, to before",
                OURS,
                "",
                Spread::of([left / before]),
            )
        });
    }
    Ok(rows)
}

fn fanout(bench: &mut Bench<'_>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (burst, must, aim) in [
        ("1", "0.80", "0.95"),
        ("8", "0.75", "1.0"),
        ("32", "0.70", "1.0"),
    ] {
        let rounds = bench.rounds(u32::MAX);
        let turns = bench.peers(&[
            "fanout",
            "--saturate",
            "--burst",
            burst,
            "--seconds",
            "2.5",
            "--rounds",
            &rounds,
        ])?;
        let what = format!("fan-out to 1000, {burst} at once");
        let compared = Compared {
            what: &what,
            unit: "deliveries/CPU s",
            figure: "cpu.deliveries_per_s",
            base: "bare",
            must,
            aim,
        };
        rows.extend(compared.rows(&turns));
    }
    Ok(rows)
}

/// What is said in a sealed room is as long as this text.
const SEALED_BYTES: &str = "487";

fn sealed(bench: &mut Bench<'_>) -> Result<Vec<Row>> {
    let rounds = bench.rounds(u32::MAX);
    let system = bench.servers.system();
    let (_, at) = system.split_once('=').context("a system has a name")?;
    let turns = bench.peers(&[
        "fanout",
        "--alone",
        "--saturate",
        "--burst",
        "8",
        "--seconds",
        "2.5",
        "--bytes",
        SEALED_BYTES,
        "--sealed",
        &format!("{SEALED}={at}"),
        "--rounds",
        &rounds,
    ])?;
    let figure = "cpu.deliveries_per_s";
    let what = "fan-out to 1000, 8 at once, sealed to text";
    let Some(value) = turns.spread(SEALED, figure) else {
        return Ok(vec![Row::missing(
            what,
            &turns.why_not(SEALED).unwrap_or_default(),
        )]);
    };
    Ok(vec![Row {
        ratio: turns.ratio(SEALED, OURS, figure),
        must: "0.95",
        ..Row::of(what, SEALED, "deliveries/CPU s", Some(value))
    }])
}

fn storm(bench: &mut Bench<'_>) -> Result<Vec<Row>> {
    let rounds = bench.rounds(u32::MAX);
    let turns = bench.peers(&["storm", "--rounds", &rounds])?;
    let mut rows = Compared {
        what: "2000 return at once, 100 missed each: all have all",
        unit: "s",
        figure: "storm.all_s",
        base: "bare",
        must: "4",
        aim: "2.5",
    }
    .rows(&turns);
    rows.extend(
        Compared {
            what: "the slowest hundredth of them",
            unit: "ms",
            figure: "resume.p99",
            base: "bare",
            must: "below 1000 ms",
            aim: "",
        }
        .rows(&turns),
    );
    Ok(rows)
}

fn durable(bench: &mut Bench<'_>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let cassandra = bench.options.cassandra;
    for (members, on_bus, on_cassandra) in [
        ("10", "10000", "3570"),
        ("100", "10000", "3570"),
        ("1000", "3000", ""),
    ] {
        let rounds = bench.rounds(FEW);
        let turns = bench.peers(&[
            "knee",
            "--members",
            members,
            "--seconds",
            "1",
            "--rate",
            "400",
            "--rounds",
            &rounds,
            "--with",
            "bare-fsync",
        ])?;
        let what = format!("durable room of {members}, p99 below 100 ms");
        let compared = Compared {
            what: &what,
            unit: "messages/s",
            figure: "knee",
            base: "bare-fsync",
            must: if cassandra { on_cassandra } else { on_bus },
            aim: if cassandra { "" } else { "ratio 0.5" },
        };
        rows.extend(compared.rows(&turns));
    }
    Ok(rows)
}

/// A message of a quiet room, beside what it cannot avoid: a way over loopback and back, a command
/// and an event that are stored one after the other.
fn latency(bench: &mut Bench<'_>) -> Result<Vec<Row>> {
    let rounds = bench.rounds(u32::MAX);
    let turns = bench.peers(&[
        "fanout",
        "--members",
        "3",
        "--rate",
        "20",
        "--seconds",
        "3",
        "--figure",
        "answer.p50",
        "--rounds",
        &rounds,
        "--with",
        "bare-fsync",
    ])?;
    let mut rows = Compared {
        what: "quiet room of 3, answer p50",
        unit: "ms",
        figure: "answer.p50",
        base: "bare-fsync",
        must: "",
        aim: "",
    }
    .rows(&turns);
    let floors = floors(bench)?;
    let (loopback, stored) = (
        floor(&floors, "loopback")?,
        floor(&floors, "publish and ack")?,
    );
    let (what, event) = match bench.servers.cassandra() {
        None => ("its floors: loopback, and two publishes with fsync", stored),
        Some(_) => (
            "its floors: loopback, a publish with fsync, a write and its reading",
            floor(&floors, "write and read back")?,
        ),
    };
    let sum = (loopback + stored + event) / 1e3;
    rows.push(Row::of(what, "sum", "ms", Spread::of([sum])));
    if let Some(ours) = turns.spread(OURS, "answer.p50") {
        rows.push(Row {
            must: "1.5",
            aim: "1.2",
            ..Row::of(
                "quiet room: answer p50 to its floors",
                OURS,
                "",
                Spread::of([ours.median() / sum]),
            )
        });
    }
    Ok(rows)
}

fn floors(bench: &Bench<'_>) -> Result<String> {
    // At the pace of the messages that they are held against.
    let mut command = bench.loadtest(&["floors", "--seconds", "3", "--pause", "50"]);
    command.args(["--core", &bench.options.core.to_string()]);
    command.args(["--nats", bench.servers.nats()]);
    if let Some(at) = bench.servers.cassandra() {
        command.args(["--cassandra", at]);
    }
    let mut step = Step::start("floors of this machine");
    let text = tool::quiet(&mut command, LIMIT, bench.interrupt, &mut step)?;
    step.done("measured");
    console::print(&text);
    Ok(text)
}

/// The median of a floor, in microseconds: the third figure from the end of its line.
fn floor(floors: &str, name: &str) -> Result<f64> {
    let line = floors.lines().find(|line| line.contains(name));
    let line = line.with_context(|| format!("loadtest floors says nothing of {name}"))?;
    let word = line.split_whitespace().nth_back(2);
    let micros = word.and_then(|word| word.parse().ok());
    micros.with_context(|| format!("no figure in: {line}"))
}

fn session(bench: &mut Bench<'_>) -> Result<Vec<Row>> {
    let rounds = bench.rounds(u32::MAX);
    let turns = bench.peers(&[
        "fanout",
        "--members",
        "1",
        "--saturate",
        "--burst",
        "256",
        "--seconds",
        "2",
        "--figure",
        "rate.answered",
        "--rounds",
        &rounds,
        "--with",
        "bare-fsync",
    ])?;
    Ok(Compared {
        what: "one session, 256 at once",
        unit: "messages/s",
        figure: "rate.answered",
        base: "bare-fsync",
        must: "20 per fsync",
        aim: "50 per fsync",
    }
    .rows(&turns))
}

fn mixed(bench: &mut Bench<'_>) -> Result<Vec<Row>> {
    let rounds = bench.rounds(u32::MAX);
    let turns = bench.peers(&["mixed", "--seconds", "4", "--rounds", &rounds])?;
    Ok(Compared {
        what: "2000 clients, 500 rooms, 1000 messages/s",
        unit: "deliveries/CPU s",
        figure: "cpu.deliveries_per_s",
        base: "bare",
        must: "0.6",
        aim: "0.8",
    }
    .rows(&turns))
}

fn rooms(bench: &mut Bench<'_>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let rounds = bench.rounds(FEW);
    for rooms in [10_u32, 100, 1000, 10_000] {
        let rooms = rooms.to_string();
        let turns = bench.peers(&[
            "rooms",
            "--rooms",
            &rooms,
            "--members",
            &rooms,
            "--rate",
            "500",
            "--seconds",
            "3",
            "--figure",
            "cpu.per_message_us",
            "--rounds",
            &rounds,
            "--alone",
        ])?;
        let what = format!("CPU per message, {rooms} rooms of 1");
        let compared = Compared {
            what: &what,
            unit: "us",
            figure: "cpu.per_message_us",
            base: "bare",
            must: "within 1.5x of all",
            aim: "flat",
        };
        rows.extend(compared.rows(&turns));
    }
    Ok(rows)
}

#[derive(Deserialize)]
struct Report {
    figures: BTreeMap<String, f64>,
}

fn nodes(bench: &mut Bench<'_>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for count in 1..=3 {
        if count > 1 {
            bench.servers.one_more()?;
        }
        let mut values = Vec::new();
        for _ in 0..bench.options.rounds.min(FEW) {
            let fanout = ["fanout", "--rate", "50", "--seconds", "4"];
            values.push(figure(&alone(bench, &fanout)?, "cpu.per_delivery_us")?);
        }
        rows.push(Row {
            must: "within 1.5x of all",
            aim: "flat",
            ..Row::of(
                &format!("CPU per delivery, room of 1000 on {count} nodes"),
                OURS,
                "us",
                Spread::of(values),
            )
        });
    }
    Ok(rows)
}

/// Somebody comes back who missed 100 messages of a million.
fn deep(bench: &mut Bench<'_>) -> Result<Vec<Row>> {
    let report = alone(bench, &["deep"])?;
    let mut rows = Vec::new();
    for (name, must, aim) in [("resume.p50", "20", "5"), ("resume.p99", "", "")] {
        let what = format!(
            "join, 100 missed of 1,000,000, {}",
            &name["resume.".len()..]
        );
        let value = Spread::of([figure(&report, name)?]);
        rows.push(Row {
            must,
            aim,
            ..Row::of(&what, OURS, "ms", value)
        });
    }
    Ok(rows)
}

/// A scenario that only the service runs, at all of its nodes.
fn alone(bench: &Bench<'_>, scenario: &[&str]) -> Result<Report> {
    let out = bench.dir.join("reports");
    let _ = std::fs::remove_dir_all(&out);
    let mut command = bench.loadtest(&["run"]);
    command
        .args(scenario)
        .args(["--quiet", "--server-port", "4222"]);
    for url in bench.servers.urls() {
        command.args(["--url", &url]);
    }
    let status = tool::shown(command.arg("--out").arg(&out), bench.interrupt)?;
    let name = scenario.join(" ");
    ensure!(status.success(), "loadtest run {name} ended with {status}");
    let folder = std::fs::read_dir(&out)?.flatten().next();
    let folder = folder.context("loadtest left no report")?.path();
    Ok(serde_json::from_slice(&std::fs::read(
        folder.join("report.json"),
    )?)?)
}

fn figure(report: &Report, name: &str) -> Result<f64> {
    let figure = report.figures.get(name).copied();
    figure.with_context(|| format!("the report has no {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_a_floor_is_found_in_its_line() {
        let text = "                 p50 us  p99 us  per second\n  NATS nats://x: publish and ack  \
                    310  900  2900\n";
        assert_eq!(floor(text, "publish and ack").unwrap(), 310.0);
        assert!(floor(text, "loopback").is_err());
    }
}
