//! Waiting for sockets until a time, to some microseconds: what polls for events counts whole
//! milliseconds, which would be as much as a message takes.

use anyhow::Result;
use mio::{Interest, Poll, Token, unix::SourceFd};
use nix::sys::{
    time::TimeSpec,
    timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};
use std::{
    os::fd::{AsFd, AsRawFd},
    time::Duration,
};

const TOKEN: Token = Token(usize::MAX);
/// Shorter than this it is not worth to sleep.
const LEAST: Duration = Duration::from_micros(20);

pub(super) struct Timer(TimerFd);

impl Timer {
    pub(super) fn new(poll: &Poll) -> Result<Self> {
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK)?;
        let fd = timer.as_fd().as_raw_fd();
        poll.registry()
            .register(&mut SourceFd(&fd), TOKEN, Interest::READABLE)?;
        Ok(Self(timer))
    }

    /// Sets itself to end the next wait after `wait`. Returns what to tell the poll.
    pub(super) fn wait(&self, wait: Duration) -> Result<Option<Duration>> {
        if wait < LEAST {
            return Ok(Some(Duration::ZERO));
        }
        let after = Expiration::OneShot(TimeSpec::from_duration(wait));
        self.0.set(after, TimerSetTimeFlags::empty())?;
        Ok(None)
    }

    pub(super) fn is(&self, token: Token) -> bool {
        token == TOKEN
    }
}
