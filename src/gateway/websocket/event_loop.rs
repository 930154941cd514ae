//! A loop: one thread that owns the sockets of its clients. It reads what is readable into one
//! buffer, writes the turns of rooms straight to whoever has taken everything, and keeps a backlog
//! for whoever has not. Its rounds are bounded: a busy room, or a busy client, waits for the
//! others. What becomes of it after a panic is in [`broken`].

mod broken;

pub(super) use broken::{Current, run};

use super::{
    connection::Connection,
    deadlines::{Deadlines, Next},
    feed,
    line::{Line, NOWHERE},
    mailbox::{Mail, Mailbox},
    rooms::{Batch, Member, Rooms},
};
use crate::{
    gateway::{Close, metrics},
    listener::Counted,
};
use mio::{Events, Interest, Poll, Token, net::TcpStream};
use slab::Slab;
use std::{
    collections::VecDeque,
    io::{ErrorKind, Read, Write},
    net::Shutdown,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

/// The token of the mailbox; sockets have the others.
pub(super) const MAIL: Token = Token(usize::MAX);
/// Bytes that are read of one client at a time. Others wait, and a client that is not listened to
/// in the middle of them keeps the rest.
const READ: usize = 16 * 1024;
/// Sockets that are told of at a time.
const EVENTS: usize = 1024;
/// Clients that get turns of rooms, about, before it is looked again what else there is to do.
const DELIVERIES: usize = 4096;
/// The slot of a client that is gone.
const ENDED: u32 = NOWHERE - 1;

/// Whom a connection carries messages to.
pub(super) type Talk = Box<dyn super::connection::Talk + Send>;

struct Client {
    line: Arc<Line>,
    connection: Connection,
    /// `None`: the upgrade is not over yet.
    io: Option<TcpStream>,
    /// The session, as long as it goes on.
    talk: Option<Talk>,
    /// What the connection counts for.
    counted: Option<Counted>,
    member: Option<Member>,
    /// Tells it from others that have had its slot.
    serial: u32,
    /// When it is looked at next.
    next: Next,
    /// There may be something to read.
    is_readable: bool,
    /// Nothing follows what can be read.
    is_shut: bool,
    /// It takes nothing now; its socket says when it does.
    is_blocked: bool,
    is_to_read: bool,
    is_to_write: bool,
}

/// See the module.
pub(super) struct Loop {
    poll: Poll,
    mailbox: Arc<Mailbox>,
    clients: Slab<Box<Client>>,
    rooms: Rooms,
    deadlines: Deadlines<(u32, u32)>,
    buffer: Vec<u8>,
    to_read: VecDeque<u32>,
    to_write: Vec<u32>,
    began: Instant,
    now: Duration,
    serial: u32,
    /// Clients of a loop that broke, to be sent away.
    stranded: Vec<Client>,
}

impl Loop {
    pub(super) fn new(poll: Poll, mailbox: Arc<Mailbox>) -> Self {
        Self {
            poll,
            mailbox,
            clients: Slab::new(),
            rooms: Rooms::default(),
            deadlines: Deadlines::new(),
            buffer: vec![0; READ],
            to_read: VecDeque::new(),
            to_write: Vec::new(),
            began: Instant::now(),
            now: Duration::ZERO,
            serial: 0,
            stranded: Vec::new(),
        }
    }

    /// Runs until it is told to stop.
    fn run(&mut self) {
        let mut events = Events::with_capacity(EVENTS);
        let mut mail = Vec::new();
        self.send_away_stranded();
        while self.go_round(&mut events, &mut mail) {}
    }

    /// Waits until there is something to do, and does that. `false`: it was told to stop.
    pub(super) fn go_round(&mut self, events: &mut Events, mail: &mut Vec<Mail>) -> bool {
        if let Err(error) = self.poll.poll(events, self.patience())
            && error.kind() != ErrorKind::Interrupted
        {
            tracing::error!(%error, "a loop of WebSockets cannot wait for its sockets");
        }
        self.now = self.began.elapsed();
        events.iter().for_each(|event| self.ready(event));
        let goes_on = self.work(mail);
        // Last: whoever was heard is not silent, however long this process stood still.
        self.tick();
        goes_on
    }

    /// Does what there is to do.
    pub(super) fn work(&mut self, mail: &mut Vec<Mail>) -> bool {
        self.mailbox.take(mail);
        for mail in mail.drain(..) {
            if matches!(mail, Mail::Stop) {
                return false;
            }
            self.mail(mail);
        }
        self.read_round();
        self.deliver_round();
        self.write_round();
        true
    }

    /// How long to wait for sockets and mail.
    fn patience(&self) -> Option<Duration> {
        let is_busy = !self.to_read.is_empty() || !self.to_write.is_empty();
        if is_busy || self.rooms.are_waiting() || !self.mailbox.sleep() {
            return Some(Duration::ZERO);
        }
        let next = self.deadlines.next()?;
        Some(next.saturating_sub(self.began.elapsed()))
    }

    /// A socket can be read or written again.
    fn ready(&mut self, event: &mio::event::Event) {
        let Some(client) = self.clients.get_mut(event.token().0) else {
            return;
        };
        let slot = event.token().0 as u32;
        let is_shut = event.is_read_closed() || event.is_error();
        client.is_shut |= is_shut;
        client.is_readable |= is_shut || event.is_readable();
        if event.is_writable() {
            client.is_blocked = false;
        }
        self.queue(slot);
    }

    /// Puts a client in where it has something to do.
    fn queue(&mut self, slot: u32) {
        let client = &mut self.clients[slot as usize];
        if client.io.is_none() {
            return;
        }
        if client.is_readable && client.connection.listens() && !client.is_to_read {
            client.is_to_read = true;
            self.to_read.push_back(slot);
        }
        if !client.is_blocked && !client.connection.has_written() && !client.is_to_write {
            client.is_to_write = true;
            self.to_write.push(slot);
        }
    }

    fn mail(&mut self, mail: Mail) {
        match mail {
            Mail::Frames(line, bytes, frames) => {
                if let Some(slot) = self.slot(&line) {
                    self.catch_up(slot);
                    let client = &mut self.clients[slot as usize];
                    client.connection.push(bytes, frames);
                    self.queue(slot);
                }
            }
            Mail::Live(line, feed) => {
                if let Some(slot) = self.slot(&line) {
                    let protocol = feed::index(line.protocol());
                    let client = &mut self.clients[slot as usize];
                    if client.connection.is_open().is_ok() && client.member.is_none() {
                        client.member = Some(self.rooms.join(&feed, protocol, slot));
                    }
                }
            }
            Mail::Fanout(fanout) => self.rooms.fan_out(fanout),
            Mail::Close(line, close) => {
                if let Some(slot) = self.slot(&line) {
                    self.catch_up(slot);
                    self.leave(slot);
                    self.clients[slot as usize]
                        .connection
                        .close(self.now, close);
                    self.settle(slot);
                }
            }
            Mail::Gone(line) => {
                if let Some(slot) = self.slot(&line)
                    && self.clients[slot as usize].io.is_none()
                {
                    self.remove(slot);
                }
            }
            Mail::Socket(line, upgraded) => {
                if let Some(slot) = self.slot(&line) {
                    self.attach(slot, *upgraded);
                }
            }
            Mail::Stop => {}
        }
    }

    /// Where a client is, made if it is new; `None`: it is gone.
    fn slot(&mut self, line: &Arc<Line>) -> Option<u32> {
        match line.slot.load(Relaxed) {
            ENDED => None,
            NOWHERE => Some(self.begin(line.clone())),
            slot => Some(slot),
        }
    }

    fn begin(&mut self, line: Arc<Line>) -> u32 {
        self.serial = self.serial.wrapping_add(1);
        let (serial, connection) = (self.serial, Connection::new(self.now));
        let (mut next, slot) = (Next::NONE, self.clients.vacant_key() as u32);
        let deadline = connection.deadline();
        self.deadlines.set(&mut next, (slot, serial), deadline);
        self.clients.insert(Box::new(Client {
            line: line.clone(),
            connection,
            io: None,
            talk: None,
            counted: None,
            member: None,
            serial,
            next,
            is_readable: false,
            is_shut: false,
            is_blocked: false,
            is_to_read: false,
            is_to_write: false,
        }));
        line.slot.store(slot, Relaxed);
        slot
    }

    fn attach(&mut self, slot: u32, upgraded: super::Upgraded) {
        let super::Upgraded {
            stream,
            early,
            talk,
            counted,
        } = upgraded;
        let mut io = TcpStream::from_std(stream);
        let token = Token(slot as usize);
        let interests = Interest::READABLE | Interest::WRITABLE;
        let client = &mut self.clients[slot as usize];
        client.talk = Some(talk);
        client.counted = counted;
        if let Err(error) = self.poll.registry().register(&mut io, token, interests) {
            tracing::error!(%error, "a socket cannot be waited for: its client is dropped");
            client.connection.lose();
            return self.settle(slot);
        }
        client.io = Some(io);
        if !early.is_empty() {
            self.hear(slot, &mut early.to_vec());
        }
        self.settle(slot);
    }

    /// Gives a client what waits of its room: what is for it alone comes behind that.
    fn catch_up(&mut self, slot: u32) {
        let client = &mut *self.clients[slot as usize];
        let Some(member) = &mut client.member else {
            return;
        };
        let mut is_within = true;
        for (bytes, frames) in self.rooms.catch_up(member) {
            is_within &= client.put(bytes, frames);
        }
        if !is_within {
            self.close_slow(slot);
        }
    }

    fn read_round(&mut self) {
        for _ in 0..self.to_read.len() {
            let Some(slot) = self.to_read.pop_front() else {
                return;
            };
            let client = self.clients.get_mut(slot as usize);
            if client.is_some_and(|client| std::mem::take(&mut client.is_to_read)) {
                self.read(slot);
                self.settle(slot);
            }
        }
    }

    fn read(&mut self, slot: u32) {
        let client = &mut self.clients[slot as usize];
        let Some(io) = client.io.as_mut().filter(|_| client.connection.listens()) else {
            return;
        };
        let mut buffer = std::mem::take(&mut self.buffer);
        match io.read(&mut buffer) {
            Ok(0) => client.connection.lose(),
            Ok(count) => {
                // All was there, unless the end is.
                client.is_readable = count == buffer.len() || client.is_shut;
                self.hear(slot, &mut buffer[..count]);
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => client.is_readable = false,
                ErrorKind::Interrupted => {}
                _ => client.connection.lose(),
            },
        }
        self.buffer = buffer;
    }

    /// Gives bytes of a client to its session. A panic costs this client only.
    fn hear(&mut self, slot: u32, bytes: &mut [u8]) {
        let (client, now) = (&mut *self.clients[slot as usize], self.now);
        let heard = catch_unwind(AssertUnwindSafe(|| {
            client.connection.read(now, bytes, client.talk.as_mut());
        }));
        if heard.is_err() {
            client.connection.lose();
        }
    }

    /// Writes turns of rooms to their live clients.
    fn deliver_round(&mut self) {
        let mut count = 0;
        while count < DELIVERIES
            && let Some(batch) = self.rooms.next()
        {
            count += self.deliver(&batch);
            self.now = self.began.elapsed();
        }
    }

    fn deliver(&mut self, batch: &Batch) -> usize {
        let (mut all, mut slow, mut lost) = (0, Vec::new(), Vec::new());
        for protocol in 0..3 {
            let members = self.rooms.members(batch.room, protocol);
            let (bytes, frames) = match members.is_empty() {
                true => Default::default(),
                false => batch.whole(protocol),
            };
            let mut written = 0;
            // Empty: those who are here have gone already, as the room knows.
            for slot in members.iter().filter(|_| !bytes.is_empty()) {
                let client = &mut *self.clients[*slot as usize];
                let Some(member) = &client.member else {
                    continue;
                };
                let is_ready = client.connection.is_ready() && !client.is_blocked;
                let is_direct = is_ready && batch.is_new_to(member);
                let Some(io) = client.io.as_mut().filter(|_| is_direct) else {
                    for (bytes, frames) in batch.rest(&member.clone()) {
                        if !client.put(bytes, frames) {
                            slow.push(*slot);
                            break;
                        }
                    }
                    if !client.is_blocked && !client.is_to_write && client.io.is_some() {
                        client.is_to_write = true;
                        self.to_write.push(*slot);
                    }
                    continue;
                };
                let count = match io.write(&bytes) {
                    Ok(count) if count == bytes.len() => {
                        written += 1;
                        continue;
                    }
                    Ok(count) => count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                    Err(_) => {
                        lost.push(*slot);
                        continue;
                    }
                };
                client.is_blocked = true;
                client
                    .connection
                    .push_rest(self.now, bytes.clone(), frames, count);
                if !client.line.count(bytes.len(), frames as usize) {
                    slow.push(*slot);
                }
            }
            metrics::written(frames as usize * written, written);
            all += members.len();
            self.rooms.put_back(batch.room, protocol, members);
        }
        slow.into_iter().for_each(|slot| self.close_slow(slot));
        for slot in lost {
            self.clients[slot as usize].connection.lose();
            self.settle(slot);
        }
        all
    }

    fn close_slow(&mut self, slot: u32) {
        metrics::slow();
        self.clients[slot as usize]
            .connection
            .close(self.now, Close::Slow);
        self.settle(slot);
    }

    fn write_round(&mut self) {
        for slot in std::mem::take(&mut self.to_write) {
            let client = self.clients.get_mut(slot as usize);
            if client.is_some_and(|client| std::mem::take(&mut client.is_to_write)) {
                self.write(slot);
                self.settle(slot);
            }
        }
    }

    fn write(&mut self, slot: u32) {
        let client = &mut *self.clients[slot as usize];
        let Some(io) = client.io.as_mut().filter(|_| !client.is_blocked) else {
            return;
        };
        match client.connection.write(self.now, io) {
            Ok(done) => {
                client.is_blocked = done.is_blocked;
                if done.frames > 0 {
                    metrics::written(done.frames as usize, 1);
                    client.line.release(done.bytes, done.frames as usize);
                }
                if client.connection.has_finished() {
                    // A connection that is gone shows when it is read.
                    let _ = io.shutdown(Shutdown::Write);
                }
            }
            Err(_) => client.connection.lose(),
        }
    }

    /// Does what is due by now.
    fn tick(&mut self) {
        for ((slot, serial), told) in self.deadlines.advance(self.now) {
            let (now, client) = (self.now, self.clients.get_mut(slot as usize));
            let Some(client) = client.filter(|client| client.serial == serial) else {
                continue;
            };
            let client = &mut **client;
            if !client.next.is_told(told) {
                continue;
            }
            let ticked = catch_unwind(AssertUnwindSafe(|| {
                client.connection.tick(now, client.talk.as_mut());
            }));
            if ticked.is_err() {
                client.connection.lose();
            }
            self.settle(slot);
        }
    }

    /// Follows a client's connection where it has gone: ends its session, drops the socket, sees
    /// to what is due and to be done next.
    fn settle(&mut self, slot: u32) {
        let client = &mut *self.clients[slot as usize];
        if let Err(why) = client.connection.is_open() {
            client.line.end(why);
            let talk = client.talk.take();
            self.leave(slot);
            drop(talk);
        }
        let client = &mut *self.clients[slot as usize];
        if client.connection.is_over() {
            return self.remove(slot);
        }
        let deadline = client.connection.deadline();
        let name = (slot, client.serial);
        self.deadlines.set(&mut client.next, name, deadline);
        self.queue(slot);
    }

    /// A client gets no turns any more.
    fn leave(&mut self, slot: u32) {
        let Some(place) = self.clients[slot as usize].member.take() else {
            return;
        };
        if let Some(moved) = self.rooms.leave(place)
            && let Some(member) = &mut self.clients[moved as usize].member
        {
            member.moved_to(place);
        }
    }

    fn remove(&mut self, slot: u32) {
        self.leave(slot);
        let mut client = self.clients.remove(slot as usize);
        if let Some(io) = &mut client.io {
            // One that is closed is waited for no more anyway.
            let _ = self.poll.registry().deregister(io);
        }
        // Its address may connect again.
        drop(client.counted.take());
        if self.clients.len() * 4 < self.clients.capacity() {
            self.clients.shrink_to_fit();
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.line.slot.store(ENDED, Relaxed);
        self.line.end(None);
    }
}

impl Client {
    /// Puts frames of its room into its backlog; whether that is within its bounds.
    fn put(&mut self, bytes: bytes::Bytes, frames: u32) -> bool {
        let size = bytes.len();
        !self.connection.push(bytes, frames) || self.line.count(size, frames as usize)
    }
}
