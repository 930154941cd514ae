//! Patterns of the names of rooms: a name in which `*` stands for any characters, or for none.

use crate::room::RoomId;

/// The most characters of a pattern: a name and a few stars.
const MOST: usize = 128;

/// A pattern of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Accepts 1 to 128 characters of `A-Z a-z 0-9 _ - *`; says what a pattern must be.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_-*".contains(&b);
        match (1..=MOST).contains(&text.len()) && text.bytes().all(allowed) {
            true => Ok(Self(text.to_owned())),
            false => Err("a pattern of rooms is 1 to 128 of A-Z a-z 0-9 _ - *"),
        }
    }

    /// Whether it fits the whole name of a room.
    pub fn matches(&self, room: &RoomId) -> bool {
        fits(&self.0, room.as_str())
    }
}

fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    // Of the places where a part fits the leftmost leaves the most for those that follow.
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a pattern means, character by character.
    fn means(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, name) => name.is_none(),
            (Some((b'*', rest)), None) => means(rest, name),
            (Some((b'*', rest)), Some((_, shorter))) => {
                means(rest, name) || means(pattern, shorter)
            }
            (Some((one, rest)), Some((other, shorter))) => one == other && means(rest, shorter),
            (Some(_), None) => false,
        }
    }

    #[test]
    fn a_pattern_fits_whole_names() {
        for (pattern, name, expected) in [
            ("team", "team", true),
            ("team", "teams", false),
            ("team", "my-team", false),
            ("team-*", "team-", true),
            ("team-*", "team-red", true),
            ("team-*", "team", false),
            ("*", "anything", true),
            ("*-log", "a-log-log", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "acb", false),
            ("aa*aa", "aaa", false),
            ("Team", "team", false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn what_no_room_can_be_called_is_no_pattern() {
        for bad in ["", "a b", "team.*", "a/b", "ä", "?", &"*".repeat(129)] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
        assert!(Pattern::parse(&"*".repeat(128)).is_ok());
    }

    proptest! {
        #[test]
        fn a_pattern_means_what_its_characters_mean(pattern in "[ab*]{1,8}", name in "[ab]{1,10}") {
            prop_assert_eq!(fits(&pattern, &name), means(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
