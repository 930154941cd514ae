//! The group of a sealed room, as its owner follows it: which handshakes and messages it takes, and
//! what an accepted one makes of it. MLS itself is in `seal`.
//!
//! Deciding looks at the group and changes nothing; an event changes it, and never fails. What was
//! decided is remembered until its event comes, so that a commit is processed once.

use super::{Body, Millis, Policy, Reason, Rejection, RoomId, Seq, State, UserId};
use bytes::Bytes;
use seal::{
    Certificate, Delivery, Handshake, Name, Public, Refusal,
    delivery::{Accepted, Admission, Proven},
};
use std::{
    collections::BTreeSet,
    fmt,
    sync::{Mutex, OnceLock, PoisonError},
};

/// Welcomes that wait to be handed over, at most: more come together only when a room is replayed
/// that could not be saved for long. Who is added and gets none comes in by an external commit.
const OWED: usize = 32;

/// The group of a room. A clone has only its stored form, and is restored when it is needed.
pub struct Group {
    /// `None`: it cannot be followed.
    live: OnceLock<Option<Delivery>>,
    stored: OnceLock<Bytes>,
    made_at: Seq,
    is_lost: bool,
    decided: Mutex<Option<Decided>>,
    owed: Vec<Admitted>,
}

/// A commit that was found good, and is not placed yet.
struct Decided {
    handshake: Bytes,
    by: Proven,
    at: Millis,
    accepted: Accepted,
}

/// What newcomers need, for whoever keeps it for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// The epoch that they come into.
    pub epoch: u64,
    /// The place of the commit: they read on behind it.
    pub seq: Seq,
    /// When it was stored.
    pub at: Millis,
    /// Who added them.
    pub by: Certificate,
    /// Who they are.
    pub recipients: Vec<Certificate>,
    /// The welcome and the tree.
    pub admission: Admission,
}

/// With what a device comes back that lost its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reentry {
    /// The epoch of the group.
    pub epoch: u64,
    /// The place of the event that made the epoch.
    pub made_at: Seq,
    /// The group info (MLSMessage).
    pub group_info: Bytes,
    /// The tree.
    pub tree: Bytes,
}

impl Group {
    fn new(delivery: Delivery) -> Self {
        Self {
            live: OnceLock::from(Some(delivery)),
            ..Self::empty()
        }
    }

    fn empty() -> Self {
        Self {
            live: OnceLock::new(),
            stored: OnceLock::new(),
            made_at: Seq::ZERO,
            is_lost: false,
            decided: Mutex::default(),
            owed: Vec::new(),
        }
    }

    /// From its stored form; `None`: a form that this version does not read.
    pub fn restore(stored: Bytes, made_at: Seq, is_lost: bool) -> Option<Self> {
        (is_lost || Delivery::reads(&stored)).then(|| Self {
            stored: OnceLock::from(stored),
            made_at,
            is_lost,
            ..Self::empty()
        })
    }

    /// Its stored form.
    pub fn stored(&self) -> Bytes {
        let snapshot = || match self.live.get() {
            Some(Some(delivery)) => delivery.snapshot().into(),
            _ => Bytes::new(),
        };
        self.stored.get_or_init(snapshot).clone()
    }

    /// The place of the event that made its epoch.
    pub fn made_at(&self) -> Seq {
        self.made_at
    }

    /// Whether a commit could not be processed when the room was replayed.
    pub fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// With what a device comes back; `None`: the group cannot be followed.
    pub fn reentry(&self) -> Option<Reentry> {
        let delivery = self.delivery()?;
        let (group_info, tree) = delivery.reentry();
        Some(Reentry {
            epoch: delivery.epoch(),
            made_at: self.made_at,
            group_info: group_info.into(),
            tree: tree.into(),
        })
    }

    /// Who is in it, by name and key.
    pub(super) fn holders(&self) -> BTreeSet<(String, String)> {
        let members = self.delivery().into_iter().flat_map(Delivery::members);
        let named = members.map(|it| (it.user().to_string(), it.identity().to_string()));
        named.collect()
    }

