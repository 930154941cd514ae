//! What is done to a site, to whom, and for how long; and the hand that does it.

use crate::{
    operator::Refusal,
    order::{Order, Orders},
    proxy::Rules,
    report,
    site::{NODES, SPARE, Signal, Site, Way},
};
use anyhow::{Context, Result};
use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::Duration,
};
use tokio::{
    task::{JoinSet, block_in_place, spawn_blocking},
    time::Instant,
};
use xtask::{
    console::say,
    interrupt::Interrupt,
    server::{Kind, Server},
};

/// How long the rest of a cluster has to take in that a node came back before the next one is
/// stopped. A person, or an orchestrator that asks `/ready`, waits no less.
const BETWEEN: Duration = Duration::from_secs(3);
/// How often a server that starts is asked whether it is ready.
const ASK: Duration = Duration::from_millis(100);

/// Something that is done, and undone later.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// When, from the first message on.
    pub at: Duration,
    /// When it is undone: a process is started or goes on, the network is mended. `None`: when the
    /// run is over.
    pub until: Option<Duration>,
    /// What it is.
    pub act: Act,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Act {
    /// SIGKILL; undone by a start.
    Kill(Whom),
    /// SIGSTOP; undone by SIGCONT.
    Freeze(Whom),
    /// SIGTERM, and it ends in order; undone by a start.
    Stop(Whom),
    /// SIGUSR2 to a nats-server: its clients are sent away, then it ends in order; undone by a
    /// start.
    LameDuck(Whom),
    /// Each is stopped in order and started again, one after another: an upgrade.
    Roll(Whom),
    /// Each is stopped in order and started again as this version of the program, one after
    /// another.
    Install(Version, Whom),
    /// One more node starts; undone by SIGTERM.
    Join,
    /// A node reaches neither NATS nor Cassandra, or one of them.
    Cut {
        /// Which node.
        whom: Whom,
        /// Whether NATS.
        bus: bool,
        /// Whether Cassandra.
        journal: bool,
    },
    /// Each connection of everybody is reset with this probability in each second.
    Resets(f64),
    /// Everything takes longer, by this and up to as much again.
    Delays(Duration),
    /// The disk of the bus is full.
    Fill,
    /// An operator has something removed.
    Order(Order),
}

/// A version of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// The one that `--before` names.
    Before,
    /// The one that is tested.
    Now,
}

/// To whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// The node that writes the first room.
    Owner,
    /// A node that does not.
    Gateway,
    /// The nats-server that leads the stream of events.
    BusLeader,
    /// One Cassandra node: the last one, which is no seed.
    OneCassandra,
    /// All nodes.
    EveryNode,
    /// All nats-servers.
    EveryNats,
    /// All Cassandra nodes.
    EveryCassandra,
    /// A node.
    Node(u8),
    /// A nats-server.
    Nats(u16),
    /// A Cassandra node.
    Cassandra(u16),
}

/// Does it, and remembers what was done.
pub struct Hand<'a> {
    site: &'a mut Site,
    room: &'a str,
    orders: Orders,
    interrupt: Interrupt,
    began: Instant,
    /// To whom each fault happens, by its place in the scenario.
    targets: BTreeMap<usize, Vec<String>>,
    told: BTreeMap<usize, report::Fault>,
    /// Killed or stopped, and not started again.
    down: BTreeSet<String>,
    /// Servers that were started, until they are ready, and the bus, until it is led again: which
    /// fault is over then.
    starting: JoinSet<(usize, Instant)>,
    broken: Vec<String>,
}

impl<'a> Hand<'a> {
    /// For a run that began then; the owner is that of `room`.
    pub fn new(
        site: &'a mut Site,
        room: &'a str,
        orders: Orders,
        interrupt: Interrupt,
        began: Instant,
    ) -> Self {
        let (targets, told, down) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self {
            site,
            room,
            orders,
            interrupt,
            began,
            targets,
            told,
            down,
            starting: JoinSet::new(),
            broken: Vec::new(),
        }
    }

