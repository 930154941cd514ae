//! The writer's part: the public state of a room's group. It reads no message, and holds no secret;
//! it lets one commit make each epoch, and only one that members can process, as far as can be seen
//! from outside. What cannot be seen (the confirmation tag, what paths decrypt to) members report.
//!
//! `decide` functions may refuse and change nothing, `apply` functions never fail: a room's state
//! is rebuilt from its journal by deciding and applying again, or from a snapshot.

mod snapshot;

use crate::crypto::Crypto;
use crate::device::{Certificate, List, Name};
use crate::direct;
use crate::entry::Entry;
use crate::identity::Public;
use crate::lists::Lists;
use crate::mls::{self, read, read_tree};
use crate::rules::{
    Before, Bundle, EPOCHS_BACK, Founding, JoinPolicy, MOST_MESSAGE, Refusal, Review,
    check_group_info, check_proposals, counts, may_enter, review,
};
use openmls::prelude::{
    ContentType, MlsMessageBodyIn, ProcessedMessageContent, Proposal, ProposalStore, PublicGroup,
    PublicMessageIn, Sender, StagedCommit, Verifiable as _, group_info::VerifiableGroupInfo,
    tls_codec::Serialize as _,
};
use openmls::treesync::LeafNodeSource;
use openmls_rust_crypto::MemoryStorage;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Who does something, as its session has proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// The name in the room.
    pub user: Name,
    /// The key that was proven.
    pub identity: Public,
}

/// The public state of a group.
pub struct Delivery {
    room: Name,
    policy: JoinPolicy,
    crypto: Crypto,
    storage: MemoryStorage,
    group: PublicGroup,
    group_info: Vec<u8>,
    members: BTreeMap<u32, Certificate>,
    leaving: BTreeSet<u32>,
    reported: BTreeSet<u32>,
    lists: Lists,
    entry: Entry,
    /// Leaves of people who came in so lately that messages of epochs before are still taken: in
    /// which epoch they came.
    since: BTreeMap<u32, u64>,
}

/// A commit that was found to be good, and makes the next epoch.
pub struct Accepted {
    staged: Box<StagedCommit>,
    review: Review,
    welcome: Option<Vec<u8>>,
    group_info: Vec<u8>,
    /// References of the key packages that it uses up.
    pub key_packages: Vec<Vec<u8>>,
}

/// What a commit changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The epoch that it made.
    pub epoch: u64,
    /// Whose device made it.
    pub by: Certificate,
    /// Devices that came.
    pub joined: Vec<Certificate>,
    /// Devices that went.
    pub left: Vec<Certificate>,
    /// For those who were added; kept until they fetch it.
    pub admission: Option<Admission>,
}

/// What a device needs to join: a welcome, and the tree of that epoch, which all of one commit
/// share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// The welcome (MLSMessage).
    pub welcome: Vec<u8>,
    /// The tree of the epoch.
    pub tree: Vec<u8>,
}

impl Delivery {
    /// Seals a room: a group of one, made by whoever may.
    ///
    /// # Errors
    /// The group is not one of this room with its maker alone in it.
    pub fn found(room: Name, founding: &Founding, by: &Proven, now: u64) -> Result<Self, Refusal> {
        founding.check_size()?;
        let (crypto, storage) = (Crypto::default(), MemoryStorage::default());
        let info = read_group_info(&founding.group_info, &crypto)?;
        let policy = mls::join_policy_of(info.group_id().as_slice(), &room)?;
        let is_bare = info.group_context().extensions().iter().next().is_none();
        if info.epoch().as_u64() != 0 || !is_bare {
            return Err(Refusal::OtherGroupInfo);
        }
        let tree = read_tree(&founding.tree)?;
        let made = PublicGroup::from_external(&crypto, &storage, tree, info, ProposalStore::new());
        let (group, _) = made.map_err(|_| Refusal::Invalid("the group info or its tree"))?;
        let leaf = group.treesync().full_leaves().next();
        match leaf.map(|(_, leaf)| leaf.leaf_node_source()) {
            Some(LeafNodeSource::KeyPackage(lifetime)) if counts(lifetime, now) => {}
            _ => return Err(Refusal::Lifetime),
        }
        let members: BTreeMap<_, _> = mls::members(group.treesync())?.into_iter().collect();
        direct::check(&room, policy, members.values())?;
        let mut devices = members.values();
        match (devices.next(), devices.next()) {
            (Some(maker), None) if is_of(maker, by) => {}
            _ => return Err(Refusal::OtherSender),
        }
        Ok(Self {
            room,
            policy,
            crypto,
            storage,
            group,
            group_info: founding.group_info.clone(),
            members,
            leaving: BTreeSet::new(),
            reported: BTreeSet::new(),
            lists: Lists::default(),
            entry: Entry::default(),
            since: BTreeMap::new(),
        })
    }

