//! The cluster of a run: the servers, in memory, and the nodes by name, which come and go.

use crate::{
    node::{Node, Settings},
    passing::Passing,
    random::Random,
    run::Conditions,
    weather::Weather,
};
use safe_chat::{
    bus::{
        Ask, Blobs, Commands, Direct, FORMATS, Feed, Position, Registry, Submission,
        memory::{Config, Hub, Memory},
    },
    journal::{Journal, bus::OnBus, memory::Database, readback::Partitions},
    room::{Action, Event, Millis, RoomId, Seq, ShardId, Shards},
    writer::Clock,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::time::{Duration, Instant, sleep};

/// Few, so that a shard has several rooms and a node several shards.
const SHARDS: u16 = 6;

/// Where the rooms are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// In a database with the fencing of the Cassandra adapter; the bus's feed is a bounded buffer.
    InDatabase,
    /// On the bus.
    OnBus,
}

/// In a quarter of the runs the newest forms that about half of the nodes read.
fn before(conditions: Conditions, seed: u64) -> Option<u32> {
    let mut random = Random::of(seed, "upgrade");
    let is_upgrade = conditions != Conditions::RoomsGo && random.below(4) == 0;
    // What operators order, and sealed rooms, every node must read. The version before does.
    let has_orders =
        keeps(conditions, seed).is_some() || purges(conditions, seed) || erases(conditions, seed);
    let needs_newer = has_orders || has_sealed(seed);
    is_upgrade.then(|| match needs_newer || random.below(2) == 0 {
        true => FORMATS - 1,
        false => 1,
    })
}

/// Every tenth run has a sealed room: MLS takes its time. All of the room stays, so that it can be
/// read again; operators are about the other rooms.
pub(crate) fn has_sealed(seed: u64) -> bool {
    seed % 10 == 3
}

/// When this process was started, in milliseconds since 1970: where the clock of runs with sealed
/// rooms begins. MLS asks the system's clock whether a device's keys count.
fn started() -> u64 {
    static STARTED: OnceLock<u64> = OnceLock::new();
    *STARTED.get_or_init(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| since.as_millis() as u64)
    })
}

/// In some of the rough runs rooms keep few events.
fn keeps(conditions: Conditions, seed: u64) -> Option<u64> {
    let mut random = Random::of(seed, "retention");
    let trims = conditions == Conditions::Rough && !has_sealed(seed) && random.chance(400);
    trims.then(|| 3 + random.below(60))
}

/// In some of those an operator has rooms purged, whether or not they keep everything otherwise.
fn purges(conditions: Conditions, seed: u64) -> bool {
    let mut random = Random::of(seed, "purges");
    conditions == Conditions::Rough && random.chance(400)
}

/// In some, whatever else is forgotten, an operator has content erased. Neither where the database is
/// put back: both take out of the bus what was said before, and which ids were placed.
fn erases(conditions: Conditions, seed: u64) -> bool {
    let mut random = Random::of(seed, "erasures");
    conditions == Conditions::Rough && random.chance(400)
}

/// The servers and the nodes. Clones are the same cluster.
#[derive(Clone)]
pub(crate) struct Cluster(Arc<Inner>);

struct Inner {
    seed: u64,
    /// What the clock of the bus said then.
    began: (Millis, Instant),
    kept: Kept,
    shards: Shards,
    hub: Hub,
    database: Database,
    weather: Arc<Weather>,
    /// A connection to which nothing happens.
    own: Memory,
    nodes: Mutex<Nodes>,
    /// How many of their last events rooms keep, if not all.
    keeps: Option<u64>,
    /// Whether rooms are purged.
    purges: bool,
    /// Whether content of rooms is erased.
    erases: bool,
    /// The newest forms that about half of the nodes read, if that is another version.
    before: Option<u32>,
    /// How rooms go that nobody comes to, if they do.
    passing: Option<Passing>,
}

#[derive(Default)]
struct Nodes {
    running: BTreeMap<&'static str, Node>,
    started: u64,
    wires: u64,
}

