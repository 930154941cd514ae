//! Who pretends to be somebody, comes in uninvited, or stays when it should be gone.

use crate::bundle_of;
use crate::raw_external_commit;
use crate::refused;
use crate::stranger;
use crate::world::Client;
use crate::world::Entry;
use crate::world::key_of;
use crate::world::name;
use crate::world::now;
use crate::world::people_of;
use crate::world::room;
use crate::world::room_of;
use crate::world::room_with;
use crate::world::said;
use seal::Delivery;
use seal::DeviceKey;
use seal::Member;
use seal::Refusal;
use seal::member::Agreed;
use seal::member::Error;
use seal::member::Event;
use seal::member::Frame;
use seal::member::Shown;
use seal::rules::JoinPolicy;

/// A key package of a device that knows credentials of this kind alone.
fn package_with(client: &Client, credential: openmls::prelude::CredentialType) -> Vec<u8> {
    use openmls::prelude::{
        BasicCredential, Capabilities, Ciphersuite, CredentialWithKey, KeyPackage, MlsMessageOut,
    };
    let capabilities = Capabilities::new(None, None, None, None, Some(&[credential]));
    let with_key = CredentialWithKey {
        credential: BasicCredential::new(client.member.certificate().encode()).into(),
        signature_key: client.key.public().as_slice().into(),
    };
    let made = KeyPackage::builder()
        .leaf_node_capabilities(capabilities)
        .build(
            Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519,
            &openmls_rust_crypto::OpenMlsRustCrypto::default(),
            &client.key,
            with_key,
        )
        .unwrap();
    let message = MlsMessageOut::from(made.key_package().clone());
    message.to_bytes().unwrap()
}

#[test]
fn a_device_that_knows_no_certificates_is_not_added() {
    use openmls::prelude::CredentialType;
    let ann = Client::new("ann", "phone", 10);
    let (_, mut clients) = room_of(&["harry"]);
    let check = |credential| {
        let package = package_with(&ann, credential);
        let checked = Delivery::check_key_package(&package, &ann.proven(), now());
        (checked.map(drop), package)
    };
    let (checked, _) = check(CredentialType::Basic);
    assert_eq!(checked, Ok(()));
    let (checked, package) = check(CredentialType::X509);
    // In the word of the writer, which does not take it either.
    assert_eq!(checked.unwrap_err().code(), "bad_bundle");
    assert!(clients[0].add(&[package]).is_err());
}

#[test]
fn nobody_else_becomes_harry_in_a_room_that_harry_is_in() {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    let impostor = {
        let mut impostor = Client::new("harry", "tablet", 66);
        impostor.publish(1);
        impostor.flush(&mut server);
        impostor
    };
    let package = server.claim(&impostor.user, &impostor.device);
    let refused = clients[1].add(&[package]).unwrap_err();
    assert_eq!(refused, Error::OtherKey);
}

#[test]
fn nobody_else_becomes_harry_in_an_open_room() {
    let (server, _clients) = room_with(JoinPolicy::Open, &["harry", "charly"]);
    let impostor = Client::new("harry", "tablet", 66);
    // A client that looks for itself does not even try.
    let (group_info, tree) = server.delivery().reentry();
    let step = Client::new("harry", "tablet", 66).member.rejoin(
        &room(),
        (&group_info, &tree),
        Agreed::Nothing,
        now(),
    );
    assert_eq!(step.map(drop), Err(Error::OtherKey));
    let bundle = raw_external_commit(&impostor, &group_info, &tree, false);
    assert_eq!(
        refused(&server, &bundle, &impostor.proven()),
        Refusal::OtherIdentity
    );
    let mut newcomer = Client::new("ann", "phone", 10);
    newcomer.rejoin(&server).unwrap();
    let bundle = bundle_of(&mut newcomer);
    assert!(
        server
            .delivery()
            .decide(&bundle, &newcomer.proven(), now())
            .is_ok()
    );
}

#[test]
fn a_stranger_does_not_come_in_by_itself() {
    let (server, _clients) = room_of(&["harry", "charly"]);
    let mut mallory = Client::new("mallory", "phone", 66);
    mallory.rejoin(&server).unwrap();
    let bundle = bundle_of(&mut mallory);
    assert_eq!(
        refused(&server, &bundle, &mallory.proven()),
        Refusal::NotAMember
    );
}

#[test]
fn a_certificate_of_somebody_elses_device_is_of_no_use() {
    let (mut server, _clients) = room_of(&["harry", "charly"]);
    let harry = Client::new("harry", "phone", 1);
    let stolen = harry.member.certificate().encode();
    let thief = DeviceKey::from_seed(&[66; 32]);
    let decoded = seal::Certificate::decode(&stolen, &thief.public());
    assert_eq!(decoded, Err(seal::device::Error::NotSigned));
    // Nor can a key package be published under another's session.
    let mut mallory = Client::new("mallory", "phone", 66);
    mallory.publish(1);
    let frame = mallory.outbox.pop_front().unwrap();
    let refused = server.take(&harry.proven(), &name("phone"), &frame);
    assert_eq!(refused, Err(Refusal::OtherSender));
}

