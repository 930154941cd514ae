//! What can be tried with commits, group infos and welcomes.

use crate::bundle_of;
use crate::raw_external_commit;
use crate::refused;
use crate::stranger;
use crate::world::Client;
use crate::world::Entry;
use crate::world::Server;
use crate::world::name;
use crate::world::now;
use crate::world::room;
use crate::world::room_of;
use crate::world::said;
use seal::Bundle;
use seal::Delivery;
use seal::Member;
use seal::Refusal;
use seal::delivery::Proven;
use seal::member::Agreed;
use seal::member::Error;
use seal::member::Event;
use seal::member::Frame;
use seal::member::Holder;
use seal::member::Shown;
use seal::rules::JoinPolicy;
use seal::rules::MOST_ADDED;

#[test]
fn a_replayed_commit_is_stale_for_the_writer() {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    clients[0].renew().unwrap();
    let bundle = bundle_of(&mut clients[0]);
    let by = clients[0].proven();
    let accepted = server.delivery().decide(&bundle, &by, now()).unwrap();
    server.delivery.as_mut().unwrap().apply(accepted);
    assert_eq!(
        refused(&server, &bundle, &by),
        Refusal::StaleEpoch { current: 2 }
    );
}

#[test]
fn a_replayed_commit_changes_nothing_for_members() {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    clients[0].renew().unwrap();
    clients[0].flush(&mut server);
    clients[1].read(&server);
    let code = clients[1].code();
    let Entry::Commit(commit) = server.journal.last().unwrap().clone() else {
        panic!("no commit");
    };
    let step = clients[1]
        .member
        .receive(&room(), Event::Commit(&commit))
        .unwrap();
    assert!(step.changes.is_empty() && step.shown.is_empty());
    assert_eq!(clients[1].code(), code);
}

#[test]
fn a_commit_of_an_epoch_that_never_was_is_refused() {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    // A fork, in which harry's device has gone on by itself.
    let snapshot = server.delivery().snapshot();
    clients[0].renew().unwrap();
    clients[0].flush(&mut server);
    clients[0].read(&server);
    clients[0].renew().unwrap();
    let bundle = bundle_of(&mut clients[0]);
    server.delivery = Some(Delivery::restore(&snapshot).unwrap());
    let refusal = refused(&server, &bundle, &clients[0].proven());
    assert_eq!(refusal, Refusal::StaleEpoch { current: 1 });
}

#[test]
fn no_changed_byte_of_a_commit_passes_both_the_writer_and_members() {
    let (server, mut clients) = room_of(&["harry", "charly"]);
    clients[0].renew().unwrap();
    let bundle = bundle_of(&mut clients[0]);
    let by = clients[0].proven();
    let shelf = clients[1].shelf.clone();
    let mut only_members_noticed = 0;
    for at in 0..bundle.commit.len() {
        let mut forged = bundle.clone();
        forged.commit[at] ^= 1;
        let Ok(accepted) = server.delivery().decide(&forged, &by, now()) else {
            continue;
        };
        drop(accepted);
        only_members_noticed += 1;
        let mut member = Member::restore(shelf.clone()).unwrap();
        let step = member
            .receive(&room(), Event::Commit(&forged.commit))
            .unwrap();
        assert!(
            matches!(step.shown[..], [Shown::Lost(_)]),
            "byte {at}: {:?}",
            step.shown
        );
        assert!(matches!(step.frames[..], [Frame::Report { epoch: 2, .. }]));
    }
    // The tag that proves membership, and what is encrypted for members, the writer cannot check.
    assert!(only_members_noticed > 0);
    assert!(server.delivery().decide(&bundle, &by, now()).is_ok());
}

#[test]
fn no_changed_byte_of_a_group_info_passes_the_writer() {
    let (server, mut clients) = room_of(&["harry", "charly"]);
    clients[0].renew().unwrap();
    let bundle = bundle_of(&mut clients[0]);
    for at in 0..bundle.group_info.len() {
        let mut forged = bundle.clone();
        forged.group_info[at] ^= 1;
        assert!(
            server
                .delivery()
                .decide(&forged, &clients[0].proven(), now())
                .is_err(),
            "{at}"
        );
    }
}

