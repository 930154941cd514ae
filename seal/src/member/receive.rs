//! Events of a room, in their order.

use super::room::{MOST_REVOKED, Room, Status};
use super::share::Taken;
use super::step::OLDER;
use super::{ELSEWHERE, Error, Event, FASTER, Frame, Holder, How, Member, Shown, Step};
use crate::device::{Certificate, DeviceKey, List, Name};
use crate::mls::{self, read};
use crate::rules::{
    Before, JoinPolicy, MOST_MEMBERS, MOST_MESSAGE, Refusal, Review, check_commit_size,
    check_proposals, review,
};
use openmls::prelude::{
    BasicCredential, ContentType, MlsMessageBodyIn, OpenMlsProvider as _, ProcessedMessage,
    ProcessedMessageContent, Proposal, ProtocolMessage, PublicMessageIn, Sender, StagedCommit,
};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use subtle::ConstantTimeEq as _;

type Done = (Vec<Frame>, Vec<Shown>);

impl Member {
    /// Takes the next event of a room. One that was taken before changes nothing.
    ///
    /// # Errors
    /// An event before it is missing.
    pub fn receive(&mut self, room: &Name, event: Event<'_>) -> Result<Step, Error> {
        let done = self.take(room, event, None);
        self.finish(Some(room), done)
    }

    /// The same, of an event at this place of the room, which is remembered with what it changes.
    ///
    /// # Errors
    /// As [`Member::receive`].
    pub fn receive_at(&mut self, room: &Name, seq: u64, event: Event<'_>) -> Result<Step, Error> {
        let was_there = self.rooms.get(room).is_some_and(Room::is_there);
        let epoch = self.epoch(room);
        let done = self.take(room, event, Some(seq));
        let comes = |known: &&mut Room| done.is_ok() && !was_there && known.is_there();
        if let Some(known) = self.rooms.get_mut(room).filter(comes) {
            known.taken = Taken::from_now(seq);
            known.known.changed_at = seq;
        }
        if let Some(known) = self.rooms.get_mut(room)
            && known.epoch() != epoch
        {
            known.known.changed_at = seq;
        }
        let is_concerned = |known: &&mut Room| known.group.is_some() || known.rejoin.is_some();
        if let (Ok(_), Some(known)) = (&done, self.rooms.get_mut(room).filter(is_concerned)) {
            known.has_read(seq);
        }
        self.finish(Some(room), done)
    }

    fn take(&mut self, name: &Name, event: Event<'_>, seq: Option<u64>) -> Result<Done, Error> {
        let (key, own) = (self.key.clone(), self.certificate.clone());
        let Some(room) = self.rooms.get_mut(name) else {
            return Ok(Done::default());
        };
        if let Event::Commit(commit) = event
            && let Some(rejoin) = &room.rejoin
        {
            check_commit_size(commit, MOST_MEMBERS, true)?;
            if rejoin.outgoing_commit().as_deref() == Some(commit) {
                return Ok((Vec::new(), self.adopt(name)));
            }
            if rejoin.is_overtaken_by(commit) {
                room.rejoin = None;
                return Ok((Vec::new(), vec![Shown::Lost(FASTER)]));
            }
        }
        if room.group.is_none() {
            // Whether this device counts (again).
            if let Event::Devices(list) = event {
                room.lists.learn_own(list, name, &own);
            }
            return Ok(Done::default());
        }
        match event {
            Event::Founded(group_info) => Ok((Vec::new(), room.founded(group_info))),
            Event::Commit(commit) => room.commit(&key, &own, name, commit),
            Event::Message(message) => {
                let shown = room.message((&key, &own), seq, message)?;
                Ok((Vec::new(), shown.into_iter().collect()))
            }
            Event::Leave(proposal) => Ok((Vec::new(), room.leave_event(&own, proposal))),
            Event::Devices(list) => Ok((Vec::new(), room.devices_event(&own, name, list)?)),
        }
    }
}

