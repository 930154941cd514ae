//! A timer wheel: what is due when, for very many deadlines that are rarely met. Pure: the time is
//! an argument. Nothing is ever taken back; whoever is told of a time that has become another one
//! puts itself in again.
//!
//! Source: Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (1987), scheme 6.

use std::time::Duration;

/// How exact it is: what is due is told at most so much later.
pub(super) const TICK: Duration = Duration::from_millis(50);
/// Ticks of a turn of the wheel. What is due later than that is told early.
const TICKS: u64 = 1024;

/// What is due when.
pub(super) struct Wheel<T> {
    slots: Vec<Vec<T>>,
    /// All before this tick was told.
    now: u64,
    count: usize,
}

impl<T> Wheel<T> {
    /// An empty one, at time 0.
    pub(super) fn new() -> Self {
        Self {
            slots: (0..TICKS).map(|_| Vec::new()).collect(),
            now: 0,
            count: 0,
        }
    }

    /// Puts something in.
    pub(super) fn insert(&mut self, due: Duration, what: T) {
        let tick =
            (due.as_nanos().div_ceil(TICK.as_nanos()) as u64).clamp(self.now, self.now + TICKS - 1);
        self.slots[(tick % TICKS) as usize].push(what);
        self.count += 1;
    }

    /// Takes out all that is due, in the order of ticks.
    pub(super) fn advance(&mut self, now: Duration) -> Vec<T> {
        let until = (now.as_nanos() / TICK.as_nanos()) as u64 + 1;
        let mut due = Vec::new();
        // After a turn every slot was looked at.
        let from = self.now.max(until.saturating_sub(TICKS));
        for tick in from..until {
            let slot = &mut self.slots[(tick % TICKS) as usize];
            due.append(slot);
            *slot = Vec::new();
        }
        self.now = self.now.max(until);
        self.count -= due.len();
        due
    }

    /// When to look again; `None`: nothing is in it.
    pub(super) fn next(&self) -> Option<Duration> {
        if self.count == 0 {
            return None;
        }
        let mut ticks = self.now..self.now + TICKS;
        let next = ticks.find(|tick| !self.slots[(tick % TICKS) as usize].is_empty())?;
        Some(TICK * next as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn everything_is_told_once_and_at_most_a_tick_late(
            dues in prop::collection::vec(0..40_000u64, 0..100),
            steps in prop::collection::vec(1..70_000u64, 1..40),
        ) {
            let (mut wheel, mut now, mut told) = (Wheel::new(), 0, 0);
            for due in &dues {
                wheel.insert(Duration::from_millis(*due), *due);
            }
            for step in steps {
                if let Some(next) = wheel.next() {
                    let first = dues.iter().filter(|due| **due > now).min();
                    prop_assert!(first.is_none_or(|first| next.as_millis() as u64 <= first + 50));
                }
                now += step;
                for due in wheel.advance(Duration::from_millis(now)) {
                    told += 1;
                    prop_assert!(due <= now && due + step + 50 >= now, "{due} at {now}");
                }
            }
            let late = dues.iter().filter(|due| **due + 50 <= now).count();
            prop_assert!(late <= told && told <= dues.len());
            prop_assert_eq!(wheel.next().is_none(), told == dues.len());
        }
    }

    #[test]
    fn what_is_due_now_is_told_and_the_next_is_waited_for() {
        let (mut wheel, at) = (Wheel::new(), Duration::from_millis);
        wheel.insert(at(19_000), 1);
        wheel.insert(at(19_051), 2);
        assert_eq!(wheel.advance(at(19_000)), [1]);
        assert_eq!(wheel.next(), Some(at(19_100)));
        assert_eq!(wheel.advance(at(19_100)), [2]);
    }

    #[test]
    fn what_is_due_beyond_a_turn_is_told_early() {
        let mut wheel = Wheel::new();
        wheel.insert(Duration::from_secs(3600), ());
        let turn = TICK * TICKS as u32;
        assert_eq!(wheel.advance(turn - TICK), [()]);
    }
}
