//! A person's devices in a room: leaving it, revoking one, letting it count again.

mod world;

use seal::device::List;
use seal::member::{Error, Frame, Shown, holder_of};
use seal::{Conversation, Name, Refusal, conversation::Effect, rules::JoinPolicy};
use world::{Client, Server, name, now, people_of, room, room_of};

/// A room of harry and charly, with one more device of harry.
fn with_laptop() -> (Server, Vec<Client>) {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    let mut laptop = Client::new("harry", "laptop", 1);
    laptop.rejoin(&server).unwrap();
    laptop.flush(&mut server);
    clients.push(laptop);
    for client in &mut clients {
        client.read(&server);
    }
    (server, clients)
}

fn revoke_laptop(server: &mut Server, clients: &mut [Client]) {
    let identity = clients[0].identity.clone();
    let revoked = clients[0]
        .member
        .revoke(&room(), &identity, &name("laptop"));
    clients[0].host(revoked).unwrap();
    clients[0].flush(server);
}

fn all_read(server: &Server, clients: &mut [Client]) {
    clients
        .iter_mut()
        .for_each(|client| drop(client.read(server)));
}

fn charly_tidies(server: &mut Server, clients: &mut [Client]) {
    let tidied = clients[1].member.tidy(&room(), now());
    clients[1].host(tidied).unwrap();
    clients[1].flush(server);
    all_read(server, clients);
}

#[test]
fn a_device_is_revoked_by_another_one_and_members_remove_it() {
    let (mut server, mut clients) = with_laptop();
    revoke_laptop(&mut server, &mut clients);
    assert_eq!(server.delivery().leaving().count(), 1);
    for client in &mut clients[..2] {
        let shown = client.read(&server);
        assert!(matches!(shown[..], [Shown::Leaving { .. }]), "{shown:?}");
    }
    charly_tidies(&mut server, &mut clients);
    assert!(clients[2].member.is_out(&room()));
    assert_eq!(clients[0].code(), clients[1].code());
    assert_eq!(clients[0].member.members(&room()).len(), 2);
}

#[test]
fn what_a_revoked_device_changes_or_says_is_refused_at_once() {
    let (mut server, mut clients) = with_laptop();
    revoke_laptop(&mut server, &mut clients);
    // It has not heard of it, or pretends so.
    let renewed = clients[2].member.renew(&room(), now());
    clients[2].host(renewed).unwrap();
    let Some(Frame::Change { bundle, .. }) = clients[2].outbox.pop_back() else {
        panic!("no bundle");
    };
    let delivery = server.delivery();
    let by = clients[2].proven();
    let accepted = delivery.decide(&bundle, &by, now()).unwrap();
    assert_eq!(delivery.check_listed(&accepted), Err(Refusal::Unlisted));
    // A message does not say from which device it is: harry's phone may speak.
    assert_eq!(delivery.check_any_listed(&by), Ok(()));
    let renewed = clients[0].member.renew(&room(), now());
    clients[0].host(renewed).unwrap();
    let Some(Frame::Change { bundle, .. }) = clients[0].outbox.pop_back() else {
        panic!("no bundle");
    };
    let accepted = server.delivery().decide(&bundle, &by, now()).unwrap();
    assert_eq!(server.delivery().check_listed(&accepted), Ok(()));
}

#[test]
fn who_has_no_device_left_that_counts_says_nothing() {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    let none = List::first(&clients[1].identity, room());
    let announced = clients[1].member.announce(&room(), &none);
    clients[1].host(announced).unwrap();
    clients[1].flush(&mut server);
    let [harry, charly] = [0, 1].map(|n: usize| clients[n].proven());
    let refused = server.delivery().check_any_listed(&charly);
    assert_eq!(refused, Err(Refusal::Unlisted));
    assert_eq!(server.delivery().check_any_listed(&harry), Ok(()));
}

#[test]
fn a_revoked_device_is_added_again_only_when_its_person_allows_it() {
    let (mut server, mut clients) = with_laptop();
    revoke_laptop(&mut server, &mut clients);
    all_read(&server, &mut clients);
    charly_tidies(&mut server, &mut clients);
    clients[2].publish(2);
    clients[2].flush(&mut server);
    let package = server.claim(&name("harry"), &name("laptop"));
    assert_eq!(holder_of(&package).unwrap().device, name("laptop"));
    let packages = [package];
    let unlisted = (Vec::new(), vec![name("laptop")]);
    assert_eq!(clients[1].member.allowed(&room(), &packages), unlisted);
    let identity = clients[0].identity.clone();
    let allowed = clients[0].member.allow(&room(), &identity, &packages[0]);
    clients[0].host(allowed).unwrap();
    clients[0].flush(&mut server);
    clients[1].read(&server);
    let own_devices = |harry: &world::Client| {
        let own = harry.member.own_devices(&room()).into_iter();
        let own = own.map(|one| (one.name.to_string(), one.is_this, one.is_in, one.counts));
        own.collect::<Vec<_>>()
    };
    let phone = (String::from("phone"), true, true, true);
    let laptop = |counts| (String::from("laptop"), false, false, counts);
    assert_eq!(own_devices(&clients[0]), [laptop(false), phone.clone()]);
    clients[0].read(&server);
    assert_eq!(own_devices(&clients[0]), [laptop(true), phone]);
    let allowed = (packages.to_vec(), Vec::new());
    assert_eq!(clients[1].member.allowed(&room(), &packages), allowed);
    let added = clients[1]
        .member
        .add(&room(), &people_of(&packages), &packages, now());
    clients[1].host(added).unwrap();
    clients[1].flush(&mut server);
    assert_eq!(server.delivery().members().count(), 3);
}

