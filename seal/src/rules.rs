//! Bounds, and what no room accepts. The writer refuses by them before something is journaled;
//! members check again what they can, because the server need not be honest.

use crate::codec::{Malformed, Reader, long_parts};
use crate::device::{self, Certificate, Name};
use crate::direct;
use crate::identity::Public;
use crate::lists::Lists;
use crate::mls::{self, certificate_of};
use openmls::prelude::{
    CredentialType, Extension, KeyPackage, LeafNode, Lifetime, MlsMessageBodyIn, OpenMlsCrypto,
    Proposal, ProposalOrRefIn, ProposalType, Sender, StagedCommit,
    group_info::VerifiableGroupInfo,
    tls_codec::{self, Deserialize as _, Serialize as _, Size as _, VLBytes},
};
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// Seconds of a day.
const DAY: u64 = 86_400;
/// Bytes of one message's content: as much as fits into a message.
pub const MOST_CONTENT: usize = MOST_MESSAGE - PADDING - 1024;
/// Content is padded to a multiple, so that its length says little.
pub const PADDING: usize = 256;
/// Bytes of a message as it is sent: content, padding, and less than 1 KiB around it. The protocol
/// takes no more of sealed content.
pub const MOST_MESSAGE: usize = 64 * 1024;
/// Epochs before the current one whose messages are taken and can be read.
pub const EPOCHS_BACK: u64 = 2;
/// Devices in a room.
pub const MOST_MEMBERS: usize = 1000;
/// Devices that one commit adds.
pub const MOST_ADDED: usize = 100;
/// Bytes of a key package; ours have some 500.
pub const MOST_KEY_PACKAGE: usize = 4 * 1024;
/// Bytes of a group info without a tree; ours have some 300.
pub(crate) const MOST_GROUP_INFO: usize = 4 * 1024;
/// Bytes of a leaf; ours have some 400, and those of other implementations list more that they can.
const MOST_LEAF: usize = 1024;
/// Bytes that a device adds to a tree, a path, or a welcome, at most.
const PER_DEVICE: usize = 2 * 1024;
/// Bytes of a welcome.
pub(crate) const MOST_WELCOME: usize = MOST_GROUP_INFO + PER_DEVICE * MOST_ADDED;
/// How long a key package may count in all (the bound; ours count 84 days).
const LONGEST_LIFETIME: u64 = 90 * DAY;
/// How long a key package of ours counts.
pub(crate) const LIFETIME: u64 = 84 * DAY;
/// Clocks may differ by so much.
pub(crate) const SKEW: u64 = 3600;
/// A key package must count for so much longer when it is used. Members who were away, and a writer
/// that replays a room, process its commit later, and OpenMLS asks the clock again.
pub const MARGIN: u64 = 30 * DAY;
/// A device renews its keys after so many messages, or so many seconds.
pub const RENEW_AFTER: (u64, u64) = (1000, 7 * DAY);

/// One change of a group: the commit, the welcome for whom it adds, and the public state after it.
/// They are accepted together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// A commit (MLSMessage, PublicMessage).
    pub commit: Vec<u8>,
    /// Its welcome (MLSMessage), when devices are added.
    pub welcome: Option<Vec<u8>>,
    /// The group info of the epoch that it makes (MLSMessage), without the tree.
    pub group_info: Vec<u8>,
}

/// The public state of a group of one, with which a room becomes sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Founding {
    /// The group info of epoch 0 (MLSMessage).
    pub group_info: Vec<u8>,
    /// Its tree.
    pub tree: Vec<u8>,
}

impl Bundle {
    /// As one value.
    pub fn encode(&self) -> Vec<u8> {
        let welcome = self.welcome.as_deref().unwrap_or_default();
        long_parts(&[&self.commit, welcome, &self.group_info])
    }

    /// # Errors
    /// Bytes of another form.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut reader = Reader(bytes);
        let (commit, welcome, group_info) = (reader.long()?, reader.long()?, reader.long()?);
        reader.end()?;
        Ok(Self {
            commit: commit.to_vec(),
            welcome: (!welcome.is_empty()).then(|| welcome.to_vec()),
            group_info: group_info.to_vec(),
        })
    }

    /// Before anything is decoded: no more bytes than a group of so many devices can need.
    pub(crate) fn check_size(&self, members: usize) -> Result<(), Refusal> {
        let welcome = self.welcome.as_ref().map_or(0, Vec::len);
        let fits = welcome <= MOST_WELCOME && self.group_info.len() <= MOST_GROUP_INFO;
        fits.then_some(()).ok_or(Refusal::TooLarge)?;
        check_commit_size(&self.commit, members, self.welcome.is_some())
    }
}

