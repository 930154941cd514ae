//! What a service could have a terminal say without end: the first of a kind are told of at once,
//! and of those that follow how many there were, less and less often while they go on.

use super::foreign::listed;
use std::collections::BTreeSet;

/// Who is named at once, and remembered to be, of those from whom they are.
const MOST_NAMED: (usize, usize) = (3, 20);

/// Ticks in which more of a kind are counted: at first, and at most. Each time is twice as long as
/// the one before, until nothing came in one.
const COUNTED_FOR: (u32, u32) = (60, 3600);
/// Ticks after which it is looked whether they still come so often that they are only counted.
const LOOKS_AFTER: u32 = 120;

/// Of what no member has encrypted.
pub(super) const NOT_ENCRYPTED: Repeats =
    Repeats::of("! {}more event{s} in somebody's name, not from a member", 1);
/// Of what no member can read or take.
pub(super) const UNREADABLE: Repeats =
    Repeats::of("! {}more that cannot be read, or taken by the group", 1);
/// Of what follows a change that the service has left out.
pub(super) const BEHIND_A_GAP: Repeats = Repeats::of(
    "! {}more event{s} that cannot be read, for a change of the group before them is not there",
    1,
);
/// Of ways in that somebody else's change made void.
pub(super) const OVERTAKEN: Repeats =
    Repeats::of("{}more time{s} somebody else came in at the same moment", 1);
/// Of refusals of nothing that was said here.
pub(super) const REFUSALS: Repeats = Repeats::of(
    "! {}more refusal{s} by the service of nothing that was said here",
    3,
);
/// Of people who come and go.
pub(super) const COMINGS: Repeats = Repeats::of("{}more time{s} somebody joined or left", 20);

/// Of what the service says was done to the name of a member of a sealed room's group.
pub(super) const OF_MEMBERS: Repeats = Repeats::of(
    "! {}more time{s} a member's name was freed, or its key changed: look at /devices",
    10,
);
/// Of the same of other names, which whoever comes can have without end.
pub(super) const OF_NAMES: Repeats =
    Repeats::of("{}more time{s} a name was freed, or a key changed", 10);
/// Of what the service says was done to what was said.
pub(super) const REMOVALS: Repeats =
    Repeats::of("{}more time{s} something was erased or removed", 10);

/// See the module.
#[derive(Debug)]
pub(super) struct Repeats {
    /// What is said of them: with their number, and its plural.
    what: &'static str,
    /// So many are told of one by one within one time.
    at_once: u32,
    told: u32,
    /// How long the time is in which they are counted, and what is left of it.
    time: u32,
    left: u32,
    count: u64,
    /// Those of them since it was looked last whether they still come so often.
    lately: u32,
    /// The place of the last one, if it has one.
    last: Option<u64>,
    /// From whom the service says that they are.
    from: BTreeSet<String>,
}

impl Repeats {
    const fn of(what: &'static str, at_once: u32) -> Self {
        Self {
            what,
            at_once,
            told: 0,
            time: COUNTED_FOR.0,
            left: 0,
            count: 0,
            lately: 0,
            last: None,
            from: BTreeSet::new(),
        }
    }

    /// Whether the next one is told of now; `seq`: its place in the room.
    pub(super) fn is_told(&mut self, seq: Option<u64>) -> bool {
        if self.left == 0 {
            (self.left, self.told) = (self.time, 0);
        }
        if self.told < self.at_once {
            self.told += 1;
            return true;
        }
        (self.count, self.last) = (self.count + 1, seq.or(self.last));
        self.lately = self.lately.saturating_add(1);
        false
    }

    /// The same, of one at a place and from somebody.
    pub(super) fn is_told_of(&mut self, seq: u64, from: &str) -> bool {
        let is_told = self.is_told(Some(seq));
        if !is_told && self.from.len() < MOST_NAMED.1 {
            self.from.insert(from.into());
        }
        is_told
    }

