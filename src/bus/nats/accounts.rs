//! What crosses between the accounts of the nats-servers. A server sends its answer to whatever
//! subject the asker names, also to its own API, and no permission holds that back; an account
//! does. So streams, and the nodes that write rooms, have one account; gateways and operators have
//! one each, which imports the calls and subjects that they need and no more. An answer to them
//! stays in theirs.
//!
//! What crosses follows from what each may publish and subscribe to (`rights.rs`).

use super::{
    link::OWNERS,
    rights::{Allowed, Party, written},
};
use std::{collections::BTreeMap, fmt::Write};

/// Of the streams, and of nodes that own shards. Streams belong to their account for good.
const STREAMS: &str = "CHAT";
const GATEWAYS: &str = "GATEWAY";
const OPERATORS: &str = "OPERATOR";
const MONITORS: &str = "MONITOR";
/// Of the servers. Nobody logs in there: its API removes the streams of any account.
const SYSTEM: &str = "SYS";

/// How long a server keeps open where the answers to one question go, counted from the last of
/// them: longer than any that is waited for (`api.rs`).
const ANSWERS_END: &str = "15s";

/// How a subject crosses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Crossing {
    /// What is published there goes to the other account; one answer comes back, or none.
    Asked,
    /// As many answers as come.
    AskedAll,
    /// What is published there in the other account is heard.
    Heard,
}

impl Crossing {
    /// What a configuration calls it.
    fn kind(self) -> &'static str {
        match self {
            Self::Asked | Self::AskedAll => "service",
            Self::Heard => "stream",
        }
    }
}

/// A subject that crosses, for prefix `chat`.
struct Crossed {
    subject: String,
    how: Crossing,
    from: &'static str,
    to: &'static str,
}

/// The account that a party logs in to.
fn account(party: Party) -> &'static str {
    match party {
        Party::Gateway => GATEWAYS,
        Party::Writer | Party::Node => STREAMS,
        Party::Operator => OPERATORS,
        Party::Monitor => MONITORS,
    }
}

/// Everything that crosses.
fn crossings() -> Vec<Crossed> {
    let mut all = Vec::new();
    for party in [
        Party::Gateway,
        Party::Writer,
        Party::Operator,
        Party::Monitor,
    ] {
        let to = account(party);
        let mut add = |subject: String, how, from| {
            if from != to {
                all.push(Crossed {
                    subject,
                    how,
                    from,
                    to,
                });
            }
        };
        let Allowed { publish, subscribe } = Allowed::to(party);
        for subject in publish {
            if subject.starts_with("$SYS.") {
                add(subject, Crossing::AskedAll, SYSTEM);
            } else if is_for_all_nodes(&subject) {
                add(subject.clone(), Crossing::AskedAll, STREAMS);
                add(subject, Crossing::AskedAll, GATEWAYS);
            } else if subject.contains(".DIRECT.GET.") {
                add(subject, Crossing::AskedAll, STREAMS);
            } else if !stays(&subject) {
                add(subject, Crossing::Asked, STREAMS);
            }
        }
        for subject in subscribe {
            if subject.starts_with("$SYS.") {
                add(subject, Crossing::Heard, SYSTEM);
            } else if !stays(&subject) && !is_for_all_nodes(&subject) {
                add(subject, Crossing::Heard, STREAMS);
            }
        }
        if party == Party::Gateway {
            // Answers to what owners ask gateways.
            add(format!("_INBOX.*.{OWNERS}.>"), Crossing::Asked, STREAMS);
        }
        if party != Party::Operator {
            // Nobody asks that. An account that has it is one whose JetStream is elsewhere; any other
            // one without JetStream is given the whole `$JS.API.>` of the servers' account, which
            // answers every call as well: that there is none.
            add("$JS.API.INFO".into(), Crossing::Asked, STREAMS);
        }
    }
    all
}

/// What every node answers for itself.
fn is_for_all_nodes(subject: &str) -> bool {
    ["$SRV.", "chat.srv."]
        .iter()
        .any(|all| subject.starts_with(all))
}

/// What is said and heard within an account: answers, and what a connection says to itself.
fn stays(subject: &str) -> bool {
    subject.starts_with("_INBOX.") || subject.starts_with("_R_.") || subject.ends_with(".echo")
}

/// What the account of a party lets others have, as the configuration of a nats-server has it.
pub fn exports(prefix: &str, party: Party) -> String {
    exports_of(prefix, account(party))
}

