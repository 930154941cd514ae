//! The way of lines to stderr. Nothing that becomes of stderr's reader may hold a node up: lines
//! wait in a bounded queue for a thread of their own. What does not fit or cannot be written is
//! dropped and counted.

use nix::sys::signal::{SigSet, Signal};
use std::{
    io::{self, ErrorKind, Write},
    mem,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

/// Bytes that wait at most: hours of a quiet node, some seconds of one that logs at level debug.
const WAITING: usize = 1024 * 1024;
/// How often is tried, while nothing else is logged, to say that lines were lost; and how long a
/// non-blocking stderr that takes nothing is left alone.
const RETRY: Duration = Duration::from_secs(1);

/// The queue and its thread.
#[derive(Default)]
pub(super) struct Lines {
    queue: Mutex<Queue>,
    changed: Condvar,
    dropped: AtomicU64,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<u8>,
    /// Whether the thread is writing what was taken out of `waiting`.
    writing: bool,
    /// Lines dropped since that was last said.
    unsaid: u64,
}

impl Lines {
    /// Starts the thread. `say_lost` logs how many lines were dropped; it is called when writing
    /// may work again, and what it logs comes through this queue.
    pub(super) fn start(
        to: impl Write + Send + 'static,
        say_lost: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Arc<Self>> {
        let lines = Arc::new(Self::default());
        let worker = lines.clone();
        thread::Builder::new().name("log".into()).spawn(move || {
            // A terminal with `tostop` stops a background process that writes to it, all threads of
            // it; not where the signal for that is blocked. If it cannot be blocked, only that is
            // lost.
            let _ = SigSet::from(Signal::SIGTTOU).thread_block();
            worker.write_all_lines(to, say_lost);
        })?;
        Ok(lines)
    }

    /// Queues whole lines, or drops them when the queue is full. Never waits for the reader.
    pub(super) fn push(&self, text: &[u8]) {
        let mut queue = self.lock();
        if queue.waiting.len() + text.len() <= WAITING {
            queue.waiting.extend_from_slice(text);
            drop(queue);
            self.changed.notify_all();
        } else {
            self.lose(&mut queue, lines_in(text));
        }
    }

    /// Lines that were dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Waits until everything is written, for at most `patience`.
    pub(super) fn flush(&self, patience: Duration) {
        let busy = |queue: &mut Queue| queue.writing || !queue.waiting.is_empty();
        // Whether it was in time makes no difference to the caller, who ends the process.
        drop(self.changed.wait_timeout_while(self.lock(), patience, busy));
    }

    fn write_all_lines(&self, mut to: impl Write, say_lost: impl Fn(u64)) {
        let (mut batch, mut torn) = (Vec::new(), false);
        loop {
            // What the notice in this batch says was lost; unsaid again when it cannot be written.
            let said = self.next_batch(&mut batch, &say_lost);
            if mem::take(&mut torn) {
                batch.insert(0, b'\n');
            }
            if let Err(left) = write(&mut to, &batch) {
                torn = left < batch.len() && batch[batch.len() - left - 1] != b'\n';
                let mut queue = self.lock();
                let lost = lines_in(&batch[batch.len() - left..]);
                self.lose(&mut queue, lost.saturating_sub(u64::from(said > 0)));
                queue.unsaid += said;
            }
        }
    }

    /// Waits for lines; while lines are lost and unsaid, has that said from time to time. Returns
    /// how many lost lines the batch speaks of.
    fn next_batch(&self, batch: &mut Vec<u8>, say_lost: &impl Fn(u64)) -> u64 {
        batch.clear();
        let mut queue = self.lock();
        queue.writing = false;
        self.changed.notify_all();
        let empty = |queue: &mut Queue| queue.waiting.is_empty();
        if queue.unsaid == 0 {
            queue = unpoisoned(self.changed.wait_while(queue, empty));
        } else {
            queue = unpoisoned(self.changed.wait_timeout_while(queue, RETRY, empty)).0;
        }
        let mut said = 0;
        // The notice needs room for itself; older lines go first, for they are from before the
        // loss.
        if queue.unsaid > 0 && queue.waiting.len() < WAITING / 2 {
            said = mem::take(&mut queue.unsaid);
            drop(queue);
            say_lost(said);
            queue = self.lock();
        }
        mem::swap(batch, &mut queue.waiting);
        queue.writing = true;
        said
    }

    fn lose(&self, queue: &mut Queue, lines: u64) {
        queue.unsaid += lines;
        self.dropped.fetch_add(lines, Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        unpoisoned(self.queue.lock())
    }
}

/// Writes everything, or returns how many bytes at the end could not be written.
fn write(to: &mut impl Write, text: &[u8]) -> Result<(), usize> {
    let mut rest = text;
    while !rest.is_empty() {
        match to.write(rest) {
            Ok(0) => return Err(rest.len()),
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Another program made the terminal or pipe non-blocking; to this thread it is a slow
            // one.
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::park_timeout(RETRY / 20),
            Err(_) => return Err(rest.len()),
        }
    }
    Ok(())
}

fn lines_in(text: &[u8]) -> u64 {
    text.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// What the queue holds stays sound wherever a holder of its lock panics.
fn unpoisoned<T>(locked: Result<T, PoisonError<T>>) -> T {
    locked.unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// A reader that takes each write when the test says so, or refuses it.
    struct Reader {
        verdicts: Receiver<bool>,
        taken: Sender<String>,
    }

    impl Write for Reader {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            match self.verdicts.recv() {
                Ok(true) => {
                    let _ = self.taken.send(String::from_utf8_lossy(text).into_owned());
                    Ok(text.len())
                }
                _ => Err(ErrorKind::BrokenPipe.into()),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct World {
        lines: Arc<Lines>,
        verdict: Sender<bool>,
        taken: Receiver<String>,
    }

    /// Lines that say what was lost as `lost N`.
    fn world() -> World {
        let (verdict, verdicts) = channel();
        let (taken_in, taken) = channel();
        let reader = Reader {
            verdicts,
            taken: taken_in,
        };
        let (ready, lines_of) = channel::<Arc<Lines>>();
        let here = Mutex::new((lines_of, None));
        let say_lost = move |lost| {
            let mut here = unpoisoned(here.lock());
            let lines = match here.1.take() {
                Some(lines) => lines,
                None => here.0.recv().unwrap(),
            };
            lines.push(format!("lost {lost}\n").as_bytes());
            here.1 = Some(lines);
        };
        let lines = Lines::start(reader, say_lost).unwrap();
        ready.send(lines.clone()).unwrap();
        World {
            lines,
            verdict,
            taken,
        }
    }

    #[test]
    fn lines_are_written_in_order_and_waited_for() {
        let world = world();
        world.verdict.send(true).unwrap();
        world.lines.push(b"a\nb\n");
        assert_eq!(world.taken.recv().unwrap(), "a\nb\n");
        world.verdict.send(true).unwrap();
        world.lines.push(b"c\n");
        world.lines.flush(Duration::MAX);
        assert_eq!(world.taken.try_recv().unwrap(), "c\n");
        assert_eq!(world.lines.dropped(), 0);
    }

    #[test]
    fn what_a_stopped_reader_leaves_no_room_for_is_dropped_counted_and_said() {
        let world = world();
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        // One batch is in the hands of the thread, which waits for the reader; the queue takes 1024
        // more.
        world.lines.push(b"first\n");
        while !world.lines.lock().writing {
            thread::yield_now();
        }
        for _ in 0..WAITING / line.len() + 7 {
            world.lines.push(&line);
        }
        assert_eq!(world.lines.dropped(), 7);
        for _ in 0..3 {
            world.verdict.send(true).unwrap();
        }
        assert_eq!(world.taken.recv().unwrap(), "first\n");
        assert_eq!(world.taken.recv().unwrap().len(), WAITING);
        assert_eq!(world.taken.recv().unwrap(), "lost 7\n");
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_said_when_it_can_be_again() {
        let world = world();
        world.verdict.send(false).unwrap();
        world.lines.push(b"a\nb\n");
        world.lines.flush(Duration::MAX);
        // Refused again, with the notice, which itself is no lost line.
        world.verdict.send(false).unwrap();
        world.lines.push(b"c\n");
        world.lines.flush(Duration::MAX);
        world.verdict.send(true).unwrap();
        world.lines.push(b"d\n");
        assert_eq!(world.taken.recv().unwrap(), "d\nlost 3\n");
        assert_eq!(world.lines.dropped(), 3);
    }

    #[test]
    fn nobody_waits_longer_than_patience_for_a_stopped_reader() {
        let world = world();
        world.lines.push(b"a\n");
        world.lines.flush(Duration::ZERO);
        assert!(world.taken.try_recv().is_err());
    }
}
