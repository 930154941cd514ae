//! Sealed rooms: what a room with a policy takes from whom, and that its owner follows the group of
//! its members whatever happens, against real MLS members.

mod people;
#[path = "../support/sealed.rs"]
mod sealed;

use people::{Room, read, room_of};
use safe_chat::room::{
    Action, Body, CommandId, Identity, Key, Outcome, Policy, Reason, RequestId, RoomId,
    is_of_another_room,
};
use seal::{Handshake, device::List, member::Shown, rules::JoinPolicy};
use sealed::{Device, aaa, now, said};
use uuid::Uuid;

fn text() -> Body {
    Body::Text("Hello".into())
}

fn why(outcome: Outcome) -> Reason {
    match outcome {
        Outcome::Refused(rejection) => rejection.reason,
        outcome => panic!("{outcome:?}"),
    }
}

fn post(device: &Device, identity: Identity, body: Body) -> Action {
    Action::Send {
        user: device.user(),
        key: device.key(),
        identity,
        turn: None,
        after: 0,
        request: Some(RequestId::new(Uuid::from_u128(7))),
        id: CommandId::parse("posted").unwrap(),
        to: None,
        body,
    }
}

#[test]
fn whoever_makes_a_room_sets_its_policy_for_good() {
    let (harry, charly) = (Device::new("harry", 1), Device::new("charly", 2));
    for policy in Policy::ALL {
        let mut room = Room::new();
        assert_eq!(room.open(&harry, Some(policy)), Outcome::Done);
        assert_eq!(room.state.policy, policy);
        for other in Policy::ALL.into_iter().filter(|other| *other != policy) {
            let late = Device::new("kim", 50 + other as u8);
            assert_eq!(why(room.open(&late, Some(other))), Reason::OtherPolicy);
        }
        assert_eq!(room.open(&charly, None), Outcome::Done);
        assert_eq!(room.state.policy, policy);
        room.is_replayed();
    }
    // One that was made without a policy is open.
    let mut room = Room::new();
    assert_eq!(room.open(&harry, None), Outcome::Done);
    assert_eq!(
        why(room.open(&charly, Some(Policy::Sealed))),
        Reason::OtherPolicy
    );
    let mut room = Room::new();
    assert_eq!(
        room.act(post(&harry, Identity::Claimed, text())),
        Outcome::Done
    );
    assert_eq!(
        why(room.open(&charly, Some(Policy::Proven))),
        Reason::OtherPolicy
    );
}

#[test]
fn a_policy_asks_for_a_proof() {
    let harry = Device::new("harry", 1);
    let (claimed, proven, token) = (
        (harry.key(), Identity::Claimed),
        (harry.key(), Identity::Proven),
        (Key::vouched(), Identity::Claimed),
    );
    for (policy, (key, identity), comes_in) in [
        (Policy::Open, claimed.clone(), true),
        (Policy::Open, token.clone(), true),
        (Policy::Proven, claimed.clone(), false),
        (Policy::Proven, proven.clone(), true),
        (Policy::Proven, token.clone(), true),
        (Policy::Sealed, claimed, false),
        (Policy::Sealed, proven, true),
        (Policy::Sealed, token, false),
    ] {
        let mut room = Room::new();
        let outcome = room.open_as(&harry, key, identity, Some(policy));
        match comes_in {
            true => assert_eq!(outcome, Outcome::Done, "{policy:?} {identity:?}"),
            false => assert_eq!(
                why(outcome),
                Reason::ProofRequired,
                "{policy:?} {identity:?}"
            ),
        }
        assert_eq!(
            room.state.policy == policy,
            comes_in || policy == Policy::Open
        );
    }
    let mut room = Room::new();
    assert_eq!(room.open(&harry, Some(Policy::Proven)), Outcome::Done);
    let kim = Device::new("kim", 3);
    let posted = room.act(post(&kim, Identity::Claimed, text()));
    assert_eq!(why(posted), Reason::ProofRequired);
    let posted = room.act(post(&kim, Identity::Proven, text()));
    assert_eq!(posted, Outcome::Done);
    room.say(&harry, text()).unwrap();
}

