//! A device in its rooms. Each step either gives changes to store, frames to send after that and
//! things to show, or an error, and then nothing happened.
//!
//! A change of a group (add, remove, renew) is an intent: its bundle may lose against somebody
//! else's, and is then made again from what the group has become. Messages are encrypted once, and
//! sent again as they are.

mod devices;
mod join;
mod packages;
mod receive;
mod room;
mod share;
mod step;

use crate::codec::{Reader, short_parts};
use crate::content;
use crate::device::{Certificate, DeviceKey, List, Name};
use crate::handshake::{Handshake, MOST_HANDSHAKE};
use crate::rules::{JoinPolicy, MOST_CONTENT, Refusal};
use crate::shelf::{self, Entries, Shelf};
pub(crate) use devices::check_whose;
pub use devices::{OwnDevice, holder_of};
pub use join::Agreed;
use packages::Packages;
use room::{Intent, Room, Status, names_of};
use std::collections::BTreeMap;
use std::fmt;
pub use step::{Content, ELSEWHERE, Error, Event, FASTER, Frame, Holder, How, Person, Shown, Step};

/// Entries on the shelf begin with what they are of.
const DEVICE: &[u8] = b"device";
const PACKAGES: &[u8] = b"packages";
const ROOM: &[u8] = b"room";
const REJOIN: &[u8] = b"rejoin";

/// A device in its rooms.
pub struct Member {
    key: DeviceKey,
    certificate: Certificate,
    packages: Packages,
    rooms: BTreeMap<Name, Room>,
    shelf: Shelf,
}

impl Member {
    /// A new device, in no room. What it is goes onto the shelf with the first step.
    pub fn new(key: DeviceKey, certificate: Certificate) -> Self {
        assert_eq!(
            key.public(),
            certificate.key,
            "the certificate is for this key"
        );
        Self {
            key,
            certificate,
            packages: Packages::default(),
            rooms: BTreeMap::new(),
            shelf: Shelf::default(),
        }
    }

