//! A device of mls-rs, another implementation of MLS, as it must be to come into a sealed room:
//! what it makes and what it understands. Where that goes and comes from, tests decide.

#![allow(dead_code, reason = "each test uses its part")]

use mls_rs::client_builder::MlsConfig;
use mls_rs::group::proposal::Proposal;
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
use seal::{Bundle, Certificate, DeviceKey, Identity};
use std::time::Duration;

const SUITE: CipherSuite = CipherSuite::CURVE25519_AES128;
const CONTENT_FORM: u8 = 1;

/// Takes everybody for anybody, as an attacker does: the writer and members have to look.
#[derive(Clone)]
pub(crate) struct Careless;

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

/// What is in an event of the room.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Heard<'a> {
    Message(&'a [u8]),
    Commit(&'a [u8]),
    Leave(&'a [u8]),
}

/// What it means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Nothing,
    /// Somebody said something; the device is `user/device`.
    Said {
        from: String,
        text: String,
    },
    /// A device wants to go.
    Leaves(String),
    /// This one is not in the group any more.
    Removed,
}

/// A device.
pub(crate) struct Peer<C: MlsConfig> {
    pub(crate) user: Name,
    pub(crate) device: Name,
    pub(crate) identity: Identity,
    pub(crate) client: MlsClient<C>,
    storage: InMemoryGroupStateStorage,
    pub(crate) group: Option<Group<C>>,
    /// The commit that it made, until it is known what became of it.
    pending: Option<Vec<u8>>,
    /// The first epoch that it can read.
    pub(crate) since: u64,
}

pub(crate) fn device(
    user: &str,
    device: &str,
    seed: u8,
    person: [u8; 32],
) -> Peer<impl MlsConfig + use<>> {
    device_of_seed(user, device, [seed; 32], person)
}

pub(crate) fn device_of_seed(
    user: &str,
    device: &str,
    seed: [u8; 32],
    person: [u8; 32],
) -> Peer<impl MlsConfig + use<>> {
    let name = |text: &str| Name::parse(text).unwrap();
    let signing = ed25519_dalek::SigningKey::from_bytes(&seed);
    let key = DeviceKey::from_seed(&seed);
    let identity = Identity::from_seed(&person);
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
        device: name(device),
        identity,
        client,
        storage,
        group: None,
        pending: None,
        since: 0,
    }
}

impl<C: MlsConfig> Peer<C> {
    pub(crate) fn proven(&self) -> Proven {
        Proven {
            user: self.user.clone(),
            identity: self.identity.public(),
        }
    }

    /// Makes a group of room aaa at this time (seconds since 1970), open or not.
    pub(crate) fn found(&mut self, is_open: bool, at: u64) {
        let id = [&[0, 3][..], b"aaa", &[u8::from(is_open)], &[7; 16]].concat();
        let (none, at) = (ExtensionList::default, time(at));
        let made = self
            .client
            .create_group_with_id(id, none(), none(), Some(at));
        self.adopt(made.unwrap());
    }

    /// Adds these at a time, and goes on in the epoch that this makes; the welcome.
    pub(crate) fn adds(&mut self, packages: &[Vec<u8>], at: u64) -> Vec<u8> {
        let group = self.group.as_mut().unwrap();
        let mut builder = group.commit_builder().commit_time(time(at));
        for package in packages {
            let package = MlsMessage::from_bytes(package).unwrap();
            builder = builder.add_member(package).unwrap();
        }
        let made = builder.build().unwrap();
        group.apply_pending_commit().unwrap();
        made.welcome_messages[0].to_bytes().unwrap()
    }

    /// The group info and the tree of its epoch.
    pub(crate) fn state(&self) -> (Vec<u8>, Vec<u8>) {
        let group = self.group.as_ref().unwrap();
        let info = group.group_info_message_allowing_ext_commit(false).unwrap();
        let tree = group.export_tree().to_bytes().unwrap();
        (info.to_bytes().unwrap(), tree)
    }

    pub(crate) fn key_package(&self) -> Vec<u8> {
        let made = self.client.generate_key_package_message(
            ExtensionList::default(),
            ExtensionList::default(),
            None,
        );
        made.unwrap().to_bytes().unwrap()
    }

    pub(crate) fn is_in(&self) -> bool {
        self.group.is_some()
    }

    /// It is in, and no change of its own is on its way.
    pub(crate) fn is_free(&self) -> bool {
        self.group.is_some() && self.pending.is_none()
    }

    /// Who is in the group, as `user/device`.
    pub(crate) fn members(&self) -> Vec<String> {
        let group = self.group.iter();
        let members = group.flat_map(|group| group.roster().members());
        members.map(|one| name_of(&one)).collect()
    }

    /// Group id, epoch and epoch authenticator: what a room code is made of.
    pub(crate) fn agreed(&self) -> (Vec<u8>, u64, Vec<u8>) {
        let group = self.group.as_ref().unwrap();
        let authenticator = group.epoch_authenticator().unwrap().to_vec();
        (
            group.group_id().to_vec(),
            group.current_epoch(),
            authenticator,
        )
    }

    /// Comes in by a welcome. One that it cannot open is of before.
    pub(crate) fn join(&mut self, welcome: &[u8], tree: &[u8]) -> bool {
        let welcome = MlsMessage::from_bytes(welcome).unwrap();
        let tree = ExportedTree::from_bytes(tree).unwrap();
        let joined = self.client.join_group(Some(tree), &welcome, None);
        let is_joined = joined.is_ok();
        if let Ok((group, _)) = joined {
            self.adopt(group);
        }
        is_joined
    }

