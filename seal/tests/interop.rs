//! Devices of this crate and devices of mls-rs in one room: the forms on the wire are those of
//! RFC 9420, not those of one library. `SEAL_SCHEDULES` runs more schedules.

mod world;

use mls_rs::client_builder::MlsConfig;
use mls_rs::group::{CommitEffect, ExportedTree, Member, ReceivedMessage};
use mls_rs::identity::basic::{BasicCredential, BasicIdentityProvider};
use mls_rs::identity::{CredentialType, SigningIdentity};
use mls_rs::mls_rules::{CommitOptions, DefaultMlsRules, EncryptionOptions};
use mls_rs::storage_provider::in_memory::InMemoryGroupStateStorage;
use mls_rs::time::MlsTime;
use mls_rs::{
    CipherSuite, Client as MlsClient, ExtensionList, Group, IdentityProvider, MlsMessage,
};
use mls_rs_core::identity::MemberValidationContext;
use mls_rs_crypto_rustcrypto::RustCryptoProvider;
use seal::delivery::Proven;
use seal::device::Name;
use seal::member::Frame;
use seal::{Bundle, Identity, Refusal};
use std::time::Duration;
use world::{Client, Entry, Server, key_of, name, now, room, room_of, said};

const SUITE: CipherSuite = CipherSuite::CURVE25519_AES128;
const CONTENT_FORM: u8 = 1;

/// Takes everybody for anybody, as an attacker does: the writer and members have to look.
#[derive(Clone)]
struct Careless;

impl IdentityProvider for Careless {
    type Error = <BasicIdentityProvider as IdentityProvider>::Error;

    fn validate_member(
        &self,
        _: &SigningIdentity,
        _: Option<MlsTime>,
        _: MemberValidationContext<'_>,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    fn validate_external_sender(
        &self,
        _: &SigningIdentity,
        _: Option<MlsTime>,
        _: Option<&ExtensionList>,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    fn identity(
        &self,
        of: &SigningIdentity,
        extensions: &ExtensionList,
    ) -> Result<Vec<u8>, Self::Error> {
        BasicIdentityProvider.identity(of, extensions)
    }

    fn valid_successor(
        &self,
        _: &SigningIdentity,
        _: &SigningIdentity,
        _: &ExtensionList,
    ) -> Result<bool, Self::Error> {
        Ok(true)
    }

    fn supported_types(&self) -> Vec<CredentialType> {
        BasicIdentityProvider.supported_types()
    }
}

/// A device of mls-rs.
struct Peer<C: MlsConfig> {
    user: Name,
    identity: Identity,
    client: MlsClient<C>,
    storage: InMemoryGroupStateStorage,
    group: Option<Group<C>>,
    cursor: usize,
    since: u64,
    heard: Vec<String>,
}

fn peer(user: &str, seed: u8) -> Peer<impl MlsConfig> {
    device(user, "phone", seed, seed + 100)
}

fn device(user: &str, device: &str, seed: u8, person: u8) -> Peer<impl MlsConfig> {
    let signing = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
    let key = seal::DeviceKey::from_seed(&[seed; 32]);
    let identity = Identity::from_seed(&[person; 32]);
    let certificate = identity.certify(name(user), name(device), &key);
    let credential = BasicCredential::new(certificate.encode()).into_credential();
    let public = key.public().to_vec().into();
    let options = CommitOptions::new()
        .with_path_required(true)
        .with_ratchet_tree_extension(false)
        .with_allow_external_commit(true);
    let rules = DefaultMlsRules::new()
        .with_commit_options(options)
        .with_encryption_options(EncryptionOptions::default());
    let storage = InMemoryGroupStateStorage::default();
    let client = MlsClient::builder()
        .group_state_storage(storage.clone())
        .crypto_provider(RustCryptoProvider::default())
        .identity_provider(Careless)
        .mls_rules(rules)
        .key_package_lifetime(Duration::from_secs(84 * 86_400))
        .signing_identity(
            SigningIdentity::new(credential, public),
            signing.to_keypair_bytes().to_vec().into(),
            SUITE,
        )
        .build();
    Peer {
        user: name(user),
        identity,
        client,
        storage,
        group: None,
        cursor: 0,
        since: 0,
        heard: Vec::new(),
    }
}

impl<C: MlsConfig> Peer<C> {
    fn proven(&self) -> Proven {
        Proven {
            user: self.user.clone(),
            identity: self.identity.public(),
        }
    }

