//! What a person reads of a sealed room beside its messages. Pure.

use super::super::view::escaped;
use seal::{
    Public,
    conversation::{Question, Show},
    member::{Holder, Shown},
    number::safety_number,
};

/// What there is to read of it; lines that begin with `!` need attention. Messages are not here.
pub(super) fn of(show: &Show, own: &Public) -> String {
    match show {
        Show::Room { what, .. } => of_room(what, own),
        Show::Said { .. } => String::new(),
        Show::Refused {
            content: None,
            reason,
        } => format!("! the change of the group was refused: {}", escaped(reason)),
        Show::Refused { reason, .. } => format!("! not sent: {}", escaped(reason)),
        Show::NotIn => format!(
            "you are not in the group of this room yet: somebody who is can let you in with\n\
             /add YOUR-NAME {own}"
        ),
        Show::Ask(Question::AnotherGroup) => {
            "! the server has another group than the one that you \
            were in: ask the others by another way. /agree goes in all the same"
                .into()
        }
        Show::Ask(Question::Newcomers(who)) => format!(
            "! since you were in, {} came: ask the others. /agree comes back to them",
            devices(who)
        ),
        Show::Odd(error) => format!("! {error}"),
    }
}

fn of_room(what: &Shown, own: &Public) -> String {
    match what {
        Shown::Message { .. } | Shown::Placed { .. } => String::new(),
        Shown::Changed {
            by, joined, left, ..
        } => {
            let by = by.as_ref().filter(|by| by.identity != *own);
            let by = by.map_or_else(|| "you".to_owned(), |by| by.user.to_string());
            let changes: Vec<_> = [("added", joined), ("removed", left)]
                .iter()
                .filter(|(_, who)| !who.is_empty())
                .map(|(what, who)| format!("{what} {}", devices(who)))
                .collect();
            match changes.is_empty() {
                true => format!("sealed: {by} renewed keys"),
                false => format!("sealed: {by} {}", changes.join(" and ")),
            }
        }
        Shown::KeyChanged { user, is, .. } => {
            let number = if is == own {
                String::new()
            } else {
                safety_number(own, is)
            };
            format!("! {user} has another key than before. Compare: {number}")
        }
        Shown::OtherGroup => {
            "! the room has another group than before: everything in it may be somebody else's \
             doing"
                .into()
        }
        Shown::Leaving { who, .. } => format!("sealed: {} is going", device(who)),
        Shown::Unreadable(why) => format!("a message cannot be read: {why}"),
        Shown::Dropped => "a change of the group had become needless".into(),
        Shown::Out => "you are not in the group of this room any more".into(),
        Shown::Lost(why) => format!("! this device lost the group ({why}) and comes back"),
    }
}

/// Who is in, a line for each device, with what to compare.
pub(super) fn members(members: &[Holder], own: &Public) -> String {
    let line = |one: &Holder| match one.identity == *own {
        true => format!("{}: you", device(one)),
        false => format!("{}: {}", device(one), safety_number(own, &one.identity)),
    };
    members.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn devices(who: &[Holder]) -> String {
    who.iter().map(device).collect::<Vec<_>>().join(", ")
}

fn device(one: &Holder) -> String {
    format!("{} ({})", one.user, one.device)
}
