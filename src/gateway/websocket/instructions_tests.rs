//! What an event takes on its way out, in instructions: to frames, and to the sockets of a room.

use super::{
    connection, encode,
    event_loop::{Loop, MAIL},
    mailbox::Mailbox,
    tests::event_at,
    *,
};
use crate::{
    gateway::outbox::Limits, instructions, pressure::Pressure, room::Millis, wire::SharedEvent,
};
use mio::{Events, Poll, Waker};
use std::{io::Read, net::TcpListener};

/// Members whose sockets a loop has.
const MEMBERS: usize = 1000;

struct Silent;

impl connection::Talk for Silent {
    fn receive(&mut self, _: Incoming<'_>) -> Option<Duration> {
        None
    }

    fn submit(&mut self) {}

    fn charge_overhead(&mut self, _: usize) -> Option<Duration> {
        None
    }

    fn ponged(&mut self, _: Duration) {}
}

fn room() -> RoomId {
    RoomId::parse("aaa").unwrap()
}

fn event(seq: u64) -> SharedEvent {
    event_at(seq, Millis(1_700_000_000_000), 256)
}

#[test]
fn an_event_becomes_frames_of_json_and_of_protobuf() {
    let test = "an_event_becomes_frames_of_json_and_of_protobuf";
    instructions::check(module_path!(), test, || {
        let event = event(1);
        move || {
            let mut frames = Vec::new();
            for protocol in [Protocol::Json, Protocol::Proto] {
                encode::put(&mut frames, &event.encoded(protocol));
            }
            frames
        }
    });
}

/// A loop, the turns of a room to it, and what the members have of their sockets.
struct World {
    this: Loop,
    feeds: Feeds,
    members: Vec<TcpStream>,
    events: Events,
}

impl World {
    fn new() -> Self {
        rlimit::increase_nofile_limit(4096).unwrap();
        let poll = Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), MAIL).unwrap();
        let mailbox = Arc::new(Mailbox::new(waker));
        let mut world = Self {
            this: Loop::new(poll, mailbox.clone()),
            feeds: Feeds::default(),
            members: Vec::new(),
            events: Events::with_capacity(2 * MEMBERS),
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        for _ in 0..MEMBERS {
            let member = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (stream, _) = listener.accept().unwrap();
            stream.set_nonblocking(true).unwrap();
            let limits = Limits {
                bytes: 1024 * 1024,
                frames: 8192,
                pressure: Pressure::default(),
            };
            let way = Way::new(mailbox.clone(), room(), Protocol::Json, limits);
            world.feeds.join(&way);
            way.attach(Upgraded {
                stream,
                early: Bytes::new(),
                talk: Box::new(Silent),
                counted: None,
            });
            world.members.push(member);
        }
        world
    }

    /// Everybody gets an event. What is due meanwhile is not looked for: being counted takes long.
    fn send(&mut self, event: SharedEvent) {
        self.feeds.send(&[event]);
        assert!(self.this.work(&mut Vec::new()));
    }

    /// Everybody has got as many bytes as the frame of an event.
    fn receive(&mut self, event: &SharedEvent) {
        let mut frame = Vec::new();
        encode::put(&mut frame, &event.encoded(Protocol::Json));
        for member in &mut self.members {
            let mut got = vec![0; frame.len()];
            member.read_exact(&mut got).unwrap();
            assert_eq!(got, frame);
        }
    }
}

#[test]
fn an_event_is_written_to_a_thousand_members() {
    let test = "an_event_is_written_to_a_thousand_members";
    instructions::check(module_path!(), test, || {
        let mut world = World::new();
        assert!(world.this.go_round(&mut world.events, &mut Vec::new()));
        // The first one makes what the others find.
        world.send(event(1));
        world.receive(&event(1));
        let next = event(2);
        move || {
            world.send(next);
            world
        }
    });
}
