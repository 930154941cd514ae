//! A bare server: the least that can speak the protocol's JSON frames. One thread; whatever arrives
//! in one round becomes one run of frames, and ONE write to each member. It knows no cluster, no
//! key, no limit, and stores nothing, or one file. What a service is slower than this is what it
//! does for its users; nothing is faster.

mod member;
mod room;

use crate::engine::frames::{self, Opcode};
use anyhow::{Context, Result};
use member::Member;
use mio::{Events, Interest, Poll, Token, net::TcpListener};
use nix::sys::socket::{Backlog, listen};
use room::Room;
use std::{
    collections::{BTreeSet, HashMap},
    fs::File,
    io::{ErrorKind, Write},
    net::SocketAddr,
    path::Path,
};

const DOOR: Token = Token(usize::MAX);
/// Connections that may wait to be accepted.
const WAITING: i32 = 4096;

/// See the module.
pub struct Server {
    poll: Poll,
    door: TcpListener,
    members: Vec<Option<Member>>,
    rooms: Vec<Room>,
    room_by_name: HashMap<String, usize>,
    /// Every message is here, and on the disk, before anybody gets it.
    log: Option<File>,
}

/// What happened in a round.
#[derive(Default)]
struct Round {
    rooms: BTreeSet<usize>,
    members: BTreeSet<usize>,
    log: Vec<u8>,
}

impl Server {
    /// Listens. `log`: writes every message there, with one fdatasync per round.
    ///
    /// # Errors
    /// The port or the file cannot be had.
    pub fn new(at: SocketAddr, log: Option<&Path>) -> Result<Self> {
        let poll = Poll::new()?;
        let mut door = TcpListener::bind(at).with_context(|| format!("cannot listen at {at}"))?;
        listen(&door, Backlog::new(WAITING)?)?;
        poll.registry()
            .register(&mut door, DOOR, Interest::READABLE)?;
        let log = log.map(|path| {
            File::create(path).with_context(|| format!("cannot write {}", path.display()))
        });
        Ok(Self {
            poll,
            door,
            members: Vec::new(),
            rooms: Vec::new(),
            room_by_name: HashMap::new(),
            log: log.transpose()?,
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not know.
    pub fn address(&self) -> Result<SocketAddr> {
        Ok(self.door.local_addr()?)
    }

    /// Serves until the process is ended.
    ///
    /// # Errors
    /// The system gave out, or the log cannot be written.
    pub fn run(mut self) -> Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; 256 * 1024];
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            let mut round = Round::default();
            for event in &events {
                match event.token() {
                    DOOR => self.accept()?,
                    Token(id) => {
                        if event.is_writable() {
                            round.members.insert(id);
                        }
                        if event.is_readable() {
                            self.read(id, &mut buffer, &mut round);
                        }
                    }
                }
            }
            self.finish(round)?;
        }
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            match self.door.accept() {
                Ok((mut stream, _)) => {
                    stream.set_nodelay(true)?;
                    let both = Interest::READABLE | Interest::WRITABLE;
                    let token = Token(self.members.len());
                    self.poll.registry().register(&mut stream, token, both)?;
                    self.members.push(Some(Member::new(stream)));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("no further connection can be accepted"),
            }
        }
    }

    fn read(&mut self, id: usize, buffer: &mut Vec<u8>, round: &mut Round) {
        while let Some(member) = self.members.get_mut(id).and_then(Option::as_mut) {
            match member.read(buffer) {
                Ok(Some(filled)) => {
                    if self.heard(id, &mut buffer[..filled], round).is_none() {
                        self.drop(id);
                    }
                }
                Ok(None) => return,
                Err(_) => self.drop(id),
            }
        }
    }

