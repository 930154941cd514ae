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
        if self.values.contains_key(&key) {
            return;
        }
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

    /// The same under other keys; of two that become one the older stays.
    pub fn map_keys(&self, key: impl Fn(&K) -> K) -> Self
    where
        V: Clone,
    {
        let mut mapped = Self::new(self.capacity);
        for (old, value) in self.iter() {
            mapped.insert(key(old), value.clone());
        }
        mapped
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
    }
}
