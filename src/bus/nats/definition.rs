//! Streams and buckets as nats/*.json define them, for any prefix: made if they are missing,
//! checked if they are there.

use super::{
    Config,
    api::{Copies, StreamInfo},
    link::{Failure, Link},
    payload,
    reach::REMEDY,
    subjects::Subjects,
};
use crate::bus::{Error, Store};
use serde_json::{Value, json};
use std::time::Duration;

/// Every definition, written for prefix `chat` and one replica. The events come before the records
/// of shards, so that a cluster that has those has had events.
const DEFINITIONS: [(Store, &str); 8] = [
    (Store::Commands, include_str!("../../../nats/cmd.json")),
    (Store::Events, include_str!("../../../nats/evt.json")),
    (Store::Nodes, include_str!("../../../nats/nodes.json")),
    (Store::Shards, include_str!("../../../nats/shards.json")),
    (Store::Marks, include_str!("../../../nats/sessions.json")),
    (Store::Blobs, include_str!("../../../nats/snapshots.json")),
    (Store::Packages, include_str!("../../../nats/keys.json")),
    (Store::Welcomes, include_str!("../../../nats/welcomes.json")),
];

/// What must be as defined. Anything else (replicas, compression, placement, description ...) is
/// the operator's.
const MATTERS: [&str; 14] = [
    "sealed",
    "subjects",
    "retention",
    "discard",
    "storage",
    "max_msgs_per_subject",
    "allow_direct",
    "republish",
    "deny_purge",
    "no_ack",
    "persist_mode",
    "mirror",
    "sources",
    "subject_transform",
];

/// Where it only matters whether there is a bound.
const BOUNDS: [&str; 4] = ["max_bytes", "max_msgs", "max_age", "max_consumers"];

/// What NATS does not let anybody change back.
const FIXED: [&str; 7] = [
    "sealed",
    "deny_purge",
    "storage",
    "retention",
    "max_consumers",
    "persist_mode",
    "mirror",
];

/// Whether a stream takes batches: messages that are stored all or not at all.
const ATOMIC: &str = "allow_atomic";

/// The oldest server that knows batches. One that does not stores their messages one by one.
const BATCHES: (i64, i64, i64) = (2, 12, 0);

/// Which of them say how much of the past stays, and are the operator's where it is known that the
/// events are the journal, or that they are not.
const PAST: [&str; 3] = ["max_bytes", "max_msgs", "max_age"];

/// The bytes that any record needs, with its headers.
const RECORD: i64 = 1024;

/// How long making a stream may take: in a cluster, its replicas agree on a leader first.
const CREATE: Duration = Duration::from_secs(10);

/// A stream, or the stream of a bucket, as it must be.
pub(super) struct Definition {
    pub(super) store: Store,
    pub(super) name: String,
    wanted: Value,
    /// What it holds cannot be made again: rooms would begin anew.
    pub(super) is_journal: bool,
}

/// All of them, for the configured prefix, replicas and sizes.
pub(super) fn definitions(config: &Config, subjects: &Subjects) -> Vec<Definition> {
    DEFINITIONS
        .map(|(store, text)| Definition::new(store, text, config, subjects))
        .into()
}

/// The bounds of a stream that drop what is old, for people; `None`: it has none.
pub(super) fn bounds(found: &Value) -> Option<String> {
    let set = |key: &str| found[key].as_i64().filter(|bound| *bound > 0);
    let told = |key: &&str| {
        Some(match (*key, set(key)?) {
            ("max_age", nanoseconds) => format!("max_age {} s", nanoseconds / 1_000_000_000),
            (key, bound) => format!("{key} {bound}"),
        })
    };
    let bounds: Vec<String> = PAST.iter().filter_map(told).collect();
    (!bounds.is_empty()).then(|| bounds.join(", "))
}

/// Why no room can let its past go from a stream of events, and what to do; `None`: all can. Where
/// single messages can be deleted, what went of one room could not be told from what is lost of
/// another.
pub(super) fn keeps_everything(name: &str, found: &Value) -> Option<String> {
    if found["deny_purge"] == json!(true) {
        return Some(format!(
            "stream {name} has deny_purge, which NATS does not take back, so rooms keep all \
             whatever they are to keep: nats stream backup {name} DIR, nats stream rm {name}, and \
             nats stream restore DIR --config FILE, where FILE is the `config` of DIR/backup.json \
             with \"deny_purge\": false, while no node runs"
        ));
    }
    (found["deny_delete"] != json!(true)).then(|| {
        format!(
            "stream {name} lets single events be deleted, so rooms keep all whatever they are to \
             keep: nats stream edit {name} --deny-delete (NATS does not take that back)"
        )
    })
}

