//! What goes wrong in a run, and when: drawn from the seed, and done to the cluster while clients
//! talk.

use crate::{board::Board, cluster::Cluster, node::Node, random::Random, run::Conditions};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// The names of the nodes of a run.
pub(crate) const NODES: [&str; 3] = ["n1", "n2", "n3"];
/// One that joins later, in some runs.
const LATE: &str = "n4";

/// What is counted when the database is put back while nodes run.
pub(crate) const UNDER_NODES: &str = "PutBack under nodes";
/// How long a database is away that is put back under running nodes.
const PUTTING_BACK: Duration = Duration::from_secs(5);

/// What can go wrong with the parts of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Kill,
    Drain,
    Freeze,
    Cut,
    JournalAway,
    JournalAwayForOne,
    LoseTail,
    SlowRecords,
    KillAll,
    Join,
    PutBack,
}

const KINDS: [Kind; 10] = [
    Kind::Kill,
    Kind::Drain,
    Kind::Freeze,
    Kind::Cut,
    Kind::JournalAway,
    Kind::JournalAwayForOne,
    Kind::LoseTail,
    Kind::SlowRecords,
    Kind::KillAll,
    Kind::Join,
];

#[derive(Debug, Clone)]
struct Fault {
    at: Duration,
    kind: Kind,
    node: &'static str,
    /// Until it is mended.
    lasts: Duration,
    size: u64,
}

/// The faults of a run, in the order of their times.
pub(crate) struct Plan {
    faults: Vec<Fault>,
    /// When they are over.
    ends: Duration,
}

impl Plan {
    pub(crate) fn of(conditions: Conditions, seed: u64) -> Self {
        let ends = conditions.rough();
        let faults = match conditions {
            Conditions::Rough => Self::rough(seed, ends, 8),
            Conditions::RoomsGo => Self::rough(seed, ends, 24),
            Conditions::Calm => Vec::new(),
            Conditions::RollingRestart => Self::rolling_restart(),
            Conditions::PutBack => Self::put_back(seed),
        };
        Self { faults, ends }
    }

    fn rolling_restart() -> Vec<Fault> {
        let restart = |(at, node)| Fault {
            at: Duration::from_secs(at),
            kind: Kind::Drain,
            node,
            lasts: Duration::from_secs(2),
            size: 0,
        };
        [8, 18, 28].into_iter().zip(NODES).map(restart).collect()
    }

    /// The database goes back twice, to before so long, with nodes stopped or running (size 1).
    fn put_back(seed: u64) -> Vec<Fault> {
        let mut random = Random::of(seed, "plan");
        let begins = [1, 22].map(|at| Fault {
            at: Duration::from_secs(at) + random.time(Duration::from_secs(5)),
            kind: Kind::PutBack,
            node: NODES[0],
            lasts: random.time(Duration::from_secs(12)),
            size: random.below(2),
        });
        begins.into()
    }

    /// At most so many.
    fn rough(seed: u64, ends: Duration, most: u64) -> Vec<Fault> {
        let mut random = Random::of(seed, "plan");
        let kinds: Vec<Kind> = KINDS.into_iter().filter(|_| random.chance(400)).collect();
        let count = if kinds.is_empty() {
            0
        } else {
            1 + random.below(most)
        };
        let mut faults: Vec<Fault> = (0..count)
            .map(|_| Self::fault(&mut random, &kinds, ends))
            .collect();
        faults.sort_by_key(|fault| fault.at);
        faults
    }

    fn fault(random: &mut Random, kinds: &[Kind], ends: Duration) -> Fault {
        let (at, kind, node) = (random.time(ends), *random.pick(kinds), *random.pick(&NODES));
        Fault {
            at,
            kind,
            node,
            lasts: random.skewed(Duration::from_secs(40)),
            size: 1 + random.below(20),
        }
    }

    /// The nodes that run in the end.
    pub(crate) fn nodes(&self) -> Vec<&'static str> {
        let late = self
            .faults
            .iter()
            .any(|fault| fault.kind == Kind::Join)
            .then_some(LATE);
        NODES.into_iter().chain(late).collect()
    }

    /// Does it all, and returns when the rough part of the run is over.
    pub(crate) async fn happen(self, cluster: &Cluster, board: &Board) {
        let start = Instant::now();
        for fault in self.faults {
            sleep_until(start + fault.at).await;
            board.count(format!("{:?}", fault.kind));
            if fault.kind == Kind::PutBack && fault.size == 1 {
                board.count(UNDER_NODES);
            }
            tracing::info!(?fault, "fault");
            tokio::spawn(fault.strike(cluster.clone()));
        }
        sleep_until(start + self.ends).await;
    }
}

impl Fault {
    async fn strike(self, cluster: Cluster) {
        let (name, lasts) = (self.node, self.lasts);
        match self.kind {
            Kind::Kill => {
                cluster.kill(name);
                sleep(lasts).await;
                cluster.start(name);
            }
            Kind::KillAll => {
                cluster
                    .names()
                    .into_iter()
                    .for_each(|name| cluster.kill(name));
                sleep(lasts).await;
                NODES.into_iter().for_each(|name| cluster.start(name));
            }
            Kind::PutBack => {
                let backup = cluster.backup();
                sleep(lasts).await;
                if self.size == 1 {
                    cluster.put_back_after(PUTTING_BACK, &backup).await;
                    return;
                }
                cluster
                    .names()
                    .into_iter()
                    .for_each(|name| cluster.kill(name));
                cluster.put_back(&backup);
                sleep(Duration::from_secs(1)).await;
                NODES.into_iter().for_each(|name| cluster.start(name));
            }
            Kind::Drain => {
                cluster.drain(name).await;
                sleep(lasts).await;
                cluster.start(name);
            }
            Kind::Join => cluster.start(LATE),
            Kind::Freeze => self.to_node(&cluster, Cluster::freeze, Cluster::thaw).await,
            Kind::Cut => self.to_node(&cluster, Cluster::cut, Cluster::restore).await,
            Kind::JournalAwayForOne => {
                let away = |away: bool| {
                    move |cluster: &Cluster, node: &Node| {
                        cluster
                            .weather()
                            .without_journal(node.bus.connection(), away)
                    }
                };
                self.to_node(&cluster, away(true), away(false)).await;
            }
            Kind::SlowRecords => {
                let slow = |by: Duration| {
                    move |cluster: &Cluster, node: &Node| {
                        cluster.weather().slow_records(node.bus.connection(), by)
                    }
                };
                self.to_node(
                    &cluster,
                    slow(Duration::from_secs(self.size)),
                    slow(Duration::ZERO),
                )
                .await;
            }
            Kind::JournalAway => {
                cluster.weather().journal_away(true);
                sleep(lasts).await;
                cluster.weather().journal_away(false);
            }
            Kind::LoseTail => cluster.lose_tail(self.size, self.size / 2),
        }
    }

    /// Does something to a node, if it runs, and takes it back later.
    async fn to_node(
        &self,
        cluster: &Cluster,
        begin: impl Fn(&Cluster, &Node),
        end: impl Fn(&Cluster, &Node),
    ) {
        let Some(node) = cluster.node(self.node) else {
            return;
        };
        begin(cluster, &node);
        sleep(self.lasts).await;
        end(cluster, &node);
    }
}
