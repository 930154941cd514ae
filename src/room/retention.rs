//! How much of a room's past is kept: what is wanted, and what there is. Pure. Nothing here decides
//! what a command means, so a room without its past decides as one that has it.

use super::{Event, Millis, Purge, Seq};
use std::fmt;

/// A room may keep so much more than is wanted, as a part: what goes, goes in larger pieces.
const SLACK: u64 = 16;

/// How much of the past is wanted. What is beyond any of the bounds goes; without one all stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Retention {
    /// Seconds since an event was stored.
    pub age: Option<u64>,
    /// Events.
    pub events: Option<u64>,
    /// Bytes of content.
    pub bytes: Option<u64>,
}

impl Retention {
    /// Whether all stays.
    pub fn keeps_all(&self) -> bool {
        *self == Self::default()
    }

    /// How many milliseconds after it was stored the last event of a room goes, at the latest;
    /// `None`: never, since other bounds let only what is before it go.
    pub fn longest(&self) -> Option<u64> {
        let age = self.age?.saturating_mul(1000);
        Some(age.saturating_add(age / SLACK))
    }
}

/// For people.
impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bounds = [
            ("s", self.age),
            ("events", self.events),
            ("bytes", self.bytes),
        ];
        let told = bounds.map(|(what, most)| most.map(|most| format!("{most} {what}")));
        let told: Vec<String> = told.into_iter().flatten().collect();
        match told.is_empty() {
            true => f.write_str("everything"),
            false => f.write_str(&told.join(", ")),
        }
    }
}

/// What a room keeps of its past, and is to keep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    /// What an operator wants of this room; `None`: what the cluster wants of all.
    pub own: Option<Retention>,
    /// When that was last said.
    pub said: Millis,
    /// The retention start: what is below it is gone, or goes. [`Seq::ZERO`]: nothing is.
    pub start: Seq,
    /// When the event at the start was stored; 0: not known.
    pub since: Millis,
    /// Bytes of content from `counted` on.
    pub bytes: u64,
    /// The first place whose bytes are counted, unless that is the first one of the room: what is
    /// before was written by an older version.
    pub counted: Seq,
    /// When an operator last had everything forgotten.
    pub purge: Option<Purge>,
}

/// Why some of the past goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Excess {
    /// Everything that was stored before this time.
    pub before: Option<Millis>,
    /// Everything below this place.
    pub below: Seq,
    /// So many bytes, from the start on.
    pub bytes: u64,
}

impl Kept {
    /// The first place that stays.
    pub fn first(&self) -> Seq {
        self.start.max(Seq(1))
    }

    /// What is wanted, where the cluster wants `default` of all rooms.
    pub fn wanted(&self, default: &Retention) -> Retention {
        self.own.unwrap_or(*default)
    }

    /// What of a room that ends at `head` goes at a time; `None`: nothing worth it.
    pub fn excess(&self, default: &Retention, head: Seq, now: Millis) -> Option<Excess> {
        let (wanted, first) = (self.wanted(default), self.first());
        if wanted.keeps_all() || head < first {
            return None;
        }
        let beyond = |most: Option<u64>, there: u64| {
            let most = most?;
            (there > most.saturating_add(most / SLACK)).then(|| there - most)
        };
        let age_ms = wanted.age.map(|seconds| seconds.saturating_mul(1000));
        let old = match self.since {
            Millis(0) => age_ms,
            since => beyond(age_ms, now.0.saturating_sub(since.0)).and(age_ms),
        };
        let many = beyond(wanted.events, head.0 - first.0 + 1);
        let much = beyond(wanted.bytes, self.bytes);
        if old.is_none() && many.is_none() && much.is_none() {
            return None;
        }
        Some(Excess {
            before: old.map(|age| Millis(now.0.saturating_sub(age))),
            below: Seq(first.0 + many.unwrap_or(0)),
            bytes: much.unwrap_or(0),
        })
    }

    /// An event was added.
    pub(super) fn add(&mut self, event: &Event) {
        if event.seq == self.first() {
            self.since = event.at;
        } else if self.since == Millis(0) && self.counted == Seq::ZERO && self.bytes == 0 {
            // The first one since an older version wrote the room.
            self.counted = event.seq;
        }
        self.bytes += event.size() as u64;
    }

