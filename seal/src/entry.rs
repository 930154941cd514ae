//! Who may come into an open group by itself. A commit that members cannot process looks good to
//! the writer, and costs everybody the group until they come back. Where whoever proves a key may
//! commit, that is cheap: so whose commit was reported commits no more until a member adds it anew,
//! and nobody comes in by itself for an hour, then two, four ... That bounds how often it can be
//! done with new keys.

use crate::codec::{Malformed, Reader, long_parts};
use crate::identity::Public;
use crate::rules::{MOST_MEMBERS, Refusal};
use std::collections::BTreeSet;

/// Reports by so many others count, or by all others where there are fewer.
const REPORTS: usize = 2;
/// Seconds for which entry is shut first; each time twice as long.
const SHUT: u64 = 3600;
/// How often that doubles: to some five months.
const DOUBLINGS: u32 = 12;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Whose commit made this epoch; none when its report has counted.
    made_by: Option<Public>,
    /// Whose commits count no more. Beyond as many as a group has members, nobody else's do either
    /// until entry opens: new keys cost nothing.
    barred: BTreeSet<Public>,
    /// How often it was shut, and until when the last time.
    times: u32,
    until: u64,
}

impl Entry {
    /// Whether somebody may commit now; `is_stranger`: to come in, without being in the group.
    pub(crate) fn check(&self, by: &Public, is_stranger: bool, now: u64) -> Result<(), Refusal> {
        if self.barred.contains(by) {
            return Err(Refusal::Barred);
        }
        match is_stranger && now < self.until {
            true => Err(Refusal::Shut {
                minutes: (self.until - now).div_ceil(60),
            }),
            false => Ok(()),
        }
    }

    /// A commit made the epoch. Whom it added by another's doing may commit again.
    pub(crate) fn passed<'a>(&mut self, by: &Public, added: impl Iterator<Item = &'a Public>) {
        self.made_by = Some(*by);
        for one in added {
            self.barred.remove(one);
        }
    }

    /// These have reported the commit that made the epoch, of all who are in.
    pub(crate) fn reported(&mut self, by: &BTreeSet<Public>, all: &BTreeSet<Public>, now: u64) {
        let Some(maker) = self.made_by else { return };
        let others = |people: &BTreeSet<Public>| people.iter().filter(|one| **one != maker).count();
        let needed = REPORTS.min(others(all)).max(1);
        if others(by) < needed {
            return;
        }
        self.made_by = None;
        if self.barred.len() < MOST_MEMBERS {
            self.barred.insert(maker);
        }
        self.until = now.saturating_add(SHUT << self.times.min(DOUBLINGS));
        self.times += 1;
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let maker: &[u8] = self.made_by.as_ref().map_or(&[], |maker| maker.as_bytes());
        let barred: Vec<u8> = self.barred.iter().flat_map(|one| *one.as_bytes()).collect();
        long_parts(&[
            maker,
            &barred,
            &self.times.to_be_bytes(),
            &self.until.to_be_bytes(),
        ])
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        let (maker, barred) = (keys(reader.long()?)?, keys(reader.long()?)?);
        let number = |bytes: &[u8]| {
            let bytes = bytes.iter();
            bytes.fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte))
        };
        let (times, until) = (number(reader.long()?), number(reader.long()?));
        reader.end()?;
        Ok(Self {
            made_by: maker.into_iter().next(),
            barred: barred.into_iter().collect(),
            times: u32::try_from(times).map_err(|_| Malformed)?,
            until,
        })
    }
}

fn keys(bytes: &[u8]) -> Result<Vec<Public>, Malformed> {
    let mut reader = Reader(bytes);
    let mut keys = Vec::new();
    while !reader.0.is_empty() {
        let key: [u8; 32] = reader.array()?;
        keys.push(Public::from_bytes(key).map_err(|_| Malformed)?);
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    fn public(seed: u8) -> Public {
        Identity::from_seed(&[seed; 32]).public()
    }

    fn people(seeds: &[u8]) -> BTreeSet<Public> {
        seeds.iter().map(|seed| public(*seed)).collect()
    }

    #[test]
    fn reports_of_two_others_count_and_those_of_one_or_of_itself_do_not() {
        let all = people(&[1, 2, 3, 4]);
        for (by, counts) in [(&[2][..], false), (&[1, 2], false), (&[2, 3], true)] {
            let mut entry = Entry::default();
            entry.passed(&public(1), [].iter());
            entry.reported(&people(by), &all, 100);
            assert_eq!(
                entry.check(&public(1), false, 100).is_err(),
                counts,
                "{by:?}"
            );
            assert_eq!(Entry::decode(&entry.encode()), Ok(entry));
        }
        let mut entry = Entry::default();
        entry.passed(&public(1), [].iter());
        entry.reported(&people(&[2]), &people(&[1, 2]), 100);
        assert_eq!(entry.check(&public(1), true, 100), Err(Refusal::Barred));
    }

    #[test]
    fn each_time_entry_is_shut_twice_as_long_for_whoever_is_not_in() {
        let (mut entry, mut now) = (Entry::default(), 1_000_000);
        for times in 0..4_u8 {
            entry.passed(&public(10 + times), [].iter());
            entry.reported(&people(&[1, 2]), &people(&[1, 2, 10 + times]), now);
            // Reports that come later say nothing more.
            entry.reported(&people(&[1, 2]), &people(&[1, 2, 10 + times]), now + 60);
            let shut = 3600 << times;
            assert_eq!(
                entry.check(&public(99), true, now),
                Err(Refusal::Shut { minutes: shut / 60 })
            );
            assert_eq!(entry.check(&public(99), false, now), Ok(()));
            assert_eq!(entry.check(&public(99), true, now + shut), Ok(()));
            now += shut;
        }
        assert_eq!(entry.check(&public(10), true, now), Err(Refusal::Barred));
        entry.passed(&public(1), [public(10)].iter());
        assert_eq!(entry.check(&public(10), false, now), Ok(()));
        assert_eq!(Entry::decode(&entry.encode()), Ok(entry));
    }
}
