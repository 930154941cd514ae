//! Many members of many rooms on one thread: they send at their times, whatever the answers do, and
//! check everything that they read. Reading and checking an event costs one comparison, so that one
//! core can watch a server that uses another one.
//!
//! A [`Dialect`] is what the server speaks, `session` is one socket, `frames` its WebSocket, `room`
//! what all members of a room see, `message` what was sent. What is measured goes into a
//! [`Recorder`].

mod dialect;
pub(crate) mod frames;
mod message;
mod room;
mod sealing;
mod session;
mod wait;

use crate::measure::Recorder;
use anyhow::{Context, Result, bail};
pub use dialect::Dialect;
use dialect::{Incoming, Seat};
use frames::Opcode;
use message::Messages;
use mio::{Events, Interest, Poll, Token};
use room::{Room, Seen};
use safe_chat_client::{CloseCode, Gateway};
pub(crate) use sealing::Sealing;
use session::{Join, Phase, Session};
use std::{
    collections::HashMap,
    io,
    net::{SocketAddr, ToSocketAddrs},
    time::{Duration, Instant},
};
use wait::Wait;

/// Bytes that are read at once.
const BUFFER: usize = 256 * 1024;
/// Sessions that connect at the same time.
const JOINING: usize = 256;
/// Broken promises that are kept word by word.
const QUOTED: usize = 20;

/// A session of an engine.
pub type Id = usize;

/// See the module.
pub struct Engine {
    poll: Poll,
    events: Events,
    wait: Wait,
    sessions: Vec<Option<Session>>,
    rooms: Vec<Room>,
    room_by_name: HashMap<String, usize>,
    messages: Messages,
    gateways: Vec<SocketAddr>,
    path: String,
    dialect: Dialect,
    sealing: Option<Sealing>,
    buffer: Vec<u8>,
    joined: usize,
    joining: usize,
    /// Sessions that are not where they have to be yet.
    behind: usize,
    /// What is measured.
    pub recorder: Recorder,
}

impl Engine {
    /// `urls`: gateways, which take turns. `bytes`: of text in a message.
    ///
    /// # Errors
    /// An address that cannot be used: TLS is for the checked clients, not for measuring.
    pub fn new(urls: &[String], bytes: usize, recorder: Recorder) -> Result<Self> {
        let mut gateways = Vec::new();
        let mut path = String::new();
        for url in urls {
            let gateway: Gateway = url.parse().map_err(anyhow::Error::msg)?;
            if gateway.is_secure() {
                bail!("{url}: a load test speaks plain WebSockets; measure TLS at a proxy");
            }
            let text = gateway.to_string();
            let rest = text.trim_start_matches("ws://");
            let (host, below) = rest.split_once('/').unwrap_or((rest, ""));
            if !below.is_empty() {
                path = format!("/{below}");
            }
            let host = if host.contains(':') {
                host.to_owned()
            } else {
                format!("{host}:80")
            };
            let found = host.to_socket_addrs().with_context(|| url.clone())?;
            gateways.extend(found.take(1));
        }
        let poll = Poll::new()?;
        let wait = Wait::new(&poll)?;
        Ok(Self {
            poll,
            events: Events::with_capacity(4096),
            wait,
            sessions: Vec::new(),
            rooms: Vec::new(),
            room_by_name: HashMap::new(),
            messages: Messages::new(bytes),
            gateways,
            path,
            dialect: Dialect::default(),
            sealing: None,
            buffer: vec![0; BUFFER],
            joined: 0,
            joining: 0,
            behind: 0,
            recorder,
        })
    }

