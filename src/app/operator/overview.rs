//! All nodes with their figures, as the dashboard shows them.

use super::{NodeOperator, members, orders::Order};
use crate::{
    cluster::{Member, Status},
    ops::{ApiError, answer},
};
use futures::future::join_all;
use std::time::{Duration, UNIX_EPOCH};
use tokio::time::timeout;

/// How long a node may take to answer: who looks on wants to see the others.
const ANSWER: Duration = Duration::from_secs(1);

impl NodeOperator {
    /// All nodes, each with what it says of itself.
    pub(super) async fn look_at_nodes(&self) -> answer::Overview {
        let seen = self.seen();
        let nodes = seen.iter().map(async |member| {
            let (figures, error) = match self.figures_of(member).await {
                Ok(figures) => (Some(figures), None),
                Err(error) => (None, Some(error.message)),
            };
            answer::NodeOverview {
                node: self.node(member),
                figures,
                error,
            }
        });
        let now = UNIX_EPOCH.elapsed().unwrap_or_default();
        answer::Overview {
            nodes: join_all(nodes).await,
            node: seen.name(self.cluster.me()),
            at: now.as_millis() as u64,
            fresh: self.cluster.view().fresh,
            shards: self.shards.count(),
        }
    }

    /// What this node says of itself.
    pub(super) fn figures(&self) -> answer::Figures {
        let mut figures = self.vitals.figures();
        // Tests run several nodes in one process, which has one set of figures.
        let owned = self.cluster.view().owned;
        figures
            .shards
            .retain(|shard| owned.iter().any(|it| it.0 == shard.shard));
        figures
    }

    /// A member, as operators see it.
    pub(super) fn node(&self, member: &Member) -> answer::Node {
        let roles = member.node.roles.iter();
        answer::Node {
            member: answer::Member {
                roles: roles.map(|role| role.as_str().to_owned()).collect(),
                ..members::shown(member)
            },
            this: member.node.incarnation == self.cluster.me(),
            draining: member.node.draining,
            reachable: member.observers.is_empty(),
        }
    }

    async fn figures_of(&self, member: &Member) -> Result<answer::Figures, ApiError> {
        if member.status == Status::Down {
            return Err(ApiError::unavailable("it is down"));
        }
        let answer = self.ask(member.node.incarnation, &Order::Figures);
        let late = || Err(ApiError::unavailable("nothing came within a second"));
        timeout(ANSWER, answer).await.unwrap_or_else(|_| late())
    }
}