/// Whether the server of a connection knows batches of messages.
pub(super) fn knows_batches(link: &Link) -> bool {
    let (major, minor, patch) = BATCHES;
    link.client.is_server_compatible(major, minor, patch)
}

impl Definition {
    fn new(store: Store, text: &str, config: &Config, subjects: &Subjects) -> Self {
        let mut wanted: Value =
            serde_json::from_str(&subjects.rename(text)).expect("a definition in nats/ is JSON");
        wanted["num_replicas"] = config.replicas.into();
        match (store, config.event_bytes) {
            (Store::Commands, _) => wanted["max_bytes"] = config.command_bytes.into(),
            (Store::Packages, _) => wanted["max_bytes"] = config.key_bytes.into(),
            (Store::Welcomes, _) => wanted["max_bytes"] = config.welcome_bytes.into(),
            (Store::Events, Some(bytes)) => wanted["max_bytes"] = bytes.into(),
            _ => {}
        }
        Self {
            store,
            name: wanted["name"]
                .as_str()
                .expect("a definition has a name")
                .into(),
            wanted,
            is_journal: store == Store::Events && config.event_bytes.is_none(),
        }
    }

    /// How it is; `None`: it is missing.
    pub(super) async fn find(&self, link: &Link) -> Result<Option<StreamInfo>, Error> {
        let what = format!("looking at stream {}", self.name);
        let found = link
            .api::<StreamInfo>(&format!("STREAM.INFO.{}", self.name), &json!({}))
            .await;
        let found = found.map_err(|failure| match failure {
            Failure::NoResponders => {
                Error::Unusable(format!("{what}: JetStream does not answer; {REMEDY}"))
            }
            other => other.of_read(&what),
        })?;
        match found {
            Ok(info) => Ok(Some(info)),
            Err(refusal) if refusal.is_not_found() => Ok(None),
            Err(refusal) => Err(refusal.of_look(&what)),
        }
    }

    /// Makes it. What another node has just made in the same way is made.
    pub(super) async fn create(&self, link: &Link) -> Result<(), Error> {
        let what = format!("creating stream {}", self.name);
        let mut wanted = self.wanted.clone();
        if let Some(wanted) = wanted.as_object_mut()
            && !knows_batches(link)
        {
            wanted.remove(ATOMIC);
        }
        let answer = link
            .api_within::<StreamInfo>(CREATE, &format!("STREAM.CREATE.{}", self.name), &wanted)
            .await
            .map_err(|failure| failure.of_write(&what))?;
        answer.map(drop).map_err(|refusal| refusal.of_read(&what))
    }

    /// What to do about a stream that is missing and not this node's to make.
    pub(super) fn left_to_writers(&self) -> String {
        format!(
            "stream {} is missing: a node that writes{} makes it, start one",
            self.name,
            match self.store.is_optional() {
                true => " and is of this version",
                false => "",
            }
        )
    }

    /// Compares what matters with how it is. The error says what differs and what to do.
    /// `knows_journal`: the cluster's settings say where rooms are kept, as this node would have
    /// it; otherwise the bounds of the events are all that tells.
    pub(super) fn check(&self, found: &Value, knows_journal: bool) -> Result<(), String> {
        let wanted = &self.wanted;
        let unbounded = |value: &Value| value.as_i64().unwrap_or(0) <= 0;
        let empty = |value: &Value| {
            let defaults = [json!(null), json!(false), json!("default")];
            defaults.contains(value) || value.as_array().is_some_and(Vec::is_empty)
        };
        let same =
            |key: &&str| wanted[key] == found[key] || (empty(&wanted[key]) && empty(&found[key]));
        let bounded_alike = |key: &&str| unbounded(&wanted[key]) == unbounded(&found[key]);
        // Streams of events of before let nobody purge, or everybody delete, which is told
        // elsewhere.
        let is_purged = matches!(self.store, Store::Commands | Store::Marks);
        let differs = MATTERS
            .iter()
            .filter(|key| **key != "deny_purge" || is_purged)
            .find(|key| !same(key))
            .or_else(|| {
                let is_free =
                    |key: &str| knows_journal && self.store == Store::Events && PAST.contains(&key);
                let mut bounds = BOUNDS.iter().filter(|key| !is_free(key));
                bounds.find(|key| !bounded_alike(key))
            });
        let is_record = matches!(self.store, Store::Nodes | Store::Shards | Store::Marks);
        let too_small =
            is_record && (1..RECORD).contains(&found["max_msg_size"].as_i64().unwrap_or(-1));
        let key = match differs {
            Some(key) => *key,
            None if too_small => "max_msg_size",
            None => return Ok(()),
        };
        let (name, remedy) = (&self.name, self.remedy(key));
        Err(format!(
            "stream {name} cannot be used: its `{key}` is {} where {} is needed; {remedy} or \
             choose another bus.prefix",
            found[key], wanted[key]
        ))
    }

