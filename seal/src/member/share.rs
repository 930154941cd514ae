//! Messages of before: a member shares what it has read with somebody who came later, because its
//! user wants that. Nothing proves them, so what is shown says who shares it; and no device shows
//! any of a time at which it was there itself.

use super::room::{Room, Status};
use super::{Content, Error, Holder, Member, Shown, Step};
use crate::codec::Reader;
use crate::content::{self, Earlier, Inside, MOST_SHARED};
use crate::device::{Certificate, Name};
use crate::identity::Public;
use crate::rules::MOST_MEMBERS;

/// A person's.
type Key = [u8; 32];

/// What a device takes of what others share with it.
#[derive(Debug, Clone, Default)]
pub(super) struct Taken {
    /// The place at which it came in; what was said from then on it has read itself. 0: not known.
    came_at: u64,
    /// How many messages were shown, by who shared them: since it came, or asked.
    shown: Vec<(Key, u8)>,
}

impl Taken {
    /// Of a device that comes in here.
    pub(super) fn from_now(seq: u64) -> Self {
        Self {
            came_at: seq,
            shown: Vec::new(),
        }
    }

    /// The newest of those messages that somebody may share, in the message at this place.
    fn take(&mut self, by: &Key, seq: Option<u64>, mut messages: Vec<Earlier>) -> Vec<Earlier> {
        let before = match self.came_at {
            0 => seq.unwrap_or(u64::MAX),
            came_at => came_at,
        };
        messages.retain(|one| one.seq < before);
        let at = self.shown.iter().position(|(key, _)| key == by);
        let at = match at {
            Some(at) => at,
            // So many have been in since: whoever asks is shown more.
            None if self.shown.len() == MOST_MEMBERS => return Vec::new(),
            None => {
                self.shown.push((*by, 0));
                self.shown.len() - 1
            }
        };
        let shown = &mut self.shown[at].1;
        let too_many = messages
            .len()
            .saturating_sub(MOST_SHARED - usize::from(*shown));
        messages.drain(..too_many);
        // No more than MOST_SHARED, which a byte holds.
        *shown += messages.len() as u8;
        messages
    }

    /// Who asks again may be shown as many again.
    pub(super) fn asks(&mut self) {
        self.shown.clear();
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.came_at.to_be_bytes().to_vec();
        for (key, shown) in &self.shown {
            bytes.extend(key);
            bytes.push(*shown);
        }
        bytes
    }

    /// Of a record that was stored before there was any, nothing is known.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut taken = Self::default();
        let mut reader = Reader(bytes);
        if bytes.is_empty() {
            return Some(taken);
        }
        taken.came_at = u64::from_be_bytes(reader.array().ok()?);
        while !reader.0.is_empty() {
            let (key, [shown]) = (reader.array().ok()?, reader.array().ok()?);
            taken.shown.push((key, shown.min(MOST_SHARED as u8)));
        }
        Some(taken)
    }
}

impl Member {
    /// The insides of the messages that share these, oldest first, with all devices of a person.
    ///
    /// # Errors
    /// The device is not in, that person is not, or there is nothing to share.
    pub fn share(
        &self,
        room: &Name,
        with: &Public,
        messages: &[Earlier],
    ) -> Result<Vec<Vec<u8>>, Error> {
        if !self.is_in(room) {
            return Err(Error::NotIn);
        }
        if !self.members(room).iter().any(|one| one.identity == *with) {
            return Err(Error::NotThere);
        }
        match content::shared(with, messages) {
            parts if parts.is_empty() => Err(Error::NothingEarlier),
            parts => Ok(parts),
        }
    }

    /// Encrypts a message with this inside, as [`Member::share`] gives it. The number tells it from
    /// others of this device in this room.
    ///
    /// # Errors
    /// The device is not in, or behind.
    pub fn send_inside(&mut self, room: &Name, inside: &[u8]) -> Result<(u64, Step), Error> {
        let key = self.key.clone();
        let mut number = 0;
        let sent = self.current(room).and_then(|room| room.send(&key, inside));
        let frames = sent.map(|(n, bytes)| {
            number = n;
            let room = room.clone();
            (vec![super::Frame::Message { room, bytes }], Vec::new())
        });
        Ok((number, self.finish(Some(room), frames)?))
    }

    /// What an own message is to its own device. `None`: it is none that this version makes.
    pub(crate) fn own_inside(&self, room: &Name, inside: &[u8]) -> Option<Result<Content, Shown>> {
        let by = Holder::from(&self.certificate);
        match Inside::decode(inside).ok()? {
            Inside::Text(content) => Some(Ok(content)),
            Inside::Asked(count) => Some(Err(Shown::Asked { by, count })),
            Inside::Shared { with, messages } => Some(Err(Shown::Shared {
                by,
                with_user: self.rooms.get(room).and_then(|room| room.user_of(&with)),
                with,
                count: messages.len(),
                messages: Vec::new(),
            })),
        }
    }
}

impl Room {
    /// What somebody's message is to this device.
    pub(super) fn inside(
        &mut self,
        own: &Certificate,
        by: Holder,
        seq: Option<u64>,
        bytes: &[u8],
    ) -> Shown {
        match Inside::decode(bytes) {
            Err(why) => Shown::Unreadable(why),
            Ok(Inside::Text(content)) => Shown::Message { from: by, content },
            Ok(Inside::Asked(count)) => Shown::Asked { by, count },
            Ok(Inside::Shared { with, messages }) => Shown::Shared {
                with_user: self.user_of(&with),
                count: messages.len(),
                messages: match with == own.identity {
                    true => self.taken.take(by.identity.as_bytes(), seq, messages),
                    false => Vec::new(),
                },
                with,
                by,
            },
        }
    }
}

impl Room {
    /// Whether the device reads what is said, also while it asks to leave.
    pub(super) fn is_there(&self) -> bool {
        self.group.is_some() && self.status != Status::Founding
    }

    fn user_of(&self, identity: &Public) -> Option<Name> {
        let mut members = self.members.values();
        let found = members.find(|one| one.identity == *identity);
        found.map(|one| one.user.clone())
    }
}
