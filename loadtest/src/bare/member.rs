//! A member of the bare server: its socket, and what it did not take yet.

use crate::engine::frames;
use crate::leftover::Leftover;
use mio::net::TcpStream;
use std::io::{self, ErrorKind, Write};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

pub(super) struct Member {
    pub(super) stream: TcpStream,
    /// `None`: it has not asked for one yet.
    pub(super) room: Option<usize>,
    pub(super) user: String,
    unread: Leftover,
    unsent: Vec<u8>,
}

impl Member {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            room: None,
            user: String::new(),
            unread: Leftover::default(),
            unsent: Vec::new(),
        }
    }

    /// Answers the request for an upgrade.
    pub(super) fn upgrade(&mut self, head: &str) -> Option<()> {
        let header = |wanted: &str| {
            head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case(wanted).then(|| value.trim())
            })
        };
        let accept = derive_accept_key(header("Sec-WebSocket-Key")?.as_bytes());
        let protocol = header("Sec-WebSocket-Protocol")?;
        self.unsent.extend(
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n"
            )
            .bytes(),
        );
        Some(())
    }

    pub(super) fn queue(&mut self, opcode: u8, payload: &[u8]) {
        frames::write_of_server(&mut self.unsent, opcode, payload);
    }

    /// Bytes that are frames already.
    pub(super) fn queue_frames(&mut self, frames: &[u8]) {
        self.unsent.extend(frames);
    }

    /// Writes what waits and these frames, in one call if it waits for nothing.
    pub(super) fn write(&mut self, frames: &[u8]) -> io::Result<()> {
        if self.unsent.is_empty() {
            let sent = once(&mut self.stream, frames)?;
            self.unsent.extend(&frames[sent..]);
            return Ok(());
        }
        self.unsent.extend(frames);
        let sent = once(&mut self.stream, &self.unsent)?;
        self.unsent.drain(..sent);
        Ok(())
    }

    /// Reads once, behind what was left over. `None`: nothing more is here.
    pub(super) fn read(&mut self, buffer: &mut Vec<u8>) -> io::Result<Option<usize>> {
        match self.unread.read(&mut self.stream, buffer) {
            Ok(there) => Ok(Some(there)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn keep(&mut self, rest: &[u8]) {
        self.unread.keep(rest);
    }
}

/// How much of it the system took.
fn once(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    if bytes.is_empty() {
        return Ok(0);
    }
    match stream.write(bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}
