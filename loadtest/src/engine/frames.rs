//! WebSocket frames of a server, read in place. A client of the `client` crate copies and wakes a
//! task for each; one core could not watch thousands of members that way.

use std::ops::Range;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opcode {
    Data,
    Close,
    Ping,
    Pong,
}

/// A whole frame, and where its payload is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) opcode: Opcode,
    pub(crate) payload: Range<usize>,
}

/// The frame of a server at the beginning of `bytes`; its payload ends where the next one begins.
/// `None`: not all of it is here.
pub(crate) fn first(bytes: &[u8]) -> Result<Option<Frame>, &'static str> {
    match bytes {
        [_, length, ..] if length & 0x80 != 0 => Err("the server masks its frames"),
        _ => at_first(bytes, 0),
    }
}

/// The same for a frame of a client, whose payload is unmasked in place.
pub(crate) fn first_of_client(bytes: &mut [u8]) -> Result<Option<Frame>, &'static str> {
    let found = at_first(bytes, 4)?;
    if let Some(frame) = &found {
        let (header, payload) = bytes.split_at_mut(frame.payload.start);
        let mask = &header[header.len() - 4..];
        let payload = &mut payload[..frame.payload.len()];
        for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= mask;
        }
    }
    Ok(found)
}

fn at_first(bytes: &[u8], mask: usize) -> Result<Option<Frame>, &'static str> {
    let [head, length, ..] = bytes else {
        return Ok(None);
    };
    let (header, length) = match length & 0x7f {
        126 => match bytes.get(2..4) {
            Some(more) => (4, usize::from(u16::from_be_bytes([more[0], more[1]]))),
            None => return Ok(None),
        },
        127 => match bytes.get(2..10).and_then(|more| more.try_into().ok()) {
            Some(more) => (10, u64::from_be_bytes(more) as usize),
            None => return Ok(None),
        },
        short => (2, usize::from(short)),
    };
    let opcode = match head {
        0x81 | 0x82 => Opcode::Data,
        0x88 => Opcode::Close,
        0x89 => Opcode::Ping,
        0x8a => Opcode::Pong,
        _ => return Err("fragments, or compression"),
    };
    let header = header + mask;
    let payload = header..header + length;
    Ok((bytes.len() >= payload.end).then_some(Frame { opcode, payload }))
}

/// How many whole frames of a server these are.
pub(crate) fn count(mut bytes: &[u8]) -> usize {
    let mut frames = 0;
    while let Ok(Some(frame)) = first(bytes) {
        bytes = &bytes[frame.payload.end..];
        frames += 1;
    }
    frames
}

/// Appends a frame of a client. The mask is zero, which changes no byte: it is there to protect
/// proxies from pages, and there is neither here.
pub(crate) fn write(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    head(out, opcode, payload.len(), 0x80);
    out.extend([0; 4]);
    out.extend(payload);
}

/// Appends a frame of a server.
pub(crate) fn write_of_server(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    head(out, opcode, payload.len(), 0);
    out.extend(payload);
}

fn head(out: &mut Vec<u8>, opcode: u8, length: usize, masked: u8) {
    out.push(0x80 | opcode);
    match length {
        short @ 0..126 => out.push(masked | short as u8),
        middle @ 126..65_536 => {
            out.push(masked | 126);
            out.extend((middle as u16).to_be_bytes());
        }
        long => {
            out.push(masked | 127);
            out.extend((long as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        write_of_server(&mut frame, 1, payload);
        frame
    }

    #[test]
    fn frames_of_every_length_are_read_and_cut_ones_are_waited_for() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let frame = server(&vec![7; length]);
            let read = first(&frame).unwrap().unwrap();
            assert_eq!(read.opcode, Opcode::Data);
            assert_eq!(frame[read.payload.clone()], vec![7; length]);
            assert_eq!(read.payload.end, frame.len());
            for cut in [0, 1, frame.len() - 1] {
                assert_eq!(first(&frame[..cut]), Ok(None), "{length} cut at {cut}");
            }
        }
    }

    #[test]
    fn frames_of_a_client_are_unmasked() {
        let mut frame = vec![0x81, 0x83, 1, 2, 3, 4, b'a' ^ 1, b'b' ^ 2, b'c' ^ 3];
        let read = first_of_client(&mut frame).unwrap().unwrap();
        assert_eq!(frame[read.payload], *b"abc");
        let mut own = Vec::new();
        write(&mut own, 1, b"abc");
        let read = first_of_client(&mut own).unwrap().unwrap();
        assert_eq!(own[read.payload], *b"abc");
    }

    #[test]
    fn what_this_reader_cannot_is_said() {
        assert!(first(&[0x01, 0]).is_err());
        assert!(first(&[0xc1, 0]).is_err());
        assert!(first(&[0x81, 0x80]).is_err());
    }
}