    /// An operator says what is wanted. What was said before that, and is read again, is outdated.
    pub(super) fn say(&mut self, own: Option<Retention>, at: Millis) {
        if at >= self.said {
            (self.own, self.said) = (own, at);
        }
    }

    /// An operator has everything before this place forgotten.
    pub(super) fn purge(&mut self, purge: Purge) {
        *self = Self {
            own: self.own,
            said: self.said,
            start: purge.seq,
            since: purge.at,
            bytes: 0,
            counted: Seq::ZERO,
            purge: Some(purge),
        };
    }

    /// Whether a command of this time came before the last purge, so that it was decided when it
    /// was first read.
    pub(super) fn precedes_purge(&self, at: Millis) -> bool {
        self.purge.is_some_and(|purge| at <= purge.at)
    }

    /// Whether a command of this time came before all that is there. A purge that did found nothing
    /// when it was first read, and must not take what came since.
    pub(super) fn precedes_all(&self, at: Millis) -> bool {
        at < self.since
    }

    /// What is below a place goes, which was of so many bytes. Or it is only learned how old the
    /// first event is.
    pub(super) fn trim(&mut self, start: Seq, since: Millis, bytes: u64) {
        let is_known = self.since > Millis(0);
        if start > self.first() || (start == self.first() && !is_known) {
            (self.start, self.since) = (start, since);
            self.bytes = self.bytes.saturating_sub(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Retention = Retention {
        age: None,
        events: None,
        bytes: None,
    };

    /// Ten bytes a second, from the place 1 on.
    fn kept(last: u64) -> Kept {
        Kept {
            since: Millis(1_000),
            bytes: 10 * last,
            ..Kept::default()
        }
    }

    fn excess(wanted: Retention, last: u64) -> Option<Excess> {
        kept(last).excess(&wanted, Seq(last), Millis(1_000 * last))
    }

    #[test]
    fn whatever_is_beyond_any_bound_goes() {
        assert_eq!(excess(ALL, 1000), None);
        let wanted = Retention {
            age: Some(500),
            events: Some(100),
            bytes: Some(2000),
        };
        let all = Excess {
            before: Some(Millis(500_000)),
            below: Seq(901),
            bytes: 8000,
        };
        assert_eq!(excess(wanted, 1000), Some(all));
        assert_eq!(excess(wanted, 100), None, "nothing is beyond any");
        let few = Retention {
            events: Some(3),
            ..ALL
        };
        assert_eq!(excess(few, 3), None);
        assert_eq!(excess(few, 4).unwrap().below, Seq(2));
    }

    #[test]
    fn a_little_more_is_not_worth_the_trouble() {
        let wanted = Retention {
            events: Some(1600),
            ..ALL
        };
        assert_eq!(excess(wanted, 1700), None);
        assert_eq!(excess(wanted, 1701).unwrap().below, Seq(102));
    }

    #[test]
    fn the_last_event_goes_when_it_is_too_old_and_never_for_being_one_too_many() {
        let aged = Retention {
            age: Some(1600),
            ..ALL
        };
        let longest = aged.longest().unwrap();
        let of_one = |now| kept(1).excess(&aged, Seq(1), Millis(now));
        assert_eq!(of_one(1_000 + longest), None);
        assert!(of_one(1_001 + longest).is_some());
        let few = Retention {
            events: Some(1),
            bytes: Some(1),
            ..ALL
        };
        assert_eq!((few.longest(), ALL.longest()), (None, None));
    }

    #[test]
    fn a_room_has_its_own_word_and_an_older_one_that_comes_again_is_outdated() {
        let mut room = kept(1000);
        let short = Retention {
            events: Some(10),
            ..ALL
        };
        room.say(Some(ALL), Millis(7));
        room.say(Some(short), Millis(6));
        assert_eq!(room.excess(&short, Seq(1000), Millis(0)), None);
        room.say(None, Millis(8));
        assert!(room.excess(&short, Seq(1000), Millis(0)).is_some());
    }

    #[test]
    fn what_is_trimmed_twice_is_trimmed_once() {
        let mut room = kept(10);
        for _ in 0..2 {
            room.trim(Seq(4), Millis(4_000), 30);
            room.trim(Seq(3), Millis(3_000), 20);
        }
        assert_eq!((room.first(), room.bytes), (Seq(4), 70));
    }
}
