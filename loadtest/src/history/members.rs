//! Who is there: `joined` and `left` take turns, welcomes name those who are there, and only they
//! speak.

use super::{Event, History, Step, Violation};
use std::collections::{BTreeMap, BTreeSet};

/// Follows the room from its first welcome on: before, nobody knows who was there.
pub(super) fn consistent(
    history: &History,
    room: &BTreeMap<u64, &Event>,
    violations: &mut Vec<Violation>,
) {
    let mut welcomes: Vec<(u64, BTreeSet<&str>)> = Vec::new();
    for step in history.clients.values().flatten() {
        if let Step::Welcomed { seq, members, .. } = step {
            welcomes.push((*seq, members.iter().map(String::as_str).collect()));
        }
    }
    welcomes.sort();
    let Some((mut at, mut members)) = welcomes.first().cloned() else {
        return;
    };
    for (seq, told) in welcomes
        .into_iter()
        .chain(room.keys().next_back().map(|head| (*head, BTreeSet::new())))
    {
        let is_welcome = !told.is_empty();
        let places = room.range(at + 1..seq.max(at) + 1);
        if places.clone().count() as u64 == seq.saturating_sub(at) {
            for event in places.map(|(_, event)| event) {
                // Only what a session sends has to come from a member; what an operator does is
                // nobody's.
                let is_nobodys = ["purged", "erased"].contains(&event.kind.as_str());
                if is_nobodys || (is_message(event) && !history.has_session(&event.from)) {
                    continue;
                }
                violations.extend(step(&mut members, event).map(|what| Violation::Membership {
                    seq: event.seq,
                    what,
                }));
            }
            if is_welcome && members != told {
                let what =
                    format!("{told:?} were said to be there, by the events it is {members:?}");
                violations.push(Violation::Membership { seq, what });
            }
        }
        if is_welcome {
            (at, members) = (seq, told);
        }
    }
}

fn is_message(event: &Event) -> bool {
    !matches!(event.kind.as_str(), "joined" | "left")
}

/// What does not fit in it.
fn step<'a>(members: &mut BTreeSet<&'a str>, event: &'a Event) -> Option<String> {
    let from = event.from.as_str();
    let fits = match event.kind.as_str() {
        "joined" => members.insert(from),
        "left" => members.remove(from),
        _ => members.contains(from),
    };
    (!fits).then(|| {
        format!(
            "{} {from}, who {}",
            event.kind,
            if members.contains(from) {
                "is there already"
            } else {
                "is not there"
            }
        )
    })
}
