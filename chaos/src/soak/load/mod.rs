//! The load of a soak: who does what, all of it at the same time and at a steady rate, from the
//! beginning to the end.

mod flood;
mod ledger;
#[cfg(test)]
mod ledger_tests;
mod passing;
mod slow;
mod socket;
mod steady;
mod tenant;

use crate::{
    operator::Operator,
    proxy::{self, Rules},
};
use anyhow::{Context, Result};
pub(super) use ledger::Counts;
use ledger::{Account, Ledger};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

/// How long everything may take to be answered and seen once nobody sends any more.
const SETTLE: Duration = Duration::from_secs(60);
/// Of the connections through a bad network, this part is reset in each second.
const RESETS: f64 = 0.02;
/// One in so many clients has a bad network.
const BAD_NETWORK: usize = 4;
/// Rooms that a passing client has for itself, where they come again.
const OWN_ROOMS: usize = 50;
/// How long all steady clients may take to connect.
const GATHER: Duration = Duration::from_secs(60);

/// Who does what.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// Where gateways are.
    pub(super) gateways: Vec<SocketAddr>,
    /// Rooms that are always in use.
    pub(super) rooms: usize,
    /// Clients that stay, each in one room.
    pub(super) steady: usize,
    /// Messages per second of all of them together.
    pub(super) rate: f64,
    /// Clients that come, say something and go.
    pub(super) passing: usize,
    /// Clients that read slower than their room talks.
    pub(super) slow: usize,
    /// Clients that send far too much at once.
    pub(super) floods: usize,
    /// Those whose rooms are made, filled, limited and purged. With any, no room is made that does
    /// not come again.
    pub(super) tenants: usize,
    /// Where operators ask.
    pub(super) operators: Vec<SocketAddr>,
    /// Where all chance comes from.
    pub(super) seed: u64,
}

impl Plan {
    /// As a person reads it.
    pub(super) fn told(&self) -> Vec<String> {
        let Self {
            gateways,
            rooms,
            steady,
            rate,
            passing,
            slow,
            floods,
            tenants,
            ..
        } = self;
        let resets = RESETS * 100.0;
        let mut told = vec![
            format!("{} nodes", gateways.len()),
            format!(
                "{steady} clients stay in {rooms} rooms and send {rate} messages per second in all"
            ),
            format!(
                "one in {BAD_NETWORK} of them through connections that are reset with {resets} % per second"
            ),
            format!(
                "{passing} come, send {} messages and go every few seconds, half of them to a new room, a third without a farewell",
                passing::MESSAGES
            ),
            format!("{slow} read slower than their room of large messages talks"),
            format!(
                "{floods} send {} messages at once every {} s",
                flood::MESSAGES,
                flood::PAUSE.as_secs()
            ),
        ];
        if *tenants > 0 {
            told.push(format!(
                "a day takes ten seconds: rooms keep 90 days; {tenants} tenants have {} rooms each, \
                 which are made, filled, limited, filled and purged in turn",
                tenant::ROOMS
            ));
        }
        told
    }
}

/// Clients at work.
pub(super) struct Load {
    ledger: Ledger,
    steady: Vec<Account>,
    stop: watch::Sender<Phase>,
    tasks: JoinSet<()>,
    proxies: Vec<proxy::Handle>,
}

/// What clients are to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Phase {
    Talk,
    /// Send nothing new, but wait for answers.
    Listen,
    Leave,
}

