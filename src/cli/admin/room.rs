//! Answers about rooms, as tables.

use super::show::{list, owner, text, words};
use crate::{
    cli::table::Table,
    journal::inspect::time,
    room::{Millis, Retention},
};
use anyhow::{Context as _, bail};
use serde_json::Value;
use std::io;

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
    if answer["first"].as_u64() > Some(1) {
        line("first kept", text(&answer["first"]));
    }
    line("last commit", last);
    line("snapshot at", text(&answer["snapshot"]));
    line("content bytes", text(&answer["bytes"]));
    if !answer["retention"].is_null() {
        line("is to keep", kept(&answer["retention"]));
    }
    if !list(&answer["erasing"]).is_empty() {
        line("erasing what", words(&answer["erasing"], ", ") + " said");
    }
    line("members", words(&answer["members"], ", "));
    for (n, why) in list(&answer["stays"]["because"]).iter().enumerate() {
        let name = if n == 0 { "is kept by" } else { "" };
        line(
            name,
            format!("{}: {}", text(&why["reason"]), text(&why["message"])),
        );
    }
    if let Some(until) = answer["stays"]["until"].as_u64() {
        let until = format!("from {} on, if nobody comes", time(Millis(until)));
        line("goes with its name", until);
    }
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
    format!("{}\n{}{silent}", table.render(), sessions.render())
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

pub(super) fn retained(answer: &Value) -> String {
    let room = text(&answer["room"]);
    match answer["retention"].is_null() {
        true => format!("room {room} keeps as much as all rooms do\n"),
        false => format!("room {room} keeps {}\n", kept(&answer["retention"])),
    }
}

pub(super) fn purged(answer: &Value) -> String {
    let (room, seq) = (text(&answer["room"]), text(&answer["seq"]));
    format!(
        "room {room} goes on with event {seq}: nothing of before is told any more, and it is \
         removed within a minute\n"
    )
}

pub(super) fn erased(answer: &Value) -> String {
    let [room, user, seq] = ["room", "user", "seq"].map(|name| text(&answer[name]));
    format!(
        "what {user} said in room {room} before event {seq} is told to nobody any more, and it is \
         removed within minutes. That there were messages, and when, stays; so do backups, \
         exports, and what clients have\n"
    )
}

/// Asks for the name of what is about to go for good.
pub(super) fn confirm(what: &str, name: &str) -> anyhow::Result<()> {
    eprint!("{what} goes for good; type {name} to go on: ");
    let mut typed = String::new();
    io::stdin()
        .read_line(&mut typed)
        .context("nothing can be read: say --yes")?;
    match typed.trim_end_matches(['\r', '\n']) == name {
        true => Ok(()),
        false => bail!("that is not {name}: nothing was removed"),
    }
}

fn kept(retention: &Value) -> String {
    let bound = |name: &str| retention[name].as_u64();
    Retention {
        age: bound("age"),
        events: bound("events"),
        bytes: bound("bytes"),
    }
    .to_string()
}

/// Seconds, from a number with a unit.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    let wanted = "a number with s, m, h or d, such as 30d";
    let (number, unit) =
        text.split_at(text.len() - text.chars().next_back().map_or(0, char::len_utf8));
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wanted.into()),
    };
    let number: u64 = number.parse().map_err(|_| wanted.to_owned())?;
    let total = number.checked_mul(seconds).filter(|total| *total > 0);
    total.ok_or_else(|| wanted.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_with_a_unit() {
        for (text, expected) in [("90s", 90), ("2h", 7_200), ("30d", 2_592_000)] {
            assert_eq!(seconds(text), Ok(expected));
        }
        for wrong in ["", "30", "d", "0d", "-1d", "1w", "99999999999999999999d"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
