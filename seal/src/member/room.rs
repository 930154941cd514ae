//! One room: the group, what this device wants of it, and what is on its way.

use super::packages::{put, values};
use super::share::Taken;
use super::{Error, Frame, Holder, Shown};
use crate::codec::{Reader, short_parts};
use crate::content::Inside;
use crate::crypto::Provider;
use crate::device::{Certificate, DeviceKey, Name};
use crate::direct;
use crate::identity::Public;
use crate::lists::Lists;
use crate::mls::{self, SUITE};
use crate::number::room_code;
use crate::rules::{
    Bundle, Founding, JoinPolicy, RENEW_AFTER, Refusal, check_key_package, check_members,
};
use crate::shelf::Entries;
use openmls::prelude::{
    CommitMessageBundle, GroupId, HashType, LeafNodeIndex, MlsGroup, MlsMessageOut,
    OpenMlsCrypto as _, OpenMlsProvider as _, tls_codec::Serialize as _,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// The entry that OpenMLS does not know of. No key of OpenMLS is empty.
const RECORD: &[u8] = b"";

/// What the mark of an own message begins with.
const OWN_MARK: &[u8] = b"safe-chat own message v1";

/// How it stands with this device in the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Status {
    /// Its group of one is on its way.
    Founding,
    /// It can read and write.
    In,
    /// Its request to be removed is on its way.
    Leaving,
    /// It can read nothing until it rejoins.
    Lost,
    /// It is in no group of the room.
    Out,
}

/// What a device wants of a group, whatever becomes of it meanwhile.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Intent {
    /// That the devices of these key packages are in.
    Add(Vec<Vec<u8>>),
    /// That these are out: persons, and one device of theirs, by its key, or all.
    Remove(Vec<Removal>),
    /// That its own keys are new.
    Renew,
}

/// Whom to remove. By keys, because a name may be somebody else's when the change is made again.
pub(super) type Removal = ([u8; 32], Option<[u8; 32]>);

/// Messages of one's own that were not seen in the room yet, at most.
const MOST_UNPLACED: usize = 1000;
/// Own devices that were revoked, of which the room remembers the names, at most.
pub(super) const MOST_REVOKED: usize = 64;
/// Names whose keys are remembered in a room, at most.
const MOST_PINS: usize = 10_000;

/// What is known of the room, whatever becomes of the group.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Known {
    /// The group, and the last epoch of it.
    pub(super) group: Vec<u8>,
    pub(super) epoch: u64,
    /// The latest epoch that something was shown or told of.
    #[serde(default)]
    pub(super) shown: u64,
    /// The place of the change that made the epoch which it knows; 0: it is not known.
    #[serde(default)]
    pub(super) changed_at: u64,
    /// Who was in: user, device, identity.
    pub(super) devices: BTreeSet<(String, String, String)>,
    /// Whose name was whose.
    pins: BTreeMap<String, String>,
    /// Devices of this person that it has said not to have (any more).
    #[serde(default)]
    pub(super) revoked: BTreeSet<String>,
}

/// What is stored of a room beside what OpenMLS stores.
#[derive(Clone, Serialize, Deserialize)]
struct Record {
    group: Vec<u8>,
    status: Status,
    /// What is on its way, encoded: a founding, a bundle or a request.
    outgoing: Option<Vec<u8>>,
    intent: Option<Intent>,
    leaving: BTreeSet<u32>,
    lists: Vec<u8>,
    known: Known,
    joined_in: u64,
    sent: u64,
    unplaced: BTreeMap<u64, [u8; 32]>,
    sent_since_renewal: u64,
    renewed_at: u64,
    renewing_at: u64,
    #[serde(default)]
    read_up_to: Option<u64>,
    #[serde(default)]
    has_left: bool,
    #[serde(default)]
    taken: Vec<u8>,
}

