//! Key packages by which others add this device: looked at, and published in portions, for the
//! service checks each of them. What goes wrong is told once.

use super::{AGAIN, PACKAGES, PORTION, Task, asks::Unanswered};

/// Ticks between two looks where sessions begin one after the other, and while one goes on.
const AT_MOST_EVERY: u32 = 60;
const EVERY: u32 = 3600;

/// See the module.
pub(super) struct Publishing {
    /// Ticks until it is looked again how many are there.
    looks_in: Option<u32>,
    /// Ticks since it was looked last.
    passed: u32,
    /// The service has said when it may be asked again.
    is_put_off: bool,
    /// Fewer than the least were there: all are made that there should be.
    is_filling: bool,
    portion: usize,
    was_told: bool,
}

impl Default for Publishing {
    fn default() -> Self {
        Self {
            looks_in: Some(0),
            passed: AT_MOST_EVERY,
            is_put_off: false,
            is_filling: false,
            portion: PORTION.0,
            was_told: false,
        }
    }
}

impl Publishing {
    /// It is looked when a session has begun: before, it is not known which gateway can be asked.
    pub(super) fn waits(&mut self) {
        self.looks_in = None;
    }

    /// A session began: the service may be as it was before, or another one, that has none of them.
    pub(super) fn begin(&mut self) {
        if self.is_put_off {
            return;
        }
        let soonest = AT_MOST_EVERY.saturating_sub(self.passed);
        self.looks_in = Some(self.looks_in.map_or(soonest, |ticks| ticks.min(soonest)));
    }

    /// Time goes on; whether it is to be looked now.
    pub(super) fn is_due(&mut self) -> bool {
        let is_due = self.looks_in == Some(0);
        self.passed = self.passed.saturating_add(1);
        self.looks_in = self.looks_in.map(|ticks| ticks.saturating_sub(1));
        if is_due {
            (self.passed, self.is_put_off) = (0, false);
            self.looks_in = Some(EVERY);
        }
        is_due
    }

    pub(super) fn looks_in(&mut self, ticks: u32) {
        self.looks_in = Some(ticks);
    }

    /// How many are to be published now, where so many are left; `None`: there are enough.
    pub(super) fn portion(&mut self, left: usize) -> Option<usize> {
        let wanted = match self.is_filling {
            true => PACKAGES.1,
            false => PACKAGES.0,
        };
        self.is_filling = left < wanted;
        self.is_filling.then(|| self.portion.min(PACKAGES.1 - left))
    }

    /// All that there should be are there.
    pub(super) fn done(&mut self) -> Option<Task> {
        let was_told = std::mem::take(&mut self.was_told);
        was_told.then(|| Task::Note("others can add this device now".into()))
    }

    /// The service did not say or take it. It is tried again, with less.
    pub(super) fn failed(&mut self, error: &anyhow::Error) -> Option<Task> {
        let after = match error.downcast_ref() {
            Some(Unanswered::Later { after, .. }) => after.as_secs(),
            _ => 0,
        };
        self.is_put_off = after > 0;
        self.looks_in(u32::try_from(after).unwrap_or(u32::MAX).max(AGAIN));
        self.portion = (self.portion / 2).max(PORTION.1);
        let was_told = std::mem::replace(&mut self.was_told, true);
        (!was_told).then(|| {
            Task::Note(format!(
                "! others may not be able to add this device to sealed rooms yet: its key packages \
                 are not there ({error:#}). This is tried again by itself"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn a_new_device_publishes_in_portions_until_there_are_enough() {
        let mut publishing = Publishing::default();
        publishing.waits();
        assert!(!publishing.is_due(), "before a session");
        publishing.begin();
        assert!(publishing.is_due() && !publishing.is_due());
        publishing.begin();
        assert!(!publishing.is_due(), "it waits for the answer");
        let (mut left, mut portions) = (0, Vec::new());
        while let Some(count) = publishing.portion(left) {
            left += count;
            portions.push(count);
        }
        assert_eq!(portions, [20, 20, 10]);
        assert_eq!(
            publishing.portion(PACKAGES.0),
            None,
            "enough until few are left"
        );
        assert_eq!(publishing.portion(PACKAGES.0 - 1), Some(20));
    }

    /// An operator has taken the rooms elsewhere, say, where key packages are not.
    #[test]
    fn each_session_looks_anew_but_not_too_often_and_now_and_then_a_long_one() {
        let mut publishing = Publishing::default();
        let mut looks = |ticks: u32, begins: bool| {
            let mut looks = 0;
            for _ in 0..ticks {
                if begins {
                    publishing.begin();
                }
                looks += u32::from(publishing.is_due());
            }
            looks
        };
        assert_eq!(looks(1, true), 1);
        assert_eq!(looks(AT_MOST_EVERY, false), 0);
        assert_eq!(looks(1, true), 1, "at once");
        let flapping = looks(600, true);
        assert!((9..=10).contains(&flapping), "{flapping}");
        assert_eq!(looks(2 * EVERY, false), 2);
    }

    #[test]
    fn a_service_that_does_not_take_them_gets_fewer_and_is_told_of_once() {
        let mut publishing = Publishing::default();
        let mut portions = Vec::new();
        let mut told = 0;
        for _ in 0..4 {
            portions.extend(publishing.portion(0));
            told += usize::from(publishing.failed(&anyhow!("no answer")).is_some());
        }
        assert_eq!((&portions[..], told), (&[20, 10, 5, 5][..], 1));
        assert!((0..AGAIN).all(|_| !publishing.is_due()) && publishing.is_due());
        assert_eq!(publishing.portion(PACKAGES.1), None);
        assert!(publishing.done().is_some() && publishing.done().is_none());
    }
}