    fn delivery(&self) -> Option<&Delivery> {
        let restore = || Delivery::restore(self.stored.get()?).ok();
        let live = self.live.get_or_init(restore).as_ref();
        live.filter(|_| !self.is_lost)
    }

    fn decided(&self) -> Option<Decided> {
        let mut decided = self.decided.lock().unwrap_or_else(PoisonError::into_inner);
        decided.take()
    }

    fn forget_excess(&mut self) {
        let excess = self.owed.len().saturating_sub(OWED);
        self.owed.drain(..excess);
    }

    /// Changes it; an error loses it.
    fn step(
        &mut self,
        handshake: (&Bytes, Handshake),
        by: Proven,
        at: Millis,
        seq: Seq,
    ) -> Result<(), Refusal> {
        self.delivery().ok_or(Refusal::Malformed)?;
        let decided = self.decided();
        self.stored.take();
        let delivery = self.live.get_mut().and_then(Option::as_mut);
        let delivery = delivery.ok_or(Refusal::Malformed)?;
        match handshake {
            (_, Handshake::Founding(_)) => return Err(Refusal::Twice),
            (bytes, Handshake::Bundle(bundle)) => {
                let accepted = match decided {
                    Some(decided) if decided.is(bytes, &by, at) => decided.accepted,
                    _ => delivery.decide(&bundle, &by, seconds(at))?,
                };
                let changed = delivery.apply(accepted);
                self.made_at = seq;
                if let Some(admission) = changed.admission {
                    self.owed.push(Admitted {
                        epoch: changed.epoch,
                        seq,
                        at,
                        by: changed.by,
                        recipients: changed.joined,
                        admission,
                    });
                }
                self.forget_excess();
            }
            (_, Handshake::Leave(proposal)) => {
                let leaf = delivery.decide_leave(&proposal, &by)?;
                delivery.apply_leave(leaf);
            }
            (_, Handshake::Devices(list)) => {
                match delivery.decide_devices(&list, &by) {
                    // One that was journaled before lists named their room.
                    Err(Refusal::OldList) => {}
                    list => delivery.apply_devices(list?),
                }
            }
            (_, Handshake::Report(epoch)) => {
                let leaf = delivery.decide_report(epoch, &by)?;
                delivery.apply_report(leaf, seconds(at));
            }
        }
        Ok(())
    }
}

impl Decided {
    fn is(&self, handshake: &Bytes, by: &Proven, at: Millis) -> bool {
        (&self.handshake, &self.by, self.at) == (handshake, by, at)
    }
}

impl Clone for Group {
    fn clone(&self) -> Self {
        Self {
            stored: OnceLock::from(self.stored()),
            made_at: self.made_at,
            is_lost: self.is_lost,
            owed: self.owed.clone(),
            ..Self::empty()
        }
    }
}

impl PartialEq for Group {
    /// Without what is owed, which is of no replayed state.
    fn eq(&self, other: &Self) -> bool {
        let of = |group: &Self| (group.made_at, group.is_lost, group.stored());
        of(self) == of(other)
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Group");
        shown.field("made_at", &self.made_at);
        shown.field("is_lost", &self.is_lost);
        shown.field("live", &self.live.get().and_then(Option::as_ref));
        shown.finish_non_exhaustive()
    }
}

impl State {
    /// Whether the room takes this content from somebody whose session is open. Changes nothing.
    pub(super) fn takes(&self, from: &UserId, body: &Body, at: Millis) -> Result<(), Rejection> {
        match (self.policy, body) {
            (Policy::Open | Policy::Proven, Body::Text(_) | Body::Sealed(_)) => Ok(()),
            (Policy::Open | Policy::Proven, Body::Handshake(_)) => Err(not_sealed()),
            (Policy::Sealed, Body::Text(_)) => Err(only_sealed()),
            (_, Body::Erased) => Err(nothing_said()),
            (Policy::Sealed, Body::Sealed(bytes)) => {
                let by = self.proven(from)?;
                let delivery = self.delivery()?.ok_or_else(not_founded)?;
                let decided = delivery.decide_message(bytes, &by);
                let decided = decided.and_then(|_| delivery.check_any_listed(&by));
                decided.map_err(|why| self.refused(&why))
            }
            (Policy::Sealed, Body::Handshake(bytes)) => {
                let by = self.proven(from)?;
                self.takes_handshake(bytes, by, at)
            }
        }
    }