    /// `None`: the member is to be dropped.
    fn heard(&mut self, id: usize, mut bytes: &mut [u8], round: &mut Round) -> Option<()> {
        round.members.insert(id);
        if self.members[id].as_ref()?.room.is_none() {
            let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
                self.members[id].as_mut()?.keep(bytes);
                return Some(());
            };
            self.join(id, std::str::from_utf8(&bytes[..end]).ok()?)?;
            bytes = &mut bytes[end + 4..];
        }
        loop {
            let Some(frame) = frames::first_of_client(bytes).ok()? else {
                self.members[id].as_mut()?.keep(bytes);
                return Some(());
            };
            let end = frame.payload.end;
            let payload = &bytes[frame.payload];
            match frame.opcode {
                Opcode::Data => self.said(id, payload, round)?,
                Opcode::Ping => self.members[id].as_mut()?.queue(10, payload),
                Opcode::Pong => {}
                Opcode::Close => return None,
            }
            bytes = &mut bytes[end..];
        }
    }

    fn join(&mut self, id: usize, head: &str) -> Option<()> {
        let path = head.lines().next()?.split(' ').nth(1)?;
        let (path, query) = path.split_once('?')?;
        let mut parts = path.trim_start_matches('/').split('/');
        let (Some("chat"), Some(name), Some("user"), Some(user)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        let number = match self.room_by_name.get(name) {
            Some(number) => *number,
            None => {
                self.rooms.push(Room::default());
                self.room_by_name
                    .insert(name.to_owned(), self.rooms.len() - 1);
                self.rooms.len() - 1
            }
        };
        let room = &mut self.rooms[number];
        let since = query
            .split('&')
            .find_map(|part| part.strip_prefix("since=")?.parse().ok());
        let member = self.members[id].as_mut()?;
        member.upgrade(head)?;
        (member.room, member.user) = (Some(number), user.to_owned());
        room.welcome(member, name, since);
        room.members.push(id);
        Some(())
    }

    fn said(&mut self, id: usize, payload: &[u8], round: &mut Round) -> Option<()> {
        let frame: serde_json::Value = serde_json::from_slice(payload).ok()?;
        let member = self.members[id].as_mut()?;
        let number = member.room?;
        let named = frame["id"].as_str()?;
        match frame["type"].as_str()? {
            "send" => {
                let text = frame["text"].as_str()?;
                let seq = self.rooms[number].append(&member.user, named, text);
                if self.log.is_some() {
                    round.log.extend(payload);
                }
                let answer = format!(
                    r#"{{"type":"journaled","id":"{named}","seq":{seq},"epoch":1,"duplicate":false}}"#
                );
                member.queue(1, answer.as_bytes());
                round.rooms.insert(number);
            }
            "ping" => {
                let answer = format!(r#"{{"type":"pong","id":"{named}"}}"#);
                member.queue(1, answer.as_bytes());
            }
            _ => {}
        }
        Some(())
    }

    /// Stores what was said, then writes to everybody, once each.
    fn finish(&mut self, round: Round) -> Result<()> {
        if let (Some(log), false) = (&mut self.log, round.log.is_empty()) {
            log.write_all(&round.log)?;
            log.sync_data()?;
        }
        let mut gone = Vec::new();
        for number in &round.rooms {
            let news = self.rooms[*number].news();
            for id in &self.rooms[*number].members {
                let member = self.members[*id].as_mut().expect("a member of the room");
                if member.write(&news).is_err() {
                    gone.push(*id);
                }
            }
        }
        for id in round.members {
            let member = self.members.get_mut(id).and_then(Option::as_mut);
            if member.is_some_and(|member| member.write(&[]).is_err()) {
                gone.push(id);
            }
        }
        for id in gone {
            self.drop(id);
        }
        Ok(())
    }

    fn drop(&mut self, id: usize) {
        let Some(mut member) = self.members.get_mut(id).and_then(Option::take) else {
            return;
        };
        // It is gone either way.
        let _ = self.poll.registry().deregister(&mut member.stream);
        if let Some(number) = member.room {
            self.rooms[number].members.retain(|other| *other != id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use safe_chat_client::Client;
    use std::thread;

    #[tokio::test]
    async fn a_client_joins_says_something_and_resumes() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let server = Server::new("127.0.0.1:0".parse().unwrap(), Some(&log)).unwrap();
        let url = format!("http://{}", server.address().unwrap());
        // It ends with the process of the tests.
        thread::spawn(move || server.run());
        let builder = Client::builder().gateway(&url).room("aaa").user("harry");
        let mut client = builder.clone().connect().await.unwrap();
        assert_eq!(client.send("Hello").await.unwrap().seq, 1);
        assert_eq!(client.send("again").await.unwrap().seq, 2);
        assert_eq!(client.next_event().await.unwrap().text(), Some("Hello"));
        client.ping().await.unwrap();
        let mut other = builder.user("charly").since(1).connect().await.unwrap();
        assert_eq!(other.next_event().await.unwrap().text(), Some("again"));
        let stored = std::fs::read_to_string(&log).unwrap();
        assert!(stored.contains("Hello"), "{stored}");
    }
}
