//! One room: the group, what this device wants of it, and what is on its way.

use super::packages::{put, values};
use super::{Error, Frame};
use crate::device::{Certificate, DeviceKey, List, Name};
use crate::mls::{self, SUITE};
use crate::number::room_code;
use crate::rules::{Bundle, Founding, RENEW_AFTER, Refusal, check_key_package};
use crate::shelf::Entries;
use openmls::prelude::{
    CommitMessageBundle, GroupId, LeafNodeIndex, MlsGroup, MlsMessageOut, OpenMlsProvider as _,
    tls_codec::Serialize as _,
};
use openmls_rust_crypto::OpenMlsRustCrypto;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The entry that OpenMLS does not know of. No key of OpenMLS is empty.
const RECORD: &[u8] = b"";
/// What a message's content begins with: its form.
pub(super) const CONTENT_FORM: u8 = 1;

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
    /// That these are out: users, and one device of theirs or all.
    Remove(Vec<(String, Option<String>)>),
    /// That its own keys are new.
    Renew,
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
    joined_in: u64,
    sent: u64,
    sent_since_renewal: u64,
    renewed_at: u64,
}

/// A room.
pub(super) struct Room {
    pub(super) provider: OpenMlsRustCrypto,
    pub(super) group: Option<MlsGroup>,
    pub(super) status: Status,
    pub(super) members: BTreeMap<u32, Certificate>,
    pub(super) outgoing: Option<Vec<u8>>,
    pub(super) intent: Option<Intent>,
    /// Leaves whose devices asked to be removed.
    pub(super) leaving: BTreeSet<u32>,
    pub(super) joined_in: u64,
    /// Messages ever sent: each carries its number.
    pub(super) sent: u64,
    pub(super) sent_since_renewal: u64,
    pub(super) renewed_at: u64,
    /// The way back, until its commit is placed.
    pub(super) rejoin: Option<Box<Room>>,
    /// Not stored: it was read from a shelf, and events since may be missing.
    pub(super) is_behind: bool,
}

impl Room {
    pub(super) fn with(
        provider: OpenMlsRustCrypto,
        group: Option<MlsGroup>,
        status: Status,
    ) -> Self {
        Self {
            provider,
            group,
            status,
            members: BTreeMap::new(),
            outgoing: None,
            intent: None,
            leaving: BTreeSet::new(),
            joined_in: 0,
            sent: 0,
            sent_since_renewal: 0,
            renewed_at: 0,
            rejoin: None,
            is_behind: false,
        }
    }

    pub(super) fn found(
        key: &DeviceKey,
        certificate: &Certificate,
        room: &Name,
        random: &[u8; 16],
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
            .sender_ratchet_configuration(mls::join_config().sender_ratchet_configuration().clone())
            .build();
        let provider = OpenMlsRustCrypto::default();
        let id = GroupId::from_slice(&mls::group_id(room, random));
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
        made.outgoing = Some(encode_founding(&founding));
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

    pub(super) fn leaving(&self) -> Vec<(String, Option<String>)> {
        let leaving = self
            .leaving
            .iter()
            .filter_map(|leaf| self.members.get(leaf));
        let names = leaving.map(|one| (one.user.as_str(), one.device.as_str()));
        names
            .map(|(user, device)| (user.to_owned(), Some(device.to_owned())))
            .collect()
    }

    /// Devices of a person that its list does not have.
    pub(super) fn unlisted(&self, list: &List) -> Vec<(String, Option<String>)> {
        let theirs = self
            .members
            .values()
            .filter(|one| one.identity == *list.identity());
        let unlisted = theirs.filter(|one| !list.has(one));
        let names = unlisted.map(|one| (one.user.as_str(), one.device.as_str()));
        names
            .map(|(user, device)| (user.to_owned(), Some(device.to_owned())))
            .collect()
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
                let founding = decode_founding(outgoing)?;
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

    pub(super) fn send(
        &mut self,
        key: &DeviceKey,
        content: &[u8],
    ) -> Result<(u64, Vec<u8>), Error> {
        let group = self.group.as_mut().ok_or(Error::NotIn)?;
        let number = self.sent + 1;
        group.set_aad(number.to_be_bytes().to_vec());
        let plaintext = [&[CONTENT_FORM], content].concat();
        let message = group.create_message(&self.provider, key, &plaintext);
        let message = message.map_err(|_| Error::Mls("encrypting"))?;
        self.sent = number;
        self.sent_since_renewal += 1;
        Ok((number, bytes_of(message)?))
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
        match &intent {
            Intent::Add(packages) => {
                for bytes in packages {
                    let package = mls::read_key_package(bytes, crypto)?;
                    let one = check_key_package(&package, now)?;
                    if let Some(namesake) = self.members.values().find(|two| two.user == one.user)
                        && namesake.identity != one.identity
                    {
                        return Err(Refusal::OtherIdentity.into());
                    }
                    if !self.members.values().any(|two| two.key == one.key) {
                        added.push(package);
                    }
                }
            }
            Intent::Remove(names) => {
                for (user, device) in names {
                    let members = self.members.iter();
                    removed.extend(members.filter_map(|(leaf, one)| {
                        let is_meant = one.user.as_str() == user
                            && device
                                .as_ref()
                                .is_none_or(|device| device == one.device.as_str());
                        is_meant.then_some(LeafNodeIndex::new(*leaf))
                    }));
                }
                removed.retain(|leaf| *leaf != group.own_leaf_index());
            }
            Intent::Renew => {}
        }
        if added.is_empty() && removed.is_empty() && !matches!(intent, Intent::Renew) {
            return Ok(None);
        }
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
        Ok(Some(bundle))
    }

    /// Forgets the group with all its secrets.
    pub(super) fn forget(&mut self, status: Status) {
        self.group = None;
        self.provider = OpenMlsRustCrypto::default();
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
            joined_in: self.joined_in,
            sent: self.sent,
            sent_since_renewal: self.sent_since_renewal,
            renewed_at: self.renewed_at,
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

    pub(super) fn load(entries: Entries, rejoin: Entries) -> Option<Self> {
        let (record, values): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .partition(|(key, _)| key.as_slice() == RECORD);
        let record: Record = serde_json::from_slice(&record.first()?.1).ok()?;
        let provider = OpenMlsRustCrypto::default();
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
            joined_in: record.joined_in,
            sent: record.sent,
            sent_since_renewal: record.sent_since_renewal,
            renewed_at: record.renewed_at,
            is_behind: true,
            ..Self::with(provider, group, record.status)
        };
        room.learn_members().ok()?;
        if !rejoin.is_empty() {
            room.rejoin = Some(Box::new(Self::load(rejoin, Vec::new())?));
        }
        Some(room)
    }
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

fn encode_founding(founding: &Founding) -> Vec<u8> {
    crate::codec::long_parts(&[&founding.group_info, &founding.tree])
}

fn decode_founding(bytes: &[u8]) -> Option<Founding> {
    let mut reader = crate::codec::Reader(bytes);
    Some(Founding {
        group_info: reader.long().ok()?.to_vec(),
        tree: reader.long().ok()?.to_vec(),
    })
}
