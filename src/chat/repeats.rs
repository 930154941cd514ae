//! Warnings of what a service shows in a sealed room, which it could do without end: the first one
//! is told of at once, and of those that follow how many there were.

use super::view::plural;

/// Ticks in which more of them are counted.
const COUNTED_FOR: u32 = 60;

/// Of what no member has encrypted.
pub(super) const NOT_ENCRYPTED: Repeats = Repeats::of("in somebody's name, not from a member");
/// Of what no member can read or take.
pub(super) const UNREADABLE: Repeats = Repeats::of("that cannot be read, or taken by the group");
/// Of what follows a change that the service has left out.
pub(super) const BEHIND_A_GAP: Repeats =
    Repeats::of("that cannot be read, for a change of the group before them is not there");

/// See the module.
#[derive(Debug)]
pub(super) struct Repeats {
    /// What is said of them.
    what: &'static str,
    /// Ticks that are left of the time in which they are counted.
    left: u32,
    count: u64,
    /// The place of the last one.
    last: u64,
}

impl Repeats {
    const fn of(what: &'static str) -> Self {
        Self {
            what,
            left: 0,
            count: 0,
            last: 0,
        }
    }

    /// Whether the one at this place is told of now.
    pub(super) fn is_told(&mut self, seq: u64) -> bool {
        if self.left == 0 {
            self.left = COUNTED_FOR;
            return true;
        }
        (self.count, self.last) = (self.count + 1, seq);
        false
    }

    /// Time goes on; what there is to tell, at most once in that time.
    pub(super) fn tick(&mut self) -> Option<String> {
        self.left = self.left.saturating_sub(1);
        match self.left {
            0 => self.rest(),
            _ => None,
        }
    }

    /// Those that were counted and not told of.
    pub(super) fn rest(&mut self) -> Option<String> {
        let count = std::mem::take(&mut self.count);
        (count > 0).then(|| {
            self.left = COUNTED_FOR;
            let more = plural(count, "more event");
            format!("! up to #{}: {more} {}", self.last, self.what)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_of_at_once_and_of_the_rest_how_many_there_were() {
        let mut told = NOT_ENCRYPTED;
        assert!(told.is_told(7));
        let others = (8..508).filter(|seq| told.is_told(*seq)).count();
        let lines: Vec<_> = (0..600).filter_map(|_| told.tick()).collect();
        assert_eq!((others, lines.len()), (0, 1), "{lines:?}");
        assert!(
            lines[0].starts_with("! up to #507: 500 more events"),
            "{lines:?}"
        );
        assert!(told.is_told(508));
        assert_eq!(told.rest(), None);
    }
}
