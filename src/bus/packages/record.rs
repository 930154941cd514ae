//! What is kept of one device, and how it changes. Pure: no clock, no I/O.

use crate::proto::keys::v1 as pb;
use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};

/// One-time key packages of a device.
pub const MOST_ONE_TIME: usize = 100;
/// Bytes that are kept of a device: ours need some 50 KiB.
pub const MOST_BYTES: usize = 128 * 1024;
/// Packages that were handed out and are remembered.
const MOST_USED: usize = 256;
/// Seconds after which no older request counts that could bring back what was removed: signatures
/// may be a minute off the time, before and behind.
const FORGOTTEN_AFTER: u64 = 300;
/// Claims that are remembered: more than take one-time packages while their signatures count.
const MOST_CLAIMS: usize = 2 * BURST as usize;
/// Bytes of a hash that tell packages of one device apart, and claims.
const HASH: usize = 16;
/// One-time packages that are handed out at once, and then one in so many seconds. Whoever asks for
/// more gets the last resort: nobody empties a store within a day by asking.
pub const BURST: u64 = 20;
/// See [`BURST`].
pub const EVERY_SECONDS: u64 = 900;

/// A key package that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// As MLS has it (MLSMessage).
    pub bytes: Bytes,
    /// Until when it may be handed out, in seconds since 1970.
    pub until: u64,
}

/// What a device publishes. Everything in it was checked.
#[derive(Debug, Clone, Default)]
pub struct Offer {
    /// The device's key.
    pub device_key: [u8; 32],
    /// For one use each.
    pub one_time: Vec<Package>,
    /// In place of the one that is there.
    pub last_resort: Option<Package>,
}

/// What is left of a device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Left {
    /// One-time packages.
    pub one_time: usize,
    /// Whether there is a last resort.
    pub last_resort: bool,
}

/// What somebody gets who asks for a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// One that nobody else gets; the record has changed.
    OneTime(Bytes),
    /// The one that others get too.
    LastResort(Bytes),
    /// There are some, and too many were asked for lately: in so many seconds.
    Limited(u64),
    /// There is none.
    Nothing,
    /// This very claim took one before.
    Repeated,
}

/// The packages of a device.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Record(pb::Packages);

impl Record {
    /// What cannot be read is no record: publishing replaces it.
    pub(super) fn decode(bytes: Bytes) -> Option<Self> {
        pb::Packages::decode(bytes).ok().map(Self)
    }

    pub(super) fn encode(&self) -> Bytes {
        self.0.encode_to_vec().into()
    }

    /// Whether a request that was signed then may change it: it is newer than all that did.
    pub(super) fn is_older_than(&self, signed: u64) -> bool {
        self.0.changed < signed
    }

    /// Whether its device was removed. Then it only keeps older requests from coming back.
    pub(super) fn is_removed(&self) -> bool {
        self.0.device_key.is_empty()
    }

    /// Whether no older request counts any more, so that it says nothing.
    pub(super) fn is_needless(&self, now: u64) -> bool {
        self.is_removed() && self.0.changed / 1000 + FORGOTTEN_AFTER < now
    }

    /// Removes all packages, by a request that was signed then.
    pub(super) fn remove(&mut self, signed: u64) {
        let record = &mut self.0;
        record.device_key.clear();
        record.one_time.clear();
        (record.last_resort, record.changed) = (None, signed);
    }

    /// Adds what a device offers. What was handed out is not added again, and of too many the
    /// oldest go. Packages of another key go, too: who has the name now cannot use them.
    pub(super) fn add(&mut self, offer: Offer, (signed, now): (u64, u64)) {
        let record = &mut self.0;
        record.changed = signed;
        if record.device_key != offer.device_key[..] {
            record.one_time.clear();
            record.last_resort = None;
            record.device_key = Bytes::copy_from_slice(&offer.device_key);
        }
        for package in offer.one_time {
            let is_known = record.one_time.iter().any(|one| one.bytes == package.bytes);
            if !is_known && !record.used.contains(&hash(&package.bytes)) {
                record.one_time.push(stored(package));
            }
        }
        if let Some(package) = offer.last_resort {
            record.last_resort = Some(stored(package));
        }
        self.expire(now);
        let one_time = &mut self.0.one_time;
        one_time.drain(..one_time.len().saturating_sub(MOST_ONE_TIME));
    }

