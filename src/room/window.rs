//! A bounded memory of what was last seen: the newest `capacity` keys with a value each, oldest
//! forgotten first.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
};

/// Remembers the newest `capacity` keys. Inserting a key that is there changes nothing: the first
/// value stays.
#[derive(Debug, Clone)]
pub struct Window<K, V> {
    capacity: usize,
    order: VecDeque<K>,
    values: HashMap<K, V>,
}

impl<K: Hash + Eq + Clone, V> Window<K, V> {
    /// An empty window of `capacity` (> 0) keys.
    pub fn new(capacity: usize) -> Self {
        assert!(capacity > 0, "a window remembers at least one key");
        Self {
            capacity,
            order: VecDeque::new(),
            values: HashMap::new(),
        }
    }

    /// The value of a key that is still remembered.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.values.get(key)
    }

    /// Remembers a key, and forgets the oldest one when there are too many.
    pub fn insert(&mut self, key: K, value: V) {
        if !self.values.contains_key(&key) {
            self.push(key, value);
        }
    }

    /// A key that is not there.
    fn push(&mut self, key: K, value: V) {
        if self.order.len() == self.capacity {
            self.drop_oldest();
        }
        self.order.push_back(key.clone());
        self.values.insert(key, value);
    }

    /// The oldest key.
    pub fn oldest(&self) -> Option<&K> {
        self.order.front()
    }

    /// Forgets the oldest key.
    pub fn drop_oldest(&mut self) {
        if let Some(oldest) = self.order.pop_front() {
            self.values.remove(&oldest);
        }
    }

    /// As [`Self::insert`], where `merge` gives what becomes of a key that is there: `None` leaves
    /// it as it is, a value makes it the newest.
    pub fn insert_with(&mut self, key: K, value: V, merge: impl Fn(&V, V) -> Option<V>) {
        let Some(known) = self.values.get(&key) else {
            return self.push(key, value);
        };
        let Some(value) = merge(known, value) else {
            return;
        };
        self.values.remove(&key);
        self.order.retain(|other| *other != key);
        self.push(key, value);
    }

    /// An empty one of the same capacity.
    pub fn emptied(&self) -> Self {
        Self::new(self.capacity)
    }

    /// Changes values.
    pub fn for_each_mut(&mut self, mut change: impl FnMut(&K, &mut V)) {
        self.values
            .iter_mut()
            .for_each(|(key, value)| change(key, value));
    }

    /// Keys and values, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.order.iter().map(|key| (key, &self.values[key]))
    }

    /// How many keys are remembered.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

impl<K: Hash + Eq + Clone, V: PartialEq> PartialEq for Window<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.capacity == other.capacity && self.iter().eq(other.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