    /// Who comes in without being added. It is part of the group's id.
    pub fn join_policy(&self) -> JoinPolicy {
        self.policy
    }

    /// The epoch that the group is in.
    pub fn epoch(&self) -> u64 {
        self.group.group_context().epoch().as_u64()
    }

    /// Devices in the group.
    pub fn members(&self) -> impl Iterator<Item = &Certificate> {
        self.members.values()
    }

    /// Devices that asked to leave and are still in.
    pub fn leaving(&self) -> impl Iterator<Item = &Certificate> {
        self.leaving
            .iter()
            .filter_map(|leaf| self.members.get(leaf))
    }

    /// Whether the person of this commit's device still has it. It is asked before a commit is
    /// placed, not in a replay: journals have commits from when nobody asked.
    ///
    /// # Errors
    /// The device was revoked: its person's newest list is without it.
    pub fn check_listed(&self, accepted: &Accepted) -> Result<(), Refusal> {
        match self.lists.allows(&accepted.review.by) {
            true => Ok(()),
            false => Err(Refusal::Unlisted),
        }
    }

    /// The same of a message, which does not say from which device it is: whether its person has
    /// any device in the group that is not revoked.
    ///
    /// # Errors
    /// There is none.
    pub fn check_any_listed(&self, by: &Proven) -> Result<(), Refusal> {
        let mut own = self.members.values().filter(|device| is_of(device, by));
        match own.any(|device| self.lists.allows(device)) {
            true => Ok(()),
            false => Err(Refusal::Unlisted),
        }
    }

    /// Whether some device could not process the commit that made this epoch.
    pub fn is_doubted(&self) -> bool {
        !self.reported.is_empty()
    }

    /// With what a device comes back that lost its state: the group info, and the tree.
    pub fn reentry(&self) -> (Vec<u8>, Vec<u8>) {
        (self.group_info.clone(), self.tree())
    }

    fn tree(&self) -> Vec<u8> {
        let tree = self.group.export_ratchet_tree();
        tree.tls_serialize_detached()
            .expect("a tree that was read can be written")
    }

    /// Whether a bundle makes the next epoch. `now` is the time of the command, in seconds.
    ///
    /// # Errors
    /// Somebody was faster, or the bundle is not one that all members can process and accept.
    pub fn decide(&self, bundle: &Bundle, by: &Proven, now: u64) -> Result<Accepted, Refusal> {
        bundle.check_size(self.members.len())?;
        check_proposals(&bundle.commit)?;
        let (message, sender) = self.handshake(&bundle.commit, ContentType::Commit)?;
        let tag = message.confirmation_tag().cloned();
        let tag = tag.ok_or(Refusal::Invalid("a commit without a confirmation tag"))?;
        self.check_sender(&sender, by)?;
        let processed = self.group.process_message(&self.crypto, message);
        let processed = processed.map_err(|_| Refusal::Invalid("the commit"))?;
        let ProcessedMessageContent::StagedCommitMessage(staged) = processed.into_content() else {
            return Err(Refusal::Malformed);
        };
        let leaf = match &sender {
            Sender::Member(leaf) => *leaf,
            Sender::NewMemberCommit => {
                let free = self.group.ext_commit_sender_index(&staged);
                free.map_err(|_| Refusal::Invalid("the commit"))?
            }
            _ => return Err(Refusal::OtherSender),
        };
        let before = Before {
            room: &self.room,
            members: &self.members,
            policy: self.policy,
            lists: &self.lists,
        };
        let review = review(
            &staged,
            &sender,
            leaf.u32(),
            &before,
            Some(now),
            &self.crypto,
        )?;
        if !is_of(&review.by, by) {
            return Err(Refusal::OtherSender);
        }
        self.check_entry(by, now)?;
        let key_packages = self.check_welcome(&staged, bundle.welcome.as_deref())?;
        let mut expected = serialized(staged.group_context());
        let info = read_group_info(&bundle.group_info, &self.crypto)?;
        expected.extend(serialized(info.extensions()));
        expected.extend(serialized(&tag));
        expected.extend(leaf.u32().to_be_bytes());
        if !serialized(&info).starts_with(&expected) {
            return Err(Refusal::OtherGroupInfo);
        }
        let key = staged
            .update_path_leaf_node()
            .expect("reviewed")
            .signature_key()
            .clone();
        let key = key.into_signature_public_key_enriched(mls::SUITE.signature_algorithm());
        info.verify(&self.crypto, &key)
            .map_err(|_| Refusal::Invalid("the group info"))?;
        Ok(Accepted {
            staged,
            review,
            welcome: bundle.welcome.clone(),
            group_info: bundle.group_info.clone(),
            key_packages,
        })
    }

