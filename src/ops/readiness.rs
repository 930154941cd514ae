//! Whether this node should get traffic, and why not: `/ready`.

use crate::metric;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Asks one part, by its name in metrics; the error says what is wrong. Must return at once.
pub type Check = (
    &'static str,
    Box<dyn Fn() -> Result<(), String> + Send + Sync>,
);

/// Asks for what is not as it should be and keeps nothing from being ready. Must return at once.
pub type Warnings = Box<dyn Fn() -> Vec<String> + Send + Sync>;

/// What a node is, for metrics.
pub struct Described {
    /// What it does: gateway, writer.
    pub roles: Vec<&'static str>,
    /// When each certificate that it shows ends, in seconds since 1970, with what it is for: clients,
    /// nats, cassandra. Must return at once.
    pub certificates: Box<dyn Fn() -> Vec<(&'static str, u64)> + Send + Sync>,
}

enum Phase {
    Starting(String),
    Running(Vec<Check>, Warnings),
    Draining,
}

/// Whether this node should get traffic.
pub struct Readiness {
    phase: Mutex<Phase>,
    described: OnceLock<Described>,
}

impl Default for Readiness {
    fn default() -> Self {
        Self {
            phase: Mutex::new(Phase::Starting("starting".into())),
            described: OnceLock::new(),
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

    /// What it is. Counts once: a node starts once.
    pub fn describe(&self, described: Described) {
        let _ = self.described.set(described);
    }

    /// It stops: never ready again.
    pub fn draining(&self) {
        self.enter(Phase::Draining);
    }

    /// Why it is not ready, each cause once; empty: it is.
    pub fn why_not(&self) -> Vec<String> {
        match &*self.phase.lock().unwrap_or_else(PoisonError::into_inner) {
            Phase::Starting(why) => vec![why.clone()],
            Phase::Running(checks, _) => {
                distinct(checks.iter().filter_map(|(_, check)| check().err()))
            }
            Phase::Draining => vec!["draining".into()],
        }
    }

    /// Which checks fail, and why, while it runs; `None`: it starts or stops.
    pub fn failing(&self) -> Option<Vec<(&'static str, String)>> {
        match &*self.phase.lock().unwrap_or_else(PoisonError::into_inner) {
            Phase::Running(checks, _) => {
                let failed = |(name, check): &Check| Some((*name, check().err()?));
                Some(checks.iter().filter_map(failed).collect())
            }
            Phase::Starting(_) | Phase::Draining => None,
        }
    }

    /// Notes for metrics which checks pass.
    pub(super) fn record(&self) {
        let flag = |passes: bool| f64::from(u8::from(passes));
        let phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ready = false;
        for name in metric::CHECKS {
            let passes = match &*phase {
                Phase::Running(checks, _) => checks
                    .iter()
                    .filter(|(of, _)| of == name)
                    .all(|(_, check)| check().is_ok()),
                Phase::Starting(_) | Phase::Draining => false,
            };
            metric::CHECK.of(name).set(flag(passes));
        }
        if let Phase::Running(checks, _) = &*phase {
            ready = checks.iter().all(|(_, check)| check().is_ok());
        }
        metric::READY.set(flag(ready));
        let warnings = match &*phase {
            Phase::Running(_, warnings) => warnings().len(),
            Phase::Starting(_) | Phase::Draining => 0,
        };
        metric::WARNINGS.set(warnings as f64);
        self.record_described();
    }

    fn record_described(&self) {
        let Some(described) = self.described.get() else {
            return;
        };
        for role in metric::ROLES {
            let has = described.roles.contains(role);
            metric::NODE_ROLE.of(role).set(f64::from(u8::from(has)));
        }
        for (purpose, ends) in (described.certificates)() {
            metric::CERTIFICATE_EXPIRY.of(purpose).set(ends as f64);
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

/// Each reason once, in their order: a journal on the bus fails with the bus, for the same reason.
pub fn distinct(reasons: impl Iterator<Item = String>) -> Vec<String> {
    let mut all = Vec::new();
    for reason in reasons {
        if !all.contains(&reason) {
            all.push(reason);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_several_checks_find_is_said_once() {
        let readiness = Readiness::default();
        let fails =
            |name, why: &'static str| -> Check { (name, Box::new(move || Err(why.into()))) };
        let checks = vec![
            fails("bus", "lost"),
            fails("streams", "not seen"),
            fails("journal", "lost"),
        ];
        readiness.running(checks, Box::new(Vec::new));
        assert_eq!(readiness.why_not(), ["lost", "not seen"]);
        assert_eq!(readiness.failing().map(|failing| failing.len()), Some(3));
    }
}
