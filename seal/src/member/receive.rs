//! Events of a room, in their order.

use super::room::{CONTENT_FORM, Room, Status};
use super::{Content, Error, Event, Frame, Holder, Member, Shown, Step};
use crate::device::{Certificate, DeviceKey, Name};
use crate::mls::{self, read};
use crate::rules::{MOST_MESSAGE, Refusal, Review, review};
use openmls::prelude::{
    BasicCredential, MlsMessageBodyIn, ProcessedMessage, ProcessedMessageContent, Proposal,
    ProtocolMessage, PublicMessageIn, Sender, StagedCommit,
};

type Done = (Vec<Frame>, Vec<Shown>);

impl Member {
    /// Takes the next event of a room. One that was taken before changes nothing.
    ///
    /// # Errors
    /// An event before it is missing.
    pub fn receive(&mut self, room: &Name, event: Event<'_>) -> Result<Step, Error> {
        let done = self.take(room, event);
        self.settle(Some(room), done)
    }

    fn take(&mut self, name: &Name, event: Event<'_>) -> Result<Done, Error> {
        let (key, own) = (self.key.clone(), self.certificate.clone());
        let Some(room) = self.rooms.get_mut(name) else {
            return Ok(Done::default());
        };
        if let Event::Commit(commit) = event
            && let Some(rejoin) = &room.rejoin
        {
            if rejoin.outgoing_commit().as_deref() == Some(commit) {
                return Ok((Vec::new(), self.adopt(name).into_iter().collect()));
            }
            if is_of_or_after(commit, rejoin.epoch().unwrap_or_default().saturating_sub(1)) {
                room.rejoin = None;
                return Ok((
                    Vec::new(),
                    vec![Shown::Lost("somebody was faster: rejoin again")],
                ));
            }
        }
        if room.group.is_none() {
            return Ok(Done::default());
        }
        match event {
            Event::Founded(group_info) => Ok((Vec::new(), room.founded(group_info))),
            Event::Commit(commit) => room.commit(&key, &own, name, commit),
            Event::Message(message) => {
                Ok((Vec::new(), room.message(message).into_iter().collect()))
            }
            Event::Leave(proposal) => Ok((Vec::new(), room.leave_event(&own, proposal))),
        }
    }
}

