//! A loop with real sockets, and sessions that the test makes.

use super::*;
use crate::{
    gateway::{Close, outbox::Limits},
    pressure::Pressure,
    room::{Body, Event, Kind, Millis, Seq, UserId},
    wire::{Encoded, SharedEvent},
};
use futures::{SinkExt, StreamExt, future::join_all};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream as Socket},
    sync::mpsc,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

/// Beyond whatever a test waits for.
const LONG: Duration = Duration::from_secs(60);

/// Says what it hears back, and to the test; a panic on demand, at once or when it ends.
struct Session {
    way: Way,
    heard: mpsc::UnboundedSender<String>,
    breaks: bool,
}

impl Drop for Session {
    fn drop(&mut self) {
        assert!(!self.breaks || thread::panicking(), "the client wants it");
    }
}

impl connection::Talk for Session {
    fn receive(&mut self, message: Incoming<'_>) -> Option<Duration> {
        let text = String::from_utf8_lossy(message.bytes()).into_owned();
        assert_ne!(text, "panic", "the client wants it");
        self.breaks = text == "break";
        self.way.extend(&[Encoded::Text(text.clone().into())]);
        let _ = self.heard.send(text);
        None
    }

    fn submit(&mut self) {}

    fn charge_overhead(&mut self, _: usize) -> Option<Duration> {
        None
    }

    fn ponged(&mut self, _: Duration) {}
}

struct World {
    running: Running,
    listener: TcpListener,
    limits: Limits,
}

struct Client {
    way: Way,
    socket: WebSocketStream<Socket>,
    /// Ends with the session.
    heard: mpsc::UnboundedReceiver<String>,
}

impl World {
    async fn new(loops: usize) -> Self {
        Self {
            running: Loops::start(loops).unwrap(),
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            limits: Limits {
                bytes: 1024 * 1024,
                frames: 8192,
                pressure: Pressure::default(),
            },
        }
    }

    fn way(&self, crowd: usize) -> Way {
        let room = RoomId::parse("aaa").unwrap();
        let limits = self.limits.clone();
        self.running
            .loops()
            .way(&room, crowd, Protocol::Text, limits)
    }

    /// A client whose socket takes few bytes that it does not read, if `is_narrow`.
    async fn connect(&self, way: Way, is_narrow: bool) -> Client {
        let socket = TcpSocket::new_v4().unwrap();
        if is_narrow {
            socket.set_recv_buffer_size(4096).unwrap();
        }
        let connecting = socket.connect(self.listener.local_addr().unwrap());
        let (socket, accepted) = tokio::join!(connecting, self.listener.accept());
        let stream = accepted.unwrap().0.into_std().unwrap();
        let (tell, heard) = mpsc::unbounded_channel();
        let talk = Box::new(Session {
            way: way.clone(),
            heard: tell,
            breaks: false,
        });
        way.attach(Upgraded {
            stream,
            early: Bytes::new(),
            talk,
            counted: None,
        });
        let socket = WebSocketStream::from_raw_socket(socket.unwrap(), Role::Client, None).await;
        Client { way, socket, heard }
    }

    async fn client(&self) -> Client {
        self.connect(self.way(0), false).await
    }
}

impl Client {
    async fn next(&mut self) -> Message {
        let next = timeout(LONG, self.socket.next()).await;
        next.expect("something comes").expect("it is open").unwrap()
    }

    async fn text(&mut self) -> String {
        self.next().await.into_text().unwrap().to_string()
    }

    /// The code with which the server closes, after whatever it said before.
    async fn code(&mut self) -> u16 {
        loop {
            if let Message::Close(frame) = self.next().await {
                return frame.expect("a code").code.into();
            }
        }
    }

    async fn raw(&mut self, bytes: &[u8]) {
        self.socket.get_mut().write_all(bytes).await.unwrap();
    }

    /// That the session is over.
    async fn is_over(&mut self) {
        while timeout(LONG, self.heard.recv())
            .await
            .expect("it ends")
            .is_some()
        {}
    }
}

/// An event with a text of its own.
fn event(seq: u64, size: usize) -> SharedEvent {
    event_at(seq, Millis(0), size)
}

pub(super) fn event_at(seq: u64, at: Millis, size: usize) -> SharedEvent {
    let kind = Kind::Message {
        from: UserId::parse("harry").unwrap(),
        to: None,
        id: None,
        device: None,
        turn: None,
        request: None,
        body: Body::Text("x".repeat(size).into()),
    };
    let event = Event {
        seq: Seq(seq),
        at,
        kind,
        changes: Vec::new(),
    };
    SharedEvent::new(RoomId::parse("aaa").unwrap(), event)
}

