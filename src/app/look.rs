//! What there is of the configured cluster, for commands of an operator that look at it or carry
//! its rooms: they say what they found and what to do, and make nothing. A node that starts and
//! `doctor` ask the same.

use super::{cassandra, compared::still_has, connect::nats_config};
use crate::{
    bus::{
        ClusterId, Error as BusError, Feed as _, ImportId, Incomplete, JournalKind, Settings,
        nats::{self, Nats, Survey, prefix_of_cluster, survey},
    },
    config::Config,
    journal::{
        self, Hole,
        bus::OnBus,
        differs::differs,
        dump::Whole,
        inspect::{Report, verify},
    },
    room::{RoomId, Shards},
    telemetry::say,
};
use anyhow::{Context, bail, ensure};
use std::sync::Arc;
use uuid::Uuid;

/// Rooms that are named to whoever asks for one that is not there.
const FIRST: usize = 5;

/// What decides where a command looks.
const WHERE: &str = "the prefix or keyspace of this command (bus.prefix, cassandra.keyspace)";

/// A journal that somebody looks at.
pub(crate) struct Looked {
    pub(crate) journal: Arc<dyn Whole>,
    /// Where that is, for people.
    place: String,
    /// Whether rooms may be missing that are still to come.
    is_incomplete: bool,
    /// Of rooms in Cassandra: the bus of the cluster, if it is there.
    bus: Option<Nats>,
}

impl Looked {
    /// Checks a room, also for what it lacks and the bus has.
    pub(crate) async fn verify(&self, room: &RoomId) -> anyhow::Result<Report> {
        let published = match &self.bus {
            // Before the room is read, which may be written meanwhile.
            Some(bus) => bus.last(room).await?,
            None => None,
        };
        let mut report = verify(&*self.journal, room).await?;
        if let (Some(bus), Some(published)) = (&self.bus, published) {
            let behind = Hole::between(report.head, published.seq.next());
            for hole in report.holes.iter().copied().chain(behind) {
                match differs(&*self.journal, bus, room, hole).await? {
                    Some(place) => report.differs = Some(place),
                    None => report.on_bus.extend(still_has(bus, room, hole).await?),
                }
            }
        }
        Ok(report)
    }

    /// What to say of a room that is not there.
    pub(crate) async fn missing(&self, room: &RoomId) -> String {
        let Self { journal, place, .. } = self;
        if self.is_incomplete {
            return format!("room {room} is not {place}: {Incomplete}");
        }
        let found = match journal.rooms(None, FIRST).await {
            Ok(rooms) if rooms.is_empty() => "no room is".into(),
            Ok(rooms) => {
                let rooms: Vec<_> = rooms.iter().map(RoomId::to_string).collect();
                format!("others are, such as {}", rooms.join(", "))
            }
            Err(error) => format!("which others are cannot be read ({error})"),
        };
        format!("room {room} does not exist {place}; {found}: look at its name, and at {WHERE}")
    }
}

/// The configured journal as it is stored, also of a cluster of which rooms are missing. Nothing is
/// made where nothing is.
pub(crate) async fn look(config: &Config) -> anyhow::Result<Looked> {
    let shards = config.cluster.validate()?;
    let (prefix, keyspace) = (&config.bus.prefix, &config.cassandra.keyspace);
    let is_copy = |stored: &Settings| {
        config.journal.kind == JournalKind::Cassandra && stored.journal == Some(JournalKind::Bus)
    };
    let stored = there(config, is_copy, None).await?;
    if stored.as_ref().is_some_and(is_copy) {
        say(&format!(
            "warning: the cluster (prefix {prefix}) keeps its rooms on the bus: what is in \
             keyspace {keyspace} is not what its nodes read\n"
        ));
    }
    let incomplete = stored.and_then(|stored| stored.check_complete().err());
    if let Some(why) = &incomplete {
        say(&format!("warning: {why}\n"));
    }
    let (journal, bus): (Arc<dyn Whole>, _) = match config.journal.kind {
        JournalKind::Bus => {
            let bus = Nats::connect(&looking(config, shards)).await?;
            (Arc::new(OnBus::new(Arc::new(bus), shards)), None)
        }
        JournalKind::Cassandra => {
            let bus = match stored.filter(|stored| !is_copy(stored)) {
                Some(_) => Some(Nats::connect(&looking(config, shards)).await?),
                None => None,
            };
            (in_cassandra(config, stored).await?, bus)
        }
    };
    Ok(Looked {
        journal,
        place: place(config),
        is_incomplete: incomplete.is_some(),
        bus,
    })
}