    /// The next epoch begins.
    pub fn apply(&mut self, accepted: Accepted) -> Changed {
        assert_eq!(
            accepted.staged.epoch().as_u64(),
            self.epoch() + 1,
            "what was decided in an epoch is applied in it"
        );
        let merged = self.group.merge_commit(&self.storage, *accepted.staged);
        merged.expect("memory takes what is written");
        self.group_info = accepted.group_info;
        self.reported.clear();
        let Review {
            by,
            is_external,
            mut added,
            removed,
        } = accepted.review;
        for (leaf, _) in &removed {
            self.leaving.remove(leaf);
        }
        let members = mls::members_again(self.group.treesync(), &self.members);
        let before = std::mem::replace(&mut self.members, members);
        self.note_newcomers(&before);
        if self.policy == JoinPolicy::Open {
            let added = added.iter().map(|one| &one.identity);
            self.entry
                .passed(&by.identity, added.filter(|one| **one != by.identity));
        }
        if is_external {
            added.push(by.clone());
        }
        // A device that came back neither joined nor left.
        let mut left: Vec<_> = removed
            .into_iter()
            .map(|(_, certificate)| certificate)
            .collect();
        added.retain(|one| match left.iter().position(|other| other == one) {
            Some(at) => {
                left.remove(at);
                false
            }
            None => true,
        });
        Changed {
            epoch: self.epoch(),
            by,
            joined: added,
            left,
            admission: accepted.welcome.map(|welcome| Admission {
                welcome,
                tree: self.tree(),
            }),
        }
    }

    /// Whether a message can be placed: from a member, encrypted for an epoch that members still
    /// read. That epoch.
    ///
    /// # Errors
    /// It is none of that.
    pub fn decide_message(&self, bytes: &[u8], by: &Proven) -> Result<u64, Refusal> {
        if bytes.len() > MOST_MESSAGE {
            return Err(Refusal::TooLarge);
        }
        let MlsMessageBodyIn::PrivateMessage(message) = read(bytes)? else {
            return Err(Refusal::Malformed);
        };
        if message.content_type() != ContentType::Application {
            return Err(Refusal::OtherChange);
        }
        if message.group_id() != self.group.group_id() {
            return Err(Refusal::OtherGroup);
        }
        let since = self.in_since(&self.members, by);
        let since = since.ok_or(Refusal::NotAMember)?;
        let (epoch, current) = (message.epoch().as_u64(), self.epoch());
        if epoch > current || current - epoch > EPOCHS_BACK {
            return Err(Refusal::StaleEpoch { current });
        }
        // It could not have encrypted it, and nobody could read it.
        match epoch >= since {
            true => Ok(epoch),
            false => Err(Refusal::NotThen),
        }
    }

    /// Since which epoch somebody is in, if that is not long ago.
    fn in_since(&self, members: &BTreeMap<u32, Certificate>, who: &Proven) -> Option<u64> {
        let devices = members.iter().filter(|(_, device)| is_of(device, who));
        devices
            .map(|(leaf, _)| self.since.get(leaf).copied().unwrap_or_default())
            .min()
    }

