//! Who is alive, as one node sees it: by its own clock, from heartbeats that it sees change or not
//! change. Pure: time comes in with each call.
//!
//! Heartbeats come through one ordered stream, this node's own among them. While it does not see
//! its own come back, it is the one that is cut off, and judges nobody; afterwards everybody else
//! gets as much time to return as it needed itself. A heartbeat is told by its revision being
//! another one, not a higher one: a bus that lost its unsynced tail counts on from an earlier
//! revision.

use super::config::Timing;
use crate::{
    bus::{NodeRecord, NodeSeen, Role},
    room::Incarnation,
};
use std::{collections::BTreeMap, mem, time::Duration};
use tokio::time::Instant;

/// The most time that others get to return after this node itself was cut off, before silence at
/// their address counts as death.
const RETURN: Duration = Duration::from_secs(5);

/// How long it is remembered that a node was declared down. One that was frozen for longer comes
/// back as any that was taken for dead.
const DOWN_KEPT: Duration = Duration::from_secs(60 * 60);

/// What is held of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its record is there, but it has not been seen to beat: not given any shard yet, not taken
    /// any either.
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
    /// It beats no more and does not answer; or not yet known to.
    silent: bool,
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
    /// This node's own heartbeats were away for so long, and nothing was said of its record.
    Away(Duration),
    /// An operator declared this node down: it does not come back.
    Downed,
}

/// The nodes that this one knows of.
#[derive(Debug)]
pub(super) struct Membership {
    me: Incarnation,
    timing: Timing,
    nodes: BTreeMap<Incarnation, Node>,
    /// Nodes that operators declared down, and when this node learned of it. Bounded by
    /// [`DOWN_KEPT`].
    downed: BTreeMap<Incarnation, Instant>,
    /// Whether all records that were there at the beginning have been seen.
    current: bool,
    /// The newest of this node's own heartbeats that came back, and when.
    own: Option<(u64, Instant)>,
    /// Whether its record was removed since.
    removed: bool,
}

impl Membership {
    pub(super) fn new(me: Incarnation, timing: Timing) -> Self {
        Self {
            me,
            timing,
            nodes: BTreeMap::new(),
            downed: BTreeMap::new(),
            current: false,
            own: None,
            removed: false,
        }
    }

    /// Takes in what the registry shows.
    pub(super) fn see(&mut self, now: Instant, seen: NodeSeen) -> Change {
        match seen {
            NodeSeen::Beat { node, revision } if node.incarnation == self.me => {
                self.see_own(now, revision)
            }
            NodeSeen::Beat { node, revision } => self.see_other(now, node, revision),
            NodeSeen::Forgotten(node) if node == self.me => {
                self.removed = true;
                Change::Forgotten
            }
            NodeSeen::Forgotten(node) => self
                .nodes
                .remove(&node)
                .map_or(Change::None, |_| Change::Nodes),
            NodeSeen::Downed(node) if node == self.me => Change::Downed,
            NodeSeen::Downed(node) => {
                self.downed.entry(node).or_insert(now);
                let Some(node) = self.nodes.get_mut(&node) else {
                    return Change::None;
                };
                node.standing = Standing::Dead;
                Change::Nodes
            }
            NodeSeen::Current => {
                self.current = true;
                Change::Nodes
            }
        }
    }

    fn see_own(&mut self, now: Instant, revision: u64) -> Change {
        let Some((last, at)) = self.own.replace((revision, now)) else {
            return Change::Nodes;
        };
        if revision == last {
            self.own = Some((last, at));
            return Change::None;
        }
        let removed = mem::take(&mut self.removed);
        let away = now - at;
        if away <= self.timing.late {
            return Change::None;
        }
        let grace = away.clamp(self.timing.late, RETURN.max(self.timing.late));
        for node in self.nodes.values_mut() {
            (node.changed, node.probe_from) = (now, now + grace);
        }
        if removed {
            Change::None
        } else {
            Change::Away(away)
        }
    }

