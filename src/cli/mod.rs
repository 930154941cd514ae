//! The command line: what can be typed, and where each command is.

mod admin;
mod check;
mod decode;
mod doctor;
mod health;
mod internal;
mod journal;
mod keys;
mod migrate;
mod operators;
mod permissions;
mod serve;
mod stdout;
mod table;
mod token;
mod version;

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

use crate::{
    chat,
    config::{Config, Flags, Loaded, as_defaults, as_environment, as_reference, voice},
    telemetry::{Format, say},
};
use anyhow::Context;
use tokio::runtime::{Builder, Runtime};

/// Group chat as a service: one order, no loss, no duplicate, through any fault.
#[derive(Debug, Parser)]
#[command(name = "safe-chat", version, long_version = version::long(), disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node: gateway (clients connect to it), writer (it writes rooms), or both
    Serve {
        #[command(flatten)]
        settings: Settings,
    },
    /// Ask the node of this configuration whether it is ready: exit code 0 when it is, else 1
    Health {
        #[command(flatten)]
        settings: Settings,
    },
    /// Ask and tell a cluster as its operator, through the internal port of any node
    Admin(admin::Options),
    /// Make the file of those who may manage nodes
    #[command(subcommand)]
    Operators(operators::Command),
    /// Chat in a terminal
    Chat(chat::Options),
    /// The key that makes a name yours: show it, compare it with somebody's, carry it elsewhere
    #[command(subcommand)]
    Keys(keys::Command),
    /// Sign a token that lets somebody into rooms, for tries and tests
    Token(token::Options),
    /// Turn a message of the bus (stdin) into a readable line: nats sub 'chat.>' --translate
    /// 'safe-chat decode'
    Decode(decode::Options),
    /// Look at a room as it is stored
    #[command(subcommand)]
    Journal(journal::Command),
    /// Look at what a cluster rests on, and say what is wrong and what to do
    Doctor(doctor::Options),
    /// Create or update the tables in Cassandra
    Migrate {
        #[command(flatten)]
        settings: Settings,
    },
    /// Print what a login must be let do at the nats-servers, and what must cross between accounts
    /// there, as their configuration has it
    Permissions(permissions::Options),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print the effective configuration, where each value comes from, and what is wrong with it
    Check {
        #[command(flatten)]
        settings: Box<Settings>,
    },
    /// Print a config file with every key at its default
    Default,
    /// Print every key as an environment variable
    Env,
    /// Print the reference of all keys (docs/configuration.md)
    Doc,
}

/// Flags that set configuration keys, and the file that sets the others.
#[derive(Debug, Default, Args)]
struct Settings {
    /// Config file (TOML), else SAFE_CHAT_CONFIG; environment and flags win over it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Name of this node (default: the host name)
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    node: Option<String>,
    /// What this node does (default: gateway,writer)
    #[arg(long, value_name = "ROLES")]
    roles: Option<String>,
    /// Address to listen on, for clients and for operators (default: 127.0.0.1)
    #[arg(long, value_name = "ADDRESS")]
    host: Option<String>,
    /// Port for clients (default: 8080)
    #[arg(long, value_name = "PORT")]
    http_port: Option<String>,
    /// Port for operators: /live, /ready, /metrics (default: 8558)
    #[arg(long, value_name = "PORT")]
    internal_port: Option<String>,
    /// NATS servers, separated by commas (default: nats://127.0.0.1:4222)
    #[arg(long, value_name = "URLS")]
    nats: Option<String>,
    /// First part of the names of streams, buckets and subjects (default: chat)
    #[arg(long, value_name = "PREFIX", allow_hyphen_values = true)]
    prefix: Option<String>,
    /// Copies of each stream and bucket (default: 1)
    #[arg(long, value_name = "N")]
    replicas: Option<String>,
    /// How many shards the rooms are spread over; fixed at the first start of a cluster (default:
    /// 64)
    #[arg(long, value_name = "N")]
    shards: Option<String>,
    /// Where rooms are kept: bus or cassandra (default: bus, or cassandra when its hosts are set)
    #[arg(long, value_name = "KIND")]
    journal: Option<String>,
    /// Cassandra nodes, separated by commas (default: 127.0.0.1:9042)
    #[arg(long, value_name = "HOSTS")]
    cassandra: Option<String>,
    /// Keyspace in Cassandra (default: safe_chat)
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    keyspace: Option<String>,
    /// Copies of each row in a keyspace that is created (default: 1)
    #[arg(long, value_name = "N")]
    replication: Option<String>,
    /// Create or update the tables in Cassandra at start
    #[arg(long)]
    auto_migrate: bool,
    /// How logs look: pretty or json (default: pretty)
    #[arg(long, value_name = "FORMAT")]
    log: Option<String>,
}

impl Settings {
    /// The keys that the flags set.
    fn flags(&self) -> Flags {
        let given = self.table().into_iter();
        let mut flags: Flags = given
            .filter_map(|(key, flag, text)| Some((key, flag, text.clone()?)))
            .collect();
        if self.auto_migrate {
            flags.push(("cassandra.auto_migrate", "--auto-migrate", "true".into()));
        }
        flags
    }