    fn takes_handshake(&self, bytes: &Bytes, by: Proven, at: Millis) -> Result<(), Rejection> {
        let handshake = Handshake::decode(bytes).map_err(|why| self.refused(&why))?;
        let decided = match (self.delivery()?, handshake) {
            (None, Handshake::Founding(founding)) => {
                self.may_found(&by, at)?;
                let room = founding.room();
                let found = |room| Delivery::found(room, &founding, &by, seconds(at));
                room.and_then(found).map(drop)
            }
            (None, _) => return Err(not_founded()),
            (Some(delivery), Handshake::Founding(_)) => Err(Refusal::StaleEpoch {
                current: delivery.epoch(),
            }),
            (Some(delivery), Handshake::Bundle(bundle)) => {
                let accepted = delivery.decide(&bundle, &by, seconds(at));
                let accepted = accepted
                    .and_then(|accepted| delivery.check_listed(&accepted).map(|()| accepted));
                accepted.map(|accepted| self.remember(bytes, by, at, accepted))
            }
            (Some(delivery), Handshake::Leave(proposal)) => {
                delivery.decide_leave(&proposal, &by).map(drop)
            }
            (Some(delivery), Handshake::Devices(list)) => {
                delivery.decide_devices(&list, &by).map(drop)
            }
            (Some(delivery), Handshake::Report(epoch)) => {
                delivery.decide_report(epoch, &by).map(drop)
            }
        };
        decided.map_err(|why| self.refused(&why))
    }

    /// Whoever made the room founds its group. Later somebody else may, unless the maker is there:
    /// one that never comes back must not leave a room without a group.
    fn may_found(&self, by: &Proven, at: Millis) -> Result<(), Rejection> {
        let Some(maker) = &self.maker else {
            return Ok(());
        };
        let mut pins = self.members.iter().filter_map(|user| self.pins.get(user));
        let is_maker = by.identity.to_string() == maker.key.as_str();
        match is_maker || !(maker.is_first(at) || pins.any(|pin| pin.key == maker.key)) {
            true => Ok(()),
            false => Err(Rejection::new(
                Reason::NotTheMaker,
                "whoever made this room founds its group: wait for that, or make another room",
            )),
        }
    }

    fn remember(&self, bytes: &Bytes, by: Proven, at: Millis, accepted: Accepted) {
        let Some(group) = &self.group else { return };
        let decided = Decided {
            handshake: bytes.clone(),
            by,
            at,
            accepted,
        };
        let mut slot = group.decided.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(decided);
    }

    /// A handshake was placed.
    pub(super) fn handshake(&mut self, from: &UserId, bytes: &Bytes, at: Millis, seq: Seq) {
        // Also if the event that said so is gone: the room must not become an open one.
        self.policy = Policy::Sealed;
        let placed = Handshake::decode(bytes).and_then(|handshake| {
            let by = self.proven(from).map_err(|_| Refusal::OtherSender)?;
            match (&mut self.group, handshake) {
                (Some(group), handshake) => group.step((bytes, handshake), by, at, seq),
                (None, Handshake::Founding(founding)) => {
                    let room = founding.room()?;
                    let delivery = Delivery::found(room, &founding, &by, seconds(at))?;
                    let mut group = Group::new(delivery);
                    group.made_at = seq;
                    self.group = Some(group);
                    Ok(())
                }
                (None, _) => Err(Refusal::Malformed),
            }
        });
        // What was decided can be applied. A replay may fail all the same: events before it are
        // gone, or it is so late that MLS finds the key packages in it too old.
        if placed.is_err() {
            let group = self.group.get_or_insert_with(Group::empty);
            group.is_lost = true;
        }
    }

    /// What was owed and is still.
    pub fn owe(&mut self, mut owed: Vec<Admitted>) {
        let purged = self.kept.purge.map(|purge| purge.seq);
        owed.retain(|admitted| Some(admitted.seq) > purged);
        if let Some(group) = &mut self.group {
            group.owed.splice(0..0, owed);
            group.forget_excess();
        }
    }