    /// What to do about a value that is not as it must be.
    fn remedy(&self, key: &str) -> String {
        let name = &self.name;
        // The one thing in which the two kinds of journal differ: most likely that is meant.
        match (&self.store, self.is_journal, key) {
            (Store::Events, false, "max_bytes") => {
                return "a stream without a bound holds the rooms of a cluster that keeps them on \
                        the bus, which this node would begin anew in Cassandra: to join it set \
                        journal.kind to bus, or leave out cassandra.hosts (CASSANDRA),"
                    .into();
            }
            (Store::Events, true, "max_bytes") => {
                return format!(
                    "that of a cluster whose rooms are in Cassandra has a bound: set journal.kind to \
                     cassandra, or if its rooms are kept here remove the bound until its nodes have \
                     noted that (nats stream edit {name} --max-bytes=-1),"
                );
            }
            _ => {}
        }
        if !FIXED.contains(&key) {
            return format!("change it (nats stream edit {name})");
        }
        let what_then = match self.store {
            Store::Events if self.is_journal => {
                return format!(
                    "NATS does not take that back: nats stream backup {name} DIR, nats stream rm {name}, \
                     and nats stream restore DIR --config FILE, where FILE is the `config` of \
                     DIR/backup.json with that (of a sealed one deny_purge and deny_delete, too) changed,"
                );
            }
            Store::Commands => "gateways send again what has no answer",
            Store::Events => "rooms are in their journal",
            Store::Nodes | Store::Shards | Store::Marks => "write their records again",
            Store::Blobs => {
                "rooms are replayed, but for what was before something was erased of one"
            }
            Store::Packages => "devices publish their key packages again",
            Store::Welcomes => "devices that wait for a welcome are added again",
        };
        format!(
            "NATS does not take that back: delete it (nats stream rm {name} -f), nodes make it \
             again, and {what_then};"
        )
    }

    /// What this node was told to make otherwise than it is, and now counts for nothing.
    pub(super) fn ignores(&self, found: &Value) -> Vec<String> {
        let (name, wanted) = (&self.name, &self.wanted);
        let setting = match self.store {
            Store::Commands => Some("bus.command_bytes"),
            Store::Packages => Some("bus.key_bytes"),
            Store::Welcomes => Some("bus.welcome_bytes"),
            Store::Events if !self.is_journal => Some("bus.event_bytes"),
            _ => None,
        };
        let sizes = setting.filter(|_| wanted["max_bytes"] != found["max_bytes"]);
        let sizes = sizes.map(|setting| {
            let (mine, theirs) = (&wanted["max_bytes"], &found["max_bytes"]);
            format!(
                "{setting} is {mine} and counts for nothing, since stream {name} is there with \
                 max_bytes {theirs}: nats stream edit {name} --max-bytes={mine}, or set {setting} \
                 to {theirs}"
            )
        });
        let copies = |value: &Value| value["num_replicas"].as_u64().unwrap_or(1);
        let more = (copies(found) > copies(wanted)).then(|| {
            format!(
                "bus.replicas is {} and counts for nothing, since stream {name} is there with {} \
                 copies: set bus.replicas to that",
                copies(wanted),
                copies(found)
            )
        });
        sizes.into_iter().chain(more).collect()
    }

    /// How much of the past an operator lets the journal keep; `None`: all of it.
    pub(super) fn keeps_only(&self, found: &Value) -> Option<String> {
        bounds(found).filter(|_| self.is_journal)
    }

