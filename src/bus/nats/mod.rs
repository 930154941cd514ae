//! The bus on NATS with JetStream.
//!
//! Three connections: `commands` (commands, the feed, words between nodes), `registry` (records and
//! probes: a full send buffer of the first must not delay a heartbeat) and `live` (what gateways
//! subscribe to: a slow reader must not cost the others their connection).

mod accounts;
mod api;
#[doc(hidden)]
pub mod arriving;
mod blobs;
mod buckets;
mod clock;
mod commands;
mod definition;
mod direct;
mod examine;
mod expiring;
mod feed;
mod foreign;
mod link;
mod live;
mod login;
mod micro;
mod names;
mod optional;
mod payload;
mod poll;
mod reach;
mod reader;
mod refusal;
mod registry;
mod rights;
mod settings;
mod setup;
mod skipped;
mod speaker;
mod subjects;
mod survey;
mod sweep;
mod together;
mod told;
mod traced;
mod watch;

pub use accounts::{exports, imports};
pub use examine::{Examined, Stream, Sync, examine};
pub use login::{Login, Tls};
pub use micro::{About, Micro};
pub use rights::{Party, rights};
pub use survey::{Survey, prefix_of_cluster, survey};

use crate::{
    bus::{Bus, ClusterId, Error, Health, ImportId, JournalKind, Settings},
    room::{Millis, Shards},
};
use foreign::Foreign;
use link::Link;
use login::{Access, Servers};
use names::Names;
use setup::Setup;
use skipped::Skipped;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use subjects::Subjects;
use together::Together;
use uuid::Uuid;
use watch::{Reached, Shared};

/// The oldest server that has what is used: batched direct reads.
const OLDEST: (i64, i64, i64) = (2, 11, 0);

/// The cluster's settings as a node that runs knows them.
type Agreed = Arc<Mutex<Option<Settings>>>;

/// How to reach the servers, and how streams are made that are not there yet.
#[derive(Debug, Clone)]
pub struct Config {
    /// `nats://[user:password@]host:port`, any of which may answer.
    pub servers: Vec<String>,
    /// The name of this node: in its subjects and keys, for permissions, and in the names of its
    /// connections and consumers, for people.
    pub node: String,
    /// Whether this node may own shards. One that may not makes no streams and no consumers, which
    /// its login need not let it do.
    pub writes: bool,
    /// How to log in.
    pub login: Login,
    /// How servers are known; `None`: without TLS, unless an address or the server asks for it.
    pub tls: Option<Tls>,
    /// Begins the names of all streams, buckets and subjects: 1 to 32 characters of `a-z 0-9 _ -`.
    pub prefix: String,
    /// Copies of each stream: 1, 3 or 5.
    pub replicas: usize,
    /// How many shards there are.
    pub shards: Shards,
    /// Bytes of commands that wait to be decided; beyond them clients are told `busy`.
    pub command_bytes: u64,
    /// Bytes of key packages; beyond them none are taken.
    pub key_bytes: u64,
    /// Bytes of welcomes that wait; beyond them none are taken.
    pub welcome_bytes: u64,
    /// Bytes of events that are kept; `None`: all, as the journal needs it when it is on the bus.
    pub event_bytes: Option<u64>,
    /// How long a call may take. A stream that has no leader for the moment answers nothing, so
    /// this is how late it is noticed that it has one again.
    pub deadline: Duration,
    /// How long a call to the cluster's records may take.
    pub registry_deadline: Duration,
    /// How long a probed node may be silent.
    pub probe_deadline: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            servers: vec!["nats://127.0.0.1:4222".into()],
            node: "unnamed".into(),
            writes: true,
            login: Login::default(),
            tls: None,
            prefix: "chat".into(),
            replicas: 1,
            shards: Shards::new(64).expect("64 is a valid count"),
            command_bytes: 256 * 1024 * 1024,
            key_bytes: 128 * 1024 * 1024,
            welcome_bytes: 256 * 1024 * 1024,
            event_bytes: None,
            deadline: Duration::from_secs(2),
            registry_deadline: Duration::from_secs(2),
            probe_deadline: Duration::from_secs(1),
        }
    }
}

impl Config {
    /// Where rooms are kept.
    fn journal(&self) -> JournalKind {
        match self.event_bytes {
            None => JournalKind::Bus,
            Some(_) => JournalKind::Cassandra,
        }
    }