#[test]
fn members_read_each_other_through_the_room_and_its_next_owner() {
    let (mut room, mut devices) = room_of(&["harry", "charly", "kim"]);
    room.is_replayed();
    let hello = devices[0].encrypt("Hello");
    room.say(&devices[0], hello).unwrap();
    room.take_over();
    let renewed = devices[1].renew();
    read(&mut devices[1], &room);
    room.say(&devices[1], renewed).unwrap();
    for device in &mut devices {
        let shown = read(device, &room);
        device.shown = shown;
    }
    let answer = devices[2].encrypt("Hi");
    room.say(&devices[2], answer).unwrap();
    room.is_replayed();
    let codes: Vec<_> = devices
        .iter()
        .map(|device| device.member.room_code(&aaa()))
        .collect();
    assert!(codes.iter().all(|code| *code == codes[0]));
    let heard = |device: &mut Device| {
        let before = said(&std::mem::take(&mut device.shown));
        [before, said(&read(device, &room))].concat()
    };
    assert_eq!(heard(&mut devices[0]), ["kim: Hi"]);
    assert_eq!(heard(&mut devices[1]), ["kim: Hi"]);
    assert_eq!(heard(&mut devices[2]), ["harry: Hello"]);
}

#[test]
fn a_sealed_room_takes_nothing_else() {
    let (mut room, mut devices) = room_of(&["harry", "charly"]);
    let sealed = devices[0].encrypt("Hello");
    assert_eq!(room.refused(&devices[0], text()), Reason::SealedRoom);
    // What a member encrypted, but in a session of somebody who is not in the group.
    let kim = Device::new("kim", 9);
    assert_eq!(room.open(&kim, None), Outcome::Done);
    assert_eq!(room.refused(&kim, sealed.clone()), Reason::NotAMember);
    let garbage = Body::Sealed(vec![1, 2, 3].into());
    assert_eq!(room.refused(&devices[0], garbage), Reason::BadBundle);
    let garbage = Body::Handshake(vec![1, 2, 3].into());
    assert_eq!(room.refused(&devices[0], garbage), Reason::BadBundle);
    // Without a session it is always refused, so that this stays true.
    let posted = room.act(post(&devices[0], Identity::Proven, sealed.clone()));
    assert_eq!(why(posted), Reason::SealedRoom);
    room.say(&devices[0], sealed).unwrap();

    let mut open = Room::new();
    let harry = Device::new("harry", 1);
    open.open(&harry, None);
    let founding = devices[0].renew();
    assert_eq!(open.refused(&harry, founding), Reason::NotSealed);
    let mut unfounded = Room::new();
    unfounded.open(&harry, Some(Policy::Sealed));
    let early = devices[1].encrypt("Hello");
    assert_eq!(unfounded.refused(&harry, early), Reason::NotAMember);
}

/// In milliseconds.
const MINUTE: u64 = 60_000;

#[test]
fn whoever_made_a_room_founds_its_group_and_others_when_it_does_not_come_back() {
    let harry = || Device::new("harry", 1);
    let mut mallory = Device::new("mallory", 2);
    let stolen = mallory.found(JoinPolicy::Open);
    // While the maker is there, however long it takes.
    let mut room = Room::new();
    room.open(&harry(), Some(Policy::Sealed));
    room.open(&mallory, None);
    for minutes in [0, 60] {
        room.later = minutes * MINUTE;
        assert_eq!(room.refused(&mallory, stolen.clone()), Reason::NotTheMaker);
        room.take_over();
    }
    let founding = harry().found(JoinPolicy::Invited);
    room.say(&harry(), founding).unwrap();
    room.is_replayed();
    assert_eq!(room.refused(&mallory, stolen.clone()), Reason::StaleEpoch);

    // It goes at once: for ten minutes it may come back.
    let mut room = Room::new();
    room.open(&harry(), Some(Policy::Sealed));
    room.open(&mallory, None);
    room.close(&harry());
    room.later = 9 * MINUTE;
    assert_eq!(room.refused(&mallory, stolen.clone()), Reason::NotTheMaker);
    room.take_over();
    room.later = 11 * MINUTE;
    room.say(&mallory, stolen).unwrap();
    room.is_replayed();
}