impl Founding {
    /// The room that the group is of, as its id says.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn room(&self) -> Result<Name, Refusal> {
        self.check_size()?;
        match mls::read(&self.group_info)? {
            MlsMessageBodyIn::GroupInfo(info) => mls::room_of(info.group_id().as_slice()),
            _ => Err(Refusal::Malformed),
        }
    }

    pub(crate) fn check_size(&self) -> Result<(), Refusal> {
        let fits = self.group_info.len() <= MOST_GROUP_INFO && self.tree.len() <= PER_DEVICE;
        fits.then_some(()).ok_or(Refusal::TooLarge)
    }
}

/// Before a commit is decoded; one that adds nobody has less to say.
pub(crate) fn check_commit_size(
    commit: &[u8],
    members: usize,
    may_add: bool,
) -> Result<(), Refusal> {
    let added = if may_add {
        MOST_KEY_PACKAGE * MOST_ADDED
    } else {
        0
    };
    let fits = commit.len() <= MOST_GROUP_INFO + PER_DEVICE * members + added;
    fits.then_some(()).ok_or(Refusal::TooLarge)
}

/// Before a commit is decoded and verified, which costs two signatures for each device that it
/// adds: how many it adds, and what else it does. Only that is read here.
pub(crate) fn check_proposals(commit: &[u8]) -> Result<(), Refusal> {
    let malformed = |_| Refusal::Malformed;
    let mut proposals = &proposals_of(commit).map_err(malformed)?[..];
    let (mut added, mut others) = (0, 0);
    while !proposals.is_empty() {
        let one = ProposalOrRefIn::tls_deserialize(&mut proposals).map_err(malformed)?;
        match one {
            ProposalOrRefIn::Proposal(one) if one.proposal_type() == ProposalType::Add => {
                added += 1;
            }
            _ => others += 1,
        }
        // All can be removed, by a commit from outside.
        if added > MOST_ADDED || others > MOST_MEMBERS + 1 {
            return Err(Refusal::TooMany);
        }
    }
    Ok(())
}

/// The proposals of a commit that is a PublicMessage (RFC 9420, 6 and 12.4).
fn proposals_of(commit: &[u8]) -> Result<Vec<u8>, tls_codec::Error> {
    let mut rest = commit;
    match front(&mut rest)? {
        (_, COMMIT) => Ok(VLBytes::tls_deserialize(&mut rest)?.into()),
        _ => Err(no_handshake()),
    }
}

/// What a PublicMessage says before its content: its epoch, and what the content is.
fn front(reader: &mut &[u8]) -> Result<(u64, u8), tls_codec::Error> {
    let (version, wire_format) = (u16::tls_deserialize(reader)?, u16::tls_deserialize(reader)?);
    let _group = VLBytes::tls_deserialize(reader)?;
    let epoch = u64::tls_deserialize(reader)?;
    match u8::tls_deserialize(reader)? {
        MEMBER | EXTERNAL => drop(u32::tls_deserialize(reader)?),
        NEW_MEMBER_PROPOSAL | NEW_MEMBER_COMMIT => {}
        _ => return Err(no_handshake()),
    }
    let _authenticated = VLBytes::tls_deserialize(reader)?;
    match (version, wire_format) {
        (MLS_10, PUBLIC_MESSAGE) => Ok((epoch, u8::tls_deserialize(reader)?)),
        _ => Err(no_handshake()),
    }
}

fn no_handshake() -> tls_codec::Error {
    tls_codec::Error::DecodingError("no handshake".into())
}

/// The epoch that a commit ends. Nothing of it is verified.
pub(crate) fn epoch_of_commit(commit: &[u8]) -> Result<u64, Refusal> {
    match front(&mut &commit[..]) {
        Ok((epoch, COMMIT)) => Ok(epoch),
        _ => Err(Refusal::Malformed),
    }
}

/// Whether bytes begin as a proposal does that stands alone.
pub(crate) fn check_is_proposal(bytes: &[u8]) -> Result<(), Refusal> {
    match front(&mut &bytes[..]) {
        Ok((_, PROPOSAL)) => Ok(()),
        _ => Err(Refusal::Malformed),
    }
}