impl Room {
    /// Whether a commit makes the epoch that this way back would make, or a later one.
    fn is_overtaken_by(&self, commit: &[u8]) -> bool {
        let (Some(group), Some(epoch)) = (&self.group, self.epoch()) else {
            return false;
        };
        match read(commit) {
            Ok(MlsMessageBodyIn::PublicMessage(message)) => {
                message.group_id() == group.group_id()
                    && message.epoch().as_u64() >= epoch.saturating_sub(1)
            }
            _ => false,
        }
    }

    fn founded(&mut self, group_info: &[u8]) -> Vec<Shown> {
        if self.status != Status::Founding {
            return Vec::new();
        }
        let is_ours = self.outgoing.as_ref().is_some_and(|founding| {
            crate::codec::Reader(founding)
                .long()
                .is_ok_and(|ours| ours == group_info)
        });
        if !is_ours {
            self.drop_group(Status::Out);
            return Vec::new();
        }
        (self.status, self.outgoing) = (Status::In, None);
        self.remember();
        vec![Shown::Changed {
            how: How::Founded,
            epoch: 0,
            by: None,
            joined: self.members.values().map(Holder::from).collect(),
            left: Vec::new(),
            code: self.code().unwrap_or_default(),
        }]
    }

    fn commit(
        &mut self,
        key: &DeviceKey,
        own: &Certificate,
        name: &Name,
        bytes: &[u8],
    ) -> Result<Done, Error> {
        let epoch = self.epoch().unwrap_or_default();
        // What is no commit of this group never was in the room, whatever the server says.
        check_commit_size(bytes, self.members.len(), true)?;
        check_proposals(bytes)?;
        let MlsMessageBodyIn::PublicMessage(message) = read(bytes)? else {
            return Err(Refusal::Malformed.into());
        };
        let group = self.group.as_ref().ok_or(Error::NotIn)?;
        let policy = mls::join_policy_of(group.group_id().as_slice(), name)?;
        if group.group_id() != message.group_id() {
            return Err(Refusal::OtherGroup.into());
        }
        if message.content_type() != ContentType::Commit {
            return Err(Refusal::OtherChange.into());
        }
        match message.epoch().as_u64() {
            of if of < epoch => return Ok(Done::default()),
            of if of > epoch => return Err(self.is_shown(of)),
            _ => {}
        }
        let before = self.leaving.clone();
        // As its sender says of itself, who may be anybody: it tells only why it cannot be taken.
        let is_own = *message.sender() == Sender::Member(group.own_leaf_index());
        let is_forgotten = is_own && self.outgoing_commit().as_deref() != Some(bytes);
        let reviewed = match self.process(message, (name, policy)) {
            Ok(reviewed) => reviewed,
            Err(_) if is_forgotten => return Ok(self.lose(name, epoch + 1, OLDER)),
            Err(why) => return Ok(self.lose(name, epoch + 1, why)),
        };
        // Even if the same commit adds the device again: it comes in by the welcome then.
        if reviewed.removed.iter().any(|(_, gone)| gone == own) {
            let is_own_return = reviewed.is_external && reviewed.by == *own;
            return Ok((Vec::new(), vec![self.removed(&reviewed.by, is_own_return)]));
        }
        let mut shown = self.remember();
        shown.push(self.changed(&reviewed, &before));
        let frames = self.again(key, own, name, &reviewed, &mut shown);
        Ok((frames, shown))
    }

