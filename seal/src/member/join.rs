//! How a device comes in: by a welcome of somebody who added it, or by itself, when it lost its
//! state and its person is in the group, or the room is open.

use super::room::{Room, Status, bundle_of};
use super::share::Taken;
use super::{Error, Holder, How, Member, Shown};
use crate::crypto::Provider;
use crate::device::Name;
use crate::direct;
use crate::member::Step;
use crate::mls;
use crate::rules::{MOST_GROUP_INFO, MOST_WELCOME, Refusal, check_group_info, check_leaf};
use openmls::prelude::{
    LeafNodeParameters, MlsGroup, MlsMessageBodyIn, OpenMlsProvider as _, StagedWelcome,
};
use std::collections::BTreeSet;

/// What the user was asked, and agreed to, before a device comes back to a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreed<'a> {
    /// Nothing: the same group, and nobody new in it.
    Nothing,
    /// The same group with these in it.
    Newcomers(&'a [Holder]),
    /// Another group than before, or the same one as it was before, whoever is in it.
    AnotherGroup,
}

impl Agreed<'_> {
    fn takes(self, newcomers: &[Holder]) -> bool {
        match self {
            Self::Nothing => newcomers.is_empty(),
            Self::Newcomers(agreed) => newcomers.iter().all(|one| agreed.contains(one)),
            Self::AnotherGroup => true,
        }
    }
}

impl Member {
    /// Comes in by a welcome and the tree of its epoch. Events of later epochs follow.
    ///
    /// # Errors
    /// The welcome is for another device or room, or the group has members that do not count.
    pub fn join(
        &mut self,
        room: &Name,
        welcome: &[u8],
        tree: &[u8],
        now: u64,
    ) -> Result<Step, Error> {
        self.join_at(room, None, (welcome, tree), now)
    }

    /// The same, of a welcome whose commit is at this place of the room.
    ///
    /// # Errors
    /// As [`Member::join`].
    pub fn join_at(
        &mut self,
        room: &Name,
        seq: Option<u64>,
        (welcome, tree): (&[u8], &[u8]),
        now: u64,
    ) -> Result<Step, Error> {
        if !self.is_out(room) {
            return Err(Error::AlreadyIn);
        }
        let joined = self.join_by_welcome(room, welcome, tree, now);
        if let (Ok(_), Some(seq), Some(known)) = (&joined, seq, self.rooms.get_mut(room)) {
            known.read_up_to = Some(seq);
            known.taken = Taken::from_now(seq);
            known.known.changed_at = seq;
        }
        self.finish(Some(room), joined.map(|shown| (Vec::new(), shown)))
    }

    fn join_by_welcome(
        &mut self,
        name: &Name,
        welcome: &[u8],
        tree: &[u8],
        now: u64,
    ) -> Result<Vec<Shown>, Error> {
        if welcome.len() > MOST_WELCOME {
            return Err(Refusal::TooLarge.into());
        }
        let MlsMessageBodyIn::Welcome(welcome) = mls::read(welcome)? else {
            return Err(Refusal::Malformed.into());
        };
        let provider = self.packages.copy();
        let theirs: BTreeSet<_> = super::packages::values(&provider)
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        let failed = |_| Error::Refused(Refusal::Invalid("the welcome"));
        let welcomed = StagedWelcome::build_from_welcome(&provider, &mls::join_config(), welcome)
            .map_err(|_| failed(()))?;
        let inside = welcomed.processed_welcome().unverified_group_info();
        if inside.extensions().ratchet_tree().is_some() {
            return Err(Refusal::OtherGroupInfo.into());
        }
        let staged = welcomed
            .with_ratchet_tree(mls::read_tree(tree)?)
            .skip_lifetime_validation()
            .build()
            .map_err(|_| failed(()))?;
        let by = staged.welcome_sender().map_err(|_| failed(()))?;
        let by = check_leaf(by)?;
        let group = staged.into_group(&provider).map_err(|_| failed(()))?;
        self.packages.used_in(&provider);
        let mut values = provider
            .storage()
            .values
            .write()
            .expect("nobody panics while writing");
        values.retain(|key, _| !theirs.contains(key));
        drop(values);
        let mut room = Room::with(provider, Some(group), Status::In);
        check_group(&mut room, name)?;
        if self.is_from_before(name, &room) || self.lacks_what_was_shown(name, &room) {
            return Err(Error::AnotherGroup);
        }
        if self.has_left(name) {
            return Err(Error::Invited(Holder::from(&by)));
        }
        self.carry_over(name, &mut room);
        room.is_behind = false;
        room.joined_in = room.epoch().unwrap_or_default();
        room.renewed_at = now;
        let shown = arrived(&mut room, Holder::from(&by), (How::LetIn, How::LetInAgain));
        self.rooms.insert(name.clone(), room);
        Ok(shown)
    }