// Numbers of RFC 9420, 6.
const MLS_10: u16 = 1;
const PUBLIC_MESSAGE: u16 = 1;
const MEMBER: u8 = 1;
const EXTERNAL: u8 = 2;
const NEW_MEMBER_PROPOSAL: u8 = 3;
const NEW_MEMBER_COMMIT: u8 = 4;
const PROPOSAL: u8 = 2;
const COMMIT: u8 = 3;

/// Before a tree is decoded: no more bytes than the largest room needs.
pub(crate) fn check_tree_size(tree: &[u8]) -> Result<(), Refusal> {
    let fits = tree.len() <= PER_DEVICE * MOST_MEMBERS;
    fits.then_some(()).ok_or(Refusal::TooLarge)
}

/// Before a group info is believed: no tree in it, which would go around its bound, and nothing
/// else but a usable key for who comes in by an external commit. Without one nobody could come
/// back.
pub(crate) fn check_group_info(
    info: &VerifiableGroupInfo,
    crypto: &impl OpenMlsCrypto,
) -> Result<(), Refusal> {
    let mut extensions = info.extensions().iter();
    let key = match (extensions.next(), extensions.next()) {
        (Some(Extension::ExternalPub(key)), None) => key.external_pub(),
        _ => return Err(Refusal::OtherGroupInfo),
    };
    check_key(key.as_slice(), crypto)
}

/// Whether something can be encrypted to a key.
fn check_key(key: &[u8], crypto: &impl OpenMlsCrypto) -> Result<(), Refusal> {
    let sealed = crypto.hpke_seal(mls::SUITE.hpke_config(), key, b"", b"", b"");
    match key.len() == 32 && sealed.is_ok() {
        true => Ok(()),
        false => Err(Refusal::Invalid("a key to which nothing can be encrypted")),
    }
}

/// The certificate of a leaf that is not larger than any honest one, so that a tree has a bound.
pub(crate) fn check_leaf(leaf: &LeafNode) -> Result<Certificate, Refusal> {
    if leaf.tls_serialized_len() > MOST_LEAF {
        return Err(Refusal::TooLarge);
    }
    if leaf.extensions().iter().next().is_some() {
        return Err(Refusal::Invalid("a leaf that has extensions"));
    }
    certificate_of(leaf.credential(), leaf.signature_key().as_slice())
}

fn check_new_leaf(leaf: &LeafNode, crypto: &impl OpenMlsCrypto) -> Result<Certificate, Refusal> {
    let certificate = check_leaf(leaf)?;
    // Behind its length in one byte.
    let key = leaf.encryption_key().tls_serialize_detached();
    check_key(
        key.map_err(|_| Refusal::Malformed)?
            .get(1..)
            .unwrap_or_default(),
        crypto,
    )?;
    Ok(certificate)
}

/// A device is in a group once, and a name belongs to one identity.
pub(crate) fn check_members(members: &[(u32, Certificate)]) -> Result<(), Refusal> {
    if members.len() > MOST_MEMBERS {
        return Err(Refusal::TooMany);
    }
    let (mut owners, mut devices) = (BTreeMap::new(), BTreeSet::new());
    for (
        _,
        Certificate {
            user,
            device,
            identity,
            ..
        },
    ) in members
    {
        if *owners.entry(user).or_insert(identity) != identity {
            return Err(Refusal::OtherIdentity);
        }
        if !devices.insert((user, device)) {
            return Err(Refusal::Twice);
        }
    }
    Ok(())
}

/// Who comes in without being added by a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinPolicy {
    /// Only devices of identities that are in the group.
    Invited,
    /// Whoever proves a key.
    Open,
}

/// Whether somebody comes in by itself.
pub(crate) fn may_enter<'a>(
    policy: JoinPolicy,
    mut members: impl Iterator<Item = &'a Certificate>,
    user: &Name,
    identity: &Public,
) -> bool {
    policy == JoinPolicy::Open || members.any(|one| one.user == *user && one.identity == *identity)
}