fn exports_of(prefix: &str, account: &str) -> String {
    let mut exported: BTreeMap<(Crossing, String), Vec<&str>> = BTreeMap::new();
    for crossed in crossings() {
        if crossed.from == account {
            let subject = written(&crossed.subject, prefix, "*");
            exported
                .entry((crossed.how, subject))
                .or_default()
                .push(crossed.to);
        }
    }
    let mut text = String::from("exports: [\n");
    for ((how, subject), accounts) in exported {
        let what = how.kind();
        let more = match how {
            Crossing::AskedAll => {
                format!(", response_type: stream, response_threshold: \"{ANSWERS_END}\"")
            }
            Crossing::Asked | Crossing::Heard => String::new(),
        };
        let accounts = accounts.join(", ");
        let _ = writeln!(
            text,
            "  {{ {what}: \"{subject}\"{more}, accounts: [{accounts}] }}"
        );
    }
    text + "]\n"
}

/// What the account of a party has of others, as the configuration of a nats-server has it.
pub fn imports(prefix: &str, party: Party) -> String {
    let account = account(party);
    let mut imported: Vec<_> = crossings();
    imported.retain(|crossed| crossed.to == account);
    imported.sort_by(|one, other| {
        let key = |it: &Crossed| (it.from, it.how, it.subject.clone());
        key(one).cmp(&key(other))
    });
    let mut text = String::from("imports: [\n");
    for Crossed {
        subject, how, from, ..
    } in imported
    {
        let what = how.kind();
        // The servers' advisories say who called.
        let shares = subject.starts_with("$JS.API.") && how == Crossing::Asked;
        let more = if shares { ", share: true" } else { "" };
        let subject = written(&subject, prefix, "*");
        let _ = writeln!(
            text,
            "  {{ {what}: {{ account: {from}, subject: \"{subject}\" }}{more} }}"
        );
    }
    text + "]\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> String {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        lines.join("\n")
    }

    /// `nats/cluster.conf` and the component for Kubernetes are as `safe-chat permissions` says.
    #[test]
    fn what_is_shipped_crosses_as_needed() {
        let shipped = include_str!("../../../nats/cluster.conf");
        let in_pods = include_str!("../../../docker/k8s/components/nats/nats.conf");
        for file in [shipped, in_pods].map(lines) {
            for party in [
                Party::Writer,
                Party::Gateway,
                Party::Operator,
                Party::Monitor,
            ] {
                let exported = exports("chat", party);
                let has_any = exported.contains('{');
                assert!(
                    !has_any || file.contains(&lines(&exported)),
                    "{party:?}: run safe-chat permissions --print exports:\n{exported}"
                );
                let imported = imports("chat", party);
                assert!(
                    file.contains(&lines(&imported)),
                    "{party:?}: run safe-chat permissions --print imports:\n{imported}"
                );
            }
            let by_system = exports_of("chat", SYSTEM);
            assert!(file.contains(&lines(&by_system)), "{by_system}");
        }
    }

    /// Whatever an answer is sent to, in an account that is not the streams' own, it reaches nothing
    /// that changes or removes a stream, and nothing that only owners may say.
    #[test]
    fn nothing_is_imported_that_changes_a_stream_or_speaks_for_an_owner() {
        for crossed in crossings() {
            let subject = &crossed.subject;
            if crossed.how == Crossing::Heard || crossed.to == STREAMS {
                continue;
            }
            if let Some(call) = subject.strip_prefix("$JS.API.") {
                let reads = [
                    "INFO",
                    "STREAM.INFO.",
                    "STREAM.MSG.GET.",
                    "DIRECT.GET.",
                    "STREAM.NAMES",
                    "STREAM.LIST",
                    "CONSUMER.NAMES.",
                    "CONSUMER.LIST.",
                    "CONSUMER.INFO.",
                ];
                assert!(reads.iter().any(|read| call.starts_with(read)), "{subject}");
            }
            for owners in ["chat.evt.", "chat.head.", "chat.live.", ".in", ".manage"] {
                assert!(!subject.contains(owners), "{subject}");
            }
            for owners in ["SHARDS", "SNAPSHOTS", "NODES.writer", "NODES.>"] {
                let is_stored_there = subject.starts_with(&format!("$KV.CHAT_{owners}"));
                assert!(!is_stored_there, "{subject}");
            }
            assert_ne!(subject, "chat.cmd.*.*");
            // What operators import changes nothing at all.
            let stores = subject.starts_with("$KV.") || subject.starts_with("chat.cmd.");
            assert!(!stores || crossed.to == GATEWAYS, "{subject}");
        }
    }

    #[test]
    fn other_prefixes_have_their_own_subjects_in_the_same_accounts() {
        let imported = imports("talk", Party::Gateway);
        assert!(imported.contains("{ stream: { account: CHAT, subject: \"talk.live.>\" } }"));
        assert!(
            imported.contains("\"$KV.TALK_NODES.gateway.*.*\""),
            "{imported}"
        );
        assert!(!imported.contains("chat"), "{imported}");
        assert!(!exports("talk", Party::Writer).contains("chat"));
    }
}
