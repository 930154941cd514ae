//! Decides by sequence numbers alone what a replica does with what it hears: take it, drop what
//! overlaps, or notice that something is missing. Whatever is lost, repeated or reordered on the
//! way, what is taken is dense: 1, 2, 3 ...

use crate::room::{Epoch, Seq};
use std::ops::RangeInclusive;

/// Where a replica is, and how far it knows the room to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Reach {
    head: Seq,
    known: Seq,
    epoch: Epoch,
}

/// What to do with a run of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Step {
    /// All of it was taken before.
    Old,
    /// Take it, without its first `skip` events.
    Take {
        /// How many of its events were taken before.
        skip: usize,
    },
    /// Something before it is missing; it is to be read again with that.
    Gap,
}

impl Reach {
    /// A replica that has everything up to `head`.
    pub(in super::super) fn new(head: Seq, epoch: Epoch) -> Self {
        Self {
            head,
            known: head,
            epoch,
        }
    }

    /// The last place taken.
    pub(in super::super) fn head(&self) -> Seq {
        self.head
    }

    /// The highest epoch of an owner that went on from here, or is to.
    pub(in super::super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// A dense run of events, `first` to `last`. After [`Step::Take`] it counts as taken.
    pub(in super::super) fn hear(&mut self, first: Seq, last: Seq, epoch: Epoch) -> Step {
        assert!(
            Seq::ZERO < first && first <= last,
            "a run holds at least one place, from 1 on"
        );
        if last <= self.head {
            return Step::Old;
        }
        self.known = self.known.max(last);
        if first > self.head.next() {
            return Step::Gap;
        }
        let skip = (self.head.next().0 - first.0) as usize;
        self.epoch = self.epoch.max(epoch);
        self.head = last;
        Step::Take { skip }
    }

    /// No owner has a higher epoch than this, whatever was heard.
    pub(in super::super) fn disown(&mut self, epoch: Epoch) {
        self.epoch = epoch;
    }

    /// The room's owner has this epoch.
    pub(in super::super) fn owned(&mut self, epoch: Epoch) {
        self.epoch = self.epoch.max(epoch);
    }

    /// Goes on at `left`: what is before it and was not taken is gone.
    pub(in super::super) fn skip_to(&mut self, left: Seq) {
        self.head = self.head.max(Seq(left.0 - 1));
        self.known = self.known.max(self.head);
    }

    /// Somebody knows that the room goes at least as far as `seq`.
    pub(in super::super) fn told(&mut self, seq: Seq) {
        self.known = self.known.max(seq);
    }

    /// The room goes no further than `seq`, as far as is known for sure.
    pub(in super::super) fn known(&mut self, seq: Seq) {
        self.known = self.head.max(seq);
    }

    /// The places that are missing, as far as known.
    pub(in super::super) fn missing(&self) -> Option<RangeInclusive<u64>> {
        (self.known > self.head).then(|| self.head.next().0..=self.known.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What may happen to a subscriber of a room of `END` events.
    #[derive(Debug, Clone)]
    enum Heard {
        Run(u64, u64),
        Told(u64),
        Repaired,
    }

    const END: u64 = 40;

    fn heard() -> impl Strategy<Value = Heard> {
        prop_oneof![
            6 => (1..=END, 0..5u64).prop_map(|(first, more)| Heard::Run(first, (first + more).min(END))),
            1 => (0..=END).prop_map(Heard::Told),
            2 => Just(Heard::Repaired),
        ]
    }

    fn take(reach: &mut Reach, taken: &mut Vec<u64>, first: u64, last: u64) -> Step {
        let step = reach.hear(Seq(first), Seq(last), Epoch(1));
        if let Step::Take { skip } = step {
            taken.extend((first..=last).skip(skip));
        }
        step
    }

    proptest! {
        #[test]
        fn what_is_taken_is_dense_whatever_is_heard(start in 0..END, all in prop::collection::vec(heard(), 0..80)) {
            let mut reach = Reach::new(Seq(start), Epoch(1));
            let (mut taken, mut known) = (Vec::new(), start);
            for heard in all {
                match heard {
                    Heard::Run(first, last) => {
                        known = known.max(last);
                        let gap = first > reach.head().0 + 1;
                        prop_assert_eq!(take(&mut reach, &mut taken, first, last) == Step::Gap, gap);
                    }
                    Heard::Told(seq) => {
                        known = known.max(seq);
                        reach.told(Seq(seq));
                    }
                    Heard::Repaired => {
                        if let Some(missing) = reach.missing() {
                            take(&mut reach, &mut taken, *missing.start(), *missing.end());
                        }
                    }
                }
                prop_assert_eq!(reach.missing().is_some(), known > reach.head().0);
            }
            prop_assert_eq!(taken, (start + 1..=reach.head().0).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_epoch_is_the_highest_that_went_on_from_here() {
        let mut reach = Reach::new(Seq(3), Epoch(4));
        reach.hear(Seq(4), Seq(4), Epoch(7));
        reach.hear(Seq(4), Seq(4), Epoch(5));
        reach.hear(Seq(3), Seq(3), Epoch(9));
        assert_eq!(reach.epoch(), Epoch(7));
    }
}
