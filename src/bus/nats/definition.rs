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
        // Nobody purges or deletes events. Streams of before let everybody, which is told
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
            Store::Blobs => "rooms are replayed",
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
        let is_kept = |key: &str| found[key] == json!(true);
        let open = self.is_journal && !(is_kept("deny_delete") && is_kept("deny_purge"));
        open.then(|| {
            let name = &self.name;
            format!(
                "stream {name}, the journal of all rooms, lets events be deleted: nats stream edit \
                 {name} --deny-delete --deny-purge (NATS does not take that back)"
            )
        })
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
             --storage file --allow-direct --deny-delete --deny-purge --defaults"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bus::nats::api, room::Shards};

    fn events() -> Definition {
        let subjects = Subjects::new("t1x", Shards::new(4).unwrap()).unwrap();
        definitions(&Config::default(), &subjects).remove(1)
    }

    #[test]
    fn a_definition_takes_the_prefix_on() {
        assert_eq!(events().name, "T1X_EVT");
        assert_eq!(
            events().wanted["republish"],
            json!({ "src": "t1x.evt.>", "dest": "t1x.live.>" })
        );
    }

    #[test]
    fn a_difference_that_matters_is_named_and_others_are_the_operators() {
        let mut found = events().wanted;
        found["num_replicas"] = 3.into();
        found["compression"] = "s2".into();
        found["sources"] = json!([]);
        assert!(events().check(&found, false).is_ok());
        found["max_age"] = 1_000_000.into();
        assert!(events().check(&found, true).is_ok(), "how long is, too");
        let error = events().check(&found, false).unwrap_err();
        assert!(
            error.contains("`max_age`") && error.contains("T1X_EVT"),
            "{error}"
        );
    }

    /// What nats-server 2.15.2 answers of a stream with three copies, without what is not read.
    fn copies(leader: &str, replicas: &str) -> Copies {
        let answer = format!(
            r#"{{"type":"io.nats.jetstream.api.v1.stream_info_response","config":{{"num_replicas":3}},
            "created":"2026-11-27T10:00:11.525471154Z","state":{{"messages":0,"last_seq":0}},
            "cluster":{{"name":"c","raft_group":"S-R3F-rDDA5D9k",{leader}"system_account":true,
            "traffic_account":"$SYS","replicas":[{replicas}]}},"ts":"2026-11-27T10:00:18Z"}}"#
        );
        let read = api::read::<StreamInfo>(answer.as_bytes()).unwrap();
        read.unwrap().cluster.expect("three servers")
    }

    #[test]
    fn copies_that_are_away_are_named_and_too_few_are_a_fault() {
        let led = r#""leader":"nats-1","leader_since":"2026-11-27T10:00:11.66597827Z","#;
        let short = |leader, replicas: [&str; 2]| {
            events().is_short_of_copies(&copies(leader, &replicas.join(",")))
        };
        let here = r#"{"name":"nats-3","current":true,"active":876956799,"peer":"cnrtt3eg"}"#;
        // Killed 6 s ago, and 2 minutes ago; stopped.
        let [lately, killed, stopped] = [
            r#"{"name":"nats-2","current":true,"active":6882282922,"peer":"yrzKKRBu"}"#,
            r#"{"name":"nats-2","current":false,"active":120387305710,"peer":"yrzKKRBu"}"#,
            r#"{"name":"nats-2","current":false,"offline":true,"active":876956799,"peer":"y"}"#,
        ];
        assert_eq!(short(led, [here, lately]), None);
        // Running again, and reading what it missed.
        let behind = r#"{"name":"nats-2","current":false,"active":399000218,"lag":7,"peer":"y"}"#;
        assert_eq!(short(led, [here, behind]), None);
        for away in [killed, stopped] {
            let (warning, is_fault) = short(led, [here, away]).unwrap();
            assert!(warning.contains("2 of 3") && warning.contains("start nats-2"));
            assert!(!is_fault, "{warning}");
        }
        let other = killed.replace("nats-2", "nats-3");
        let (fault, is_fault) = short(led, [&other, killed]).unwrap();
        let named = fault.contains("start nats-3, nats-2");
        assert!(named && is_fault, "{fault}");
        // Without a leader the server that answers is among them.
        let (fault, is_fault) = short("", [&other, killed]).unwrap();
        assert!(fault.contains("no leader") && is_fault, "{fault}");
        let alone = Copies::default();
        assert_eq!(events().is_short_of_copies(&alone), None);
    }

    #[test]
    fn events_bounded_as_those_of_the_other_journal_are_told_to_be() {
        let subjects = Subjects::new("t1x", Shards::new(4).unwrap()).unwrap();
        let checked = |mine: Option<u64>, found: i64| {
            let event_bytes = mine;
            let config = Config {
                event_bytes,
                ..Config::default()
            };
            let events = definitions(&config, &subjects).remove(1);
            let mut stream = events.wanted.clone();
            stream["max_bytes"] = found.into();
            events.check(&stream, false).err().unwrap_or_default()
        };
        // Rooms are kept on the bus, and the stream is one of rooms in Cassandra.
        let bounded = checked(None, 1024);
        let todo = ["set journal.kind to cassandra", "--max-bytes=-1"];
        assert!(todo.iter().all(|it| bounded.contains(it)), "{bounded}");
        // The other way round: a bound would lose messages.
        let unbounded = checked(Some(4096), -1);
        let todo = ["begin anew in Cassandra", "set journal.kind to bus"];
        assert!(todo.iter().all(|it| unbounded.contains(it)), "{unbounded}");
        assert!(!unbounded.contains("edit"), "it would cut the history");
        assert_eq!(checked(Some(4096), 1024), "", "how large is the operator's");
    }

    #[test]
    fn what_a_stream_that_is_there_makes_of_a_setting_is_said() {
        let subjects = Subjects::new("t1x", Shards::new(4).unwrap()).unwrap();
        let [commands, events] =
            [0, 1].map(|at| definitions(&Config::default(), &subjects).remove(at));
        let mut found = commands.wanted.clone();
        assert_eq!(commands.ignores(&found), Vec::<String>::new());
        (found["max_bytes"], found["num_replicas"]) = (4096.into(), 3.into());
        let told = commands.ignores(&found).join("; ");
        let parts = [
            "bus.command_bytes is 268435456",
            "--max-bytes=268435456",
            "bus.replicas",
        ];
        assert!(parts.iter().all(|part| told.contains(part)), "{told}");
        found = events.wanted.clone();
        found["max_bytes"] = 4096.into();
        assert_eq!(
            events.ignores(&found),
            Vec::<String>::new(),
            "no setting says it"
        );
    }

    #[test]
    fn how_much_of_the_past_an_operator_keeps_is_read_from_the_stream() {
        let events = events();
        let mut found = events.wanted.clone();
        assert_eq!(events.keeps_only(&found), None);
        (found["max_age"], found["max_bytes"]) = (3_600_000_000_000_u64.into(), 4096.into());
        let kept = events.keeps_only(&found);
        assert_eq!(kept.as_deref(), Some("max_bytes 4096, max_age 3600 s"));
    }

    #[test]
    fn a_bucket_of_all_that_one_can_empty_is_weak() {
        let subjects = Subjects::new("t1x", Shards::new(4).unwrap()).unwrap();
        for definition in definitions(&Config::default(), &subjects) {
            let is_shared = matches!(definition.store, Store::Nodes | Store::Marks);
            let mut found = definition.wanted.clone();
            assert_eq!(definition.lets_one_empty_it(&found), None);
            found["allow_rollup_hdrs"] = json!(true);
            assert_eq!(definition.lets_one_empty_it(&found).is_some(), is_shared);
        }
    }

    #[test]
    fn what_nats_does_not_take_back_is_not_said_to_be_edited() {
        let subjects = Subjects::new("t1x", Shards::new(4).unwrap()).unwrap();
        let refused = |store: Store, key: &str, value: Value| {
            let all = definitions(&Config::default(), &subjects);
            let definition = all.iter().find(|one| one.store == store).unwrap();
            let mut found = definition.wanted.clone();
            found[key] = value;
            definition.check(&found, true).err().unwrap_or_default()
        };
        let (yes, ten) = (json!(true), json!(10));
        let commands = refused(Store::Commands, "deny_purge", yes.clone());
        assert!(commands.contains("nats stream rm T1X_CMD -f"), "{commands}");
        let journal = refused(Store::Events, "sealed", yes.clone());
        assert!(
            journal.contains("nats stream restore DIR --config"),
            "{journal}"
        );
        assert!(!journal.contains("edit") && !commands.contains("edit"));
        assert_eq!(
            refused(Store::Events, "deny_purge", yes),
            "",
            "nobody purges them"
        );
        for store in [Store::Nodes, Store::Shards, Store::Marks] {
            let why = refused(store, "max_msg_size", ten.clone());
            assert!(
                why.contains("max_msg_size") && why.contains("nats stream edit"),
                "{why}"
            );
        }
    }
}
