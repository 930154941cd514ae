//! One WebSocket from its upgrade to its end, as a state machine: bytes and time go in, messages go
//! to its session, bytes come out. Pure: no socket, no clock; the time is an argument, counted from
//! anywhere.
//!
//! It promises what docs/protocol.md says of silence, pings and close codes; that a client which
//! says more than it may is not listened to; and that a client which takes nothing is given up.

use super::{
    backlog::{Backlog, Done},
    encode,
    frame::{Item, MESSAGE, Parser},
};
use crate::{gateway::Close, wire::Incoming};
use bytes::Bytes;
use std::{
    io::{self, Write},
    time::Duration,
};

/// Silence after which the client is pinged (contract with clients).
pub(super) const SILENCE: Duration = Duration::from_secs(25);
/// Silence after the ping, after which it is closed (contract with clients).
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long the close frame may take to get out.
pub(super) const CLOSE_DEADLINE: Duration = Duration::from_secs(5);
/// How long the client may take to close its side, so that the close frame is not lost with the
/// connection.
pub(super) const CLOSE_LINGER: Duration = Duration::from_secs(2);
/// How long a client may take nothing of what waits for it. Longer than the silence after which it
/// is closed with a code.
pub(super) const WRITE_DEADLINE: Duration = Duration::from_secs(40);
/// Bytes beside messages (heads of frames, fragments of a message that does not end) that are read
/// before they are charged. More than the largest message, which is charged when it is whole.
const SLICE: isize = MESSAGE as isize + 64 * 1024;

/// Whom a connection carries messages to. What is received returns how long not to listen.
pub(super) trait Talk {
    /// A message of the client; more may follow before [`Self::submit`].
    fn receive(&mut self, message: Incoming<'_>) -> Option<Duration>;
    /// All that had come was received: it may go on its way together.
    fn submit(&mut self);
    /// Bytes of protocol overhead, charged to the client's limits.
    fn charge_overhead(&mut self, bytes: usize) -> Option<Duration>;
    /// The client answered a ping.
    fn ponged(&mut self, after: Duration);
}

/// A WebSocket.
pub(super) struct Connection {
    parser: Parser,
    state: State,
    /// Bytes that were read and are not looked at while nothing is listened to.
    unread: Vec<u8>,
}

struct State {
    backlog: Backlog,
    /// Bytes that were read and not charged. Negative: a part of a message was charged as overhead,
    /// and again with the message.
    uncharged: isize,
    /// When the last message was heard.
    heard: Duration,
    pinged: Option<Duration>,
    /// Until when nothing is listened to.
    paused: Option<Duration>,
    /// Since when the client has taken nothing of what waits for it.
    stuck: Option<Duration>,
    /// Why to end when nothing waits any more.
    ending: Option<Close>,
    phase: Phase,
}

/// How far it is on its way to its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// Nothing but a close frame goes out any more; the session is over, for this reason.
    Closing(Option<Close>, Duration, Linger),
    /// The close frame is out; the client may still send.
    Lingering(Option<Close>, Duration, Linger),
    /// The socket can be dropped.
    Over(Option<Close>),
}

/// What comes after the close frame.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Linger {
    /// Nothing: the client has closed.
    None,
    /// The close frame of the client is waited for.
    Frames,
    /// The client cannot be understood any more; what it sends has to be read, for a connection
    /// that is dropped with unread bytes is reset.
    Bytes,
}

impl Connection {
    pub(super) fn new(now: Duration) -> Self {
        let state = State {
            backlog: Backlog::default(),
            uncharged: 0,
            heard: now,
            pinged: None,
            paused: None,
            stuck: None,
            ending: None,
            phase: Phase::Open,
        };
        Self {
            parser: Parser::default(),
            state,
            unread: Vec::new(),
        }
    }

    /// Whether its session goes on; the reason when not, if the server has one.
    pub(super) fn is_open(&self) -> Result<(), Option<Close>> {
        match self.state.phase {
            Phase::Open => Ok(()),
            Phase::Closing(why, ..) | Phase::Lingering(why, ..) | Phase::Over(why) => Err(why),
        }
    }

