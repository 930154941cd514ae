//! Devices in a room, and what each of them sees.

mod world;

use seal::Refusal;
use seal::device::List;
use seal::member::{Error, Frame, Shown};
use world::{Client, Server, name, now, room, room_of, said};

#[test]
fn members_read_each_other_and_see_one_code() {
    let (mut server, mut clients) = room_of(&["harry", "charly", "ann"]);
    clients[1].send("Hello").unwrap();
    clients[1].flush(&mut server);
    for (n, client) in clients.iter_mut().enumerate() {
        let shown = client.read(&server);
        match n {
            1 => assert_eq!(shown, [Shown::Placed { number: 1 }]),
            _ => assert_eq!(said(&shown), ["charly: Hello"]),
        }
    }
    assert_eq!(clients[0].code(), clients[1].code());
    assert_eq!(clients[0].code(), clients[2].code());
    assert_eq!(clients[0].member.members(&room()).len(), 3);
}

#[test]
fn of_two_changes_one_wins_and_the_other_is_made_again() {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    let mut newcomers = [
        Client::new("ann", "phone", 10),
        Client::new("bob", "phone", 11),
    ];
    for newcomer in &mut newcomers {
        newcomer.publish(1);
        newcomer.flush(&mut server);
    }
    for (client, newcomer) in clients.iter_mut().zip(&newcomers) {
        client
            .add(&[server.claim(&newcomer.user, &newcomer.device)])
            .unwrap();
    }
    clients[0].flush(&mut server);
    let refused = clients[1].flush_one(&mut server).unwrap().unwrap_err();
    assert_eq!(refused.code(), "stale_epoch");
    clients[1].read(&server);
    clients[1].flush(&mut server);
    for newcomer in &mut newcomers {
        assert!(newcomer.welcome(&mut server));
        newcomer.read(&server);
    }
    for client in &mut clients {
        client.read(&server);
        assert_eq!(client.member.members(&room()).len(), 4);
        assert_eq!(client.code(), newcomers[0].code());
    }
    assert_eq!(newcomers[0].code(), newcomers[1].code());
}

#[test]
fn a_change_that_became_needless_is_dropped() {
    let (mut server, mut clients) = room_of(&["harry", "charly", "ann"]);
    let ann = name("ann");
    clients[0].remove(&ann).unwrap();
    clients[1].remove(&ann).unwrap();
    clients[0].flush(&mut server);
    assert!(clients[1].flush_one(&mut server).unwrap().is_err());
    let shown = clients[1].read(&server);
    assert!(shown.contains(&Shown::Dropped), "{shown:?}");
    assert!(clients[1].outbox.is_empty());
    clients[1].renew().unwrap();
    clients[1].flush(&mut server);
    assert!(clients[2].read(&server).contains(&clients[0].removal()));
    clients[0].read(&server);
    clients[1].read(&server);
    assert_eq!(clients[0].code(), clients[1].code());
}

#[test]
fn who_leaves_is_removed_by_who_stays() {
    // Also who has founded the group.
    for (leaver, user) in [(2, "ann"), (0, "harry")] {
        let (mut server, mut clients) = room_of(&["harry", "charly", "ann"]);
        let mut gone = clients.remove(leaver);
        let step = gone.member.leave(&room());
        gone.host(step).unwrap();
        gone.flush(&mut server);
        assert_eq!(gone.read(&server), [Shown::Out { by: None }]);
        assert_eq!(server.delivery().leaving().count(), 1);
        for (n, client) in clients.iter_mut().enumerate() {
            let shown = client.read(&server);
            let [
                Shown::Leaving {
                    who,
                    is_revoked: false,
                    is_ours_to_remove,
                },
            ] = &shown[..]
            else {
                panic!("{shown:?}");
            };
            assert_eq!((who.user.as_str(), *is_ours_to_remove), (user, n == 0));
        }
        let step = clients[0].member.tidy(&room(), now());
        clients[0].host(step).unwrap();
        clients[0].flush(&mut server);
        assert_eq!(server.delivery().leaving().count(), 0);
        for client in &mut clients {
            client.read(&server);
            assert_eq!(client.member.members(&room()).len(), 2);
        }
    }
}

#[test]
fn a_request_to_leave_survives_a_change_of_the_group() {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    let step = clients[1].member.leave(&room());
    clients[1].host(step).unwrap();
    clients[0].renew().unwrap();
    clients[0].flush(&mut server);
    assert!(clients[1].flush_one(&mut server).unwrap().is_err());
    clients[1].read(&server);
    clients[1].flush(&mut server);
    assert_eq!(clients[1].read(&server), [Shown::Out { by: None }]);
}

#[test]
fn nothing_is_sent_that_was_not_stored_and_what_was_stored_is_sent_again() {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    clients[0].renew().unwrap();
    let before = clients[0].outbox.clone();
    clients[0].crash();
    assert_eq!(Vec::from(before), clients[0].member.outstanding());
    clients[0].flush(&mut server);
    clients[0].read(&server);
    assert!(clients[0].member.outstanding().is_empty());
    clients[0].crash();
    assert_eq!(clients[0].send("too early"), Err(Error::Behind));
    clients[0].read(&server);
    clients[0].send("Hello").unwrap();
    clients[0].flush(&mut server);
    assert_eq!(said(&clients[1].read(&server)), ["harry: Hello"]);
}

