//! Values by key, made when they are asked for and dropped when nobody holds them and nothing would
//! be forgotten with them.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

/// Below this many keys it is not worth looking for idle ones.
const FEW: usize = 1024;
/// The most keys that nobody holds. Beyond it values that are not idle are dropped too: who
/// commands so many keys within seconds gains nothing by a full bucket more.
const MOST: usize = 131_072;

/// A value that may be forgotten when it is as it was made.
pub(in crate::gateway) trait Idle {
    /// Whether it is. Asked only when nobody holds it; if so, it is dropped.
    fn is_idle(&self) -> bool;
}

/// Values by key.
pub(in crate::gateway) struct Keyed<K, V>(Mutex<State<K, V>>);

struct State<K, V> {
    values: HashMap<K, Arc<V>>,
    /// At how many keys to look for idle ones: twice those that stayed, so that looking costs a
    /// constant per key.
    look_at: usize,
}

impl<K, V> Default for Keyed<K, V> {
    fn default() -> Self {
        Self(Mutex::new(State {
            values: HashMap::new(),
            look_at: FEW,
        }))
    }
}

impl<K: Eq + Hash, V: Idle> Keyed<K, V> {
    /// The value of a key, which stays at least as long as it is held.
    pub(in crate::gateway) fn get(&self, key: K, make: impl FnOnce() -> V) -> Arc<V> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = state.values.get(&key) {
            return value.clone();
        }
        if state.values.len() >= state.look_at {
            state.tidy();
        }
        state
            .values
            .entry(key)
            .or_insert_with(|| Arc::new(make()))
            .clone()
    }

    /// Drops what nobody holds and nothing would be forgotten with: after many have left, nobody
    /// comes and makes it do so.
    pub(in crate::gateway) fn tidy(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).tidy();
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.lock().unwrap().values.len()
    }
}

impl<K: Eq + Hash, V: Idle> State<K, V> {
    fn tidy(&mut self) {
        // Under the lock nobody can get hold of a value that only the map holds.
        let held = |value: &Arc<V>| Arc::strong_count(value) > 1;
        self.values
            .retain(|_, value| held(value) || !value.is_idle());
        if self.values.len() >= MOST {
            self.values.retain(|_, value| held(value));
        }
        self.look_at = FEW.max(2 * self.values.len());
        self.values.shrink_to(self.look_at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Value(bool);

    impl Idle for Value {
        fn is_idle(&self) -> bool {
            self.0
        }
    }

    #[test]
    fn idle_keys_are_dropped_others_stay() {
        let keyed = Keyed::default();
        let held = keyed.get(u64::MAX, || Value(true));
        keyed.get(u64::MAX - 1, || Value(false));
        for key in 0..100_000 {
            keyed.get(key, || Value(true));
        }
        assert!(keyed.len() <= FEW + 1, "{}", keyed.len());
        keyed.tidy();
        assert_eq!(keyed.len(), 2, "one is held, one is not idle");
        assert!(Arc::ptr_eq(&held, &keyed.get(u64::MAX, || Value(true))));
        assert!(!keyed.get(u64::MAX - 1, || Value(true)).0, "it was kept");
    }

    #[test]
    fn there_is_an_end_to_keys_that_are_not_idle() {
        let keyed = Keyed::default();
        let held = keyed.get(u64::MAX, || Value(false));
        for key in 0..3 * MOST as u64 {
            keyed.get(key, || Value(false));
            assert!(keyed.len() <= 2 * MOST);
        }
        assert!(Arc::ptr_eq(&held, &keyed.get(u64::MAX, || Value(false))));
    }
}