    fn see_other(&mut self, now: Instant, record: NodeRecord, revision: u64) -> Change {
        // Down is for good: it may be frozen, and beat once more when it wakes up.
        if self.downed.contains_key(&record.incarnation) {
            return Change::None;
        }
        let Some(node) = self.nodes.get_mut(&record.incarnation) else {
            // One that was there before this node may be long gone: ask at once. One that has just
            // come has just been heard.
            let probe_from = if self.current {
                now + self.timing.late
            } else {
                now
            };
            let node = Node {
                record,
                revision,
                changed: now,
                probe_from,
                probing: false,
                silent: false,
                standing: Standing::New,
            };
            self.nodes.insert(node.record.incarnation, node);
            return Change::Nodes;
        };
        if revision == node.revision {
            return Change::None;
        }
        let before = (node.standing, node.silent);
        let same = node.record == record;
        (node.revision, node.changed, node.probe_from) = (revision, now, now + self.timing.late);
        node.record = record;
        node.silent = false;
        node.standing = if node.standing == Standing::Dead {
            Standing::New
        } else {
            Standing::Live
        };
        if same && before == (node.standing, node.silent) {
            Change::None
        } else {
            Change::Nodes
        }
    }

    /// Whether this node's picture of the others is complete and recent: without that it takes
    /// nothing and judges nobody.
    pub(super) fn fresh(&self, now: Instant) -> bool {
        self.current && self.own.is_some_and(|(_, at)| now - at <= self.timing.late)
    }

    /// Who is to be probed now, and who has just been found dead.
    pub(super) fn judge(&mut self, now: Instant) -> Judged {
        let mut judged = Judged::default();
        if !self.fresh(now) {
            return judged;
        }
        for (id, node) in self
            .nodes
            .iter_mut()
            .filter(|(_, node)| node.standing != Standing::Dead)
        {
            if now >= node.changed + self.timing.dead {
                node.standing = Standing::Dead;
                judged.died.push(*id);
            } else if now >= node.probe_from && !node.probing {
                node.probing = true;
                judged.probes.push(Probe {
                    node: *id,
                    revision: node.revision,
                });
            }
        }
        judged
    }

    /// Takes in the answer to a probe: `Some(true)` it is there, `Some(false)` its address is
    /// empty, `None` silence. Whether anything changed.
    pub(super) fn probed(&mut self, now: Instant, probe: Probe, there: Option<bool>) -> bool {
        let fresh = self.fresh(now);
        let Some(node) = self.nodes.get_mut(&probe.node) else {
            return false;
        };
        node.probing = false;
        if node.revision != probe.revision || node.standing == Standing::Dead {
            return false;
        }
        node.probe_from = node.probe_from.max(now + self.timing.beat);
        let before = (node.standing, node.silent);
        match there {
            Some(true) => (node.standing, node.silent) = (Standing::Live, false),
            Some(false) if fresh => (node.standing, node.silent) = (Standing::Dead, true),
            None if fresh => node.silent = true,
            Some(false) | None => {}
        }
        (node.standing, node.silent) != before
    }

    /// Whether a node is known to be gone: dead, or not in the registry.
    pub(super) fn gone(&self, node: Incarnation) -> bool {
        node != self.me
            && self.current
            && self
                .nodes
                .get(&node)
                .is_none_or(|node| node.standing == Standing::Dead)
    }

    /// Nodes that are dead and still in the registry.
    pub(super) fn dead(&self) -> impl Iterator<Item = Incarnation> {
        self.nodes
            .iter()
            .filter(|(_, node)| node.standing == Standing::Dead)
            .map(|(id, _)| *id)
    }

    /// Nodes that are not known to be gone, without this one.
    pub(super) fn others(&self) -> impl Iterator<Item = &NodeRecord> {
        self.nodes
            .values()
            .filter(|node| node.standing != Standing::Dead)
            .map(|node| &node.record)
    }

    /// All other nodes: what is known of each, how it is, and whether this node misses it.
    pub(super) fn known(&self) -> impl Iterator<Item = (&NodeRecord, Standing, bool)> {
        self.nodes.values().map(|node| {
            let missed = node.silent || node.standing == Standing::Dead;
            (&node.record, node.standing, missed)
        })
    }

    /// The nodes that this one misses, ascending.
    pub(super) fn missed(&self) -> Vec<Incarnation> {
        let missed = self.known().filter(|(.., missed)| *missed);
        missed.map(|(record, ..)| record.incarnation).collect()
    }

    /// Nodes that were declared down so long ago that the note of it may go; forgets them.
    pub(super) fn long_down(&mut self, now: Instant) -> Vec<Incarnation> {
        let old = |at: &Instant| now.saturating_duration_since(*at) >= DOWN_KEPT;
        let long = self.downed.extract_if(.., |_, at| old(at));
        long.map(|(node, _)| node).collect()
    }

