//! Why the cluster part cannot go on.

use crate::bus::Contradiction;

/// A node that cannot take part in the cluster.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The configuration makes no sense: it names what.
    #[error("{0}")]
    Config(String),
    /// The cluster was started with other settings.
    #[error(transparent)]
    Settings(#[from] Contradiction),
    /// What is stored in the registry cannot be used.
    #[error("the cluster's registry: {0}")]
    Unusable(String),
}