    /// Takes one out for somebody, by this claim.
    pub(super) fn take(&mut self, claim: &[u8], now: u64) -> Taken {
        self.expire(now);
        let record = &mut self.0;
        let ahead = record.next.saturating_sub(now);
        let most = EVERY_SECONDS * (BURST - 1);
        let wait = ahead.saturating_sub(most);
        if wait == 0 && !record.one_time.is_empty() {
            let claim = hash(claim);
            if record.claims.contains(&claim) {
                return Taken::Repeated;
            }
            record.claims.push(claim);
            let forgotten = record.claims.len().saturating_sub(MOST_CLAIMS);
            record.claims.drain(..forgotten);
            let package = record.one_time.remove(0);
            record.used.push(hash(&package.bytes));
            let forgotten = record.used.len().saturating_sub(MOST_USED);
            record.used.drain(..forgotten);
            record.next = record.next.max(now) + EVERY_SECONDS;
            return Taken::OneTime(package.bytes);
        }
        let limited = match record.one_time.is_empty() {
            true => Taken::Nothing,
            false => Taken::Limited(wait),
        };
        self.last_resort().unwrap_or(limited)
    }

    /// The last resort, if there is one.
    pub(super) fn last_resort(&self) -> Option<Taken> {
        let package = self.0.last_resort.as_ref()?;
        Some(Taken::LastResort(package.bytes.clone()))
    }

    pub(super) fn left(&self, now: u64) -> Left {
        let mut now_left = self.clone();
        now_left.expire(now);
        Left {
            one_time: now_left.0.one_time.len(),
            last_resort: now_left.0.last_resort.is_some(),
        }
    }

    fn expire(&mut self, now: u64) {
        let counts = |package: &pb::Package| now <= package.until;
        self.0.one_time.retain(counts);
        self.0.last_resort = self.0.last_resort.take().filter(counts);
    }
}

fn stored(package: Package) -> pb::Package {
    pb::Package {
        bytes: package.bytes,
        until: package.until,
    }
}