#[test]
fn of_two_who_change_the_group_one_makes_its_change_again() {
    let (mut room, mut devices) = room_of(&["harry", "charly"]);
    let (kim, lou) = (Device::new("kim", 8), Device::new("lou", 9));
    let (one, other) = (devices[0].add(&[&kim]), devices[1].add(&[&lou]));
    room.say(&devices[0], one).unwrap();
    let made_at = room.state.group.as_ref().unwrap().made_at();
    let refused = room.say(&devices[1], other.clone()).unwrap_err();
    assert_eq!(refused.reason, Reason::StaleEpoch);
    assert!(
        refused.message.contains(&format!("event {made_at}")),
        "{refused}"
    );
    room.take_over();
    assert_eq!(room.refused(&devices[1], other), Reason::StaleEpoch);
    read(&mut devices[1], &room);
    let again = devices[1].next();
    room.say(&devices[1], again).unwrap();
    room.is_replayed();
    devices
        .iter_mut()
        .for_each(|device| drop(read(device, &room)));
    assert_eq!(devices[0].member.members(&aaa()).len(), 4);
    assert_eq!(
        devices[0].member.room_code(&aaa()),
        devices[1].member.room_code(&aaa())
    );
    // Once there is a group nobody founds another one.
    let mut late = Device::new("late", 10);
    room.open(&late, None);
    let founding = late.found(JoinPolicy::Open);
    assert_eq!(room.refused(&late, founding), Reason::StaleEpoch);
}

#[test]
fn a_device_leaves_revokes_and_comes_back() {
    let (mut room, mut devices) = room_of(&["harry", "charly", "kim"]);
    let step = devices[2].member.leave(&aaa());
    devices[2].host(step);
    let leave = devices[2].next();
    room.say(&devices[2], leave).unwrap();
    room.is_replayed();
    let shown = read(&mut devices[0], &room);
    assert!(shown.iter().any(|one| matches!(one, Shown::Leaving { .. })));
    let step = devices[0].member.tidy(&aaa(), now());
    devices[0].host(step);
    let removal = devices[0].next();
    room.say(&devices[0], removal).unwrap();
    room.is_replayed();
    devices
        .iter_mut()
        .for_each(|device| drop(read(device, &room)));
    let gone = Body::Sealed(vec![0; 100].into());
    assert!(room.say(&devices[2], gone).is_err());

    // A device that lost what it knew reports, and comes back from what the owner tells.
    let report = Handshake::Report(room.state.group.as_ref().unwrap().reentry().unwrap().epoch);
    let report = Body::Handshake(report.encode().into());
    room.say(&devices[1], report).unwrap();
    room.take_over();
    devices[1].forget();
    let reentry = room.state.group.as_ref().unwrap().reentry().unwrap();
    let back = devices[1].rejoin(&reentry.group_info, &reentry.tree);
    room.say(&devices[1], back).unwrap();
    room.is_replayed();
    devices
        .iter_mut()
        .for_each(|device| drop(read(device, &room)));
    let hello = devices[1].encrypt("I am back");
    room.say(&devices[1], hello).unwrap();
    assert_eq!(said(&read(&mut devices[0], &room)), ["charly: I am back"]);

    let list = devices[0].list();
    let step = devices[0].member.announce(&aaa(), &list);
    devices[0].host(step);
    let announced = devices[0].next();
    room.say(&devices[0], announced.clone()).unwrap();
    room.is_replayed();
    assert_eq!(room.refused(&devices[0], announced), Reason::BadCredential);
}

#[test]
fn what_a_revoked_device_sends_is_refused_from_then_on() {
    let (mut room, mut devices) = room_of(&["harry", "charly"]);
    let none = List::first(&devices[1].identity, aaa());
    let step = devices[1].member.announce(&aaa(), &none);
    devices[1].host(step);
    let announced = devices[1].next();
    room.say(&devices[1], announced).unwrap();
    let message = devices[1].encrypt("still there");
    assert_eq!(room.refused(&devices[1], message), Reason::BadCredential);
    let step = devices[1].member.renew(&aaa(), now());
    devices[1].host(step);
    let renewal = devices[1].next();
    assert_eq!(room.refused(&devices[1], renewal), Reason::BadCredential);
    room.is_replayed();
    drop(read(&mut devices[0], &room));
    let message = devices[0].encrypt("hello");
    room.say(&devices[0], message).unwrap();
}