    /// Time goes on; what there is to tell, at most once in that time.
    pub(super) fn tick(&mut self) -> Option<String> {
        let was_counting = self.left > 0;
        self.left = self.left.saturating_sub(1);
        let is_to_look =
            self.left == 0 || self.time > COUNTED_FOR.0 && self.left.is_multiple_of(LOOKS_AFTER);
        if !was_counting || !is_to_look {
            return None;
        }
        // Fewer than are told of one by one: the next ones are, again.
        let is_over = std::mem::take(&mut self.lately) < self.at_once;
        if is_over {
            (self.time, self.left) = (COUNTED_FOR.0, 0);
            return self.rest();
        }
        if self.left > 0 {
            return None;
        }
        self.time = COUNTED_FOR.1.min(self.time * 2);
        (self.left, self.told) = (self.time, self.at_once);
        self.rest()
    }

    /// Those that were counted and not told of.
    pub(super) fn rest(&mut self) -> Option<String> {
        let (count, last) = (std::mem::take(&mut self.count), self.last.take());
        let from: Vec<_> = std::mem::take(&mut self.from).into_iter().collect();
        (count > 0).then(|| {
            let number = match last {
                Some(seq) => format!("up to #{seq}: {count} "),
                None => format!("{count} "),
            };
            let s = if count == 1 { "" } else { "s" };
            let said = self.what.replace("{}", &number).replace("{s}", s);
            match from.is_empty() {
                true => said,
                false => format!("{said} (as from {})", listed(&from, MOST_NAMED.0)),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_of_at_once_and_of_the_rest_how_many_there_were() {
        let mut told = NOT_ENCRYPTED;
        assert!(told.is_told(Some(7)));
        let others = (8..508).filter(|seq| told.is_told(Some(*seq))).count();
        let lines: Vec<_> = (0..600).filter_map(|_| told.tick()).collect();
        assert_eq!((others, lines.len()), (0, 1), "{lines:?}");
        assert!(
            lines[0].starts_with("! up to #507: 500 more events in"),
            "{lines:?}"
        );
        assert!(told.is_told(Some(508)));
        assert_eq!(told.rest(), None);
    }

    #[test]
    fn those_that_are_counted_say_as_from_whom_they_came() {
        let mut told = UNREADABLE;
        assert!(told.is_told_of(7, "kim"));
        for (seq, from) in [(8, "mallory"), (9, "kim"), (10, "mallory")] {
            assert!(!told.is_told_of(seq, from));
        }
        let rest = told.rest().unwrap();
        assert!(rest.starts_with("! up to #10: 3 more"), "{rest}");
        assert!(rest.ends_with("(as from kim, mallory)"), "{rest}");
        for n in 0..100 {
            told.is_told_of(11 + n, &format!("user-{n}"));
        }
        let rest = told.rest().unwrap();
        assert!(rest.ends_with("and 17 more)") && rest.len() < 150, "{rest}");
    }

    #[test]
    fn what_goes_on_is_told_less_and_less_often_and_anew_when_it_had_stopped() {
        let mut told = UNREADABLE;
        let mut lines = 0;
        for tick in 0..6 * 3600 {
            lines += usize::from(tick % 30 == 0 && told.is_told(None));
            lines += usize::from(told.tick().is_some());
        }
        assert!((5..15).contains(&lines), "{lines}");
        for _ in 0..2 * 3600 {
            told.tick();
        }
        assert!(told.is_told(None) && !told.is_told(None));
        let again = (1..=60).find(|_| told.tick().is_some());
        assert_eq!(again, Some(60));
    }

    #[test]
    fn a_few_are_told_one_by_one() {
        let mut told = COMINGS;
        let shown = (0..300).filter(|seq| told.is_told(Some(*seq))).count();
        assert_eq!(shown, 20);
        let rest = told.rest().unwrap();
        assert_eq!(rest, "up to #299: 280 more times somebody joined or left");
    }

    #[test]
    fn when_a_flood_has_ended_each_is_told_of_again_and_during_one_few_lines_are() {
        let mut told = COMINGS;
        let mut lines = 0;
        for _ in 0..5 * 3600 {
            lines += usize::from(told.is_told(None)) + usize::from(told.is_told(None));
            lines += usize::from(told.tick().is_some());
        }
        assert!(lines < 40, "{lines}");
        // One now and then, too seldom to be a flood and too often for a quiet time.
        let mut single = |ticks: u32| {
            let is_told = told.is_told(None);
            (0..ticks).for_each(|_| drop(told.tick()));
            is_told
        };
        for _ in 0..5 {
            single(50);
        }
        assert!((0..50).all(|_| single(50)));
    }
}
