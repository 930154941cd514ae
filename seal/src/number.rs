//! Numbers that people compare by reading them to each other. A safety number belongs to a pair of
//! identities: who sees the same one holds the keys that the other one has. A room code belongs to
//! an epoch of a group: who sees the same one is in the same group, with the same members.

use crate::identity::Public;
use sha2::{Digest as _, Sha512};

/// Makes trying keys for a number that looks alike as dear as Signal does
/// (`NumericFingerprintGenerator`).
const ROUNDS: usize = 5200;
const SAFETY: &[u8] = b"safe-chat safety number v1";
#[cfg(feature = "mls")]
const ROOM: &[u8] = b"safe-chat room code v1";

/// 60 digits in groups of five, the same for both of a pair, whoever asks.
pub fn safety_number(one: &Public, other: &Public) -> String {
    let (one, other) = (one.min(other), one.max(other));
    grouped([half(one), half(other)].concat().iter())
}

/// 30 digits that stand for a key.
fn half(public: &Public) -> Vec<u32> {
    let mut hash = Sha512::new_with_prefix(SAFETY)
        .chain_update(public.as_bytes())
        .finalize();
    for _ in 1..ROUNDS {
        hash = Sha512::new_with_prefix(hash)
            .chain_update(public.as_bytes())
            .finalize();
    }
    chunks(&hash[..30])
}

/// 60 digits in groups of five, from the epoch authenticator (RFC 9420, 8.7).
#[cfg(feature = "mls")]
pub(crate) fn room_code(group: &[u8], epoch: u64, authenticator: &[u8]) -> String {
    let parts = crate::codec::short_parts(&[ROOM, group, &epoch.to_be_bytes(), authenticator]);
    grouped(chunks(&Sha512::digest(parts)).iter())
}

/// Groups of five digits, each from 40 bits, so that no digit is noticeably likelier.
fn chunks(hash: &[u8]) -> Vec<u32> {
    let number = |chunk: &[u8]| {
        chunk
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    };
    let chunks = hash.chunks_exact(5);
    chunks
        .map(|chunk| (number(chunk) % 100_000) as u32)
        .collect()
}

fn grouped<'a>(groups: impl Iterator<Item = &'a u32>) -> String {
    let groups: Vec<_> = groups.map(|group| format!("{group:05}")).collect();
    groups.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    fn public(n: u8) -> Public {
        Identity::from_seed(&[n; 32]).public()
    }

    #[test]
    fn both_of_a_pair_read_the_same_sixty_digits() {
        let number = safety_number(&public(1), &public(2));
        assert_eq!(number, safety_number(&public(2), &public(1)));
        assert_eq!(number.split(' ').count(), 12);
        assert!(number.split(' ').all(|group| group.len() == 5));
        assert_eq!(number.bytes().filter(u8::is_ascii_digit).count(), 60);
    }

    #[test]
    fn the_number_changes_with_either_key() {
        let number = safety_number(&public(1), &public(2));
        for (one, other) in [(1, 3), (3, 2), (1, 1), (2, 2)] {
            assert_ne!(number, safety_number(&public(one), &public(other)));
        }
    }

    /// People wrote it down; a new version must not change it unnoticed.
    #[test]
    fn the_number_of_a_pair_stays() {
        let number = safety_number(&public(1), &public(2));
        assert_eq!(number, include_str!("../tests/safety_number.v1").trim());
    }

    /// The examples of docs/protocol.md.
    #[cfg(feature = "mls")]
    #[test]
    fn both_numbers_are_made_as_the_protocol_says() {
        let seed = |first: u8| std::array::from_fn(|n| first + n as u8);
        let public = |first: u8| Identity::from_seed(&seed(first)).public();
        let (one, other) = (public(0), public(0x20));
        let mut group = crate::codec::short_parts(&[b"aaa"]);
        group.push(0);
        group.extend(0x60..0x70);
        let document = include_str!("../../docs/protocol.md");
        for said in [
            one.to_string(),
            other.to_string(),
            safety_number(&one, &other),
            group.iter().map(|byte| format!("{byte:02x}")).collect(),
            room_code(&group, 3, &seed(0x40)),
        ] {
            assert!(document.contains(&said), "{said}");
        }
    }

    #[cfg(feature = "mls")]
    #[test]
    fn a_room_code_changes_with_group_epoch_and_secret() {
        let code = room_code(b"group", 1, b"secret");
        assert_eq!(code.split(' ').count(), 12);
        for other in [
            room_code(b"other", 1, b"secret"),
            room_code(b"group", 2, b"secret"),
            room_code(b"group", 1, b"forked"),
        ] {
            assert_ne!(code, other);
        }
    }
}
