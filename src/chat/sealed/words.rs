//! What a person reads of a sealed room beside its messages. Pure.

use super::super::{
    foreign::{listed, named, of_service, shortened},
    view::plural,
};
use super::{earlier, telling};
use safe_chat_client::Event;
use seal::{
    Name, Public,
    conversation::{Show, odd},
    member::{FASTER, Holder, How, Person, Shown},
    number::safety_number,
};

/// The protocol's word for a change that its device may not make.
const BAD_CREDENTIAL: &str = "bad_credential";

/// Devices that are named at once: a person has 16 at most.
const MOST_DEVICES: usize = 16;
/// Devices that are named at once of those who came or went.
const MOST_NAMED: usize = 20;

/// Who reads it, at which device.
pub(super) struct Own<'a> {
    pub(super) identity: Public,
    pub(super) user: &'a str,
    pub(super) device: &'a Name,
}

impl Own<'_> {
    pub(super) fn is(&self, one: &Holder) -> bool {
        one.identity == self.identity && one.device == *self.device
    }
}

/// What there is to read of it; lines that begin with `!` need attention. Messages are not here.
/// `why`: what the service says of what it has refused.
pub(super) fn of(show: &Show, own: &Own<'_>, why: &str) -> String {
    let device = own.device;
    match show {
        Show::Refused {
            content: None,
            reason,
        } if reason == BAD_CREDENTIAL => format!(
            "! the room does not take this from this device, {device}: you have revoked it, or a \
             device that this was to let in; or it has not seen which devices you said to have \
             last, as when an operator removed what was said before. At a device of yours that \
             is in and has seen it: /allow {device}, which says that anew; then the same again"
        ),
        Show::Room { what, .. } => of_room(what, own),
        Show::Said { .. } => String::new(),
        Show::Refused {
            content: None,
            reason,
        } => format!(
            "! a change of the group was not made, for the room refused it: {}. Do the same again \
             in a moment; if that is refused, too, ask whoever runs the service",
            refused(reason, why)
        ),
        Show::Refused {
            content: Some(content),
            reason,
        } if reason == BAD_CREDENTIAL => format!(
            "! not sent, for this device, {device}, does not count in this room any more (it was \
             revoked, or is not allowed yet: /allow {device} at a device of yours that is in): {}",
            shortened(&String::from_utf8_lossy(&content.0))
        ),
        Show::Refused {
            content: Some(content),
            reason,
        } => format!(
            "! not sent, for the room refused it ({}): {}",
            refused(reason, why),
            shortened(&String::from_utf8_lossy(&content.0))
        ),
        Show::NotShared { reason } if reason == BAD_CREDENTIAL => format!(
            "! messages from before were neither shared nor asked for: {}",
            revoked(own)
        ),
        Show::NotShared { reason } => format!(
            "! messages from before were neither shared nor asked for, for the room refused that: \
             {}. The same again later",
            refused(reason, why)
        ),
        Show::Unseen { seq, content } => telling::unseen(*seq, content.as_ref()),
        Show::Missed { count } => format!(
            "{} that came while this device was out of the group cannot be read by it: /ask asks \
             the others for what was said",
            plural(*count, "message")
        ),
        Show::Unread { seq, content } => telling::unread(*seq, content.as_ref()),
        Show::InVain(why) => telling::goes_on(why),
        Show::NotIn => format!(
            "you are not in the group of this room: somebody who is can let you in with\n\
             /add {} {}",
            own.user, own.identity
        ),
        Show::Shut => format!(
            "! you are not in the group of this room. It is open, but takes in nobody by \
             themselves now: {}. This device tries it again every 10 minutes, by itself; at once \
             somebody who is in can let you in, with\n/add {} {}",
            refused("somebody broke it", why),
            own.user,
            own.identity
        ),
        Show::Revoked => revoked(own),
        Show::NotFounded => "whoever made this room has not made its group yet: waiting for that, \
             which this device does itself when nobody has for some minutes"
            .into(),
        Show::Ask(question) => telling::question(question),
        Show::Odd(error) => format!("! {}", odd(error)),
    }
}