#[test]
fn a_changed_key_package_is_refused() {
    let (mut server, mut clients) = room_of(&["harry"]);
    let ann = stranger(&mut server, "ann", 10);
    let package = server.claim(&ann.user, &ann.device);
    for at in (0..package.len()).step_by(3) {
        let mut changed = package.clone();
        changed[at] ^= 1;
        assert!(
            Delivery::check_key_package(&changed, &ann.proven(), now()).is_err(),
            "{at}"
        );
        assert!(clients[0].add(&[changed]).is_err(), "{at}");
    }
    clients[0].add(&[package]).unwrap();
}

#[test]
fn a_key_package_counts_only_for_its_time() {
    let day = 86_400;
    for (time, expected) in [
        (now(), Ok(())),
        (now() + 50 * day, Ok(())),
        (now() + 60 * day, Err(Refusal::Lifetime)),
        (now() - day, Err(Refusal::Lifetime)),
    ] {
        let (mut server, mut clients) = room_of(&["harry"]);
        let ann = stranger(&mut server, "ann", 10);
        let package = server.claim(&ann.user, &ann.device);
        let checked = Delivery::check_key_package(&package, &ann.proven(), time).map(drop);
        assert_eq!(checked, expected);
        let by_member = clients[0].member.add(
            &room(),
            &people_of(std::slice::from_ref(&package)),
            std::slice::from_ref(&package),
            time,
        );
        assert_eq!(by_member.is_ok(), expected.is_ok());
        // A member that does not look is stopped by the writer.
        if expected.is_err() {
            clients[0].add(&[package]).unwrap();
            let bundle = bundle_of(&mut clients[0]);
            let decided = server
                .delivery()
                .decide(&bundle, &clients[0].proven(), time);
            assert_eq!(decided.map(drop), expected);
        }
    }
}

#[test]
fn who_was_removed_reads_nothing_more_and_says_nothing_more() {
    let (mut server, mut clients) = room_of(&["harry", "charly", "ann"]);
    let before = clients[2].shelf.clone();
    clients[2].send("still here").unwrap();
    let late = clients[2].outbox.pop_back().unwrap();
    let ann = name("ann");
    clients[0].remove(&ann).unwrap();
    clients[0].flush(&mut server);
    clients[0].read(&server);
    clients[0].send("among us").unwrap();
    clients[0].flush(&mut server);
    let by = clients[2].proven();
    assert_eq!(
        server.take(&by, &name("phone"), &late),
        Err(Refusal::NotAMember)
    );
    // It keeps its state, and does not process the commit that removes it.
    let mut holdout = Member::restore(before).unwrap();
    let Some(Entry::Message { bytes, .. }) = server.journal.last() else {
        panic!("no message");
    };
    let unread = holdout.receive(&room(), Event::Message(bytes)).map(drop);
    assert_eq!(unread, Err(Error::Gap));
    assert!(clients[2].read(&server).contains(&clients[0].removal()));
    assert_eq!(clients[2].send("hello?"), Err(Error::NotIn));
    clients[2].rejoin(&server).unwrap();
    let bundle = bundle_of(&mut clients[2]);
    assert_eq!(refused(&server, &bundle, &by), Refusal::NotAMember);
}

#[test]
fn who_joins_reads_nothing_from_before() {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    clients[0].send("just between us").unwrap();
    clients[0].flush(&mut server);
    let mut ann = stranger(&mut server, "ann", 10);
    let package = server.claim(&ann.user, &ann.device);
    clients[0].add(&[package]).unwrap();
    clients[0].flush(&mut server);
    ann.welcome(&mut server);
    ann.cursor = 0;
    let shown = ann.read(&server);
    assert_eq!(said(&shown), Vec::<String>::new());
    assert!(shown.contains(&Shown::Unreadable("it is from before this device came")));
}

#[test]
fn nobody_founds_a_room_in_another_name() {
    let mut harry = Client::new("harry", "phone", 1);
    let step = harry
        .member
        .found(&room(), JoinPolicy::Invited, &[7; 16], now());
    harry.host(step).unwrap();
    let Some(Frame::Found { founding, .. }) = harry.outbox.pop_back() else {
        panic!("no founding");
    };
    let mallory = Client::new("mallory", "phone", 66).proven();
    let found = |by| Delivery::found(room(), &founding, by, now()).map(drop);
    assert_eq!(found(&mallory), Err(Refusal::OtherSender));
    assert_eq!(found(&harry.proven()), Ok(()));
    for at in 0..founding.group_info.len() {
        let mut forged = founding.clone();
        forged.group_info[at] ^= 1;
        assert!(
            Delivery::found(room(), &forged, &harry.proven(), now()).is_err(),
            "{at}"
        );
    }
}

