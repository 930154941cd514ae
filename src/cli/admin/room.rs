//! Answers about rooms, as tables.

use super::show::{list, owner, text, words};
use crate::{cli::table::Table, journal::inspect::time, room::Millis};
use serde_json::Value;

pub(super) fn page(answer: &Value) -> String {
    let mut table = Table::new(&["ROOM", ">SHARD", "OWNER"]);
    for room in list(&answer["rooms"]) {
        table.row([
            text(&room["room"]),
            text(&room["shard"]),
            owner(&room["owner"]),
        ]);
    }
    let more = answer["next"].as_str();
    let more = more.map_or(String::new(), |next| format!("more: --after {next}\n"));
    table.render() + &more
}

pub(super) fn room(answer: &Value) -> String {
    let commit = &answer["last_commit"];
    let last = match commit["at"].as_u64() {
        Some(at) => format!("{} at {}", text(&commit["seq"]), time(Millis(at))),
        None => "-".into(),
    };
    let mut table = Table::new(&["ROOM", ""]);
    let mut line = |name: &str, value: String| table.row([name.to_owned(), value]);
    line("name", text(&answer["room"]));
    line("shard", text(&answer["shard"]));
    line("owner", owner(&answer["owner"]));
    line("epoch", text(&answer["epoch"]));
    line("head", text(&answer["head"]));
    line("policy", text(&answer["policy"]));
    line("last commit", last);
    line("snapshot at", text(&answer["snapshot"]));
    line("content bytes", text(&answer["bytes"]));
    line("members", words(&answer["members"], ", "));
    let mut sessions = Table::new(&["SESSION", "USER", "NODE"]);
    let known = match answer["sessions"].is_array() {
        true => &answer["sessions"],
        false => &answer["sessions"]["known"],
    };
    for session in list(known) {
        sessions.row([&session["session"], &session["user"], &session["node"]].map(text));
    }
    let silent = list(&answer["sessions"]["unknown_at"]);
    let silent = match silent.is_empty() {
        true => String::new(),
        false => format!(
            "not known: the sessions at {}\n",
            words(&answer["sessions"]["unknown_at"], ", ")
        ),
    };
    let nothing = match answer["head"].as_u64() {
        Some(0) => format!(
            "nothing was ever written to room {}: nobody has joined it yet, or its name is \
             another\n",
            text(&answer["room"])
        ),
        _ => String::new(),
    };
    format!("{}{nothing}\n{}{silent}", table.render(), sessions.render())
}

pub(super) fn kicked(answer: &Value) -> String {
    let (room, user) = (text(&answer["room"]), text(&answer["user"]));
    match answer["was_member"].as_bool() {
        Some(true) => format!("{user} has left room {room}\n"),
        _ => format!("{user} was not in room {room}\n"),
    }
}

pub(super) fn unpinned(answer: &Value) -> String {
    let (room, user) = (text(&answer["room"]), text(&answer["user"]));
    match answer["was_pinned"].as_bool() {
        Some(true) => format!(
            "{user} has no key in room {room} any more: the next one that comes is pinned\n"
        ),
        _ => format!("{user} had no key in room {room}\n"),
    }
}