    /// Speaks something else than the protocol of safe-chat.
    #[must_use]
    pub fn speaking(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// Begins to join a room; [`Self::settle_joins`] waits for all. `since`: resumes there.
    ///
    /// # Errors
    /// No socket.
    pub fn join(&mut self, room: &str, user: &str, since: Option<u64>) -> Result<Id> {
        while self.joining >= JOINING {
            self.turn(None)?;
        }
        let number = match self.room_by_name.get(room) {
            Some(number) => *number,
            None => {
                if let Some(sealing) = &mut self.sealing {
                    sealing.found(room, user)?;
                }
                self.rooms.push(Room::new(room.to_owned()));
                let number = self.rooms.len() - 1;
                self.room_by_name.insert(room.to_owned(), number);
                number
            }
        };
        let gateway = self.gateways[self.joined % self.gateways.len()];
        let from = gateway.ip().is_loopback() && gateway.is_ipv4();
        let from = from.then(|| session::own_address(self.joined));
        self.joined += 1;
        let mut session = Session::join(Join {
            gateway,
            from,
            dialect: self.dialect,
            path: &self.path,
            room: (number, room),
            user: user.to_owned(),
            since,
            is_proven: self.sealing.is_some(),
        })?;
        let id = self.sessions.len();
        let both = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        registry.register(&mut session.stream, Token(id), both)?;
        self.sessions.push(Some(session));
        self.joining += 1;
        Ok(id)
    }

    /// Waits until everybody who joins is in, and has what it missed.
    ///
    /// # Errors
    /// Somebody is not, in time.
    pub fn settle_joins(&mut self, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        while self.joining > 0 || self.behind > 0 {
            if Instant::now() > deadline {
                let (joining, behind) = (self.joining, self.behind);
                bail!(
                    "after {} s {joining} sessions wait to be let in and {behind} for what they missed",
                    within.as_secs_f64()
                );
            }
            self.turn(None)?;
        }
        Ok(())
    }

    /// Sessions that are there.
    pub fn live(&self) -> usize {
        self.sessions.iter().flatten().count()
    }

    /// Messages sent so far.
    pub fn sent(&self) -> usize {
        self.messages.len()
    }

    /// Whether a session is there.
    pub fn is_live(&self, id: Id) -> bool {
        self.sessions.get(id).is_some_and(Option::is_some)
    }

    /// The last place that a session has.
    pub fn last(&self, id: Id) -> Option<u64> {
        self.sessions.get(id)?.as_ref().map(|session| session.last)
    }

    /// Queues a message that was due then; [`Self::flush`] sends what is queued.
    pub fn queue(&mut self, id: Id, due: Instant) {
        let Some(session) = self.sessions.get_mut(id).and_then(Option::as_mut) else {
            self.recorder.count("not sent", "its session is gone");
            return;
        };
        let now = Instant::now();
        let room = &self.rooms[session.room].name;
        let number = self.messages.send(id, room, due, now);
        let id = message::id(number);
        let frame = match &mut self.sealing {
            None => self.dialect.send(room, id, self.messages.text(number)),
            Some(sealing) => match sealing.frame(room, (id, number), &mut self.messages) {
                Ok(frame) => frame,
                Err(error) => return self.recorder.count("not sent", &format!("{error:#}")),
            },
        };
        session.queue(1, frame.as_bytes());
        self.recorder.sent(due, now);
    }

    /// Asks a session's gateway whether it is there.
    pub fn ping(&mut self, id: Id) {
        if let Some(session) = self.sessions.get_mut(id).and_then(Option::as_mut)
            && session.phase == Phase::Live
            && session.pinged.is_none()
        {
            session.pinged = Some(Instant::now());
            let (opcode, payload) = self.dialect.ping();
            session.queue(opcode, payload);
            self.flush(id);
        }
    }

    /// Sends what is queued.
    pub fn flush(&mut self, id: Id) {
        let session = self.sessions.get_mut(id).and_then(Option::as_mut);
        if let Some(session) = session
            && let Err(error) = session.flush()
        {
            self.end(id, &Ended::Broken(error));
        }
    }

    /// Drops a session without a farewell.
    pub fn drop(&mut self, id: Id) {
        self.end(id, &Ended::Dropped);
    }

    /// Whether everything that was sent is answered, and everybody has read it.
    pub fn is_settled(&self) -> bool {
        self.messages.open == 0 && self.is_read()
    }

    /// Whether every message was seen by the last member of its room: cheap, for rooms whose members
    /// stay.
    pub fn is_seen_by_all(&self) -> bool {
        self.recorder.total.sent == self.recorder.total.seen_by_all
    }

    /// Whether everybody has read their rooms to the end.
    pub fn is_read(&self) -> bool {
        let ends: Vec<u64> = self.rooms.iter().map(Room::head).collect();
        let live = self.sessions.iter().flatten();
        live.filter(|session| session.phase == Phase::Live)
            .all(|session| session.last >= ends[session.room])
    }

    /// Waits until everything is settled. What is not, then, is a broken promise.
    ///
    /// # Errors
    /// The system does not tell what arrives.
    pub fn settle(&mut self, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        while !self.is_settled() {
            if Instant::now() > deadline {
                let gone = |id: Id| !self.sessions.get(id).is_some_and(Option::is_some);
                for _ in 0..self.messages.give_up(gone) {
                    self.recorder.count("not answered", "its session is gone");
                }
                let open = self.messages.open;
                if open > 0 {
                    self.broken(format!("{open} messages were never answered"));
                }
                let ends: Vec<u64> = self.rooms.iter().map(Room::head).collect();
                let behind: Vec<String> = (self.sessions.iter().flatten())
                    .filter(|it| it.phase == Phase::Live && it.last < ends[it.room])
                    .map(|it| format!("{} has {} of {}", it.user, it.last, ends[it.room]))
                    .collect();
                for what in behind {
                    self.broken(what);
                }
                break;
            }
            self.turn(None)?;
        }
        Ok(())
    }

    /// Whether this thread asks again and again for what arrives instead of sleeping until it does.
    /// A write to somebody asleep costs the writer more, as it has to wake that core: clients on
    /// other machines cost a server nothing of the kind, and how often this one sleeps depends on
    /// how fast the server is.
    pub fn stay_awake(&mut self, is_awake: bool) {
        self.wait.stay_awake(is_awake);
    }

    /// Handles what has arrived; waits for it, at most until then, or a tenth of a second.
    ///
    /// # Errors
    /// The system does not tell what arrives.
    pub fn turn(&mut self, until: Option<Instant>) -> Result<()> {
        let until = until.unwrap_or_else(|| Instant::now() + Duration::from_millis(100));
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        let spun = self.wait.until(until, &mut self.poll, &mut events)?;
        self.recorder.spun(spun);
        for event in &events {
            if self.wait.is(event.token()) {
                continue;
            }
            let id = event.token().0;
            if event.is_writable() {
                self.flush(id);
            }
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                self.readable(id);
            }
        }
        self.events = events;
        self.recorder.tick();
        Ok(())
    }

