//! What a service puts into a sealed room in somebody's name, without encrypting it: it could do so
//! without end, so the first one is told of at once, and of those that follow how many there were.

use super::view::plural;

/// Ticks in which more of them are counted.
const COUNTED_FOR: u32 = 60;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Unencrypted {
    /// Ticks that are left of the time in which they are counted.
    left: u32,
    count: u64,
    /// The place of the last one.
    last: u64,
}

impl Unencrypted {
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
            format!(
                "! up to #{}: {} of the service, not encrypted, as from somebody: not from members",
                self.last,
                plural(count, "more such event")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_of_at_once_and_of_the_rest_how_many_there_were() {
        let mut told = Unencrypted::default();
        assert!(told.is_told(7));
        let others = (8..508).filter(|seq| told.is_told(*seq)).count();
        let lines: Vec<_> = (0..600).filter_map(|_| told.tick()).collect();
        assert_eq!((others, lines.len()), (0, 1), "{lines:?}");
        assert!(
            lines[0].starts_with("! up to #507: 500 more such events"),
            "{lines:?}"
        );
        assert!(told.is_told(508));
        assert_eq!(told.rest(), None);
    }
}
