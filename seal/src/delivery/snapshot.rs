//! The stored form of the public state of a group.

use super::Delivery;
use crate::codec::{Malformed, Reader, long_parts};
use crate::crypto::Crypto;
use crate::device::Name;
use crate::entry::Entry;
use crate::lists::Lists;
use crate::mls;
use crate::rules::Refusal;
use openmls::prelude::PublicGroup;
use openmls_rust_crypto::MemoryStorage;
use std::collections::{BTreeMap, BTreeSet};

/// The form of snapshots.
const FORM: u8 = 1;
/// The form with who may come in, and since when newcomers are in: only where there is something of
/// that.
const FORM_WITH_ENTRY: u8 = 2;

impl Delivery {
    /// All of it, to go on from later without the journal before.
    pub fn snapshot(&self) -> Vec<u8> {
        let numbers = |leaves: &BTreeSet<u32>| -> Vec<u8> {
            leaves.iter().flat_map(|leaf| leaf.to_be_bytes()).collect()
        };
        let group_id = self.group.group_id().as_slice();
        let is_plain = self.entry == Entry::default() && self.since.is_empty();
        let mut bytes = vec![if is_plain { FORM } else { FORM_WITH_ENTRY }];
        bytes.extend(long_parts(&[
            self.room.as_str().as_bytes(),
            group_id,
            &self.group_info,
            &numbers(&self.leaving),
            &numbers(&self.reported),
            &self.lists.encode(),
        ]));
        if !is_plain {
            let since = self.since.iter().flat_map(|(leaf, epoch)| {
                let (leaf, epoch) = (leaf.to_be_bytes(), epoch.to_be_bytes());
                leaf.into_iter().chain(epoch)
            });
            let since: Vec<u8> = since.collect();
            bytes.extend(long_parts(&[&self.entry.encode(), &since]));
        }
        // A snapshot of the same state has the same bytes.
        let values = self
            .storage
            .values
            .read()
            .expect("nobody panics while writing");
        let values: BTreeMap<_, _> = values.iter().collect();
        for (key, value) in values {
            bytes.extend(long_parts(&[key, value]));
        }
        bytes
    }

    /// Whether bytes are a snapshot in a form that this version reads.
    pub fn reads(bytes: &[u8]) -> bool {
        matches!(bytes.first(), Some(&FORM | &FORM_WITH_ENTRY))
    }

    /// From a snapshot. Nothing is verified again but the certificates: it comes from the journal.
    ///
    /// # Errors
    /// Bytes of another form.
    pub fn restore(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut reader = Reader(bytes);
        let [form] = reader.array()?;
        if !Self::reads(&[form]) {
            return Err(Refusal::Malformed);
        }
        let room = std::str::from_utf8(reader.long()?).map_err(|_| Refusal::Malformed)?;
        let room = Name::parse(room)?;
        let group_id = openmls::prelude::GroupId::from_slice(reader.long()?);
        let group_info = reader.long()?.to_vec();
        let (leaving, reported) = (leaves(reader.long()?)?, leaves(reader.long()?)?);
        let lists = Lists::decode(reader.long()?, &room)?;
        let (entry, since) = match form {
            FORM => Default::default(),
            _ => (Entry::decode(reader.long()?)?, epochs(reader.long()?)?),
        };
        let storage = MemoryStorage::default();
        while !reader.0.is_empty() {
            let (key, value) = (reader.long()?.to_vec(), reader.long()?.to_vec());
            let mut values = storage.values.write().expect("nobody panics while writing");
            values.insert(key, value);
        }
        let group = PublicGroup::load(&storage, &group_id).map_err(|_| Refusal::Malformed)?;
        let group = group.ok_or(Refusal::Malformed)?;
        let members = mls::members(group.treesync())?.into_iter().collect();
        Ok(Self {
            policy: mls::join_policy_of(group_id.as_slice(), &room)?,
            room,
            crypto: Crypto::default(),
            storage,
            group,
            group_info,
            members,
            leaving,
            reported,
            lists,
            entry,
            since,
        })
    }
}

fn leaves(bytes: &[u8]) -> Result<BTreeSet<u32>, Malformed> {
    let mut reader = Reader(bytes);
    let mut leaves = BTreeSet::new();
    while !reader.0.is_empty() {
        leaves.insert(u32::from_be_bytes(reader.array()?));
    }
    Ok(leaves)
}

/// Leaves, each with an epoch.
fn epochs(bytes: &[u8]) -> Result<BTreeMap<u32, u64>, Malformed> {
    let mut reader = Reader(bytes);
    let mut epochs = BTreeMap::new();
    while !reader.0.is_empty() {
        let leaf = u32::from_be_bytes(reader.array()?);
        epochs.insert(leaf, u64::from_be_bytes(reader.array()?));
    }
    Ok(epochs)
}