/// A room.
pub(super) struct Room {
    pub(super) provider: Provider,
    pub(super) group: Option<MlsGroup>,
    pub(super) status: Status,
    pub(super) members: BTreeMap<u32, Certificate>,
    pub(super) outgoing: Option<Vec<u8>>,
    pub(super) intent: Option<Intent>,
    /// Leaves whose devices asked to be removed.
    pub(super) leaving: BTreeSet<u32>,
    pub(super) lists: Lists,
    pub(super) known: Known,
    pub(super) joined_in: u64,
    /// Messages ever sent: each carries its number.
    pub(super) sent: u64,
    /// Hashes of those that were not seen in the room yet.
    pub(super) unplaced: BTreeMap<u64, [u8; 32]>,
    pub(super) sent_since_renewal: u64,
    pub(super) renewed_at: u64,
    /// When the change was made that is on its way.
    pub(super) renewing_at: u64,
    /// The last place of the room that was taken in.
    pub(super) read_up_to: Option<u64>,
    /// The user has left, and does not come back without being asked.
    pub(super) has_left: bool,
    pub(super) taken: Taken,
    /// The way back, until its commit is placed.
    pub(super) rejoin: Option<Box<Room>>,
    /// Not stored: it was read from a shelf, and events since may be missing.
    pub(super) is_behind: bool,
}

impl Room {
    pub(super) fn with(provider: Provider, group: Option<MlsGroup>, status: Status) -> Self {
        Self {
            provider,
            group,
            status,
            members: BTreeMap::new(),
            outgoing: None,
            intent: None,
            leaving: BTreeSet::new(),
            lists: Lists::default(),
            known: Known::default(),
            joined_in: 0,
            sent: 0,
            unplaced: BTreeMap::new(),
            sent_since_renewal: 0,
            renewed_at: 0,
            renewing_at: 0,
            read_up_to: None,
            has_left: false,
            taken: Taken::default(),
            rejoin: None,
            is_behind: false,
        }
    }

    pub(super) fn found(
        key: &DeviceKey,
        certificate: &Certificate,
        room: &Name,
        (policy, random): (JoinPolicy, &[u8; 16]),
        now: u64,
    ) -> Result<Self, Error> {
        let failed = || Error::Mls("making a group");
        let config = openmls::prelude::MlsGroupCreateConfig::builder()
            .ciphersuite(SUITE)
            .capabilities(mls::capabilities())
            .lifetime(mls::lifetime(now))
            .wire_format_policy(mls::join_config().wire_format_policy())
            .padding_size(mls::join_config().padding_size())
            .max_past_epochs(crate::rules::EPOCHS_BACK as usize)
            .sender_ratchet_configuration(*mls::join_config().sender_ratchet_configuration())
            .build();
        let provider = Provider::default();
        let id = GroupId::from_slice(&mls::group_id(room, policy, random));
        let credential = mls::credential(certificate);
        let group = MlsGroup::new_with_group_id(&provider, key, &config, id, credential);
        let group = group.map_err(|_| failed())?;
        let info = group
            .export_group_info(provider.crypto(), key, false)
            .map_err(|_| failed())?;
        let tree = group.export_ratchet_tree().tls_serialize_detached();
        let founding = Founding {
            group_info: info.to_bytes().map_err(|_| failed())?,
            tree: tree.map_err(|_| failed())?,
        };
        let mut made = Self::with(provider, Some(group), Status::Founding);
        made.outgoing = Some(founding.encode());
        made.renewed_at = now;
        made.learn_members()?;
        Ok(made)
    }

    /// Reads who is in, and verifies them.
    pub(super) fn learn_members(&mut self) -> Result<(), Refusal> {
        self.members = match &self.group {
            Some(group) => mls::members(group.treesync())?.into_iter().collect(),
            None => BTreeMap::new(),
        };
        Ok(())
    }

    /// Remembers who is in, and tells whose name became somebody else's.
    pub(super) fn remember(&mut self) -> Vec<Shown> {
        let Some(group) = &self.group else {
            return Vec::new();
        };
        if self.known.group != group.group_id().as_slice() {
            self.known.shown = 0;
        }
        self.known.group = group.group_id().to_vec();
        self.known.epoch = group.epoch().as_u64();
        self.known.devices = self.members.values().map(names_of).collect();
        let mut shown = Vec::new();
        for one in self.members.values() {
            let (user, is) = (one.user.as_str().to_owned(), one.identity.to_string());
            let was = self.known.pins.get(&user).cloned();
            if was.as_ref() != Some(&is) && (was.is_some() || self.known.pins.len() < MOST_PINS) {
                self.known.pins.insert(user, is);
                let was = was.and_then(|was| Public::parse(&was).ok());
                shown.extend(was.map(|was| Shown::KeyChanged {
                    user: one.user.clone(),
                    was,
                    is: one.identity,
                }));
            }
        }
        shown
    }