    /// Other nodes that shards may be given to.
    pub(super) fn other_writers(&self) -> impl Iterator<Item = &NodeRecord> {
        let may_own = |node: &&Node| {
            node.standing == Standing::Live
                && !node.record.draining
                && node.record.roles.contains(&Role::Writer)
        };
        self.nodes.values().filter(may_own).map(|node| &node.record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const TIMING: Timing = Timing {
        beat: Duration::from_millis(1000),
        late: Duration::from_millis(1500),
        dead: Duration::from_millis(10_000),
    };

    fn node(n: u128) -> Incarnation {
        Incarnation::new(Uuid::from_u128(n))
    }

    /// Node 1's view, and the clock; node 2 is a writer, too.
    struct Watch {
        membership: Membership,
        start: Instant,
        revision: u64,
    }

    impl Watch {
        fn begin() -> Self {
            Self {
                membership: Membership::new(node(1), TIMING),
                start: Instant::now(),
                revision: 0,
            }
        }

        fn at(&self, ms: u64) -> Instant {
            self.start + Duration::from_millis(ms)
        }

        fn beat(&mut self, ms: u64, n: u128) -> Change {
            self.revision += 1;
            let roles = vec![Role::Writer];
            let record = NodeRecord {
                incarnation: node(n),
                name: "n".into(),
                roles,
                draining: false,
                version: "0".into(),
                commit: "".into(),
                address: "127.0.0.1:8558".into(),
                unreachable: Vec::new(),
                formats: crate::bus::FORMATS,
                keeps: None,
                gone_after_s: None,
            };
            self.membership.see(
                self.at(ms),
                NodeSeen::Beat {
                    node: record,
                    revision: self.revision,
                },
            )
        }

        /// Only node 1 beats, once a second.
        fn beats_alone(&mut self, from: u64, to: u64) {
            (from..=to)
                .step_by(1000)
                .for_each(|ms| _ = self.beat(ms, 1));
        }

        fn current(&mut self, ms: u64) {
            self.membership.see(self.at(ms), NodeSeen::Current);
        }

        fn judge(&mut self, ms: u64) -> Judged {
            self.membership.judge(self.at(ms))
        }

        fn probed(&mut self, ms: u64, probe: Probe, there: Option<bool>) -> bool {
            self.membership.probed(self.at(ms), probe, there)
        }

        fn writers(&self) -> Vec<Incarnation> {
            self.membership
                .other_writers()
                .map(|record| record.incarnation)
                .collect()
        }

        /// Both nodes beat at 0 and 1000.
        fn of_two() -> Self {
            let mut watch = Self::begin();
            watch.current(0);
            for ms in [0, 1000] {
                watch.beat(ms, 1);
                watch.beat(ms, 2);
            }
            assert_eq!(watch.writers(), [node(2)]);
            watch
        }
    }

    #[test]
    fn a_node_that_has_just_come_is_given_nothing_before_its_second_heartbeat() {
        let mut watch = Watch::begin();
        watch.current(0);
        watch.beat(0, 1);
        assert_eq!(watch.beat(10, 2), Change::Nodes);
        assert!(watch.writers().is_empty());
        assert!(
            !watch.membership.gone(node(2)),
            "nothing is taken from it either"
        );
        assert_eq!(watch.beat(1010, 2), Change::Nodes);
        assert_eq!(watch.writers(), [node(2)]);
        assert_eq!(watch.beat(2010, 2), Change::None);
    }

    #[test]
    fn a_node_that_was_there_before_is_probed_at_once() {
        let mut watch = Watch::begin();
        watch.beat(0, 2);
        watch.beat(0, 3);
        watch.current(0);
        assert_eq!(
            watch.judge(0),
            Judged::default(),
            "before its own heartbeat comes back, it judges nobody"
        );
        watch.beat(5, 1);
        let probes = watch.judge(5).probes;
        assert_eq!(
            probes.iter().map(|probe| probe.node).collect::<Vec<_>>(),
            [node(2), node(3)]
        );
        assert!(watch.probed(6, probes[0], Some(true)));
        assert!(watch.probed(6, probes[1], Some(false)));
        assert_eq!(watch.writers(), [node(2)]);
        assert!(watch.membership.gone(node(3)));
    }

    #[test]
    fn a_late_node_whose_address_is_empty_is_dead() {
        let mut watch = Watch::of_two();
        watch.beat(2000, 1);
        assert_eq!(watch.judge(2499), Judged::default());
        let probe = watch.judge(2500).probes[0];
        assert_eq!(watch.judge(2600), Judged::default(), "one probe at a time");
        assert!(watch.probed(2601, probe, Some(false)));
        assert!(watch.membership.gone(node(2)));
        assert_eq!(watch.membership.dead().collect::<Vec<_>>(), [node(2)]);
    }

    #[test]
    fn a_heartbeat_that_comes_during_a_probe_counts_more_than_its_answer() {
        let mut watch = Watch::of_two();
        watch.beat(2000, 1);
        let probe = watch.judge(2500).probes[0];
        watch.beat(2550, 2);
        assert!(!watch.probed(2600, probe, Some(false)));
        assert!(!watch.membership.gone(node(2)));
    }

    #[test]
    fn a_silent_node_is_dead_after_ten_seconds_and_not_before() {
        let mut watch = Watch::of_two();
        watch.beats_alone(2000, 11_000);
        assert!(watch.judge(10_999).died.is_empty());
        assert_eq!(watch.judge(11_000).died, [node(2)]);
        assert!(watch.writers().is_empty());
    }

    #[test]
    fn a_dead_node_that_beats_again_comes_back() {
        let mut watch = Watch::of_two();
        watch.beats_alone(2000, 11_000);
        watch.judge(11_000);
        assert_eq!(watch.beat(11_500, 2), Change::Nodes);
        assert!(!watch.membership.gone(node(2)));
        assert!(watch.writers().is_empty());
        watch.beat(12_500, 2);
        assert_eq!(watch.writers(), [node(2)]);
    }

    #[test]
    fn a_node_that_was_declared_down_does_not_come_back_whatever_is_heard_of_it() {
        let mut watch = Watch::of_two();
        let down = NodeSeen::Downed(node(2));
        assert_eq!(watch.membership.see(watch.at(1100), down), Change::Nodes);
        assert!(watch.membership.gone(node(2)));
        watch.beat(1200, 2);
        watch
            .membership
            .see(watch.at(1300), NodeSeen::Forgotten(node(2)));
        for ms in [1400, 2400, 3400] {
            assert_eq!(watch.beat(ms, 2), Change::None);
        }
        assert!(watch.membership.gone(node(2)) && watch.writers().is_empty());

        let later = watch.at(1100) + DOWN_KEPT;
        assert_eq!(watch.membership.long_down(later), [node(2)]);
        assert_eq!(watch.membership.long_down(later), []);
        let me = NodeSeen::Downed(node(1));
        assert_eq!(watch.membership.see(later, me), Change::Downed);
    }

    #[test]
    fn a_node_is_missed_from_the_first_probe_without_an_answer_to_its_next_heartbeat() {
        let mut watch = Watch::of_two();
        watch.beat(2000, 1);
        let probe = watch.judge(2500).probes[0];
        assert_eq!(watch.membership.missed(), []);
        assert!(watch.probed(2600, probe, None), "operators see it");
        assert_eq!(watch.membership.missed(), [node(2)]);
        assert_eq!(watch.writers(), [node(2)], "it keeps its shards");
        assert_eq!(watch.beat(2700, 2), Change::Nodes);
        assert_eq!(watch.membership.missed(), []);
    }

    #[test]
    fn a_node_that_is_cut_off_itself_judges_nobody() {
        let mut watch = Watch::of_two();
        assert_eq!(watch.judge(60_000), Judged::default());
        assert!(!watch.membership.fresh(watch.at(60_000)));
        assert_eq!(watch.beat(60_000, 1), Change::Away(Duration::from_secs(59)));
        assert_eq!(
            watch.judge(60_000),
            Judged::default(),
            "others get time to come back as well"
        );
        watch.beats_alone(61_000, 65_000);
        assert_eq!(watch.judge(64_999), Judged::default());
        assert_eq!(watch.judge(65_000).probes.len(), 1);
    }

    #[test]
    fn a_short_interruption_delays_the_next_probe_by_its_length_only() {
        let mut watch = Watch::of_two();
        assert_eq!(watch.beat(3000, 1), Change::Away(Duration::from_secs(2)));
        watch.beats_alone(4000, 5000);
        assert_eq!(watch.judge(4999), Judged::default());
        assert_eq!(watch.judge(5000).probes.len(), 1);
    }

    #[test]
    fn a_node_that_is_removed_is_gone_and_this_one_notices_when_it_is_itself() {
        let mut watch = Watch::of_two();
        assert_eq!(
            watch
                .membership
                .see(watch.at(1500), NodeSeen::Forgotten(node(2))),
            Change::Nodes
        );
        assert!(watch.membership.gone(node(2)));
        assert_eq!(
            watch
                .membership
                .see(watch.at(1500), NodeSeen::Forgotten(node(1))),
            Change::Forgotten
        );
        assert!(!watch.membership.gone(node(1)));
    }
}