    fn readable(&mut self, id: Id) {
        let mut buffer = std::mem::take(&mut self.buffer);
        while let Some(session) = self.sessions.get_mut(id).and_then(Option::as_mut) {
            match session.read(&mut buffer) {
                Ok(Some(filled)) => {
                    let is_all = filled < buffer.len();
                    self.heard(id, &buffer[..filled]);
                    // A short read has emptied the socket: the system says when there is more.
                    if is_all {
                        break;
                    }
                }
                Ok(None) => break,
                Err(error) => self.end(id, &Ended::Broken(error)),
            }
        }
        self.buffer = buffer;
    }

    fn heard(&mut self, id: Id, mut bytes: &[u8]) {
        let now = Instant::now();
        let session = self.sessions[id].as_mut().expect("it was just read");
        if session.phase == Phase::Upgrading {
            let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
                session.keep(bytes);
                return;
            };
            if !bytes.starts_with(b"HTTP/1.1 101") {
                let answer = String::from_utf8_lossy(bytes);
                let status = answer.lines().next().unwrap_or_default().to_owned();
                self.end(id, &Ended::Refused(status));
                return;
            }
            session.phase = Phase::Joining;
            bytes = &bytes[end + 4..];
            let seat = Seat {
                room: &self.rooms[session.room].name,
                user: &session.user,
                since: session.resumes.then_some(session.last),
                is_proven: self.sealing.is_some(),
            };
            if let Some(opening) = self.dialect.opening(&seat) {
                session.queue(1, opening.as_bytes());
                self.flush(id);
            }
        }
        while let Some(session) = self.sessions[id].as_mut() {
            match frames::first(bytes) {
                Ok(Some(frame)) => {
                    let (payload, rest) =
                        (&bytes[frame.payload.clone()], &bytes[frame.payload.end..]);
                    self.frame(id, frame.opcode, payload, now);
                    bytes = rest;
                }
                Ok(None) => {
                    if !bytes.is_empty() {
                        session.keep(bytes);
                    }
                    return;
                }
                Err(what) => self.end(id, &Ended::Unreadable(what)),
            }
        }
    }

    fn frame(&mut self, id: Id, opcode: Opcode, payload: &[u8], now: Instant) {
        let session = self.sessions[id].as_mut().expect("it was just read");
        match opcode {
            Opcode::Data => {
                let dialect = self.dialect;
                dialect.messages(payload, &mut |message| self.message(id, message, now));
            }
            Opcode::Ping => {
                session.queue(10, payload);
                self.flush(id);
            }
            Opcode::Pong => self.ponged(id, now),
            Opcode::Close => {
                let code = match payload {
                    [high, low, ..] => u16::from_be_bytes([*high, *low]),
                    _ => 1005,
                };
                self.end(id, &Ended::Closed(code.into()));
            }
        }
    }

    fn message(&mut self, id: Id, message: &[u8], now: Instant) {
        match self.sessions[id].as_ref().map(|session| session.phase) {
            Some(Phase::Live) => self.data(id, message, now),
            Some(_) => self.greeted(id, message, now),
            // The message before it has ended the session.
            None => {}
        }
    }

    fn greeted(&mut self, id: Id, message: &[u8], now: Instant) {
        match self.dialect.read(message, 0) {
            Some(Incoming::Greeting) => {}
            Some(Incoming::Ping(answer)) => self.reply(id, answer),
            Some(Incoming::Challenge(nonce)) => self.prove(id, &nonce),
            Some(Incoming::Refused(why)) => self.end(id, &Ended::Refused(why)),
            Some(Incoming::Welcome { head, recovered }) => self.welcome(id, head, recovered, now),
            _ => {
                self.broken("the first frame is no welcome".into());
                self.end(id, &Ended::Unreadable("the first frame is no welcome"));
            }
        }
    }

    fn reply(&mut self, id: Id, text: &str) {
        if let Some(session) = self.sessions[id].as_mut() {
            session.queue(1, text.as_bytes());
            self.flush(id);
        }
    }

    fn welcome(&mut self, id: Id, head: u64, recovered: bool, now: Instant) {
        let session = self.sessions[id].as_mut().expect("it was just read");
        session.phase = Phase::Live;
        self.joining -= 1;
        if session.resumes && !recovered {
            let user = session.user.clone();
            self.broken(format!(
                "{user} resumed and was not recovered, although nothing was cut"
            ));
        }
        let session = self.sessions[id].as_mut().expect("it was just read");
        if session.resumes && session.last < head {
            session.goal = head;
            self.behind += 1;
        } else {
            session.last = head;
            session.counts = true;
            self.rooms[session.room].members += 1;
        }
        self.recorder.connected(now - session.began);
    }

    fn data(&mut self, id: Id, payload: &[u8], now: Instant) {
        let session = self.sessions[id].as_mut().expect("it was just read");
        let room = &mut self.rooms[session.room];
        let seen = room.see(&mut session.last, payload, self.dialect, &mut self.messages);
        if room.is_long() && room.head() == session.last {
            let number = session.room;
            self.trim(number);
        }
        match seen {
            Seen::Event {
                timing, is_last, ..
            } => {
                let micros = timing.map(|timing| timing.micros(now));
                self.recorder.delivered(payload.len(), micros, is_last);
                let session = self.sessions[id].as_mut().expect("it was just read");
                if session.goal > 0 && session.last >= session.goal {
                    (session.goal, session.counts) = (0, true);
                    self.rooms[session.room].members += 1;
                    self.behind -= 1;
                    self.recorder.caught_up(now - session.began);
                }
            }
            Seen::Other(other) => self.answer(id, other, now),
            Seen::Broken(what) => {
                let user = self.sessions[id].as_ref().map_or("", |it| &it.user);
                let what = format!("{user}: {what}");
                self.broken(what);
            }
        }
    }

    fn answer(&mut self, id: Id, incoming: Incoming, now: Instant) {
        match incoming {
            Incoming::Answered { id, seq } => match self.messages.answered(&id, seq) {
                Ok(Some(timing)) => {
                    let micros = timing.micros(now);
                    self.recorder.answered(micros);
                }
                Ok(None) => self.broken(format!("{id} was answered twice")),
                Err(what) => self.broken(what),
            },
            Incoming::Rejected { id, reason } => {
                self.recorder.count("rejected", &reason);
                if let Some(id) = id {
                    self.messages.rejected(&id);
                }
            }
            Incoming::Pong => self.ponged(id, now),
            Incoming::Ping(answer) => self.reply(id, answer),
            Incoming::Reset { seq, reason } => {
                self.broken(format!(
                    "a reset to seq {seq} ({reason}), although nothing was cut"
                ));
            }
            Incoming::Bye { reason } => self.recorder.count("bye", &reason),
            Incoming::Refused(why) => self.recorder.count("refused", &why),
            Incoming::Greeting
            | Incoming::Welcome { .. }
            | Incoming::Event(_)
            | Incoming::Challenge(_)
            | Incoming::Other => {}
        }
    }

    fn ponged(&mut self, id: Id, now: Instant) {
        if let Some(session) = self.sessions[id].as_mut()
            && let Some(pinged) = session.pinged.take()
        {
            self.recorder.ponged(now - pinged);
        }
    }

    fn trim(&mut self, room: usize) {
        let members = self.sessions.iter().flatten();
        let lasts = members
            .filter(|session| session.room == room && session.phase == Phase::Live)
            .map(|session| session.last);
        let lowest = lasts.min().unwrap_or(0);
        self.rooms[room].trim(lowest);
    }

    fn end(&mut self, id: Id, why: &Ended) {
        let Some(mut session) = self.sessions.get_mut(id).and_then(Option::take) else {
            return;
        };
        // It is gone either way.
        let _ = self.poll.registry().deregister(&mut session.stream);
        if session.phase != Phase::Live {
            self.joining -= 1;
        }
        if session.goal > 0 {
            self.behind -= 1;
        }
        if session.counts {
            self.rooms[session.room].members -= 1;
        }
        match why {
            Ended::Dropped => {}
            Ended::Closed(code) => self
                .recorder
                .count("closed", &format!("{} {code}", u16::from(*code))),
            Ended::Refused(status) => self.recorder.count("refused", status),
            Ended::Broken(error) => self.recorder.count("broken", &error.to_string()),
            Ended::Unreadable(what) => self.recorder.count("broken", what),
        }
    }

    fn broken(&mut self, what: String) {
        self.recorder.broken += 1;
        if self.recorder.quoted.len() < QUOTED {
            self.recorder.quoted.push(what);
        }
    }
}

/// Why a session ended.
enum Ended {
    Dropped,
    Closed(CloseCode),
    Refused(String),
    Broken(io::Error),
    Unreadable(&'static str),
}