#[test]
fn a_device_that_lost_its_state_comes_back() {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    clients[1].forget();
    clients[1].rejoin(&server).unwrap();
    // Somebody is faster.
    clients[0].renew().unwrap();
    clients[0].flush(&mut server);
    assert!(clients[1].flush_one(&mut server).unwrap().is_err());
    let shown = clients[1].read(&server);
    assert!(matches!(shown[..], [Shown::Lost(_)]), "{shown:?}");
    clients[1].rejoin(&server).unwrap();
    clients[1].crash();
    clients[1].flush(&mut server);
    clients[1].read(&server);
    let shown = clients[0].read(&server);
    let Some(Shown::Changed { joined, left, .. }) = shown.last() else {
        panic!("{shown:?}");
    };
    assert!(joined.is_empty() && left.is_empty(), "{shown:?}");
    clients[0].send("welcome back").unwrap();
    clients[0].flush(&mut server);
    assert_eq!(said(&clients[1].read(&server)), ["harry: welcome back"]);
    assert_eq!(clients[0].code(), clients[1].code());
}

#[test]
fn a_second_device_of_a_person_comes_in_by_itself() {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    let mut laptop = Client::new("harry", "laptop", 1);
    assert_eq!(laptop.identity.public(), clients[0].identity.public());
    laptop.rejoin(&server).unwrap();
    laptop.flush(&mut server);
    laptop.read(&server);
    clients[1].read(&server);
    assert_eq!(clients[1].code(), laptop.code());
    let harry = name("harry");
    clients[1].remove(&harry).unwrap();
    clients[1].flush(&mut server);
    let removal = clients[1].removal();
    for gone in [&mut laptop, &mut clients[0]] {
        assert!(gone.read(&server).contains(&removal));
    }
}

#[test]
fn messages_of_two_epochs_back_are_read_and_older_ones_refused() {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    for n in 0..4 {
        clients[1].send(&format!("from epoch {n}")).unwrap();
    }
    let mut late: Vec<_> = clients[1].outbox.drain(..).collect();
    for expected in [true, true, true, false] {
        let frame = late.pop().unwrap();
        let (by, device) = (clients[1].proven(), clients[1].device.clone());
        assert_eq!(server.take(&by, &device, &frame).is_ok(), expected);
        let shown = clients[0].read(&server);
        assert_eq!(said(&shown).len(), usize::from(expected), "{shown:?}");
        clients[0].renew().unwrap();
        clients[0].flush(&mut server);
        clients[0].read(&server);
    }
}

#[test]
fn content_is_padded_so_that_its_length_says_little() {
    let (_, mut clients) = room_of(&["harry", "charly"]);
    let mut length = |content: &str| {
        clients[0].send(content).unwrap();
        let Some(Frame::Message { bytes, .. }) = clients[0].outbox.pop_back() else {
            panic!("no message");
        };
        bytes.len()
    };
    assert_eq!(length("no"), length("a much longer answer that says more"));
    assert_eq!(length(&"a".repeat(50)) + 256, length(&"a".repeat(306)));
}

#[test]
fn the_largest_content_is_taken_and_one_byte_more_is_not() {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    let largest = "a".repeat(seal::rules::MOST_CONTENT);
    clients[0].send(&largest).unwrap();
    clients[0].flush(&mut server);
    assert_eq!(
        said(&clients[1].read(&server)),
        [format!("harry: {largest}")]
    );
    assert_eq!(clients[0].send(&format!("{largest}a")), Err(Error::TooLong));
}

#[test]
fn the_last_resort_lets_a_device_in_again_and_again() {
    let (mut server, mut clients) = room_of(&["harry"]);
    let mut ann = Client::new("ann", "phone", 10);
    ann.publish(0);
    ann.flush(&mut server);
    for _ in 0..2 {
        clients[0]
            .add(&[server.claim(&ann.user, &ann.device)])
            .unwrap();
        clients[0].flush(&mut server);
        clients[0].read(&server);
        ann.crash();
        assert!(ann.welcome(&mut server));
        ann.read(&server);
        assert_eq!(ann.code(), clients[0].code());
        clients[0].remove(&ann.user).unwrap();
        clients[0].flush(&mut server);
        clients[0].read(&server);
        assert!(ann.read(&server).contains(&clients[0].removal()));
    }
}

#[test]
fn keys_are_renewed_after_days_or_many_messages() {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    let (messages, seconds) = seal::rules::RENEW_AFTER;
    assert!(!clients[0].member.is_renewal_due(&room(), now()));
    assert!(clients[0].member.is_renewal_due(&room(), now() + seconds));
    for _ in 0..messages {
        clients[0].send("again").unwrap();
    }
    assert!(clients[0].member.is_renewal_due(&room(), now()));
    clients[0].outbox.clear();
    let later = now() + seconds;
    let step = clients[0].member.renew(&room(), later);
    clients[0].host(step).unwrap();
    clients[0].flush(&mut server);
    clients[0].read(&server);
    assert!(!clients[0].member.is_renewal_due(&room(), later));
    assert!(clients[0].member.is_renewal_due(&room(), later + seconds));
}