    /// Does fault `n`.
    pub async fn begin(&mut self, n: usize, fault: &Fault) -> Result<()> {
        let targets = self.targets_of(&fault.act).await?;
        let what = told(&fault.act, &targets);
        say(format!(
            "  {:5.1} s  {what}",
            self.began.elapsed().as_secs_f64()
        ));
        self.told.insert(
            n,
            report::Fault {
                at_s: self.began.elapsed().as_secs_f64(),
                until_s: None,
                what,
            },
        );
        self.targets.insert(n, targets.clone());
        for name in &targets {
            match fault.act {
                Act::Kill(_) => {
                    self.site.kill(name)?;
                    self.down.insert(name.clone());
                }
                Act::Freeze(_) => self.site.signal(name, Signal::SIGSTOP)?,
                Act::Stop(_) => {
                    self.stop(name)?;
                    self.down.insert(name.clone());
                }
                Act::LameDuck(_) => {
                    self.site.signal(name, Signal::SIGUSR2)?;
                    self.down.insert(name.clone());
                }
                Act::Roll(_) => self.roll(name)?,
                Act::Install(version, _) => {
                    self.site.install(name, version)?;
                    self.roll(name)?;
                }
                Act::Join => self.start(n, name)?,
                Act::Cut { .. } => self.set_cut(&fault.act, name, Rules::CUT),
                Act::Resets(_) | Act::Delays(_) | Act::Fill | Act::Order(_) => {}
            }
        }
        if fault.act.stops_the_bus() {
            let bus = self.site.bus();
            self.starting.spawn(async move {
                bus.led().await;
                (n, Instant::now())
            });
        }
        match fault.act {
            Act::Resets(probability) => self
                .site
                .links()
                .set(&Way::Everywhere, Rules::resetting(probability)),
            Act::Delays(least) => self
                .site
                .links()
                .set(&Way::Everywhere, Rules::delayed(least, least)),
            Act::Fill => {
                let filled = self
                    .site
                    .bus()
                    .fill(usize::from(self.site.setup().nats))
                    .await?;
                say(format!("           the disk took {} MiB", filled >> 20));
            }
            Act::Roll(_) | Act::Install(..) => self.over(n),
            Act::Order(order) => self.orders.give(n, order),
            _ => {}
        }
        Ok(())
    }

    /// Undoes fault `n`.
    pub async fn end(&mut self, n: usize, fault: &Fault) -> Result<()> {
        let targets = self
            .targets
            .get(&n)
            .context("a fault ends that did not begin")?
            .clone();
        say(format!(
            "  {:5.1} s  end of: {}",
            self.began.elapsed().as_secs_f64(),
            told(&fault.act, &targets)
        ));
        for name in &targets {
            match fault.act {
                Act::Kill(_) if fault.act.stops_the_bus() => drop(self.revive(name)?),
                Act::LameDuck(_) => {
                    if !self.site.ended(name)? {
                        self.broken
                            .push(format!("{name} did not end by itself after SIGUSR2"));
                    }
                    self.start(n, name)?;
                }
                Act::Kill(_) | Act::Stop(_) => self.start(n, name)?,
                Act::Freeze(_) => self.site.signal(name, Signal::SIGCONT)?,
                Act::Join => {
                    self.stop(name)?;
                    self.down.insert(name.clone());
                }
                Act::Cut { .. } => self.set_cut(&fault.act, name, Rules::OPEN),
                Act::Roll(_)
                | Act::Install(..)
                | Act::Resets(_)
                | Act::Delays(_)
                | Act::Fill
                | Act::Order(_) => {}
            }
        }
        match fault.act {
            _ if fault.act.stops_the_bus() => return Ok(()), // over when its streams are led again
            Act::Resets(_) | Act::Delays(_) => self.site.links().mend(),
            Act::Fill => self.site.bus().clear().await?,
            // Over when they are ready.
            Act::Kill(_) | Act::Stop(_) | Act::LameDuck(_) => return Ok(()),
            _ => {}
        }
        self.over(n);
        Ok(())
    }

    /// When everything that was started is ready, and after that all is mended and what was ordered
    /// is done: what was done, and what went wrong with the processes themselves, and with orders.
    pub async fn finish(mut self) -> Result<(Vec<report::Fault>, Vec<String>)> {
        while let Some(ready) = self.starting.join_next().await {
            let (n, at) = ready?;
            let until = at.saturating_duration_since(self.began).as_secs_f64();
            if let Some(fault) = self.told.get_mut(&n) {
                fault.until_s = Some(fault.until_s.unwrap_or(0.0).max(until));
            }
        }
        self.interrupt.check()?;
        for name in self.site.dead()? {
            if !self.down.contains(&name) {
                self.broken.push(format!("{name} ended by itself"));
            }
        }
        self.site.heal()?;
        for done in self.orders.finish().await {
            let Some(fault) = self.told.get_mut(&done.n) else {
                continue;
            };
            let until = done.at.saturating_duration_since(self.began);
            fault.until_s = Some(until.as_secs_f64());
            match done.result {
                Ok(()) => {}
                Err(Refusal::OldNode(why)) => fault.what += &format!(" (refused: {why})"),
                Err(why) => self.broken.push(format!("{}: {why:?}", fault.what)),
            }
        }
        Ok((self.told.into_values().collect(), self.broken))
    }

    fn over(&mut self, n: usize) {
        let now = self.began.elapsed().as_secs_f64();
        if let Some(fault) = self.told.get_mut(&n) {
            fault.until_s = Some(now);
        }
    }

