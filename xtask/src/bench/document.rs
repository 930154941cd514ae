//! docs/performance.md: its tables are made anew; what people wrote around them stays.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::Options;
use super::figures::Spread;
use crate::paths;

/// What is made anew is between these lines.
const BEGIN: &str = "<!-- measured: cargo xtask bench -->";
const END: &str = "<!-- end of measured -->";
/// The document where there is none yet.
const NEW: &str = include_str!("../../templates/performance.md");

/// A figure of a system.
pub(super) struct Row {
    pub(super) what: String,
    pub(super) system: String,
    pub(super) unit: &'static str,
    pub(super) value: Option<Spread>,
    /// To what nothing is faster than, within a round.
    pub(super) ratio: Option<Spread>,
    pub(super) must: &'static str,
    pub(super) aim: &'static str,
    pub(super) note: Option<String>,
}

impl Row {
    pub(super) fn of(what: &str, system: &str, unit: &'static str, value: Option<Spread>) -> Self {
        Self {
            what: what.to_owned(),
            system: system.to_owned(),
            unit,
            value,
            ratio: None,
            must: "",
            aim: "",
            note: None,
        }
    }

    /// A part that could not be run.
    pub(super) fn missing(part: &str, why: &str) -> Self {
        Self {
            note: Some(why.to_owned()),
            ..Self::of(part, "not measured", "", None)
        }
    }

    fn line(&self) -> String {
        let value = self.value.as_ref().map_or("-".into(), |spread| {
            format!("{} {}", shown(spread), self.unit).trim().to_owned()
        });
        let ratio = self.ratio.as_ref().map_or(String::new(), |spread| {
            format!(
                "{:.2} [{:.2}-{:.2}]",
                spread.median(),
                spread.low(),
                spread.high()
            )
        });
        format!(
            "| {} | {} | {value} | {ratio} | {} | {} |",
            self.what, self.system, self.must, self.aim
        )
    }
}

fn shown(spread: &Spread) -> String {
    let one = |value: f64| match value.abs() {
        large if large >= 10_000.0 => format!("{:.0}k", value / 1000.0),
        middle if middle >= 100.0 => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    };
    format!(
        "{} [{}-{}]",
        one(spread.median()),
        one(spread.low()),
        one(spread.high())
    )
}

/// Machine, versions, the table, and what is missing in it.
pub(super) fn tables(rows: &[Row], missing: &[String], options: &Options) -> Result<String> {
    let mut text = String::new();
    for (name, value) in environment(options) {
        writeln!(text, "- {name}: {value}")?;
    }
    text.push_str(
        "\n| what | system | median [low-high] | ratio within a round | must | aim |\n|---|---|---|---|---|---|\n",
    );
    for row in rows {
        writeln!(text, "{}", row.line())?;
    }
    let notes = rows.iter().filter_map(|row| {
        let note = row.note.as_ref()?;
        Some(format!("- {}, {}: {note}", row.what, row.system))
    });
    let missing = missing.iter().map(|why| format!("- {why}"));
    let notes: Vec<String> = notes.chain(missing).collect();
    if !notes.is_empty() {
        write!(
            text,
            "\nNot or not always measured:\n\n{}\n",
            notes.join("\n")
        )?;
    }
    Ok(text)
}

fn environment(options: &Options) -> Vec<(&'static str, String)> {
    let line = |path: &str, start: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(start));
        let value = line.and_then(|line| line.split_once(':'));
        value.map_or_else(|| "unknown".into(), |(_, value)| value.trim().to_owned())
    };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let journal = if options.cassandra {
        "Cassandra 5.0.8"
    } else {
        "the bus"
    };
    vec![
        ("date", says("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
        ("commit", says("git", &["describe", "--always", "--dirty"])),
        (
            "processor",
            format!("{}, {cores} cores", line("/proc/cpuinfo", "model name")),
        ),
        ("memory", line("/proc/meminfo", "MemTotal")),
        ("kernel", kernel.trim().to_owned()),
        ("rustc", says("rustc", &["--version"])),
        (
            "servers",
            format!(
                "all of a system on core {}, the generator on core {}; rooms in {journal}; \
                 nats-server with `sync_interval: always`",
                options.core, options.generator
            ),
        ),
        ("rounds", format!("{} (some parts fewer)", options.rounds)),
    ]
}

fn says(program: &str, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(args)
        .current_dir(paths::root())
        .output();
    output.map_or_else(
        |_| "unknown".into(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// Puts the tables where the last ones are.
pub(super) fn write(path: &Path, tables: &str) -> Result<()> {
    let old = fs::read_to_string(path).unwrap_or_else(|_| NEW.to_owned());
    let new = replaced(&old, tables).with_context(|| path.display().to_string())?;
    fs::write(path, new).with_context(|| path.display().to_string())
}

fn replaced(old: &str, tables: &str) -> Result<String> {
    let missing = "it has no place for figures: two lines that begin with <!--";
    let (before, rest) = old.split_once(BEGIN).context(missing)?;
    let (_, after) = rest.split_once(END).context(missing)?;
    Ok(format!("{before}{BEGIN}\n\n{tables}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_wrote_stays_around_new_tables() {
        let once = replaced(NEW, "first").unwrap();
        assert!(once.contains("first"));
        let twice = replaced(&once, "second").unwrap();
        assert_eq!(twice, once.replace("first", "second"));
        assert!(replaced("nothing", "x").is_err());
    }

    #[test]
    fn a_row_shows_its_spread_and_a_missing_one_why() {
        let mut row = Row::of(
            "fan-out",
            "safe-chat",
            "x/s",
            Spread::of([200_000.0, 100.0, 3.0]),
        );
        row.ratio = Spread::of([0.5]);
        row.must = "0.8";
        assert_eq!(
            row.line(),
            "| fan-out | safe-chat | 100 [3.00-200k] x/s | 0.50 [0.50-0.50] | 0.8 |  |"
        );
        let options = Options {
            rounds: 1,
            only: Vec::new(),
            core: 0,
            generator: 1,
            cassandra: false,
            obtain: false,
        };
        let text = tables(
            &[row, Row::missing("storm", "too few files")],
            &[],
            &options,
        )
        .unwrap();
        assert!(
            text.contains("- storm, not measured: too few files"),
            "{text}"
        );
    }
}