    /// Who came and went since something was known of the room.
    pub(super) fn since(&self, known: &Known) -> (Vec<Holder>, Vec<Holder>) {
        let now: BTreeSet<_> = self.members.values().map(names_of).collect();
        let holder = |(user, device, identity): &(String, String, String)| {
            let (user, device) = (Name::parse(user).ok()?, Name::parse(device).ok()?);
            let identity = Public::parse(identity).ok()?;
            Some(Holder {
                user,
                device,
                identity,
            })
        };
        let joined = now.difference(&known.devices).filter_map(holder);
        let left = known.devices.difference(&now).filter_map(holder);
        (joined.collect(), left.collect())
    }

    pub(super) fn epoch(&self) -> Option<u64> {
        self.group.as_ref().map(|group| group.epoch().as_u64())
    }

    pub(super) fn code(&self) -> Option<String> {
        let group = self.group.as_ref()?;
        let authenticator = group.epoch_authenticator().as_slice();
        Some(room_code(
            group.group_id().as_slice(),
            group.epoch().as_u64(),
            authenticator,
        ))
    }

    pub(super) fn is_renewal_due(&self, now: u64) -> bool {
        let (messages, seconds) = RENEW_AFTER;
        let is_old = now.saturating_sub(self.renewed_at) >= seconds;
        self.status == Status::In && (self.sent_since_renewal >= messages || is_old)
    }

    pub(super) fn is_lacking(&self) -> bool {
        self.epoch().is_some_and(|epoch| epoch < self.known.shown)
    }

    /// Devices that asked to leave.
    pub(super) fn leaving(&self) -> Vec<Removal> {
        let leaving = self
            .leaving
            .iter()
            .filter_map(|leaf| self.members.get(leaf));
        leaving
            .map(|one| (*one.identity.as_bytes(), Some(one.key)))
            .collect()
    }

    /// Devices of a name.
    pub(super) fn named(&self, user: &Name, device: Option<&Name>) -> Vec<Removal> {
        let named = self.members.values().filter(|one| one.user == *user);
        let meant = named.filter(|one| device.is_none_or(|device| *device == one.device));
        let removal = |one: &Certificate| (*one.identity.as_bytes(), device.map(|_| one.key));
        let meant: BTreeSet<_> = meant.map(removal).collect();
        meant.into_iter().collect()
    }

    /// Remembers how far the room was read.
    pub(super) fn has_read(&mut self, seq: u64) {
        self.read_up_to = self.read_up_to.max(Some(seq));
    }

    pub(super) fn is_in_a_group(&self) -> bool {
        self.group.is_some()
    }

    /// What is on its way.
    pub(super) fn outstanding(&self, name: &Name) -> Option<Frame> {
        if let Some(rejoin) = &self.rejoin {
            return rejoin.outstanding(name);
        }
        let (outgoing, room) = (self.outgoing.as_ref()?, name.clone());
        match self.status {
            Status::Founding => {
                let founding = Founding::read(&mut Reader(outgoing)).ok()?;
                Some(Frame::Found { room, founding })
            }
            Status::Leaving => Some(Frame::Leave {
                room,
                bytes: outgoing.clone(),
            }),
            _ => Some(Frame::Change {
                room,
                bundle: Bundle::decode(outgoing).ok()?,
            }),
        }
    }

    /// The commit that is on its way.
    pub(super) fn outgoing_commit(&self) -> Option<Vec<u8>> {
        Bundle::decode(self.outgoing.as_ref()?)
            .ok()
            .map(|bundle| bundle.commit)
    }

    pub(super) fn send(&mut self, key: &DeviceKey, inside: &[u8]) -> Result<(u64, Vec<u8>), Error> {
        let number = self.sent.checked_add(1).ok_or(Error::Mls("counting"))?;
        let aad = self.own_mark(key, number).ok_or(Error::NotIn)?;
        let group = self.group.as_mut().ok_or(Error::NotIn)?;
        group.set_aad(aad);
        let message = group.create_message(&self.provider, key, inside);
        let bytes = bytes_of(message.map_err(|_| Error::Mls("encrypting"))?)?;
        if matches!(Inside::decode(inside), Ok(Inside::Asked(_))) {
            self.taken.asks();
        }
        self.sent = number;
        self.sent_since_renewal += 1;
        self.unplaced.insert(number, Sha256::digest(&bytes).into());
        if self.unplaced.len() > MOST_UNPLACED {
            self.unplaced.pop_first();
        }
        Ok((number, bytes))
    }

