//! Whether this node should get traffic, and why not: `/ready`.

use std::sync::{Mutex, PoisonError};

/// Asks one part; the error says what is wrong. Must return at once.
pub type Check = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Asks for what is not as it should be and keeps nothing from being ready. Must return at once.
pub type Warnings = Box<dyn Fn() -> Vec<String> + Send + Sync>;

enum Phase {
    Starting(String),
    Running(Vec<Check>, Warnings),
    Draining,
}

/// Whether this node should get traffic.
pub struct Readiness {
    phase: Mutex<Phase>,
}

impl Default for Readiness {
    fn default() -> Self {
        Self {
            phase: Mutex::new(Phase::Starting("starting".into())),
        }
    }
}

impl Readiness {
    /// It starts, and waits for something.
    pub fn starting(&self, why: impl Into<String>) {
        self.enter(Phase::Starting(why.into()));
    }

    /// It runs: from now on it is ready when all checks pass.
    pub fn running(&self, checks: Vec<Check>, warnings: Warnings) {
        self.enter(Phase::Running(checks, warnings));
    }

    /// It stops: never ready again.
    pub fn draining(&self) {
        self.enter(Phase::Draining);
    }

    /// Why it is not ready; empty: it is.
    pub fn why_not(&self) -> Vec<String> {
        match &*self.phase.lock().unwrap_or_else(PoisonError::into_inner) {
            Phase::Starting(why) => vec![why.clone()],
            Phase::Running(checks, _) => checks.iter().filter_map(|check| check().err()).collect(),
            Phase::Draining => vec!["draining".into()],
        }
    }

    /// What is not as it should be, whether or not it is ready.
    pub fn warnings(&self) -> Vec<String> {
        match &*self.phase.lock().unwrap_or_else(PoisonError::into_inner) {
            Phase::Running(_, warnings) => warnings(),
            Phase::Starting(_) | Phase::Draining => Vec::new(),
        }
    }

    fn enter(&self, next: Phase) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = next;
    }
}