    /// Whether the socket can be dropped.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state.phase, Phase::Over(_))
    }

    /// Whether nothing will follow on the server's side.
    pub(super) fn has_finished(&self) -> bool {
        matches!(self.state.phase, Phase::Lingering(_, _, Linger::Bytes))
    }

    /// Whether what the client sends is read now. What is not read stays with the client.
    pub(super) fn listens(&self) -> bool {
        match self.state.phase {
            Phase::Open => self.state.paused.is_none(),
            Phase::Lingering(..) => true,
            Phase::Closing(..) | Phase::Over(_) => false,
        }
    }

    /// Whether all that is for the client is written.
    pub(super) fn has_written(&self) -> bool {
        self.state.backlog.is_empty()
    }

    /// Whether frames may be written to the socket directly.
    pub(super) fn is_ready(&self) -> bool {
        self.state.backlog.is_empty() && self.state.phase == Phase::Open
    }

    /// Whole frames for the client, behind all that waits; what is for a session that is over is
    /// dropped. Whether they were taken.
    pub(super) fn push(&mut self, bytes: Bytes, frames: u32) -> bool {
        let takes = self.state.phase == Phase::Open && self.state.ending.is_none();
        if takes {
            self.state.backlog.push(bytes, frames);
        }
        takes
    }

    /// Whole frames whose first bytes were written directly; the client takes no more now.
    pub(super) fn push_rest(&mut self, now: Duration, bytes: Bytes, frames: u32, written: usize) {
        self.state.backlog.push_rest(bytes, frames, written);
        self.state.stuck = Some(now);
    }

    /// Ends it behind what waits, or at once when the reason says so.
    pub(super) fn close(&mut self, now: Duration, close: Close) {
        if self.state.phase != Phase::Open || self.state.ending.is_some() {
            return;
        }
        self.state.ending = Some(close);
        if close.drops_backlog() || self.state.backlog.is_empty() {
            self.state.finish(now, close, Linger::Frames);
        }
    }

    /// Ends it at once: whatever waits is dropped.
    pub(super) fn break_off(&mut self, now: Duration, close: Close) {
        if self.state.phase == Phase::Open {
            self.state.finish(now, close, Linger::Frames);
        }
    }

    /// The socket has failed, or the client has closed it.
    pub(super) fn lose(&mut self) {
        let why = self.is_open().err().flatten();
        self.state.phase = Phase::Over(why);
    }

    /// Bytes of the client.
    pub(super) fn read(&mut self, now: Duration, bytes: &mut [u8], talk: Option<&mut impl Talk>) {
        match (self.state.phase, talk) {
            (Phase::Open, Some(talk)) => {
                self.state.uncharged += bytes.len() as isize;
                self.hear(now, bytes, talk);
            }
            (Phase::Lingering(_, _, Linger::Frames), _) if !self.waits_for_close(bytes) => {
                self.lose();
            }
            _ => {}
        }
    }

    /// Goes on after a pause.
    fn resume(&mut self, now: Duration, talk: &mut impl Talk) {
        self.state.paused = None;
        let mut unread = std::mem::take(&mut self.unread);
        self.hear(now, &mut unread, talk);
    }

    fn hear(&mut self, now: Duration, bytes: &mut [u8], talk: &mut impl Talk) {
        self.receive(now, bytes, talk);
        talk.submit();
    }

    fn receive(&mut self, now: Duration, bytes: &mut [u8], talk: &mut impl Talk) {
        let mut at = 0;
        while at < bytes.len() {
            if self.state.phase != Phase::Open {
                return;
            }
            if self.state.paused.is_some() {
                self.unread = bytes[at..].to_vec();
                return;
            }
            match self.parser.next(&mut bytes[at..]) {
                Ok((count, item)) => {
                    at += count;
                    if let Some(item) = item {
                        self.state.take(now, &item, talk);
                    }
                }
                Err(close) => return self.state.finish(now, close, Linger::Bytes),
            }
        }
        // Lets go of a message that was given out.
        let _ = self.parser.next(&mut []);
        self.state.charge_overhead(now, talk);
    }

    /// Whether the client has not closed yet, and can be understood.
    fn waits_for_close(&mut self, bytes: &mut [u8]) -> bool {
        let mut at = 0;
        while at < bytes.len() {
            match self.parser.next(&mut bytes[at..]) {
                Ok((_, Some(Item::Close(_)))) | Err(_) => return false,
                Ok((count, _)) => at += count,
            }
        }
        true
    }

    /// Writes what waits, as much as the client takes.
    pub(super) fn write(&mut self, now: Duration, io: &mut impl Write) -> io::Result<Done> {
        let mut done = self.state.backlog.write(io)?;
        if let (Phase::Open, Some(close), true) = (
            self.state.phase,
            self.state.ending,
            self.state.backlog.is_empty(),
        ) {
            self.state.finish(now, close, Linger::Frames);
            done.is_blocked = self.state.backlog.write(io)?.is_blocked;
        }
        let state = &mut self.state;
        if done.is_progress || state.backlog.is_empty() {
            state.stuck = None;
        }
        if done.is_blocked {
            state.stuck.get_or_insert(now);
        }
        if let (Phase::Closing(why, _, linger), true) = (state.phase, state.backlog.is_empty()) {
            state.phase = match linger {
                Linger::None => Phase::Over(why),
                linger => Phase::Lingering(why, now + CLOSE_LINGER, linger),
            };
        }
        Ok(done)
    }

    /// Does what is due. Called when [`Self::deadline`] has come, or at any other time.
    pub(super) fn tick(&mut self, now: Duration, talk: Option<&mut impl Talk>) {
        let state = &mut self.state;
        match state.phase {
            Phase::Open => {
                if state
                    .stuck
                    .is_some_and(|since| now >= since + WRITE_DEADLINE)
                {
                    return self.lose();
                }
                // By the ping and not by the silence: after a freeze of this process everybody has
                // been silent for long.
                if state.pinged.is_some_and(|at| now >= at + PATIENCE) {
                    return state.finish(now, Close::Silent, Linger::Frames);
                }
                if state.pinged.is_none() && now >= state.heard + SILENCE {
                    state.pinged = Some(now);
                    state.backlog.ping();
                }
                if let (Some(until), Some(talk)) = (state.paused, talk)
                    && now >= until
                {
                    self.resume(now, talk);
                }
            }
            Phase::Closing(_, until, _) | Phase::Lingering(_, until, _) if now >= until => {
                self.lose();
            }
            _ => {}
        }
    }

    /// When something is due next.
    pub(super) fn deadline(&self) -> Duration {
        let state = &self.state;
        match state.phase {
            Phase::Open => {
                let silent = state
                    .pinged
                    .map_or(state.heard + SILENCE, |at| at + PATIENCE);
                let stuck = state.stuck.map(|since| since + WRITE_DEADLINE);
                let others = [stuck, state.paused].into_iter().flatten();
                others.fold(silent, Duration::min)
            }
            Phase::Closing(_, until, _) | Phase::Lingering(_, until, _) => until,
            Phase::Over(_) => Duration::ZERO,
        }
    }
}

