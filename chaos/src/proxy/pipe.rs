//! One direction of a connection: bytes are read, kept as long as the rules want, and written, in
//! order and within a bound.

use super::{Delay, Rules, Way};
use rand::{RngExt, rngs::SmallRng};
use std::{collections::VecDeque, io};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::tcp::{ReadHalf, WriteHalf},
    sync::watch,
    time::{Duration, Instant, sleep_until},
};

/// What is read at once.
const CHUNK: usize = 16 * 1024;
/// Bytes under way in one direction: beyond them the sender waits, as on a real line. Enough for 10
/// MB/s at a delay of 100 ms.
const UNDER_WAY: usize = 1024 * 1024;

/// Why a direction ended before its sender ended it.
pub(super) enum Error {
    /// A side is gone.
    Broken,
    /// By chance, as the rules say.
    Reset,
}

impl From<io::Error> for Error {
    fn from(_: io::Error) -> Self {
        Self::Broken
    }
}

/// Bytes that were read together, and when they may be written.
struct Chunk {
    bytes: Vec<u8>,
    written: usize,
    due: Instant,
}

/// Until the sender has ended its direction and the receiver has all of it.
pub(super) async fn run(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    delay: fn(&Rules) -> Delay,
    mut rng: SmallRng,
    mut rules: watch::Receiver<Rules>,
) -> Result<(), Error> {
    let mut chunks = VecDeque::<Chunk>::new();
    let (mut under_way, mut ended) = (0, false);
    // Throttled: when the next byte may be written.
    let mut free = Instant::now();
    let mut buffer = vec![0; CHUNK];
    loop {
        if ended && chunks.is_empty() {
            // An error: the receiver is gone, and has had all that there was.
            let _ = to.shutdown().await;
            return Ok(());
        }
        let now: Rules = *rules.borrow_and_update();
        let open = now.way == Way::Open;
        let most = now
            .bytes_per_second
            .map_or(CHUNK, |rate| CHUNK.min(rate.div_ceil(10) as usize));
        // New rules first: nothing passes after a cut. Then what waits, then more of it.
        tokio::select! {
            biased;
            changed = rules.changed() => changed.map_err(|_| Error::Broken)?,
            written = write(&mut to, chunks.front(), free, most), if open && !chunks.is_empty() => {
                let written = written?;
                under_way -= written;
                if let Some(rate) = now.bytes_per_second {
                    free = free.max(Instant::now()) + Duration::from_secs_f64(written as f64 / f64::from(rate));
                }
                if let Some(first) = chunks.front_mut() {
                    first.written += written;
                    if first.written == first.bytes.len() {
                        chunks.pop_front();
                    }
                }
                if is_unlucky(&mut rng, now.resets_per_kib, written) {
                    return Err(Error::Reset);
                }
            }
            read = from.read(&mut buffer), if open && !ended && under_way < UNDER_WAY => {
                let read = read?;
                ended = read == 0;
                under_way += read;
                let earliest = Instant::now() + random(&mut rng, delay(&now));
                let due = chunks.back().map_or(earliest, |last| last.due.max(earliest));
                if !ended {
                    chunks.push_back(Chunk { bytes: buffer[..read].to_vec(), written: 0, due });
                }
            }
        }
    }
}

/// Writes a part of the chunk when it is due. Dropped before it is done, it has written nothing.
async fn write(
    to: &mut WriteHalf<'_>,
    chunk: Option<&Chunk>,
    free: Instant,
    most: usize,
) -> io::Result<usize> {
    let Some(Chunk {
        bytes,
        written,
        due,
    }) = chunk
    else {
        return Ok(0);
    };
    let due = free.max(*due);
    // A timer of tokio takes a millisecond, even when it is late.
    if due > Instant::now() {
        sleep_until(due).await;
    }
    let rest = &bytes[*written..];
    to.write(&rest[..rest.len().min(most)]).await
}

fn random(rng: &mut SmallRng, Delay { least, jitter }: Delay) -> Duration {
    least + jitter.mul_f64(rng.random())
}

/// Whether a connection is reset after these bytes, when each KiB resets it with probability
/// `per_kib`.
fn is_unlucky(rng: &mut SmallRng, per_kib: f64, bytes: usize) -> bool {
    let survives = (1.0 - per_kib).powf(bytes as f64 / 1024.0);
    rng.random_bool((1.0 - survives).clamp(0.0, 1.0))
}