    /// What a message carries in the clear: its number, and what only this device can make of it.
    /// An own message cannot be decrypted, so that nothing else tells a forged number.
    pub(super) fn own_mark(&self, key: &DeviceKey, number: u64) -> Option<Vec<u8>> {
        let group = self.group.as_ref()?;
        let (id, number) = (group.group_id().as_slice(), number.to_be_bytes());
        let about = short_parts(&[OWN_MARK, id, &number]);
        let crypto = self.provider.crypto();
        let made = crypto
            .hmac(HashType::Sha2_256, key.seed().as_slice(), &about)
            .ok()?;
        Some([&number[..], &made.as_slice()[..16]].concat())
    }

    pub(super) fn leave(&mut self, key: &DeviceKey) -> Result<Vec<u8>, Error> {
        if self.outgoing.is_some() {
            return Err(Error::Busy);
        }
        let group = self.group.as_mut().ok_or(Error::NotIn)?;
        let proposal = group.leave_group(&self.provider, key);
        let bytes = bytes_of(proposal.map_err(|_| Error::Mls("asking to leave"))?)?;
        self.status = Status::Leaving;
        self.outgoing = Some(bytes.clone());
        Ok(bytes)
    }

    /// Makes the bundle of an intent, or nothing if the group is already as intended. Without a
    /// time it is made again: its key packages were found good before.
    pub(super) fn change(
        &mut self,
        key: &DeviceKey,
        intent: Intent,
        now: Option<u64>,
    ) -> Result<Option<Bundle>, Error> {
        if self.outgoing.is_some() {
            return Err(Error::Busy);
        }
        let group = self.group.as_mut().ok_or(Error::NotIn)?;
        let crypto = self.provider.crypto();
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        let own = group.own_leaf_index().u32();
        let mut after: Vec<_> = self
            .members
            .iter()
            .map(|(at, one)| (*at, one.clone()))
            .collect();
        match &intent {
            Intent::Add(packages) => {
                // Who comes did not hear who asked to leave before, or was revoked.
                after.retain(|(leaf, _)| *leaf == own || !self.leaving.contains(leaf));
                for bytes in packages {
                    let package = mls::read_key_package(bytes, crypto)?;
                    let one = check_key_package(&package, now, crypto)?;
                    if !after.iter().any(|(_, two)| two.key == one.key) {
                        after.push((u32::MAX, one));
                        added.push(package);
                    }
                }
                for leaf in self.members.keys() {
                    if !added.is_empty() && *leaf != own && self.leaving.contains(leaf) {
                        removed.push(LeafNodeIndex::new(*leaf));
                    }
                }
            }
            Intent::Remove(removals) => {
                let is_meant = |one: &Certificate| {
                    removals.iter().any(|(identity, key)| {
                        one.identity.as_bytes() == identity && key.is_none_or(|key| key == one.key)
                    })
                };
                let gone = self
                    .members
                    .iter()
                    .filter(|(leaf, one)| **leaf != own && is_meant(one));
                removed.extend(gone.map(|(leaf, _)| LeafNodeIndex::new(*leaf)));
            }
            Intent::Renew => {}
        }
        if added.is_empty() && removed.is_empty() && !matches!(intent, Intent::Renew) {
            return Ok(None);
        }
        // What the writer would refuse is not even made.
        check_members(&after).map_err(Error::of_members)?;
        let id = group.group_id().as_slice();
        let room = mls::room_of(id)?;
        let policy = mls::join_policy_of(id, &room)?;
        direct::check(&room, policy, after.iter().map(|(_, one)| one))?;
        let failed = |_| Error::Mls("changing the group");
        let bundle = group
            .commit_builder()
            .consume_proposal_store(false)
            .force_self_update(true)
            .propose_adds(added)
            .propose_removals(removed)
            .load_psks(self.provider.storage())
            .map_err(|_| failed(()))?
            .create_group_info(true)
            .build(self.provider.rand(), crypto, key, |_| true)
            .map_err(|_| failed(()))?
            .stage_commit(&self.provider)
            .map_err(|_| failed(()))?;
        let bundle = bundle_of(bundle)?;
        self.outgoing = Some(bundle.encode());
        self.intent = Some(intent);
        self.renewing_at = now.unwrap_or(self.renewing_at);
        Ok(Some(bundle))
    }