    /// Remembers who has just come; one more device of somebody is in as long as the others.
    fn note_newcomers(&mut self, before: &BTreeMap<u32, Certificate>) {
        let current = self.epoch();
        let mut since = BTreeMap::new();
        for (leaf, device) in &self.members {
            let known = match before.get(leaf) == Some(device) {
                true => self.since.get(leaf).copied().unwrap_or_default(),
                false => {
                    let who = Proven {
                        user: device.user.clone(),
                        identity: device.identity,
                    };
                    self.in_since(before, &who).unwrap_or(current)
                }
            };
            if known + EPOCHS_BACK > current && known > 0 {
                since.insert(*leaf, known);
            }
        }
        self.since = since;
    }

    /// In an open group whoever proves a key may commit, so it is bounded who breaks it how often.
    fn check_entry(&self, by: &Proven, now: u64) -> Result<(), Refusal> {
        let is_stranger = !self.members.values().any(|device| is_of(device, by));
        self.entry.check(&by.identity, is_stranger, now)
    }

    /// Whether a device may ask to leave, and where it is in the group.
    ///
    /// # Errors
    /// It is not the request of a device of the sender to be removed itself.
    pub fn decide_leave(&self, bytes: &[u8], by: &Proven) -> Result<u32, Refusal> {
        if bytes.len() > MOST_MESSAGE {
            return Err(Refusal::TooLarge);
        }
        let (message, sender) = self.handshake(bytes, ContentType::Proposal)?;
        self.check_sender(&sender, by)?;
        let Sender::Member(leaf) = sender else {
            return Err(Refusal::NotAMember);
        };
        let processed = self.group.process_message(&self.crypto, message);
        let processed = processed.map_err(|_| Refusal::Invalid("the proposal"))?;
        let ProcessedMessageContent::ProposalMessage(queued) = processed.into_content() else {
            return Err(Refusal::OtherChange);
        };
        match queued.proposal() {
            Proposal::Remove(remove) if remove.removed() == leaf => Ok(leaf.u32()),
            _ => Err(Refusal::OtherChange),
        }
    }

    /// Remembers that a device wants to leave, until a member removes it.
    pub fn apply_leave(&mut self, leaf: u32) {
        self.leaving.insert(leaf);
    }

    /// Whether a list of devices takes the place of the one before.
    ///
    /// # Errors
    /// It is not the sender's, who must be a member, or not newer.
    pub fn decide_devices(&self, bytes: &[u8], by: &Proven) -> Result<List, Refusal> {
        self.member(by)?;
        let list = self.lists.decide(bytes, &self.room)?;
        match *list.identity() == by.identity {
            true => Ok(list),
            false => Err(Refusal::OtherSender),
        }
    }

    /// Remembers a list. Devices that it does not have are to be removed, as if they had asked.
    pub fn apply_devices(&mut self, list: List) {
        self.lists.learn(list, &self.members);
        let gone = self
            .members
            .iter()
            .filter(|(_, one)| !self.lists.allows(one));
        self.leaving.extend(gone.map(|(leaf, _)| *leaf));
    }

    /// Whether a member's report counts that it cannot process the commit that made an epoch.
    ///
    /// # Errors
    /// The epoch is over, or the sender is no member.
    pub fn decide_report(&self, epoch: u64, by: &Proven) -> Result<u32, Refusal> {
        let current = self.epoch();
        if epoch != current {
            return Err(Refusal::StaleEpoch { current });
        }
        self.member(by)
    }

    /// Remembers a report until the next epoch. `now` is the time of the command, in seconds.
    pub fn apply_report(&mut self, leaf: u32, now: u64) {
        self.reported.insert(leaf);
        if self.policy == JoinPolicy::Open {
            let of = |leaf: &u32| Some(self.members.get(leaf)?.identity);
            let reported = self.reported.iter().filter_map(of).collect();
            let all = self.members.values().map(|one| one.identity).collect();
            self.entry.reported(&reported, &all, now);
        }
    }

