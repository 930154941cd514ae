//! What each party may publish and subscribe to, so that it can do its part and no other: the
//! permissions of its login at the nats-servers. `nats/cluster.conf` has them, and
//! `safe-chat permissions` prints them for any prefix and for one node alone. What of it crosses
//! from one account to another follows from them (`accounts.rs`).
//!
//! Names of nodes stand in subjects and keys where a permission must say whose something is. `*` in
//! their place is for logins that several nodes share: they are kept from what other parties do,
//! not from each other.

use super::subjects::token;
use std::{collections::BTreeSet, fmt::Write};

/// Who logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Party {
    /// Nodes that accept clients and own no shards.
    Gateway,
    /// Nodes that own shards and accept no clients.
    Writer,
    /// Nodes that do both.
    Node,
    /// People who look and change nothing.
    Operator,
    /// People and programs that watch the servers, and see nothing of what is said.
    Monitor,
}

/// The kinds of streams and of buckets.
const STREAMS: [&str; 2] = ["CMD", "EVT"];
const BUCKETS: [&str; 6] = [
    "NODES",
    "SHARDS",
    "SESSIONS",
    "SNAPSHOTS",
    "KEYS",
    "WELCOMES",
];

/// The names of copies of events, in a call that reads one.
const COPIES: &str = ".$KV.CHAT_SNAPSHOTS.copies.>";

/// What is allowed, for prefix `chat`; `{node}` stands for the name of the node.
#[derive(Default)]
pub(super) struct Allowed {
    pub(super) publish: Vec<String>,
    pub(super) subscribe: Vec<String>,
}

impl Allowed {
    /// What a party does that is of this version.
    pub(super) fn to(party: Party) -> Self {
        let mut allowed = Self::default();
        match party {
            Party::Operator => allowed.operator(),
            Party::Monitor => allowed.monitor(),
            Party::Gateway | Party::Writer | Party::Node => allowed.node(),
        }
        if matches!(party, Party::Gateway | Party::Node) {
            allowed.gateway();
        }
        match party {
            // A consumer delivers to whatever its maker names, so a gateway makes none.
            Party::Gateway => {
                allowed.publish(&["$KV.CHAT_NODES.gateway.{node}.*"]);
                allowed.call("STREAM.MSG.GET", &["NODES", "SHARDS"], "");
                allowed.call("DIRECT.GET", &["NODES", "SHARDS"], "");
                // Copies of events that something was erased of; never what lies beside them.
                allowed.call("DIRECT.GET", &["SNAPSHOTS"], COPIES);
            }
            Party::Writer | Party::Node => allowed.writer(),
            Party::Operator | Party::Monitor => {}
        }
        allowed
    }

    /// What nodes of older versions send, to whichever node; those of this one send nothing there.
    fn of_before(&mut self) {
        self.subscribe(&["chat.node.*.in", "chat.node.*.manage", "chat.node.*.probe"]);
        self.subscribe(&["chat-probe.*"]);
    }

    fn publish(&mut self, subjects: &[&str]) {
        let subjects = subjects.iter().map(|subject| (*subject).to_owned());
        self.publish.extend(subjects);
    }

    fn subscribe(&mut self, subjects: &[&str]) {
        let subjects = subjects.iter().map(|subject| (*subject).to_owned());
        self.subscribe.extend(subjects);
    }

    /// Calls of the JetStream API about streams, by kind.
    fn call(&mut self, call: &str, kinds: &[&str], rest: &str) {
        let stream = |kind: &&str| match BUCKETS.contains(kind) {
            true => format!("KV_CHAT_{kind}"),
            false => format!("CHAT_{kind}"),
        };
        let calls = kinds
            .iter()
            .map(|kind| format!("$JS.API.{call}.{}{rest}", stream(kind)));
        self.publish.extend(calls);
    }