    fn key_package(&self) -> Vec<u8> {
        let made = self.client.generate_key_package_message(
            ExtensionList::default(),
            ExtensionList::default(),
            None,
        );
        made.unwrap().to_bytes().unwrap()
    }

    fn is_in(&self) -> bool {
        self.group.is_some()
    }

    /// It is in, and no change of its own is on its way.
    fn is_free(&self) -> bool {
        let group = self.group.as_ref();
        group.is_some_and(|group| !group.has_pending_commit())
    }

    fn code(&self) -> Vec<u8> {
        self.group
            .as_ref()
            .unwrap()
            .epoch_authenticator()
            .unwrap()
            .to_vec()
    }

    fn welcome(&mut self, server: &mut Server) {
        let waiting = server.waiting.remove(&key_of(&self.user, &name("phone")));
        if let Some(waiting) = waiting {
            let welcome = MlsMessage::from_bytes(&waiting.admission.welcome).unwrap();
            let tree = ExportedTree::from_bytes(&waiting.admission.tree).unwrap();
            let (group, _) = self.client.join_group(Some(tree), &welcome, None).unwrap();
            self.since = group.current_epoch();
            self.group = Some(group);
            self.cursor = waiting.after;
            self.save();
        }
    }

    fn save(&mut self) {
        self.group.as_mut().unwrap().write_to_storage().unwrap();
    }

    /// Nothing of a group is left when the device comes into it again.
    fn forget(&mut self) {
        if let Some(group) = self.group.take() {
            self.storage.delete_group(group.group_id());
        }
    }

    /// An external commit, in the place of somebody.
    fn external_commit(
        &self,
        server: &Server,
        is_replaced: impl Fn(&Member) -> bool,
    ) -> (Group<C>, Bundle) {
        let (group_info, tree) = server.delivery().reentry();
        let info = MlsMessage::from_bytes(&group_info).unwrap();
        let tree = ExportedTree::from_bytes(&tree).unwrap();
        let mut builder = self.client.external_commit_builder().unwrap();
        let roster = tree.roster().members();
        if let Some(before) = roster.iter().find(|one| is_replaced(one)) {
            builder = builder.with_removal(before.index);
        }
        let (group, commit) = builder.with_tree_data(tree).build(info).unwrap();
        let info = group.group_info_message_allowing_ext_commit(false).unwrap();
        let bundle = Bundle {
            commit: commit.to_bytes().unwrap(),
            welcome: None,
            group_info: info.to_bytes().unwrap(),
        };
        (group, bundle)
    }

    /// Comes in, or back, by itself.
    fn rejoin(&mut self, server: &mut Server) {
        let own = self.client.signing_identity().unwrap().0.clone();
        let (group, bundle) = self.external_commit(server, |one| one.signing_identity == own);
        let frame = Frame::Change {
            room: room(),
            bundle,
        };
        server.take(&self.proven(), &name("phone"), &frame).unwrap();
        self.forget();
        self.since = group.current_epoch();
        self.group = Some(group);
        self.cursor = server.journal.len();
        self.save();
    }

