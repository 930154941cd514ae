//! Versions as programs print them.

use std::fmt;

/// Major, minor, patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u32, pub(crate) u32, pub(crate) u32);

impl Version {
    /// The first `1.2.3` in the text; what follows the patch number (`-beta.1`) does not count.
    pub(crate) fn find(text: &str) -> Option<Self> {
        text.split_whitespace().find_map(Self::parse)
    }

    fn parse(word: &str) -> Option<Self> {
        let mut parts = word.trim_start_matches(['v', '"']).splitn(3, '.');
        let (major, minor) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let patch = parts.next()?;
        let digits = patch
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(patch.len());
        Some(Self(major, minor, patch[..digits].parse().ok()?))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_programs_print_them() {
        assert_eq!(
            Version::find("nats-server: v2.15.2\n"),
            Some(Version(2, 15, 2))
        );
        assert_eq!(
            Version::find("nats-server: v2.16.0-RC.3"),
            Some(Version(2, 16, 0))
        );
        assert_eq!(
            Version::find("openjdk version \"17.0.15\" 2025-04-15"),
            Some(Version(17, 0, 15))
        );
        assert_eq!(Version::find("no version"), None);
        assert_eq!(Version::find(""), None);
    }

    #[test]
    fn versions_are_ordered_by_number() {
        assert!(Version(2, 9, 25) < Version(2, 15, 0));
        assert!(Version(2, 15, 1) < Version(2, 15, 2));
    }
}