    /// Comes in by itself, with the group's public state of now. Who was in the room before takes
    /// only a later epoch of the same group, with nobody in it who was not in before, unless the
    /// user was asked: a server can make a member lose the group with a commit that members would
    /// not have taken, and bring somebody in by it. It counts when the commit is placed (the event
    /// comes back); if somebody was faster, ask again with the newer state.
    ///
    /// # Errors
    /// The device is in, or the public state is not one that it accepts; [`Error::AnotherGroup`] and
    /// [`Error::Newcomers`] are what the user is to be asked.
    pub fn rejoin(
        &mut self,
        name: &Name,
        (group_info, tree): (&[u8], &[u8]),
        agreed: Agreed<'_>,
        now: u64,
    ) -> Result<Step, Error> {
        if !self.is_out(name) {
            return Err(Error::AlreadyIn);
        }
        let made = self
            .external_commit(name, group_info, tree, now)
            .and_then(|candidate| {
                let is_known = self.is_known_group(name, &candidate)
                    && !self.lacks_what_was_shown(name, &candidate)
                    && !self.is_from_before(name, &candidate);
                if !is_known && agreed != Agreed::AnotherGroup {
                    return Err(Error::AnotherGroup);
                }
                let newcomers = self.newcomers(name, &candidate);
                match agreed.takes(&newcomers) {
                    true => Ok(candidate),
                    false => Err(Error::Newcomers(newcomers)),
                }
            })
            .map(|candidate| {
                let frame = candidate.outstanding(name);
                let lost = || {
                    let mut room = Room::with(Provider::default(), None, Status::Lost);
                    room.is_behind = false;
                    room
                };
                let room = self.rooms.entry(name.clone()).or_insert_with(lost);
                room.rejoin = Some(Box::new(candidate));
                (frame.into_iter().collect(), Vec::new())
            });
        self.finish(Some(name), made)
    }

    fn external_commit(
        &self,
        name: &Name,
        group_info: &[u8],
        tree: &[u8],
        now: u64,
    ) -> Result<Room, Error> {
        if group_info.len() > MOST_GROUP_INFO {
            return Err(Refusal::TooLarge.into());
        }
        let MlsMessageBodyIn::GroupInfo(info) = mls::read(group_info)? else {
            return Err(Refusal::Malformed.into());
        };
        let provider = Provider::default();
        check_group_info(&info, provider.crypto())?;
        let failed = |_| Error::Refused(Refusal::Invalid("the group info"));
        let leaf = LeafNodeParameters::builder().with_capabilities(mls::capabilities());
        let (group, bundle) = MlsGroup::external_commit_builder()
            .with_ratchet_tree(mls::read_tree(tree)?)
            .with_config(mls::join_config())
            .skip_lifetime_validation()
            .build_group(&provider, info, mls::credential(&self.certificate))
            .map_err(|_| failed(()))?
            .leaf_node_parameters(leaf.build())
            .load_psks(provider.storage())
            .map_err(|_| failed(()))?
            .create_group_info(true)
            .build(provider.rand(), provider.crypto(), &self.key, |_| true)
            .map_err(|_| failed(()))?
            .finalize(&provider)
            .map_err(|_| failed(()))?;
        let mut candidate = Room::with(provider, Some(group), Status::In);
        check_group(&mut candidate, name).map_err(Error::of_members)?;
        candidate.outgoing = Some(bundle_of(bundle)?.encode());
        candidate.joined_in = candidate.epoch().unwrap_or_default();
        candidate.renewed_at = now;
        Ok(candidate)
    }

