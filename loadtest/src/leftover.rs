//! The beginning of a frame that came without its end, kept until more is read. Sockets share one
//! buffer; only who has such a beginning holds memory.

use std::io::{self, ErrorKind, Read};

/// Bytes that were read and make no whole frame yet.
#[derive(Default)]
pub(crate) struct Leftover(Vec<u8>);

impl Leftover {
    /// Reads once into `buffer`, behind what was left over, and makes it larger for that if need
    /// be; how many bytes are there now. [`ErrorKind::UnexpectedEof`]: the other side has closed.
    /// After an error nothing is lost.
    pub(crate) fn read(&mut self, io: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let kept = self.0.len();
        if buffer.len() < 2 * kept {
            buffer.resize(2 * kept, 0);
        }
        buffer[..kept].copy_from_slice(&self.0);
        match io.read(&mut buffer[kept..])? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            read => {
                self.0 = Vec::new();
                Ok(kept + read)
            }
        }
    }

    /// Keeps the beginning of a frame.
    pub(crate) fn keep(&mut self, rest: &[u8]) {
        self.0 = rest.to_vec();
    }
}