/// As after a purge, which takes lists, too, out of what can be read: the room knows them still.
#[test]
fn a_device_that_missed_a_list_is_told_by_another_one_and_can_say_the_next_one() {
    let (mut server, mut clients) = with_laptop();
    let identity = clients[0].identity.clone();
    let tablet = name("tablet");
    let says = |server: &mut Server, client: &mut world::Client, device: &Name| {
        let revoked = client.member.revoke(&room(), &identity, device);
        client.host(revoked).unwrap();
        client.flush_one(server).unwrap()
    };
    clients[2].publish(1);
    clients[2].flush(&mut server);
    let package = server.claim(&name("harry"), &name("laptop"));
    let mut other = world::Client::new("harry", "tablet", 1);
    other.publish(1);
    other.flush(&mut server);
    let packages = [server.claim(&name("harry"), &tablet)];
    clients[0].add(&packages).unwrap();
    clients[0].flush(&mut server);
    all_read(&server, &mut clients);
    says(&mut server, &mut clients[0], &tablet).unwrap();
    clients[0].read(&server);
    // The laptop does not read that.
    let missed = server.journal.pop().unwrap();
    assert!(matches!(missed, world::Entry::Devices(_)));
    let phone = name("phone");
    let refused = says(&mut server, &mut clients[2], &phone);
    assert_eq!(refused, Err(Refusal::OldList));
    let again = clients[0].member.allow(&room(), &identity, &package);
    clients[0].host(again).unwrap();
    clients[0].flush_one(&mut server).unwrap().unwrap();
    clients[2].read(&server);
    assert_eq!(says(&mut server, &mut clients[2], &phone), Ok(()));
}

#[test]
fn who_left_does_not_come_back_by_itself_though_the_room_is_open() {
    let (mut server, clients) = room_of(&["harry", "charly"]);
    let mut clients = clients.into_iter();
    let (_, charly) = (clients.next(), clients.next().unwrap());
    let (person, head) = (charly.proven(), server.journal.len() as u64);
    let mut charly = Conversation::new(charly.member, room(), JoinPolicy::Open, [1; 16]);
    charly.connected(head, now());
    let effects = charly.leave(now()).unwrap();
    let sent = effects.into_iter().find_map(|effect| match effect {
        Effect::Send(_, outgoing) => Some(outgoing),
        _ => None,
    });
    let sent = sent.expect("a request");
    let seal::conversation::Outgoing::Handshake(bytes) = &sent else {
        panic!("{sent:?}");
    };
    let Ok(seal::Handshake::Leave(bytes)) = seal::Handshake::decode(bytes) else {
        panic!("no request to leave");
    };
    let leave = Frame::Leave {
        room: room(),
        bytes,
    };
    server.take(&person, &name("phone"), &leave).unwrap();
    assert!(!charly.has_left());
    let effects = charly.event(head + 1, Some(&sent), now());
    assert!(charly.has_left());
    // It sees whether somebody invites it back, and does nothing else.
    assert!(
        matches!(effects.last(), Some(Effect::AskWelcome)),
        "{effects:?}"
    );
    assert!(charly.welcome(None, now()).is_empty());
    assert!(matches!(
        charly.tick(now() + 1000)[..],
        [Effect::AskWelcome]
    ));
    assert!(charly.welcome(None, now() + 1000).is_empty());
}

#[test]
fn a_device_revokes_neither_itself_nor_what_is_not_there() {
    let (_server, mut clients) = with_laptop();
    let [harry, charly] = [0, 1].map(|n: usize| clients[n].identity.clone());
    let mut revoke = |by: &_, device: &str| {
        let revoked = clients[0].member.revoke(&room(), by, &name(device));
        revoked.map(drop).unwrap_err()
    };
    assert_eq!(revoke(&harry, "phone"), Error::OwnDevice);
    assert!(matches!(revoke(&harry, "watch"), Error::List(_)));
    assert!(matches!(revoke(&charly, "laptop"), Error::List(_)));
}

#[test]
fn an_identity_that_no_program_reads_revokes_a_device_by_signing_what_it_is_told() {
    use ed25519_dalek::{Signer as _, SigningKey};
    let (mut server, mut clients) = with_laptop();
    let sign = |client: &Client, bytes: &[u8]| {
        let key = SigningKey::from_bytes(&client.identity.seed());
        key.sign(bytes).to_bytes()
    };
    let own = clients[0].member.revocation(&room(), &name("phone"));
    assert_eq!(own.map(drop), Err(Error::OwnDevice));
    let laptop = name("laptop");
    let unsigned = clients[0].member.revocation(&room(), &laptop).unwrap();
    let by_another = sign(&clients[1], &unsigned.to_sign());
    let refused = unsigned.clone().signed(by_another);
    assert_eq!(refused, Err(seal::device::Error::NotSigned));
    let signature = sign(&clients[0], &unsigned.to_sign());
    let list = unsigned.signed(signature).unwrap();
    let announced = clients[0].member.announce(&room(), &list);
    clients[0].host(announced).unwrap();
    clients[0].flush(&mut server);
    all_read(&server, &mut clients);
    charly_tidies(&mut server, &mut clients);
    assert!(clients[2].member.is_out(&room()));
}
