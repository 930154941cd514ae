//! The configuration of a node: one section per part, each owned by its part. File < environment <
//! flags.
//!
//! [`Loaded::load`] puts the layers together and remembers where each value came from; [`Config`]
//! is what the parts get.

mod bus;
mod doc;
mod environment;
mod layers;
mod sections;
mod show;
#[cfg(test)]
mod tests;
mod variables;

pub use crate::bus::JournalKind;
pub use bus::Bus;
pub use doc::{as_defaults, as_environment, as_reference};
pub use layers::{Flags, Loaded, Source, voice};
pub use sections::{Journal, Node};
pub(crate) use show::without_credentials;

use crate::{access, cluster, gateway, journal::cassandra, ops, telemetry, writer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{net::IpAddr, path::PathBuf};

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read, or is not TOML.
    #[error("the config file {path} cannot be used: {why}")]
    File {
        /// Its path.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A file that should hold a secret does not give one.
    #[error("{variable} names {path}, which cannot be used: {why}")]
    SecretFile {
        /// The variable that names it.
        variable: String,
        /// Its path.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A value cannot be what it is; says which, from where, and what it must be.
    #[error("{0}")]
    Value(String),
}

/// The configuration of a node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// This node.
    pub node: Node,
    /// Where clients come in.
    pub gateway: gateway::Config,
    /// Who may come in.
    pub access: access::Config,
    /// NATS.
    pub bus: Bus,
    /// The internal port.
    pub ops: ops::Config,
    /// How nodes share the shards.
    pub cluster: cluster::Config,
    /// The writer of this node's shards.
    pub writer: writer::Config,
    /// Where rooms are kept.
    pub journal: Journal,
    /// Cassandra, when it is the journal.
    pub cassandra: cassandra::Config,
    /// Logs.
    pub log: telemetry::Config,
    /// Traces.
    pub trace: telemetry::trace::Config,
}

impl Config {
    /// Says what is wrong, if something is.
    pub fn validate(&self) -> Result<(), Error> {
        let cluster = self
            .cluster
            .validate()
            .map(|_| ())
            .map_err(|error| error.to_string());
        let parts = [
            self.node.validate(),
            self.gateway.validate(),
            self.access.validate(),
            self.bus.validate(),
            cluster,
            self.writer.validate(),
        ];
        let all = parts.into_iter().chain([
            self.ops.validate(),
            self.cassandra.validate(),
            self.journal(),
            self.ports(),
            self.log.validate(),
            self.trace.validate(),
        ]);
        all.collect::<Result<(), _>>().map_err(Error::Value)
    }

    /// Whether all ports can be listened on.
    fn ports(&self) -> Result<(), String> {
        let (clients, operators) = (&self.gateway, &self.ops);
        let everywhere = |host: &str| {
            let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
            ip.is_ok_and(|ip| ip.is_unspecified())
        };
        let mut ports = vec![
            ("gateway.port", &*clients.host, clients.port, "--http-port"),
            (
                "ops.port",
                &*operators.host,
                operators.port,
                "--internal-port",
            ),
        ];
        let probes = operators.probes();
        ports.extend(probes.map(|(host, port)| ("ops.probes_port", host, port, "its key")));
        for (n, (name, host, port, set)) in ports.iter().enumerate() {
            for (other, other_host, other_port, other_set) in &ports[..n] {
                let meet = host == other_host || everywhere(host) || everywhere(other_host);
                if meet && port == other_port && *port != 0 {
                    return Err(format!(
                        "{other} and {name} are both {port}: choose another with {other_set} or \
                         {set}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Whether this program has the journal that is wanted.
    fn journal(&self) -> Result<(), String> {
        match self.journal.kind {
            JournalKind::Bus => Ok(()),
            JournalKind::Cassandra => cassandra::check_built().map_err(|absent| absent.to_string()),
        }
    }
}
