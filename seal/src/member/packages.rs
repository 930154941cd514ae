//! Key packages that were published, and their private halves: until they are used, or too old.

use super::Error;
use crate::crypto::Provider;
use crate::device::{Certificate, DeviceKey};
use crate::mls::{self, SUITE};
use crate::shelf::Entries;
use openmls::prelude::{KeyPackage, KeyPackageRef, MlsMessageOut, OpenMlsProvider as _};
use openmls_traits::storage::StorageProvider as _;
use serde::{Deserialize, Serialize};

/// One-time key packages made at once.
const MOST_AT_ONCE: usize = 100;
/// The entry that says which there are. No key of OpenMLS is empty.
const INDEX: &[u8] = b"";

/// Private halves of published key packages.
#[derive(Default)]
pub(super) struct Packages {
    provider: Provider,
    made: Vec<Made>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Made {
    reference: KeyPackageRef,
    until: u64,
}

impl Packages {
    /// Key packages for one use each, and one of last resort.
    pub(super) fn make(
        &mut self,
        count: usize,
        now: u64,
        key: &DeviceKey,
        certificate: &Certificate,
    ) -> Result<(Vec<Vec<u8>>, Vec<u8>), Error> {
        let mut make = |is_last_resort| self.make_one(is_last_resort, now, key, certificate);
        let one_time = (0..count.min(MOST_AT_ONCE))
            .map(|_| make(false))
            .collect::<Result<_, _>>()?;
        Ok((one_time, make(true)?))
    }

    fn make_one(
        &mut self,
        is_last_resort: bool,
        now: u64,
        key: &DeviceKey,
        certificate: &Certificate,
    ) -> Result<Vec<u8>, Error> {
        let failed = || Error::Mls("making a key package");
        let lifetime = mls::lifetime(now);
        let mut builder = KeyPackage::builder()
            .key_package_lifetime(lifetime)
            .leaf_node_capabilities(mls::capabilities());
        if is_last_resort {
            builder = builder.mark_as_last_resort();
        }
        let made = builder.build(SUITE, &self.provider, key, mls::credential(certificate));
        let package = made.map_err(|_| failed())?.key_package().clone();
        let reference = package
            .hash_ref(self.provider.crypto())
            .map_err(|_| failed())?;
        self.made.push(Made {
            reference,
            until: lifetime.not_after(),
        });
        MlsMessageOut::from(package)
            .to_bytes()
            .map_err(|_| failed())
    }

    /// Whether the time of one is over.
    pub(super) fn are_old(&self, now: u64) -> bool {
        self.made.iter().any(|made| made.until <= now)
    }

    /// Forgets those whose time is over.
    pub(super) fn expire(&mut self, now: u64) {
        let (kept, gone) = self.made.drain(..).partition(|made| made.until > now);
        self.made = kept;
        self.delete(gone);
    }

    /// Forgets those that a welcome has used up in a copy of these.
    pub(super) fn used_in(&mut self, copy: &Provider) {
        let is_there = |made: &Made| {
            let found = copy
                .storage()
                .key_package::<_, openmls::prelude::KeyPackageBundle>(&made.reference);
            found.is_ok_and(|found| found.is_some())
        };
        let (kept, gone) = self.made.drain(..).partition(is_there);
        self.made = kept;
        self.delete(gone);
    }

    fn delete(&mut self, gone: Vec<Made>) {
        for made in gone {
            let deleted = self.provider.storage().delete_key_package(&made.reference);
            deleted.expect("memory takes what is written");
        }
    }

    /// Where a welcome finds the private half that it was made for.
    pub(super) fn copy(&self) -> Provider {
        let copy = Provider::default();
        put(&copy, values(&self.provider));
        copy
    }

    pub(super) fn entries(&self) -> Entries {
        let index = serde_json::to_vec(&self.made).expect("references and numbers");
        let mut entries = values(&self.provider);
        entries.push((INDEX.to_vec(), index));
        entries
    }

    pub(super) fn load(entries: Entries) -> Option<Self> {
        let (index, values): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .partition(|(key, _)| key.as_slice() == INDEX);
        let made = match index.first() {
            Some((_, index)) => serde_json::from_slice(index).ok()?,
            None => Vec::new(),
        };
        let provider = Provider::default();
        put(&provider, values);
        Some(Self { provider, made })
    }
}

/// All that OpenMLS has stored.
pub(super) fn values(provider: &Provider) -> Entries {
    let values = provider
        .storage()
        .values
        .read()
        .expect("nobody panics while writing");
    values
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

pub(super) fn put(provider: &Provider, values: Entries) {
    let mut stored = provider
        .storage()
        .values
        .write()
        .expect("nobody panics while writing");
    stored.extend(values);
}
