//! Many clients in one room: what they send, how long it takes, and whether every promise was kept.

use crate::{
    client::{self, Options, Outgoing, Timed},
    history::{History, Step, Violation},
};
use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use std::{collections::HashMap, fmt, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

/// What to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Gateways.
    pub urls: Vec<String>,
    /// The room; a new one, so that its history begins with this run.
    pub room: String,
    /// How many clients.
    pub clients: usize,
    /// Messages of each client.
    pub messages: usize,
    /// Messages per second of all clients together; `None`: as fast as `window` allows.
    pub rate: Option<f64>,
    /// Messages of a client that may wait for their answer, when there is no rate.
    pub window: usize,
    /// Bytes of text in a message.
    pub bytes: usize,
    /// How long everything may take to settle after the last message was sent.
    pub settle: Duration,
}

/// What came out.
pub struct Outcome {
    /// Messages sent.
    pub sent: usize,
    /// Messages answered `journaled`.
    pub journaled: usize,
    /// Messages answered `rejected` for good.
    pub rejected: usize,
    /// Messages seen by every client.
    pub seen: usize,
    /// From the first send to the last answer.
    pub took: Duration,
    /// Microseconds from the first send of a message to its answer.
    pub to_journaled: Histogram<u64>,
    /// Microseconds from the first send of a message until the last client saw it.
    pub to_last_member: Histogram<u64>,
    /// The longest time without any answer, while messages waited for one.
    pub silence: Duration,
    /// How often clients connected.
    pub connects: usize,
    /// Broken promises.
    pub violations: Vec<Violation>,
}

/// Everything that is recorded while it runs.
#[derive(Default)]
struct Record {
    history: History,
    sent: HashMap<String, Instant>,
    answered: HashMap<String, Instant>,
    seen: HashMap<String, (usize, Instant)>,
    last_answer: Option<Instant>,
    silence: Duration,
    rejected: usize,
    connects: usize,
}

impl Record {
    fn take(&mut self, client: &str, (at, step): Timed) {
        match &step {
            Step::Sent { id } => {
                if self.sent.len() == self.answered.len() {
                    // Nothing waited: silence until now was nobody's fault.
                    self.last_answer = Some(at);
                }
                self.sent.entry(id.clone()).or_insert(at);
            }
            Step::Journaled { id, .. } | Step::Repeated { id, .. }
                if !self.answered.contains_key(id) =>
            {
                self.silence = self.silence.max(at - self.last_answer.unwrap_or(at));
                self.last_answer = Some(at);
                self.answered.insert(id.clone(), at);
            }
            Step::Rejected { .. } => self.rejected += 1,
            Step::Connected { .. } => self.connects += 1,
            Step::Saw(event) => {
                if let Some(id) = &event.id {
                    let seen = self.seen.entry(id.clone()).or_insert((0, at));
                    *seen = (seen.0 + 1, at.max(seen.1));
                }
            }
            _ => {}
        }
        self.history
            .clients
            .entry(client.to_owned())
            .or_default()
            .push(step);
    }

    fn is_settled(&self, plan: &Plan, total: usize) -> bool {
        self.answered.len() + self.rejected >= total
            && self.answered.keys().all(|id| {
                self.seen
                    .get(id)
                    .is_some_and(|(count, _)| *count >= plan.clients)
            })
            // Somebody may be found to have left after the last message.
            && self.history.liveness().is_empty()
    }

    fn outcome(self, plan: &Plan) -> Outcome {
        let mut to_journaled = histogram();
        let mut to_last_member = histogram();
        for (id, sent) in &self.sent {
            if let Some(at) = self.answered.get(id) {
                to_journaled.saturating_record((*at - *sent).as_micros() as u64);
            }
            if let Some((_, at)) = self
                .seen
                .get(id)
                .filter(|(count, _)| *count >= plan.clients)
            {
                to_last_member.saturating_record((*at - *sent).as_micros() as u64);
            }
        }
        let first = self.sent.values().min();
        let last = self.answered.values().max();
        let took = first
            .zip(last)
            .map_or(Duration::ZERO, |(first, last)| *last - *first);
        let mut violations = self.history.safety();
        violations.extend(self.history.liveness());
        Outcome {
            sent: self.sent.len(),
            journaled: self.answered.len(),
            rejected: self.rejected,
            seen: self
                .seen
                .values()
                .filter(|(count, _)| *count >= plan.clients)
                .count(),
            took,
            to_journaled,
            to_last_member,
            silence: self.silence,
            connects: self.connects,
            violations,
        }
    }
}

/// 1 microsecond to 10 minutes, to three digits.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("the bounds are valid")
}