impl Room {
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
            self.forget(Status::Out);
            return vec![Shown::Dropped];
        }
        (self.status, self.outgoing) = (Status::In, None);
        vec![Shown::Changed {
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
        let Ok(MlsMessageBodyIn::PublicMessage(message)) = read(bytes) else {
            return Ok(self.lose(name, epoch, "a commit cannot be read"));
        };
        let of = message.epoch().as_u64();
        let is_ours = self
            .group
            .as_ref()
            .is_some_and(|group| group.group_id() == message.group_id());
        match of {
            _ if !is_ours => return Ok(self.lose(name, epoch, "a commit of another group")),
            _ if of < epoch => return Ok(Done::default()),
            _ if of > epoch => return Err(Error::Gap),
            _ => {}
        }
        let reviewed = match self.process(message) {
            Ok(reviewed) => reviewed,
            Err(why) => return Ok(self.lose(name, epoch + 1, why)),
        };
        // Even if the same commit adds the device again: it comes in by the welcome then.
        if reviewed.removed.iter().any(|(_, gone)| gone == own) {
            let is_own_return = reviewed.is_external && reviewed.by == *own;
            return Ok((Vec::new(), vec![self.removed(is_own_return)]));
        }
        let mut shown = vec![self.changed(own, &reviewed)];
        let frames = self.again(key, own, name, &reviewed, &mut shown);
        Ok((frames, shown))
    }

    /// Verifies a commit and moves the group into the epoch that it makes.
    fn process(&mut self, message: PublicMessageIn) -> Result<Review, &'static str> {
        let group = self.group.as_mut().ok_or("there is no group")?;
        let processed = group.process_message(&self.provider, message);
        let processed = processed.map_err(|_| "MLS refuses a commit that the server took")?;
        let sender = processed.sender().clone();
        let members: Vec<_> = self
            .members
            .iter()
            .map(|(at, one)| (*at, one.clone()))
            .collect();
        let check = |group: &openmls::prelude::MlsGroup, staged: &StagedCommit| {
            let leaf = match &sender {
                Sender::Member(leaf) => leaf.u32(),
                _ => group
                    .ext_commit_sender_index(staged)
                    .map_err(|_| "a commit from nowhere")?
                    .u32(),
            };
            review(staged, &sender, leaf, &members, None)
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

    fn removed(&mut self, is_own_return: bool) -> Shown {
        match is_own_return {
            true => {
                self.forget(Status::Lost);
                Shown::Lost("this device came back to the room elsewhere")
            }
            false => {
                self.forget(Status::Out);
                Shown::Out
            }
        }
    }

    fn changed(&self, own: &Certificate, reviewed: &Review) -> Shown {
        let mut joined: Vec<_> = reviewed.added.iter().map(Holder::from).collect();
        let mut left: Vec<_> = reviewed
            .removed
            .iter()
            .map(|(_, one)| Holder::from(one))
            .collect();
        let by = Holder::from(&reviewed.by);
        if reviewed.is_external {
            // Who came back neither joined nor left.
            match left.iter().position(|one| *one == by) {
                Some(at) => drop(left.remove(at)),
                None => joined.push(by.clone()),
            }
        }
        debug_assert!(self.members.values().any(|one| one == own));
        Shown::Changed {
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
            self.sent_since_renewal = 0;
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

    /// The group went on where this device cannot follow.
    fn lose(&mut self, name: &Name, epoch: u64, why: &'static str) -> Done {
        self.forget(Status::Lost);
        let room = name.clone();
        (vec![Frame::Report { room, epoch }], vec![Shown::Lost(why)])
    }

    fn message(&mut self, bytes: &[u8]) -> Option<Shown> {
        if bytes.len() > MOST_MESSAGE {
            return Some(Shown::Unreadable("it is too large"));
        }
        let Ok(MlsMessageBodyIn::PrivateMessage(message)) = read(bytes) else {
            return Some(Shown::Unreadable("it is no message"));
        };
        let group = self.group.as_mut()?;
        let (epoch, current) = (message.epoch().as_u64(), group.epoch().as_u64());
        if message.group_id() != group.group_id() {
            return Some(Shown::Unreadable("it is of another group"));
        }
        if epoch < self.joined_in {
            return Some(Shown::Unreadable("it is from before this device came"));
        }
        if epoch > current || current - epoch > crate::rules::EPOCHS_BACK {
            return Some(Shown::Unreadable("its keys are gone"));
        }
        let Ok(processed) = group.process_message(&self.provider, ProtocolMessage::from(message))
        else {
            return Some(Shown::Unreadable("it was seen before, or is forged"));
        };
        self.read(processed)
    }

    fn read(&mut self, processed: ProcessedMessage) -> Option<Shown> {
        let number: Option<[u8; 8]> = processed.aad().try_into().ok();
        let basic = BasicCredential::try_from(processed.credential().clone()).ok();
        let from = basic.and_then(|basic| Holder::read(basic.identity()));
        match processed.into_content() {
            ProcessedMessageContent::ApplicationMessage(message) => {
                let bytes = message.into_bytes();
                match (from, bytes.split_first()) {
                    (Some(from), Some((&CONTENT_FORM, content))) => Some(Shown::Message {
                        from,
                        content: Content(content.to_vec()),
                    }),
                    _ => Some(Shown::Unreadable("it is of a later version")),
                }
            }
            // An own message cannot be decrypted again; its number says whether it is known.
            ProcessedMessageContent::OwnPrivateMessage => {
                let number = u64::from_be_bytes(number?);
                if number <= self.sent {
                    return Some(Shown::Placed { number });
                }
                self.forget(Status::Lost);
                self.sent = number;
                Some(Shown::Lost(
                    "it was restored from a backup older than what it has sent",
                ))
            }
            _ => Some(Shown::Unreadable("it is no message")),
        }
    }

    fn leave_event(&mut self, own: &Certificate, bytes: &[u8]) -> Vec<Shown> {
        if self.status == Status::Leaving && self.outgoing.as_deref() == Some(bytes) {
            self.forget(Status::Out);
            return vec![Shown::Out];
        }
        let Ok(leaf) = self.verified_leave(bytes) else {
            return Vec::new();
        };
        self.leaving.insert(leaf);
        let staying = self
            .members
            .iter()
            .find(|(leaf, _)| !self.leaving.contains(leaf));
        let is_ours_to_remove = staying.is_some_and(|(_, first)| first == own);
        let who = self.members.get(&leaf).map(Holder::from);
        let leaving = |who| Shown::Leaving {
            who,
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

fn is_of_or_after(commit: &[u8], epoch: u64) -> bool {
    match read(commit) {
        Ok(MlsMessageBodyIn::PublicMessage(message)) => message.epoch().as_u64() >= epoch,
        _ => false,
    }
}
