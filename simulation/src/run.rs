//! One run: a seed becomes a history and a verdict.

use crate::{
    board::Board,
    client::{Client, Phase},
    cluster::{Cluster, Kept, has_sealed},
    count::Count,
    judge, lives,
    orders::{Operator, Orders},
    passing,
    plan::{NODES, Plan},
    poster::Poster,
    random::Random,
    sealed::{Holder, State, who},
    visitor::Visitor,
};
use loadtest::{
    history::Removal,
    sealed::{Counts, Device, Note},
};
use safe_chat::room::{RoomId, UserId};
use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

/// How long things go wrong.
pub const ROUGH: Duration = Duration::from_secs(40);
/// How long clients go on talking after that.
const CALM: Duration = Duration::from_secs(5);
/// Between two messages without a session, on average and at least: their addresses are all the
/// same.
const POSTS: Duration = Duration::from_millis(400);
/// How long it may then take until everything has settled: longer than a takeover after a freeze, a
/// client's silence and its next join together.
const SETTLE: Duration = Duration::from_secs(120);

/// What happens to a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Conditions {
    /// Whatever the seed says.
    Rough,
    /// Nothing goes wrong.
    Calm,
    /// Nothing goes wrong, and each node is stopped in order and started again, one after the
    /// other.
    RollingRestart,
    /// Whatever the seed says, for longer, in rooms that go when nobody comes to them.
    RoomsGo,
    /// The database is put back to before, while all nodes are dead or under them; the bus has
    /// everything.
    PutBack,
}

impl Conditions {
    /// How long things go wrong.
    pub(crate) fn rough(self) -> Duration {
        match self {
            Self::RoomsGo => ROUGH * 6,
            Self::Rough | Self::Calm | Self::RollingRestart | Self::PutBack => ROUGH,
        }
    }

    /// How long it may then take until everything has settled.
    fn settle_time(self) -> Duration {
        match self {
            // Somebody must be found to have left, and a purge is looked at once more.
            Self::RoomsGo => SETTLE * 4,
            Self::Rough | Self::Calm | Self::RollingRestart | Self::PutBack => SETTLE,
        }
    }
}

/// What became of a seed.
#[derive(Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Broken promises, in words.
    pub violations: Vec<String>,
    /// What happened.
    pub count: Count,
    /// The longest time from sending a message to its `journaled` on the same connection.
    pub slowest: Duration,
    /// A number of everything that clients did and saw: two runs of a seed have the same.
    pub digest: u64,
}

/// Runs a seed, in virtual time.
pub fn run_in(conditions: Conditions, seed: u64) -> Outcome {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    // Without it a run depends on the order in which tokio wakes the waiters of a `watch`, which is
    // random.
    #[cfg(tokio_unstable)]
    runtime.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()));
    let runtime = runtime.enable_time().start_paused(true).build();
    runtime
        .expect("a runtime without I/O")
        .block_on(simulate(conditions, seed))
}

