//! What happens to a site in a run, by name.

mod mixed;
mod network;
mod nodes;
mod operator;
mod servers;
mod versions;

use crate::{
    fault::{Act, Fault},
    report::Run,
    site::Kept,
};
use std::time::Duration;

pub use mixed::mixed;

/// What happens, and what is wanted of it besides kept promises.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// What it is, in a line.
    pub about: &'static str,
    /// What happens.
    pub faults: Vec<Fault>,
    /// How long clients talk.
    pub talk: Duration,
    /// What is wanted.
    pub wanted: Wanted,
    /// Whether it has a meaning only when rooms are kept in Cassandra.
    pub needs_cassandra: bool,
}

/// What is wanted besides kept promises.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Wanted {
    /// Nothing.
    Nothing,
    /// No room is without a `journaled` for longer, counted from the fault on.
    Within(Duration),
    /// No room is without a `journaled` for longer, and no client sees a failure.
    Unnoticed(Duration),
    /// No room is without a `journaled` for longer than the servers were away, and this.
    AfterReturn(Duration),
}

impl Wanted {
    /// As a person reads it.
    pub fn told(self) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Within(limit) => Some(format!("first journaled within {} s", limit.as_secs())),
            Self::Unnoticed(limit) => Some(format!(
                "no gap over {} ms, no failure seen",
                limit.as_millis()
            )),
            Self::AfterReturn(limit) => {
                Some(format!("no gap over the outage + {} s", limit.as_secs()))
            }
        }
    }

    /// Whether a run is so.
    pub fn is_met(self, run: &Run) -> bool {
        let within = |limit: Duration| {
            run.gap_after_fault_ms
                .is_none_or(|gap| gap <= limit.as_secs_f64() * 1e3)
        };
        match self {
            Self::Nothing => true,
            Self::Within(limit) => within(limit),
            Self::Unnoticed(limit) => within(limit) && run.failures_seen == 0 && run.rejected == 0,
            Self::AfterReturn(limit) => {
                let outages = run
                    .faults
                    .iter()
                    .filter_map(|fault| Some(fault.until_s? - fault.at_s));
                within(limit + Duration::from_secs_f64(outages.fold(0.0, f64::max)))
            }
        }
    }
}

/// Seconds.
pub(crate) const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn scenario(
    name: &str,
    about: &'static str,
    talk: u64,
    wanted: Wanted,
    faults: Vec<Fault>,
) -> Scenario {
    Scenario {
        name: name.to_owned(),
        about,
        faults,
        talk: s(talk),
        wanted,
        needs_cassandra: false,
    }
}

fn fault(at: u64, until: Option<u64>, act: Act) -> Fault {
    Fault {
        at: s(at),
        until: until.map(s),
        act,
    }
}

/// All of them, in the order in which they are run.
pub fn all(seed: u64, mixed_for: Duration, nats: u16, cassandra: usize) -> Vec<Scenario> {
    [
        nodes::all(),
        servers::all(),
        network::all(),
        operator::all(),
        vec![mixed(seed, mixed_for, nats, cassandra)],
    ]
    .concat()
}

/// What happens when the site begins with another version of the program.
pub fn of_two_versions() -> Vec<Scenario> {
    vec![versions::upgrade()]
}

/// About three minutes of the most important ones, for slow programs on a busy machine.
pub fn short(kept: Kept) -> Vec<Scenario> {
    match kept {
        Kept::Bus => vec![nodes::short(), servers::short_nats()],
        Kept::Cassandra => vec![servers::short_cassandra()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_fault_of_a_scenario_is_over_before_its_talk_is() {
        for scenario in all(1, s(1200), 3, 3)
            .into_iter()
            .chain(short(Kept::Bus))
            .chain(short(Kept::Cassandra))
            .chain(of_two_versions())
        {
            for fault in &scenario.faults {
                assert!(
                    fault.until.unwrap_or(fault.at) >= fault.at
                        && fault.until.unwrap_or(fault.at) < scenario.talk,
                    "{}",
                    scenario.name
                );
            }
        }
    }

    #[test]
    fn every_scenario_has_a_name_of_its_own() {
        let all = all(1, s(60), 3, 3);
        let names: BTreeSet<_> = all.iter().map(|scenario| &scenario.name).collect();
        assert_eq!(names.len(), all.len());
    }

    #[test]
    fn a_figure_that_is_missed_is_seen() {
        let run = |gap: f64, failures: u64| Run {
            gap_after_fault_ms: Some(gap),
            failures_seen: failures,
            ..Run::default()
        };
        assert!(
            Wanted::Within(s(2)).is_met(&run(1999.0, 5))
                && !Wanted::Within(s(2)).is_met(&run(2001.0, 0))
        );
        assert!(Wanted::Unnoticed(s(1)).is_met(&run(900.0, 0)));
        assert!(
            !Wanted::Unnoticed(s(1)).is_met(&run(900.0, 1))
                && !Wanted::Unnoticed(s(1)).is_met(&run(1100.0, 0))
        );
        let mut outage = run(12_000.0, 0);
        outage.faults.push(crate::report::Fault {
            at_s: 5.0,
            until_s: Some(15.0),
            what: String::new(),
        });
        assert!(
            Wanted::AfterReturn(s(3)).is_met(&outage) && !Wanted::AfterReturn(s(1)).is_met(&outage)
        );
    }
}