    /// What is known of the cluster's settings before anything is looked at.
    fn settings(&self) -> Settings {
        Settings {
            journal: Some(self.journal()),
            ..Settings::of_shards(self.shards.count())
        }
    }
}

/// Whether a login stands in the addresses of servers, or what is wrong with them; without quoting
/// them.
pub fn check(servers: &[String]) -> Result<bool, Error> {
    Servers::parse(servers).map(|servers| servers.login.is_some())
}

/// Says what is wrong with `bus.prefix`, if something is.
pub fn check_prefix(prefix: &str) -> Result<(), Error> {
    Subjects::check(prefix)
}

/// Says which file of a login or of TLS cannot be used, if one cannot. Connects to nothing.
pub fn check_files(config: &Config) -> Result<(), Error> {
    Access::open(config).map(drop)
}

/// The bus on NATS. Clones share the connections.
#[derive(Clone)]
pub struct Nats {
    subjects: Arc<Subjects>,
    /// The name of this node.
    node: Arc<str>,
    writes: bool,
    names: Names,
    commands: Link,
    registry: Link,
    live: Link,
    together: Together,
    probe_deadline: Duration,
    skipped: Skipped,
    foreign: Foreign,
    /// Whether old events are dropped. When they are the journal, a room without messages has lost
    /// them.
    is_buffer: bool,
    reached: Reached,
    /// The cluster's settings, once this node has agreed with them.
    agreed: Agreed,
    health: tokio::sync::watch::Receiver<Health>,
}

impl Nats {
    /// Connects, and makes or checks the streams and buckets. [`Error::Unavailable`]: the servers
    /// do not answer, which may change; [`Error::Denied`]: they refuse this node;
    /// [`Error::Unusable`]: something there does not fit.
    pub async fn connect(config: &Config) -> Result<Self, Error> {
        let subjects = Subjects::new(&config.prefix, config.shards)?;
        let access = Access::open(config)?;
        let (commands, registry, live) = tokio::try_join!(
            Link::open(config, &access, "commands", config.deadline, &subjects),
            Link::open(
                config,
                &access,
                "registry",
                config.registry_deadline,
                &subjects
            ),
            Link::open(config, &access, "live", config.deadline, &subjects),
        )?;
        let server = commands.client.server_info();
        if !commands
            .client
            .is_server_compatible(OLDEST.0, OLDEST.1, OLDEST.2)
        {
            let (major, minor, _) = OLDEST;
            return Err(Error::Unusable(format!(
                "nats-server {} at {}:{} is too old: install {major}.{minor} or newer",
                server.version, server.host, server.port
            )));
        }
        let definitions = definition::definitions(config, &subjects);
        let setup = Setup {
            link: &commands,
            subjects: &subjects,
            definitions: &definitions,
            settings: config.settings(),
            may_make: config.writes,
        };
        let ensured = setup.ensure_all().await;
        let knew_journal = ensured.map_err(|error| commands.explained(error))?;
        if !config.writes {
            reach::check(&commands, &subjects).await?;
        }
        // A stream that takes none says so at the first one.
        let takes_batches = definition::knows_batches(&commands);
        let together = Together::new(commands.clone(), takes_batches);
        let (subjects, reached) = (Arc::new(subjects), Reached::default());
        let (told, health) = watch::channel();
        let agreed = Agreed::default();
        let skipped = Skipped::default();
        let foreign = Foreign::new(subjects.stream("EVT"), skipped.clone());
        let watch = watch::new(
            config,
            definitions,
            [&commands, &registry, &live],
            subjects.clone(),
            Shared {
                reached: reached.clone(),
                foreign: foreign.clone(),
                agreed: agreed.clone(),
                skipped: skipped.clone(),
                knew_journal,
            },
            told,
        );
        tokio::spawn(watch.run());
        Ok(Self {
            subjects,
            node: config.node.as_str().into(),
            writes: config.writes,
            names: Names::default(),
            commands,
            registry,
            live,
            together,
            probe_deadline: config.probe_deadline,
            skipped,
            foreign,
            is_buffer: config.event_bytes.is_some(),
            reached,
            agreed,
            health,
        })
    }

    /// How much of the past an operator lets the journal keep; `None`: all, as far as is known.
    pub async fn keeps_only(&self) -> Option<String> {
        let name = self.subjects.stream("EVT");
        let info = self.commands.info(&name).await.ok()?;
        (!self.is_buffer).then(|| definition::bounds(&info.config))?
    }