#[test]
fn who_came_in_by_a_commit_that_members_refuse_is_asked_about_before_they_come_back() {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    let mallory = stranger(&mut server, "mallory", 66);
    let package = server.claim(&mallory.user, &mallory.device);
    clients[0].add(&[package]).unwrap();
    // The server takes it, with a tag that only members can check.
    let mut forged = bundle_of(&mut clients[0]);
    *forged.commit.last_mut().unwrap() ^= 1;
    let frame = Frame::Change {
        room: room(),
        bundle: forged,
    };
    let by = clients[0].proven();
    server.take(&by, &clients[0].device, &frame).unwrap();
    let charly = &mut clients[1];
    let shown = charly.read(&server);
    assert!(matches!(shown[..], [Shown::Lost(_)]), "{shown:?}");
    charly.outbox.clear();
    let who = Holder::from(mallory.member.certificate());
    for agreed in [Agreed::Nothing, Agreed::Newcomers(&[])] {
        let asked = charly.rejoin_if(&server, agreed);
        assert_eq!(asked, Err(Error::Newcomers(vec![who.clone()])));
        assert!(charly.outbox.is_empty(), "nothing was sent");
    }
    let agreed = [who];
    charly
        .rejoin_if(&server, Agreed::Newcomers(&agreed))
        .unwrap();
    charly.flush(&mut server);
    charly.read(&server);
    assert!(charly.member.is_in(&room()));
}

#[test]
fn what_adds_too_many_is_refused_before_anything_of_it_is_verified() {
    let (mut server, mut clients) = room_of(&["harry"]);
    let packages: Vec<_> = (0..=MOST_ADDED)
        .map(|number| {
            let mut one = Client::new(&format!("user-{number}"), "phone", 100 + number as u8);
            one.publish(1);
            one.flush(&mut server);
            server.claim(&one.user, &one.device)
        })
        .collect();
    clients[0].add(&packages).unwrap();
    let mut bundle = bundle_of(&mut clients[0]);
    let by = clients[0].proven();
    assert_eq!(refused(&server, &bundle, &by), Refusal::TooMany);
    // A key package ends with its signature, which is not even looked at. In front of it is a
    // message's header, which is not in the commit.
    let package = &packages[50][4..];
    let mut places = bundle.commit.windows(package.len());
    let at = places.position(|place| place == package).unwrap();
    bundle.commit[at + package.len() - 1] ^= 1;
    assert_eq!(refused(&server, &bundle, &by), Refusal::TooMany);
}

#[test]
fn a_commit_that_members_refuse_leaves_nobody_stuck() {
    let (mut server, mut clients) = room_of(&["harry", "charly", "ann"]);
    clients[0].renew().unwrap();
    let mut forged = bundle_of(&mut clients[0]);
    *forged.commit.last_mut().unwrap() ^= 1;
    let frame = Frame::Change {
        room: room(),
        bundle: forged,
    };
    server
        .take(&clients[0].proven(), &clients[0].device, &frame)
        .unwrap();
    for client in &mut clients {
        let shown = client.read(&server);
        assert!(
            matches!(shown[..], [Shown::Lost(_)]),
            "{}: {shown:?}",
            client.user
        );
        client.flush(&mut server);
    }
    assert!(server.delivery().is_doubted());
    for at in 0..clients.len() {
        clients[at].rejoin(&server).unwrap();
        clients[at].flush(&mut server);
        for client in &mut clients {
            client.read(&server);
        }
    }
    assert!(!server.delivery().is_doubted());
    clients[1].send("back again").unwrap();
    clients[1].flush(&mut server);
    assert_eq!(said(&clients[0].read(&server)), ["charly: back again"]);
    assert_eq!(said(&clients[2].read(&server)), ["charly: back again"]);
    assert_eq!(server.delivery().members().count(), 3);
}

#[test]
fn a_bundle_under_somebody_elses_session_is_refused() {
    let (server, mut clients) = room_of(&["harry", "charly"]);
    clients[0].renew().unwrap();
    let bundle = bundle_of(&mut clients[0]);
    assert_eq!(
        refused(&server, &bundle, &clients[1].proven()),
        Refusal::OtherSender
    );
    let same_name = Proven {
        user: name("harry"),
        identity: clients[1].identity.public(),
    };
    assert_eq!(refused(&server, &bundle, &same_name), Refusal::OtherSender);
}

