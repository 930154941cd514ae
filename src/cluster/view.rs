//! The cluster as one node sees it.

use super::{Member, Status};
use crate::{
    bus::{NodeRecord, Role},
    room::{Incarnation, ShardId},
};

/// The cluster as this node sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// This node and every other that is not known to be gone, by incarnation.
    pub nodes: Vec<NodeRecord>,
    /// The same as operators see them, and with those that are dead but not forgotten yet.
    pub members: Vec<Member>,
    /// The shards that this node writes, or is taking or giving up at the moment, ascending.
    pub owned: Vec<ShardId>,
    /// How many of the shards that this node should write it does not write yet.
    pub waiting: usize,
    /// Whether this node is handing its shards over, to stop.
    pub draining: bool,
    /// Whether this node's picture of the cluster is complete and recent.
    pub fresh: bool,
    /// How often others took this node for dead, or may have: sessions that it held before may have
    /// been abandoned.
    pub deaths: u64,
    /// Whether an operator declared this node down: others have its shards, and it is to end.
    pub downed: bool,
}

impl View {
    /// Whether no node that lives writes rooms: nothing that clients say is decided. False before
    /// the first look at the cluster, when nobody is known.
    pub fn lacks_writer(&self) -> bool {
        let writes = |member: &Member| {
            let lives = matches!(
                member.status,
                Status::Up | Status::Joining | Status::Leaving
            );
            lives && member.node.roles.contains(&Role::Writer)
        };
        !self.members.is_empty() && !self.members.iter().any(writes)
    }

    /// The same while the node `me`, whose view it is, hears nobody: it reaches no other one,
    /// whatever it knew last.
    pub fn alone(mut self, me: Incarnation) -> Self {
        let others = self.members.iter_mut();
        for member in others.filter(|member| member.node.incarnation != me) {
            if let Err(place) = member.observers.binary_search(&me) {
                member.observers.insert(place, me);
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::{super::example::member, *};
    use uuid::Uuid;

    #[test]
    fn a_cluster_lacks_a_writer_when_none_lives() {
        let beside_a_gateway = |roles: &[Role], status| {
            let (mut gateway, mut other) = (member(1, 8001, Status::Up), member(2, 8002, status));
            gateway.node.roles = vec![Role::Gateway];
            other.node.roles = roles.to_vec();
            View {
                members: vec![gateway, other],
                ..View::default()
            }
        };
        let both = [Role::Gateway, Role::Writer];
        for lives in [Status::Up, Status::Joining, Status::Leaving] {
            assert!(!beside_a_gateway(&both, lives).lacks_writer(), "{lives:?}");
            assert!(!beside_a_gateway(&[Role::Writer], lives).lacks_writer());
        }
        for gone in [Status::Exiting, Status::Down] {
            assert!(beside_a_gateway(&both, gone).lacks_writer(), "{gone:?}");
        }
        assert!(beside_a_gateway(&[Role::Gateway], Status::Up).lacks_writer());
        assert!(!View::default().lacks_writer(), "nobody was looked at yet");
    }

    #[test]
    fn a_node_that_hears_nobody_reaches_itself_alone() {
        let [me, second, third] = [1, 2, 3].map(|n| Incarnation::new(Uuid::from_u128(n)));
        let mut missed = member(2, 8002, Status::Up);
        missed.observers = vec![me, third];
        let mut seen = member(3, 8003, Status::Up);
        seen.observers = vec![second];
        let view = View {
            members: vec![member(1, 8001, Status::Up), missed, seen],
            ..View::default()
        };
        let alone = view.alone(me);
        let observers = alone.members.into_iter().map(|member| member.observers);
        let expected = [vec![], vec![me, third], vec![me, second]];
        assert_eq!(observers.collect::<Vec<_>>(), expected);
    }
}