/// The configured keyspace, which is that of the cluster if `stored` has one.
pub(super) async fn in_cassandra(
    config: &Config,
    stored: Option<Settings>,
) -> anyhow::Result<Arc<dyn Whole>> {
    let opened = cassandra::stored(config, config.cluster.validate()?).await;
    let Err(error) = &opened else {
        return opened;
    };
    let is_away = matches!(error.downcast_ref(), Some(journal::Error::Unavailable(_)));
    match stored
        .and_then(|stored| stored.keyspace)
        .filter(|_| !is_away)
    {
        None => opened,
        Some(id) => opened.with_context(|| not_usable(config, id)),
    }
}

/// `id`: of the keyspace that the cluster has.
fn not_usable(config: &Config, id: Uuid) -> String {
    format!(
        "the cluster (prefix {}) keeps its rooms in the keyspace with the id {id}, and keyspace {} \
         cannot be used (cassandra.keyspace, --keyspace)",
        config.bus.prefix, config.cassandra.keyspace
    )
}

/// Why the configured keyspace, which nobody has used yet, is not the cluster's, which is in
/// another one; `None`: that is not so, or cannot be asked now.
#[cfg(feature = "cassandra")]
pub(super) async fn elsewhere(config: &Config, stored: Settings) -> Option<String> {
    let id = stored.keyspace?;
    let (keyspace, _) = cassandra::noted(config).await?;
    keyspace.is_none().then(|| not_usable(config, id))
}

/// Where the configured journal is, for people.
pub(super) fn place(config: &Config) -> String {
    match config.journal.kind {
        JournalKind::Bus => format!("on the bus (prefix {})", config.bus.prefix),
        JournalKind::Cassandra => format!("in Cassandra (keyspace {})", config.cassandra.keyspace),
    }
}

/// Why a node must not start with this configuration, as far as that can be seen: what is there is
/// not what it would join. `None`: that is not so, or cannot be asked now. Makes nothing.
pub(crate) async fn refusal(config: &Config) -> Option<String> {
    let shards = config.cluster.validate().ok()?;
    let found = survey(&looking(config, shards)).await.ok()?;
    refusal_of(config, &found).await
}

/// The same of what was found.
async fn refusal_of(config: &Config, found: &Survey) -> Option<String> {
    if let Some(why) = strange(config, found, None).await {
        return Some(why);
    }
    let is_new = matches!(found, Survey::Nothing(_));
    if !is_new || config.journal.kind == JournalKind::Bus {
        return None;
    }
    let (_, theirs) = cassandra::noted(config).await?;
    match another(config, None, theirs?).await {
        Another::Here(why) => Some(why),
        Another::Elsewhere(why) => Some(format!(
            "{why}; if the bus of that cluster is lost, and none of its nodes runs anywhere, start \
             one here: it says what to type"
        )),
    }
}

/// As [`refusal`], also of what a node must wait for: rooms that are still to come; and that there
/// are no settings, which it would store again.
pub(crate) async fn keeps_out(config: &Config) -> Option<String> {
    let shards = config.cluster.validate().ok()?;
    let found = survey(&looking(config, shards)).await.ok()?;
    if let Some(why) = refusal_of(config, &found).await {
        return Some(why);
    }
    match found {
        Survey::Cluster(Some(stored)) => stored.check_complete().err().map(|why| why.to_string()),
        Survey::Cluster(None) => Some(vacant(config)),
        Survey::Nothing(_) => None,
    }
}

