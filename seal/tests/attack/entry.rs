//! Who breaks an open group, and who speaks in an epoch that was none of theirs.

use crate::world::{Client, Server, name, now, room, room_with};
use crate::{bundle_of, stranger};
use seal::delivery::Proven;
use seal::member::Frame;
use seal::rules::JoinPolicy;
use seal::{Refusal, delivery::Accepted};

/// A member says that it cannot process the commit of this epoch.
fn reports(server: &mut Server, who: &Client) {
    let delivery = server.delivery.as_mut().unwrap();
    let leaf = delivery.decide_report(delivery.epoch(), &who.proven());
    delivery.apply_report(leaf.unwrap(), now());
}

/// What becomes of a stranger that comes in by itself, some seconds later.
fn comes(server: &Server, seed: u8, later: u64) -> Result<Accepted, Refusal> {
    let mut stranger = Client::new(&format!("stranger-{seed}"), "phone", seed);
    stranger.rejoin(server).unwrap();
    let bundle = bundle_of(&mut stranger);
    let by = stranger.proven();
    server.delivery().decide(&bundle, &by, now() + later)
}

#[test]
fn whoever_breaks_an_open_group_does_it_once_and_nobody_does_it_again_within_the_hour() {
    let users = ["harry", "charly", "ann"];
    let (mut server, mut clients) = room_with(JoinPolicy::Open, &users);
    let mut mallory = stranger(&mut server, "mallory", 66);
    mallory.rejoin(&server).unwrap();
    mallory.flush(&mut server);
    mallory.read(&server);
    // One of them may be mistaken, or lie.
    reports(&mut server, &clients[1]);
    assert!(comes(&server, 70, 0).is_ok());
    server.restart();
    reports(&mut server, &clients[2]);
    server.restart();
    let shut = comes(&server, 71, 0).map(drop);
    assert_eq!(shut, Err(Refusal::Shut { minutes: 60 }));
    assert_eq!(shut.unwrap_err().code(), "not_a_member");
    assert!(comes(&server, 72, 3600).is_ok());
    // It is in the tree; what it does there counts no more, also when it comes back.
    mallory.renew().unwrap();
    let bundle = bundle_of(&mut mallory);
    let by = mallory.proven();
    let refused = server.delivery().decide(&bundle, &by, now() + 7200);
    assert_eq!(refused.map(drop), Err(Refusal::Barred));

    // Members go on, and come back though entry is shut.
    for client in &mut clients {
        client.read(&server);
    }
    clients[1].forget();
    clients[1].rejoin(&server).unwrap();
    clients[1].flush(&mut server);
    clients[1].read(&server);
    clients[0].read(&server);
    clients[0].remove(&name("mallory")).unwrap();
    clients[0].flush(&mut server);
    clients[0].read(&server);
    server.restart();
    let mut again = Client::new("mallory", "phone", 66);
    again.rejoin(&server).unwrap();
    let bundle = bundle_of(&mut again);
    let refused = server.delivery().decide(&bundle, &by, now() + 7200);
    assert_eq!(refused.map(drop), Err(Refusal::Barred));
    // A member that adds it answers for it.
    let package = server.claim(&mallory.user, &mallory.device);
    clients[0].add(&[package]).unwrap();
    clients[0].flush(&mut server);
    let mut added = stranger(&mut server, "mallory", 66);
    added.rejoin(&server).unwrap();
    let bundle = bundle_of(&mut added);
    let taken = server.delivery().decide(&bundle, &by, now() + 7200);
    assert!(taken.is_ok(), "{:?}", taken.map(drop));
}

#[test]
fn in_a_group_of_invited_people_reports_bar_nobody() {
    let (mut server, mut clients) = room_with(JoinPolicy::Invited, &["harry", "charly", "ann"]);
    for at in [1, 2] {
        reports(&mut server, &clients[at]);
    }
    clients[0].renew().unwrap();
    clients[0].flush(&mut server);
    assert_eq!(server.delivery().epoch(), 2);
}

#[test]
fn who_was_just_added_says_nothing_in_an_epoch_before() {
    let (mut server, mut clients) = room_with(JoinPolicy::Invited, &["harry", "charly"]);
    clients[1].send("of the epoch before").unwrap();
    let Some(Frame::Message { bytes, .. }) = clients[1].outbox.pop_back() else {
        panic!("a message")
    };
    let mut ann = Client::new("ann", "phone", 10);
    let mut tablet = Client::new("ann", "tablet", 10);
    for device in [&mut ann, &mut tablet] {
        device.publish(1);
        device.flush(&mut server);
        let package = server.claim(&device.user, &device.device);
        clients[0].add(&[package]).unwrap();
        clients[0].flush(&mut server);
        clients[0].read(&server);
        server.restart();
        let says = |by: &Proven| server.delivery().decide_message(&bytes, by);
        assert_eq!(says(&ann_of(10)), Err(Refusal::NotThen));
        assert_eq!(says(&clients[1].proven()), Ok(1));
    }
    assert_eq!(Refusal::NotThen.code(), "not_a_member");
    ann.welcome(&mut server);
    ann.read(&server);
    ann.send("of now").unwrap();
    let Some(Frame::Message { bytes, .. }) = ann.outbox.pop_back() else {
        panic!("a message")
    };
    let said = server.delivery().decide_message(&bytes, &ann.proven());
    assert_eq!(said, Ok(3));
    assert!(ann.member.is_in(&room()));
}

fn ann_of(seed: u8) -> Proven {
    Client::new("ann", "phone", seed).proven()
}
