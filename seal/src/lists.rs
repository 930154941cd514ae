//! The lists of devices that a room knows. A device that its person's list does not have comes in
//! no more, and goes as if it had asked to.

use crate::codec::{Reader, long_parts};
use crate::device::{Certificate, List, Name, OLD_LIST_FORM};
use crate::identity::Public;
use crate::rules::{MOST_MEMBERS, Refusal};
use std::collections::BTreeMap;

/// Lists that a room keeps; beyond that it forgets those of who is not in.
const MOST_LISTS: usize = 2 * MOST_MEMBERS;
/// Bytes of a list.
pub(crate) const MOST_LIST: usize = 4 * 1024;

/// The newest list of each person that has said one in the room.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lists(BTreeMap<Public, List>);

impl Lists {
    /// Reads a list that is newer than the one that is known.
    pub(crate) fn decide(&self, bytes: &[u8], room: &Name) -> Result<List, Refusal> {
        if bytes.len() > MOST_LIST {
            return Err(Refusal::TooLarge);
        }
        // It could be of any room.
        if bytes.first() == Some(&OLD_LIST_FORM) {
            return Err(Refusal::OldList);
        }
        let list = List::decode(bytes, room)?;
        match self.0.get(list.identity()) {
            Some(known) if !list.supersedes(known) => Err(Refusal::OldList),
            _ => Ok(list),
        }
    }

    pub(crate) fn learn(&mut self, list: List, members: &BTreeMap<u32, Certificate>) {
        self.0.insert(*list.identity(), list);
        if self.0.len() > MOST_LISTS {
            let is_in = |person: &Public| members.values().any(|one| one.identity == *person);
            self.0.retain(|person, _| is_in(person));
        }
    }

    /// The same of a device outside of the group, of its own person: whether it counts.
    pub(crate) fn learn_own(&mut self, bytes: &[u8], room: &Name, own: &Certificate) {
        let list = self.decide(bytes, room).ok();
        if let Some(list) = list.filter(|list| *list.identity() == own.identity) {
            self.0.insert(own.identity, list);
        }
    }

    /// The newest list of a person.
    pub(crate) fn of(&self, person: &Public) -> Option<&List> {
        self.0.get(person)
    }

    /// Whether a device may come in: its person has said no list, or one with it.
    pub(crate) fn allows(&self, device: &Certificate) -> bool {
        let list = self.0.get(&device.identity);
        list.is_none_or(|list| list.has(device))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let lists = self.0.values().map(|list| long_parts(&[&list.encode()]));
        lists.collect::<Vec<_>>().concat()
    }

    /// Without those of before that name no room.
    pub(crate) fn decode(bytes: &[u8], room: &Name) -> Result<Self, Refusal> {
        let (mut lists, mut reader) = (Self::default(), Reader(bytes));
        while !reader.0.is_empty() {
            match lists.decide(reader.long()?, room) {
                Err(Refusal::OldList) => {}
                list => {
                    let list = list?;
                    lists.0.insert(*list.identity(), list);
                }
            }
        }
        Ok(lists)
    }
}
