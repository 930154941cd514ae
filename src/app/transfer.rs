//! Rooms carried between journals and files, for the commands of an operator: what is read and
//! written, and whether a node could be writing it.

use super::{
    agree, cassandra,
    connect::nats_config,
    known,
    look::{found_again, in_cassandra, looking, place, refusal, there, unfinished},
};
use crate::{
    bus::{
        Bus, ClusterId, Direct, Error as BusError, Feed, ImportId, JournalKind, NodeSeen, Registry,
        Settings, ShardRecord,
        nats::{self, Nats, Survey, survey},
    },
    cluster::{Ends, Lease},
    config::Config,
    journal::{
        Error as JournalError,
        bus::OnBus,
        dump::{self, Elect, Source, Whole},
        inspect,
    },
    room::{Epoch, Incarnation, RoomId, ShardId, Shards},
    telemetry::say,
};
use anyhow::{Context, bail, ensure};
use async_trait::async_trait;
use futures::StreamExt;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::timeout};
use uuid::Uuid;

/// How long the records of nodes may take.
const NODES: Duration = Duration::from_secs(10);

/// When everything was written but this.
const INCOMPLETE: &str =
    "all was written, and the cluster's settings still say that rooms are missing: the same again";

/// When a switch ends between its first step and its last one.
const HALF: &str = "\
the switch did not come to its end, until when nodes may be refused under both prefixes: the same \
again goes on";

/// The name of this process where a node's is needed.
const NAME: &str = "safe-chat-journal";

/// A journal that is read.
pub(crate) struct Origin {
    pub(crate) source: Source,
    pub(crate) shards: Shards,
    /// The cluster, if its bus could be asked.
    pub(crate) cluster: Option<ClusterId>,
    /// Its nodes that run.
    pub(crate) running: Vec<String>,
    /// Where that is, for people.
    place: String,
    bus: Option<Nats>,
}

impl Origin {
    /// A room that somebody asked for by name.
    pub(crate) async fn named(&self, room: &RoomId) -> Result<dump::JournalRoom, dump::Error> {
        let place = &self.place;
        if let Some(head) = self.source.removed(room).await? {
            return Err(dump::Error::Refused(format!(
                "{}: it was purged, or retention let all of it go, and nobody came for long",
                inspect::removed(head)
            )));
        }
        let found = self.source.room(room).await?;
        found.ok_or_else(|| {
            dump::Error::Refused(format!(
                "room {room} does not exist {place}: look at its name"
            ))
        })
    }
}

/// The configured journal, for reading. Nothing is made where nothing is.
pub(crate) async fn from(config: &Config) -> anyhow::Result<Origin> {
    on_the_way(config, None).await
}

/// The same, also if a switch was interrupted after it noted that the rooms are those of `to`.
async fn on_the_way(config: &Config, to: Option<ClusterId>) -> anyhow::Result<Origin> {
    let shards = config.cluster.validate()?;
    let there = there(config, |_| false, to).await?;
    let (mut cluster, mut running, mut bus) = (None, Vec::new(), None);
    if let Some(stored) = there {
        stored.check_complete()?;
        let connected = Nats::connect(&looking(config, shards)).await?;
        cluster = stored.cluster;
        running = nodes(&connected).await?;
        bus = Some(connected);
    }
    let journal: Arc<dyn Whole> = match (config.journal.kind, &bus) {
        (JournalKind::Bus, Some(bus)) => Arc::new(OnBus::new(Arc::new(bus.clone()), shards)),
        _ => in_cassandra(config, there).await?,
    };
    let of_cluster = bus.clone().map(|bus| Arc::new(bus) as Arc<dyn Bus>);
    Ok(Origin {
        source: Source::new(journal, of_cluster, !running.is_empty()),
        shards,
        cluster,
        running,
        place: place(config),
        bus,
    })
}