impl Load {
    /// Connects the steady clients, then lets everybody begin.
    pub(super) async fn begin(plan: &Plan) -> Result<Self> {
        let mut proxies = Vec::new();
        for (n, gateway) in plan.gateways.iter().enumerate() {
            let proxy = proxy::start(
                SocketAddr::new(gateway.ip(), 0),
                *gateway,
                plan.seed.wrapping_add(n as u64),
            )
            .await;
            let proxy = proxy.with_context(|| format!("no proxy in front of {gateway}"))?;
            proxy.set(Rules::resetting(RESETS));
            proxies.push(proxy);
        }
        let good: Vec<String> = plan
            .gateways
            .iter()
            .map(|at| format!("http://{at}"))
            .collect();
        let bad: Vec<String> = proxies
            .iter()
            .map(|proxy| format!("http://{}", proxy.address()))
            .collect();
        let urls = |n: usize| {
            if n.is_multiple_of(BAD_NETWORK) {
                bad.clone()
            } else {
                good.clone()
            }
        };
        let (ledger, stop, tasks) = (
            Ledger::default(),
            watch::channel(Phase::Talk).0,
            JoinSet::new(),
        );
        let mut load = Self {
            ledger,
            steady: Vec::new(),
            stop,
            tasks,
            proxies,
        };

        let (connected, mut all) = tokio::sync::mpsc::channel(1);
        for n in 0..plan.steady {
            let (user, room) = (format!("steady-{n}"), room(n % plan.rooms));
            let account = Account::new(&load.ledger, &room, &user);
            let every = Duration::from_secs_f64(plan.steady as f64 / plan.rate);
            let offset = every.mul_f64(n as f64 / plan.steady as f64);
            load.tasks.spawn(steady::run(steady::Plan {
                account: account.clone(),
                options: loadtest::client::Options {
                    urls: urls(n),
                    room,
                    user,
                    first: n,
                    since: None,
                },
                every,
                offset,
                connected: connected.clone(),
                phase: load.stop.subscribe(),
            }));
            load.steady.push(account);
        }
        drop(connected);
        // Every client drops its sender when it is connected for the first time.
        timeout(GATHER, all.recv()).await.with_context(|| {
            format!(
                "not every client could connect within {} s",
                GATHER.as_secs()
            )
        })?;
        let visitor = |n: usize, kind: &str| passing::Visitor {
            n,
            user: format!("{kind}-{n}"),
            urls: good.clone(),
            ledger: load.ledger.clone(),
        };
        for n in 0..plan.passing {
            let rooms = passing::Rooms {
                used: plan.rooms,
                own: (plan.tenants > 0).then_some(OWN_ROOMS),
            };
            let passing = passing::run(visitor(n, "passing"), rooms, load.stop.subscribe());
            load.tasks.spawn(passing);
        }
        for n in 0..plan.tenants {
            let tenant = tenant::Tenant {
                n,
                visitor: visitor(n, "tenant"),
                operator: Operator::new(plan.operators.clone()),
                ledger: load.ledger.clone(),
            };
            load.tasks.spawn(tenant::run(tenant, load.stop.subscribe()));
        }
        for n in 0..plan.slow {
            let gateway = plan.gateways[n % plan.gateways.len()];
            load.tasks.spawn(slow::read(
                n,
                gateway,
                load.ledger.clone(),
                load.stop.subscribe(),
            ));
        }
        if plan.slow > 0 {
            load.tasks.spawn(slow::talk(
                plan.gateways[0],
                load.ledger.clone(),
                load.stop.subscribe(),
            ));
        }
        for n in 0..plan.floods {
            let gateway = plan.gateways[n % plan.gateways.len()];
            load.tasks.spawn(flood::run(
                n,
                gateway,
                load.ledger.clone(),
                load.stop.subscribe(),
            ));
        }
        Ok(load)
    }

    pub(super) fn counts(&self) -> Counts {
        self.ledger.counts()
    }

    /// Connections that were reset.
    pub(super) fn resets(&self) -> u64 {
        self.proxies.iter().map(proxy::Handle::resets).sum()
    }

    pub(super) fn violations(&self) -> Vec<String> {
        self.ledger.violations()
    }

    /// Lets everything settle and everybody leave. Then there are no more counts to come.
    pub(super) async fn end(mut self) -> Ended {
        self.stop.send_replace(Phase::Listen);
        self.proxies.iter().for_each(|proxy| proxy.set(Rules::OPEN));
        let deadline = Instant::now() + SETTLE;
        while self.steady.iter().any(|account| account.open() > 0) && Instant::now() < deadline {
            sleep(Duration::from_millis(100)).await;
        }
        self.steady.iter().for_each(Account::settle);
        self.stop.send_replace(Phase::Leave);
        let gone = async { while self.tasks.join_next().await.is_some() {} };
        let in_time = timeout(SETTLE, gone).await.is_ok();
        if !in_time {
            self.ledger.broken(format!(
                "not every client could leave within {} s",
                SETTLE.as_secs()
            ));
        }
        let Self { ledger, .. } = self;
        Ended {
            counts: ledger.counts(),
            violations: ledger.violations(),
            p50_us: ledger.latency(0.5),
            p99_us: ledger.latency(0.99),
        }
    }
}

/// What came of it.
pub(super) struct Ended {
    pub(super) counts: Counts,
    pub(super) violations: Vec<String>,
    pub(super) p50_us: u64,
    pub(super) p99_us: u64,
}

fn room(n: usize) -> String {
    format!("soak-{n}")
}
