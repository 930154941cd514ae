//! A bounded memory of what was last seen: the newest `capacity` keys with a value each, oldest
//! forgotten first. Keys are kept once, in their order; an index of 4 bytes each finds them.

use hashbrown::HashTable;
use std::{
    collections::VecDeque,
    hash::{BuildHasher, Hash, RandomState},
};

/// Remembers the newest `capacity` keys. Inserting a key that is there changes nothing: the first
/// value stays.
#[derive(Debug, Clone)]
pub struct Window<K, V> {
    capacity: usize,
    /// Oldest first.
    entries: VecDeque<(K, V)>,
    /// Where each key is: its place among the entries, counted from `first`, modulo 2^32.
    index: HashTable<u32>,
    /// What the oldest entry counts as.
    first: u32,
    hasher: RandomState,
}

impl<K: Hash + Eq, V> Window<K, V> {
    /// An empty window of `capacity` (> 0) keys.
    pub fn new(capacity: usize) -> Self {
        assert!(capacity > 0, "a window remembers at least one key");
        assert!(u32::try_from(capacity).is_ok(), "a window is small");
        Self {
            capacity,
            entries: VecDeque::new(),
            index: HashTable::new(),
            first: 0,
            hasher: RandomState::new(),
        }
    }

    /// The value of a key that is still remembered.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.place(key).map(|place| &self.entries[place].1)
    }

    /// Where a key is among the entries.
    fn place(&self, key: &K) -> Option<usize> {
        let place = |counted: &u32| counted.wrapping_sub(self.first) as usize;
        let is_it = |counted: &u32| self.entries[place(counted)].0 == *key;
        let found = self.index.find(self.hasher.hash_one(key), is_it);
        found.map(place)
    }

    /// Remembers a key, and forgets the oldest one when there are too many.
    pub fn insert(&mut self, key: K, value: V) {
        if self.place(&key).is_none() {
            self.push(key, value);
        }
    }

    /// A key that is not there.
    fn push(&mut self, key: K, value: V) {
        if self.entries.len() == self.capacity {
            self.drop_oldest();
        }
        let counted = self.first.wrapping_add(self.entries.len() as u32);
        let hash = self.hasher.hash_one(&key);
        self.entries.push_back((key, value));
        let (entries, first, hasher) = (&self.entries, self.first, &self.hasher);
        self.index.insert_unique(hash, counted, |counted| {
            hasher.hash_one(&entries[counted.wrapping_sub(first) as usize].0)
        });
    }

    /// The oldest key.
    pub fn oldest(&self) -> Option<&K> {
        self.entries.front().map(|(key, _)| key)
    }

    /// Forgets the oldest key.
    pub fn drop_oldest(&mut self) {
        if !self.entries.is_empty() {
            self.remove(0);
        }
    }

    /// Takes out the entry at a place.
    fn remove(&mut self, place: usize) {
        let first = self.first;
        let counted = first.wrapping_add(place as u32);
        if let Some((key, _)) = self.entries.remove(place) {
            let hash = self.hasher.hash_one(&key);
            let entry = self.index.find_entry(hash, |other| *other == counted);
            entry.expect("each key is in the index").remove();
        }
        if place == 0 {
            self.first = first.wrapping_add(1);
            return;
        }
        for other in self.index.iter_mut() {
            if other.wrapping_sub(first) as usize > place {
                *other = other.wrapping_sub(1);
            }
        }
    }

    /// As [`Self::insert`], where `merge` gives what becomes of a key that is there: `None` leaves
    /// it as it is, a value makes it the newest.
    pub fn insert_with(&mut self, key: K, value: V, merge: impl Fn(&V, V) -> Option<V>) {
        let Some(place) = self.place(&key) else {
            return self.push(key, value);
        };
        if let Some(value) = merge(&self.entries[place].1, value) {
            self.remove(place);
            self.push(key, value);
        }
    }

    /// An empty one of the same capacity.
    pub fn emptied(&self) -> Self {
        Self::new(self.capacity)
    }

    /// Changes values.
    pub fn for_each_mut(&mut self, mut change: impl FnMut(&K, &mut V)) {
        self.entries
            .iter_mut()
            .for_each(|(key, value)| change(key, value));
    }

    /// Keys and values, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, value)| (key, value))
    }

    /// How many keys are remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<K: Hash + Eq, V: PartialEq> PartialEq for Window<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.capacity == other.capacity && self.entries == other.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What may be done to a window.
    #[derive(Debug, Clone, Copy)]
    enum Act {
        Insert(u8),
        /// Whether what is there is replaced.
        InsertWith(u8, bool),
        DropOldest,
        Change,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            4 => (0..12u8).prop_map(Act::Insert),
            4 => (0..12u8, any::<bool>()).prop_map(|(key, is_new)| Act::InsertWith(key, is_new)),
            1 => Just(Act::DropOldest),
            1 => Just(Act::Change),
        ]
    }

    /// The same in a list that is searched.
    fn in_list(list: &mut Vec<(u8, usize)>, capacity: usize, act: Act, value: usize) {
        let place = |key: u8| move |(other, _): &(u8, usize)| *other == key;
        let key = match act {
            Act::DropOldest if list.is_empty() => return,
            Act::DropOldest => {
                list.remove(0);
                return;
            }
            Act::Change => return list.iter_mut().for_each(|(_, value)| *value += 1000),
            Act::Insert(key) | Act::InsertWith(key, false) if list.iter().any(place(key)) => return,
            Act::Insert(key) | Act::InsertWith(key, _) => key,
        };
        match list.iter().position(place(key)) {
            Some(place) => _ = list.remove(place),
            None if list.len() == capacity => _ = list.remove(0),
            None => {}
        }
        list.push((key, value));
    }

    proptest! {
        #[test]
        fn a_window_does_what_a_list_does(
            capacity in 1..9usize,
            before in 0..4u32,
            acts in prop::collection::vec(act(), 0..120),
        ) {
            let (mut window, mut list) = (Window::new(capacity), Vec::new());
            // Where counting begins again at 0 nothing is different.
            window.first = u32::MAX - before;
            for (value, act) in acts.into_iter().enumerate() {
                in_list(&mut list, capacity, act, value);
                match act {
                    Act::Insert(key) => window.insert(key, value),
                    Act::InsertWith(key, is_new) => {
                        window.insert_with(key, value, |_, value| is_new.then_some(value));
                    }
                    Act::DropOldest => window.drop_oldest(),
                    Act::Change => window.for_each_mut(|_, value| *value += 1000),
                }
                let held: Vec<_> = window.iter().map(|(key, value)| (*key, *value)).collect();
                prop_assert_eq!(&held, &list);
                prop_assert_eq!(window.oldest(), list.first().map(|(key, _)| key));
                prop_assert_eq!((window.len(), window.is_empty()), (list.len(), list.is_empty()));
                for key in 0..12 {
                    let found = list.iter().find(|(other, _)| *other == key);
                    prop_assert_eq!(window.get(&key), found.map(|(_, value)| value));
                }
                prop_assert!(window.clone() == window);
            }
        }
    }

    #[test]
    fn the_oldest_key_is_forgotten_and_the_first_value_stays() {
        let mut window = Window::new(2);
        window.insert("a", 1);
        window.insert("a", 9);
        window.insert("b", 2);
        assert_eq!(window.get(&"a"), Some(&1));
        window.insert("c", 3);
        assert_eq!(window.get(&"a"), None);
        assert_eq!(window.iter().collect::<Vec<_>>(), [(&"b", &2), (&"c", &3)]);
        window.insert_with("b", 5, |_, _| None);
        assert_eq!(window.oldest(), Some(&"b"));
        window.insert_with("b", 5, |known, new| Some(known + new));
        window.insert_with("d", 4, |_, _| None);
        assert_eq!(window.iter().collect::<Vec<_>>(), [(&"b", &7), (&"d", &4)]);
    }
}
