//! Who is alive, as one node sees it: by its own clock, from heartbeats that it sees change or not change. Pure: time comes in with each call.
//!
//! Heartbeats come through one ordered stream, this node's own among them. While it does not see its own come back, it is the one that is cut
//! off, and judges nobody; afterwards everybody else gets as much time to return as it needed itself.

use super::config::Timing;
use crate::{
    bus::{NodeRecord, NodeSeen, Role},
    room::Incarnation,
};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// The most time that others get to return after this node itself was cut off, before silence at their address counts as death.
const RETURN: Duration = Duration::from_secs(5);

/// What is held of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Its record is there, but it has not been seen to beat: not given any shard yet, not taken any either.
    New,
    /// It beats.
    Live,
    /// It is gone; it may still come back.
    Dead,
}

#[derive(Debug)]
struct Node {
    record: NodeRecord,
    revision: u64,
    changed: Instant,
    probe_from: Instant,
    probing: bool,
    standing: Standing,
}

/// A node to ask for a sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Probe {
    pub(super) node: Incarnation,
    /// The answer counts only as long as no newer heartbeat is seen.
    pub(super) revision: u64,
}

/// What a look at the clock gave.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) probes: Vec<Probe>,
    pub(super) died: Vec<Incarnation>,
}

/// What a seen record means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing that matters to assignment.
    None,
    /// Who is there, or what it does, is different now.
    Nodes,
    /// This node's own record was removed: others took it for dead.
    Forgotten,
    /// This node was away for so long that others may have taken it for dead.
    Away,
}

/// The nodes that this one knows of.
#[derive(Debug)]
pub(super) struct Membership {
    me: Incarnation,
    timing: Timing,
    nodes: BTreeMap<Incarnation, Node>,
    /// Whether all records that were there at the beginning have been seen.
    current: bool,
    /// The newest of this node's own heartbeats that came back, and when.
    own: Option<(u64, Instant)>,
}

impl Membership {
    pub(super) fn new(me: Incarnation, timing: Timing) -> Self {
        Self { me, timing, nodes: BTreeMap::new(), current: false, own: None }
    }

    /// Takes in what the registry shows.
    pub(super) fn see(&mut self, now: Instant, seen: NodeSeen) -> Change {
        match seen {
            NodeSeen::Beat { node, revision } if node.incarnation == self.me => self.see_own(now, revision),
            NodeSeen::Beat { node, revision } => self.see_other(now, node, revision),
            NodeSeen::Forgotten(node) if node == self.me => Change::Forgotten,
            NodeSeen::Forgotten(node) => self.nodes.remove(&node).map_or(Change::None, |_| Change::Nodes),
            NodeSeen::Current => {
                self.current = true;
                Change::Nodes
            }
        }
    }

    fn see_own(&mut self, now: Instant, revision: u64) -> Change {
        let Some((last, at)) = self.own.replace((revision, now)) else { return Change::Nodes };
        if revision <= last {
            self.own = Some((last, at));
            return Change::None;
        }
        let away = now - at;
        if away <= self.timing.late {
            return Change::None;
        }
        let grace = away.clamp(self.timing.late, RETURN.max(self.timing.late));
        for node in self.nodes.values_mut() {
            (node.changed, node.probe_from) = (now, now + grace);
        }
        if away >= self.timing.dead { Change::Away } else { Change::None }
    }

    fn see_other(&mut self, now: Instant, record: NodeRecord, revision: u64) -> Change {
        let Some(node) = self.nodes.get_mut(&record.incarnation) else {
            // One that was there before this node may be long gone: ask at once. One that has just come has just been heard.
            let probe_from = if self.current { now + self.timing.late } else { now };
            let node = Node { record, revision, changed: now, probe_from, probing: false, standing: Standing::New };
            self.nodes.insert(node.record.incarnation, node);
            return Change::Nodes;
        };
        if revision <= node.revision {
            return Change::None;
        }
        let before = (node.standing, node.record.draining);
        (node.revision, node.changed, node.probe_from) = (revision, now, now + self.timing.late);
        node.record = record;
        node.standing = if node.standing == Standing::Dead { Standing::New } else { Standing::Live };
        if before == (node.standing, node.record.draining) { Change::None } else { Change::Nodes }
    }

    /// Whether this node's picture of the others is complete and recent: without that it takes nothing and judges nobody.
    pub(super) fn fresh(&self, now: Instant) -> bool {
        self.current && self.own.is_some_and(|(_, at)| now - at <= self.timing.late)
    }

    /// Who is to be probed now, and who has just been found dead.
    pub(super) fn judge(&mut self, now: Instant) -> Judged {
        let mut judged = Judged::default();
        if !self.fresh(now) {
            return judged;
        }
        for (id, node) in self.nodes.iter_mut().filter(|(_, node)| node.standing != Standing::Dead) {
            if now >= node.changed + self.timing.dead {
                node.standing = Standing::Dead;
                judged.died.push(*id);
            } else if now >= node.probe_from && !node.probing {
                node.probing = true;
                judged.probes.push(Probe { node: *id, revision: node.revision });
            }
        }
        judged
    }

    /// Takes in the answer to a probe: `Some(true)` it is there, `Some(false)` its address is empty, `None` silence. Whether anything changed.
    pub(super) fn probed(&mut self, now: Instant, probe: Probe, there: Option<bool>) -> bool {
        let fresh = self.fresh(now);
        let Some(node) = self.nodes.get_mut(&probe.node) else { return false };
        node.probing = false;
        if node.revision != probe.revision || node.standing == Standing::Dead {
            return false;
        }
        node.probe_from = node.probe_from.max(now + self.timing.beat);
        let before = node.standing;
        match there {
            Some(true) => node.standing = Standing::Live,
            Some(false) if fresh => node.standing = Standing::Dead,
            Some(false) | None => {}
        }
        node.standing != before
    }

    /// Whether a node is known to be gone: dead, or not in the registry.
    pub(super) fn gone(&self, node: Incarnation) -> bool {
        node != self.me && self.current && self.nodes.get(&node).is_none_or(|node| node.standing == Standing::Dead)
    }

    /// Nodes that are dead and still in the registry.
    pub(super) fn dead(&self) -> impl Iterator<Item = Incarnation> {
        self.nodes.iter().filter(|(_, node)| node.standing == Standing::Dead).map(|(id, _)| *id)
    }

    /// Nodes that are not known to be gone, without this one.
    pub(super) fn others(&self) -> impl Iterator<Item = &NodeRecord> {
        self.nodes.values().filter(|node| node.standing != Standing::Dead).map(|node| &node.record)
    }

    /// Other nodes that shards may be given to.
    pub(super) fn other_writers(&self) -> impl Iterator<Item = Incarnation> {
        let may_own = |node: &&Node| node.standing == Standing::Live && !node.record.draining && node.record.roles.contains(&Role::Writer);
        self.nodes.values().filter(may_own).map(|node| node.record.incarnation)
    }
}