/// The names of nodes that run, or that may: those that are frozen answer nothing.
async fn nodes(bus: &Nats) -> anyhow::Result<Vec<String>> {
    let mut records = BTreeMap::new();
    let mut seen = bus.nodes().await?;
    let read = async {
        while let Some(seen) = seen.next().await {
            match seen {
                NodeSeen::Beat { node, .. } => drop(records.insert(node.incarnation, node.name)),
                NodeSeen::Forgotten(node) | NodeSeen::Downed(node) => drop(records.remove(&node)),
                NodeSeen::Current => break,
            }
        }
    };
    let read = timeout(NODES, read).await;
    read.context("the records of nodes could not be read")?;
    let mut running = Vec::new();
    for (node, name) in records {
        match bus.probe(node).await {
            Ok(false) => {}
            Ok(true) | Err(BusError::Unknown(_)) => running.push(name),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(running)
}

/// Refuses to go on beside nodes that run.
fn stopped(running: &[String], config: &Config, why: &str) -> anyhow::Result<()> {
    ensure!(
        running.is_empty(),
        "{why}, and nodes of the cluster (prefix {}) run: stop {} first (one that does not answer, \
         too)",
        config.bus.prefix,
        running.join(", ")
    );
    Ok(())
}

/// The bus of a cluster, and its settings, which are these if there are none.
async fn agreed(config: &Config, wanted: Settings) -> anyhow::Result<(Nats, Settings)> {
    let shards = config.cluster.validate()?;
    // Before anything is made.
    if config.journal.kind == JournalKind::Cassandra {
        cassandra::reach(config).await?;
    }
    if let Some(why) = refusal(config).await {
        bail!(why);
    }
    // Whatever the nodes of this configuration do.
    let writing = nats::Config {
        writes: true,
        ..nats_config(config, shards)
    };
    let bus = Nats::connect(&writing).await?;
    let wanted = found_again(config, &bus, wanted).await?;
    let settings = agree(config, &bus, wanted).await?;
    Ok((bus, settings))
}

/// A journal that rooms are written into.
pub(crate) struct Target {
    pub(crate) intake: dump::Intake<Elected>,
    pub(crate) journal: Arc<dyn Whole>,
    bus: Nats,
    /// Whether the nodes that hold sessions are strangers to the bus.
    marks: bool,
    /// In Cassandra: the keyspace.
    keyspace: Option<Uuid>,
    cluster: Option<ClusterId>,
    /// What is noted as missing until it is there.
    import: Option<ImportId>,
    shards: Shards,
    /// Rooms of which something is to be removed, by shard: nodes go on with these at once.
    forgets: BTreeMap<ShardId, Vec<RoomId>>,
}

impl Target {
    /// The configured journal, for the rooms of a file. No node may run.
    pub(crate) async fn for_file(config: &Config, sha256: [u8; 32]) -> anyhow::Result<Self> {
        let import = ImportId::of_file(sha256);
        // A cluster that begins with this says so at once: no node starts on a part of it.
        let wanted = match survey(&looking(config, config.cluster.validate()?)).await? {
            Survey::Nothing(_) => known(config).begun(import),
            Survey::Cluster(_) => known(config),
        };
        let (bus, settings) = agreed(config, wanted).await?;
        Self::begin(config, bus, settings, import).await
    }

    /// The configured journal, for what the bus still has of its own rooms. No node may run.
    pub(crate) async fn for_own(config: &Config) -> anyhow::Result<Self> {
        let prefix = &config.bus.prefix;
        match survey(&looking(config, config.cluster.validate()?)).await? {
            Survey::Nothing(why) => bail!("{why}: there is nothing to recover rooms from"),
            Survey::Cluster(stored) => ensure!(
                stored.and_then(|stored| stored.journal) != Some(JournalKind::Bus),
                "the rooms of this cluster (prefix {prefix}) are on the bus: there is nothing else \
                 to recover them from"
            ),
        }
        let (bus, settings) = agreed(config, known(config)).await?;
        let own = settings.cluster.context("the cluster has no id")?;
        Self::begin(config, bus, settings, ImportId::of_cluster(own)).await
    }

    /// A new cluster on the bus, for the rooms of another one, or the one that a copy of these has
    /// begun. No node may run.
    async fn of_another(config: &Config, cluster: ClusterId) -> anyhow::Result<Self> {
        let import = ImportId::of_cluster(cluster);
        let check = |settings: Settings| {
            ensure!(
                settings.import == Some(import),
                "prefix {} is in use by another cluster, whose rooms these would be mixed with: \
                 --to-prefix has to name one that is not used",
                config.bus.prefix
            );
            Ok(())
        };
        // First of all: what else that cluster is does not matter then.
        let looking = looking(config, config.cluster.validate()?);
        if let Survey::Cluster(Some(stored)) = survey(&looking).await? {
            check(stored)?;
        }
        let (bus, settings) = agreed(config, known(config).begun(import)).await?;
        check(settings)?;
        Self::begin(config, bus, settings, import).await
    }

    async fn begin(
        config: &Config,
        bus: Nats,
        settings: Settings,
        import: ImportId,
    ) -> anyhow::Result<Self> {
        let shards = config.cluster.validate()?;
        stopped(&nodes(&bus).await?, config, "rooms are to be written")?;
        let target = match config.journal.kind {
            JournalKind::Bus => Self::on_bus(bus.clone(), shards, settings),
            JournalKind::Cassandra => {
                let elected = Elected::by_leases(Arc::new(bus.clone()));
                Self::in_cassandra(config, bus.clone(), shards, settings, elected).await?
            }
        };
        let settings = Settings {
            keyspace: target.keyspace,
            ..settings
        };
        agree(config, &bus, settings).await?;
        bus.begin(import).await?;
        Ok(Self {
            import: Some(import),
            ..target
        })
    }

    fn on_bus(bus: Nats, shards: Shards, settings: Settings) -> Self {
        let journal: Arc<dyn Whole> = Arc::new(OnBus::new(Arc::new(bus.clone()), shards));
        let elected = Elected::by_leases(Arc::new(bus.clone()));
        Self {
            intake: dump::Intake::new(journal.clone(), shards, elected),
            journal,
            bus,
            marks: true,
            keyspace: None,
            cluster: settings.cluster,
            import: None,
            shards,
            forgets: BTreeMap::new(),
        }
    }

    /// `elected`: whether by leases, which nodes that run have.
    async fn in_cassandra(
        config: &Config,
        bus: Nats,
        shards: Shards,
        settings: Settings,
        elected: Elected,
    ) -> anyhow::Result<Self> {
        let (journal, keyspace) = cassandra::target(config, shards, &bus, settings).await?;
        Ok(Self {
            intake: dump::Intake::new(journal.clone(), shards, elected),
            journal,
            bus,
            marks: true,
            keyspace: Some(keyspace),
            cluster: settings.cluster,
            import: None,
            shards,
            forgets: BTreeMap::new(),
        })
    }

    /// What the bus of the cluster has of its rooms, which are in Cassandra.
    pub(crate) fn newest_on_bus(&self, shards: Shards) -> Source {
        Source::newest(Arc::new(OnBus::new(Arc::new(self.bus.clone()), shards)))
    }

    /// The rooms that are journaled and of which the bus has nothing: the first ones, and how many.
    pub(crate) async fn not_on_bus(&self, most: usize) -> anyhow::Result<(Vec<RoomId>, u64)> {
        let (mut first, mut count) = (Vec::new(), 0);
        let mut names = dump::Names::of(&*self.journal);
        while let Some(room) = names.next().await? {
            if self.bus.last(&room).await?.is_some() {
                continue;
            }
            count += 1;
            if first.len() < most {
                first.push(room);
            }
        }
        Ok((first, count))
    }

    /// Writes a room, and notes where its sessions were: their nodes are gone, and whoever writes
    /// the room next ends them.
    pub(crate) async fn take(
        &mut self,
        incoming: &mut dyn dump::Incoming,
    ) -> Result<dump::Taken, dump::Error> {
        let room = incoming.room().clone();
        let taken = self.intake.take(incoming).await?;
        if taken.forgets {
            let rooms = self.forgets.entry(self.shards.of(&room)).or_default();
            if rooms.len() < ShardRecord::UNFINISHED {
                rooms.push(room.clone());
            }
        }
        for gateway in taken.gateways.iter().filter(|_| self.marks) {
            let marked = self.bus.mark(*gateway, &room).await;
            marked.map_err(|error| JournalError::Unavailable(error.to_string()))?;
        }
        Ok(taken)
    }

    /// Gives back the shards that were written. `is_whole`: all that was to be written was, or
    /// cannot be.
    pub(crate) async fn release(self, is_whole: bool) -> anyhow::Result<()> {
        self.intake.into_elect().release(self.forgets).await;
        if let Some(import) = self.import.filter(|_| is_whole) {
            self.bus.complete(import).await.context(INCOMPLETE)?;
        }
        Ok(())
    }
}

/// Rooms of a journal that was written and are not in the one that was read, from one on.
pub(crate) struct Strange {
    pub(crate) rooms: Vec<RoomId>,
    /// Whether there are more.
    pub(crate) more: bool,
}

/// From one journal of a cluster to the other.
pub(crate) struct Copying {
    pub(crate) from: Origin,
    pub(crate) to: Target,
    from_config: Config,
    kind: JournalKind,
}

impl Copying {
    /// `prefix`: of the cluster on the bus that rooms in Cassandra go to. `is_last`: nobody may be
    /// writing them.
    pub(crate) async fn begin(
        config: &Config,
        kind: JournalKind,
        prefix: Option<String>,
        is_last: bool,
    ) -> anyhow::Result<Self> {
        let mut from_config = config.clone();
        from_config.journal.kind = match kind {
            JournalKind::Bus => JournalKind::Cassandra,
            JournalKind::Cassandra => JournalKind::Bus,
        };
        let to = match (kind, &prefix) {
            (JournalKind::Bus, Some(prefix)) => unfinished(&from_config, prefix).await,
            _ => None,
        };
        let from = on_the_way(&from_config, to).await?;
        if is_last {
            stopped(&from.running, config, "the cluster is to be switched")?;
        }
        let bus = from.bus.clone().context(
            "the bus of the cluster is not there: `journal export`, and `journal import` elsewhere",
        )?;
        let to = match kind {
            JournalKind::Cassandra => {
                ensure!(prefix.is_none(), "--to-prefix goes with --to bus");
                let settings = Settings::of_shards(from.shards.count());
                let settings = bus.settings(&settings).await?;
                let elected = Elected::by_itself();
                let target = Target::in_cassandra(config, bus, from.shards, settings, elected);
                // The bus stays, with the marks of all its gateways.
                Target {
                    marks: false,
                    ..target.await?
                }
            }
            JournalKind::Bus => {
                let cluster = from.cluster.context("the cluster has no id")?;
                let prefix = prefix.filter(|prefix| *prefix != config.bus.prefix);
                let mut config = config.clone();
                config.journal.kind = kind;
                config.bus.prefix = prefix.context(
                    "--to-prefix: under which other prefix the streams of the cluster are to be; \
                     those of this one hold what Cassandra's rooms sent to gateways",
                )?;
                Target::of_another(&config, cluster).await?
            }
        };
        Ok(Self {
            from,
            to,
            from_config,
            kind,
        })
    }

    /// The rooms there that are not here, up to so many.
    pub(crate) async fn strange(&self, most: usize) -> Result<Strange, dump::Error> {
        let mut rooms = Vec::new();
        let mut names = dump::Names::of(&*self.to.journal);
        while let Some(room) = names.next().await? {
            if self.from.source.room(&room).await?.is_some() {
                continue;
            }
            if rooms.len() >= most {
                return Ok(Strange { rooms, more: true });
            }
            rooms.push(room);
        }
        Ok(Strange { rooms, more: false })
    }

    /// From now on the rooms are those that were written: nodes are refused that are configured as
    /// before. What to configure.
    ///
    /// To the bus it takes three steps, and the same command goes on from each. The first one
    /// refuses the nodes of before, and changes nothing where the keyspace is not theirs; the last
    /// one lets those of the new prefix in. So no two clusters ever have the rooms.
    pub(crate) async fn switch(&self) -> anyhow::Result<String> {
        for bus in self.from.bus.iter().chain([&self.to.bus]) {
            let still = nodes(bus).await?;
            stopped(&still, &self.from_config, "the cluster is to be switched")?;
        }
        let Config { bus, cassandra, .. } = &self.from_config;
        match self.kind {
            JournalKind::Cassandra => {
                self.to.bus.switch(self.kind, self.to.keyspace).await?;
                Ok(format!(
                    "start nodes with journal.kind cassandra and cassandra.keyspace {}; what the \
                     bus has beside its events nothing reaches any more: once you want no way \
                     back, nats stream purge KV_{}_SNAPSHOTS",
                    cassandra.keyspace,
                    bus.prefix.to_uppercase()
                ))
            }
            JournalKind::Bus => {
                let ids = self.from.cluster.zip(self.to.cluster);
                let (from, to) = ids.context("a cluster has no id")?;
                let shards = self.from.shards;
                let handed = cassandra::hand_over(&self.from_config, shards, from, to).await;
                handed.context(HALF)?;
                if let Some(bus) = &self.from.bus {
                    bus.moved(to).await.context(HALF)?;
                }
                if let Some(import) = self.to.import {
                    self.to.bus.complete(import).await.context(HALF)?;
                }
                Ok(format!(
                    "start nodes with journal.kind bus and bus.prefix that of --to-prefix: those \
                     of prefix {} are refused from now on",
                    bus.prefix
                ))
            }
        }
    }
}

/// How shards are given to this process.
pub(crate) struct Elected {
    me: Incarnation,
    /// On the bus a lease is what a claim rests on.
    leases: Option<Leases>,
}

struct Leases {
    bus: Arc<dyn Bus>,
    ends: Ends,
    held: Vec<Lease>,
}

impl Elected {
    fn by_itself() -> Self {
        let me = Incarnation::of_node(NAME, Uuid::now_v7());
        Self { me, leases: None }
    }

    fn by_leases(bus: Arc<dyn Bus>) -> Self {
        // Nobody listens: each lease tells its end once, into nothing.
        let (ends, _) = mpsc::unbounded_channel();
        let leases = Leases {
            bus,
            ends,
            held: Vec::new(),
        };
        Self {
            leases: Some(leases),
            ..Self::by_itself()
        }
    }

    async fn release(self, mut forgets: BTreeMap<ShardId, Vec<RoomId>>) {
        let leases = self.leases.into_iter().flat_map(|leases| leases.held);
        for mut lease in leases {
            let (shard, floor) = (lease.shard(), lease.floor());
            let mut rooms = forgets.remove(&shard).unwrap_or_default();
            let before = lease.unfinished().iter();
            let before = before.filter(|room| !rooms.contains(room)).cloned();
            rooms.extend(before.collect::<Vec<_>>());
            rooms.truncate(ShardRecord::UNFINISHED);
            lease.note_unfinished(rooms);
            if let Err(error) = lease.release(floor).await {
                // Nodes find that its owner is gone.
                say(&format!(
                    "warning: shard {shard} was not given back: {error}\n"
                ));
            }
        }
    }
}

#[async_trait]
impl Elect for Elected {
    async fn elect(&mut self, shard: ShardId) -> Result<(Incarnation, Epoch), dump::Error> {
        let me = self.me;
        let Some(Leases { bus, ends, held }) = &mut self.leases else {
            return Ok((me, Epoch(1)));
        };
        let away = |why: String| dump::Error::Journal(JournalError::Unavailable(why));
        let found = bus.shard(shard).await;
        let found = found.map_err(|error| away(error.to_string()))?;
        let lease = Lease::take(
            bus.clone(),
            ends.clone(),
            me,
            shard,
            found,
            Epoch::default(),
        );
        let lease = lease.await.map_err(|error| away(error.to_string()))?;
        let epoch = lease.epoch();
        held.push(lease);
        Ok((me, epoch))
    }
}
