//! One member of a room: a socket that is never waited for, and how far it has read.

use super::{
    dialect::{Dialect, Seat},
    frames,
};
use crate::leftover::Leftover;
use anyhow::{Context, Result};
use mio::net::TcpStream;
use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use socket2::{Domain, Socket, Type};
use std::{
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Instant,
};

/// Sessions of one own address: it has 28,000 ports.
const PER_ADDRESS: usize = 20_000;

/// How far a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The request is under way.
    Upgrading,
    /// It waits for its `welcome`.
    Joining,
    Live,
}

pub(super) struct Session {
    pub(super) stream: TcpStream,
    pub(super) phase: Phase,
    pub(super) room: usize,
    pub(super) user: String,
    /// The last place that it has.
    pub(super) last: u64,
    /// Whether it resumes, from `last` on.
    pub(super) resumes: bool,
    /// Up to here it has to read until it has all that it missed.
    pub(super) goal: u64,
    /// Whether the room counts it.
    pub(super) counts: bool,
    pub(super) began: Instant,
    pub(super) pinged: Option<Instant>,
    /// A frame of which the rest is missing.
    unread: Leftover,
    unsent: Vec<u8>,
}

/// Where and as whom a session is made.
pub(super) struct Join<'a> {
    pub(super) gateway: SocketAddr,
    /// The own address: one has too few ports for very many sessions.
    pub(super) from: Option<SocketAddr>,
    pub(super) dialect: Dialect,
    /// Before what the dialect asks for.
    pub(super) path: &'a str,
    pub(super) room: (usize, &'a str),
    pub(super) user: String,
    pub(super) since: Option<u64>,
    /// Whether it proves its key.
    pub(super) is_proven: bool,
}

impl Session {
    /// Begins to connect.
    pub(super) fn join(join: Join<'_>) -> Result<Self> {
        let socket = Socket::new(Domain::for_address(join.gateway), Type::STREAM, None)
            .context("no socket: raise the limit of open files (ulimit -n)")?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(from) = join.from {
            // The port is chosen at the connect: one that is still closing to another server, or
            // to this one, does not count as taken.
            setsockopt(&socket, IpBindAddressNoPort, &true)?;
            socket.bind(&from.into())?;
        }
        match socket.connect(&join.gateway.into()) {
            Err(error) if error.raw_os_error() != Some(nix::libc::EINPROGRESS) => {
                return Err(error).with_context(|| format!("cannot connect to {}", join.gateway));
            }
            _ => {}
        }
        let (user, (room, name)) = (join.user, join.room);
        let seat = Seat {
            room: name,
            user: &user,
            since: join.since,
            is_proven: join.is_proven,
        };
        let (target, protocol) = join.dialect.target(&seat);
        let protocol = protocol.map_or(String::new(), |protocol| {
            format!("Sec-WebSocket-Protocol: {protocol}\r\n")
        });
        let request = format!(
            "GET {}{target} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{protocol}\r\n",
            join.path, join.gateway
        );
        Ok(Self {
            stream: TcpStream::from_std(socket.into()),
            phase: Phase::Upgrading,
            room,
            user,
            last: join.since.unwrap_or(0),
            resumes: join.since.is_some(),
            goal: 0,
            counts: false,
            began: Instant::now(),
            pinged: None,
            unread: Leftover::default(),
            unsent: request.into_bytes(),
        })
    }

    /// Queues a frame; [`Self::flush`] sends what is queued.
    pub(super) fn queue(&mut self, opcode: u8, payload: &[u8]) {
        frames::write(&mut self.unsent, opcode, payload);
    }

    /// Sends as much as is taken; the rest follows when the socket says that it takes more.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(sent) if sent == self.unsent.len() => self.unsent = Vec::new(),
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if is_for_now(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads once into a buffer that all sessions share, behind what was left over. `None`: nothing
    /// more is here.
    pub(super) fn read(&mut self, buffer: &mut Vec<u8>) -> io::Result<Option<usize>> {
        match self.unread.read(&mut self.stream, buffer) {
            Ok(there) => Ok(Some(there)),
            Err(error) if is_for_now(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps the beginning of a frame.
    pub(super) fn keep(&mut self, rest: &[u8]) {
        self.unread.keep(rest);
    }
}

fn is_for_now(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected | io::ErrorKind::Interrupted
    )
}

/// The own address of the nth session.
pub(super) fn own_address(n: usize) -> SocketAddr {
    let n = n / PER_ADDRESS;
    let [low, high] = [(n % 250) as u8 + 1, (n / 250) as u8 + 1];
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 1, high, low)), 0)
}