    /// Devices of others that were not in when this device knew the group last; none, if it never
    /// did.
    fn newcomers(&self, name: &Name, candidate: &Room) -> Vec<Holder> {
        let own = Holder::from(&self.certificate);
        match self.rooms.get(name).map(|room| &room.known) {
            Some(known) if !known.group.is_empty() => {
                let (mut joined, _) = candidate.since(known);
                joined.retain(|one| *one != own);
                joined
            }
            _ => Vec::new(),
        }
    }

    /// Whether it is the group that this device was in, or the device was in none.
    fn is_known_group(&self, name: &Name, candidate: &Room) -> bool {
        let group = candidate.group.as_ref();
        let group = group.map(|group| group.group_id().as_slice());
        let known = self.rooms.get(name).map(|room| &room.known.group[..]);
        known.is_none_or(|known| known.is_empty() || group == Some(known))
    }

    /// Whether it is an epoch whose end this device has seen: of an old welcome, or an old state.
    fn is_from_before(&self, name: &Name, candidate: &Room) -> bool {
        let known = self.rooms.get(name).map(|room| &room.known);
        self.is_known_group(name, candidate)
            && known.is_some_and(|known| {
                !known.group.is_empty() && candidate.epoch() <= Some(known.epoch)
            })
    }

    /// Whether something was shown of a change that is not in it: of an old state, or a group of the
    /// server's own.
    fn lacks_what_was_shown(&self, name: &Name, candidate: &Room) -> bool {
        let known = self.rooms.get(name).map(|room| &room.known);
        self.is_known_group(name, candidate)
            && known.is_some_and(|known| candidate.epoch() <= Some(known.shown))
            && known.is_some_and(|known| known.shown > 0)
    }

    /// Puts the way back in the place of the room that was lost.
    pub(super) fn adopt(&mut self, name: &Name) -> Vec<Shown> {
        let rejoin = self.rooms.get_mut(name).and_then(|room| room.rejoin.take());
        let Some(mut room) = rejoin else {
            return Vec::new();
        };
        self.carry_over(name, &mut room);
        room.outgoing = None;
        let how = (How::CameIn, How::CameBack);
        let shown = arrived(&mut room, Holder::from(&self.certificate), how);
        self.rooms.insert(name.clone(), *room);
        shown
    }

    /// What does not end with a group: numbers of messages are never given twice, and who was who
    /// is not forgotten.
    pub(super) fn carry_over(&self, name: &Name, room: &mut Room) {
        if let Some(before) = self.rooms.get(name) {
            room.sent = before.sent;
            room.known = before.known.clone();
            room.lists = before.lists.clone();
            room.read_up_to = before.read_up_to;
            room.is_behind = before.is_behind;
        }
    }
}

/// What there is to say when the device is in, for the first time or again.
fn arrived(room: &mut Room, by: Holder, (first, again): (How, How)) -> Vec<Shown> {
    let known = room.known.clone();
    let (joined, left) = room.since(&known);
    let mut shown = room.remember();
    room.known.shown = 0;
    if !known.group.is_empty() && known.group != room.known.group {
        shown.push(Shown::OtherGroup);
    }
    shown.push(Shown::Changed {
        how: match known.group.is_empty() {
            true => first,
            false => again,
        },
        epoch: room.joined_in,
        by: Some(by),
        joined,
        left,
        code: room.code().unwrap_or_default(),
    });
    shown
}

/// Whether the group is of the room, and its members count.
fn check_group(room: &mut Room, name: &Name) -> Result<(), Refusal> {
    let group = room.group.as_ref().ok_or(Refusal::Malformed)?;
    if group.ciphersuite() != mls::SUITE {
        return Err(Refusal::OtherSuite);
    }
    let policy = mls::join_policy_of(group.group_id().as_slice(), name)?;
    room.learn_members()?;
    direct::check(name, policy, room.members.values())
}
