//! The rooms of one loop: which of its clients are live in which, and the turns that were not
//! written yet. What waits of a room is written together; rooms take turns.

use super::feed::{Fanout, Feed};
use bytes::{Bytes, BytesMut};
use slab::Slab;
use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering::Relaxed},
};

/// Bytes of a room's turns that are written together, unless a single turn is larger: others wait.
const TOGETHER: usize = 256 * 1024;

/// A client's place among the live clients of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) room: u32,
    protocol: usize,
    at: u32,
    /// The first turn of the room that the client did not get.
    pub(super) next: u64,
}

struct Room {
    feed: Arc<Feed>,
    /// Slots of clients, per protocol.
    members: [Vec<u32>; 3],
    turns: VecDeque<Fanout>,
    /// The number of the first of them.
    first: u64,
    is_queued: bool,
}

/// See the module.
#[derive(Default)]
pub(super) struct Rooms {
    all: Slab<Room>,
    /// Those with turns.
    queue: VecDeque<u32>,
}

/// Turns of a room that are written together.
pub(super) struct Batch {
    pub(super) room: u32,
    turns: Vec<Fanout>,
    first: u64,
}

impl Rooms {
    /// A client is live from now on.
    pub(super) fn join(&mut self, feed: &Arc<Feed>, protocol: usize, client: u32) -> Member {
        let known = feed.slot.load(Relaxed);
        let room = if self.all.contains(known as usize) {
            known
        } else {
            let room = self.all.insert(Room {
                feed: feed.clone(),
                members: Default::default(),
                turns: VecDeque::new(),
                first: 0,
                is_queued: false,
            }) as u32;
            feed.slot.store(room, Relaxed);
            room
        };
        let Room {
            members,
            turns,
            first,
            ..
        } = &mut self.all[room as usize];
        members[protocol].push(client);
        Member {
            room,
            protocol,
            at: members[protocol].len() as u32 - 1,
            next: *first + turns.len() as u64,
        }
    }

    /// A client is not live any more; which other client has its place now.
    pub(super) fn leave(&mut self, member: Member) -> Option<u32> {
        let room = &mut self.all[member.room as usize];
        let members = &mut room.members[member.protocol];
        members.swap_remove(member.at as usize);
        let moved = members.get(member.at as usize).copied();
        if members.len() * 4 < members.capacity() {
            members.shrink_to(members.len() * 2);
        }
        if room.members.iter().all(Vec::is_empty) {
            let room = self.all.remove(member.room as usize);
            room.feed.slot.store(super::line::NOWHERE, Relaxed);
        }
        moved
    }

    /// A turn of a room. Without members here it is dropped.
    pub(super) fn fan_out(&mut self, fanout: Fanout) {
        let slot = fanout.feed.slot.load(Relaxed);
        let Some(room) = self.all.get_mut(slot as usize) else {
            return;
        };
        room.turns.push_back(fanout);
        if !std::mem::replace(&mut room.is_queued, true) {
            self.queue.push_back(slot);
        }
    }

    /// Whether turns wait.
    pub(super) fn are_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The turns to be written next. Their room comes again behind the others if it has more.
    pub(super) fn next(&mut self) -> Option<Batch> {
        loop {
            let slot = self.queue.pop_front()?;
            // It may have gone, and another one may be there.
            let room = self
                .all
                .get_mut(slot as usize)
                .filter(|room| room.is_queued);
            let Some(room) = room else { continue };
            let (mut turns, mut sum) = (Vec::new(), 0);
            while let Some(turn) = room.turns.front() {
                sum += turn.size();
                if sum > TOGETHER && !turns.is_empty() {
                    break;
                }
                turns.extend(room.turns.pop_front());
            }
            let first = room.first;
            room.first += turns.len() as u64;
            room.is_queued = !room.turns.is_empty();
            if room.is_queued {
                self.queue.push_back(slot);
            } else {
                room.turns = VecDeque::new();
            }
            return Some(Batch {
                room: slot,
                turns,
                first,
            });
        }
    }

    /// The members of a room with one protocol, to be given back by [`Self::put_back`]. Nobody
    /// joins or leaves meanwhile.
    pub(super) fn members(&mut self, room: u32, protocol: usize) -> Vec<u32> {
        std::mem::take(&mut self.all[room as usize].members[protocol])
    }

    pub(super) fn put_back(&mut self, room: u32, protocol: usize, members: Vec<u32>) {
        self.all[room as usize].members[protocol] = members;
    }