impl Cluster {
    pub(crate) fn new(conditions: Conditions, seed: u64) -> Self {
        let mut random = Random::of(seed, "cluster");
        let kept = if random.chance(500) || conditions == Conditions::PutBack {
            Kept::InDatabase
        } else {
            Kept::OnBus
        };
        let shards = Shards::new(SHARDS).expect("a valid count");
        let weather = Weather::of(seed);
        // Small, so that it drops events that a gateway still wants.
        let events = (kept == Kept::InDatabase).then(|| 20 + random.below(200) as usize);
        let events = events.filter(|_| conditions != Conditions::PutBack);
        let usual = Config::default().epoch;
        let passing = (conditions == Conditions::RoomsGo).then(|| Passing::of(seed));
        let epoch = match has_sealed(seed) && passing.is_none() {
            true => Millis(started()),
            false => usual,
        };
        let hub = Hub::with_faults(
            Config {
                epoch,
                shards,
                events,
                deny_delete: true,
                ..Config::default()
            },
            weather.clone(),
        );
        let own = hub.connect();
        weather.spare(own.connection());
        let database = Database::new(Partitions::new(5 + random.below(60)));
        Self(Arc::new(Inner {
            seed,
            began: (epoch, Instant::now()),
            kept,
            shards,
            hub,
            database,
            weather,
            own,
            nodes: Mutex::default(),
            keeps: keeps(conditions, seed),
            purges: purges(conditions, seed),
            erases: erases(conditions, seed),
            before: before(conditions, seed),
            passing,
        }))
    }

    pub(crate) fn weather(&self) -> &Weather {
        &self.0.weather
    }

    /// How many of their last events rooms keep; `None`: all.
    pub(crate) fn keeps(&self) -> Option<u64> {
        self.0.keeps
    }

    /// Whether rooms are purged.
    pub(crate) fn purges(&self) -> bool {
        self.0.purges
    }

    /// Whether content of rooms is erased.
    pub(crate) fn erases(&self) -> bool {
        self.0.erases
    }

    /// How rooms go that nobody comes to; `None`: they stay.
    pub(crate) fn passing(&self) -> Option<&Passing> {
        self.0.passing.as_ref()
    }

    /// An operator wants something of a room; not before it is decided.
    pub(crate) async fn order(&self, room: &RoomId, action: Action) {
        let submission = Submission {
            room: room.clone(),
            action,
            reply: None,
        };
        let stored = self.0.own.submit(&submission).await;
        stored.expect("the own connection works");
    }

    /// Seconds since 1970, as the bus counts them.
    pub(crate) fn now(&self) -> u64 {
        let (epoch, at) = self.0.began;
        epoch.0 / 1000 + at.elapsed().as_secs()
    }

    /// The clock of all nodes, which is that of the bus.
    fn clock(&self) -> Clock {
        let (epoch, at) = self.0.began;
        Arc::new(move || Millis(epoch.0 + at.elapsed().as_millis() as u64))
    }

    pub(crate) fn kept(&self) -> Kept {
        self.0.kept
    }