    /// What every node does.
    fn node(&mut self) {
        // Questions to owners; whether others are there; what a connection says to itself.
        self.publish(&["chat.ask.*", "chat.node.*.*.probe", "chat-probe.*.*"]);
        self.publish(&["chat.node.{node}.*.echo"]);
        self.call("STREAM.INFO", &[&STREAMS[..], &BUCKETS].concat(), "");
        // `safe-chat doctor`: how servers sync.
        self.publish(&["$SYS.REQ.SERVER.PING.JSZ"]);
        self.subscribe(&["chat.node.{node}.*.in", "chat.node.{node}.*.manage"]);
        self.subscribe(&["chat.node.{node}.*.probe", "chat.node.{node}.*.echo"]);
        self.subscribe(&["_INBOX.{node}.>", "chat-probe.{node}.*"]);
        // What `nats micro` asks.
        self.subscribe(&["$SRV.>", "chat.srv.>"]);
        // An answer, where it is waited for, or where a server passes it on to another account. Not
        // `allow_responses`: with that a node that asks itself may publish wherever it says that it
        // waits.
        self.publish(&["_INBOX.>", "_R_.>"]);
    }

    /// What accepting clients takes.
    fn gateway(&mut self) {
        self.publish(&["chat.cmd.*.*.{node}", "$KV.CHAT_SESSIONS.{node}.*.*.*"]);
        self.call("STREAM.MSG.GET", &["EVT", "SESSIONS"], "");
        self.call("DIRECT.GET", &["EVT"], "");
        // Key packages; welcomes that were fetched.
        self.publish(&["$KV.CHAT_KEYS.>", "$KV.CHAT_WELCOMES.>"]);
        self.call("STREAM.MSG.GET", &["KEYS", "WELCOMES"], "");
        self.subscribe(&["chat.live.>", "chat.head.*"]);
    }

    /// What owning shards takes.
    fn writer(&mut self) {
        self.publish(&["chat.cmd.*.*", "chat.evt.>", "chat.head.*"]);
        // Words to any node, and those of before.
        self.publish(&["chat.node.*.*.in", "chat.node.*.*.manage"]);
        self.publish(&["chat.node.*.probe", "chat-probe.*"]);
        self.publish(&[
            "$KV.CHAT_NODES.>",
            "$KV.CHAT_SHARDS.>",
            "$KV.CHAT_SNAPSHOTS.>",
            "$KV.CHAT_WELCOMES.>",
        ]);
        // Which other clusters are there, when a new one begins.
        self.publish(&["$JS.API.STREAM.NAMES"]);
        let all = [&STREAMS[..], &BUCKETS].concat();
        self.call("STREAM.CREATE", &all, "");
        self.call("STREAM.MSG.GET", &all, "");
        self.call("DIRECT.GET", &all, "");
        // Decided commands, notes of dead nodes, what rooms let go of their past, and of names of
        // then; never who owns what.
        let purged = ["CMD", "EVT", "SESSIONS", "SNAPSHOTS"];
        self.call("STREAM.PURGE", &purged, "");
        self.call("CONSUMER.CREATE", &["CMD", "NODES", "SHARDS"], ".>");
        self.call("CONSUMER.INFO", &["CMD", "NODES", "SHARDS"], ".>");
        self.publish(&["$JS.FC.>"]);
        self.subscribe(&["chat.ask.*"]);
    }

    /// What people look at: what was said in rooms, and everything about it. They make no
    /// consumers: one delivers wherever its maker names, in the account of its stream.
    fn operator(&mut self) {
        self.publish(&[
            "$JS.API.INFO",
            "$JS.API.STREAM.NAMES",
            "$JS.API.STREAM.LIST",
        ]);
        self.publish(&["$JS.API.STREAM.INFO.*", "$JS.API.STREAM.MSG.GET.*"]);
        self.publish(&["$JS.API.DIRECT.GET.>", "$JS.API.CONSUMER.NAMES.*"]);
        self.publish(&["$JS.API.CONSUMER.LIST.*", "$JS.API.CONSUMER.INFO.>"]);
        self.publish(&["$SRV.>", "chat.srv.>", "_INBOX.operator.>"]);
        self.subscribe(&["chat.live.>", "chat.evt.>", "chat.cmd.>", "chat.head.*"]);
        self.subscribe(&[
            "$KV.CHAT_NODES.>",
            "$KV.CHAT_SHARDS.>",
            "$KV.CHAT_SESSIONS.>",
        ]);
        self.subscribe(&["$JS.EVENT.ADVISORY.>", "_INBOX.operator.>"]);
    }