    /// It is in this group from now on.
    pub(crate) fn adopt(&mut self, group: Group<C>) {
        self.forget();
        self.since = group.current_epoch();
        self.group = Some(group);
        self.save();
    }

    pub(crate) fn save(&mut self) {
        self.group.as_mut().unwrap().write_to_storage().unwrap();
    }

    /// Nothing of a group is left when the device comes into it again.
    pub(crate) fn forget(&mut self) {
        self.pending = None;
        if let Some(group) = self.group.take() {
            self.storage.delete_group(group.group_id());
        }
    }

    /// An external commit, in the place of somebody.
    pub(crate) fn external_commit(
        &self,
        (group_info, tree): (&[u8], &[u8]),
        is_replaced: impl Fn(&Member) -> bool,
    ) -> (Group<C>, Bundle) {
        let info = MlsMessage::from_bytes(group_info).unwrap();
        let tree = ExportedTree::from_bytes(tree).unwrap();
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

    /// The same, in its own place.
    pub(crate) fn entry(&self, state: (&[u8], &[u8])) -> (Group<C>, Bundle) {
        let own = self.client.signing_identity().unwrap().0.clone();
        self.external_commit(state, |one| one.signing_identity == own)
    }

    /// A commit, which may lose.
    pub(crate) fn change(
        &mut self,
        add: Option<&[u8]>,
        remove: impl Fn(&Member) -> bool,
    ) -> Bundle {
        let group = self.group.as_mut().unwrap();
        let own = group.current_member_index();
        let members = group.roster().members();
        let gone = members.iter().find(|one| one.index != own && remove(one));
        let mut builder = group.commit_builder();
        if let Some(package) = add {
            builder = builder
                .add_member(MlsMessage::from_bytes(package).unwrap())
                .unwrap();
        }
        if let Some(gone) = gone {
            builder = builder.remove_member(gone.index).unwrap();
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
        self.pending = Some(bundle.commit.clone());
        bundle
    }

    /// The commit that it made was refused.
    pub(crate) fn refused(&mut self) {
        if self.pending.take().is_some()
            && let Some(group) = &mut self.group
        {
            group.clear_pending_commit();
        }
    }

    /// Asks to be removed. It is out when that is placed.
    pub(crate) fn leave(&mut self) -> Vec<u8> {
        let group = self.group.as_mut().unwrap();
        let own = group.current_member_index();
        let asked = group.propose_remove(own, Vec::new()).unwrap();
        group.clear_proposal_cache();
        asked.to_bytes().unwrap()
    }

    pub(crate) fn encrypt(&mut self, text: &str) -> Vec<u8> {
        let group = self.group.as_mut().unwrap();
        let content = [&[CONTENT_FORM], text.as_bytes()].concat();
        let sent = group
            .encrypt_application_message(&content, Vec::new())
            .unwrap();
        let bytes = sent.to_bytes().unwrap();
        self.save();
        bytes
    }

    /// Takes the next event, which is not a message of its own.
    pub(crate) fn take(&mut self, heard: Heard<'_>) -> Told {
        let Some(group) = &mut self.group else {
            return Told::Nothing;
        };
        let (Heard::Message(bytes) | Heard::Commit(bytes) | Heard::Leave(bytes)) = heard;
        let message = MlsMessage::from_bytes(bytes).unwrap();
        let oldest = match heard {
            Heard::Message(_) => self.since,
            _ => group.current_epoch(),
        };
        if message.epoch().unwrap() < oldest {
            return Told::Nothing;
        }
        if matches!(heard, Heard::Commit(_)) {
            match self.pending.take() {
                Some(own) if own == bytes => {
                    group.apply_pending_commit().unwrap();
                    self.save();
                    return Told::Nothing;
                }
                Some(_) => group.clear_pending_commit(),
                None => {}
            }
        }
        let told = match group.process_incoming_message(message).unwrap() {
            ReceivedMessage::ApplicationMessage(said) => {
                let text = String::from_utf8(said.data()[1..].to_vec());
                let text = text.unwrap();
                match group.member_at_index(said.sender_index) {
                    Some(sender) => Told::Said {
                        from: name_of(&sender),
                        text,
                    },
                    None => Told::Nothing,
                }
            }
            ReceivedMessage::Commit(commit) => match commit.effect {
                CommitEffect::Removed { .. } => Told::Removed,
                _ => Told::Nothing,
            },
            ReceivedMessage::Proposal(proposed) => {
                // No commit refers to what another member may not have.
                group.clear_proposal_cache();
                match proposed.proposal {
                    Proposal::Remove(remove) => {
                        let gone = group.member_at_index(remove.to_remove()).unwrap();
                        Told::Leaves(name_of(&gone))
                    }
                    other => panic!("{other:?}"),
                }
            }
            other => panic!("{other:?}"),
        };
        match told {
            Told::Removed => self.forget(),
            _ => self.save(),
        }
        told
    }
}

/// Seconds since 1970.
fn time(at: u64) -> MlsTime {
    MlsTime::from_duration_since_epoch(Duration::from_secs(at))
}

/// As `user/device`.
pub(crate) fn name_of(member: &Member) -> String {
    let one = certificate(member);
    format!("{}/{}", one.user(), one.device())
}

pub(crate) fn is_of(member: &Member, user: &Name) -> bool {
    certificate(member).user() == user
}

fn certificate(member: &Member) -> Certificate {
    let identity = &member.signing_identity;
    let credential = identity.credential.as_basic().unwrap();
    Certificate::decode(&credential.identifier, &identity.signature_key).unwrap()
}