/// Why the room refused something: the protocol's word, unless the service says more.
fn refused(reason: &str, why: &str) -> String {
    of_service(if why.is_empty() { reason } else { why })
}

/// The same, with the place and whom the service names as its author, of what is not in order
/// there.
pub(super) fn as_from(said: String, show: &Show, event: Option<&Event>) -> String {
    let is_faulty = match show {
        Show::Odd(_) => true,
        Show::Room { what, .. } => match what {
            Shown::Unreadable(_) => true,
            Shown::Lost(why) => *why != FASTER,
            _ => false,
        },
        _ => false,
    };
    match event.filter(|_| is_faulty) {
        Some(event) => format!("{said} (#{}, as from {})", event.seq, named(&event.from)),
        None => said,
    }
}

fn of_room(what: &Shown, own: &Own<'_>) -> String {
    match what {
        Shown::Message { .. } | Shown::Placed { .. } => String::new(),
        Shown::Shared { .. } | Shown::Asked { .. } => earlier::of(what, own),
        Shown::Changed {
            how,
            by,
            joined,
            left,
            ..
        } => format!("sealed: {}", changed(*how, by.as_ref(), joined, left, own)),
        Shown::KeyChanged { user, is, .. } => {
            let number = if *is == own.identity {
                String::new()
            } else {
                safety_number(&own.identity, is)
            };
            format!(
                "! {user} has another key than before: it may be somebody else. Compare this with \
                 {user}, by another way: {number}"
            )
        }
        Shown::OtherGroup => {
            "! the room has another group than before: everything in it may be somebody else's \
             doing. Compare what /devices shows with the others, by another way, before you say \
             anything here"
                .into()
        }
        Shown::Leaving {
            who,
            is_revoked: true,
            ..
        } => match own.is(who) {
            true => format!("! {}", revoked(own)),
            false if who.identity == own.identity => {
                format!("sealed: you have revoked your device {}", who.device)
            }
            false => format!("sealed: {} has revoked the device {}", who.user, who.device),
        },
        Shown::Leaving { who, .. } => format!("sealed: {} is going", device(who)),
        Shown::Unreadable(why) => format!("a message cannot be read: {why}"),
        Shown::Dropped => {
            "somebody else had done it already: a change of the group was not needed any more"
                .into()
        }
        Shown::Out { by } => out(by.as_ref(), own),
        Shown::Lost(why) if *why == FASTER => {
            "somebody else came in at the same moment: this device tries again".into()
        }
        Shown::Lost(why) => format!(
            "! this device cannot follow the group any more ({why}): it comes back by itself, and \
             does not read what is said until then"
        ),
    }
}

fn out(by: Option<&Holder>, own: &Own<'_>) -> String {
    let out = "you are not in the group of this room any more";
    match by {
        None => out.into(),
        Some(by) if by.identity == own.identity => {
            format!(
                "! your device {} removed this one, {}: {out}",
                by.device, own.device
            )
        }
        Some(by) => format!("! {} removed this device, {}: {out}", by.user, own.device),
    }
}

/// To a device that its person has revoked: it is its own person who did.
fn revoked(own: &Own<'_>) -> String {
    let device = own.device;
    format!(
        "this device, {device}, was revoked in this room by you, {}, at another device of yours: \
         it reads and says nothing here any more. To let it count again, at a device of yours \
         that is in, when this one was started again: /allow {device}, then /add {} {}. If \
         that was not you, your key is in other hands: take a new one",
        own.user, own.user, own.identity
    )
}