    /// The turns that wait for a client, which then has got them: what is for it alone comes behind
    /// them.
    pub(super) fn catch_up(&mut self, member: &mut Member) -> Vec<(Bytes, u32)> {
        let room = &self.all[member.room as usize];
        let skip = member.next.saturating_sub(room.first) as usize;
        let turns = room.turns.iter().skip(skip);
        let missed = turns.map(|turn| (turn.bytes[member.protocol].clone(), turn.frames));
        let missed = missed.filter(|(bytes, _)| !bytes.is_empty()).collect();
        member.next = room.first + room.turns.len() as u64;
        missed
    }
}

impl Batch {
    /// All of it for a protocol, and its frames.
    pub(super) fn whole(&self, protocol: usize) -> (Bytes, u32) {
        let frames = self.turns.iter().map(|turn| turn.frames).sum();
        if let [turn] = &self.turns[..] {
            return (turn.bytes[protocol].clone(), frames);
        }
        let length = self
            .turns
            .iter()
            .map(|turn| turn.bytes[protocol].len())
            .sum();
        let mut bytes = BytesMut::with_capacity(length);
        self.turns
            .iter()
            .for_each(|turn| bytes.extend(&turn.bytes[protocol]));
        (bytes.freeze(), frames)
    }

    /// Whether a member has got none of it.
    pub(super) fn is_new_to(&self, member: &Member) -> bool {
        member.next <= self.first
    }

    /// What a member did not get of it.
    pub(super) fn rest(&self, member: &Member) -> impl Iterator<Item = (Bytes, u32)> {
        let skip = member.next.saturating_sub(self.first) as usize;
        let turns = self.turns.iter().skip(skip);
        turns.map(|turn| (turn.bytes[member.protocol].clone(), turn.frames))
    }
}

impl Member {
    /// The member is where another one was.
    pub(super) fn moved_to(&mut self, place: Member) {
        self.at = place.at;
    }
}

#[cfg(test)]
mod tests {
    use super::{super::mailbox, *};

    fn feed() -> Arc<Feed> {
        let (mailbox, _) = mailbox::unattended().unwrap();
        Feed::new(Arc::new(mailbox))
    }

    fn turn(feed: &Arc<Feed>, byte: u8, size: usize) -> Fanout {
        let bytes = [vec![byte; size].into(), Bytes::new(), Bytes::new()];
        Fanout::new(feed.clone(), bytes, 1)
    }

    #[test]
    fn what_waits_is_written_together_and_rooms_take_turns() {
        let (mut rooms, busy, quiet) = (Rooms::default(), feed(), feed());
        rooms.join(&busy, 0, 1);
        rooms.join(&quiet, 0, 2);
        for byte in 0..4 {
            rooms.fan_out(turn(&busy, byte, 100_000));
        }
        rooms.fan_out(turn(&quiet, 9, 1));
        let mut order = Vec::new();
        while let Some(batch) = rooms.next() {
            order.push((batch.room, batch.whole(0).1));
        }
        assert_eq!(order, [(0, 2), (1, 1), (0, 2)]);
    }

    #[test]
    fn a_member_gets_each_turn_once() {
        let (mut rooms, feed) = (Rooms::default(), feed());
        let first = rooms.join(&feed, 0, 1);
        rooms.fan_out(turn(&feed, 1, 1));
        let mut early = first;
        assert_eq!(rooms.catch_up(&mut early).len(), 1);
        let late = rooms.join(&feed, 0, 2);
        rooms.fan_out(turn(&feed, 2, 1));
        let batch = rooms.next().unwrap();
        let rest = |member| {
            batch
                .rest(member)
                .map(|(bytes, _)| bytes[0])
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (rest(&first), rest(&early), rest(&late)),
            (vec![1, 2], vec![2], vec![2])
        );
        assert!(batch.is_new_to(&first) && !batch.is_new_to(&early));
    }

    #[test]
    fn a_room_without_members_is_forgotten_with_its_turns() {
        let (mut rooms, feed) = (Rooms::default(), feed());
        let (one, two) = (rooms.join(&feed, 0, 1), rooms.join(&feed, 0, 2));
        rooms.fan_out(turn(&feed, 1, 1));
        assert_eq!(rooms.leave(one), Some(2));
        let mut moved = two;
        moved.moved_to(one);
        assert_eq!(rooms.leave(moved), None);
        assert!(rooms.all.is_empty() && rooms.next().is_none());
        rooms.fan_out(turn(&feed, 2, 1));
        assert!(!rooms.are_waiting(), "nobody is there");
    }
}