/// Why what is there is not the cluster that is configured. `to`: the cluster that its rooms are
/// being carried to, for the command that does so: it goes on with a switch that was interrupted.
pub(super) async fn strange(
    config: &Config,
    found: &Survey,
    to: Option<ClusterId>,
) -> Option<String> {
    let stored = match found {
        Survey::Cluster(stored) => Some((*stored)?),
        Survey::Nothing(_) => None,
    };
    let stored = stored.map(|stored| Settings {
        moved: stored.moved.filter(|moved| Some(*moved) != to),
        ..stored
    });
    let wanted = configured(config);
    if let Some(why) = stored.and_then(|stored| stored.contradiction(&wanted)) {
        return Some(why.to_string());
    }
    if config.journal.kind == JournalKind::Bus {
        return None;
    }
    let (keyspace, theirs) = cassandra::noted(config).await?;
    let with_keyspace = Settings { keyspace, ..wanted };
    if let Some(why) = stored.and_then(|stored| stored.contradiction(&with_keyspace)) {
        return Some(why.to_string());
    }
    let expected = stored.and_then(|stored| stored.keyspace);
    if let (Some(id), None) = (expected, keyspace) {
        return Some(not_usable(config, id));
    }
    let (mine, theirs) = (stored.and_then(|stored| stored.cluster), theirs?);
    if [mine, to].contains(&Some(theirs)) {
        return None;
    }
    match another(config, mine, theirs).await {
        Another::Here(why) => Some(why),
        // The bus of that cluster may be lost, and be made anew here.
        Another::Elsewhere(why) => mine.is_some().then_some(why),
    }
}

/// A keyspace has the rooms of another cluster than the bus: why that must not be, and what to do.
pub(super) enum Another {
    /// That cluster is under another prefix of the same servers.
    Here(String),
    /// It is elsewhere, or its bus is lost.
    Elsewhere(String),
}

/// `mine`: of the bus, if there is a cluster.
pub(super) async fn another(
    config: &Config,
    mine: Option<ClusterId>,
    theirs: ClusterId,
) -> Another {
    let (keyspace, prefix) = (&config.cassandra.keyspace, &config.bus.prefix);
    let bus = match mine {
        Some(mine) => format!("and the bus (prefix {prefix}) is that of cluster {mine}"),
        None => format!("and no cluster has the prefix {prefix}"),
    };
    let why = format!(
        "keyspace {keyspace} at {} holds the rooms of cluster {theirs}, {bus}",
        config.cassandra.shown()
    );
    let found = match config.cluster.validate() {
        Ok(shards) => prefix_of_cluster(&looking(config, shards), theirs).await,
        Err(_) => None,
    };
    match found {
        Some(other) => Another::Here(format!(
            "{why}. On these NATS servers the former has the prefix {other}. Set bus.prefix to \
             {other}, or cassandra.keyspace to another one"
        )),
        None => Another::Elsewhere(format!(
            "{why}: set cassandra.keyspace, or bus.servers and bus.prefix, to those of the cluster \
             that is meant"
        )),
    }
}

/// The settings of the cluster that is configured; `None`: its bus is not there, without which
/// rooms in Cassandra can be read. `is_asked`: which are wanted whatever they say of where rooms
/// are kept. `to`: as [`strange`] has it.
pub(super) async fn there(
    config: &Config,
    is_asked: impl Fn(&Settings) -> bool,
    to: Option<ClusterId>,
) -> anyhow::Result<Option<Settings>> {
    let found = survey(&looking(config, config.cluster.validate()?)).await;
    if let Ok(found) = &found {
        let is_asked = matches!(found, Survey::Cluster(Some(stored)) if is_asked(stored));
        if let Some(why) = strange(config, found, to).await.filter(|_| !is_asked) {
            bail!(why);
        }
    }
    let missing = match found {
        Ok(Survey::Cluster(Some(stored))) => return Ok(Some(stored)),
        Ok(Survey::Cluster(None)) => {
            bail!(
                "the settings of the cluster (prefix {}) are missing, or cannot be read: start a \
                 node that writes, which stores them again or says what to type",
                config.bus.prefix
            )
        }
        Ok(Survey::Nothing(why)) | Err(BusError::Unavailable(why)) => why,
        Err(error) => return Err(error.into()),
    };
    ensure!(config.journal.kind == JournalKind::Cassandra, missing);
    say(&format!(
        "warning: the bus of the cluster is not there ({missing}): make sure that none of its \
         nodes runs\n"
    ));
    Ok(None)
}

/// The cluster under another prefix that a copy carries the rooms of this one to, as long as its
/// switch has not come to its end. `None`, too, where that cannot be asked now.
pub(super) async fn unfinished(config: &Config, prefix: &str) -> Option<ClusterId> {
    let shards = config.cluster.validate().ok()?;
    let Survey::Cluster(here) = survey(&looking(config, shards)).await.ok()? else {
        return None;
    };
    let import = ImportId::of_cluster(here?.cluster?);
    let there = under(config, prefix).await?;
    let is_it = there.is_incomplete && there.import == Some(import);
    there.cluster.filter(|_| is_it)
}

