//! A sealed room's journal as its owner follows it: who was in the group where, and in which epoch
//! each message was encrypted.

use seal::{Delivery, Handshake, Name, Public, Refusal, conversation::Outgoing, delivery::Proven};
use std::collections::{BTreeMap, BTreeSet};

/// An event of the room that members read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journaled {
    /// Its place.
    pub seq: u64,
    /// When it was decided, in milliseconds since 1970.
    pub at: u64,
    /// From whom.
    pub from: String,
    /// What.
    pub content: Outgoing,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message<'a> {
    pub(super) seq: u64,
    pub(super) from: &'a str,
    pub(super) bytes: &'a [u8],
    pub(super) epoch: u64,
    /// Devices in the group when it was placed, as `user/device`.
    pub(super) members: BTreeSet<String>,
}

/// What a journal holds.
#[derive(Default)]
pub(super) struct Replay<'a> {
    pub(super) messages: Vec<Message<'a>>,
    /// Where each epoch was made.
    pub(super) epochs: BTreeMap<u64, u64>,
    /// At which places a device was removed, or asked for it.
    pub(super) went: BTreeMap<String, BTreeSet<u64>>,
    /// Who is in the group in the end.
    pub(super) members: BTreeSet<String>,
    /// What no owner may have placed.
    pub(super) broken: Vec<String>,
}

impl<'a> Replay<'a> {
    pub(super) fn of(
        room: &Name,
        people: &BTreeMap<String, Public>,
        journal: &'a [Journaled],
    ) -> Self {
        let (mut replay, mut delivery) = (Self::default(), None);
        for event in journal {
            let seq = event.seq;
            let by = Name::parse(&event.from).ok().zip(people.get(&event.from));
            let Some((user, identity)) = by else {
                let from = &event.from;
                replay
                    .broken
                    .push(format!("seq {seq} is of {from}, whom nobody knows"));
                continue;
            };
            let (user, identity) = (user, *identity);
            let by = Proven { user, identity };
            if let Err(why) = replay.take(room, &mut delivery, event, &by) {
                replay
                    .broken
                    .push(format!("seq {seq} does not follow: {why}"));
            }
        }
        replay.members = delivery.as_ref().map(members_of).unwrap_or_default();
        replay
    }

    fn take(
        &mut self,
        room: &Name,
        delivery: &mut Option<Delivery>,
        event: &'a Journaled,
        by: &Proven,
    ) -> Result<(), Refusal> {
        let now = event.at / 1000;
        match (&event.content, delivery) {
            (Outgoing::Sealed(_), None) => return Err(Refusal::NotAMember),
            (Outgoing::Sealed(bytes), Some(group)) => {
                let epoch = group.decide_message(bytes, by)?;
                self.messages.push(Message {
                    seq: event.seq,
                    from: &event.from,
                    bytes,
                    epoch,
                    members: members_of(group),
                });
            }
            (Outgoing::Handshake(bytes), delivery) => {
                let handshake = Handshake::decode(bytes)?;
                match (handshake, delivery.as_mut()) {
                    (Handshake::Founding(founding), None) => {
                        *delivery = Some(Delivery::found(room.clone(), &founding, by, now)?);
                        self.epochs.insert(0, event.seq);
                    }
                    (_, None) => return Err(Refusal::NotAMember),
                    (handshake, Some(group)) => {
                        self.change(group, handshake, event.seq, by, now)?
                    }
                }
            }
        }
        Ok(())
    }

    fn change(
        &mut self,
        group: &mut Delivery,
        handshake: Handshake,
        seq: u64,
        by: &Proven,
        now: u64,
    ) -> Result<(), Refusal> {
        match handshake {
            Handshake::Founding(_) => return Err(Refusal::Twice),
            Handshake::Bundle(bundle) => {
                let accepted = group.decide(&bundle, by, now)?;
                let changed = group.apply(accepted);
                self.epochs.insert(changed.epoch, seq);
                for one in &changed.left {
                    self.goes(format!("{}/{}", one.user(), one.device()), seq);
                }
            }
            Handshake::Leave(bytes) => {
                let leaf = group.decide_leave(&bytes, by)?;
                let before: BTreeSet<_> = group.leaving().map(name_of).collect();
                group.apply_leave(leaf);
                let gone: Vec<_> = group.leaving().map(name_of).collect();
                for name in gone.into_iter().filter(|name| !before.contains(name)) {
                    self.goes(name, seq);
                }
            }
            Handshake::Devices(list) => {
                let list = group.decide_devices(&list, by)?;
                group.apply_devices(list);
            }
            Handshake::Report(epoch) => {
                let leaf = group.decide_report(epoch, by)?;
                group.apply_report(leaf, now);
            }
        }
        Ok(())
    }

    fn goes(&mut self, name: String, seq: u64) {
        self.went.entry(name).or_default().insert(seq);
    }
}

fn members_of(group: &Delivery) -> BTreeSet<String> {
    group.members().map(name_of).collect()
}

fn name_of(one: &seal::Certificate) -> String {
    format!("{}/{}", one.user(), one.device())
}