/// What happened to the group, and who did it. When this device comes in, it learns of all who are
/// there; when it comes back, of those who came and went meanwhile.
fn changed(
    how: How,
    by: Option<&Holder>,
    joined: &[Holder],
    left: &[Holder],
    own: &Own<'_>,
) -> String {
    let is_by = |one: &Holder| by.is_some_and(|by| own_of(by) == own_of(one));
    let others: Vec<_> = joined
        .iter()
        .filter(|one| !(own.is(one) || how == How::CameIn && is_by(one)))
        .cloned()
        .collect();
    let is_own = by.is_none_or(|by| own.is(by));
    let name = match by {
        Some(by) if !own.is(by) && by.identity == own.identity => {
            format!("your device {}", by.device)
        }
        Some(by) if !own.is(by) => by.user.to_string(),
        _ => "you".into(),
    };
    let to = match others.is_empty() {
        true => String::new(),
        false => format!(", to {}", some(&others)),
    };
    match how {
        How::Founded => "you made the group".into(),
        How::CameIn if is_own => format!("you came in{to}"),
        How::CameIn => format!("{name} came in"),
        How::CameBack if is_own => format!("you came back{}", meanwhile(&others, left)),
        How::CameBack => format!("{name} came back"),
        How::LetIn => format!("{name} let you in{to}"),
        How::LetInAgain => format!("{name} let you in again{}", meanwhile(&others, left)),
        How::Gone => format!("{} went by themselves", some(left)),
        How::Change => {
            let (mut let_in, mut removed) = (joined.to_vec(), some(left));
            let_in.retain(|one| !own.is(one));
            // One of its own devices, which it may have revoked before.
            if let (Some(by), false) = (by, left.is_empty())
                && left.iter().all(|one| one.identity == by.identity)
            {
                let names: Vec<_> = left.iter().map(|one| one.device.to_string()).collect();
                let whose = if is_own { "your" } else { "their own" };
                removed = format!("{whose} device {}", names.join(", "));
            }
            let changes = [
                (!let_in.is_empty()).then(|| format!("let in {}", some(&let_in))),
                (!left.is_empty()).then(|| format!("removed {removed}")),
            ];
            let changes: Vec<_> = changes.into_iter().flatten().collect();
            match changes.is_empty() {
                true => format!("{name} renewed keys"),
                false => format!("{name} {}", changes.join(" and ")),
            }
        }
    }
}

fn own_of(one: &Holder) -> (&Name, &Name) {
    (&one.user, &one.device)
}

fn meanwhile(came: &[Holder], went: &[Holder]) -> String {
    let changes = [
        (!came.is_empty()).then(|| format!("{} came", some(came))),
        (!went.is_empty()).then(|| format!("{} went", some(went))),
    ];
    let changes: Vec<_> = changes.into_iter().flatten().collect();
    match changes.is_empty() {
        true => String::new(),
        false => format!("; meanwhile {}", changes.join(" and ")),
    }
}

/// Which devices of somebody did not come in, and what lets them.
pub(super) fn unlisted(user: &str, is_own: bool, devices: &[Name]) -> Option<String> {
    let names: Vec<_> = devices.iter().map(Name::as_str).collect();
    let (first, names) = (names.first()?, names.join(", "));
    Some(match is_own {
        true => format!(
            "! /add {user}: not let in is {names}, for you have revoked it here, or not said that \
             it counts. First type, at a device of yours that is in: /allow {first}"
        ),
        false => format!(
            "! /add {user}: not let in is {names}, for {user} has revoked it here, or not said \
             that it counts. First {user} has to type, at a device that is in: /allow {first}"
        ),
    })
}

/// Devices of somebody are in with another key than the one that is to come in.
pub(super) fn other_key(user: &str) -> String {
    format!(
        "! /add {user}: {user} is in the group with another key, as it is when somebody changed \
         it. If this one is theirs, which they tell you by another way: first /remove {user}, then \
         the same again"
    )
}

/// The service gave key packages of somebody else.
pub(super) fn not_asked(user: &str, person: &Person) -> String {
    format!(
        "! /add {user}: the service gave a key package of another key than {}, or of another name: \
         nobody was added. Whoever runs it wants to come in here, or is not in order",
        person.identity
    )
}

