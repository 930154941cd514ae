//! The frames of a client (RFC 6455, 5). Pure: reads what the bytes say, in place. However they are
//! split the same items come out, and no more is kept than one message of the largest size.

use crate::gateway::Close;

/// The largest message, all fragments (contract with clients).
pub(super) const MESSAGE: usize = 131_072;
/// Bytes of a control frame, at most.
const CONTROL: usize = 125;
/// Bytes of a client's head, at most.
const HEAD: usize = 14;

/// What a client's bytes say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
    Ping(&'a [u8]),
    Pong(&'a [u8]),
    /// The client closes, with its code and words.
    Close(Option<(u16, &'a str)>),
}

/// Reads items out of bytes that come in pieces. Takes no memory between two frames.
#[derive(Default)]
pub(super) struct Parser(Option<Box<Partial>>);

/// What was read of a frame or message that is not whole.
#[derive(Default)]
struct Partial {
    /// The bytes of a head that is not whole.
    head: Vec<u8>,
    /// The frame whose payload is being read.
    frame: Option<Head>,
    /// Whether the message that is being collected is a text.
    is_text: Option<bool>,
    message: Vec<u8>,
    /// How much of a text is known to be UTF-8.
    checked: usize,
    control: Vec<u8>,
    /// What was collected has been given out.
    is_done: bool,
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Continue,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

/// The head of a client's frame.
#[derive(Debug, Clone, Copy)]
struct Head {
    is_last: bool,
    op: Op,
    /// For the next byte of the payload and those that follow.
    mask: [u8; 4],
    /// Bytes of the payload that were not read yet.
    left: usize,
}

impl Parser {
    /// Reads on at the beginning of `bytes`: how many of them it took, and the item that ends
    /// there. Without an item and with bytes left it wants to be called again; with none left it
    /// waits for more. After an error the client cannot be understood any more.
    pub(super) fn next<'a>(
        &'a mut self,
        bytes: &'a mut [u8],
    ) -> Result<(usize, Option<Item<'a>>), Close> {
        self.forget_what_is_done();
        let (mut head, at, begins) = match self.head(bytes)? {
            Some(found) => found,
            None => return Ok((bytes.len(), None)),
        };
        if begins {
            self.check_order(&head)?;
        }
        let count = head.left.min(bytes.len() - at);
        let end = at + count;
        let payload = &mut bytes[at..end];
        unmask(payload, head.mask);
        let is_whole = head.left == count;
        if begins && is_whole && self.is_single(&head) {
            return Ok((end, Some(head.op.item(payload)?)));
        }
        head.left -= count;
        head.mask.rotate_left(count % 4);
        let partial = self.0.get_or_insert_default();
        partial.collect(&head, payload);
        if !is_whole {
            partial.frame = Some(head);
            return Ok((end, None));
        }
        Ok((end, partial.finish(&head)?))
    }

    fn forget_what_is_done(&mut self) {
        if let Some(partial) = &mut self.0
            && std::mem::take(&mut partial.is_done)
        {
            partial.control = Vec::new();
            if partial.is_text.is_none() {
                self.0 = None;
            }
        }
    }

    /// The head of the frame that the bytes are of, where its payload goes on in them, and whether
    /// it begins here; `None`: it is not whole, and all bytes were taken.
    fn head(&mut self, bytes: &[u8]) -> Result<Option<(Head, usize, bool)>, Close> {
        let mut joined = Vec::new();
        if let Some(partial) = &mut self.0 {
            if let Some(frame) = partial.frame.take() {
                return Ok(Some((frame, 0, false)));
            }
            joined = std::mem::take(&mut partial.head);
        }
        let had = joined.len();
        let head = if had == 0 {
            Head::read(bytes)?
        } else {
            joined.extend(&bytes[..bytes.len().min(HEAD - had)]);
            Head::read(&joined)?
        };
        if let Some((head, length)) = head {
            return Ok(Some((head, length - had, true)));
        }
        if had == 0 {
            joined.extend(bytes);
        }
        if !joined.is_empty() {
            self.0.get_or_insert_default().head = joined;
        }
        Ok(None)
    }

    /// Whether a frame comes where it may, and its message is not too large.
    fn check_order(&self, head: &Head) -> Result<(), Close> {
        let partial = self.0.as_ref();
        let is_within = partial.is_some_and(|partial| partial.is_text.is_some());
        match head.op {
            Op::Close | Op::Ping | Op::Pong => return Ok(()),
            Op::Continue if !is_within => return Err(Close::Protocol),
            Op::Text | Op::Binary if is_within => return Err(Close::Protocol),
            _ => {}
        }
        let collected = partial.map_or(0, |partial| partial.message.len());
        if collected + head.left > MESSAGE {
            return Err(Close::TooBig);
        }
        Ok(())
    }

    /// Whether a frame that is whole is an item by itself.
    fn is_single(&self, head: &Head) -> bool {
        head.op.is_control() || (head.is_last && head.op != Op::Continue)
    }
}

impl Partial {
    fn collect(&mut self, head: &Head, payload: &[u8]) {
        match head.op {
            Op::Close | Op::Ping | Op::Pong => self.control.extend(payload),
            Op::Continue => self.message.extend(payload),
            Op::Text | Op::Binary => {
                self.is_text = Some(head.op == Op::Text);
                self.message.extend(payload);
            }
        }
    }

    /// The item that ends with this frame.
    fn finish(&mut self, head: &Head) -> Result<Option<Item<'_>>, Close> {
        if head.op.is_control() {
            self.is_done = true;
            return head.op.item(&self.control).map(Some);
        }
        let is_text = self.is_text.unwrap_or_default();
        if !head.is_last {
            if is_text {
                self.check_text()?;
            }
            return Ok(None);
        }
        self.is_done = true;
        self.is_text = None;
        let op = if is_text { Op::Text } else { Op::Binary };
        op.item(&self.message).map(Some)
    }

    /// A text that cannot become UTF-8 any more is refused at once; its end may be half a letter.
    fn check_text(&mut self) -> Result<(), Close> {
        let new = &self.message[self.checked..];
        self.checked += match std::str::from_utf8(new) {
            Ok(new) => new.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => return Err(Close::NotUtf8),
        };
        Ok(())
    }
}

impl Op {
    fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }

    fn item(self, payload: &[u8]) -> Result<Item<'_>, Close> {
        Ok(match self {
            Self::Text => Item::Text(text(payload)?),
            Self::Binary | Self::Continue => Item::Binary(payload),
            Self::Ping => Item::Ping(payload),
            Self::Pong => Item::Pong(payload),
            Self::Close => Item::Close(match payload {
                [] => None,
                [_] => return Err(Close::Protocol),
                [high, low, words @ ..] => Some((u16::from_be_bytes([*high, *low]), text(words)?)),
            }),
        })
    }
}

