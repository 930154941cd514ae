//! One run: clients on a site, a scenario, and the verdict.

use crate::{
    fault::{Fault, Hand},
    figures,
    operator::Operator,
    order::{self, Orders},
    report,
    scenario::Scenario,
    sealed,
    site::Site,
};
use anyhow::Result;
use chrono::Utc;
use loadtest::crowd::{Crowd, Outcome, Plan};
use std::{collections::BTreeMap, fs, time::Duration};
use tokio::time::{Instant, sleep};
use xtask::interrupt::Interrupt;

/// How long everything may take to be answered and seen when the last fault is over and all servers
/// are ready. Above the 10 s after which a node is judged dead, and what a client waits until it
/// tries another gateway.
const SETTLE: Duration = Duration::from_secs(90);
/// How often it is looked for Ctrl-C.
const LOOK: Duration = Duration::from_millis(100);

/// The clients of a run.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// How many.
    pub clients: usize,
    /// In how many rooms.
    pub rooms: usize,
    /// Messages per second of all together.
    pub rate: f64,
    /// Of 100 messages, how many are sent again after their answer.
    pub repeats: u32,
    /// Where the chance of sealed rooms comes from.
    pub seed: u64,
}

/// What happens when.
#[derive(Debug, PartialEq)]
enum Event {
    Begins,
    Ends,
}

/// Runs a scenario; `name` makes its rooms new ones. An error means that it could not be run, not
/// that a promise was broken.
pub async fn run(
    site: &mut Site,
    scenario: &Scenario,
    load: Load,
    name: &str,
    interrupt: &Interrupt,
) -> Result<report::Run> {
    site.heal()?;
    let rooms: Vec<String> = (1..=load.rooms).map(|n| format!("{name}-{n}")).collect();
    let logs = log_sizes(site)?;
    let plan = Plan {
        urls: site.urls(),
        rooms: rooms.clone(),
        clients: load.clients,
        rate: load.rate,
        repeats: load.repeats,
    };
    let mut crowd = Crowd::gather(plan).await?;
    // The version before need not know them.
    let mut encrypted = match site.setup().before {
        None => Some(sealed::Rooms::gather(site, name, load.seed).await?),
        Some(_) => None,
    };
    let started = Utc::now().format("%Y-%m-%d %H:%M:%S").to_string();
    let began = crowd.begin();
    encrypted.iter_mut().for_each(sealed::Rooms::begin);
    let (operator, record) = (Operator::new(site.operators()), crowd.record());
    let orders = Orders::new(operator.clone(), record.clone());
    let mut hand = Hand::new(site, &rooms[0], orders, interrupt.clone(), began);
    for (at, event, n) in timeline(&scenario.faults) {
        until(began + at, &mut crowd, interrupt).await?;
        match event {
            Event::Begins => hand.begin(n, &scenario.faults[n]).await?,
            Event::Ends => hand.end(n, &scenario.faults[n]).await?,
        }
    }
    until(began + scenario.talk, &mut crowd, interrupt).await?;
    let (faults, mut broken) = hand.finish().await?;
    let finished = async {
        let sealed = async {
            match encrypted {
                Some(rooms) => rooms.finish(site, SETTLE).await.map(Some),
                None => Ok(None),
            }
        };
        let crowd = async {
            crowd.until_calm(SETTLE).await;
            let (starts, broken) = order::starts(&operator, &record).await;
            (crowd.finish(&starts).await, broken)
        };
        tokio::join!(crowd, sealed)
    };
    let ((outcome, kept), sealed) = tokio::select! {
        finished = finished => finished,
        stopped = interrupted(interrupt) => return Err(stopped),
    };
    broken.extend(kept);
    broken.extend(stored(site, &outcome)?);
    broken.extend(panics(site, &logs)?);
    let mut run = figures::run(scenario, &outcome, faults);
    run.journal = site.setup().journal.as_str().to_owned();
    run.started = started;
    if let Some((sealed, more)) = sealed? {
        run.sealed = Some(sealed);
        run.violations.extend(more);
    }
    run.violations.extend(broken);
    run.met = run.violations.is_empty() && scenario.wanted.is_met(&run);
    Ok(run)
}

/// Beginnings and ends of all faults in the order of their times; at the same time, ends first.
fn timeline(faults: &[Fault]) -> Vec<(Duration, Event, usize)> {
    let begins = faults
        .iter()
        .enumerate()
        .map(|(n, fault)| (fault.at, Event::Begins, n));
    let ends = faults
        .iter()
        .enumerate()
        .filter_map(|(n, fault)| Some((fault.until?, Event::Ends, n)));
    let mut events: Vec<_> = begins.chain(ends).collect();
    events.sort_by_key(|(at, event, n)| (*at, *event == Event::Begins, *n));
    events
}

/// Waits; meanwhile somebody comes to each room of which something is gone.
async fn until(at: Instant, crowd: &mut Crowd, interrupt: &Interrupt) -> Result<()> {
    while Instant::now() < at {
        interrupt.check()?;
        crowd.send_onlookers();
        sleep(LOOK.min(at - Instant::now())).await;
    }
    interrupt.check()
}

async fn interrupted(interrupt: &Interrupt) -> anyhow::Error {
    loop {
        if let Err(error) = interrupt.check() {
            return error;
        }
        sleep(LOOK).await;
    }
}

/// What the stored rooms look like.
fn stored(site: &Site, outcome: &Outcome) -> Result<Vec<String>> {
    let verified: Result<Vec<_>> = outcome.rooms.iter().map(|room| site.verify(room)).collect();
    Ok(verified?.into_iter().flatten().collect())
}

fn log_sizes(site: &Site) -> Result<BTreeMap<String, u64>> {
    let mut sizes = BTreeMap::new();
    for name in nodes(site) {
        let log = site.logs().join(format!("{name}.log"));
        sizes.insert(name, fs::metadata(log).map_or(0, |log| log.len()));
    }
    Ok(sizes)
}

/// Nodes that say in their logs that a task of theirs panicked.
fn panics(site: &Site, from: &BTreeMap<String, u64>) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for name in nodes(site) {
        let log = fs::read(site.logs().join(format!("{name}.log"))).unwrap_or_default();
        let new = &log[(from.get(&name).copied().unwrap_or(0) as usize).min(log.len())..];
        let text = String::from_utf8_lossy(new);
        found.extend(
            text.lines()
                .filter(|line| line.contains("panicked at"))
                .map(|line| format!("{name}: {line}")),
        );
    }
    Ok(found)
}

fn nodes(site: &Site) -> Vec<String> {
    site.names(xtask::server::Kind::Node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Act, Whom};

    #[test]
    fn what_begins_first_happens_first_and_ends_come_before_beginnings() {
        let fault = |at, until: Option<u64>| Fault {
            at: Duration::from_secs(at),
            until: until.map(Duration::from_secs),
            act: Act::Kill(Whom::Owner),
        };
        let order = timeline(&[fault(5, Some(9)), fault(9, None), fault(1, Some(20))]);
        let order: Vec<_> = order
            .into_iter()
            .map(|(at, event, n)| (at.as_secs(), event, n))
            .collect();
        use Event::{Begins, Ends};
        assert_eq!(
            order,
            [
                (1, Begins, 2),
                (5, Begins, 0),
                (9, Ends, 0),
                (9, Begins, 1),
                (20, Ends, 2)
            ]
        );
    }
}
