//! What a person reads of a sealed room beside its messages. Pure.

use super::super::view::escaped;
use seal::{
    Name, Public,
    conversation::{Question, Show},
    member::{Holder, Shown},
    number::safety_number,
};

/// The protocol's word for a change that its device may not make.
const BAD_CREDENTIAL: &str = "bad_credential";

/// What there is to read of it; lines that begin with `!` need attention. Messages are not here.
pub(super) fn of(show: &Show, own: &Public, device: &Name) -> String {
    match show {
        Show::Refused {
            content: None,
            reason,
        } if reason == BAD_CREDENTIAL => format!(
            "! the room takes no change from this device, {device}: it was revoked, or came after \
             you had revoked another one. At a device of yours that is in: /allow {device}"
        ),
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
            epoch: 0, by: None, ..
        } => "sealed: you made the group".into(),
        Shown::Changed {
            by, joined, left, ..
        } => format!("sealed: {}", changed(by.as_ref(), joined, left, own)),
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

/// Who let whom in: a device that comes in by itself, or is let in, learns of all who are in the
/// group, and those did not come with it.
fn changed(by: Option<&Holder>, joined: &[Holder], left: &[Holder], own: &Public) -> String {
    let is_by = |one: &&Holder| by.is_some_and(|by| one.user == by.user && one.device == by.device);
    let others = joined.iter().filter(|one| !is_by(one));
    let others: Vec<_> = others.cloned().collect();
    let by = by.filter(|by| by.identity != *own);
    let name = by.map_or_else(|| "you".to_owned(), |by| by.user.to_string());
    if by.is_some() && joined.iter().any(|one| one.identity == *own) {
        let others = joined.iter().filter(|one| one.identity != *own);
        let others: Vec<_> = others.cloned().collect();
        return format!("{name} let you in, to {}", devices(&others));
    }
    let came = others.len() < joined.len();
    if came && by.is_none() && !others.is_empty() {
        return format!("you came in, to {}", devices(&others));
    }
    let changes = [
        came.then(|| "came in".to_owned()),
        (!others.is_empty()).then(|| format!("let in {}", devices(&others))),
        (!left.is_empty()).then(|| format!("removed {}", devices(left))),
    ];
    let changes: Vec<_> = changes.into_iter().flatten().collect();
    match changes.is_empty() {
        true => format!("{name} renewed keys"),
        false => format!("{name} {}", changes.join(" and ")),
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

#[cfg(test)]
mod tests {
    use super::*;
    use seal::Identity;

    #[test]
    fn a_device_that_does_not_count_says_what_lets_it_count() {
        let show = Show::Refused {
            content: None,
            reason: BAD_CREDENTIAL.into(),
        };
        let own = Identity::from_seed(&[1; 32]).public();
        let said = of(&show, &own, &Name::parse("cli-1").unwrap());
        assert!(said.ends_with("/allow cli-1"), "{said}");
    }

    #[test]
    fn a_change_names_who_did_what_and_nobody_else() {
        let [own, other] = [[1; 32], [2; 32]].map(|seed| Identity::from_seed(&seed).public());
        let holder = |user: &str, device: &str, identity: &Public| Holder {
            user: Name::parse(user).unwrap(),
            device: Name::parse(device).unwrap(),
            identity: *identity,
        };
        let (harry, charly) = (
            holder("harry", "cli", &own),
            holder("charly", "web", &other),
        );
        let said = |by: &Holder, joined: &[&Holder], left: &[&Holder]| {
            let of = |all: &[&Holder]| -> Vec<Holder> { all.iter().copied().cloned().collect() };
            changed(Some(by), &of(joined), &of(left), &own)
        };
        assert_eq!(said(&harry, &[&charly], &[]), "you let in charly (web)");
        assert_eq!(said(&charly, &[], &[&harry]), "charly removed harry (cli)");
        assert_eq!(said(&charly, &[&charly], &[]), "charly came in");
        let let_in = said(&charly, &[&charly, &harry], &[]);
        assert_eq!(let_in, "charly let you in, to charly (web)");
        let came = said(&harry, &[&charly, &harry], &[]);
        assert_eq!(came, "you came in, to charly (web)");
        assert_eq!(said(&harry, &[], &[]), "you renewed keys");
    }
}