    /// What was on its way was refused for good. Whether it was that.
    pub(super) fn refused(&mut self, frame: &Frame, name: &Name) -> bool {
        if self.outstanding(name).as_ref() != Some(frame) {
            return false;
        }
        if self.rejoin.take().is_some() {
            return true;
        }
        match (self.status, &mut self.group) {
            (Status::Founding, _) => self.drop_group(Status::Out),
            (_, Some(group)) => {
                let storage = self.provider.storage();
                let cleared = group.clear_pending_commit(storage);
                cleared.expect("memory takes what is written");
                let cleared = group.clear_pending_proposals(storage);
                cleared.expect("memory takes what is written");
                self.status = Status::In;
            }
            (_, None) => {}
        }
        (self.outgoing, self.intent) = (None, None);
        true
    }

    /// Drops the group with all its secrets, but not who was in it.
    pub(super) fn drop_group(&mut self, status: Status) {
        self.group = None;
        self.provider = Provider::default();
        self.members.clear();
        self.leaving.clear();
        (self.outgoing, self.intent, self.rejoin) = (None, None, None);
        self.status = status;
    }

    pub(super) fn entries(&self) -> Entries {
        let group = self.group.as_ref().map(|group| group.group_id().to_vec());
        let record = Record {
            group: group.unwrap_or_default(),
            status: self.status,
            outgoing: self.outgoing.clone(),
            intent: self.intent.clone(),
            leaving: self.leaving.clone(),
            lists: self.lists.encode(),
            known: self.known.clone(),
            joined_in: self.joined_in,
            sent: self.sent,
            unplaced: self.unplaced.clone(),
            sent_since_renewal: self.sent_since_renewal,
            renewed_at: self.renewed_at,
            renewing_at: self.renewing_at,
            read_up_to: self.read_up_to,
            has_left: self.has_left,
            taken: self.taken.encode(),
        };
        let record = serde_json::to_vec(&record).expect("names, bytes and numbers");
        let mut entries = values(&self.provider);
        entries.push((RECORD.to_vec(), record));
        entries
    }

    pub(super) fn rejoin_entries(&self) -> Entries {
        self.rejoin
            .as_ref()
            .map_or_else(Vec::new, |rejoin| rejoin.entries())
    }

    pub(super) fn load(name: &Name, entries: Entries, rejoin: Entries) -> Option<Self> {
        let (record, values): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .partition(|(key, _)| key.as_slice() == RECORD);
        let record: Record = serde_json::from_slice(&record.first()?.1).ok()?;
        let provider = Provider::default();
        put(&provider, values);
        let group = match record.group.is_empty() {
            true => None,
            false => {
                let id = GroupId::from_slice(&record.group);
                Some(MlsGroup::load(provider.storage(), &id).ok()??)
            }
        };
        let mut room = Self {
            outgoing: record.outgoing,
            intent: record.intent,
            leaving: record.leaving,
            lists: Lists::decode(&record.lists, name).ok()?,
            known: record.known,
            joined_in: record.joined_in,
            sent: record.sent,
            unplaced: record.unplaced,
            sent_since_renewal: record.sent_since_renewal,
            renewed_at: record.renewed_at,
            renewing_at: record.renewing_at,
            read_up_to: record.read_up_to,
            has_left: record.has_left,
            taken: Taken::decode(&record.taken)?,
            is_behind: true,
            ..Self::with(provider, group, record.status)
        };
        room.learn_members().ok()?;
        if !rejoin.is_empty() {
            room.rejoin = Some(Box::new(Self::load(name, rejoin, Vec::new())?));
        }
        Some(room)
    }
}

pub(super) fn names_of(one: &Certificate) -> (String, String, String) {
    let (user, device) = (one.user.as_str().to_owned(), one.device.as_str().to_owned());
    (user, device, one.identity.to_string())
}

pub(super) fn bundle_of(bundle: CommitMessageBundle) -> Result<Bundle, Error> {
    let (commit, welcome, group_info) = bundle.into_messages();
    let group_info = group_info.ok_or(Error::Mls("making a group info"))?;
    Ok(Bundle {
        commit: bytes_of(commit)?,
        welcome: welcome.map(bytes_of).transpose()?,
        group_info: bytes_of(group_info)?,
    })
}

fn bytes_of(message: MlsMessageOut) -> Result<Vec<u8>, Error> {
    message
        .to_bytes()
        .map_err(|_| Error::Mls("writing a message"))
}