    /// A commit, which may lose.
    fn change(&mut self, server: &mut Server, add: Option<Vec<u8>>, remove: Option<&Name>) -> bool {
        let group = self.group.as_mut().unwrap();
        let index = remove.and_then(|user| index_of(group, user));
        let mut builder = group.commit_builder();
        if let Some(package) = add {
            builder = builder
                .add_member(MlsMessage::from_bytes(&package).unwrap())
                .unwrap();
        }
        if let Some(index) = index {
            builder = builder.remove_member(index).unwrap();
        }
        let made = builder.build().unwrap();
        let bundle = Bundle {
            commit: made.commit_message.to_bytes().unwrap(),
            welcome: made
                .welcome_messages
                .first()
                .map(|one| one.to_bytes().unwrap()),
            group_info: made.external_commit_group_info.unwrap().to_bytes().unwrap(),
        };
        let frame = Frame::Change {
            room: room(),
            bundle,
        };
        let taken = server.take(&self.proven(), &name("phone"), &frame);
        if let Err(refusal) = &taken {
            assert_eq!(refusal.code(), "stale_epoch", "{refusal}");
            self.group.as_mut().unwrap().clear_pending_commit();
        }
        taken.is_ok()
    }

    fn say(&mut self, server: &mut Server, text: &str) {
        let group = self.group.as_mut().unwrap();
        let content = [&[CONTENT_FORM], text.as_bytes()].concat();
        let sent = group
            .encrypt_application_message(&content, Vec::new())
            .unwrap();
        let frame = Frame::Message {
            room: room(),
            bytes: sent.to_bytes().unwrap(),
        };
        self.save();
        server.take(&self.proven(), &name("phone"), &frame).unwrap();
    }

