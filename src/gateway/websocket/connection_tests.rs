//! A connection in a time that the test makes.

use super::*;
use std::time::Duration;

/// What a session heard; it asks for this pause after each thing.
#[derive(Default)]
struct Heard {
    texts: Vec<String>,
    /// How many texts there were each time when it was told that this is all.
    submitted: Vec<usize>,
    overhead: usize,
    pongs: Vec<Duration>,
    pause: Option<Duration>,
}

impl Talk for Heard {
    fn receive(&mut self, message: Incoming<'_>) -> Option<Duration> {
        let text = String::from_utf8_lossy(message.bytes());
        self.texts.push(text.into_owned());
        self.pause
    }

    fn submit(&mut self) {
        self.submitted.push(self.texts.len());
    }

    fn charge_overhead(&mut self, bytes: usize) -> Option<Duration> {
        self.overhead += bytes;
        self.pause
    }

    fn ponged(&mut self, after: Duration) {
        self.pongs.push(after);
    }
}

/// Takes everything, or nothing.
#[derive(Default)]
struct Client {
    got: Vec<u8>,
    takes_nothing: bool,
}

impl Write for Client {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.takes_nothing {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.got.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const START: Duration = Duration::from_secs(1000);

fn at(seconds: u64) -> Duration {
    START + Duration::from_secs(seconds)
}

/// A frame of a client, with a mask of zeros.
fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind, 0x80 | payload.len() as u8, 0, 0, 0, 0];
    frame.extend(payload);
    frame
}

struct World {
    connection: Connection,
    heard: Heard,
    client: Client,
}

impl World {
    fn new() -> Self {
        Self {
            connection: Connection::new(START),
            heard: Heard::default(),
            client: Client::default(),
        }
    }

    fn read(&mut self, now: Duration, bytes: &[u8]) {
        self.connection
            .read(now, &mut bytes.to_vec(), Some(&mut self.heard));
    }

    fn tick(&mut self, now: Duration) {
        self.connection.tick(now, Some(&mut self.heard));
        self.write(now);
    }

    fn write(&mut self, now: Duration) {
        self.connection
            .write(now, &mut self.client)
            .expect("it is there");
    }

    fn got(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.client.got)
    }
}

#[test]
fn what_comes_at_once_is_submitted_at_once() {
    let mut world = World::new();
    let several = [
        frame(0x81, b"one"),
        frame(0x81, b"two"),
        frame(0x81, b"three"),
    ]
    .concat();
    world.read(at(1), &several);
    assert_eq!(world.heard.texts, ["one", "two", "three"]);
    assert_eq!(world.heard.submitted, [3]);
    // What was said before a frame that ends the session counts as well.
    world.read(at(2), &[frame(0x81, b"four"), vec![0xff]].concat());
    assert_eq!(world.heard.submitted, [3, 4]);
}

#[test]
fn a_silent_client_is_pinged_and_then_closed() {
    let mut world = World::new();
    assert_eq!(world.connection.deadline(), at(25));
    world.tick(at(25));
    assert_eq!(world.got(), encode::PING);
    world.read(at(27), &frame(0x8a, b""));
    assert_eq!(world.heard.pongs, [Duration::from_secs(2)]);
    world.tick(at(52));
    assert_eq!(
        (world.got(), world.connection.deadline()),
        (encode::PING.to_vec(), at(62))
    );
    // Half a frame is no sign of life.
    world.read(at(60), &[0x81]);
    world.tick(at(62));
    assert_eq!(world.got(), encode::close(Close::Silent));
    assert_eq!(world.connection.is_open(), Err(Some(Close::Silent)));
    world.tick(at(63));
    assert!(!world.connection.is_over());
    world.tick(at(64));
    assert!(world.connection.is_over(), "it does not close its side");
}

#[test]
fn after_a_freeze_a_client_is_pinged_before_it_is_judged() {
    let mut world = World::new();
    world.tick(at(1000));
    assert_eq!(world.got(), encode::PING);
    assert_eq!(world.connection.deadline(), at(1010));
}