    fn nodes(&self) -> MutexGuard<'_, Nodes> {
        self.0.nodes.lock().expect("nobody panics with it")
    }

    /// Starts a node, unless it runs.
    pub(crate) fn start(&self, name: &'static str) {
        let mut nodes = self.nodes();
        if nodes.running.contains_key(name) {
            return;
        }
        nodes.started += 1;
        let bus = self.0.hub.connect();
        let journal: Arc<dyn Journal> = match self.0.kept {
            Kept::InDatabase => Arc::new(
                self.0
                    .database
                    .connect_with(self.0.shards, self.0.weather.of_journal(bus.connection())),
            ),
            Kept::OnBus => Arc::new(OnBus::new(Arc::new(bus.clone()), self.0.shards)),
        };
        let number = nodes.started;
        let seed = Random::of(self.0.seed, &format!("node {number}")).seed();
        let node = Node::start(
            name,
            number,
            Settings {
                formats: self.formats(number),
                all_read: self.0.before.unwrap_or(FORMATS),
                keeps: self.0.keeps,
                passing: self.0.passing.clone(),
                clock: self.clock(),
            },
            bus,
            journal,
            self.0.shards,
            seed,
        );
        tracing::info!(name, id = %node.incarnation(), "started");
        nodes.running.insert(name, node);
    }

    /// About half of the nodes are of before, as in a rolling upgrade, so that gateways and owners
    /// go to and fro between the forms.
    fn formats(&self, number: u64) -> u32 {
        let mut random = Random::of(self.0.seed, &format!("formats of {number}"));
        let before = self.0.before.filter(|_| random.below(2) == 0);
        before.unwrap_or(FORMATS)
    }

    /// Whether two versions of nodes are there.
    pub(crate) fn is_upgrade(&self) -> bool {
        self.0.before.is_some()
    }

    /// A node that runs.
    pub(crate) fn node(&self, name: &str) -> Option<Node> {
        self.nodes().running.get(name).cloned()
    }

    /// The names of the nodes that run.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.nodes().running.keys().copied().collect()
    }

    /// The chance of the next connection.
    pub(crate) fn next_wire(&self) -> Random {
        let mut nodes = self.nodes();
        nodes.wires += 1;
        Random::of(self.0.seed, &format!("wire {}", nodes.wires))
    }

    fn remove(&self, name: &str) -> Option<Node> {
        self.nodes().running.remove(name)
    }

    pub(crate) fn kill(&self, name: &'static str) {
        let Some(node) = self.remove(name) else {
            return;
        };
        tracing::info!(name, "killed");
        node.kill();
        self.0.hub.cut(node.bus.connection());
    }

    /// Stops a node in order; it is gone when this returns.
    pub(crate) async fn drain(&self, name: &'static str) {
        let Some(node) = self.node(name) else { return };
        tracing::info!(name, "draining");
        node.drain().await;
        self.0.hub.cut(node.bus.connection());
        let mut nodes = self.nodes();
        // It may have been killed, and started again, meanwhile.
        if nodes
            .running
            .get(name)
            .is_some_and(|running| running.incarnation() == node.incarnation())
        {
            nodes.running.remove(name);
        }
    }

    pub(crate) fn freeze(&self, node: &Node) {
        node.freeze();
        self.0.weather.frozen(node.bus.connection(), true);
    }

    pub(crate) fn thaw(&self, node: &Node) {
        self.0.weather.frozen(node.bus.connection(), false);
        node.thaw();
    }

    /// Takes the bus away from a node.
    pub(crate) fn cut(&self, node: &Node) {
        self.0.hub.cut(node.bus.connection());
    }

    /// Gives it back, unless the node is gone.
    pub(crate) fn restore(&self, node: &Node) {
        if self
            .nodes()
            .running
            .values()
            .any(|running| running.incarnation() == node.incarnation())
        {
            self.0.hub.restore(node.bus.connection());
        }
    }

    /// The bus loses the newest commands, and of a feed that is only a buffer the newest events.
    pub(crate) fn lose_tail(&self, commands: u64, events: u64) {
        self.0.hub.lose_tail(
            commands,
            if self.0.kept == Kept::InDatabase {
                events
            } else {
                0
            },
        );
    }

    /// The database as it is now.
    pub(crate) fn backup(&self) -> Database {
        self.0.database.copy()
    }

    /// The database as it was; the bus stays. No node runs.
    pub(crate) fn put_back(&self, backup: &Database) {
        self.0.database.put_back(backup);
    }

    /// The same under running nodes: it is away for so long.
    pub(crate) async fn put_back_after(&self, away: Duration, backup: &Database) {
        self.0.database.crash(2 * away);
        sleep(away).await;
        self.0.database.put_back(backup);
    }

    /// From now on everything works, and all nodes run.
    pub(crate) fn mend(&self, names: &[&'static str]) {
        self.0.weather.calm();
        for node in self.nodes().running.values() {
            node.thaw();
            self.0.hub.restore(node.bus.connection());
        }
        names.iter().for_each(|name| self.start(name));
    }

    // What there is in the end.

    fn journal(&self) -> Box<dyn Journal> {
        match self.0.kept {
            Kept::InDatabase => Box::new(self.0.database.connect(self.0.shards)),
            Kept::OnBus => Box::new(OnBus::new(Arc::new(self.0.own.clone()), self.0.shards)),
        }
    }

    /// The head of a room and its last purge, if its owner tells it.
    pub(crate) async fn head(&self, room: &RoomId) -> Option<(Seq, Seq)> {
        let view = self.0.own.ask(&Ask::room(room.clone())).await.ok()?;
        let is_told = view.refused.is_none();
        is_told.then_some((view.head, view.purged))
    }

    /// Whether nobody is in a room, if its owner tells it.
    pub(crate) async fn is_empty(&self, room: &RoomId) -> Option<bool> {
        let view = self.0.own.ask(&Ask::room(room.clone())).await.ok()?;
        let is_told = view.refused.is_none();
        is_told.then_some(view.members.is_empty())
    }

    /// What is stored of a room, in words; in the database one snapshot may be, which says how far
    /// it went. Its owner is not asked, so that it stays out of the memory.
    pub(crate) async fn what_is_stored(&self, room: &RoomId) -> Option<String> {
        // More than a room of a run has.
        const ALL: Seq = Seq(20_000);
        let fine = "nothing goes wrong for the own connection";
        let journal = self.journal();
        let listed = journal.rooms(None, 100).await.expect(fine);
        let events = self.events(room, ALL).await;
        let messages = self.0.own.stored(room, Position::ZERO, 9).await;
        let mut beside = Vec::new();
        for under in ["snapshot", "pin", "copies"] {
            let names = self.0.own.names_under(&format!("{under}.{room}")).await;
            beside.extend(names.expect(fine));
        }
        let stored = (
            listed.contains(room),
            events.len(),
            messages.expect(fine).len(),
            beside,
        );
        (stored != (false, 0, 0, Vec::new())).then(|| {
            let (listed, events, messages, beside) = stored;
            format!(
                "of {room} there is stored: its name {listed}, {events} events, {messages} \
                 messages, and {beside:?}"
            )
        })
    }

    /// Whether something of before a purge is stored beside the journal: a snapshot, or what was
    /// published.
    pub(crate) async fn remembers(&self, room: &RoomId, purged: Seq) -> bool {
        let snapshot = self.journal().has_snapshot_below(room, purged).await;
        let published = self.0.own.stored(room, Position::ZERO, 1).await;
        let published = published.expect("the own connection works");
        let first = published.first().map(|message| message.seq);
        snapshot.expect("nothing goes wrong any more") || first.is_some_and(|seq| seq < purged)
    }

    /// All events of a room up to its head.
    pub(crate) async fn events(&self, room: &RoomId, head: Seq) -> Vec<Event> {
        let journal = self.journal();
        let mut events: Vec<Event> = Vec::new();
        loop {
            let next = events.last().map_or(Seq(1), |last| last.seq.next());
            let page = journal.read(room, next, head).await;
            let page = page.expect("nothing goes wrong any more");
            if page.is_empty() {
                break;
            }
            events.extend(page);
        }
        events
    }

    /// How many events are gone of rooms that let them go.
    pub(crate) async fn let_go(&self) -> u64 {
        let rooms = self.journal().rooms(None, 100).await.unwrap_or_default();
        let mut gone = 0;
        for room in rooms {
            let (head, _) = self.head(&room).await.unwrap_or_default();
            let first = self.journal().read(&room, Seq(1), head).await;
            let first = first.ok().and_then(|page| page.first().map(|it| it.seq.0));
            gone += first.map_or(0, |first| first - 1);
        }
        gone
    }

    /// Shards whose floor has not passed every stored command, with the commands that are left; and
    /// those that nobody owns.
    pub(crate) async fn undecided(&self) -> Vec<(ShardId, String)> {
        let mut all = Vec::new();
        for shard in self.0.shards.all() {
            let Some((record, _)) = self
                .0
                .own
                .shard(shard)
                .await
                .expect("the own connection works")
            else {
                all.push((shard, "has no record".to_owned()));
                continue;
            };
            let left = self.stored_commands(shard, record.floor).await;
            if record.owner.is_none() {
                all.push((shard, "has no owner".to_owned()));
            } else if left > 0 {
                all.push((
                    shard,
                    format!("has {left} commands above its floor {}", record.floor.0),
                ));
            }
        }
        all
    }

    async fn stored_commands(&self, shard: ShardId, from: Position) -> usize {
        use std::task::{Context, Poll, Waker};
        let mut commands = self
            .0
            .own
            .commands(shard, from)
            .await
            .expect("the own connection works");
        let mut context = Context::from_waker(Waker::noop());
        let mut count = 0;
        while let Poll::Ready(Some(_)) = commands.as_mut().poll_next(&mut context) {
            count += 1;
        }
        count
    }

    /// How often shards were taken over.
    pub(crate) async fn epochs(&self) -> u64 {
        let mut sum = 0;
        for shard in self.0.shards.all() {
            sum += self
                .0
                .own
                .shard(shard)
                .await
                .ok()
                .flatten()
                .map_or(0, |(record, _)| record.epoch.0);
        }
        sum
    }
}