/// The settings of the cluster under another prefix, if they are there and can be read now.
async fn under(config: &Config, prefix: &str) -> Option<Settings> {
    let mut other = config.clone();
    other.bus.prefix = prefix.into();
    let shards = other.cluster.validate().ok()?;
    match survey(&looking(&other, shards)).await.ok()? {
        Survey::Cluster(stored) => stored,
        Survey::Nothing(_) => None,
    }
}

/// What the cluster would be, if it is as configured.
pub(super) fn configured(config: &Config) -> Settings {
    Settings {
        journal: Some(config.journal.kind),
        ..Settings::of_shards(config.cluster.shards)
    }
}

/// The bus, for whoever makes nothing there.
pub(super) fn looking(config: &Config, shards: Shards) -> nats::Config {
    nats::Config {
        writes: false,
        ..nats_config(config, shards)
    }
}

/// What to say of a cluster without settings.
pub(super) fn vacant(config: &Config) -> String {
    let keyspace = match config.journal.kind {
        JournalKind::Bus => String::new(),
        JournalKind::Cassandra => format!(
            ", with the id of the cluster that keyspace {} has",
            config.cassandra.keyspace
        ),
    };
    format!(
        "the settings of the cluster (prefix {}) are missing, or cannot be read: a node that \
         writes stores them again{keyspace}. Whether an import, a copy or a recover had not come \
         to its end is not known any more: if one was going on, run it again first",
        config.bus.prefix
    )
}

/// What the settings of a cluster are to be whose bus has lost them: they name the cluster that the
/// keyspace is of, and no new one. `wanted`, where nothing was lost.
pub(super) async fn found_again(
    config: &Config,
    bus: &Nats,
    wanted: Settings,
) -> anyhow::Result<Settings> {
    if config.journal.kind == JournalKind::Bus || !bus.lost_settings().await? {
        return Ok(wanted);
    }
    let keyspace = &config.cassandra.keyspace;
    let Some((id, cluster)) = cassandra::noted(config).await else {
        bail!(
            "{}; and keyspace {keyspace} cannot be asked now: start again when it can",
            vacant(config)
        );
    };
    let (Some(id), Some(cluster)) = (id, cluster) else {
        return Ok(wanted);
    };
    if let Another::Here(why) = another(config, None, cluster).await {
        bail!(why);
    }
    tracing::warn!(
        %cluster, keyspace,
        "the settings of the cluster were removed, or cannot be read: they are stored again, with \
         the id that its keyspace has. Whether an import had not come to its end is not known any \
         more"
    );
    Ok(Settings {
        cluster: Some(cluster),
        keyspace: Some(id),
        ..wanted
    })
}

/// What to say of a switch that is done already; a copy to where rooms are is refused.
pub(crate) async fn is_switched(
    config: &Config,
    to: JournalKind,
    prefix: Option<&str>,
    is_switch: bool,
) -> anyhow::Result<Option<String>> {
    let shards = config.cluster.validate()?;
    let found = survey(&looking(config, shards)).await;
    let found = found.context(
        "the bus of the cluster is not there, without which nothing is copied: `journal export`, \
         and `journal import` elsewhere",
    )?;
    let Survey::Cluster(Some(stored)) = &found else {
        return Ok(None); // Whoever reads them says so.
    };
    if let (Some(moved), Some(prefix), true) = (stored.moved, prefix, is_switch) {
        let is_it = |it: Settings| it.cluster == Some(moved) && it.check_complete().is_ok();
        if under(config, prefix).await.is_some_and(is_it) {
            return Ok(Some(format!(
                "its rooms are on the bus, under prefix {prefix}"
            )));
        }
    }
    if stored.moved.is_some() || stored.journal != Some(to) {
        return Ok(None);
    }
    let whose = format!(
        "the rooms of this cluster (prefix {}) are {to}",
        config.bus.prefix
    );
    match to {
        JournalKind::Bus => bail!(
            "{whose} already: to carry them to other servers or another prefix, `journal export`, \
             then `journal import` there"
        ),
        JournalKind::Cassandra if is_switch => {
            let mut there = config.clone();
            there.journal.kind = to;
            match strange(&there, &found, None).await {
                None => Ok(Some(whose)),
                Some(why) => bail!(why),
            }
        }
        JournalKind::Cassandra => bail!(
            "{whose} already: to carry them to another keyspace, `journal export`, then `journal \
             import` into a new cluster"
        ),
    }
}