#[test]
fn nobody_leaves_for_somebody_else() {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    let step = clients[1].member.leave(&room());
    clients[1].host(step).unwrap();
    let Some(Frame::Leave { bytes, .. }) = clients[1].outbox.pop_back() else {
        panic!("no request");
    };
    let delivery = server.delivery.as_mut().unwrap();
    assert_eq!(
        delivery.decide_leave(&bytes, &clients[0].proven()),
        Err(Refusal::OtherSender)
    );
    let mut only_members_noticed = 0;
    for at in 0..bytes.len() {
        let mut forged = bytes.clone();
        forged[at] ^= 1;
        let by = clients[1].proven();
        // The writer cannot check the tag of membership; members can.
        if delivery.decide_leave(&forged, &by).is_ok() {
            let step = clients[0]
                .member
                .receive(&room(), Event::Leave(&forged))
                .unwrap();
            assert!(step.shown.is_empty(), "byte {at}");
            only_members_noticed += 1;
        }
    }
    // Its 32 bytes are all that the writer has to leave to members.
    assert_eq!(only_members_noticed, 32);
}

#[test]
fn a_device_is_in_a_room_once() {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    let charly = (clients[1].user.clone(), clients[1].device.clone());
    let package = server.claim(&charly.0, &charly.1);
    assert_eq!(clients[0].add(&[package]), Err(Error::NoChange));
    // The same device with another key.
    let mut twin = Client::new("charly", "phone", 2);
    twin.key = DeviceKey::from_seed(&[77; 32]);
    twin.forget();
    let step = twin.member.publish(0, now()).unwrap();
    let [Frame::Publish { last_resort, .. }] = &step.frames[..] else {
        panic!("no key packages");
    };
    let twice = Error::Refused(Refusal::Twice);
    assert_eq!(
        clients[0].add(std::slice::from_ref(last_resort)),
        Err(twice)
    );
    let (group_info, tree) = server.delivery().reentry();
    let bundle = raw_external_commit(&twin, &group_info, &tree, false);
    assert_eq!(refused(&server, &bundle, &twin.proven()), Refusal::Twice);
}

#[test]
fn a_welcome_for_another_device_changes_nothing() {
    let (mut server, mut clients) = room_of(&["harry"]);
    let ann = stranger(&mut server, "ann", 10);
    let mut bob = stranger(&mut server, "bob", 11);
    let package = server.claim(&ann.user, &ann.device);
    clients[0].add(&[package]).unwrap();
    clients[0].flush(&mut server);
    let stolen = server
        .waiting
        .remove(&key_of(&ann.user, &ann.device))
        .unwrap();
    let shelf = bob.shelf.clone();
    let (welcome, tree) = (&stolen.admission.welcome, &stolen.admission.tree);
    assert!(bob.member.join(&room(), welcome, tree, now()).is_err());
    let step = bob.member.publish(0, now()).unwrap();
    assert_eq!(step.changes.after(), shelf.revision());
    // Nor does a tree of another epoch fit.
    let mut ann = ann;
    clients[0].read(&server);
    clients[0].renew().unwrap();
    clients[0].flush(&mut server);
    let (_, newer) = server.delivery().reentry();
    assert!(ann.member.join(&room(), welcome, &newer, now()).is_err());
    let step = ann.member.join(&room(), welcome, tree, now());
    ann.host(step).unwrap();
    ann.cursor = stolen.after;
    ann.read(&server);
    clients[0].read(&server);
    assert_eq!(ann.code(), clients[0].code());
}

#[test]
fn a_stranger_that_the_server_lets_in_is_not_let_in_by_members() {
    let (server, mut clients) = room_of(&["harry", "charly"]);
    let mallory = Client::new("mallory", "phone", 66);
    let (group_info, tree) = server.delivery().reentry();
    let bundle = raw_external_commit(&mallory, &group_info, &tree, false);
    clients[0].does_not_take(&bundle.commit);
    assert!(!clients[0].member.is_in(&room()));
}

#[test]
fn whose_name_it_is_shows_when_it_becomes_somebody_elses() {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    let harry = clients[0].identity.public();
    let gone = name("harry");
    clients[1].remove(&gone).unwrap();
    clients[1].flush(&mut server);
    clients[1].read(&server);
    let other = stranger(&mut server, "harry", 66);
    let package = server.claim(&other.user, &other.device);
    clients[1].add(&[package]).unwrap();
    clients[1].flush(&mut server);
    let shown = clients[1].read(&server);
    let expected = Shown::KeyChanged {
        user: name("harry"),
        was: harry,
        is: other.identity.public(),
    };
    assert_eq!(shown[0], expected, "{shown:?}");
}

#[test]
fn who_was_removed_is_not_heard_even_if_the_server_passes_it_on() {
    let (mut server, mut clients) = room_of(&["harry", "charly", "ann"]);
    clients[2].send("still here").unwrap();
    let Some(Frame::Message { bytes, .. }) = clients[2].outbox.pop_back() else {
        panic!("no message");
    };
    let ann = name("ann");
    clients[0].remove(&ann).unwrap();
    clients[0].flush(&mut server);
    clients[1].read(&server);
    let step = clients[1]
        .member
        .receive(&room(), Event::Message(&bytes))
        .unwrap();
    assert_eq!(
        step.shown,
        [Shown::Unreadable("its sender is not in the room any more")]
    );
}