#[test]
fn a_welcome_must_be_for_exactly_those_who_are_added() {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    let (ann, bob) = (
        stranger(&mut server, "ann", 10),
        stranger(&mut server, "bob", 11),
    );
    let package = |server: &mut Server, one: &Client| server.claim(&one.user, &one.device);
    let for_ann = package(&mut server, &ann);
    clients[0].add(&[for_ann]).unwrap();
    let for_ann = bundle_of(&mut clients[0]);
    let for_bob = package(&mut server, &bob);
    clients[1].add(&[for_bob]).unwrap();
    let for_bob = bundle_of(&mut clients[1]);
    for welcome in [None, for_bob.welcome] {
        let swapped = Bundle {
            welcome,
            ..for_ann.clone()
        };
        assert_eq!(
            refused(&server, &swapped, &clients[0].proven()),
            Refusal::OtherWelcome
        );
    }
    let mut renewal = Client::new("harry", "laptop", 1);
    renewal.rejoin(&server).unwrap();
    let surplus = Bundle {
        welcome: for_ann.welcome,
        ..bundle_of(&mut renewal)
    };
    assert_eq!(
        refused(&server, &surplus, &renewal.proven()),
        Refusal::OtherWelcome
    );
}

#[test]
fn a_group_info_of_another_commit_is_refused() {
    let (server, mut clients) = room_of(&["harry", "charly"]);
    clients[0].renew().unwrap();
    clients[1].renew().unwrap();
    let (one, other) = (bundle_of(&mut clients[0]), bundle_of(&mut clients[1]));
    let mixed = Bundle {
        group_info: other.group_info,
        ..one
    };
    assert_eq!(
        refused(&server, &mixed, &clients[0].proven()),
        Refusal::OtherGroupInfo
    );
}

#[test]
fn a_bundle_or_message_of_another_group_is_refused() {
    let (server, mut clients) = room_of(&["harry", "charly"]);
    let mut other = Client::new("harry", "phone", 1);
    let step = other
        .member
        .found(&name("bbb"), JoinPolicy::Invited, &[7; 16], now());
    other.host(step).unwrap();
    let Some(Frame::Found { founding, .. }) = other.outbox.pop_back() else {
        panic!("no founding");
    };
    let refused_founding = Delivery::found(room(), &founding, &other.proven(), now());
    assert_eq!(refused_founding.map(drop), Err(Refusal::OtherGroup));
    let step = other
        .member
        .receive(&name("bbb"), Event::Founded(&founding.group_info));
    other.host(step).unwrap();
    let step = other.member.renew(&name("bbb"), now());
    other.host(step).unwrap();
    let bundle = bundle_of(&mut other);
    assert_eq!(
        refused(&server, &bundle, &other.proven()),
        Refusal::OtherGroup
    );
    let (_, step) = other.member.send(&name("bbb"), b"Hello").unwrap();
    let [Frame::Message { bytes, .. }] = &step.frames[..] else {
        panic!("no message");
    };
    let refused = server.delivery().decide_message(bytes, &other.proven());
    assert_eq!(refused, Err(Refusal::OtherGroup));
    // The server passes it on all the same.
    let step = clients[1]
        .member
        .receive(&room(), Event::Message(bytes))
        .unwrap();
    assert_eq!(step.shown, [Shown::Unreadable("it is of another group")]);
}

#[test]
fn a_report_counts_from_members_in_the_epoch_alone() {
    let (server, clients) = room_of(&["harry", "charly"]);
    let mallory = Client::new("mallory", "phone", 66).proven();
    let delivery = server.delivery();
    assert_eq!(
        delivery.decide_report(1, &mallory),
        Err(Refusal::NotAMember)
    );
    let stale = Refusal::StaleEpoch { current: 1 };
    assert_eq!(delivery.decide_report(0, &clients[0].proven()), Err(stale));
    assert!(delivery.decide_report(1, &clients[0].proven()).is_ok());
}