fn seq(line: &str) -> Option<u64> {
    line.strip_prefix("[aaa:")?.split_once(' ')?.0.parse().ok()
}

#[tokio::test]
async fn a_thousand_members_get_every_turn_in_order_with_what_is_for_them_alone() {
    rlimit::increase_nofile_limit(4096).unwrap();
    let world = World::new(2).await;
    let mut feeds = Feeds::default();
    let mut clients = Vec::new();
    for n in 0..1000 {
        let client = world.connect(world.way(n), false).await;
        feeds.join(&client.way);
        clients.push(client);
    }
    // Who is live before the upgrade is over misses nothing.
    let early = world.way(0);
    feeds.join(&early);
    for turn in 0..40 {
        let events: Vec<_> = (1..=3).map(|n| event(turn * 3 + n, 100)).collect();
        feeds.caught_up().await;
        feeds.send(&events);
        for client in clients.iter().skip(turn as usize).step_by(7) {
            client
                .way
                .extend(&[Encoded::Text(format!("after {turn}").into())]);
        }
    }
    clients.push(world.connect(early, false).await);
    let reading = clients
        .iter_mut()
        .enumerate()
        .map(|(n, client)| async move {
            let mut head = 0;
            let mut own = Vec::new();
            while head < 120 {
                let line = client.text().await;
                match seq(&line) {
                    Some(seq) => {
                        assert_eq!(seq, head + 1);
                        head = seq;
                    }
                    None => {
                        assert_eq!(line, format!("after {}", head / 3 - 1));
                        own.push(head / 3 - 1);
                    }
                }
            }
            let n = n as u64;
            let wanted =
                (0..39).filter(|turn| n < 1000 && n >= *turn && (n - turn).is_multiple_of(7));
            assert!(
                own.iter().copied().filter(|turn| *turn < 39).eq(wanted),
                "client {n}"
            );
        });
    join_all(reading).await;
}

#[tokio::test]
async fn a_slow_reader_gets_all_that_fits_into_its_backlog() {
    let world = World::new(1).await;
    let (mut slow, mut quick) = (
        world.connect(world.way(0), true).await,
        world.client().await,
    );
    let mut feeds = Feeds::default();
    feeds.join(&slow.way);
    feeds.join(&quick.way);
    for turn in 1..=60 {
        feeds.send(&[event(turn, 10_000)]);
    }
    // It has got nothing so far, which costs others nothing.
    for turn in 1..=60 {
        assert_eq!(seq(&quick.text().await), Some(turn));
    }
    for turn in 1..=60 {
        assert_eq!(seq(&slow.text().await), Some(turn));
    }
}