    /// What an operator types to store settings of this cluster.
    pub fn settings_command(&self, settings: &Settings) -> String {
        settings::command(&self.subjects, settings)
    }

    /// Whether the cluster had settings, or shards with a record, and has no settings now that can
    /// be read.
    pub async fn lost_settings(&self) -> Result<bool, Error> {
        settings::are_lost(&self.registry, &self.subjects).await
    }

    /// Notes in the cluster's settings that its rooms are kept elsewhere from now on. Nobody may be
    /// writing them.
    pub async fn switch(&self, to: JournalKind, keyspace: Option<Uuid>) -> Result<(), Error> {
        self.change_settings(|stored| {
            Ok(Settings {
                journal: Some(to),
                keyspace,
                ..stored
            })
        })
        .await
    }

    /// Notes in the cluster's settings that rooms are missing until this import is completed.
    /// Nobody may be writing them. [`Error::Unusable`]: another one has to be completed first.
    pub async fn begin(&self, import: ImportId) -> Result<(), Error> {
        self.change_settings(|stored| match stored.lacks_another(import) {
            true => {
                let given_up = self.settings_command(&Settings {
                    is_incomplete: false,
                    import: None,
                    ..stored
                });
                Err(Error::Unusable(format!(
                    "another import into this cluster (or a copy, or a recover) has begun and not \
                     come to its end: run that one again first, an import with the same file; or \
                     give up what is missing of it: {given_up}"
                )))
            }
            false => Ok(stored.begun(import)),
        })
        .await
    }

    /// Notes in the cluster's settings that no room of an import is missing. Nobody may be writing
    /// them.
    pub async fn complete(&self, import: ImportId) -> Result<(), Error> {
        self.change_settings(|stored| Ok(stored.completed(import)))
            .await
    }

    /// Notes in the cluster's settings that another one has its rooms from now on.
    pub async fn moved(&self, to: ClusterId) -> Result<(), Error> {
        self.change_settings(|stored| {
            Ok(Settings {
                moved: Some(to),
                ..stored
            })
        })
        .await
    }

    /// Notes in the cluster's settings that nothing is to be removed of what rooms let go for so
    /// long at least; until when that is. [`Error::Unusable`]: a node may run that removes all the
    /// same.
    pub async fn hold(&self, time: Duration) -> Result<Millis, Error> {
        let until = Millis(self.server_time().await?.0 + time.as_millis() as u64);
        let held = |stored: Settings| {
            let held = stored.held(until);
            held.map_err(|why| Error::Unusable(why.to_string()))
        };
        Ok(self.changed_settings(held).await?.held_until)
    }

    /// Notes in the cluster's settings that what rooms let go is removed, whoever held it.
    pub async fn release(&self) -> Result<(), Error> {
        self.change_settings(|stored| {
            Ok(Settings {
                held_until: Millis(0),
                ..stored
            })
        })
        .await
    }

    /// What time it is at the bus.
    async fn server_time(&self) -> Result<Millis, Error> {
        let bucket = self.subjects.bucket("SHARDS");
        let told = clock::time(&self.registry, &bucket).await?;
        Ok(Millis(told.timestamp_millis().max(0) as u64))
    }

    async fn change_settings(
        &self,
        change: impl Fn(Settings) -> Result<Settings, Error>,
    ) -> Result<(), Error> {
        self.changed_settings(change).await.map(drop)
    }

    /// The settings as they are then.
    async fn changed_settings(
        &self,
        change: impl Fn(Settings) -> Result<Settings, Error>,
    ) -> Result<Settings, Error> {
        let changed = settings::change(&self.registry, &self.subjects, change).await?;
        *self.agreed.lock().unwrap_or_else(PoisonError::into_inner) = Some(changed);
        Ok(changed)
    }

    /// The version of the server, for people.
    pub fn server_version(&self) -> String {
        self.commands.client.server_info().version
    }
}

impl Bus for Nats {
    fn ready(&self) -> Result<(), String> {
        [&self.commands, &self.registry, &self.live]
            .into_iter()
            .try_for_each(|link| link.ready())
    }

    fn health(&self) -> tokio::sync::watch::Receiver<Health> {
        self.health.clone()
    }
}