    /// Whether a key package may be published by a device of this person. It is asked outside a
    /// room.
    ///
    /// # Errors
    /// It is not a key package, of another device, or does not count long enough.
    pub fn check_key_package(bytes: &[u8], by: &Proven, now: u64) -> Result<Certificate, Refusal> {
        Ok(crate::Published::check(bytes, by, now)?.certificate)
    }

    /// A handshake message of this group and epoch, and who sends it.
    fn handshake(
        &self,
        bytes: &[u8],
        content: ContentType,
    ) -> Result<(PublicMessageIn, Sender), Refusal> {
        let MlsMessageBodyIn::PublicMessage(message) = read(bytes)? else {
            return Err(Refusal::Malformed);
        };
        if message.content_type() != content {
            return Err(Refusal::OtherChange);
        }
        if message.group_id() != self.group.group_id() {
            return Err(Refusal::OtherGroup);
        }
        let current = self.epoch();
        if message.epoch().as_u64() != current {
            return Err(Refusal::StaleEpoch { current });
        }
        let sender = message.sender().clone();
        Ok((message, sender))
    }

    fn member(&self, by: &Proven) -> Result<u32, Refusal> {
        let mut members = self.members.iter();
        let found = members.find(|(_, device)| is_of(device, by));
        found.map(|(leaf, _)| *leaf).ok_or(Refusal::NotAMember)
    }

    /// Before anything is verified: whether who sends it may at all.
    fn check_sender(&self, sender: &Sender, by: &Proven) -> Result<(), Refusal> {
        match sender {
            Sender::Member(leaf) => match self.members.get(&leaf.u32()) {
                Some(device) if is_of(device, by) => Ok(()),
                Some(_) => Err(Refusal::OtherSender),
                None => Err(Refusal::NotAMember),
            },
            Sender::NewMemberCommit => {
                let members = self.members.values();
                match may_enter(self.policy, members, &by.user, &by.identity) {
                    true => Ok(()),
                    false => Err(Refusal::NotAMember),
                }
            }
            _ => Err(Refusal::OtherSender),
        }
    }

    /// The welcome is for exactly those who are added. What it says is encrypted for them.
    fn check_welcome(
        &self,
        staged: &StagedCommit,
        welcome: Option<&[u8]>,
    ) -> Result<Vec<Vec<u8>>, Refusal> {
        let added = staged.add_proposals().map(|add| {
            let reference = add.add_proposal().key_package().hash_ref(&self.crypto);
            reference.map(|reference| reference.as_slice().to_vec())
        });
        let added: Result<Vec<_>, _> = added.collect();
        let mut added = added.map_err(|_| Refusal::Invalid("a key package"))?;
        let mut welcomed = Vec::new();
        if let Some(welcome) = welcome {
            let MlsMessageBodyIn::Welcome(welcome) = read(welcome)? else {
                return Err(Refusal::Malformed);
            };
            if welcome.ciphersuite() != mls::SUITE {
                return Err(Refusal::OtherSuite);
            }
            let secrets = welcome.secrets().iter();
            welcomed.extend(secrets.map(|secret| secret.new_member().as_slice().to_vec()));
        }
        added.sort();
        welcomed.sort();
        match added == welcomed && welcome.is_some() != added.is_empty() {
            true => Ok(added),
            false => Err(Refusal::OtherWelcome),
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (room, epoch, members) = (&self.room, self.epoch(), self.members.len());
        write!(out, "Delivery({room}, epoch {epoch}, {members} devices)")
    }
}

pub(crate) fn is_of(device: &Certificate, by: &Proven) -> bool {
    device.user == by.user && device.identity == by.identity
}

fn read_group_info(bytes: &[u8], crypto: &Crypto) -> Result<VerifiableGroupInfo, Refusal> {
    match read(bytes)? {
        MlsMessageBodyIn::GroupInfo(info) if info.ciphersuite() == mls::SUITE => {
            check_group_info(&info, crypto)?;
            Ok(info)
        }
        MlsMessageBodyIn::GroupInfo(_) => Err(Refusal::OtherSuite),
        _ => Err(Refusal::Malformed),
    }
}

fn serialized(what: &impl openmls::prelude::tls_codec::Serialize) -> Vec<u8> {
    what.tls_serialize_detached()
        .expect("what was read can be written")
}