    /// Verifies a commit and moves the group into the epoch that it makes.
    fn process(
        &mut self,
        message: PublicMessageIn,
        (name, policy): (&Name, JoinPolicy),
    ) -> Result<Review, &'static str> {
        let group = self.group.as_mut().ok_or("there is no group")?;
        let processed = group.process_message(&self.provider, message);
        let processed = processed.map_err(|_| "MLS refuses a commit that the server took")?;
        let sender = processed.sender().clone();
        let crypto = self.provider.crypto();
        let before = Before {
            room: name,
            members: &self.members,
            policy,
            lists: &self.lists,
        };
        let check = |group: &openmls::prelude::MlsGroup, staged: &StagedCommit| {
            let leaf = match &sender {
                Sender::Member(leaf) => leaf.u32(),
                _ => group
                    .ext_commit_sender_index(staged)
                    .map_err(|_| "a commit from nowhere")?
                    .u32(),
            };
            review(staged, &sender, leaf, &before, None, crypto)
                .map_err(|_| "the server took a commit that no room accepts")
        };
        let reviewed = match processed.into_content() {
            ProcessedMessageContent::StagedCommitMessage(staged) => {
                let reviewed = check(group, &staged)?;
                let merged = group.merge_staged_commit(&self.provider, *staged);
                merged.map_err(|_| "a commit cannot be merged")?;
                reviewed
            }
            ProcessedMessageContent::OwnPendingCommit => {
                let staged = group
                    .pending_commit()
                    .ok_or("a commit of one's own is missing")?;
                let reviewed = check(group, staged)?;
                let merged = group.merge_pending_commit(&self.provider);
                merged.map_err(|_| "a commit cannot be merged")?;
                reviewed
            }
            _ => return Err("a commit that is none"),
        };
        for (leaf, _) in &reviewed.removed {
            self.leaving.remove(leaf);
        }
        self.members = mls::members_again(group.treesync(), &self.members);
        Ok(reviewed)
    }

    fn removed(&mut self, by: &Certificate, is_own_return: bool) -> Shown {
        match is_own_return {
            true => {
                self.drop_group(Status::Lost);
                Shown::Lost(ELSEWHERE)
            }
            false => {
                self.drop_group(Status::Out);
                Shown::Out {
                    by: Some(by.into()),
                }
            }
        }
    }

    /// `leaving`: who had asked to go, or was revoked, before it.
    fn changed(&self, reviewed: &Review, leaving: &BTreeSet<u32>) -> Shown {
        let mut joined: Vec<_> = reviewed.added.iter().map(Holder::from).collect();
        let mut left: Vec<_> = reviewed
            .removed
            .iter()
            .map(|(_, one)| Holder::from(one))
            .collect();
        let by = Holder::from(&reviewed.by);
        let has_asked =
            |(leaf, one): &(u32, Certificate)| leaving.contains(leaf) && self.lists.allows(one);
        let are_gone = reviewed.added.is_empty()
            && !reviewed.removed.is_empty()
            && reviewed.removed.iter().all(has_asked);
        let mut how = match are_gone {
            true => How::Gone,
            false => How::Change,
        };
        if reviewed.is_external {
            // Who came back neither joined nor left.
            how = match left.iter().position(|one| *one == by) {
                Some(at) => {
                    left.remove(at);
                    How::CameBack
                }
                None => {
                    joined.push(by.clone());
                    How::CameIn
                }
            };
        }
        Shown::Changed {
            how,
            epoch: self.epoch().unwrap_or_default(),
            by: Some(by),
            joined,
            left,
            code: self.code().unwrap_or_default(),
        }
    }

    /// What was on its way has arrived, or lost against this commit and is made again.
    fn again(
        &mut self,
        key: &DeviceKey,
        own: &Certificate,
        name: &Name,
        reviewed: &Review,
        shown: &mut Vec<Shown>,
    ) -> Vec<Frame> {
        if reviewed.by == *own {
            (self.outgoing, self.intent) = (None, None);
            (self.sent_since_renewal, self.renewed_at) = (0, self.renewing_at);
            return Vec::new();
        }
        let room = name.clone();
        if self.status == Status::Leaving {
            (self.status, self.outgoing) = (Status::In, None);
            return match self.leave(key) {
                Ok(bytes) => vec![Frame::Leave { room, bytes }],
                Err(_) => {
                    shown.push(Shown::Dropped);
                    Vec::new()
                }
            };
        }
        self.outgoing = None;
        let Some(intent) = self.intent.take() else {
            return Vec::new();
        };
        match self.change(key, intent, None) {
            Ok(Some(bundle)) => vec![Frame::Change { room, bundle }],
            Ok(None) | Err(_) => {
                shown.push(Shown::Dropped);
                Vec::new()
            }
        }
    }

    /// Something is of a later epoch than that which the device knows.
    fn is_shown(&mut self, epoch: u64) -> Error {
        self.known.shown = self.known.shown.max(epoch);
        Error::Gap
    }

    /// The group went on where this device cannot follow.
    fn lose(&mut self, name: &Name, epoch: u64, why: &'static str) -> Done {
        self.drop_group(Status::Lost);
        let room = name.clone();
        (vec![Frame::Report { room, epoch }], vec![Shown::Lost(why)])
    }

    fn message(
        &mut self,
        own: (&DeviceKey, &Certificate),
        seq: Option<u64>,
        bytes: &[u8],
    ) -> Result<Option<Shown>, Error> {
        let unreadable = |why| Ok(Some(Shown::Unreadable(why)));
        if bytes.len() > MOST_MESSAGE {
            return unreadable("it is too large");
        }
        let Ok(MlsMessageBodyIn::PrivateMessage(message)) = read(bytes) else {
            return unreadable("it is no message");
        };
        let group = self.group.as_mut().ok_or(Error::NotIn)?;
        let (epoch, current) = (message.epoch().as_u64(), group.epoch().as_u64());
        if message.group_id() != group.group_id() {
            return unreadable("it is of another group");
        }
        if epoch > current {
            return Err(self.is_shown(epoch));
        }
        if epoch < self.joined_in {
            return unreadable("it is from before this device came");
        }
        if current - epoch > crate::rules::EPOCHS_BACK {
            return unreadable("its keys are gone");
        }
        let message = ProtocolMessage::from(message);
        match group.process_message(&self.provider, message) {
            Ok(processed) => Ok(self.read(own, seq, bytes, processed)),
            Err(_) => unreadable("it was seen before, or is forged"),
        }
    }

    fn read(
        &mut self,
        (key, own): (&DeviceKey, &Certificate),
        seq: Option<u64>,
        bytes: &[u8],
        read: ProcessedMessage,
    ) -> Option<Shown> {
        let mark = read.aad().to_vec();
        let basic = BasicCredential::try_from(read.credential().clone()).ok();
        let from = basic.and_then(|basic| Holder::read(basic.identity()));
        match read.into_content() {
            ProcessedMessageContent::ApplicationMessage(message) => {
                let bytes = message.into_bytes();
                let from = from?;
                if !self.members.values().any(|one| Holder::from(one) == from) {
                    return Some(Shown::Unreadable("its sender is not in the room any more"));
                }
                Some(self.inside(own, from, seq, &bytes))
            }
            ProcessedMessageContent::OwnPrivateMessage => self.own_message(key, bytes, &mark),
            _ => Some(Shown::Unreadable("it is no message")),
        }
    }

    /// A message of this device cannot be decrypted again. Its mark says that the device made it,
    /// and its bytes whether it was this copy of the device.
    fn own_message(&mut self, key: &DeviceKey, bytes: &[u8], mark: &[u8]) -> Option<Shown> {
        let number = u64::from_be_bytes(*mark.first_chunk()?);
        let expected = self.own_mark(key, number)?;
        if !bool::from(expected.ct_eq(mark)) {
            return Some(Shown::Unreadable("it is forged"));
        }
        let why = match self.unplaced.get(&number) {
            Some(hash) if Sha256::digest(bytes)[..] == hash[..] => {
                self.unplaced.remove(&number);
                return Some(Shown::Placed { number });
            }
            // A mark can be copied onto other bytes, so they say nothing.
            Some(_) => {
                return Some(Shown::Unreadable(
                    "it is forged, or of a copy of this device",
                ));
            }
            None if number <= self.sent => return None,
            None => OLDER,
        };
        self.drop_group(Status::Lost);
        self.sent = number;
        Some(Shown::Lost(why))
    }

    fn leave_event(&mut self, own: &Certificate, bytes: &[u8]) -> Vec<Shown> {
        if self.status == Status::Leaving && self.outgoing.as_deref() == Some(bytes) {
            self.drop_group(Status::Out);
            self.has_left = true;
            return vec![Shown::Out { by: None }];
        }
        let Ok(leaf) = self.verified_leave(bytes) else {
            return Vec::new();
        };
        self.goes(own, leaf, false)
    }

    /// A list that is no newer says nothing.
    fn devices_event(
        &mut self,
        own: &Certificate,
        name: &Name,
        bytes: &[u8],
    ) -> Result<Vec<Shown>, Error> {
        let list = match self.lists.decide(bytes, name) {
            Err(Refusal::OldList) => return Ok(Vec::new()),
            decided => decided?,
        };
        if *list.identity() == own.identity {
            self.remember_revoked(&list, own);
        }
        self.lists.learn(list, &self.members);
        let members = self.members.iter();
        let gone = members
            .filter(|(_, one)| !self.lists.allows(one))
            .map(|(leaf, _)| *leaf);
        let gone: Vec<_> = gone.filter(|leaf| !self.leaving.contains(leaf)).collect();
        self.leaving.extend(&gone);
        Ok(gone
            .into_iter()
            .flat_map(|leaf| self.goes(own, leaf, true))
            .collect())
    }

    /// Which own devices a list is without, that the one before or the group has.
    fn remember_revoked(&mut self, list: &List, own: &Certificate) {
        let before = self.lists.of(&own.identity).into_iter();
        let before = before.flat_map(List::devices).map(|(name, _)| name);
        let members = self.members.values();
        let members = members.filter(|one| one.identity == own.identity);
        let had = before.chain(members.map(|one| &one.device));
        let has = |name: &Name| list.devices().any(|(listed, _)| listed == name);
        let gone: Vec<_> = had.filter(|name| !has(name)).collect();
        let revoked = &mut self.known.revoked;
        revoked.extend(gone.into_iter().map(ToString::to_string));
        revoked.retain(|name| !list.devices().any(|(listed, _)| listed.as_str() == name));
        while revoked.len() > MOST_REVOKED {
            revoked.pop_first();
        }
    }

    fn goes(&mut self, own: &Certificate, leaf: u32, is_revoked: bool) -> Vec<Shown> {
        self.leaving.insert(leaf);
        let staying = self
            .members
            .iter()
            .find(|(leaf, _)| !self.leaving.contains(leaf));
        let is_ours_to_remove = staying.is_some_and(|(_, first)| first == own);
        let who = self.members.get(&leaf).map(Holder::from);
        let leaving = |who| Shown::Leaving {
            who,
            is_revoked,
            is_ours_to_remove,
        };
        who.map(leaving).into_iter().collect()
    }

    /// The leaf of the device that signed the request. It is not kept as a proposal: who removes
    /// the device says so in the commit itself.
    fn verified_leave(&mut self, bytes: &[u8]) -> Result<u32, Refusal> {
        if bytes.len() > MOST_MESSAGE {
            return Err(Refusal::TooLarge);
        }
        let MlsMessageBodyIn::PublicMessage(message) = read(bytes)? else {
            return Err(Refusal::Malformed);
        };
        let group = self.group.as_mut().ok_or(Refusal::NotAMember)?;
        let processed = group.process_message(&self.provider, message);
        let processed = processed.map_err(|_| Refusal::Invalid("the proposal"))?;
        let Sender::Member(leaf) = processed.sender().clone() else {
            return Err(Refusal::NotAMember);
        };
        match processed.into_content() {
            ProcessedMessageContent::ProposalMessage(queued) => match queued.proposal() {
                Proposal::Remove(remove) if remove.removed() == leaf => Ok(leaf.u32()),
                _ => Err(Refusal::OtherChange),
            },
            _ => Err(Refusal::OtherChange),
        }
    }
}
