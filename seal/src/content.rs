//! What is inside an encrypted message: a text, messages of before that a member shares with
//! somebody who came later, or a question for such. What this version does not know, it says so.

use crate::codec::{Malformed, Reader, long_parts, short_parts};
use crate::device::Name;
use crate::identity::Public;
use crate::member::Content;
use crate::rules::MOST_CONTENT;

/// The first byte: a text follows.
const TEXT: u8 = 1;
/// The first byte: one of the kinds below follows.
const KIND: u8 = 2;
/// The second byte: messages of before, for one person.
const SHARED: u8 = 1;
/// The second byte: somebody asks for messages of before.
const ASKED: u8 = 2;

/// Messages of before in one sharing, and shown of one sharer, at most.
pub const MOST_SHARED: usize = 100;
/// Encrypted messages of one sharing, at most.
pub const MOST_SHARED_PARTS: usize = 8;
/// Bytes of the inside of a message.
const MOST: usize = 1 + MOST_CONTENT;

/// A message of before, as a member passes it on. Nothing proves it: the member could have made it
/// up, or changed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Earlier {
    /// Its place in the room.
    pub seq: u64,
    /// When it was said, in milliseconds since 1970 UTC.
    pub at: u64,
    /// Who said it.
    pub from: Name,
    /// What they said.
    pub content: Content,
}

/// The inside of a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Inside {
    Text(Content),
    /// For whoever has this identity.
    Shared {
        with: Public,
        messages: Vec<Earlier>,
    },
    /// For so many messages of before.
    Asked(u8),
}

pub(crate) fn text(content: &[u8]) -> Vec<u8> {
    [&[TEXT], content].concat()
}

/// The text, if it is one.
pub(crate) fn text_in(inside: &[u8]) -> Option<&[u8]> {
    inside.strip_prefix(&[TEXT])
}

pub(crate) fn asked(count: u8) -> Vec<u8> {
    vec![KIND, ASKED, count]
}

/// The insides of a sharing: of the newest messages as many as the bounds allow, oldest first. One
/// that fills a message of its own is left out.
pub(crate) fn shared(with: &Public, messages: &[Earlier]) -> Vec<Vec<u8>> {
    let front = [&[KIND, SHARED], &with.as_bytes()[..]].concat();
    // Newest first, each message in front of those that are later.
    let mut parts: Vec<Vec<u8>> = Vec::new();
    for message in messages.iter().rev().take(MOST_SHARED) {
        let bytes = message.encode();
        if front.len() + bytes.len() > MOST {
            continue;
        }
        let is_full = parts.len() == MOST_SHARED_PARTS;
        match parts.last_mut() {
            Some(part) if front.len() + part.len() + bytes.len() <= MOST => {
                part.splice(..0, bytes);
            }
            _ if is_full => break,
            _ => parts.push(bytes),
        }
    }
    parts.reverse();
    for part in &mut parts {
        part.splice(..0, front.iter().copied());
    }
    parts
}

impl Inside {
    /// Reads one, or says why not.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        match bytes {
            [TEXT, content @ ..] => Ok(Self::Text(Content(content.to_vec()))),
            [KIND, SHARED, rest @ ..] => {
                read_shared(rest).map_err(|_| "it shares what is no list of messages")
            }
            [KIND, ASKED, count] => Ok(Self::Asked((*count).clamp(1, MOST_SHARED as u8))),
            _ => Err("it is of a later version"),
        }
    }
}

fn read_shared(bytes: &[u8]) -> Result<Inside, Malformed> {
    let mut reader = Reader(bytes);
    let with = Public::from_bytes(reader.array()?).map_err(|_| Malformed)?;
    let mut messages: Vec<Earlier> = Vec::new();
    while !reader.0.is_empty() {
        let message = Earlier::read(&mut reader)?;
        let is_next = messages.last().is_none_or(|last| last.seq < message.seq);
        if !is_next || messages.len() == MOST_SHARED {
            return Err(Malformed);
        }
        messages.push(message);
    }
    match messages.is_empty() {
        true => Err(Malformed),
        false => Ok(Inside::Shared { with, messages }),
    }
}

