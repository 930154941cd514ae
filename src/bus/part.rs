//! Members of a room, part by part: a room of any size is told in messages that are taken.

use crate::room::UserId;
use std::{collections::BTreeSet, ops::Bound};

/// The most bytes of names in a part: less than any client's backlog may be, and so much that all
/// members of most rooms are in the first one.
pub const PART: usize = 192 * 1024;

/// What a name takes beside its characters: quotes and a comma.
const AROUND: usize = 3;

/// The members behind a name, or from the first one on, in at most [`PART`] bytes and about `most`,
/// but at least one; and whether there are more.
pub fn members_after(
    members: &BTreeSet<UserId>,
    after: Option<&UserId>,
    most: usize,
) -> (Vec<UserId>, bool) {
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    let mut rest = members.range::<UserId, _>((from, Bound::Unbounded));
    let (mut part, mut left) = (Vec::new(), most.min(PART));
    for name in rest.by_ref() {
        let bytes = name.as_str().len() + AROUND;
        if bytes > left && !part.is_empty() {
            return (part, true);
        }
        left = left.saturating_sub(bytes);
        part.push(name.clone());
    }
    (part, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_put_together_are_all_members_in_order() {
        let names = (0..1_000).map(|n| UserId::parse(&format!("user-{n:04}")).unwrap());
        let members: BTreeSet<UserId> = names.collect();
        for most in [0, 100, 5_000, usize::MAX] {
            let (mut all, mut more) = (Vec::new(), true);
            while more {
                let part;
                (part, more) = members_after(&members, all.last(), most);
                let bytes: usize = part.iter().map(|name| name.as_str().len() + AROUND).sum();
                assert!(part.len() == 1 || bytes <= most);
                all.extend(part);
            }
            assert!(all.iter().eq(&members), "{most}");
        }
        assert_eq!(
            members_after(&BTreeSet::new(), None, 100),
            (Vec::new(), false)
        );
    }
}