async fn simulate(conditions: Conditions, seed: u64) -> Outcome {
    let (cluster, board, plan) = (
        Cluster::new(conditions, seed),
        Board::default(),
        Plan::of(conditions, seed),
    );
    if matches!(
        conditions,
        Conditions::Calm | Conditions::RollingRestart | Conditions::PutBack
    ) {
        cluster.weather().calm();
    }
    let nodes = plan.nodes();
    NODES.into_iter().for_each(|name| cluster.start(name));
    let (phase, _) = watch::channel(Phase::Talk);
    let clients = match conditions {
        Conditions::RoomsGo => passing::cast(seed, &cluster, &board, &phase),
        _ => clients(conditions, seed, &cluster, &board, &phase),
    };
    plan.happen(&cluster, &board).await;
    tracing::info!("calm");
    cluster.mend(&nodes);
    sleep(CALM).await;
    phase.send_replace(Phase::Listen);
    // A fault that began late may end only now.
    cluster.mend(&nodes);
    let (mut sealed, mut violations) = (Counts::default(), safety(&board, &cluster));
    if violations.is_empty() {
        let until = Instant::now() + conditions.settle_time();
        violations = settle(&cluster, &board, &nodes, &mut sealed, until).await;
    }
    phase.send_replace(Phase::Over);
    for client in clients {
        // A client that is held up by its wire ends with the runtime.
        client.abort();
    }
    let mut count = board.counted();
    count.add("takeovers", cluster.epochs().await);
    count.add(
        if cluster.kept() == Kept::OnBus {
            "runs on the bus"
        } else {
            "runs in the database"
        },
        1,
    );
    count.add("lives", lives::counted(&board, &cluster));
    count.add("runs with trimming", cluster.keeps().is_some().into());
    count.add("runs with purges", cluster.purges().into());
    count.add("runs with erasures", cluster.erases().into());
    let has_orders = cluster.keeps().is_some() || cluster.purges() || cluster.erases();
    let both = cluster.is_upgrade() && has_orders;
    count.add("runs with two versions", cluster.is_upgrade().into());
    count.add("runs with two versions and an operator", both.into());
    count.add("sealed: runs", (sealed.devices > 0).into());
    count.add("sealed: epochs", sealed.epochs);
    count.add("sealed: messages", sealed.journaled);
    count.add("sealed: readings", sealed.read);
    count.add("sealed: times back", sealed.came_back);
    count.add("events let go", cluster.let_go().await);
    count.add(
        "steps",
        board
            .rooms(|(_, room)| room.history.clients.values().map(Vec::len).sum::<usize>() as u64)
            .into_iter()
            .sum(),
    );
    Outcome {
        seed,
        violations,
        count,
        slowest: board.slowest(),
        digest: digest(&board),
    }
}

fn clients(
    conditions: Conditions,
    seed: u64,
    cluster: &Cluster,
    board: &Board,
    phase: &watch::Sender<Phase>,
) -> Vec<tokio::task::JoinHandle<()>> {
    let mut random = Random::of(seed, "clients");
    let rooms = 1 + random.below(3);
    let pace = Duration::from_millis(50 + random.below(1500));
    // Busy, so that every hand-over finds something under way.
    let pace = if conditions == Conditions::RollingRestart {
        Duration::from_millis(40)
    } else {
        pace
    };
    let mut all = Vec::new();
    for room in 0..rooms {
        let name = format!("room-{room}");
        let poster = Poster {
            cluster: cluster.clone(),
            board: board.clone(),
            room: RoomId::parse(&name).expect("a valid name"),
            user: UserId::parse("poster").expect("a valid name"),
            random: Random::of(seed, &format!("poster in {name}")),
            phase: phase.subscribe(),
            pace: pace.max(POSTS),
            said: 0,
        };
        all.push(tokio::spawn(poster.run()));
        for user in 0..1 + random.below(4) {
            let (room, user) = (format!("room-{room}"), format!("user-{user}"));
            let random = Random::of(seed, &format!("{user} in {room}"));
            let client = Client {
                cluster: cluster.clone(),
                board: board.clone(),
                room: RoomId::parse(&room).expect("a valid name"),
                user: UserId::parse(&user).expect("a valid name"),
                random,
                phase: phase.subscribe(),
                pace,
                history: 0,
                naps: conditions == Conditions::Rough,
                said: BTreeMap::new(),
            };
            all.push(tokio::spawn(client.run()));
        }
    }
    // A room that is quiet at times, so that it is saved, and one that hardly ever is.
    for name in ["visited", "room-0"] {
        let visitor = Visitor {
            cluster: cluster.clone(),
            board: board.clone(),
            room: RoomId::parse(name).expect("a valid name"),
            random: Random::of(seed, &format!("visitor in {name}")),
            phase: phase.subscribe(),
            owned: BTreeSet::new(),
        };
        if conditions == Conditions::Rough {
            all.push(tokio::spawn(visitor.run()));
        }
    }
    if conditions == Conditions::Rough && has_sealed(seed) {
        let (name, founded) = ("sealed", watch::channel(false).0);
        for user in 0..2 + random.below(3) {
            let holder = Holder {
                cluster: cluster.clone(),
                board: board.clone(),
                device: Device::new(who(name, user)),
                random: Random::of(seed, &format!("{user} in {name}")),
                phase: phase.subscribe(),
                founded: founded.clone(),
                state: State::default(),
            };
            all.push(tokio::spawn(holder.run(user == 0)));
        }
    }
    let rooms: Vec<RoomId> = (0..rooms)
        .map(|room| RoomId::parse(&format!("room-{room}")).expect("a valid name"))
        .collect();
    if let Some(keeps) = cluster.keeps() {
        let all = rooms.iter().map(RoomId::as_str).chain(["visited"]);
        all.for_each(|name| {
            board.room(name, |room| {
                room.history.removed.ordered(&Removal::Keep(keeps))
            });
        });
    }
    if cluster.erases() {
        let users = ["user-0", "user-1", "poster"].map(UserId::parse);
        let eraser = Operator {
            cluster: cluster.clone(),
            board: board.clone(),
            rooms: rooms.clone(),
            orders: Orders::Erasures(users.into_iter().flatten().collect()),
            random: Random::of(seed, "eraser"),
            phase: phase.subscribe(),
        };
        all.push(tokio::spawn(eraser.run()));
    }
    if cluster.purges() {
        let purger = Operator {
            cluster: cluster.clone(),
            board: board.clone(),
            rooms,
            orders: Orders::Purges,
            random: Random::of(seed, "purger"),
            phase: phase.subscribe(),
        };
        all.push(tokio::spawn(purger.run()));
    }
    all
}

