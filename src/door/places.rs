//! Places that are taken in somebody's or something's name: how many connections an address has, how many clients a room.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How many places are taken, by key. A key without any is not kept.
pub(crate) struct Places<K>(Mutex<HashMap<K, usize>>);

impl<K> Default for Places<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash + Clone> Places<K> {
    /// Takes a place for a key, unless `judge` refuses that by what is taken already.
    pub(crate) fn take<E>(
        self: &Arc<Self>,
        key: &K,
        judge: impl FnOnce(&HashMap<K, usize>) -> Result<(), E>,
    ) -> Result<Place<K>, E> {
        let mut taken = self.taken();
        judge(&taken)?;
        *taken.entry(key.clone()).or_default() += 1;
        Ok(Place {
            places: self.clone(),
            key: key.clone(),
        })
    }
}

impl<K> Places<K> {
    fn taken(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(crate) fn are_free(&self) -> bool {
        self.taken().is_empty()
    }
}

/// A place; free again when it is dropped.
pub(crate) struct Place<K: Eq + Hash> {
    places: Arc<Places<K>>,
    key: K,
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if let Some(count) = taken.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.key);
            }
        }
    }
}
