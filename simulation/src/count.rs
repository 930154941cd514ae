//! What happened in a run, counted: a run in which nothing happened shows nothing.

use std::{collections::BTreeMap, fmt};

/// How often each thing happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Count(BTreeMap<String, u64>);

impl Count {
    pub(crate) fn add(&mut self, what: impl Into<String>, times: u64) {
        *self.0.entry(what.into()).or_default() += times;
    }

    /// How often something happened.
    pub fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or_default()
    }

    /// Adds what happened in another run.
    pub fn merge(&mut self, other: &Count) {
        other
            .0
            .iter()
            .for_each(|(what, times)| self.add(what, *times));
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self
            .0
            .iter()
            .map(|(what, times)| format!("{what} {times}"))
            .collect();
        f.write_str(&all.join(", "))
    }
}