    /// Whether somebody who was added lacks what it needs.
    pub fn owes(&self) -> bool {
        let group = self.group.as_ref();
        group.is_some_and(|group| !group.owed.is_empty())
    }

    /// What newcomers need, of those commits that were placed since this was last asked.
    pub fn take_owed(&mut self) -> Vec<Admitted> {
        let owed = self.group.as_mut().map(|group| &mut group.owed);
        owed.map(std::mem::take).unwrap_or_default()
    }

    fn delivery(&self) -> Result<Option<&Delivery>, Rejection> {
        match &self.group {
            None => Ok(None),
            Some(group) => group.delivery().map(Some).ok_or_else(lost),
        }
    }

    /// Who somebody is in the group: in a sealed room everybody who has a session has proven the
    /// key that the name has.
    fn proven(&self, user: &UserId) -> Result<Proven, Rejection> {
        let pin = self.pins.get(user).filter(|pin| pin.identity.is_proven());
        let identity = pin.and_then(|pin| Public::parse(pin.key.as_str()).ok());
        let name = Name::parse(user.as_str()).ok();
        name.zip(identity)
            .map(|(user, identity)| Proven { user, identity })
            .ok_or_else(|| {
                let message = "a sealed room needs a proven Ed25519 key: join with auth=1";
                Rejection::new(Reason::ProofRequired, message)
            })
    }

    fn refused(&self, why: &Refusal) -> Rejection {
        match (why, self.group.as_ref().map(Group::made_at)) {
            (Refusal::StaleEpoch { current }, Some(seq)) => stale_epoch(*current, seq),
            _ => refusal_of(why),
        }
    }
}

/// What the protocol says for a refusal of `seal`.
pub fn refusal_of(why: &Refusal) -> Rejection {
    let reason = Reason::parse(why.code()).unwrap_or(Reason::BadBundle);
    Rejection::new(reason, why.to_string())
}

/// Somebody was faster.
pub fn stale_epoch(current: u64, made_at: Seq) -> Rejection {
    let message = format!(
        "the group is in epoch {current} since event {made_at}: process the events up to it, then \
         make the change again"
    );
    Rejection {
        seq: Some(made_at),
        ..Rejection::new(Reason::StaleEpoch, message)
    }
}

/// Whether a handshake makes a group of another room than this one.
pub fn is_of_another_room(body: &Body, room: &RoomId) -> bool {
    let Body::Handshake(bytes) = body else {
        return false;
    };
    match Handshake::decode(bytes) {
        Ok(Handshake::Founding(founding)) => {
            founding.room().is_ok_and(|of| of.as_str() != room.as_str())
        }
        _ => false,
    }
}

fn seconds(at: Millis) -> u64 {
    at.0 / 1_000
}

/// A handshake in a room that has no group.
pub fn not_sealed() -> Rejection {
    let message = "this room is not sealed, so there is no group to change: make another room \
                   with policy=sealed";
    Rejection::new(Reason::NotSealed, message)
}

/// No client can send it, and no gateway submits it.
fn nothing_said() -> Rejection {
    Rejection::new(Reason::BadField, "a message needs content")
}

/// Whatever is said in a sealed room and not encrypted, or without a session.
pub fn only_sealed() -> Rejection {
    let message = "this room is sealed: it takes only encrypted content, from sessions";
    Rejection::new(Reason::SealedRoom, message)
}

fn not_founded() -> Rejection {
    let message = "the room has no group yet: found one first";
    Rejection::new(Reason::NotAMember, message)
}

fn lost() -> Rejection {
    let message = "the group of this room cannot be followed any more, for events of it are gone: \
                   go on in a new room";
    Rejection::new(Reason::BadBundle, message)
}

/// Whoever sends what a sealed room takes from sessions alone.
pub(super) fn refuse_outside(is_post: bool) -> Rejection {
    match is_post {
        true => only_sealed(),
        // A gateway sends so before it knows that every node reads batches.
        false => Rejection::retry(
            Reason::Unavailable,
            "sealed content cannot be taken now: send it again with the same id",
            1_000,
        ),
    }
}