#[test]
fn a_member_away_for_a_year_comes_back_though_the_events_are_gone() {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    for _ in 0..5 {
        clients[0].renew().unwrap();
        clients[0].flush(&mut server);
        clients[0].read(&server);
    }
    clients[1].cursor = server.journal.len() - 1;
    let entry = server.journal.last().unwrap().clone();
    let missed = clients[1].member.receive(&room(), entry.event()).map(drop);
    assert_eq!(missed, Err(Error::Gap));
    let step = clients[1].member.give_up(&room(), "it is tested");
    clients[1].host(step).unwrap();
    clients[1].rejoin(&server).unwrap();
    clients[1].flush(&mut server);
    clients[1].read(&server);
    clients[0].read(&server);
    clients[0].send("long time no see").unwrap();
    clients[0].flush(&mut server);
    assert_eq!(said(&clients[1].read(&server)), ["harry: long time no see"]);
}

#[test]
fn a_revoked_device_is_removed_and_does_not_come_back() {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    let mut laptop = Client::new("harry", "laptop", 1);
    laptop.rejoin(&server).unwrap();
    laptop.flush(&mut server);
    laptop.read(&server);
    clients[1].read(&server);
    let identity = laptop.identity.clone();
    let mut list = List::first(&identity, room());
    for device in [&clients[0], &laptop] {
        let certificate = device.member.certificate();
        let added = list.with(&identity, certificate.device().clone(), *certificate.key());
        list = added.unwrap();
    }
    let announce = |laptop: &mut Client, server: &mut Server, list: &List| {
        let step = laptop.member.announce(&room(), list);
        laptop.host(step).unwrap();
        laptop.flush(server);
    };
    announce(&mut laptop, &mut server, &list);
    for client in &mut clients {
        client.read(&server);
    }
    assert_eq!(server.delivery().leaving().count(), 0);
    let older = list.clone();
    list = list.without(&identity, &name("laptop")).unwrap();
    // From any device of the person, here the revoked one itself.
    announce(&mut laptop, &mut server, &list);
    let by = laptop.proven();
    let old = server.delivery().decide_devices(&older.encode(), &by);
    assert_eq!(old.map(drop), Err(Refusal::OldList));
    for client in &mut clients {
        let shown = client.read(&server);
        assert!(matches!(shown[..], [Shown::Leaving { .. }]), "{shown:?}");
    }
    let step = clients[1].member.tidy(&room(), now());
    clients[1].host(step).unwrap();
    clients[1].flush(&mut server);
    assert!(laptop.read(&server).contains(&clients[1].removal()));
    clients[0].read(&server);
    clients[1].read(&server);
    assert_eq!(clients[0].code(), clients[1].code());
    server.restart();
    laptop.rejoin(&server).unwrap();
    let Some(Frame::Change { bundle, .. }) = laptop.outbox.pop_back() else {
        panic!("no bundle");
    };
    let decided = server.delivery().decide(&bundle, &by, now());
    assert_eq!(decided.map(drop), Err(Refusal::Unlisted));
    // Nor do members let it, whatever the server says.
    clients[0].crash();
    clients[0].does_not_take(&bundle.commit);
}

#[test]
fn who_is_added_comes_without_those_who_had_asked_to_leave() {
    // Also one of those, again.
    for comes in ["kim", "ann"] {
        let (mut server, mut clients) = room_of(&["harry", "charly", "ann"]);
        let step = clients[2].member.leave(&room());
        clients[2].host(step).unwrap();
        clients[2].flush(&mut server);
        for client in &mut clients {
            client.read(&server);
        }
        if comes == "kim" {
            clients.push(Client::new("kim", "phone", 9));
        }
        let new = clients.last_mut().unwrap();
        new.publish(1);
        new.flush(&mut server);
        let package = server.claim(&name(comes), &name("phone"));
        clients[0].add(&[package]).unwrap();
        clients[0].flush(&mut server);
        assert_eq!(server.delivery().leaving().count(), 0);
        clients[0].read(&server);
        clients[1].read(&server);
        let new = clients.last_mut().unwrap();
        if comes == "ann" {
            assert!(!new.welcome(&mut server), "she is asked first");
            let step = new.member.returns(&room());
            new.host(step).unwrap();
            new.rejoin(&server).unwrap();
            new.flush(&mut server);
        } else {
            assert!(new.welcome(&mut server));
        }
        for client in &mut clients {
            client.read(&server);
        }
        let members = clients.last().unwrap().member.members(&room());
        let users: Vec<_> = members.iter().map(|one| one.user.as_str()).collect();
        assert_eq!(users.len(), 3, "{users:?}");
        assert_eq!(users.contains(&"ann"), comes == "ann");
        assert_eq!(clients[0].code(), clients.last().unwrap().code());
    }
}