/// The service gave no key package, and names no device that lacks one.
pub(super) fn nothing_given(command: &str, user: &str) -> String {
    format!(
        "! {command}: the service gave nothing that adds a device of {user}, so nobody was added. \
         {user} has to start a device in a sealed room; then the same again"
    )
}

/// Which devices of somebody cannot be added now.
pub(super) fn missing(user: &str, devices: &[String]) -> Option<String> {
    (!devices.is_empty()).then(|| {
        format!(
            "! /add {user}: not let in is {}, for nothing is left there of what adds it. {user} \
             has to start it again first",
            listed(devices, MOST_DEVICES)
        )
    })
}

/// Who is in, a line for each device, with what to compare.
/// `former`: since which place the service says that the name has another key than this.
pub(super) fn members(
    members: &[Holder],
    own: &Own<'_>,
    former: &dyn Fn(&Public) -> Option<u64>,
) -> String {
    let line = |one: &Holder| match one.identity == own.identity {
        true if own.is(one) => format!("{}: you, this device", device(one)),
        true => format!("{}: you", device(one)),
        false => {
            let number = safety_number(&own.identity, &one.identity);
            let mark = former(&one.identity).map_or_else(String::new, |seq| {
                format!(" ! a former key, says the service: the name has another one since #{seq}")
            });
            format!("{}: {number}{mark}", device(one))
        }
    };
    members.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Of many the first ones: in a group of 1000 it would be a screen full.
fn some(who: &[Holder]) -> String {
    let first = devices(&who[..who.len().min(MOST_NAMED)]);
    match who.len().saturating_sub(MOST_NAMED) {
        0 => first,
        more => format!("{first} and {more} more (/devices says who is in)"),
    }
}

pub(super) fn devices(who: &[Holder]) -> String {
    who.iter().map(device).collect::<Vec<_>>().join(", ")
}

fn device(one: &Holder) -> String {
    format!("{} ({})", one.user, one.device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use seal::Identity;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn holder(user: &str, device: &str, seed: u8) -> Holder {
        Holder {
            user: name(user),
            device: name(device),
            identity: Identity::from_seed(&[seed; 32]).public(),
        }
    }

    /// What harry reads at his device `cli`.
    fn at_harrys<T>(read: impl FnOnce(&Own<'_>) -> T) -> T {
        let device = name("cli");
        let identity = Identity::from_seed(&[1; 32]).public();
        read(&Own {
            identity,
            user: "harry",
            device: &device,
        })
    }

    #[test]
    fn a_device_that_does_not_count_says_what_lets_it_count() {
        let show = Show::Refused {
            content: None,
            reason: BAD_CREDENTIAL.into(),
        };
        let said = at_harrys(|own| of(&show, own, ""));
        assert!(
            said.contains(": /allow cli, which says that anew"),
            "{said}"
        );
        let revoked = at_harrys(|own| of(&Show::Revoked, own, ""));
        assert!(revoked.contains("/allow cli, then /add harry"), "{revoked}");
    }

    #[test]
    fn what_was_refused_says_what_of_whom_and_what_to_do() {
        let why = "nobody comes in by itself for 57 minutes\u{1b}";
        let said = at_harrys(|own| of(&Show::Shut, own, why));
        assert!(
            said.contains("for 57 minutes\\u{1b}. This device tries it again every 10"),
            "{said}"
        );
        assert!(said.contains("\n/add harry "), "{said}");
        let refused = |content: Option<&str>, why: &str| {
            let content = content.map(|text| seal::member::Content(text.into()));
            let show = Show::Refused {
                content,
                reason: "too_large".into(),
            };
            at_harrys(|own| of(&show, own, why))
        };
        let said = refused(Some("Hello\nyou"), "");
        assert_eq!(
            said,
            "! not sent, for the room refused it (too_large): Hello\\nyou"
        );
        let said = refused(None, &"x".repeat(1000));
        assert!(
            said.contains("again in a moment") && said.len() < 500,
            "{said}"
        );
    }

    #[test]
    fn who_is_removed_reads_by_whom() {
        let out = |by| {
            let what = Shown::Out { by };
            at_harrys(|own| of(&Show::Room { seq: Some(7), what }, own, ""))
        };
        let said = "you are not in the group of this room any more";
        assert_eq!(out(None), said);
        let by = out(Some(holder("charly", "web", 2)));
        assert_eq!(by, format!("! charly removed this device, cli: {said}"));
        let by = out(Some(holder("harry", "web", 1)));
        assert_eq!(
            by,
            format!("! your device web removed this one, cli: {said}")
        );
    }

    #[test]
    fn what_is_not_in_order_says_where_and_as_whose_it_came() {
        let event = Event {
            seq: 12,
            at: 0,
            from: "kim".into(),
            to: None,
            id: None,
            body: safe_chat_client::Body::Joined,
        };
        let said = |what: Shown| {
            let show = Show::Room { seq: None, what };
            at_harrys(|own| as_from(of(&show, own, ""), &show, Some(&event)))
        };
        let lost = said(Shown::Lost("a commit cannot be merged"));
        assert!(lost.ends_with("until then (#12, as from kim)"), "{lost}");
        let unreadable = said(Shown::Unreadable("it is forged"));
        assert_eq!(
            unreadable,
            "a message cannot be read: it is forged (#12, as from kim)"
        );
        let faster = said(Shown::Lost(FASTER));
        assert!(
            !faster.contains("lost") && !faster.contains("kim"),
            "{faster}"
        );
    }

    #[test]
    fn a_change_says_who_did_what_to_whom_and_whether_for_the_first_time() {
        let (harry, charly) = (holder("harry", "cli", 1), holder("charly", "web", 2));
        let (other, kim) = (holder("harry", "web", 1), holder("kim", "cli", 3));
        let old = holder("charly", "old", 2);
        let said = |how, by: &Holder, joined: &[&Holder], left: &[&Holder]| {
            let of = |all: &[&Holder]| -> Vec<Holder> { all.iter().copied().cloned().collect() };
            at_harrys(|own| changed(how, Some(by), &of(joined), &of(left), own))
        };
        for (how, by, joined, left, expected) in [
            (
                How::Change,
                &harry,
                &[&charly][..],
                &[][..],
                "you let in charly (web)",
            ),
            (
                How::Change,
                &charly,
                &[],
                &[&kim],
                "charly removed kim (cli)",
            ),
            (
                How::Change,
                &charly,
                &[],
                &[&old],
                "charly removed their own device old",
            ),
            (
                How::Change,
                &harry,
                &[],
                &[&other],
                "you removed your device web",
            ),
            (How::Change, &harry, &[], &[], "you renewed keys"),
            (
                How::Gone,
                &harry,
                &[],
                &[&kim],
                "kim (cli) went by themselves",
            ),
            (How::CameIn, &charly, &[&charly], &[], "charly came in"),
            (
                How::CameIn,
                &other,
                &[&other],
                &[],
                "your device web came in",
            ),
            (How::CameBack, &charly, &[], &[], "charly came back"),
            (
                How::LetIn,
                &charly,
                &[&charly, &harry],
                &[],
                "charly let you in, to charly (web)",
            ),
            (
                How::LetInAgain,
                &charly,
                &[],
                &[],
                "charly let you in again",
            ),
            (
                How::LetInAgain,
                &charly,
                &[&kim],
                &[&old],
                "charly let you in again; meanwhile kim (cli) came and charly (old) went",
            ),
            (
                How::CameIn,
                &harry,
                &[&charly, &harry],
                &[],
                "you came in, to charly (web)",
            ),
            (How::CameBack, &harry, &[], &[], "you came back"),
        ] {
            assert_eq!(said(how, by, joined, left), expected, "{how:?}");
        }
        let many: Vec<_> = (0..50).map(|_| &kim).collect();
        let said = said(How::Change, &charly, &many, &[]);
        assert!(said.ends_with("(cli) and 30 more (/devices says who is in)"));
    }
}