#[test]
fn what_is_too_large_is_refused_before_it_is_decoded() {
    let (server, mut clients) = room_of(&["harry", "charly"]);
    clients[0].renew().unwrap();
    let good = bundle_of(&mut clients[0]);
    let by = clients[0].proven();
    let huge = vec![0xff; 4 * 1024 * 1024];
    for bundle in [
        Bundle {
            commit: huge.clone(),
            ..good.clone()
        },
        Bundle {
            welcome: Some(huge.clone()),
            ..good.clone()
        },
        Bundle {
            group_info: huge.clone(),
            ..good.clone()
        },
    ] {
        assert_eq!(refused(&server, &bundle, &by), Refusal::TooLarge);
    }
    let delivery = server.delivery();
    assert_eq!(delivery.decide_message(&huge, &by), Err(Refusal::TooLarge));
    assert_eq!(delivery.decide_leave(&huge, &by), Err(Refusal::TooLarge));
    assert_eq!(
        Delivery::check_key_package(&huge, &by, now()),
        Err(Refusal::TooLarge)
    );
    // A server can send a huge tree, too.
    let mut ann = Client::new("ann", "phone", 10);
    let (group_info, _) = delivery.reentry();
    let refused = ann
        .member
        .rejoin(&room(), (&group_info, &huge), Agreed::Nothing, now())
        .map(drop);
    assert_eq!(refused, Err(Error::Refused(Refusal::TooLarge)));
}

#[test]
fn lengths_that_promise_more_than_there_is_cost_nothing() {
    let (server, clients) = room_of(&["harry", "charly"]);
    let by = clients[0].proven();
    // MLS 1.0, each wire format, then lengths of a gigabyte.
    for format in 0..6u8 {
        let hostile = [&[0, 1, 0, format][..], &[0xbf; 64]].concat();
        let bundle = Bundle {
            commit: hostile.clone(),
            welcome: Some(hostile.clone()),
            group_info: hostile.clone(),
        };
        assert!(server.delivery().decide(&bundle, &by, now()).is_err());
        assert!(server.delivery().decide_message(&hostile, &by).is_err());
        let mut ann = Client::new("ann", "phone", 10);
        assert!(
            ann.member
                .rejoin(&room(), (&hostile, &[0xbf; 64]), Agreed::Nothing, now())
                .is_err()
        );
        assert!(
            ann.member
                .join(&room(), &hostile, &[0xbf; 64], now())
                .is_err()
        );
    }
}

#[test]
fn a_group_info_with_more_or_less_than_the_way_back_is_refused() {
    let (server, clients) = room_of(&["harry", "charly"]);
    let (group_info, tree) = server.delivery().reentry();
    let laptop = Client::new("harry", "laptop", 1);
    let with_tree = raw_external_commit(&laptop, &group_info, &tree, true);
    let by = clients[0].proven();
    assert_eq!(refused(&server, &with_tree, &by), Refusal::OtherGroupInfo);
    let plain = raw_external_commit(&laptop, &group_info, &tree, false);
    assert!(server.delivery().decide(&plain, &by, now()).is_ok());
    // Members do not take it from the server either.
    let mut tablet = Client::new("harry", "tablet", 1);
    let state = (&with_tree.group_info[..], &tree[..]);
    let step = tablet
        .member
        .rejoin(&room(), state, Agreed::Nothing, now())
        .map(drop);
    assert_eq!(step, Err(Error::Refused(Refusal::OtherGroupInfo)));
}

#[test]
fn a_change_that_the_writer_refuses_does_not_block_its_device() {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    for n in 0..3 {
        let step = match n {
            0 => clients[0].member.renew(&room(), now()),
            1 => clients[0].member.leave(&room()),
            _ => {
                let step = clients[0].member.give_up(&room(), "it is tested");
                clients[0].host(step).unwrap();
                let (group_info, tree) = server.delivery().reentry();
                clients[0]
                    .member
                    .rejoin(&room(), (&group_info, &tree), Agreed::Nothing, now())
            }
        };
        clients[0].host(step).unwrap();
        let frame = clients[0].outbox.pop_front().unwrap();
        let step = clients[0].member.refused(&room(), &frame).unwrap();
        assert_eq!(step.shown, [Shown::Dropped]);
        clients[0].host(Ok(step)).unwrap();
        assert!(clients[0].member.outstanding().is_empty());
        // A second time it is nothing.
        let step = clients[0].member.refused(&room(), &frame).unwrap();
        assert!(step.shown.is_empty() && step.changes.is_empty());
    }
    clients[0].shown.clear();
    clients[0].rejoin(&server).unwrap();
    clients[0].flush(&mut server);
    clients[0].read(&server);
    clients[0].renew().unwrap();
    clients[0].flush(&mut server);
    clients[0].read(&server);
    clients[1].read(&server);
    assert_eq!(clients[0].code(), clients[1].code());
}