    /// From what was stored. Until [`Member::caught_up`] says that all events since were read, a
    /// room takes no intents: a backup may be older than what was sent after it.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn restore(shelf: Shelf) -> Result<Self, Error> {
        let malformed = || Error::Shelf(shelf::Error::Malformed);
        let device = shelf.entries.get(short_parts(&[DEVICE]).as_slice());
        let mut reader = Reader(device.ok_or_else(malformed)?);
        let key = DeviceKey::from_seed(&reader.array().map_err(|_| malformed())?);
        let certificate = Certificate::decode(reader.0, &key.public());
        let mut member = Self::new(key, certificate.map_err(|_| malformed())?);
        member.shelf = shelf;
        member.packages = Packages::load(member.area(&[PACKAGES])).ok_or_else(malformed)?;
        for name in member.stored_rooms().ok_or_else(malformed)? {
            let room = member.load(&name).ok_or_else(malformed)?;
            member.rooms.insert(name, room);
        }
        Ok(member)
    }

    /// What identifies the device.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Rooms that this device knows: it is, or was, in their groups, or has tried to come in.
    pub fn rooms(&self) -> impl Iterator<Item = &Name> {
        self.rooms.keys()
    }

    /// The device is in the room's group.
    pub fn is_in(&self, room: &Name) -> bool {
        self.rooms
            .get(room)
            .is_some_and(|room| room.status == Status::In)
    }

    /// The state of the device in this room is of no use: [`Member::rejoin`].
    pub fn is_lost(&self, room: &Name) -> bool {
        self.rooms
            .get(room)
            .is_some_and(|room| room.status == Status::Lost)
    }

    /// The device may join or rejoin the room.
    pub fn is_out(&self, room: &Name) -> bool {
        let room = self.rooms.get(room);
        room.is_none_or(|room| matches!(room.status, Status::Lost | Status::Out))
    }

    /// Devices beside this one were in the room's group when this one knew it last.
    pub fn knew_others(&self, room: &Name) -> bool {
        let own = names_of(&self.certificate);
        let known = self.rooms.get(room).map(|room| &room.known.devices);
        known.is_some_and(|devices| devices.iter().any(|one| *one != own))
    }

    /// Its user has left the group of this room, and has not said that it comes back.
    pub fn has_left(&self, room: &Name) -> bool {
        self.rooms.get(room).is_some_and(|room| room.has_left)
    }

    /// Its person says in this room that the device does not count any more.
    pub fn is_revoked(&self, room: &Name) -> bool {
        let room = self.rooms.get(room);
        room.is_some_and(|room| !room.lists.allows(&self.certificate))
    }

    /// The epoch that this device knows the group in.
    pub fn epoch(&self, room: &Name) -> Option<u64> {
        self.rooms.get(room)?.epoch()
    }

    /// Devices in the room.
    pub fn members(&self, room: &Name) -> Vec<Holder> {
        let room = self.rooms.get(room);
        room.map_or_else(Vec::new, |room| {
            room.members.values().map(Holder::from).collect()
        })
    }

    /// The last place of the room that this device has taken in; `None`: it was never in its group.
    pub fn read_up_to(&self, room: &Name) -> Option<u64> {
        self.rooms.get(room)?.read_up_to
    }

    /// 60 digits that all see who are in the same epoch of the same group.
    pub fn room_code(&self, room: &Name) -> Option<String> {
        self.rooms.get(room)?.code()
    }

    /// Whether the group is in a later epoch than this device knows, as it was shown or told.
    pub fn is_lacking(&self, room: &Name) -> bool {
        self.rooms.get(room).is_some_and(Room::is_lacking)
    }

    /// The place of the change that made the epoch which this device knows; 0: it is not known.
    pub fn changed_at(&self, room: &Name) -> u64 {
        self.rooms.get(room).map_or(0, |room| room.known.changed_at)
    }

    /// The group is in a later epoch than this device knows, as it was shown or told.
    ///
    /// # Errors
    /// None; without a group nothing is missing.
    pub fn lacks_change(&mut self, room: &Name) -> Result<Step, Error> {
        if let Some(known) = self.rooms.get_mut(room)
            && let Some(epoch) = known.epoch()
        {
            known.known.shown = known.known.shown.max(epoch + 1);
        }
        self.finish(Some(room), Ok((Vec::new(), Vec::new())))
    }

    /// Whether this device should renew its keys: after some days, or many messages.
    pub fn is_renewal_due(&self, room: &Name, now: u64) -> bool {
        self.rooms
            .get(room)
            .is_some_and(|room| room.is_renewal_due(now))
    }

    /// Frames that were made and are not decided, to be sent again after a restart. Messages are
    /// the host's to keep.
    pub fn outstanding(&self) -> Vec<Frame> {
        let rooms = self.rooms.iter();
        rooms
            .filter_map(|(name, room)| room.outstanding(name))
            .collect()
    }

    /// The change of a room that was made and is not decided.
    pub fn outstanding_in(&self, room: &Name) -> Option<Frame> {
        self.rooms.get(room)?.outstanding(room)
    }

    /// Makes key packages to publish: this many for one use each, and one for when those are gone.
    ///
    /// # Errors
    /// MLS could not.
    pub fn publish(&mut self, count: usize, now: u64) -> Result<Step, Error> {
        self.packages.expire(now);
        let (key, certificate) = (&self.key, &self.certificate);
        let made = self.packages.make(count, now, key, certificate);
        let frame = made.map(|(one_time, last_resort)| Frame::Publish {
            one_time,
            last_resort,
        });
        self.finish(None, frame.map(|frame| (vec![frame], Vec::new())))
    }

    /// Forgets the private halves of key packages whose time is over; `None`: there is none.
    ///
    /// # Errors
    /// None.
    pub fn expire(&mut self, now: u64) -> Option<Result<Step, Error>> {
        self.packages.are_old(now).then(|| {
            self.packages.expire(now);
            self.finish(None, Ok((Vec::new(), Vec::new())))
        })
    }

    /// Seals a room: a group of one, which counts when the writer has taken it. Whether others come
    /// in by themselves is for good.
    ///
    /// # Errors
    /// The device is in a group of this room.
    pub fn found(
        &mut self,
        room: &Name,
        policy: JoinPolicy,
        random: &[u8; 16],
        now: u64,
    ) -> Result<Step, Error> {
        if !self.is_out(room) {
            return Err(Error::AlreadyIn);
        }
        let made = Room::found(&self.key, &self.certificate, room, (policy, random), now);
        let frames = made.map(|mut made| {
            self.carry_over(room, &mut made);
            let frame = made.outstanding(room);
            self.rooms.insert(room.clone(), made);
            (frame.into_iter().collect(), Vec::new())
        });
        self.finish(Some(room), frames)
    }

    /// Encrypts a message. The number tells it from others of this device in this room.
    ///
    /// # Errors
    /// The device is not in, behind, or the content is too long.
    pub fn send(&mut self, room: &Name, content: &[u8]) -> Result<(u64, Step), Error> {
        if content.len() > MOST_CONTENT {
            return Err(Error::TooLong);
        }
        self.send_inside(room, &content::text(content))
    }

    /// Adds the devices of these key packages, which are of these people: whom the user has named,
    /// by a key that it knows.
    ///
    /// # Errors
    /// The device cannot change the group now, a key package does not count, or is somebody else's.
    pub fn add(
        &mut self,
        room: &Name,
        people: &[Person],
        packages: &[Vec<u8>],
        now: u64,
    ) -> Result<Step, Error> {
        check_whose(packages, people)?;
        self.change(room, Intent::Add(packages.to_vec()), now)
    }

    /// Removes all devices of a user, or one.
    ///
    /// # Errors
    /// The device cannot change the group now, or there is none such.
    pub fn remove(
        &mut self,
        room: &Name,
        user: &Name,
        device: Option<&Name>,
        now: u64,
    ) -> Result<Step, Error> {
        let named = self.rooms.get(room).map(|room| room.named(user, device));
        self.change(room, Intent::Remove(named.unwrap_or_default()), now)
    }

    /// Whether a device asked to be removed, or was revoked, and is in still.
    pub fn is_to_tidy(&self, room: &Name) -> bool {
        let leaving = self.rooms.get(room).map(Room::leaving);
        leaving.is_some_and(|leaving| !leaving.is_empty())
    }

    /// Removes the devices that asked for it, or were revoked.
    ///
    /// # Errors
    /// The device cannot change the group now, or nobody asked.
    pub fn tidy(&mut self, room: &Name, now: u64) -> Result<Step, Error> {
        let leaving = self.rooms.get(room).map(Room::leaving).unwrap_or_default();
        self.change(room, Intent::Remove(leaving), now)
    }

    /// Says in the room which devices this person has: no other one comes in, and those that are in
    /// are removed by whoever tidies.
    ///
    /// # Errors
    /// The device is not in.
    pub fn announce(&mut self, room: &Name, list: &List) -> Result<Step, Error> {
        let ready = self.ready(room).map(drop);
        let (room, list) = (room.clone(), list.encode());
        let name = room.clone();
        let frames = ready.map(|()| (vec![Frame::Devices { room, list }], Vec::new()));
        self.finish(Some(&name), frames)
    }

    /// Renews the keys of this device, which heals the group of what a thief has learnt.
    ///
    /// # Errors
    /// The device cannot change the group now.
    pub fn renew(&mut self, room: &Name, now: u64) -> Result<Step, Error> {
        self.change(room, Intent::Renew, now)
    }

    /// Asks to be removed. Until the request is placed the device is in; then it forgets the room.
    ///
    /// # Errors
    /// The device is not in, or a change of its own is on its way; [`Error::Lacking`].
    pub fn leave(&mut self, room: &Name) -> Result<Step, Error> {
        let key = self.key.clone();
        let left = self.current(room).and_then(|room| room.leave(&key));
        let room = room.clone();
        let frames = left.map(|bytes| {
            let room = room.clone();
            (vec![Frame::Leave { room, bytes }], Vec::new())
        });
        self.finish(Some(&room), frames)
    }

    /// Its user comes back to a group that it has left: somebody may add it, or it rejoins.
    ///
    /// # Errors
    /// None; who has not left changes nothing.
    pub fn returns(&mut self, room: &Name) -> Result<Step, Error> {
        if let Some(known) = self.rooms.get_mut(room) {
            known.has_left = false;
        }
        self.finish(Some(room), Ok((Vec::new(), Vec::new())))
    }

    /// Events that this device has not read do not come, for they are gone after a year away, or the
    /// server hides them: what it knows of the group is of no use, and [`Member::rejoin`] brings it
    /// back. `why`: what is shown of that.
    ///
    /// # Errors
    /// The device is not in.
    pub fn give_up(&mut self, room: &Name, why: &'static str) -> Result<Step, Error> {
        let given_up = match self.rooms.get_mut(room) {
            Some(room) if room.is_in_a_group() => {
                room.drop_group(Status::Lost);
                room.read_up_to = None;
                Ok((Vec::new(), vec![Shown::Lost(why)]))
            }
            _ => Err(Error::NotIn),
        };
        self.finish(Some(room), given_up)
    }

    /// A frame was refused, and not because somebody else was faster (`stale_epoch`): it will never
    /// be taken, and is not to be sent again.
    ///
    /// # Errors
    /// None; what is not on its way any more changes nothing.
    pub fn refused(&mut self, room: &Name, frame: &Frame) -> Result<Step, Error> {
        let known = self.rooms.get_mut(room);
        let was_outstanding = known.is_some_and(|known| known.refused(frame, room));
        let shown = if was_outstanding {
            vec![Shown::Dropped]
        } else {
            Vec::new()
        };
        self.finish(Some(room), Ok((Vec::new(), shown)))
    }

    /// This device came to the room here: after a restart it reads on behind this place.
    ///
    /// # Errors
    /// None; a room that it has nothing to do with stays unknown.
    pub fn read_from(&mut self, room: &Name, seq: u64) -> Result<Step, Error> {
        if let Some(known) = self.rooms.get_mut(room) {
            known.has_read(seq);
        }
        self.finish(Some(room), Ok((Vec::new(), Vec::new())))
    }

    /// All events of the room were read.
    pub fn caught_up(&mut self, room: &Name) {
        if let Some(room) = self.rooms.get_mut(room) {
            room.is_behind = false;
        }
    }

    fn change(&mut self, room: &Name, intent: Intent, now: u64) -> Result<Step, Error> {
        let key = self.key.clone();
        let changed = self
            .current(room)
            .and_then(|room| room.change(&key, intent, Some(now)));
        let frames = changed.and_then(|bundle| {
            let bundle = bundle.ok_or(Error::NoChange)?;
            if Handshake::Bundle(bundle.clone()).encode().len() > MOST_HANDSHAKE {
                return Err(Refusal::TooLarge.into());
            }
            let room = room.clone();
            Ok((vec![Frame::Change { room, bundle }], Vec::new()))
        });
        self.finish(Some(room), frames)
    }

    /// The room, if the device can act in it.
    fn ready(&mut self, room: &Name) -> Result<&mut Room, Error> {
        let room = self.rooms.get_mut(room).ok_or(Error::NotIn)?;
        match (room.status, room.is_behind) {
            (Status::In, false) => Ok(room),
            (Status::In, true) => Err(Error::Behind),
            (Status::Leaving | Status::Founding, _) => Err(Error::Busy),
            (Status::Lost | Status::Out, _) => Err(Error::NotIn),
        }
    }

    /// The room, if the device can act in it and knows of no change that it has not seen.
    fn current(&mut self, room: &Name) -> Result<&mut Room, Error> {
        let room = self.ready(room)?;
        match room.is_lacking() {
            true => Err(Error::Lacking),
            false => Ok(room),
        }
    }

    /// Finds what is to be stored, or takes a failed step back.
    fn finish(
        &mut self,
        room: Option<&Name>,
        done: Result<(Vec<Frame>, Vec<Shown>), Error>,
    ) -> Result<Step, Error> {
        let (frames, shown) = match done {
            Ok(done) => done,
            Err(error) => {
                if error.may_have_changed_something() {
                    self.take_back(room);
                }
                return Err(error);
            }
        };
        let changes = self.shelf.changes_to(&self.areas(room));
        let stored = self.shelf.store(changes.clone());
        stored.expect("changes follow the state that they were made from");
        Ok(Step {
            changes,
            frames,
            shown,
        })
    }

    fn take_back(&mut self, room: Option<&Name>) {
        let packages = Packages::load(self.area(&[PACKAGES]));
        self.packages = packages.expect("what was written can be read");
        let Some(name) = room else { return };
        let before = self.rooms.get(name);
        let is_behind = before.is_some_and(|room| room.is_behind);
        let shown = before.map_or(0, |room| room.known.shown);
        match self.load(name) {
            Some(mut room) => {
                (room.is_behind, room.known.shown) = (is_behind, shown);
                self.rooms.insert(name.clone(), room);
            }
            None => drop(self.rooms.remove(name)),
        }
    }

    /// What is to be on the shelf, as far as a step in this room changes it.
    fn areas(&self, room: Option<&Name>) -> Vec<(Vec<u8>, Entries)> {
        let device = [self.key.seed().as_slice(), &self.certificate.encode()].concat();
        let mut areas = vec![
            (short_parts(&[DEVICE]), vec![(Vec::new(), device)]),
            (short_parts(&[PACKAGES]), self.packages.entries()),
        ];
        if let Some(name) = room {
            let (room, name) = (self.rooms.get(name), name.as_str().as_bytes());
            let entries = room.map_or_else(Vec::new, Room::entries);
            let rejoin = room.map_or_else(Vec::new, Room::rejoin_entries);
            areas.push((short_parts(&[ROOM, name]), entries));
            areas.push((short_parts(&[REJOIN, name]), rejoin));
        }
        areas
    }

    /// The entries of one area, without what they begin with.
    fn area(&self, front: &[&[u8]]) -> Entries {
        let front = short_parts(front);
        let area = self.shelf.area(&front);
        area.map(|(key, value)| (key[front.len()..].to_vec(), value.clone()))
            .collect()
    }

    fn load(&self, name: &Name) -> Option<Room> {
        let bytes = name.as_str().as_bytes();
        let (room, rejoin) = (self.area(&[ROOM, bytes]), self.area(&[REJOIN, bytes]));
        Room::load(name, room, rejoin)
    }

    fn stored_rooms(&self) -> Option<Vec<Name>> {
        let mut rooms = Vec::new();
        for (key, _) in self.area(&[ROOM]) {
            let name = std::str::from_utf8(Reader(&key).short().ok()?).ok()?;
            let name = Name::parse(name).ok()?;
            if rooms.last() != Some(&name) {
                rooms.push(name);
            }
        }
        Some(rooms)
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "Member({:?}, {} rooms)",
            self.certificate,
            self.rooms.len()
        )
    }
}