fn text(bytes: &[u8]) -> Result<&str, Close> {
    std::str::from_utf8(bytes).map_err(|_| Close::NotUtf8)
}

impl Head {
    /// The head at the beginning of `bytes` and its length; `None`: it is not whole.
    fn read(bytes: &[u8]) -> Result<Option<(Self, usize)>, Close> {
        let &[first, second, ..] = bytes else {
            return Ok(None);
        };
        let op = match first & 0x7f {
            0 => Op::Continue,
            1 => Op::Text,
            2 => Op::Binary,
            8 => Op::Close,
            9 => Op::Ping,
            10 => Op::Pong,
            // Unknown, or with bits of an extension that was not agreed on.
            _ => return Err(Close::Protocol),
        };
        let (is_last, is_masked) = (first & 0x80 != 0, second & 0x80 != 0);
        let short = usize::from(second & 0x7f);
        if !is_masked || (op.is_control() && (!is_last || short > CONTROL)) {
            return Err(Close::Protocol);
        }
        let more = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some(rest) = bytes.get(2..2 + more + 4) else {
            return Ok(None);
        };
        let (length, mask) = rest.split_at(more);
        let left = match more {
            0 => short as u64,
            _ => length
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        };
        if left > MESSAGE as u64 {
            return Err(Close::TooBig);
        }
        let mask = [mask[0], mask[1], mask[2], mask[3]];
        let left = left as usize;
        let head = Self {
            is_last,
            op,
            mask,
            left,
        };
        Ok(Some((head, 2 + more + 4)))
    }
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    if mask == [0; 4] {
        return;
    }
    let [a, b, c, d] = mask;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut words = payload.chunks_exact_mut(8);
    for part in &mut words {
        let bytes: [u8; 8] = (&*part).try_into().unwrap_or_default();
        part.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ word).to_ne_bytes());
    }
    let rest = words.into_remainder().iter_mut();
    rest.zip(mask.iter().cycle())
        .for_each(|(byte, mask)| *byte ^= mask);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite::protocol::frame::{
        Frame, FrameHeader,
        coding::{Control, Data, OpCode},
    };

    /// An item that keeps its bytes, or the end.
    #[derive(Debug, Clone, PartialEq, Eq)]
    enum Seen {
        Text(String),
        Binary(Vec<u8>),
        Ping(Vec<u8>),
        Pong(Vec<u8>),
        Closed(Option<(u16, String)>),
        Broken(Close),
    }

    fn seen(item: &Item<'_>) -> Seen {
        match item {
            Item::Text(text) => Seen::Text((*text).into()),
            Item::Binary(bytes) => Seen::Binary(bytes.to_vec()),
            Item::Ping(bytes) => Seen::Ping(bytes.to_vec()),
            Item::Pong(bytes) => Seen::Pong(bytes.to_vec()),
            Item::Close(why) => Seen::Closed(why.map(|(code, words)| (code, words.into()))),
        }
    }

    /// All items of bytes that come in pieces of these lengths, again and again.
    fn read(bytes: &[u8], pieces: &[usize]) -> Vec<Seen> {
        let (mut parser, mut all) = (Parser::default(), Vec::new());
        let (mut rest, mut lengths) = (bytes.to_vec(), pieces.iter().cycle());
        while !rest.is_empty() {
            let length = lengths.next().map_or(rest.len(), |length| *length);
            let after = rest.split_off(length.clamp(1, rest.len()));
            let mut at = 0;
            while at < rest.len() {
                match parser.next(&mut rest[at..]) {
                    Ok((count, item)) => {
                        all.extend(item.as_ref().map(seen));
                        at += count;
                    }
                    Err(close) => {
                        all.push(Seen::Broken(close));
                        return all;
                    }
                }
            }
            rest = after;
        }
        all
    }

    fn masked(op: OpCode, is_last: bool, mask: [u8; 4], payload: &[u8]) -> Vec<u8> {
        let header = FrameHeader {
            is_final: is_last,
            opcode: op,
            mask: Some(mask),
            ..FrameHeader::default()
        };
        let frame = Frame::from_payload(header, payload.to_vec().into());
        let mut out = Vec::new();
        frame.format(&mut out).expect("it is written to memory");
        out
    }

    fn frame(op: Data, is_last: bool, payload: &[u8]) -> Vec<u8> {
        masked(OpCode::Data(op), is_last, [1, 2, 3, 4], payload)
    }

    fn control(op: Control, payload: &[u8]) -> Vec<u8> {
        masked(OpCode::Control(op), true, [9, 8, 7, 6], payload)
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_messages(
            texts in prop::collection::vec((".{0,200}", any::<[u8; 4]>(), 1..9usize), 1..6),
            pieces in prop::collection::vec(1..50usize, 1..8),
        ) {
            let (mut bytes, mut wanted) = (Vec::new(), Vec::new());
            for (text, mask, parts) in &texts {
                let part = (text.len() / parts).max(1);
                let chunks: Vec<&[u8]> = text.as_bytes().chunks(part).collect();
                let chunks = if chunks.is_empty() { vec![&b""[..]] } else { chunks };
                for (n, chunk) in chunks.iter().enumerate() {
                    let op = if n == 0 { Data::Text } else { Data::Continue };
                    let is_last = n + 1 == chunks.len();
                    bytes.extend(masked(OpCode::Data(op), is_last, *mask, chunk));
                    // Control frames may come between fragments.
                    if !is_last {
                        bytes.extend(control(Control::Ping, b"p"));
                        wanted.push(Seen::Ping(b"p".to_vec()));
                    }
                }
                wanted.push(Seen::Text(text.clone()));
            }
            prop_assert_eq!(read(&bytes, &[usize::MAX]), wanted.clone());
            prop_assert_eq!(read(&bytes, &pieces), wanted);
        }

        #[test]
        fn any_bytes_give_the_same_however_they_are_split(
            bytes in prop::collection::vec(prop_oneof![Just(0x81_u8), Just(0x82), Just(0x80), Just(0), any::<u8>()], 0..300),
            pieces in prop::collection::vec(1..20usize, 1..5),
        ) {
            prop_assert_eq!(read(&bytes, &pieces), read(&bytes, &[usize::MAX]));
        }
    }

    #[test]
    fn a_broken_rule_has_its_code() {
        let long = vec![b'x'; MESSAGE];
        let broken: [(&str, Vec<u8>, Close); 14] = [
            ("no mask", vec![0x81, 0x00], Close::Protocol),
            ("an unknown opcode", vec![0x83, 0x80], Close::Protocol),
            ("an unknown control", vec![0x8b, 0x80], Close::Protocol),
            ("a reserved bit", vec![0xc1, 0x80], Close::Protocol),
            ("a ping in parts", vec![0x09, 0x80], Close::Protocol),
            ("a long ping", vec![0x89, 0xfe], Close::Protocol),
            (
                "a close of one byte",
                control(Control::Close, b"x"),
                Close::Protocol,
            ),
            (
                "words of a close",
                control(Control::Close, &[3, 232, 0xff]),
                Close::NotUtf8,
            ),
            (
                "no beginning",
                frame(Data::Continue, true, b""),
                Close::Protocol,
            ),
            (
                "a message in a message",
                [
                    frame(Data::Text, false, b"a"),
                    frame(Data::Text, true, b"b"),
                ]
                .concat(),
                Close::Protocol,
            ),
            ("no UTF-8", frame(Data::Text, true, &[0xff]), Close::NotUtf8),
            (
                "no UTF-8 so far",
                frame(Data::Text, false, b"a\xffb"),
                Close::NotUtf8,
            ),
            (
                "too long",
                vec![0x82, 0xff, 0, 0, 0, 0, 0, 2, 0, 1, 0, 0, 0, 0],
                Close::TooBig,
            ),
            (
                "too long in parts",
                [
                    frame(Data::Binary, false, &long),
                    frame(Data::Continue, true, b"x"),
                ]
                .concat(),
                Close::TooBig,
            ),
        ];
        for (what, bytes, close) in broken {
            assert_eq!(
                read(&bytes, &[usize::MAX]).last(),
                Some(&Seen::Broken(close)),
                "{what}"
            );
            assert_eq!(
                read(&bytes, &[1]).last(),
                Some(&Seen::Broken(close)),
                "{what}"
            );
        }
    }

    #[test]
    fn half_a_letter_ends_a_fragment_and_not_a_message() {
        let (begin, end) = (
            frame(Data::Text, false, &[0xc3]),
            frame(Data::Continue, true, &[0xa4]),
        );
        assert_eq!(
            read(&[begin.clone(), end].concat(), &[3]),
            [Seen::Text("\u{e4}".into())]
        );
        let cut = frame(Data::Continue, true, b"");
        assert_eq!(
            read(&[begin, cut].concat(), &[3]),
            [Seen::Broken(Close::NotUtf8)]
        );
    }

    #[test]
    fn the_largest_message_is_read_in_any_form() {
        let bytes = vec![7; MESSAGE];
        let whole = frame(Data::Binary, true, &bytes);
        let (first, second) = bytes.split_at(1000);
        let parts = [
            frame(Data::Binary, false, first),
            frame(Data::Continue, true, second),
        ];
        for bytes_on_the_way in [whole, parts.concat()] {
            let read = read(&bytes_on_the_way, &[4096]);
            assert_eq!(read, [Seen::Binary(bytes.clone())]);
        }
    }

    #[test]
    fn nothing_is_kept_between_frames() {
        let mut parser = Parser::default();
        let mut bytes = [
            frame(Data::Text, false, b"a"),
            frame(Data::Continue, true, b"b"),
        ]
        .concat();
        let (count, item) = parser.next(&mut bytes).expect("it is right");
        assert_eq!(item, None);
        let (_, item) = parser.next(&mut bytes[count..]).expect("it is right");
        assert_eq!(item, Some(Item::Text("ab")));
        assert_eq!(parser.next(&mut []), Ok((0, None)));
        assert!(parser.0.is_none());
    }
}
