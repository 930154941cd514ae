//! The figures: as JSON, and as tables for a person.

use anyhow::{Context, Result};
use serde::Serialize;
use std::{fmt::Write as _, fs, path::Path, time::Duration};

const MIB: f64 = 1024.0 * 1024.0;

/// All runs of a command.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) made_at: String,
    pub(super) commit: String,
    pub(super) machine: String,
    pub(super) program: String,
    pub(super) grown: Vec<Grown>,
}

/// One of them.
#[derive(Debug, Serialize)]
pub(super) struct Grown {
    pub(super) what: String,
    pub(super) count: u64,
    pub(super) journal: String,
    pub(super) command: String,
    pub(super) figures: Vec<Figure>,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
}

impl Report {
    /// Writes the figures, and the tables beside them.
    pub(super) fn write(&self, file: &Path) -> Result<()> {
        let cannot = || format!("{} cannot be written", file.display());
        let mut tables = format!(
            "{}, {}, commit {}: {}\n",
            self.made_at, self.machine, self.commit, self.program
        );
        for grown in &self.grown {
            let _ = write!(tables, "\n{}", grown.table());
        }
        if let Some(dir) = file.parent() {
            fs::create_dir_all(dir).with_context(cannot)?;
        }
        fs::write(file, serde_json::to_string_pretty(self)?).with_context(cannot)?;
        fs::write(file.with_extension("md"), tables).with_context(cannot)
    }
}

impl Grown {
    pub(super) fn note(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        let name = name.into();
        self.figures.push(Figure { name, value, unit });
    }

    pub(super) fn number(&mut self, name: impl Into<String>, value: u64) {
        self.note(name, value as f64, "");
    }

    pub(super) fn bytes(&mut self, name: impl Into<String>, bytes: f64) {
        match bytes.abs() < MIB {
            true => self.note(name, bytes, "bytes"),
            false => self.note(name, bytes / MIB, "MiB"),
        }
    }

    pub(super) fn time(&mut self, name: impl Into<String>, time: Duration) {
        self.note(name, time.as_secs_f64() * 1e3, "ms");
    }

    /// The first of several, and the median and the longest of all.
    pub(super) fn times(&mut self, name: &str, times: &[Duration]) {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        let (Some(first), Some(longest)) = (times.first(), sorted.last()) else {
            return;
        };
        self.time(format!("{name}, the first"), *first);
        self.time(format!("{name}, median"), sorted[sorted.len() / 2]);
        self.time(format!("{name}, the longest"), *longest);
    }

    /// As Markdown.
    pub(super) fn table(&self) -> String {
        let mut table = format!("`{}`\n\n| | {} |\n|---|---|\n", self.command, self.journal);
        for Figure { name, value, unit } in &self.figures {
            let value = match value.fract() == 0.0 || value.abs() >= 100.0 {
                true => format!("{value:.0}"),
                false => format!("{value:.1}"),
            };
            let _ = writeln!(table, "| {name} | {} |", format!("{value} {unit}").trim());
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_the_command_and_every_figure_with_its_unit() {
        let mut grown = Grown {
            what: "rooms".into(),
            count: 3,
            journal: "bus".into(),
            command: "cargo xtask chaos growth rooms".into(),
            figures: Vec::new(),
        };
        grown.number("rooms", 3);
        grown.bytes("memory", 1.5 * MIB);
        let times = [5, 1, 3].map(Duration::from_millis);
        grown.times("join", &times);
        assert_eq!(
            grown.table(),
            "`cargo xtask chaos growth rooms`\n\n| | bus |\n|---|---|\n| rooms | 3 |\n\
             | memory | 1.5 MiB |\n| join, the first | 5 ms |\n| join, median | 3 ms |\n\
             | join, the longest | 5 ms |\n"
        );
    }
}