fn hash(package: &[u8]) -> Bytes {
    Bytes::copy_from_slice(&Sha256::digest(package)[..HASH])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    const NOW: u64 = 1_000_000;

    fn package(number: usize, until: u64) -> Package {
        Package {
            bytes: format!("package {number}").into_bytes().into(),
            until,
        }
    }

    fn offer(numbers: std::ops::Range<usize>, until: u64) -> Offer {
        Offer {
            one_time: numbers.map(|number| package(number, until)).collect(),
            ..Offer::default()
        }
    }

    fn of(numbers: std::ops::Range<usize>) -> Record {
        let mut record = Record::default();
        record.add(offer(numbers, NOW + 1), (1, NOW));
        record
    }

    /// By a claim that was not made before.
    fn take(record: &mut Record, now: u64) -> Taken {
        static CLAIMS: AtomicU64 = AtomicU64::new(0);
        record.take(&CLAIMS.fetch_add(1, Relaxed).to_be_bytes(), now)
    }

    fn one_time(taken: &Taken) -> bool {
        matches!(taken, Taken::OneTime(_))
    }

    #[test]
    fn what_was_handed_out_does_not_come_back_by_being_published_again() {
        let mut record = of(0..3);
        assert_eq!(take(&mut record, NOW), Taken::OneTime(package(0, 0).bytes));
        record.add(offer(0..3, NOW + 1), (2, NOW));
        assert_eq!(record.left(NOW).one_time, 2);
    }

    #[test]
    fn a_claim_that_is_repeated_takes_nothing() {
        let mut record = of(0..3);
        assert!(one_time(&record.take(b"claim", NOW)));
        let mut again = Record::decode(record.encode()).unwrap();
        assert_eq!(again.take(b"claim", NOW), Taken::Repeated);
        assert_eq!(again.left(NOW).one_time, 2);
        assert!(one_time(&again.take(b"another", NOW)));
    }

    #[test]
    fn what_was_removed_is_remembered_as_long_as_older_requests_count() {
        let mut record = of(0..3);
        assert!(record.is_older_than(2) && !record.is_older_than(1));
        record.remove(NOW * 1000);
        assert!(record.is_removed() && !record.is_older_than(NOW * 1000));
        assert_eq!(record.left(NOW), Left::default());
        assert!(!record.is_needless(NOW + 120));
        assert!(record.is_needless(NOW + FORGOTTEN_AFTER + 1));
        record.add(offer(5..6, NOW + 1), (NOW * 1000 + 1, NOW));
        assert!(!record.is_removed() && record.left(NOW).one_time == 1);
    }

    #[test]
    fn of_too_many_the_oldest_go() {
        let mut record = of(0..MOST_ONE_TIME + 7);
        assert_eq!(record.left(NOW).one_time, MOST_ONE_TIME);
        assert_eq!(take(&mut record, NOW), Taken::OneTime(package(7, 0).bytes));
    }

    #[test]
    fn a_store_is_not_emptied_by_asking_and_the_last_resort_stays() {
        let mut record = of(0..MOST_ONE_TIME);
        let taken = (0..1000)
            .filter(|_| one_time(&take(&mut record, NOW)))
            .count() as u64;
        assert_eq!(taken, BURST);
        assert_eq!(take(&mut record, NOW), Taken::Limited(EVERY_SECONDS));
        assert!(!one_time(&take(&mut record, NOW + EVERY_SECONDS - 1)));
        let mut later = record.clone();
        later.add(offer(500..501, NOW + 2 * EVERY_SECONDS), (2, NOW));
        assert!(one_time(&take(&mut later, NOW + EVERY_SECONDS)));
        let last = package(999, NOW + 1);
        record.add(
            Offer {
                last_resort: Some(last.clone()),
                ..Offer::default()
            },
            (2, NOW),
        );
        for _ in 0..3 {
            assert_eq!(
                take(&mut record, NOW),
                Taken::LastResort(last.bytes.clone())
            );
        }
    }

    #[test]
    fn a_package_whose_time_is_over_is_not_handed_out() {
        let mut record = of(0..2);
        assert_eq!(record.left(NOW + 2), Left::default());
        assert_eq!(take(&mut record, NOW + 2), Taken::Nothing);
    }

    #[test]
    fn packages_of_a_key_that_had_the_name_are_void() {
        let mut record = of(0..3);
        let other = Offer {
            device_key: [1; 32],
            ..offer(7..8, NOW + 1)
        };
        record.add(other, (2, NOW));
        assert_eq!(record.left(NOW).one_time, 1);
        assert_eq!(take(&mut record, NOW), Taken::OneTime(package(7, 0).bytes));
    }

    proptest! {
        #[test]
        fn each_package_is_handed_out_once_in_any_order(
            steps in prop::collection::vec((0usize..2, 0usize..200, 1usize..60, 0u64..5000), 1..60)
        ) {
            let (mut record, mut now, mut seen) = (Record::default(), NOW, Vec::new());
            for (what, from, count, passed) in steps {
                now += passed;
                if what == 0 {
                    record.add(offer(from..from + count, NOW + 1_000_000), (now, now));
                } else if let Taken::OneTime(bytes) = take(&mut record, now) {
                    prop_assert!(!seen.contains(&bytes));
                    seen.push(bytes);
                }
                prop_assert!(record.left(now).one_time <= MOST_ONE_TIME);
                let again = Record::decode(record.encode());
                prop_assert_eq!(again.as_ref(), Some(&record));
            }
        }
    }
}
