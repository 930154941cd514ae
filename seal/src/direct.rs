//! Rooms of two people. The name is made of both keys, so that both find the room without asking
//! anybody, and members and the writer hold the group to it: nobody else can be in it.

use crate::codec::short_parts;
use crate::device::{Certificate, Name};
use crate::identity::Public;
use crate::rules::{JoinPolicy, Refusal};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;

/// What the hash begins with.
const LABEL: &[u8] = b"safe-chat direct room v1";
/// What the name begins with.
const FRONT: &str = "dm-";

/// The room of two people, whoever asks: `dm-` and 43 characters of base64url.
pub fn room_of(one: &Public, other: &Public) -> Name {
    let (one, other) = (one.min(other), one.max(other));
    let hash = Sha256::digest(short_parts(&[LABEL, one.as_bytes(), other.as_bytes()]));
    let name = format!("{FRONT}{}", URL_SAFE_NO_PAD.encode(hash));
    Name::parse(&name).expect("46 characters of those that names have")
}

/// Whether a room is one of two people, as its name says.
pub fn is_direct(room: &Name) -> bool {
    let hash = room.as_str().strip_prefix(FRONT);
    hash.and_then(|hash| URL_SAFE_NO_PAD.decode(hash).ok())
        .is_some_and(|hash| hash.len() == Sha256::output_size())
}

/// In the group of such a room are the two that its name is of, and it lets in nobody by itself but
/// their devices. Of one alone nobody can tell whether it is one of them; the other one cannot be
/// added unless it is.
pub(crate) fn check<'a>(
    room: &Name,
    policy: JoinPolicy,
    members: impl Iterator<Item = &'a Certificate>,
) -> Result<(), Refusal> {
    if !is_direct(room) {
        return Ok(());
    }
    let people: BTreeSet<_> = members.map(|one| one.identity).collect();
    let mut people = people.iter();
    let fits = match (people.next(), people.next(), people.next()) {
        (_, None, _) => true,
        (Some(one), Some(other), None) => room_of(one, other) == *room,
        _ => false,
    };
    match fits && policy == JoinPolicy::Invited {
        true => Ok(()),
        false => Err(Refusal::NotTheirs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    #[test]
    fn a_room_of_two_is_the_same_for_both_and_another_for_any_other_two() {
        let [harry, charly, kim] = [1, 2, 3].map(|seed| Identity::from_seed(&[seed; 32]).public());
        let room = room_of(&harry, &charly);
        assert_eq!(room_of(&charly, &harry), room);
        assert_ne!(room_of(&harry, &kim), room);
        assert!(is_direct(&room));
        for other in [
            "dm-",
            "dm-charly",
            "aaa",
            &room.as_str()[..45],
            &room.as_str()[3..],
        ] {
            assert!(!is_direct(&Name::parse(other).unwrap()), "{other}");
        }
        // Others may have to compute it (docs/protocol.md).
        assert_eq!(
            room.as_str(),
            "dm-399M7rhnix4XoL0nb8C5SklsJEX0gQCEsqFP989vr1U"
        );
    }
}
