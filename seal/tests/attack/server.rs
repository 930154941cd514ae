//! What a server can try that is not honest, and what a stolen or copied state is worth.

use crate::stranger;
use crate::world::Client;
use crate::world::Entry;
use crate::world::Server;
use crate::world::name;
use crate::world::now;
use crate::world::room;
use crate::world::room_of;
use crate::world::said;
use seal::Delivery;
use seal::Identity;
use seal::Member;
use seal::Refusal;
use seal::device;
use seal::device::List;
use seal::member::Agreed;
use seal::member::Error;
use seal::member::Event;
use seal::member::Shown;
use seal::number::safety_number;
use seal::rules::JoinPolicy;
use seal::shelf;

#[test]
fn substituted_keys_show_in_the_safety_number() {
    let (harry, charly) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
    let server = Identity::from_seed(&[66; 32]);
    let harry_sees = safety_number(&harry.public(), &server.public());
    let charly_sees = safety_number(&charly.public(), &server.public());
    let honest = safety_number(&harry.public(), &charly.public());
    assert!(harry_sees != charly_sees && harry_sees != honest && charly_sees != honest);
}

#[test]
fn a_substituted_key_is_what_members_name() {
    let (mut server, mut clients) = room_of(&["harry"]);
    // The server answers the claim for ann with a key package of its own making.
    let fake = stranger(&mut server, "ann", 66);
    let package = server.claim(&fake.user, &fake.device);
    clients[0].add(&[package]).unwrap();
    clients[0].flush(&mut server);
    let shown = clients[0].read(&server);
    let [Shown::Changed { joined, .. }] = &shown[..] else {
        panic!("{shown:?}");
    };
    let ann = Client::new("ann", "phone", 10).identity.public();
    assert_ne!(joined[0].identity, ann);
    let harry = clients[0].identity.public();
    assert_ne!(
        safety_number(&harry, &joined[0].identity),
        safety_number(&harry, &ann)
    );
}

#[test]
fn a_forked_room_shows_in_its_code() {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    let mut fork = Server {
        delivery: Some(Delivery::restore(&server.delivery().snapshot()).unwrap()),
        journal: server.journal.clone(),
        ..Server::default()
    };
    clients[0].renew().unwrap();
    clients[0].flush(&mut server);
    clients[1].renew().unwrap();
    clients[1].flush(&mut fork);
    clients[0].read(&server);
    clients[1].read(&fork);
    assert_eq!(
        clients[0].member.epoch(&room()),
        clients[1].member.epoch(&room())
    );
    assert_ne!(clients[0].code(), clients[1].code());
    // And they never read each other again.
    clients[0].send("are you there?").unwrap();
    clients[0].flush(&mut server);
    let Some(Entry::Message { bytes, .. }) = server.journal.last() else {
        panic!("no message");
    };
    let step = clients[1]
        .member
        .receive(&room(), Event::Message(bytes))
        .unwrap();
    assert!(matches!(step.shown[..], [Shown::Unreadable(_)]));
}

#[test]
fn of_two_tabs_only_one_sends() {
    let (_, clients) = room_of(&["harry", "charly"]);
    let mut stored = clients[0].shelf.clone();
    let mut tabs = [stored.clone(), stored.clone()].map(|shelf| Member::restore(shelf).unwrap());
    for tab in &mut tabs {
        tab.caught_up(&room());
    }
    let [one, other] = tabs
        .each_mut()
        .map(|tab| tab.send(&room(), b"Hello").unwrap().1);
    assert_eq!(stored.store(one.changes), Ok(()));
    assert_eq!(stored.store(other.changes), Err(shelf::Error::Overtaken));
}