/// Why a room does not take something.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Somebody else changed the group first: process what they did, and try again.
    #[error("the group is in epoch {current}: process its events, then try again")]
    StaleEpoch {
        /// The epoch that the group is in.
        current: u64,
    },
    /// More bytes than such a thing can need.
    #[error("it is larger than anything of its kind can be")]
    TooLarge,
    /// Bytes that are no such thing.
    #[error("it cannot be read")]
    Malformed,
    /// Of another group or room.
    #[error("it belongs to another group")]
    OtherGroup,
    /// MLS says no: a signature, a tag, a tree, a proposal.
    #[error("MLS refuses it: {0}")]
    Invalid(&'static str),
    /// Another suite than the room's.
    #[error("its cipher suite is not the room's")]
    OtherSuite,
    /// A commit of this person could not be processed by others.
    #[error("others could not process a commit of yours: a member must add you again")]
    Barred,
    /// Nobody comes into the open group by itself for a while.
    #[error(
        "nobody comes into the group by itself for {minutes} minutes, for a commit was broken: a member must add you"
    )]
    Shut {
        /// For how long.
        minutes: u64,
    },
    /// Not a certificate of the device that uses it.
    #[error("its credential does not count: {0}")]
    Credential(#[from] device::Error),
    /// Done in somebody else's name.
    #[error("it was made by a device of somebody else")]
    OtherSender,
    /// Who sends is not in the group.
    #[error("only members may do that")]
    NotAMember,
    /// Who sends a message was not in the group in its epoch.
    #[error("only who was a member in that epoch may send messages of it: encrypt it anew")]
    NotThen,
    /// A name in the room belongs to another identity.
    #[error("the name belongs to another identity in this room")]
    OtherIdentity,
    /// The device is in the group already.
    #[error("the device is in the group already")]
    Twice,
    /// A device that its person has revoked, or not listed yet.
    #[error("its person's list of devices does not have the device")]
    Unlisted,
    /// A list of devices that is no newer than the one that is known.
    #[error("a list of devices as new is known already")]
    OldList,
    /// A key package whose time is over, not yet come, or too long.
    #[error("a key package must count now, {MARGIN} s longer, and not for more than 90 days")]
    Lifetime,
    /// Somebody else than the two whose room it is.
    #[error("this is a room of two people, whose keys its name is made of: nobody else comes in")]
    NotTheirs,
    /// More devices than a room or a commit takes.
    #[error("a room has {MOST_MEMBERS} devices at most, and {MOST_ADDED} are added at a time")]
    TooMany,
    /// A change that rooms of safe-chat do not make.
    #[error("only adding, removing and renewing devices is possible")]
    OtherChange,
    /// The welcome is not for exactly those who are added.
    #[error("the welcome is not for the devices that are added")]
    OtherWelcome,
    /// The group info is not that of the epoch that the commit makes.
    #[error("the group info is not that of the new epoch")]
    OtherGroupInfo,
}

impl Refusal {
    /// For the protocol: `rejected` with this code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::StaleEpoch { .. } => "stale_epoch",
            Self::TooLarge => "too_large",
            Self::NotAMember | Self::NotThen | Self::Shut { .. } => "not_a_member",
            Self::Barred => "barred",
            Self::TooMany => "too_many_members",
            Self::Lifetime => "bad_lifetime",
            Self::Credential(_)
            | Self::OtherSender
            | Self::OtherIdentity
            | Self::Unlisted
            | Self::OldList => "bad_credential",
            _ => "bad_bundle",
        }
    }
}

impl From<Malformed> for Refusal {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// Who joins, who leaves, and who did it.
#[derive(Debug)]
pub(crate) struct Review {
    pub(crate) by: Certificate,
    pub(crate) is_external: bool,
    pub(crate) added: Vec<Certificate>,
    pub(crate) removed: Vec<(u32, Certificate)>,
}

/// A group before a commit.
pub(crate) struct Before<'a> {
    pub(crate) room: &'a Name,
    pub(crate) members: &'a BTreeMap<u32, Certificate>,
    pub(crate) policy: JoinPolicy,
    pub(crate) lists: &'a Lists,
}