    fn read(&mut self, server: &Server) {
        while let Some(entry) = server.journal.get(self.cursor) {
            self.cursor += 1;
            let Some(group) = &mut self.group else {
                continue;
            };
            let mut is_removed = false;
            match entry {
                Entry::Founded(_) | Entry::Devices(_) => {}
                Entry::Message { from, .. } if *from == self.user => {}
                // The writer has taken it, so it is its own: what loses is cleared at once.
                Entry::Commit(_) if group.has_pending_commit() => {
                    group.apply_pending_commit().unwrap();
                }
                Entry::Message { bytes, .. } | Entry::Commit(bytes) | Entry::Leave(bytes) => {
                    let message = MlsMessage::from_bytes(bytes).unwrap();
                    let epoch = message.epoch().unwrap();
                    let oldest = match entry {
                        Entry::Message { .. } => self.since,
                        _ => group.current_epoch(),
                    };
                    if epoch < oldest {
                        continue;
                    }
                    match group.process_incoming_message(message).unwrap() {
                        ReceivedMessage::ApplicationMessage(said) => {
                            let text = String::from_utf8(said.data()[1..].to_vec());
                            self.heard.push(text.unwrap());
                        }
                        ReceivedMessage::Commit(commit) => {
                            is_removed = matches!(commit.effect, CommitEffect::Removed { .. });
                        }
                        ReceivedMessage::Proposal(_) => {}
                        other => panic!("{other:?}"),
                    }
                }
            }
            match is_removed {
                true => self.forget(),
                false => self.save(),
            }
        }
    }
}

fn index_of<C: MlsConfig>(group: &Group<C>, user: &Name) -> Option<u32> {
    let members = group.roster().members();
    let found = members.iter().find(|one| is_of(one, user));
    found.map(|one| one.index)
}

fn is_of(member: &Member, user: &Name) -> bool {
    let credential = member.signing_identity.credential.as_basic().unwrap();
    let at = 3 + user.as_str().len();
    credential.identifier.get(3..at) == Some(user.as_str().as_bytes())
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// Harry and charly are devices of this crate, peter and paula of mls-rs.
fn run(seed: u64) {
    let mut random = Random(seed.wrapping_mul(7919) + 1);
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    let mut peers = [peer("peter", 50), peer("paula", 51)];
    clients[0].add(&[peers[0].key_package()]).unwrap();
    clients[0].flush(&mut server);
    peers[0].welcome(&mut server);
    assert!(peers[0].is_in());
    for n in 0..30 {
        let (ours, theirs) = (random.below(2), random.below(2));
        let text = format!("message {n}");
        match random.below(8) {
            0 if clients[ours].send(&text).is_ok() => flush(&mut clients[ours], &mut server),
            1 if peers[theirs].is_in() => {
                peers[theirs].read(&server);
                if peers[theirs].is_in() {
                    peers[theirs].say(&mut server, &text);
                }
            }
            2 if clients[ours].renew().is_ok() => flush(&mut clients[ours], &mut server),
            3 if peers[theirs].is_free() => {
                peers[theirs].change(&mut server, None, None);
            }
            4 if !peers[theirs].is_in() => {
                if clients[ours].add(&[peers[theirs].key_package()]).is_ok() {
                    flush(&mut clients[ours], &mut server);
                    peers[theirs].welcome(&mut server);
                }
            }
            5 => {
                let gone = peers[theirs].user.clone();
                if clients[ours].remove(&gone).is_ok() {
                    flush(&mut clients[ours], &mut server);
                }
            }
            6 if peers[theirs].is_in() => peers[theirs].read(&server),
            7 if peers[theirs].is_in() => {
                peers[theirs].read(&server);
                if peers[theirs].is_in() {
                    peers[theirs].rejoin(&mut server);
                }
            }
            _ => drop(clients[ours].read(&server)),
        }
    }
    for _ in 0..3 {
        for client in &mut clients {
            client.read(&server);
            flush(client, &mut server);
        }
        for peer in &mut peers {
            peer.read(&server);
        }
    }
    let codes: Vec<_> = clients.iter().map(Client::code).collect();
    assert_eq!(codes[0], codes[1]);
    let mut peers_in = Vec::new();
    for peer in &mut peers {
        if peer.is_in() {
            peers_in.push(peer);
        }
    }
    let authenticators: Vec<_> = peers_in.iter().map(|peer| peer.code()).collect();
    assert!(authenticators.windows(2).all(|pair| pair[0] == pair[1]));
    // All that are in read each other.
    clients[0].send("from harry").unwrap();
    flush(&mut clients[0], &mut server);
    assert_eq!(said(&clients[1].read(&server)), ["harry: from harry"]);
    for peer in &mut peers_in {
        peer.read(&server);
        assert!(peer.heard.iter().any(|text| text == "from harry"));
        peer.say(&mut server, "from mls-rs");
        let expected = format!("{}: from mls-rs", peer.user);
        for client in &mut clients {
            let shown = said(&client.read(&server));
            assert_eq!(shown.last(), Some(&expected), "{shown:?}");
        }
    }
}

/// Sends all; what loses is made again when the winner is read.
fn flush(client: &mut Client, server: &mut Server) {
    while let Some(answer) = client.flush_one(server) {
        if let Err(refusal) = answer {
            assert_eq!(refusal.code(), "stale_epoch", "{refusal}");
            client.read(server);
        }
    }
}

#[test]
fn devices_of_two_implementations_share_a_room() {
    let count = std::env::var("SEAL_SCHEDULES")
        .ok()
        .map(|text| text.parse().unwrap());
    for seed in 0..count.unwrap_or(10) {
        let ran = std::panic::catch_unwind(|| run(seed));
        ran.unwrap_or_else(|_| panic!("schedule {seed} failed"));
    }
}

#[test]
fn nobody_comes_in_in_the_place_of_somebody_else() {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    let mut peter = peer("peter", 50);
    clients[0].add(&[peter.key_package()]).unwrap();
    clients[0].flush(&mut server);
    peter.welcome(&mut server);
    clients[0].read(&server);
    // Peter's second device is entitled to come in, but not to throw out charly.
    let charly = name("charly");
    let laptop = device("peter", "laptop", 51, 150);
    let (_, bundle) = laptop.external_commit(&server, |one| is_of(one, &charly));
    let decided = server.delivery().decide(&bundle, &peter.proven(), now());
    assert_eq!(decided.map(drop), Err(Refusal::OtherSender));
    // Nor do members let it, whatever the server says.
    clients[0].does_not_take(&bundle.commit);
}
