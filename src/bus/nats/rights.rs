//! What each party may publish and subscribe to, so that it can do its part and no other: the
//! permissions of its login at the nats-servers. `nats/cluster.conf` has them, and
//! `safe-chat permissions` prints them for any prefix and for one node alone.
//!
//! Names of nodes stand in subjects and keys where a permission must say whose something is. `*` in
//! their place is for logins that several nodes share: they are kept from what other parties do,
//! not from each other.

use super::subjects::token;
use std::fmt::Write;

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
}

/// The kinds of streams and of buckets.
const STREAMS: [&str; 2] = ["CMD", "EVT"];
const BUCKETS: [&str; 4] = ["NODES", "SHARDS", "SESSIONS", "SNAPSHOTS"];

/// What is allowed, for prefix `chat`; `{node}` stands for the name of the node.
#[derive(Default)]
struct Allowed {
    publish: Vec<String>,
    subscribe: Vec<String>,
}

impl Allowed {
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
        self.subscribe(&[
            "_INBOX.{node}.>",
            "chat.node.{node}.>",
            "chat-probe.{node}.*",
        ]);
        // What `nats micro` asks.
        self.subscribe(&["$SRV.>", "chat.srv.>"]);
        // As nodes of older versions send it; those of this one send nothing there.
        self.subscribe(&["chat.node.*.in", "chat.node.*.manage", "chat.node.*.probe"]);
        self.subscribe(&["chat-probe.*"]);
        // An answer, where it is waited for. Not `allow_responses`: with that a node that asks itself
        // may publish wherever it says that it waits.
        self.publish(&["_INBOX.>"]);
    }

    /// What accepting clients takes.
    fn gateway(&mut self) {
        self.publish(&["chat.cmd.*.*.{node}", "$KV.CHAT_SESSIONS.{node}.*.*.*"]);
        self.call("STREAM.MSG.GET", &["EVT", "SESSIONS"], "");
        self.call("DIRECT.GET", &["EVT"], "");
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
        ]);
        let all = [&STREAMS[..], &BUCKETS].concat();
        self.call("STREAM.CREATE", &all, "");
        self.call("STREAM.MSG.GET", &all, "");
        self.call("DIRECT.GET", &all, "");
        // Decided commands, notes of dead nodes; never what was said, nor who owns what.
        self.call("STREAM.PURGE", &["CMD", "SESSIONS"], "");
        self.call("CONSUMER.CREATE", &["CMD", "NODES", "SHARDS"], ".>");
        self.call("CONSUMER.INFO", &["CMD", "NODES", "SHARDS"], ".>");
        self.publish(&["$JS.FC.>"]);
        self.subscribe(&["chat.ask.*"]);
    }

    /// What people look at: what was said in rooms, and everything about it.
    fn operator(&mut self) {
        self.publish(&[
            "$JS.API.INFO",
            "$JS.API.STREAM.NAMES",
            "$JS.API.STREAM.LIST",
        ]);
        self.publish(&["$JS.API.STREAM.INFO.*", "$JS.API.STREAM.MSG.GET.*"]);
        self.publish(&["$JS.API.DIRECT.GET.>", "$JS.API.CONSUMER.NAMES.*"]);
        self.publish(&["$JS.API.CONSUMER.LIST.*", "$JS.API.CONSUMER.INFO.>"]);
        // `nats stream view`, `nats kv watch`: consumers of their own, which end with them.
        self.publish(&["$JS.API.CONSUMER.CREATE.>", "$JS.API.CONSUMER.MSG.NEXT.>"]);
        self.publish(&["$JS.FC.>", "$SRV.>", "chat.srv.>", "_INBOX.operator.>"]);
        self.subscribe(&["chat.live.>", "chat.evt.>", "chat.cmd.>", "chat.head.*"]);
        self.subscribe(&["$JS.EVENT.ADVISORY.>", "_INBOX.operator.>"]);
    }
}

/// The permissions of a party, as the configuration of a nats-server has them. `name`: the node
/// that alone has this login, or `*`.
pub fn rights(prefix: &str, party: Party, name: &str) -> String {
    let mut allowed = Allowed::default();
    match party {
        Party::Operator => allowed.operator(),
        _ => allowed.node(),
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
        }
        Party::Writer | Party::Node => allowed.writer(),
        Party::Operator => {}
    }
    let name = match name {
        "*" => "*".into(),
        name => token(name),
    };
    let upper = prefix.to_uppercase();
    let written = |subject: &String| {
        subject
            .replace("CHAT_", &format!("{upper}_"))
            .replace("chat.", &format!("{prefix}."))
            .replace("chat-", &format!("{prefix}-"))
            .replace("{node}", &name)
    };
    let mut text = String::new();
    for (what, subjects) in [
        ("publish", allowed.publish),
        ("subscribe", allowed.subscribe),
    ] {
        let mut subjects: Vec<String> = subjects.iter().map(written).collect();
        subjects.sort();
        subjects.dedup();
        let _ = writeln!(text, "{what} {{\n  allow: [");
        for subject in subjects {
            let _ = writeln!(text, "    \"{subject}\"");
        }
        text.push_str("  ]\n}\n");
    }
    text
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
