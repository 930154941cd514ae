//! The cluster: which nodes live, which of them writes which shard, and how a shard goes from one
//! to the next.
//!
//! Every node beats twice a second. Each judges the others by its own clock (`membership`) and
//! computes the same assignment of shards to live writers (`assignment`), so nobody has to be
//! elected. A shard that is assigned to this node and free is taken by compare-and-set of its
//! record ([`Lease`]) and given to the [`Owner`], which writes it until it is assigned to another.
//! What a node that is gone left in rooms is cleared by the owners of their shards (`abandon`).
//! Safety does not rest on any of this: the journal fences.

mod abandon;
mod assignment;
mod config;
mod driver;
mod error;
mod handle;
mod jobs;
mod lease;
mod member;
mod membership;
mod service;
mod table;
mod view;

pub use assignment::{assignee, even};
pub use config::Config;
pub use error::Error;
pub use handle::Handle;
pub use lease::{Ended, Ends, Error as LeaseError, Lease};
#[cfg(test)]
pub(crate) use member::example;
pub use member::{Member, Status};
pub use service::Service;
pub use view::View;

use crate::room::ShardId;
use async_trait::async_trait;

/// The part that writes shards, as the cluster sees it.
#[async_trait]
pub trait Owner: Send + Sync {
    /// Starts writing a shard. Returns at once; the shard is written until it is released or lost,
    /// which dropping the lease tells.
    async fn acquire(&self, lease: Lease);

    /// Stops reading commands, finishes commits, and gives the lease back with the floor
    /// ([`Lease::release`]). Returns when that is done or the shard is lost, within a bounded time.
    /// A shard that is not written: returns at once.
    async fn release(&self, shard: ShardId);

    /// Stops at once without finishing: the lease is lost. A shard that is not written: returns at
    /// once.
    async fn lose(&self, shard: ShardId);
}
