//! What a device must not forget: entries that its host stores before it sends a frame. A change
//! says which revision it follows, so that of two tabs with the same state only one can go on.

use crate::codec::{Malformed, Reader, long_parts};
use std::collections::BTreeMap;
use std::fmt;
use thiserror::Error;

/// The stored form.
const FORM: u8 = 1;

/// Keys and values.
pub(crate) type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// Entries, by opaque keys. They hold secrets: the host encrypts them where they are stored.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Shelf {
    revision: u64,
    pub(crate) entries: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What one step changed. To be stored as a whole, or not at all.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Changes {
    after: u64,
    put: Vec<(Vec<u8>, Vec<u8>)>,
    delete: Vec<Vec<u8>>,
}

/// Why changes were not stored, or a shelf not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Error {
    /// Somebody else went on from the same state: another tab, or a copy of the program.
    #[error("the state was changed elsewhere since (another tab?): read it again, send nothing")]
    Overtaken,
    /// Bytes of another form, or cut off.
    #[error("the stored state of sealed rooms cannot be read")]
    Malformed,
}

impl From<Malformed> for Error {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl Shelf {
    /// Changes that it has taken.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Takes the changes of the next step.
    ///
    /// # Errors
    /// They do not follow what is here. Nothing was changed; nothing of that step may be sent.
    pub fn store(&mut self, changes: Changes) -> Result<(), Error> {
        if changes.after != self.revision {
            return Err(Error::Overtaken);
        }
        if !changes.is_empty() {
            self.revision += 1;
        }
        self.entries.extend(changes.put);
        for key in changes.delete {
            self.entries.remove(&key);
        }
        Ok(())
    }

    /// What makes these entries of those on the shelf, in each area: all keys that begin alike.
    pub(crate) fn changes_to(&self, areas: &[(Vec<u8>, Entries)]) -> Changes {
        let mut changes = Changes {
            after: self.revision,
            ..Changes::default()
        };
        for (front, entries) in areas {
            let entries: BTreeMap<_, _> = entries
                .iter()
                .map(|(key, value)| ([front, &key[..]].concat(), value))
                .collect();
            for (key, value) in &entries {
                if self.entries.get(key) != Some(*value) {
                    changes.put.push((key.clone(), value.to_vec()));
                }
            }
            let stored = self.area(front).map(|(key, _)| key);
            let gone = stored.filter(|key| !entries.contains_key(*key));
            changes.delete.extend(gone.cloned());
        }
        changes
    }

    /// The entries whose keys begin alike.
    pub(crate) fn area<'a>(
        &'a self,
        front: &'a [u8],
    ) -> impl Iterator<Item = (&'a Vec<u8>, &'a Vec<u8>)> {
        let from = self.entries.range(front.to_vec()..);
        from.take_while(move |(key, _)| key.starts_with(front))
    }

    /// As one value, for a host that stores it whole.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![FORM];
        bytes.extend(self.revision.to_be_bytes());
        for (key, value) in &self.entries {
            bytes.extend(long_parts(&[key, value]));
        }
        bytes
    }

    /// # Errors
    /// Bytes of another form, or cut off.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader(bytes);
        if reader.array()? != [FORM] {
            return Err(Error::Malformed);
        }
        let revision = u64::from_be_bytes(reader.array()?);
        let mut entries = BTreeMap::new();
        while !reader.0.is_empty() {
            let (key, value) = (reader.long()?, reader.long()?);
            entries.insert(key.to_vec(), value.to_vec());
        }
        Ok(Self { revision, entries })
    }
}

impl Changes {
    /// Whether there is nothing to store.
    pub fn is_empty(&self) -> bool {
        self.put.is_empty() && self.delete.is_empty()
    }

    /// The revision that they follow.
    pub fn after(&self) -> u64 {
        self.after
    }

    /// Entries that are new or changed.
    pub fn put(&self) -> &[(Vec<u8>, Vec<u8>)] {
        &self.put
    }

    /// Entries that go.
    pub fn delete(&self) -> &[Vec<u8>] {
        &self.delete
    }
}

impl fmt::Debug for Shelf {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "Shelf({} entries, revision {})",
            self.entries.len(),
            self.revision
        )
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "Changes({} put, {} gone)",
            self.put.len(),
            self.delete.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(of: &[(&str, &str)]) -> [(Vec<u8>, Entries); 1] {
        let of = of.iter();
        let entries = of.map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec()));
        [(b"area".to_vec(), entries.collect())]
    }

    #[test]
    fn changes_make_one_state_of_another() {
        let mut shelf = Shelf::default();
        let beside = [(b"beside".to_vec(), vec![(b"a".to_vec(), b"1".to_vec())])];
        shelf.store(shelf.changes_to(&beside)).unwrap();
        for next in [
            &[("a", "1"), ("b", "2")][..],
            &[("b", "3"), ("c", "4")],
            &[],
        ] {
            shelf.store(shelf.changes_to(&area(next))).unwrap();
            assert_eq!(shelf.entries.len(), next.len() + 1);
            assert!(shelf.changes_to(&area(next)).is_empty());
            assert_eq!(Shelf::decode(&shelf.encode()).unwrap(), shelf);
        }
    }

    #[test]
    fn of_two_tabs_with_one_state_only_one_goes_on() {
        let mut shelf = Shelf::default();
        let one = shelf.changes_to(&area(&[("a", "1")]));
        let other = shelf.changes_to(&area(&[("a", "2")]));
        shelf.store(one).unwrap();
        assert_eq!(shelf.store(other), Err(Error::Overtaken));
        assert!(shelf.changes_to(&area(&[("a", "1")])).is_empty());
    }

    #[test]
    fn a_cut_off_shelf_is_not_read() {
        let mut shelf = Shelf::default();
        shelf.store(shelf.changes_to(&area(&[("a", "1")]))).unwrap();
        let bytes = shelf.encode();
        for length in (0..bytes.len()).filter(|length| *length != 9) {
            assert_eq!(
                Shelf::decode(&bytes[..length]),
                Err(Error::Malformed),
                "{length}"
            );
        }
    }
}