/// Who reads is who is in the group, and that is for its members to say.
#[test]
fn a_purged_room_goes_on_with_its_group() {
    let (mut room, mut devices) = room_of(&["harry", "charly"]);
    let before = devices[1].encrypt("before");
    room.say(&devices[1], before).unwrap();
    devices
        .iter_mut()
        .for_each(|device| drop(read(device, &room)));
    let kim = Device::new("kim", 3);
    assert_eq!(room.open(&kim, None), Outcome::Done);
    let bundle = devices[0].add(&[&kim]);
    room.say(&devices[0], bundle).unwrap();
    let owed = room.state.take_owed();
    room.state.owe(owed.clone());
    assert!(room.state.owes());
    assert_eq!(room.act(Action::Purge), Outcome::Done);
    // What was handed over in vain and comes back is of before as well.
    room.state.owe(owed);
    assert!(!room.state.owes());
    room.take_over();
    devices
        .iter_mut()
        .for_each(|device| drop(read(device, &room)));
    let hello = devices[1].encrypt("behind");
    room.say(&devices[1], hello).unwrap();
    assert_eq!(said(&read(&mut devices[0], &room)), ["charly: behind"]);
    let renewed = devices[0].renew();
    room.say(&devices[0], renewed).unwrap();
    room.is_replayed();
}

/// Whoever is in the group and away for a moment does not find the name with somebody else.
#[test]
fn who_is_in_the_group_keeps_the_name_through_a_purge() {
    let (mut room, devices) = room_of(&["harry", "charly"]);
    let kim = Device::new("kim", 3);
    assert_eq!(room.open(&kim, None), Outcome::Done);
    room.close(&kim);
    room.close(&devices[1]);
    assert_eq!(room.act(Action::Purge), Outcome::Done);
    let has = |room: &Room, name: &str| room.state.pins.keys().any(|user| user.as_str() == name);
    for (name, stays) in [("harry", true), ("charly", true), ("kim", false)] {
        assert_eq!(has(&room, name), stays, "{name}");
    }
    room.is_replayed();
    room.take_over();
    assert!(has(&room, "charly") && !has(&room, "kim"));
}

#[test]
fn what_follows_a_handshake_in_a_batch_is_sent_again() {
    let (mut room, mut devices) = room_of(&["harry", "charly"]);
    let before = devices[1].encrypt("before");
    let after = devices[1].encrypt("after");
    let renewed = devices[0].renew();
    let [first, second] = &devices[..] else {
        unreachable!()
    };
    let outcomes = room.batch(&[(second, before), (first, renewed), (second, after.clone())]);
    assert_eq!(outcomes[..2], [Outcome::Done, Outcome::Done]);
    assert_eq!(why(outcomes[2].clone()), Reason::Busy);
    room.say(second, after).unwrap();
    room.is_replayed();
    assert_eq!(
        said(&read(&mut devices[0], &room)),
        ["charly: before", "charly: after"]
    );
}

#[test]
fn a_group_of_another_room_is_known_by_its_id() {
    let mut harry = Device::new("harry", 1);
    let founding = harry.found(JoinPolicy::Invited);
    let room = |text| RoomId::parse(text).unwrap();
    assert!(!is_of_another_room(&founding, &room("aaa")));
    assert!(is_of_another_room(&founding, &room("bbb")));
    assert!(!is_of_another_room(&text(), &room("bbb")));
}

#[test]
fn a_group_whose_events_are_gone_is_not_followed_blindly() {
    let (mut room, mut devices) = room_of(&["harry", "charly"]);
    let renewed = devices[0].renew();
    room.say(&devices[0], renewed).unwrap();
    devices
        .iter_mut()
        .for_each(|device| drop(read(device, &room)));
    let mut left = safe_chat::room::State::default();
    // The first event and the founding are gone, and what they changed is not known.
    for event in &room.events {
        let is_gone = event.seq == safe_chat::room::Seq(1)
            || matches!(&event.kind, safe_chat::room::Kind::Message { body: Body::Handshake(bytes), .. }
            if matches!(Handshake::decode(bytes), Ok(Handshake::Founding(_))));
        match is_gone {
            true => left.skip_to(event.seq),
            false => left.evolve(event),
        }
    }
    room.state = left;
    assert!(room.state.group.as_ref().unwrap().is_lost());
    assert_eq!(room.state.policy, Policy::Sealed);
    let hello = devices[1].encrypt("Hello");
    assert_eq!(room.refused(&devices[1], hello), Reason::BadBundle);
    room.state = safe_chat::journal::codec::decode_snapshot(
        safe_chat::journal::codec::encode_snapshot(&room.state),
    )
    .unwrap();
    assert!(room.state.group.as_ref().unwrap().is_lost());
}