    /// Keys, the flag of each, and what was given. `--auto-migrate` takes nothing.
    fn table(&self) -> [(&'static str, &'static str, &Option<String>); 16] {
        [
            ("node.name", "--node", &self.node),
            ("node.roles", "--roles", &self.roles),
            ("gateway.host", "--host", &self.host),
            ("ops.host", "--host", &self.host),
            ("gateway.port", "--http-port", &self.http_port),
            ("ops.port", "--internal-port", &self.internal_port),
            ("bus.servers", "--nats", &self.nats),
            ("bus.prefix", "--prefix", &self.prefix),
            ("bus.replicas", "--replicas", &self.replicas),
            ("cluster.shards", "--shards", &self.shards),
            ("journal.kind", "--journal", &self.journal),
            ("cassandra.hosts", "--cassandra", &self.cassandra),
            ("cassandra.keyspace", "--keyspace", &self.keyspace),
            ("cassandra.replication", "--replication", &self.replication),
            ("cassandra.auto_migrate", "--auto-migrate", &None),
            ("log.format", "--log", &self.log),
        ]
    }

    /// The config file, if there is one.
    fn file(&self) -> Option<PathBuf> {
        // Set to nothing counts as not set, as for every variable.
        let named = std::env::var_os("SAFE_CHAT_CONFIG").filter(|path| !path.is_empty());
        self.config.clone().or(named.map(PathBuf::from))
    }

    /// How a node of this configuration logs, and its name; also when it cannot start with it.
    fn voice(&self) -> (Format, String) {
        voice(self.file().as_deref(), std::env::vars_os(), self.flags())
    }

    fn load(&self) -> anyhow::Result<Loaded> {
        Ok(Loaded::load(
            self.file().as_deref(),
            std::env::vars_os(),
            self.flags(),
        )?)
    }

    /// The same for a node: [`Unusable`] if it cannot start with it.
    fn usable(&self) -> anyhow::Result<Loaded> {
        let loaded = self.load();
        loaded.map_err(|error| Unusable(format!("{error:#}")).into())
    }

    /// The configuration of a command that is no node: it does what it can with what it knows.
    fn read(&self) -> anyhow::Result<Config> {
        let Loaded {
            config, unknown, ..
        } = self.load()?;
        for unknown in unknown {
            say(&format!("warning: ignored: {unknown}\n"));
        }
        Ok(config)
    }
}

/// The exit code of a node whose configuration cannot be used: EX_CONFIG of sysexits.h. Starting it
/// again does not help, so whatever supervises it may give up (RestartPreventExitStatus).
pub const WRONG_CONFIGURATION: u8 = 78;

/// The configuration of a node cannot be used: a start must not be tried again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unusable(String);

/// Refuses keys that are not known: what was meant would not be set, be it TLS or a limit.
fn refuse_unknown(unknown: &[String]) -> Result<(), Unusable> {
    match unknown {
        [] => Ok(()),
        [one] => Err(Unusable(one.clone())),
        all => {
            let (count, all) = (all.len(), all.join("; "));
            Err(Unusable(format!(
                "{count} keys or sections are wrong: {all}"
            )))
        }
    }
}

/// The exit code of a command that failed: 3 when nobody answered an operator, 78 when a node's
/// configuration is wrong, else 1. What was typed wrong is 2.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    match error {
        error if error.is::<admin::NoAnswer>() => 3,
        error if error.is::<Unusable>() => WRONG_CONFIGURATION,
        _ => 1,
    }
}

/// Runs what was typed. An error is for the person who typed it.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Serve { settings } => serve::run(&settings),
        Command::Health { settings } => runtime()?.block_on(health::run(&settings)),
        Command::Admin(options) => runtime()?.block_on(admin::run(options)),
        Command::Operators(command) => operators::run(command),
        Command::Chat(options) => runtime()?.block_on(chat::run(options)),
        Command::Keys(command) => keys::run(command),
        Command::Token(options) => token::run(options),
        Command::Decode(options) => decode::run(&options),
        Command::Journal(command) => runtime()?.block_on(journal::run(command)),
        Command::Doctor(options) => runtime()?.block_on(doctor::run(&options)),
        Command::Migrate { settings } => runtime()?.block_on(migrate::run(&settings)),
        Command::Permissions(options) => permissions::run(&options),
        Command::Config(ConfigCommand::Check { settings }) => check::run(&settings),
        Command::Config(ConfigCommand::Default) => stdout::print(&as_defaults()).map(drop),
        Command::Config(ConfigCommand::Env) => stdout::print(&as_environment()).map(drop),
        Command::Config(ConfigCommand::Doc) => {
            let settings = Settings::default();
            let flags = settings.table().map(|(key, flag, _)| (key, flag));
            stdout::print(&as_reference(&flags)).map(drop)
        }
    }
}

fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime cannot start")
}