impl Earlier {
    fn encode(&self) -> Vec<u8> {
        let (seq, at) = (self.seq.to_be_bytes(), self.at.to_be_bytes());
        let from = short_parts(&[self.from.as_str().as_bytes()]);
        [&seq[..], &at, &from, &long_parts(&[&self.content.0])].concat()
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (seq, at) = (reader.array()?, reader.array()?);
        let from = std::str::from_utf8(reader.short()?).map_err(|_| Malformed)?;
        Ok(Self {
            seq: u64::from_be_bytes(seq),
            at: u64::from_be_bytes(at),
            from: Name::parse(from).map_err(|_| Malformed)?,
            content: Content(reader.long()?.to_vec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use proptest::prelude::*;

    fn charly() -> Public {
        Identity::from_seed(&[2; 32]).public()
    }

    fn message(seq: u64, bytes: usize) -> Earlier {
        Earlier {
            seq,
            at: 1_795_000_000_000 + seq,
            from: Name::parse("harry").unwrap(),
            content: Content(vec![b'x'; bytes]),
        }
    }

    /// Seqs of what comes out, by message.
    fn seqs(parts: &[Vec<u8>]) -> Vec<Vec<u64>> {
        let seqs = |part: &Vec<u8>| match Inside::decode(part) {
            Ok(Inside::Shared { with, messages }) => {
                assert_eq!(with, charly());
                messages.iter().map(|one| one.seq).collect()
            }
            other => panic!("{other:?}"),
        };
        parts.iter().map(seqs).collect()
    }

    #[test]
    fn what_is_shared_comes_out_as_it_was() {
        let messages = [message(3, 5), message(7, 0)];
        let parts = shared(&charly(), &messages);
        let [part] = &parts[..] else {
            panic!("{} parts", parts.len())
        };
        let with = charly();
        let messages = messages.to_vec();
        assert_eq!(Inside::decode(part), Ok(Inside::Shared { with, messages }));
        // Others may have to read it (docs/protocol.md).
        let mut expected = vec![2, 1];
        expected.extend(charly().as_bytes());
        expected.extend([0, 0, 0, 0, 0, 0, 0, 3]);
        expected.extend((1_795_000_000_003_u64).to_be_bytes());
        expected.extend(b"\0\x05harry\0\0\0\x05xxxxx");
        assert!(part.starts_with(&expected));
    }

    #[test]
    fn the_newest_are_shared_in_few_messages_each_of_which_can_be_sent() {
        let many: Vec<_> = (1..=250).map(|seq| message(seq, 10)).collect();
        let newest: Vec<u64> = (151..=250).collect();
        assert_eq!(seqs(&shared(&charly(), &many)), [newest]);
        let large: Vec<_> = (1..=30).map(|seq| message(seq, 30_000)).collect();
        let parts = shared(&charly(), &large);
        assert!(parts.iter().all(|part| part.len() <= MOST));
        let pairs: Vec<_> = (0..8).map(|n| vec![15 + 2 * n, 16 + 2 * n]).collect();
        assert_eq!(seqs(&parts), pairs);
        // One that fills a message alone has no place beside what goes with it.
        let full = [message(1, 10), message(2, MOST_CONTENT), message(3, 10)];
        assert_eq!(seqs(&shared(&charly(), &full)), [[1, 3]]);
        assert!(shared(&charly(), &[]).is_empty());
    }

    #[test]
    fn what_is_in_another_order_too_much_or_unknown_is_not_read() {
        let part = |seqs: &[u64]| {
            let front = [&[KIND, SHARED], &charly().as_bytes()[..]].concat();
            let messages = seqs.iter().map(|seq| message(*seq, 0).encode());
            messages.fold(front, |inside, bytes| [inside, bytes].concat())
        };
        assert!(Inside::decode(&part(&[1, 2])).is_ok());
        for seqs in [&[][..], &[2, 1], &[1, 1], &(1..=101).collect::<Vec<_>>()] {
            assert!(Inside::decode(&part(seqs)).is_err(), "{seqs:?}");
        }
        let all = part(&[1]);
        assert!(Inside::decode(&all[..all.len() - 1]).is_err());
        for later in [&[][..], &[0], &[2], &[2, 3], &[2, 2], &[2, 2, 5, 0], &[3]] {
            assert!(Inside::decode(later).is_err(), "{later:?}");
        }
        // Whoever asks for none, or for all, gets what there may be.
        assert_eq!(Inside::decode(&[2, 2, 0]), Ok(Inside::Asked(1)));
        assert_eq!(Inside::decode(&[2, 2, 255]), Ok(Inside::Asked(100)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_reader_panic(kind in 0u8..4, bytes: Vec<u8>) {
            let _ = Inside::decode(&[&[KIND, kind], &bytes[..]].concat());
            let sharing = [&[KIND, SHARED], &charly().as_bytes()[..], &bytes].concat();
            let _ = Inside::decode(&sharing);
        }
    }
}