#[test]
fn a_restored_backup_is_noticed_before_it_says_anything() {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    let backup = clients[0].shelf.encode();
    clients[0].send("after the backup").unwrap();
    clients[0].flush(&mut server);
    clients[0].restore(&backup, 2);
    assert_eq!(clients[0].send("with used keys"), Err(Error::Behind));
    let shown = clients[0].read(&server);
    assert!(matches!(shown[..], [Shown::Lost(_)]), "{shown:?}");
    clients[0].outbox.clear();
    clients[0].rejoin(&server).unwrap();
    clients[0].flush(&mut server);
    clients[0].read(&server);
    assert_eq!(clients[0].send("with new keys"), Ok(2));
    clients[0].flush(&mut server);
    assert_eq!(
        said(&clients[1].read(&server)),
        ["harry: after the backup", "harry: with new keys"]
    );
}

#[test]
fn a_restored_backup_that_misses_its_own_commit_comes_back() {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    let backup = clients[0].shelf.encode();
    clients[0].renew().unwrap();
    clients[0].flush(&mut server);
    clients[0].read(&server);
    clients[0].restore(&backup, 2);
    let shown = clients[0].read(&server);
    assert!(matches!(shown[..], [Shown::Lost(_)]), "{shown:?}");
    clients[0].outbox.clear();
    clients[0].rejoin(&server).unwrap();
    clients[0].flush(&mut server);
    clients[0].read(&server);
    clients[1].read(&server);
    assert_eq!(clients[0].code(), clients[1].code());
}

#[test]
fn a_replayed_or_changed_message_is_not_shown() {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    clients[0].send("pay 1").unwrap();
    clients[0].flush(&mut server);
    assert_eq!(said(&clients[1].read(&server)), ["harry: pay 1"]);
    let Some(Entry::Message { bytes, .. }) = server.journal.last().cloned() else {
        panic!("no message");
    };
    for at in (0..bytes.len()).step_by(5).chain([usize::MAX]) {
        let mut forged = bytes.clone();
        if let Some(byte) = forged.get_mut(at) {
            *byte ^= 1;
        }
        match clients[1].member.receive(&room(), Event::Message(&forged)) {
            Ok(step) => assert!(matches!(step.shown[..], [Shown::Unreadable(_)]), "{at}"),
            // It says that it is of an epoch that never was.
            Err(refused) => assert_eq!(refused, Error::Gap, "{at}"),
        }
    }
}

#[test]
fn a_server_that_drops_a_commit_is_noticed() {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    for _ in 0..2 {
        clients[0].renew().unwrap();
        clients[0].flush(&mut server);
        clients[0].read(&server);
    }
    let dropped = server.journal.remove(2);
    let code = clients[1].code();
    let Some(entry) = server.journal.get(2) else {
        panic!("no entry");
    };
    let refused = clients[1].member.receive(&room(), entry.event()).map(drop);
    assert_eq!(refused, Err(Error::Gap));
    assert_eq!(clients[1].code(), code);
    server.journal.insert(2, dropped);
    clients[1].read(&server);
    assert_eq!(clients[0].code(), clients[1].code());
}

#[test]
fn a_device_that_lacks_a_change_encrypts_nothing_also_after_a_restart() {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    clients[0].send("before").unwrap();
    clients[0].renew().unwrap();
    clients[0].flush(&mut server);
    clients[0].read(&server);
    clients[0].send("after").unwrap();
    clients[0].flush(&mut server);
    let [.., before, _, after] = &server.journal[..] else {
        panic!("a message, a commit and a message");
    };
    let unread = clients[1].member.receive(&room(), after.event());
    assert_eq!(unread.map(drop), Err(Error::Gap));
    // What it can read is stored, so that it goes on behind it.
    let step = clients[1].member.receive(&room(), before.event());
    clients[1].host(step).unwrap();
    clients[1].member = Member::restore(clients[1].shelf.clone()).unwrap();
    clients[1].member.caught_up(&room());
    assert_eq!(clients[1].send("for whom?"), Err(Error::Lacking));
    assert_eq!(clients[1].renew(), Err(Error::Lacking));
    let left = clients[1].member.leave(&room()).map(drop);
    assert_eq!(left, Err(Error::Lacking));
    clients[1].read(&server);
    assert!(clients[1].send("for those who are in").is_ok());
}