    /// What servers say of themselves; no reload, lame duck or kick.
    fn monitor(&mut self) {
        let about = [
            "ACCOUNTZ", "GATEWAYZ", "HEALTHZ", "IDZ", "JSZ", "LEAFZ", "ROUTEZ", "STATSZ", "SUBSZ",
            "VARZ",
        ];
        let of_each = about.map(|what| format!("$SYS.REQ.SERVER.*.{what}"));
        self.publish.extend(of_each);
        // Of these two kinds a server lets an account ask for its own by itself, in the same words.
        self.publish(&["$SYS.REQ.SERVER.PING", "$SYS.REQ.SERVER.PING.CONNZ"]);
        self.publish(&["$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.ACCOUNT.PING.STATZ"]);
        self.publish(&["_INBOX.>"]);
        self.subscribe(&["$SYS.ACCOUNT.>", "$SYS.SERVER.>", "_INBOX.>"]);
    }
}

/// The permissions of a party, as the configuration of a nats-server has them. `name`: the node
/// that alone has this login, or `*`.
pub fn rights(prefix: &str, party: Party, name: &str) -> String {
    let mut allowed = Allowed::to(party);
    if matches!(party, Party::Gateway | Party::Writer | Party::Node) {
        allowed.of_before();
    }
    let mut text = String::new();
    for (what, subjects) in [
        ("publish", allowed.publish),
        ("subscribe", allowed.subscribe),
    ] {
        let subjects = subjects
            .iter()
            .map(|subject| written(subject, prefix, name));
        let subjects: BTreeSet<String> = subjects.collect();
        let _ = writeln!(text, "{what} {{\n  allow: [");
        for subject in subjects {
            let _ = writeln!(text, "    \"{subject}\"");
        }
        text.push_str("  ]\n}\n");
    }
    text
}

/// A subject for another prefix than `chat`, and for one node, or `*`.
pub(super) fn written(subject: &str, prefix: &str, name: &str) -> String {
    let name = match name {
        "*" => "*".into(),
        name => token(name),
    };
    subject
        .replace("CHAT_", &format!("{}_", prefix.to_uppercase()))
        .replace("chat.", &format!("{prefix}."))
        .replace("chat-", &format!("{prefix}-"))
        .replace("{node}", &name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `nats/cluster.conf` and the component for Kubernetes are as `safe-chat permissions` says.
    #[test]
    fn what_is_shipped_is_what_is_needed() {
        let shipped = include_str!("../../../nats/cluster.conf");
        let in_pods = include_str!("../../../docker/k8s/components/nats/permissions.conf");
        let lines = |text: &str| -> Vec<String> {
            text.lines().map(|line| line.trim().to_owned()).collect()
        };
        let [of_file, of_pods] = [shipped, in_pods].map(|text| lines(text).join("\n"));
        for (party, name) in [
            (Party::Gateway, "GATEWAY"),
            (Party::Writer, "WRITER"),
            (Party::Node, "NODE"),
            (Party::Operator, "OPERATOR"),
            (Party::Monitor, "MONITOR"),
        ] {
            let wanted = format!(
                "MAY_{name} {{\n{}\n}}",
                lines(&rights("chat", party, "*")).join("\n")
            );
            assert!(
                of_file.contains(&wanted),
                "{name}: run safe-chat permissions"
            );
            let is_in_pods = matches!(party, Party::Gateway | Party::Writer);
            assert_eq!(of_pods.contains(&wanted), is_in_pods, "{name}");
        }
    }

    #[test]
    fn only_what_stands_for_the_node_is_replaced_by_its_name() {
        let text = rights("name", Party::Operator, "n1");
        assert!(text.contains("\"$JS.API.STREAM.NAMES\""), "{text}");
        let text = rights("name", Party::Gateway, "n1");
        assert!(text.contains("\"$KV.NAME_NODES.gateway.n1.*\""), "{text}");
    }

    #[test]
    fn a_node_of_its_own_login_has_its_name_and_prefix_everywhere() {
        let text = rights("talk", Party::Gateway, "node.1");
        assert!(text.contains("\"talk.cmd.*.*.node=2E1\""), "{text}");
        assert!(text.contains("\"$KV.TALK_NODES.gateway.node=2E1.*\""));
        assert!(text.contains("\"_INBOX.node=2E1.>\"") && text.contains("\"talk-probe."));
        for other in [
            "chat", "CHAT", "NAME", ".evt.>", "CONSUMER", "PURGE", ".in\"\n",
        ] {
            let publishes = text.split("subscribe").next().unwrap();
            assert!(!publishes.contains(other), "{other}: {publishes}");
        }
    }
}