/// Waits until every client is there, was answered, saw everything and knows who is here, and every
/// command is decided; until then at most. Returns what is not so then.
async fn settle(
    cluster: &Cluster,
    board: &Board,
    nodes: &[&'static str],
    counted: &mut Counts,
    until: Instant,
) -> Vec<String> {
    loop {
        sleep(Duration::from_secs(1)).await;
        // A drain that began before ends in a node that is started again only after its fault.
        nodes.iter().for_each(|name| cluster.start(name));
        if cluster.passing().is_some() {
            let mut left = lives::kept(board, cluster).await;
            if left.is_empty() || Instant::now() > until {
                left.splice(..0, lives::safety(board, cluster));
                return left;
            }
            continue;
        }
        let mut violations = judge::safety(board);
        let broken = !violations.is_empty();
        violations.extend(judge::liveness(board));
        violations.extend(judge::kept(board, cluster).await);
        violations.extend(judge::sealed(board, cluster, counted).await);
        if violations.is_empty() || broken || Instant::now() > until {
            return violations;
        }
    }
}

fn safety(board: &Board, cluster: &Cluster) -> Vec<String> {
    match cluster.passing() {
        Some(_) => lives::safety(board, cluster),
        None => judge::safety(board),
    }
}

fn digest(board: &Board) -> u64 {
    let mut hasher = DefaultHasher::new();
    for room in board.rooms(|(name, room)| format!("{name} {:?} {:?}", room.history, room.pages)) {
        room.hash(&mut hasher);
    }
    let notes = board.sealed(|rooms| {
        let devices = rooms.values_mut().flat_map(|room| room.iter_mut());
        let notes = devices.map(|(name, page)| {
            // Cryptography has a chance of its own.
            page.notes
                .retain(|noted| !matches!(noted.note, Note::Sent { .. }));
            format!("{name} {:?}", page.notes)
        });
        notes.collect::<Vec<_>>()
    });
    notes.hash(&mut hasher);
    hasher.finish()
}
