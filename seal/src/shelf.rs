//! What a device must not forget: entries that its host stores before it sends a frame. A change
//! says which revision it follows, so that of two tabs with the same state only one can go on.

use crate::codec::{Malformed, Reader, long_parts, short_parts};
use crate::identity::Identity;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use thiserror::Error;
use zeroize::Zeroizing;

/// The stored form.
const FORM: u8 = 1;

/// What an encrypted shelf begins with: what it is, and its form.
const LOCKED: &[u8] = b"safe-chat shelf v1\n";

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
    /// Another identity's, or changed bytes.
    #[error("the stored state of sealed rooms is that of another key, or was changed")]
    Locked,
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

    /// As one value that only this identity opens. `about` says what it is of, and must be said
    /// again to open it; the nonce must never be used twice.
    pub fn lock(&self, identity: &Identity, about: &str, nonce: &[u8; 24]) -> Vec<u8> {
        lock(&Zeroizing::new(self.encode()), identity, about, nonce)
    }

    /// # Errors
    /// Bytes of another form, or of another identity.
    pub fn unlock(bytes: &[u8], identity: &Identity, about: &str) -> Result<Self, Error> {
        Self::decode(&unlock(bytes, identity, about)?)
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

/// Bytes that only this identity opens, for what a host keeps beside a shelf: as [`Shelf::lock`].
pub fn lock(bytes: &[u8], identity: &Identity, about: &str, nonce: &[u8; 24]) -> Vec<u8> {
    let payload = Payload {
        msg: bytes,
        aad: LOCKED,
    };
    let locked = cipher(identity, about).encrypt(XNonce::from_slice(nonce), payload);
    let locked = locked.expect("what is kept is not too long to encrypt");
    [LOCKED, nonce, &locked].concat()
}

/// Whether these are bytes that an identity has locked.
pub fn is_locked(bytes: &[u8]) -> bool {
    bytes.starts_with(LOCKED)
}

/// # Errors
/// Bytes of another form, or of another identity.
pub fn unlock(bytes: &[u8], identity: &Identity, about: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut reader = Reader(bytes.strip_prefix(LOCKED).ok_or(Error::Malformed)?);
    let nonce: [u8; 24] = reader.array()?;
    let payload = Payload {
        msg: reader.0,
        aad: LOCKED,
    };
    let opened = cipher(identity, about).decrypt(XNonce::from_slice(&nonce), payload);
    Ok(Zeroizing::new(opened.map_err(|_| Error::Locked)?))
}

/// A key of its own for each thing that an identity locks: a hash of a secret of full strength.
fn cipher(identity: &Identity, about: &str) -> XChaCha20Poly1305 {
    let seed = identity.seed();
    let secret = short_parts(&[LOCKED, seed.as_slice(), about.as_bytes()]);
    let key = Sha256::digest(Zeroizing::new(secret).as_slice());
    XChaCha20Poly1305::new(Key::from_slice(&key))
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
    fn only_its_identity_opens_a_locked_shelf() {
        let mut shelf = Shelf::default();
        shelf.store(shelf.changes_to(&area(&[("a", "1")]))).unwrap();
        let (own, other) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
        let locked = shelf.lock(&own, "harry", &[3; 24]);
        assert_eq!(Shelf::unlock(&locked, &own, "harry").unwrap(), shelf);
        assert_eq!(Shelf::unlock(&locked, &other, "harry"), Err(Error::Locked));
        assert_eq!(Shelf::unlock(&locked, &own, "charly"), Err(Error::Locked));
        for at in 0..locked.len() {
            let mut changed = locked.clone();
            changed[at] ^= 1;
            assert!(Shelf::unlock(&changed, &own, "harry").is_err(), "{at}");
        }
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