#[test]
fn a_snapshot_that_was_cut_off_is_not_read() {
    let (server, _) = room_of(&["harry", "charly"]);
    let snapshot = server.delivery().snapshot();
    for length in (0..snapshot.len()).step_by(97) {
        assert!(Delivery::restore(&snapshot[..length]).is_err(), "{length}");
    }
}

#[test]
fn bytes_that_are_no_commit_of_the_group_change_nothing() {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    clients[0].send("Hello").unwrap();
    clients[0].flush(&mut server);
    let Some(Entry::Message { bytes, .. }) = server.journal.last() else {
        panic!("no message");
    };
    let (group_info, _) = server.delivery().reentry();
    for hostile in [&b""[..], b"nonsense", &[0xff; 4096], bytes, &group_info] {
        let refused = clients[1].member.receive(&room(), Event::Commit(hostile));
        assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
        assert!(clients[1].member.is_in(&room()));
    }
}

#[test]
fn a_forged_number_of_an_own_message_says_nothing() {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    clients[0].send("Hello").unwrap();
    clients[0].flush(&mut server);
    let Some(Entry::Message { bytes, .. }) = server.journal.last().cloned() else {
        panic!("no message");
    };
    for at in 0..bytes.len() {
        for flip in [1, 0xff] {
            let mut forged = bytes.clone();
            forged[at] ^= flip;
            let step = clients[0].member.receive(&room(), Event::Message(&forged));
            if step.as_ref().is_err_and(|why| *why == Error::Gap) {
                // It says that it is of a later epoch, behind which nothing is encrypted.
                assert_eq!(clients[0].send("for whom?"), Err(Error::Lacking));
                clients[0].member = Member::restore(clients[0].shelf.clone()).unwrap();
                clients[0].member.caught_up(&room());
                continue;
            }
            let step = step.unwrap_or_default();
            let shown = step.shown.clone();
            clients[0].host(Ok(step)).unwrap();
            clients[0].shown.clear();
            assert!(
                matches!(shown[..], [] | [Shown::Unreadable(_)]),
                "{at}: {shown:?}"
            );
        }
    }
    assert_eq!(clients[0].read(&server), [Shown::Placed { number: 1 }]);
    assert_eq!(clients[0].send("again"), Ok(2));
}

#[test]
fn a_group_in_the_place_of_another_is_not_entered_unasked() {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    let early = Server {
        delivery: Some(Delivery::restore(&server.delivery().snapshot()).unwrap()),
        ..Server::default()
    };
    for _ in 0..2 {
        clients[0].renew().unwrap();
        clients[0].flush(&mut server);
        clients[0].read(&server);
    }
    let mut replaced = Server::default();
    let mut mallory = Client::new("charly", "phone", 66);
    let step = mallory
        .member
        .found(&room(), JoinPolicy::Open, &[66; 16], now());
    mallory.host(step).unwrap();
    mallory.flush(&mut replaced);
    let step = clients[0].member.give_up(&room(), "it is tested");
    clients[0].host(step).unwrap();
    assert_eq!(clients[0].rejoin(&replaced), Err(Error::AnotherGroup));
    // The state of the same group from before is no way in either, though that of later is.
    assert_eq!(clients[0].rejoin(&early), Err(Error::AnotherGroup));
    clients[0].rejoin(&server).unwrap();
    let (group_info, tree) = replaced.delivery().reentry();
    let step = clients[0]
        .member
        .rejoin(&room(), (&group_info, &tree), Agreed::AnotherGroup, now());
    clients[0].outbox.clear();
    clients[0].host(step).unwrap();
    clients[0].flush(&mut replaced);
    clients[0].cursor = 0;
    clients[0].shown.clear();
    let shown = clients[0].read(&replaced);
    assert!(shown.contains(&Shown::OtherGroup), "{shown:?}");
    assert!(matches!(shown[0], Shown::KeyChanged { .. }), "{shown:?}");
    let Some(Shown::Changed { joined, left, .. }) = shown.last() else {
        panic!("{shown:?}");
    };
    assert_eq!((joined.len(), left.len()), (1, 1), "{shown:?}");
}

