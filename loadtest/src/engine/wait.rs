//! Waiting for sockets until a time, to some microseconds: what polls for events counts whole
//! milliseconds, which would be as much as a message takes.

use anyhow::Result;
use mio::{Events, Interest, Poll, Token, unix::SourceFd};
use nix::sys::{
    time::TimeSpec,
    timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};
use std::{
    io,
    os::fd::{AsFd, AsRawFd},
    time::{Duration, Instant},
};

const TOKEN: Token = Token(usize::MAX);
/// Shorter than this it is not worth to sleep.
const LEAST: Duration = Duration::from_micros(20);

pub(super) struct Wait {
    timer: TimerFd,
    is_awake: bool,
}

impl Wait {
    pub(super) fn new(poll: &Poll) -> Result<Self> {
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK)?;
        let fd = timer.as_fd().as_raw_fd();
        poll.registry()
            .register(&mut SourceFd(&fd), TOKEN, Interest::READABLE)?;
        let is_awake = false;
        Ok(Self { timer, is_awake })
    }

    /// Whether this thread asks again and again for what arrives instead of sleeping until it does.
    pub(super) fn stay_awake(&mut self, is_awake: bool) {
        self.is_awake = is_awake;
    }

    /// Waits for something to arrive, at most until then. Returns how long it asked in vain.
    pub(super) fn until(
        &self,
        until: Instant,
        poll: &mut Poll,
        events: &mut Events,
    ) -> Result<Duration> {
        let now = Instant::now();
        if !self.is_awake {
            let patience = self.patience(until.saturating_duration_since(now))?;
            polled(poll.poll(events, patience))?;
            return Ok(Duration::ZERO);
        }
        let mut last = now;
        loop {
            polled(poll.poll(events, Some(Duration::ZERO)))?;
            if !events.is_empty() || last >= until {
                return Ok(last - now);
            }
            last = Instant::now();
        }
    }

    /// Sets the timer to end the next wait after `wait`. Returns what to tell the poll.
    fn patience(&self, wait: Duration) -> Result<Option<Duration>> {
        if wait < LEAST {
            return Ok(Some(Duration::ZERO));
        }
        let after = Expiration::OneShot(TimeSpec::from_duration(wait));
        self.timer.set(after, TimerSetTimeFlags::empty())?;
        Ok(None)
    }

    pub(super) fn is(&self, token: Token) -> bool {
        token == TOKEN
    }
}

/// A signal is no error.
fn polled(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        other => other,
    }
}
