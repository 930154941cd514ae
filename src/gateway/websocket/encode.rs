//! The frames of the server (RFC 6455, 5). They are not masked, so the same bytes go to everybody
//! whom they are for.

use crate::{gateway::Close, wire::Encoded};

/// Bytes of a frame, at most: a larger message (the members of a large room) goes out in fragments,
/// and a ping can come between them.
const PART: usize = 512 * 1024;
/// The bit that says that a frame is the last one of its message.
const LAST: u8 = 0x80;
const CONTINUE: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PONG: u8 = 10;

/// An empty ping.
pub(super) const PING: &[u8] = &[LAST | 9, 0];

/// Puts a message behind what is in `out`.
pub(super) fn put(out: &mut Vec<u8>, message: &Encoded) {
    let first = match message {
        Encoded::Text(_) => TEXT,
        Encoded::Binary(_) => BINARY,
    };
    let bytes = message.bytes();
    let count = bytes.len().div_ceil(PART).max(1);
    for n in 0..count {
        let part = &bytes[n * PART..bytes.len().min((n + 1) * PART)];
        let kind = if n == 0 { first } else { CONTINUE };
        let last = if n + 1 == count { LAST } else { 0 };
        head(out, last | kind, part.len());
        out.extend(part);
    }
}

/// Bytes that [`put`] takes for a message of so many, unless it is very large.
pub(super) fn length(message: usize) -> usize {
    message + 10
}

/// The answer to a ping with this payload.
pub(super) fn pong(payload: &[u8]) -> Vec<u8> {
    control(PONG, &[payload])
}

/// A close frame of the server.
pub(super) fn close(close: Close) -> Vec<u8> {
    let (code, words) = (close.code().to_be_bytes(), close.reason().as_bytes());
    control(CLOSE, &[&code, words])
}

/// The answer to a client's close frame: the same, unless its code may not be on the wire
/// (RFC 6455, 7.4).
pub(super) fn echo(why: Option<(u16, &str)>) -> Vec<u8> {
    match why {
        None => control(CLOSE, &[]),
        Some((code @ (1000..=1003 | 1007..=1014 | 3000..=4999), words)) => {
            control(CLOSE, &[&code.to_be_bytes(), words.as_bytes()])
        }
        Some(_) => close(Close::Protocol),
    }
}

fn control(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    head(
        &mut out,
        LAST | kind,
        parts.iter().map(|part| part.len()).sum(),
    );
    parts.iter().for_each(|part| out.extend(*part));
    out
}

fn head(out: &mut Vec<u8>, first: u8, length: usize) {
    out.push(first);
    match length {
        0..126 => out.push(length as u8),
        126..0x1_0000 => {
            out.push(126);
            out.extend((length as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend((length as u64).to_be_bytes());
        }
    }
}

/// Where the frame ends that the byte before `at` is of; `bytes` begin with a frame.
pub(super) fn boundary(bytes: &[u8], at: usize) -> usize {
    let mut end = 0;
    while end < at {
        let frame = &bytes[end..];
        let number = |range: std::ops::Range<usize>| {
            frame[range]
                .iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte))
        };
        end += match frame[1] {
            126 => 4 + number(2..4),
            127 => 10 + number(2..10),
            short => 2 + usize::from(short),
        };
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_boundary_is_the_end_of_a_frame(
            sizes in prop::collection::vec(prop_oneof![0..300usize, 60_000..70_000usize], 1..8),
            part in 0.0..1.0f64,
        ) {
            let (mut bytes, mut ends) = (Vec::new(), vec![0]);
            for size in sizes {
                put(&mut bytes, &Encoded::Binary(vec![1; size].into()));
                ends.push(bytes.len());
            }
            let at = (bytes.len() as f64 * part) as usize;
            let wanted = ends.into_iter().find(|end| *end >= at);
            prop_assert_eq!(Some(boundary(&bytes, at)), wanted);
        }
    }

    #[test]
    fn a_very_large_message_goes_out_in_fragments() {
        let mut bytes = Vec::new();
        put(&mut bytes, &Encoded::Binary(vec![1; 2 * PART + 1].into()));
        let second = boundary(&bytes, 1);
        let third = boundary(&bytes, second + 1);
        assert_eq!((second, third), (PART + 10, 2 * (PART + 10)));
        assert_eq!(
            [bytes[0], bytes[second], bytes[third]],
            [BINARY, CONTINUE, LAST]
        );
        assert_eq!(bytes.len(), third + 3);
    }

    #[test]
    fn a_close_is_answered_with_its_code_unless_that_is_none() {
        assert_eq!(echo(None), [0x88, 0]);
        assert_eq!(echo(Some((4001, "x"))), [0x88, 3, 0x0f, 0xa1, b'x']);
        for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
            assert_eq!(echo(Some((code, ""))), close(Close::Protocol), "{code}");
        }
    }
}