    /// What there is less of than this node was told to make.
    pub(super) fn has_fewer_copies(&self, found: &Value) -> Option<String> {
        let count = |value: &Value| value["num_replicas"].as_u64().unwrap_or(1);
        let (wanted, found) = (count(&self.wanted), count(found));
        (found < wanted).then(|| {
            let name = &self.name;
            format!(
                "stream {name} has {found} copies where bus.replicas is {wanted}: nats stream edit {name} --replicas {wanted}"
            )
        })
    }

    /// What to do about copies on servers that are away, and whether too few are left to store
    /// anything.
    pub(super) fn is_short_of_copies(&self, copies: &Copies) -> Option<(String, bool)> {
        let away: Vec<&str> = copies
            .replicas
            .iter()
            .filter(|copy| copy.is_away())
            .map(|copy| copy.name.as_str())
            .collect();
        let (count, name) = (copies.replicas.len() + 1, &self.name);
        if copies.leader.is_empty() && !copies.replicas.is_empty() {
            return Some((
                format!(
                    "stream {name} has no leader, so nothing is stored: do most of its servers run \
                     (nats stream report)?"
                ),
                true,
            ));
        }
        let (here, servers) = (count - away.len(), away.join(", "));
        (!away.is_empty()).then(|| {
            let is_fault = here * 2 <= count;
            let effect = match is_fault {
                true => "too few to store anything",
                false => "the loss of one more may stop it",
            };
            let text = format!(
                "stream {name} has {here} of {count} copies, {effect}: start {servers} \
                 (nats stream report)"
            );
            (text, is_fault)
        })
    }

    /// What to do about a stream of commands that takes no batches, where the server would.
    pub(super) fn takes_no_batches(&self, found: &Value, link: &Link) -> Option<String> {
        let is_slow = self.wanted[ATOMIC] == json!(true) && found[ATOMIC] != json!(true);
        (is_slow && knows_batches(link)).then(|| {
            let name = &self.name;
            format!(
                "stream {name} takes no batches, so each command is synced to the disk alone: \
                 nats stream edit {name} --allow-batch, and start the nodes again one by one"
            )
        })
    }

    /// What to do about events that whoever has the rights may delete.
    pub(super) fn lets_events_go(&self, found: &Value) -> Option<String> {
        let is_open = self.is_journal && found["deny_delete"] != json!(true);
        is_open.then(|| {
            let name = &self.name;
            format!(
                "stream {name}, the journal of all rooms, lets single events be deleted: nats \
                 stream edit {name} --deny-delete (NATS does not take that back)"
            )
        })
    }

    /// What to do about a journal of which no room can let its past go.
    pub(super) fn keeps_everything(&self, found: &Value) -> Option<String> {
        keeps_everything(&self.name, found).filter(|_| self.is_journal)
    }

    /// What to do about records of all that a header of one message removes.
    pub(super) fn lets_one_empty_it(&self, found: &Value) -> Option<String> {
        let is_shared = matches!(self.store, Store::Nodes | Store::Marks);
        (is_shared && found["allow_rollup_hdrs"] == json!(true)).then(|| {
            let name = &self.name;
            format!(
                "stream {name} lets any node remove what all nodes have written there: nats stream \
                 edit {name} --no-allow-rollup"
            )
        })
    }

    /// What to do about a bucket that takes only small messages.
    pub(super) fn keeps_less(&self, bytes: usize) -> Option<String> {
        let is_less = self.store == Store::Blobs && bytes < payload::NEEDED;
        is_less.then(|| {
            let name = &self.name;
            format!(
                "stream {name} takes messages of {bytes} bytes: larger snapshots are not saved, \
                 and rooms without one are replayed when they are opened; nats stream edit {name} \
                 --max-msg-size=-1"
            )
        })
    }

    /// What to do about a journal that is gone.
    pub(super) fn lost(&self) -> String {
        let Self { name, wanted, .. } = self;
        let (events, live) = (&wanted["subjects"][0], &wanted["republish"]["dest"]);
        format!(
            "stream {name}, the journal of all rooms, is missing: restore it (nats stream restore), or begin all rooms anew with an \
             empty one: nats stream add {name} --subjects {events} --republish-source {events} --republish-destination {live} \
             --storage file --allow-direct --deny-delete --defaults"
        )
    }
}

#[cfg(test)]
mod tests;