impl State {
    fn take(&mut self, now: Duration, item: &Item<'_>, talk: &mut impl Talk) {
        self.heard = now;
        let pinged = self.pinged.take();
        let pause = match *item {
            Item::Text(text) => {
                self.uncharged -= text.len() as isize;
                talk.receive(Incoming::Text(text))
            }
            Item::Binary(bytes) => {
                self.uncharged -= bytes.len() as isize;
                talk.receive(Incoming::Binary(bytes))
            }
            Item::Ping(bytes) => {
                self.uncharged -= bytes.len() as isize;
                self.backlog.pong(bytes);
                talk.charge_overhead(bytes.len())
            }
            Item::Pong(bytes) => {
                self.uncharged -= bytes.len() as isize;
                if let Some(pinged) = pinged {
                    talk.ponged(now - pinged);
                }
                talk.charge_overhead(bytes.len())
            }
            Item::Close(why) => {
                self.backlog.cut();
                self.backlog.push(encode::echo(why).into(), 0);
                self.phase = Phase::Closing(None, now + CLOSE_DEADLINE, Linger::None);
                None
            }
        };
        self.paused = pause.map(|pause| now + pause);
    }

    /// Charges a slice of what was read beside messages.
    fn charge_overhead(&mut self, now: Duration, talk: &mut impl Talk) {
        if self.phase != Phase::Open || self.uncharged < SLICE {
            return;
        }
        match talk.charge_overhead(self.uncharged as usize) {
            None => self.uncharged = 0,
            Some(pause) => self.paused = Some(now + pause),
        }
    }

    /// Sends the close frame, and nothing else but what is half written.
    fn finish(&mut self, now: Duration, close: Close, linger: Linger) {
        self.backlog.cut();
        self.backlog.push(encode::close(close).into(), 0);
        self.phase = Phase::Closing(Some(close), now + CLOSE_DEADLINE, linger);
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