#[test]
fn a_client_that_says_more_than_it_may_is_heard_later() {
    let mut world = World::new();
    world.heard.pause = Some(Duration::from_secs(1));
    let both = [frame(0x81, b"one"), frame(0x81, b"two")].concat();
    world.read(at(0), &both);
    assert_eq!(
        (&world.heard.texts[..], world.connection.listens()),
        (&["one".into()][..], false)
    );
    assert_eq!(world.connection.deadline(), at(1));
    world.tick(at(1));
    assert_eq!(world.heard.texts, ["one", "two"]);
    world.heard.pause = None;
    world.tick(at(2));
    assert!(world.connection.listens());
}

#[test]
fn fragments_without_an_end_are_charged() {
    let mut world = World::new();
    world.read(at(0), &frame(0x01, b""));
    let fragments = frame(0x00, b"").repeat(40_000);
    world.read(at(0), &fragments);
    assert_eq!(world.heard.overhead, fragments.len() + 6);
    world.heard.pause = Some(Duration::from_secs(1));
    world.read(at(0), &fragments);
    assert!(!world.connection.listens(), "it is refused");
}

#[test]
fn the_end_comes_behind_what_waits_but_for_a_client_that_must_not_stay_for_it() {
    for (close, drops) in [
        (Close::Replaced, false),
        (Close::Slow, true),
        (Close::Operator, true),
        (Close::Expired, true),
    ] {
        let mut world = World::new();
        let mut event = Vec::new();
        encode::put(
            &mut event,
            &crate::wire::Encoded::Binary(b"event".as_slice().into()),
        );
        world.connection.push(event.clone().into(), 1);
        world.connection.close(at(0), close);
        assert!(
            !world.connection.push(event.clone().into(), 1),
            "nothing follows"
        );
        world.write(at(0));
        let wanted = if drops { Vec::new() } else { event };
        assert_eq!(world.got(), [wanted, encode::close(close)].concat());
        assert_eq!(world.connection.is_open(), Err(Some(close)));
        world.read(at(1), &frame(0x81, b"x"));
        assert!(!world.connection.is_over() && world.heard.texts.is_empty());
        world.read(at(1), &frame(0x88, b""));
        assert!(world.connection.is_over(), "both have closed");
    }
}

#[test]
fn a_client_that_never_takes_the_close_frame_is_dropped() {
    let mut world = World::new();
    world.client.takes_nothing = true;
    world.connection.close(at(0), Close::Operator);
    world.write(at(0));
    assert!(!world.connection.is_over() && !world.connection.listens());
    world.tick(at(5));
    assert!(world.connection.is_over());
}

#[test]
fn a_client_that_takes_nothing_and_pings_is_dropped() {
    let mut world = World::new();
    world.client.takes_nothing = true;
    for second in 0..40 {
        world.read(at(second), &frame(0x89, b"p"));
        world.write(at(second));
        world.tick(at(second));
    }
    assert_eq!(world.connection.is_open(), Ok(()));
    world.tick(at(40));
    assert!(world.connection.is_over());
}

#[test]
fn the_close_of_a_client_is_answered() {
    let mut world = World::new();
    world.read(at(0), &frame(0x88, &[0x0f, 0xa0]));
    assert_eq!(world.connection.is_open(), Err(None));
    world.write(at(0));
    assert_eq!(world.got(), [0x88, 2, 0x0f, 0xa0]);
    assert!(world.connection.is_over());
}

#[test]
fn a_client_that_cannot_be_understood_is_read_to_its_end() {
    let mut world = World::new();
    world.read(at(0), &[0xff, 0xff]);
    assert_eq!(world.connection.is_open(), Err(Some(Close::Protocol)));
    world.write(at(0));
    assert!(world.connection.has_finished() && world.connection.listens());
    world.read(at(1), &frame(0x88, b""));
    assert!(!world.connection.is_over(), "that means nothing any more");
    world.tick(at(2));
    assert!(world.connection.is_over());
}
