//! Counts slots by key, such as the connections of an address or the clients of a room.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How many slots are taken, by key. A key without any is not kept.
pub(crate) struct SlotCounter<K>(Mutex<HashMap<K, usize>>);

impl<K> Default for SlotCounter<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash + Clone> SlotCounter<K> {
    /// Takes a slot for a key, unless `judge` refuses that by what is taken already.
    pub(crate) fn take<E>(
        self: &Arc<Self>,
        key: &K,
        judge: impl FnOnce(&HashMap<K, usize>) -> Result<(), E>,
    ) -> Result<Slot<K>, E> {
        let mut taken = self.taken();
        judge(&taken)?;
        *taken.entry(key.clone()).or_default() += 1;
        Ok(Slot {
            counter: self.clone(),
            key: key.clone(),
        })
    }
}

impl<K> SlotCounter<K> {
    fn taken(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(crate) fn are_free(&self) -> bool {
        self.taken().is_empty()
    }
}

/// A slot; free again when it is dropped.
pub(crate) struct Slot<K: Eq + Hash> {
    counter: Arc<SlotCounter<K>>,
    key: K,
}

impl<K: Eq + Hash> Drop for Slot<K> {
    fn drop(&mut self) {
        let mut taken = self.counter.taken();
        if let Some(count) = taken.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.key);
            }
        }
    }
}
