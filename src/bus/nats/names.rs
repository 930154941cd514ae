//! Which run is of which node, as the records and notes of nodes say: what is meant for a node goes
//! to a subject that carries its name, because a permission can name no run that is yet to come.
//!
//! A run says itself whose it is ([`Incarnation::is_of`]), so nothing that is learnt here is taken
//! on trust. Runs of older versions do not; their subjects have no name.

use super::{Nats, subjects::untoken};
use crate::{
    bus::{Error, NodeRecord, NodeSeen, Role},
    room::Incarnation,
};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The most that are remembered: far more than there are nodes. Any of them is found again.
const KEPT: usize = 4096;

/// Whose the runs are that this node has seen. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Names(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    of: HashMap<Incarnation, Arc<str>>,
    /// Runs that own shards and do not read commands which carry a name.
    old: HashSet<Incarnation>,
    /// Whether all records have been seen once.
    current: bool,
}

impl Names {
    /// Takes in what the records of nodes say.
    pub(super) fn note(&self, seen: &NodeSeen) {
        let mut table = self.lock();
        match seen {
            NodeSeen::Beat { node, .. } => {
                // Only owners read commands, and no other login can write their records: a gateway
                // that says it is old must not have all others speak as the old ones did, which
                // their permissions do not let them.
                if node.roles.contains(&Role::Writer) && !node.reads_names() {
                    table.old.insert(node.incarnation);
                } else {
                    table.old.remove(&node.incarnation);
                }
                table.learn(node.incarnation, &node.name);
            }
            NodeSeen::Forgotten(node) | NodeSeen::Downed(node) => {
                table.old.remove(node);
            }
            NodeSeen::Current => table.current = true,
        }
    }

    /// Takes in whose a run is, if the run says so too.
    pub(super) fn learn(&self, node: Incarnation, name: &str) {
        self.lock().learn(node, name);
    }

    pub(super) fn get(&self, node: Incarnation) -> Option<Arc<str>> {
        self.lock().of.get(&node).cloned()
    }

    /// Whether every node that may be alive and owns shards reads commands which carry a name.
    pub(super) fn all_read_names(&self) -> bool {
        let table = self.lock();
        table.current && table.old.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn learn(&mut self, node: Incarnation, name: &str) {
        if self.of.contains_key(&node) || !node.is_of(name) {
            return;
        }
        if self.of.len() >= KEPT {
            self.of.clear();
        }
        self.of.insert(node, name.into());
    }
}

impl Nats {
    /// The name in the subjects of a run; `None`: it is of an older version and has none.
    /// [`Error::Unavailable`]: it has one that nobody knows (yet).
    pub(super) async fn name_of(&self, node: Incarnation) -> Result<Option<Arc<str>>, Error> {
        if !node.says_its_node() {
            return Ok(None);
        }
        if let Some(name) = self.names.get(node) {
            return Ok(Some(name));
        }
        let bucket = self.subjects.bucket("NODES");
        let pattern = self.subjects.key("NODES", &format!("*.*.{node}"));
        for key in self.registry.subjects(&bucket, &pattern).await? {
            if let Some(name) = key.rsplit('.').nth(1).and_then(untoken) {
                self.names.learn(node, &name);
            }
        }
        match self.names.get(node) {
            Some(name) => Ok(Some(name)),
            None => Err(Error::Unavailable(format!(
                "node {node} has no record that tells its name"
            ))),
        }
    }

    /// The name of this node, if a run is one of its.
    pub(super) fn own_name(&self, me: Incarnation) -> Option<&str> {
        me.is_of(&self.node).then_some(&*self.node)
    }

    /// The key of a node's record. It says who may write it, and whether shards may be given to the
    /// node; that of an older version says neither.
    pub(super) fn key_of(&self, node: &NodeRecord) -> String {
        let key = match node.incarnation.is_of(&node.name) {
            true => record_key(&node.roles, &node.name, node.incarnation),
            false => node.incarnation.to_string(),
        };
        self.subjects.key("NODES", &key)
    }
}

/// The key of a record within its bucket.
fn record_key(roles: &[Role], name: &str, node: Incarnation) -> String {
    let kind = match roles.contains(&Role::Writer) {
        true => Role::Writer,
        false => Role::Gateway,
    };
    let name = super::subjects::token(name);
    format!("{}.{name}.{node}", kind.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn beat(name: &str, role: Role, formats: u32) -> (Incarnation, NodeSeen) {
        let incarnation = Incarnation::of_node(name, Uuid::now_v7());
        (incarnation, again(incarnation, name, role, formats))
    }

    fn again(incarnation: Incarnation, name: &str, role: Role, formats: u32) -> NodeSeen {
        let node = NodeRecord {
            incarnation,
            name: name.into(),
            roles: vec![role],
            draining: false,
            version: "0".into(),
            commit: "".into(),
            address: "".into(),
            unreachable: Vec::new(),
            formats,
            keeps: None,
            gone_after_s: None,
        };
        NodeSeen::Beat { node, revision: 1 }
    }

    #[test]
    fn commands_carry_a_name_once_every_owner_reads_that() {
        let names = Names::default();
        let (one, beat_one) = beat("one", Role::Writer, 2);
        assert!(!names.all_read_names(), "nothing is known yet");
        names.note(&beat_one);
        names.note(&beat("two", Role::Writer, 3).1);
        names.note(&NodeSeen::Current);
        assert!(!names.all_read_names());
        names.note(&again(one, "one", Role::Writer, 3));
        assert!(names.all_read_names(), "the last word counts");
        let (three, beat_three) = beat("three", Role::Writer, 1);
        names.note(&beat_three);
        assert!(!names.all_read_names());
        names.note(&NodeSeen::Forgotten(three));
        assert!(names.all_read_names());
        names.note(&beat("gateway", Role::Gateway, 0).1);
        assert!(names.all_read_names(), "it reads no commands");
    }

    #[test]
    fn a_name_that_a_run_does_not_bear_is_not_learnt() {
        let (names, node) = (Names::default(), beat("one", Role::Gateway, 3).0);
        names.learn(node, "two");
        assert_eq!(names.get(node), None);
        names.learn(node, "one");
        assert_eq!(names.get(node).as_deref(), Some("one"));
    }
}
