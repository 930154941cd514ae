//! Why the cluster part cannot go on.

/// A node that cannot take part in the cluster.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The configuration makes no sense: it names what.
    #[error("{0}")]
    Config(String),
    /// The cluster was started with another number of shards. Going on would send rooms to wrong
    /// shards.
    #[error(
        "the cluster has {stored} shards, this node is configured with {mine}: set cluster.shards to {stored}"
    )]
    Shards {
        /// Configured here.
        mine: u16,
        /// Stored in the registry.
        stored: u16,
    },
    /// What is stored in the registry cannot be used.
    #[error("the cluster's registry: {0}")]
    Unusable(String),
}