#[test]
fn a_device_that_came_back_from_a_backup_still_reads_before_it_writes() {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    clients[0].crash();
    let step = clients[0].member.give_up(&room(), "it is tested");
    clients[0].host(step).unwrap();
    clients[0].rejoin(&server).unwrap();
    clients[0].flush(&mut server);
    clients[0].cursor = server.journal.len() - 1;
    assert!(clients[0].read_one(&server));
    assert_eq!(clients[0].send("too early"), Err(Error::Behind));
    clients[0].read(&server);
    assert!(clients[0].send("now").is_ok());
}

#[test]
fn an_old_welcome_does_not_bring_an_old_epoch_back() {
    let (mut server, mut clients) = room_of(&["harry"]);
    let mut ann = Client::new("ann", "phone", 10);
    ann.publish(0);
    ann.flush(&mut server);
    let last_resort = server.claim(&ann.user, &ann.device);
    clients[0].add(&[last_resort]).unwrap();
    clients[0].flush(&mut server);
    let waiting = server.waiting.values().next().cloned().unwrap();
    ann.welcome(&mut server);
    clients[0].read(&server);
    let gone = ann.user.clone();
    clients[0].remove(&gone).unwrap();
    clients[0].flush(&mut server);
    assert!(ann.read(&server).contains(&clients[0].removal()));
    let (welcome, tree) = (&waiting.admission.welcome, &waiting.admission.tree);
    let again = ann.member.join(&room(), welcome, tree, now()).map(drop);
    assert_eq!(again, Err(Error::AnotherGroup));
}

/// Whom a user adds is named by a key that it has from them, and the service answers with key
/// packages: of a key of its own under that name, or of that key under another one.
#[test]
fn a_key_package_of_somebody_else_than_was_asked_for_adds_nobody() {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    let asked = Client::new("ann", "phone", 7).person();
    let mut given = |user: &str, seed| {
        let mut other = Client::new(user, "phone", seed);
        other.publish(1);
        other.flush(&mut server);
        server.claim(&name(user), &name("phone"))
    };
    let hers = given("ann", 7);
    let swapped = [given("ann", 8), given("bob", 7), given("bob", 8)];
    let people = std::slice::from_ref(&asked);
    for package in swapped {
        for packages in [vec![package.clone()], vec![hers.clone(), package]] {
            let added = clients[0].member.add(&room(), people, &packages, now());
            assert_eq!(added.map(drop), Err(Error::NotAsked));
        }
    }
    let own = clients[0].identity.clone();
    let other_name = given("bob", 1);
    let allowed = clients[0].member.allow(&room(), &own, &other_name);
    assert_eq!(allowed.map(drop), Err(Error::OtherPerson));
    let added = clients[0].member.add(&room(), people, &[hers], now());
    clients[0].host(added).unwrap();
    clients[0].flush(&mut server);
    assert_eq!(server.delivery().members().count(), 3);
}

/// Which devices somebody has is said in one room. Shown in another one, members do not remove
/// devices there by it.
#[test]
fn a_list_of_devices_says_nothing_in_another_room() {
    let (server, mut clients) = room_of(&["harry", "charly"]);
    let identity = clients[1].identity.clone();
    let elsewhere = List::first(&identity, name("elsewhere"));
    let by = clients[1].proven();
    let refused = server.delivery().decide_devices(&elsewhere.encode(), &by);
    assert_eq!(
        refused.map(drop),
        Err(Refusal::Credential(device::Error::NotSigned))
    );
    let list = elsewhere.encode();
    let seen = clients[0].member.receive(&room(), Event::Devices(&list));
    assert!(matches!(seen.map(drop), Err(Error::Refused(_))));
    assert!(!clients[0].member.is_to_tidy(&room()));
    // One of before that names no room says nothing anywhere.
    let old = [&[1][..], &list[1..]].concat();
    let seen = clients[0]
        .member
        .receive(&room(), Event::Devices(&old))
        .unwrap();
    assert!(seen.shown.is_empty() && !clients[0].member.is_to_tidy(&room()));
    let refused = server.delivery().decide_devices(&old, &by);
    assert_eq!(refused.map(drop), Err(Refusal::OldList));
}