/// Runs a plan: everybody connects, everybody sends, and all is given time to settle.
pub async fn run(plan: &Plan) -> Result<Outcome> {
    let (stop, stopped) = watch::channel(false);
    let (connected, mut waiting) = mpsc::channel(1);
    let mut tasks = JoinSet::new();
    let (all, mut steps) = mpsc::unbounded_channel::<(String, Timed)>();
    let mut senders = Vec::new();
    for n in 0..plan.clients {
        let user = format!("user-{n:03}");
        let options = Options {
            urls: plan.urls.clone(),
            room: plan.room.clone(),
            user: user.clone(),
            first: n,
            since: None,
        };
        let (outgoing, outgoing_rx) = mpsc::channel(plan.window);
        let (own, mut own_rx) = mpsc::unbounded_channel();
        tasks.spawn(client::run(
            options,
            outgoing_rx,
            own,
            connected.clone(),
            stopped.clone(),
        ));
        let all = all.clone();
        let name = user.clone();
        tasks.spawn(async move {
            while let Some(step) = own_rx.recv().await {
                let _ = all.send((name.clone(), step));
            }
            Ok(())
        });
        senders.push((user, outgoing));
    }
    drop((connected, all));
    // Every client drops its sender when it is connected for the first time.
    timeout(Duration::from_secs(60), waiting.recv())
        .await
        .context("not every client could connect within 60 s")?;

    let total = plan.clients * plan.messages;
    let (window_tx, window_rx) = watch::channel(HashMap::<String, usize>::new());
    let start = Instant::now();
    for (n, (user, outgoing)) in senders.into_iter().enumerate() {
        let (plan, mut answered) = (plan.clone(), window_rx.clone());
        tasks.spawn(async move {
            for m in 0..plan.messages {
                if let Some(rate) = plan.rate {
                    let slot = (m * plan.clients + n) as f64 / rate;
                    sleep_until(start + Duration::from_secs_f64(slot)).await;
                } else {
                    let free = |answered: &HashMap<String, usize>| {
                        m < answered.get(&user).copied().unwrap_or(0) + plan.window
                    };
                    if answered.wait_for(free).await.is_err() {
                        return Ok(());
                    }
                }
                let message = Outgoing {
                    id: format!("{user}-{m}"),
                    text: "x".repeat(plan.bytes),
                };
                if outgoing.send(message).await.is_err() {
                    return Ok(());
                }
            }
            // Held until the end: a client whose sender is gone would have nothing to wait for.
            outgoing.closed().await;
            Ok(())
        });
    }

    let mut record = Record::default();
    let sending = plan.rate.map_or(Duration::ZERO, |rate| {
        Duration::from_secs_f64(total as f64 / rate)
    });
    let deadline = start + sending + plan.settle;
    while !record.is_settled(plan, total) {
        let Ok(Some((client, step))) = tokio::time::timeout_at(deadline, steps.recv()).await else {
            break;
        };
        let answered = matches!(
            step.1,
            Step::Journaled { .. } | Step::Repeated { .. } | Step::Rejected { .. }
        );
        record.take(&client, step);
        if answered {
            window_tx.send_modify(|answered| *answered.entry(client).or_default() += 1);
        }
    }
    stop.send_replace(true);
    let grace = Instant::now() + Duration::from_secs(5);
    while let Ok(Some(_)) = tokio::time::timeout_at(grace, steps.recv()).await {}
    tasks.shutdown().await;
    Ok(record.outcome(plan))
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |micros: u64| micros as f64 / 1000.0;
        let rate = self.journaled as f64 / self.took.as_secs_f64().max(1e-9);
        writeln!(
            f,
            "sent {}  journaled {}  rejected {}  seen by all {}",
            self.sent, self.journaled, self.rejected, self.seen
        )?;
        writeln!(
            f,
            "took {:.2} s  rate {rate:.0} messages/s  longest time without an answer {:.0} ms",
            self.took.as_secs_f64(),
            self.silence.as_secs_f64() * 1e3
        )?;
        for (name, histogram) in [
            ("send -> journaled", &self.to_journaled),
            ("send -> last member", &self.to_last_member),
        ] {
            let [p50, p99, max] = [
                histogram.value_at_quantile(0.5),
                histogram.value_at_quantile(0.99),
                histogram.max(),
            ]
            .map(ms);
            writeln!(
                f,
                "{name:<20} p50 {p50:.1} ms  p99 {p99:.1} ms  max {max:.1} ms"
            )?;
        }
        writeln!(
            f,
            "connects {}  broken promises {}",
            self.connects,
            self.violations.len()
        )?;
        for violation in self.violations.iter().take(20) {
            writeln!(f, "  {violation}")?;
        }
        Ok(())
    }
}