/// Checks what a commit, valid for MLS, does to a group. Without the time a key package's is not
/// looked at: a member may process a commit long after it was made.
pub(crate) fn review(
    staged: &StagedCommit,
    sender: &Sender,
    by_leaf: u32,
    before: &Before<'_>,
    now: Option<u64>,
    crypto: &impl OpenMlsCrypto,
) -> Result<Review, Refusal> {
    let is_external = matches!(sender, Sender::NewMemberCommit);
    let leaf = staged.update_path_leaf_node();
    let leaf = leaf.ok_or(Refusal::Invalid("a commit renews the keys of its sender"))?;
    let by = check_new_leaf(leaf, crypto)?;
    let members = before.members;
    let mut after: Vec<_> = members.iter().map(|(at, one)| (*at, one.clone())).collect();
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    for queued in staged.queued_proposals() {
        match queued.proposal() {
            Proposal::Remove(remove) => {
                let index = remove.removed().u32();
                let at = after.iter().position(|(leaf, _)| *leaf == index);
                removed.push(after.remove(at.ok_or(Refusal::Invalid("nobody is there"))?));
            }
            Proposal::Add(add) => {
                added.push(check_key_package(add.key_package(), now, crypto)?);
            }
            Proposal::ExternalInit(_) if is_external => {}
            _ => return Err(Refusal::OtherChange),
        }
    }
    if is_external {
        // Who comes back takes the place of the same device, and nobody else's.
        if removed.iter().any(|(_, gone)| !is_same_device(gone, &by)) {
            return Err(Refusal::OtherSender);
        }
        if !may_enter(before.policy, members.values(), &by.user, &by.identity) {
            return Err(Refusal::NotAMember);
        }
    } else if !after
        .iter()
        .any(|(leaf, was)| *leaf == by_leaf && *was == by)
    {
        return Err(Refusal::Invalid("the sender's device changed"));
    }
    let come = added.iter().chain(is_external.then_some(&by));
    for one in come {
        if after
            .iter()
            .any(|(_, other)| is_same_device(one, other) || one.key == other.key)
        {
            return Err(Refusal::Twice);
        }
        if !before.lists.allows(one) {
            return Err(Refusal::Unlisted);
        }
        let mut namesakes = after.iter().filter(|(_, other)| other.user == one.user);
        if namesakes.any(|(_, other)| other.identity != one.identity) {
            return Err(Refusal::OtherIdentity);
        }
        after.push((u32::MAX, one.clone()));
    }
    direct::check(before.room, before.policy, after.iter().map(|(_, one)| one))?;
    if added.len() > MOST_ADDED || after.len() > MOST_MEMBERS {
        return Err(Refusal::TooMany);
    }
    Ok(Review {
        by,
        is_external,
        added,
        removed,
    })
}

fn is_same_device(one: &Certificate, other: &Certificate) -> bool {
    one.identity == other.identity && one.user == other.user && one.device == other.device
}

/// A verified key package is of a certified device, of the room's suite, and counts long enough.
pub(crate) fn check_key_package(
    package: &KeyPackage,
    now: Option<u64>,
    crypto: &impl OpenMlsCrypto,
) -> Result<Certificate, Refusal> {
    if package.ciphersuite() != mls::SUITE {
        return Err(Refusal::OtherSuite);
    }
    if package.tls_serialized_len() > MOST_KEY_PACKAGE {
        return Err(Refusal::TooLarge);
    }
    // Else it could not be in a group whose members are known by certificates.
    let known = package.leaf_node().capabilities().credentials();
    if !known.contains(&CredentialType::Basic) {
        return Err(Refusal::Invalid("a device that knows no basic credentials"));
    }
    check_key(package.hpke_init_key().as_slice(), crypto)?;
    let certificate = check_new_leaf(package.leaf_node(), crypto)?;
    match now {
        Some(now) if !counts(package.life_time(), now) => Err(Refusal::Lifetime),
        _ => Ok(certificate),
    }
}

pub(crate) fn counts(lifetime: &Lifetime, now: u64) -> bool {
    let (from, until) = (lifetime.not_before(), lifetime.not_after());
    let is_bounded = until
        .checked_sub(from)
        .is_some_and(|length| length <= LONGEST_LIFETIME);
    is_bounded && from <= now && now.saturating_add(MARGIN) <= until
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_read_as_it_is_written() {
        for welcome in [None, Some(vec![3])] {
            let bundle = Bundle {
                commit: vec![1, 2],
                welcome,
                group_info: vec![4],
            };
            assert_eq!(Bundle::decode(&bundle.encode()), Ok(bundle));
        }
        assert_eq!(Bundle::decode(&[0, 0, 0, 9]), Err(Refusal::Malformed));
    }

    #[test]
    fn a_key_package_counts_now_and_for_the_margin_and_not_for_ever() {
        let now = 100 * DAY;
        let of = |from, until| counts(&Lifetime::init(from, until), now);
        assert!(of(now, now + MARGIN));
        assert!(of(now - SKEW, now - SKEW + LONGEST_LIFETIME));
        assert!(!of(now, now + MARGIN - 1));
        assert!(!of(now + 1, now + MARGIN + 1));
        assert!(!of(now, now + LONGEST_LIFETIME + 1));
        assert!(!of(0, u64::MAX));
        assert!(!of(now, 0));
    }
}