#[tokio::test]
async fn who_is_too_slow_is_closed_behind_whole_frames() {
    let world = World::new(1).await;
    let mut slow = world.connect(world.way(0), true).await;
    let mut feeds = Feeds::default();
    feeds.join(&slow.way);
    let mut seqs = 1..;
    while slow.way.closed().is_none() {
        feeds.caught_up().await;
        feeds.send(&[event(seqs.next().unwrap(), 10_000)]);
    }
    assert_eq!(slow.way.closed(), Some(Close::Slow));
    slow.is_over().await;
    let mut head = 0;
    let close = loop {
        match slow.next().await {
            Message::Text(line) => {
                assert_eq!(seq(&line), Some(head + 1));
                head += 1;
            }
            Message::Close(close) => break close,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(close.map(|close| u16::from(close.code)), Some(4003));
    assert_eq!(slow.way.waiting_bytes(), 0);
}

#[tokio::test]
async fn a_client_that_catches_up_is_told_when_there_is_space() {
    let world = World::new(1).await;
    let mut client = world.connect(world.way(0), true).await;
    let events: Vec<_> = (1..=300).map(|seq| event(seq, 10_000)).collect();
    let (way, mut given) = (client.way.clone(), 0);
    let giving = async {
        while given < events.len() {
            assert!(way.space().await);
            given += way.fill(events[given..].iter());
        }
    };
    let reading = async {
        for wanted in 1..=300 {
            assert_eq!(seq(&client.text().await), Some(wanted));
        }
    };
    tokio::join!(giving, reading);
    way.close(Close::Operator);
    assert!(!way.space().await);
    assert_eq!(client.code().await, 4001);
}

#[tokio::test]
async fn messages_of_any_size_and_form_are_heard() {
    let world = World::new(1).await;
    let mut client = world.client().await;
    let large = "x".repeat(131_072);
    client
        .socket
        .send(Message::text(large.clone()))
        .await
        .unwrap();
    assert!(client.text().await == large);
    // "ab" in three fragments, with a ping between them; masks of zeros.
    let mut parts = vec![0x01, 0x81, 0, 0, 0, 0, b'a', 0x89, 0x81, 0, 0, 0, 0, b'p'];
    parts.extend([0x00, 0x81, 0, 0, 0, 0, b'b', 0x80, 0x80, 0, 0, 0, 0]);
    for byte in parts {
        client.raw(&[byte]).await;
    }
    assert_eq!(client.next().await, Message::Pong(b"p".as_slice().into()));
    assert_eq!(client.text().await, "ab");
    client.socket.close(None).await.unwrap();
    client.is_over().await;
    assert!(matches!(client.next().await, Message::Close(None)));
}

#[tokio::test]
async fn who_breaks_a_rule_is_told_which_and_ends_alone() {
    let world = World::new(1).await;
    let mut bystander = world.client().await;
    for (bytes, code) in [
        (&[0x81, 0x02, b'h', b'i'][..], 1002),
        (&[0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe][..], 1007),
        (&[0x82, 0xff, 0, 0, 0, 0, 0, 2, 0, 1, 0, 0, 0, 0][..], 1009),
    ] {
        let mut client = world.client().await;
        client.raw(bytes).await;
        assert_eq!(client.code().await, code);
        client.is_over().await;
    }
    let mut gone = world.client().await;
    gone.socket.get_mut().shutdown().await.unwrap();
    gone.is_over().await;
    let mut panics = world.client().await;
    panics.socket.send(Message::text("panic")).await.unwrap();
    panics.is_over().await;
    assert_eq!(
        panics
            .socket
            .get_mut()
            .read(&mut [0])
            .await
            .unwrap_or_default(),
        0
    );
    bystander
        .socket
        .send(Message::text("still here"))
        .await
        .unwrap();
    assert_eq!(bystander.text().await, "still here");
}

#[tokio::test]
async fn a_client_whose_upgrade_fails_leaves_nothing() {
    let world = World::new(1).await;
    let way = world.way(0);
    way.extend(&[Encoded::Text("welcome".to_owned().into())]);
    assert!(way.waiting_bytes() > 0);
    way.abandon();
    assert_eq!(way.waiting_bytes(), 0);
    // What comes after that finds nobody.
    let mut late = world.connect(way, false).await;
    late.is_over().await;
}

#[tokio::test]
async fn a_loop_that_breaks_sends_its_clients_away_and_another_one_goes_on() {
    let metrics = crate::metric::recorder().unwrap();
    let world = World::new(1).await;
    let (mut culprit, mut bystander) = (world.client().await, world.client().await);
    let mut blocked = world.connect(world.way(0), true).await;
    let mut feeds = Feeds::default();
    feeds.join(&bystander.way);
    feeds.join(&blocked.way);
    feeds.send(&[event(1, 10)]);
    assert_eq!(seq(&bystander.text().await), Some(1));
    // One that waits for its socket, and one whose backlog is half written.
    let early = world.way(0);
    early.extend(&[Encoded::Text("welcome".to_owned().into())]);
    let large = "x".repeat(900_000);
    blocked.way.extend(&[Encoded::Text(large.clone().into())]);

    culprit.socket.send(Message::text("break")).await.unwrap();
    assert_eq!(culprit.text().await, "break");
    culprit.socket.close(None).await.unwrap();
    assert_eq!(bystander.code().await, 4010);
    bystander.is_over().await;
    assert_eq!(bystander.way.closed(), Some(Close::Unavailable));
    assert_eq!(seq(&blocked.text().await), Some(1));
    assert_eq!(blocked.text().await, large, "no frame is cut");
    assert_eq!(blocked.code().await, 4010);
    world.connect(early, false).await.is_over().await;

    // Those who have not left yet hold nobody up, and who comes back is served.
    for seq in 2..=4 {
        feeds.send(&[event(seq, 900_000)]);
    }
    feeds.caught_up().await;
    let mut back = world.client().await;
    feeds.join(&back.way);
    feeds.send(&[event(5, 10)]);
    assert_eq!(seq(&back.text().await), Some(5));
    let counted = "safechat_socket_loops_replaced_total 1";
    assert!(metrics.render().lines().any(|line| line == counted));
}

#[tokio::test]
async fn the_end_of_the_loops_ends_all_sessions() {
    let world = World::new(2).await;
    let (mut one, mut two) = (
        world.client().await,
        world.connect(world.way(64), false).await,
    );
    let way = world.way(0);
    drop(world.running);
    one.is_over().await;
    two.is_over().await;
    way.close(Close::Operator);
}