    async fn targets_of(&self, act: &Act) -> Result<Vec<String>> {
        let whom = match act {
            Act::Kill(whom)
            | Act::Freeze(whom)
            | Act::Stop(whom)
            | Act::LameDuck(whom)
            | Act::Roll(whom)
            | Act::Install(_, whom)
            | Act::Cut { whom, .. } => *whom,
            Act::Join => Whom::Node(SPARE),
            Act::Order(order) => return Ok(self.orders.names(*order)),
            Act::Resets(_) | Act::Delays(_) | Act::Fill => return Ok(Vec::new()),
        };
        Ok(match whom {
            Whom::Owner => vec![self.site.bus().owner(self.room).await?],
            Whom::Gateway => {
                let owner = self.site.bus().owner(self.room).await?;
                let others = (1..=NODES)
                    .map(|i| format!("node-{i}"))
                    .find(|name| *name != owner);
                vec![others.context("there is one node only")?]
            }
            Whom::BusLeader => vec![self.site.bus().leader().await?],
            Whom::OneCassandra => self
                .site
                .names(Kind::Cassandra)
                .into_iter()
                .next_back()
                .into_iter()
                .collect(),
            Whom::EveryNode => self.site.names(Kind::Node),
            Whom::EveryNats => self.site.names(Kind::Nats),
            Whom::EveryCassandra => self.site.names(Kind::Cassandra),
            Whom::Node(i) => vec![format!("node-{i}")],
            Whom::Nats(i) => vec![format!("nats-{i}")],
            Whom::Cassandra(i) => vec![format!("cassandra-{i}")],
        })
    }

    fn set_cut(&self, act: &Act, name: &str, rules: Rules) {
        let Act::Cut { bus, journal, .. } = act else {
            return;
        };
        if *bus {
            self.site.links().set(&Way::ToBus(name.to_owned()), rules);
        }
        if *journal {
            self.site
                .links()
                .set(&Way::ToJournal(name.to_owned()), rules);
        }
    }

    fn stop(&mut self, name: &str) -> Result<()> {
        if !self.site.stop(name)? {
            self.broken
                .push(format!("{name} did not end by itself after SIGTERM"));
        }
        Ok(())
    }

    fn roll(&mut self, name: &str) -> Result<()> {
        self.stop(name)?;
        let server = self.site.begin(name)?;
        block_in_place(|| await_ready(&server, &self.interrupt));
        self.interrupt.check()?;
        block_in_place(|| thread::sleep(BETWEEN));
        Ok(())
    }

    fn revive(&mut self, name: &str) -> Result<Server> {
        self.down.remove(name);
        self.site.begin(name)
    }

    /// Starts it; fault `n` is over when it is ready.
    fn start(&mut self, n: usize, name: &str) -> Result<()> {
        let server = self.revive(name)?;
        let interrupt = self.interrupt.clone();
        self.starting.spawn(async move {
            let ready = spawn_blocking(move || await_ready(&server, &interrupt)).await;
            (n, ready.unwrap_or_else(|_| Instant::now()))
        });
        Ok(())
    }
}

impl Act {
    /// Whether the bus is away until others of its servers lead its streams, or the same ones
    /// again.
    fn stops_the_bus(&self) -> bool {
        matches!(self, Self::Kill(whom) | Self::Freeze(whom) if matches!(whom, Whom::BusLeader | Whom::EveryNats | Whom::Nats(_)))
    }
}

/// When it answered; or, if it never does, when that was given up: what is wrong with it is found
/// when the site is healed.
fn await_ready(server: &Server, interrupt: &Interrupt) -> Instant {
    let since = Instant::now();
    while server.ready.ask().is_err()
        && !interrupt.requested()
        && since.elapsed().as_secs() < server.patience
    {
        thread::sleep(ASK);
    }
    Instant::now()
}

fn told(act: &Act, targets: &[String]) -> String {
    let names = targets.join(", ");
    let of = |whom: &Whom| match whom {
        Whom::Owner => format!("{names} (owner)"),
        Whom::Gateway => format!("{names} (gateway)"),
        Whom::BusLeader => format!("{names} (leader)"),
        _ => names.clone(),
    };
    match act {
        Act::Kill(whom) => format!("kill -9 {}", of(whom)),
        Act::Freeze(whom) => format!("SIGSTOP {}", of(whom)),
        Act::Stop(whom) => format!("SIGTERM {}", of(whom)),
        Act::LameDuck(whom) => format!("SIGUSR2 (lame duck) {}", of(whom)),
        Act::Roll(_) => format!("rolling restart of {names}"),
        Act::Install(Version::Before, _) => format!("{names}: back to the version before"),
        Act::Install(Version::Now, _) => format!("{names}: to this version"),
        Act::Join => format!("{names} joins"),
        Act::Cut { whom, bus, journal } => {
            let from = match (bus, journal) {
                (true, true) => "NATS and Cassandra",
                (true, false) => "NATS",
                _ => "Cassandra",
            };
            format!("{} cut off from {from}", of(whom))
        }
        Act::Resets(probability) => format!(
            "{:.0} % of connections reset per second",
            probability * 100.0
        ),
        Act::Delays(least) => format!(
            "everything {0}-{1} ms later",
            least.as_millis(),
            2 * least.as_millis()
        ),
        Act::Fill => "the disk of the bus is full".to_owned(),
        Act::Order(Order::Retain { events, .. }) => {
            format!("operator: {names} keeps {events} events")
        }
        Act::Order(Order::Purge { .. }) => format!("operator: purge of {names}"),
        Act::Order(Order::Erase { .. }) => {
            format!("operator: erasure in {}", targets.join(" of "))
        }
    }
}
