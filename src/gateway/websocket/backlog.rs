//! What one client has not taken yet: slices of buffers that it shares with others, in order. Pure:
//! it writes to whatever it is given.

use super::encode;
use bytes::Bytes;
use std::{
    collections::VecDeque,
    io::{self, ErrorKind, IoSlice, Write},
};

/// Slices of one write.
const SLICES: usize = 32;
/// Bytes that one client gets at a time, about: others wait.
const ROUND: usize = 512 * 1024;

/// Whole frames, and how many of them count.
struct Piece {
    bytes: Bytes,
    frames: u32,
}

/// What waits for a client. Takes no memory when nothing does.
#[derive(Default)]
pub(super) struct Backlog {
    pieces: VecDeque<Piece>,
    /// How much of the first piece is written.
    written: usize,
    /// A ping or a pong, which goes out before the next piece. Only the last one of each is kept.
    ping: bool,
    pong: Option<Vec<u8>>,
}

/// What a write has done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    /// Bytes and frames of pieces that are written now.
    pub(super) bytes: usize,
    pub(super) frames: u32,
    /// The client has taken something.
    pub(super) is_progress: bool,
    /// The client takes no more now; it says when it does.
    pub(super) is_blocked: bool,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty() && !self.ping && self.pong.is_none()
    }

    /// Puts whole frames behind the others.
    pub(super) fn push(&mut self, bytes: Bytes, frames: u32) {
        self.pieces.push_back(Piece { bytes, frames });
    }

    /// Puts whole frames in whose first bytes are written already. It was empty.
    pub(super) fn push_rest(&mut self, bytes: Bytes, frames: u32, written: usize) {
        debug_assert!(self.is_empty(), "nothing is written past a backlog");
        self.push(bytes, frames);
        self.written = written;
    }

    pub(super) fn ping(&mut self) {
        self.ping = true;
    }

    /// Answers a ping. The client gets the answer to its last one at least.
    pub(super) fn pong(&mut self, payload: &[u8]) {
        self.pong = Some(encode::pong(payload));
    }

    /// Drops all but the frame that is half written, so that another one can follow; how many bytes
    /// and frames that are.
    pub(super) fn cut(&mut self) -> (usize, u32) {
        let counted = self.pieces.iter().filter(|piece| piece.frames > 0);
        let dropped = counted.fold((0, 0), |(bytes, frames), piece| {
            (bytes + piece.bytes.len(), frames + piece.frames)
        });
        let first = self.pieces.pop_front();
        self.pieces = VecDeque::new();
        (self.ping, self.pong) = (false, None);
        if let Some(first) = first.filter(|_| self.written > 0) {
            let end = encode::boundary(&first.bytes, self.written);
            if end > self.written {
                self.push(first.bytes.slice(..end), 0);
                return dropped;
            }
        }
        self.written = 0;
        dropped
    }

    /// Writes as much as is taken and is this client's turn.
    pub(super) fn write(&mut self, io: &mut impl Write) -> io::Result<Done> {
        let (mut done, mut sum) = (Done::default(), 0);
        while !self.is_empty() && sum < ROUND {
            self.place_control();
            let (mut slices, first) = (
                Vec::with_capacity(self.pieces.len().min(SLICES)),
                self.written,
            );
            for (n, piece) in self.pieces.iter().take(SLICES).enumerate() {
                let from = if n == 0 { first } else { 0 };
                slices.push(IoSlice::new(&piece.bytes[from..]));
            }
            match io.write_vectored(&slices) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => {
                    drop(slices);
                    sum += count;
                    done.is_progress = true;
                    self.took(count, &mut done);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    done.is_blocked = true;
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.pieces.is_empty() {
            self.pieces = VecDeque::new();
        }
        Ok(done)
    }

    /// Puts control frames first, unless another frame is half written. One that is placed and not
    /// taken is not placed again.
    fn place_control(&mut self) {
        let is_placed = self.pieces.front().is_some_and(|first| first.frames == 0);
        if self.written > 0 || is_placed {
            return;
        }
        let mut control = self.pong.take().unwrap_or_default();
        if std::mem::take(&mut self.ping) {
            control.extend(encode::PING);
        }
        if !control.is_empty() {
            self.pieces.push_front(Piece {
                bytes: control.into(),
                frames: 0,
            });
        }
    }

    fn took(&mut self, count: usize, done: &mut Done) {
        self.written += count;
        while let Some(first) = self
            .pieces
            .front()
            .filter(|first| first.bytes.len() <= self.written)
        {
            self.written -= first.bytes.len();
            // Control frames are not counted.
            if first.frames > 0 {
                done.bytes += first.bytes.len();
                done.frames += first.frames;
            }
            self.pieces.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Encoded;
    use proptest::prelude::*;

    /// Takes so many bytes, then nothing.
    struct Narrow {
        taken: Vec<u8>,
        space: usize,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.space == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            let count = bytes.len().min(self.space);
            self.space -= count;
            self.taken.extend(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn frames(sizes: &[usize]) -> Bytes {
        let mut out = Vec::new();
        for size in sizes {
            encode::put(&mut out, &Encoded::Binary(vec![b'x'; *size].into()));
        }
        out.into()
    }

    proptest! {
        #[test]
        fn everything_comes_in_order_whatever_the_client_takes(
            pieces in prop::collection::vec(prop::collection::vec(0..400usize, 1..4), 1..50),
            spaces in prop::collection::vec(1..500usize, 1..10),
            cut in prop::option::of(0..40usize),
        ) {
            let (mut backlog, mut wanted) = (Backlog::default(), Vec::new());
            for sizes in &pieces {
                let bytes = frames(sizes);
                wanted.extend(&bytes);
                backlog.push(bytes, sizes.len() as u32);
            }
            let mut io = Narrow { taken: Vec::new(), space: 0 };
            let (mut done, mut rounds) = ((0, 0), 0);
            for space in spaces.iter().cycle() {
                if backlog.is_empty() {
                    break;
                }
                if cut == Some(rounds) {
                    let (bytes, frames) = backlog.cut();
                    done = (done.0 + bytes, done.1 + frames);
                    let end = encode::boundary(&wanted, io.taken.len());
                    wanted.truncate(end);
                }
                io.space += space;
                let now = backlog.write(&mut io).unwrap();
                done = (done.0 + now.bytes, done.1 + now.frames);
                rounds += 1;
            }
            prop_assert_eq!(&io.taken, &wanted);
            let all = pieces.iter().flatten().count() as u32;
            prop_assert_eq!(done, (pieces.iter().map(|sizes| frames(sizes).len()).sum(), all));
        }
    }

    #[test]
    fn a_ping_comes_before_the_next_piece_and_not_within_a_frame() {
        let (mut backlog, mut io) = (
            Backlog::default(),
            Narrow {
                taken: Vec::new(),
                space: 10,
            },
        );
        backlog.push(frames(&[20, 20]), 2);
        backlog.push(frames(&[3]), 1);
        backlog.write(&mut io).unwrap();
        backlog.ping();
        backlog.pong(b"a");
        backlog.pong(b"b");
        io.space = usize::MAX;
        let done = backlog.write(&mut io).unwrap();
        let wanted = [
            &frames(&[20, 20])[..],
            &encode::pong(b"b"),
            encode::PING,
            &frames(&[3]),
        ]
        .concat();
        assert_eq!((io.taken, done.frames), (wanted, 3));
        assert!(backlog.is_empty() && backlog.pieces.capacity() == 0);
    }
}
