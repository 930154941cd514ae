//! Answers about nodes and shards, as tables.

use crate::cli::table::Table;
use serde_json::Value;

/// Akka's role of every member, which tells nobody anything.
const EVERYBODY: &str = "dc-default";

pub(super) fn message(answer: &Value) -> String {
    format!("{}\n", text(&answer["message"]))
}

pub(super) fn members(answer: &Value) -> String {
    let mut table = Table::new(&[
        "NODE",
        "NAME",
        "STATUS",
        "REACHABLE",
        "ROLES",
        "VERSION",
        ">FORMS",
        "",
    ]);
    let missed = list(&answer["unreachable"]);
    for member in list(&answer["members"]) {
        let node = &member["node"];
        let observers = missed.iter().find(|missed| missed["node"] == *node);
        let reachable = observers.map_or("yes".into(), |missed| {
            format!("not from {}", words(&missed["observedBy"], ", "))
        });
        let marks = [
            ("selfNode", "this"),
            ("leader", "leader"),
            ("oldest", "oldest"),
        ];
        let marks = marks.into_iter().filter(|(key, _)| answer[*key] == *node);
        let roles = list(&member["roles"]).iter().map(text);
        let roles = roles.filter(|role| role != EVERYBODY).collect::<Vec<_>>();
        table.row([
            text(node),
            text(&member["name"]),
            text(&member["status"]),
            reachable,
            roles.join(","),
            version(member),
            text(&member["formats"]),
            marks.map(|(_, mark)| mark).collect::<Vec<_>>().join(", "),
        ]);
    }
    table.render()
}

/// With the commit that it was built from, where that is known.
fn version(member: &Value) -> String {
    match member["commit"].as_str() {
        Some(commit) => format!("{} {commit}", text(&member["version"])),
        None => text(&member["version"]),
    }
}

pub(super) fn shards(answer: &Value) -> String {
    let mut table = Table::new(&[">SHARD", "OWNER", ">EPOCH", ">ROOMS", ">FLOOR"]);
    for shard in list(&answer["shards"]) {
        table.row([
            text(&shard["shard"]),
            owner(&shard["owner"]),
            text(&shard["epoch"]),
            text(&shard["rooms"]),
            text(&shard["floor"]),
        ]);
    }
    let (known, of) = (list(&answer["shards"]).len(), text(&answer["of"]));
    let failed = match list(&answer["failed"]).len() {
        0 => String::new(),
        n => format!("nobody answers for {n} of them; is a writer up (`admin members`)?\n"),
    };
    format!(
        "{}{known} of {of} shards have been written\n{failed}",
        table.render()
    )
}

pub(super) fn moves(answer: &Value) -> String {
    let moves = list(&answer["moves"]);
    if moves.is_empty() {
        return "the shards are even already\n".into();
    }
    let mut table = Table::new(&[">SHARD", "FROM", "TO"]);
    for step in moves {
        table.row([&step["shard"], &step["from"], &step["to"]].map(text));
    }
    let begun = match answer["begun"].as_bool() {
        Some(true) => format!(
            "moving {} shards, {} per second\n",
            moves.len(),
            text(&answer["per_second"])
        ),
        _ => "nothing was moved\n".into(),
    };
    table.render() + &begun
}

pub(super) fn disconnected(answer: &Value) -> String {
    let mut table = Table::new(&["NODE", ">SESSIONS", ">PER SECOND", ""]);
    for node in list(&answer["nodes"]) {
        let rate = node["per_second"].as_f64();
        table.row([
            text(&node["node"]),
            text(&node["sessions"]),
            rate.map_or("-".into(), |rate| {
                format!("{}", (rate * 100.0).round() / 100.0)
            }),
            node["error"].as_str().unwrap_or_default().to_owned(),
        ]);
    }
    let all = text(&answer["per_second"]);
    format!("{}{all} per second in all\n", table.render())
}

/// The owner of a shard: its name, or which run it was; a dash for none.
pub(super) fn owner(owner: &Value) -> String {
    match (&owner["node"], &owner["incarnation"]) {
        (Value::String(name), _) => name.clone(),
        (_, Value::String(run)) => format!("(gone: {run})"),
        _ => "-".into(),
    }
}

/// A value as a person reads it; a dash for none.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(super) fn words(value: &Value, between: &str) -> String {
    list(value)
        .iter()
        .map(text)
        .collect::<Vec<_>>()
        .join(between)
}
