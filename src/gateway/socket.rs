//! A WebSocket and its session. One task per connection: it reads, and writes all that waits in the outbox with one flush.
//!
//! This is the boundary behind which a faster engine can come: it gets a byte stream after the upgrade, and a [`Session`].

use super::{Close, Session, Taken, metrics, outbox::BATCH};
use crate::wire::{Encoded, Incoming};
use bytes::Bytes;
use futures::{Sink, SinkExt, Stream, StreamExt};
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, Sleep, sleep, sleep_until, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        error::ProtocolError,
        protocol::{
            CloseFrame, Role, WebSocketConfig,
            frame::{
                Frame,
                coding::{Data, OpCode},
            },
        },
    },
};

/// The largest message, all fragments (contract with clients).
const MESSAGE: usize = 131_072;
/// Small, because there is one per connection, mostly idle.
const READ_BUFFER: usize = 4 * 1024;
/// Bytes of a frame that go out at once. Few are larger: the members of a large room, for example. They go out in fragments.
const PART: usize = 512 * 1024;
/// Silence after which the client is pinged (contract with clients).
const SILENCE: Duration = Duration::from_secs(25);
/// Silence after the ping, after which it is closed (contract with clients).
const PATIENCE: Duration = Duration::from_secs(10);
/// Messages that are read before it is looked again for what is to be written.
const READS: u32 = 32;
/// How long the close frame may take to get out.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);
/// How long the client may take to close its side, so that the close frame is not lost with the connection.
const CLOSE_LINGER: Duration = Duration::from_secs(2);

struct Socket<S> {
    ws: WebSocketStream<S>,
    /// What is left of a large frame.
    rest: Option<Bytes>,
    /// Something is not flushed yet.
    dirty: bool,
    reads: u32,
    /// Until when nothing is read.
    hold: Option<Pin<Box<Sleep>>>,
    heard: Instant,
    pinged: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

/// What happens next.
enum Turn {
    Read(Message),
    Write(Vec<Encoded>),
    /// To write what is left of a large frame.
    Rest(Bytes),
    End(Close),
    /// The client broke the rules; its side cannot be understood any more.
    Broken(Close),
    Gone,
    Tick,
}

/// Serves a client until one side ends it.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(io: S, mut session: Session) {
    let sizes = WebSocketConfig::default().max_message_size(Some(MESSAGE)).max_frame_size(Some(MESSAGE));
    // Nothing is written before the flush. The most is for pongs to a client that pings and takes nothing; beyond it only the last one is kept.
    let config = sizes.read_buffer_size(READ_BUFFER).write_buffer_size(2 * BATCH).max_write_buffer_size(2 * BATCH + PART);
    let ws = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
    let heard = Instant::now();
    let timer = Box::pin(sleep_until(heard + SILENCE));
    let mut socket = Socket { ws, rest: None, dirty: false, reads: 0, hold: None, heard, pinged: None, timer };
    let (close, broken) = match socket.talk(&mut session).await {
        Turn::End(close) => (close, false),
        Turn::Broken(close) => (close, true),
        _ => return,
    };
    session.close(close);
    drop(session);
    socket.say_goodbye(close, broken).await;
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// Carries messages both ways; returns why it ends.
    async fn talk(&mut self, session: &mut Session) -> Turn {
        loop {
            let turn = std::future::poll_fn(|cx| self.poll_turn(session, cx)).await;
            let going = match turn {
                Turn::Read(message) => {
                    self.read(session, &message);
                    Ok(())
                }
                Turn::Write(frames) => self.write(frames),
                Turn::Rest(rest) => self.write_part(rest, Data::Continue),
                Turn::Tick => match self.tick() {
                    Ok(()) => Ok(()),
                    Err(Silent) => return Turn::End(Close::Silent),
                },
                end => return end,
            };
            if going.is_err() {
                return Turn::Gone;
            }
        }
    }

    /// Reading comes before writing, for a client that sends is alive; but only so many messages in a row.
    fn poll_turn(&mut self, session: &Session, cx: &mut Context<'_>) -> Poll<Turn> {
        if self.timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Turn::Tick);
        }
        if let Poll::Ready(close) = session.outbox().poll_cut(cx) {
            return Poll::Ready(Turn::End(close));
        }
        if self.reads < READS
            && self.listens(cx)
            && let Poll::Ready(read) = Pin::new(&mut self.ws).poll_next(cx)
        {
            self.reads += 1;
            return Poll::Ready(match read {
                Some(Ok(message)) => Turn::Read(message),
                Some(Err(error)) => broken(&error).map_or(Turn::Gone, Turn::Broken),
                None => Turn::Gone,
            });
        }
        if self.reads == READS {
            self.reads = 0;
            cx.waker().wake_by_ref();
        }
        if self.dirty {
            if ready!(Pin::new(&mut self.ws).poll_flush(cx)).is_err() {
                return Poll::Ready(Turn::Gone);
            }
            self.dirty = false;
        }
        if let Some(rest) = self.rest.take() {
            return Poll::Ready(Turn::Rest(rest));
        }
        Poll::Ready(match ready!(session.outbox().poll_take(cx)) {
            Taken::Frames(frames) => Turn::Write(frames),
            Taken::Close(close) => Turn::End(close),
        })
    }

    /// Whether it reads now. What it does not read stays with the client.
    fn listens(&mut self, cx: &mut Context<'_>) -> bool {
        if self.hold.as_mut().is_some_and(|hold| hold.as_mut().poll(cx).is_pending()) {
            return false;
        }
        self.hold = None;
        true
    }

    fn read(&mut self, session: &mut Session, message: &Message) {
        self.heard = Instant::now();
        self.pinged = None;
        let pause = match message {
            Message::Text(text) => session.receive(Incoming::Text(text)),
            Message::Binary(bytes) => session.receive(Incoming::Binary(bytes)),
            // The answers to these are in the write buffer already.
            Message::Ping(bytes) => {
                self.dirty = true;
                session.pinged(bytes.len())
            }
            Message::Close(_) => {
                self.dirty = true;
                None
            }
            Message::Pong(bytes) => session.pinged(bytes.len()),
            Message::Frame(_) => None,
        };
        self.hold = pause.map(|pause| Box::pin(sleep(pause)));
    }

    fn write(&mut self, frames: Vec<Encoded>) -> Result<(), Error> {
        metrics::written(frames.len());
        self.dirty = true;
        self.reads = 0;
        frames.into_iter().try_for_each(|frame| match frame {
            Encoded::Text(text) => self.write_part(text.into(), Data::Text),
            Encoded::Binary(bytes) => self.write_part(bytes, Data::Binary),
        })
    }

    /// Puts a frame into the write buffer, in parts when it is large: the rest after the flush, and no other frame between. Text is not checked again
    /// for being UTF-8.
    fn write_part(&mut self, mut bytes: Bytes, kind: Data) -> Result<(), Error> {
        let rest = bytes.split_off(bytes.len().min(PART));
        self.dirty = true;
        self.put(Message::Frame(Frame::message(bytes, OpCode::Data(kind), rest.is_empty())))?;
        self.rest = Some(rest).filter(|rest| !rest.is_empty());
        Ok(())
    }

    /// Puts a message into the write buffer. Bounded: what was there before is flushed, or control frames only follow.
    fn put(&mut self, message: Message) -> Result<(), Error> {
        Pin::new(&mut self.ws).start_send(message)
    }

    fn tick(&mut self) -> Result<(), Silent> {
        // By the ping and not by the silence: after a freeze of this process everybody has been silent for long.
        if self.pinged.is_some_and(|at| at.elapsed() >= PATIENCE) {
            return Err(Silent);
        }
        if self.heard.elapsed() >= SILENCE && self.pinged.is_none() {
            self.pinged = Some(Instant::now());
            self.dirty = true;
            // A connection that cannot take a ping is found silent.
            let _ = self.put(Message::Ping(Default::default()));
        }
        self.timer.as_mut().reset(self.pinged.map_or(self.heard + SILENCE, |at| at + PATIENCE));
        Ok(())
    }

    /// Sends the close frame and gives the client time to take it.
    async fn say_goodbye(mut self, close: Close, broken: bool) {
        let frame = CloseFrame { code: close.code().into(), reason: close.reason().into() };
        let sent = async {
            self.put(Message::Close(Some(frame)))?;
            self.ws.flush().await
        };
        if !matches!(timeout(CLOSE_DEADLINE, sent).await, Ok(Ok(()))) {
            return;
        }
        let linger = async {
            if broken {
                // What comes cannot be understood, but has to be read: a connection that is dropped with unread bytes is reset.
                let io = self.ws.get_mut();
                let mut waste = [0; 4096];
                io.shutdown().await?;
                while io.read(&mut waste).await? > 0 {}
            } else {
                while let Some(Ok(_)) = self.ws.next().await {}
            }
            Ok::<_, std::io::Error>(())
        };
        drop(timeout(CLOSE_LINGER, linger).await);
    }
}

/// Nothing was heard for too long.
struct Silent;

/// Which rule the client broke; `None`: the connection is gone.
fn broken(error: &Error) -> Option<Close> {
    match error {
        Error::Capacity(_) => Some(Close::TooBig),
        Error::Utf8(_) => Some(Close::NotUtf8),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(_) => Some(Close::Protocol),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bus::{self, Ask, Bus, Inbound, RoomView, memory::Hub},
        gateway::{Config, From, Join, Service},
        journal::{memory::Database, readback::Partitions},
        room::{Epoch, Incarnation, Key, RoomId, Seq, UserId},
        wire::Protocol,
    };
    use std::sync::Arc;
    use tokio::io::{DuplexStream, duplex};
    use tokio_util::sync::CancellationToken;
    use uuid::Uuid;

    /// Silence after which a client is closed.
    const SILENCE_MOST: Duration = SILENCE.saturating_add(PATIENCE);

    /// A session of a room whose owner lets everybody in, served on a pipe.
    async fn connect(pipe: usize) -> WebSocketStream<DuplexStream> {
        connect_with(Config::default(), Vec::new(), Protocol::Text, pipe).await
    }

    async fn connect_with(settings: Config, members: Vec<UserId>, protocol: Protocol, pipe: usize) -> WebSocketStream<DuplexStream> {
        let (hub, config) = (Hub::default(), bus::memory::Config::default());
        let (me, room) = (Incarnation::new(Uuid::from_u128(1)), RoomId::parse("aaa").unwrap());
        tokio::spawn(own(Arc::new(hub.connect()), me, room.clone(), members));
        let journal = Arc::new(Database::new(Partitions::new(1000)).connect(config.shards));
        let service = Service::seeded(settings, me, "node", Arc::new(hub.connect()), journal, config.shards, 1);
        let handle = service.handle();
        tokio::spawn(async move { service.attach(CancellationToken::new()).await });
        let (user, key) = (UserId::parse("harry").unwrap(), Key::parse("key").unwrap());
        let join = Join { room, user, key, device: None, from: From::default(), protocol };
        let session = handle.join(join).await.unwrap();
        let (near, far) = duplex(pipe);
        tokio::spawn(serve(near, session));
        WebSocketStream::from_raw_socket(far, Role::Client, None).await
    }

    async fn own(bus: Arc<dyn Bus>, gateway: Incarnation, room: RoomId, members: Vec<UserId>) {
        let shard = bus::memory::Config::default().shards.of(&room);
        let view = RoomView { epoch: Epoch(1), head: Seq::ZERO, members, refused: None };
        let mut questions = bus.questions(shard).await.unwrap();
        let mut commands = bus.commands(shard, bus::Position::ZERO).await.unwrap();
        loop {
            tokio::select! {
                Some(bus::Question { ask: Ask { .. }, respond }) = questions.next() => respond(view.clone()),
                Some(command) = commands.next() => if let Some(reply) = command.submission.reply {
                    let answered = bus::Answered::Journaled { seq: Seq::ZERO, epoch: Epoch(1), duplicate: false };
                    bus.tell(gateway, &Inbound::Answer(bus::Answer { tag: reply.tag, answered })).await.unwrap();
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_pinged_after_25_s_and_closed_after_35() {
        let mut client = connect(4096).await;
        let started = Instant::now();
        assert!(matches!(client.next().await, Some(Ok(Message::Text(_)))), "the welcome");
        assert!(matches!(client.next().await, Some(Ok(Message::Ping(_)))));
        assert_eq!(started.elapsed().as_secs(), 25);
        // That ping is answered when the client reads on, and all begins again.
        assert!(matches!(client.next().await, Some(Ok(Message::Ping(_)))));
        assert_eq!(started.elapsed().as_secs(), 50);
        // This one is not: the rest is read raw. The answer to the close frame is waited for as well.
        let mut bytes = Vec::new();
        client.get_mut().read_to_end(&mut bytes).await.unwrap();
        let code = 4006_u16.to_be_bytes();
        assert!(bytes.windows(2).any(|pair| pair == code));
        assert_eq!(started.elapsed(), SILENCE + SILENCE_MOST + CLOSE_LINGER);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_freeze_the_client_is_pinged_before_it_is_judged() {
        let mut client = connect(4096).await;
        assert!(matches!(client.next().await, Some(Ok(Message::Text(_)))), "the welcome");
        tokio::time::advance(3 * SILENCE_MOST).await;
        assert!(matches!(client.next().await, Some(Ok(Message::Ping(_)))));
        // The answer goes out with the next reading.
        assert!(matches!(client.next().await, Some(Ok(Message::Ping(_)))), "it is there, and silent again");
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_frame_is_no_sign_of_life() {
        let mut client = connect(4096).await;
        let started = Instant::now();
        // The head of a masked text frame of 100000 bytes, of which one comes each second.
        let raw = client.get_mut();
        raw.write_all(&[0x81, 0xff, 0, 0, 0, 0, 0, 1, 0x86, 0xa0, 0, 0, 0, 0]).await.unwrap();
        while raw.write_all(b"x").await.is_ok() && started.elapsed() < 2 * SILENCE_MOST {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let mut bytes = Vec::new();
        raw.read_to_end(&mut bytes).await.unwrap();
        assert!(bytes.windows(2).any(|pair| pair == 4006_u16.to_be_bytes()));
        assert!(started.elapsed() <= SILENCE_MOST + CLOSE_DEADLINE + CLOSE_LINGER, "{:?}", started.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn the_welcome_of_a_large_room_may_be_larger_than_the_backlog() {
        let members: Vec<UserId> = (0..50_000).map(|n| UserId::parse(&format!("a-member-with-a-long-name-{n}")).unwrap()).collect();
        let client = connect_with(Config::default(), members, Protocol::Json, 64 * 1024).await;
        let unbounded = WebSocketConfig::default().max_frame_size(None).max_message_size(None);
        let mut client = WebSocketStream::from_raw_socket(client.into_inner(), Role::Client, Some(unbounded)).await;
        let Some(Ok(Message::Text(welcome))) = client.next().await else { panic!("a welcome") };
        assert!(welcome.len() > Config::default().backlog_bytes, "{}", welcome.len());
        client.send(Message::text("not a line of the protocol")).await.unwrap();
        let Some(Ok(Message::Text(answer))) = client.next().await else { panic!("an answer") };
        assert!(answer.contains("bad_frame"), "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn pongs_that_nobody_takes_are_bounded_as_the_backlog_is() {
        let unlimited = Config { session_rate: 0, user_rate: 0, session_bytes_rate: 0, user_bytes_rate: 0, ..Config::default() };
        let mut client = connect_with(unlimited, Vec::new(), Protocol::Text, 1024).await;
        // 100000 pings of 125 bytes, mask 0; nothing is read meanwhile.
        let ping = [&[0x89, 0xfd, 0, 0, 0, 0][..], &[b'p'; 125]].concat();
        for _ in 0..100_000 {
            client.get_mut().write_all(&ping).await.unwrap();
        }
        client.send(Message::text("not a line of the protocol")).await.unwrap();
        let mut pongs = 0;
        loop {
            match client.next().await.unwrap().unwrap() {
                Message::Pong(_) => pongs += 1,
                Message::Text(text) if text.starts_with("!rejected bad_frame") => break,
                _ => {}
            }
        }
        assert!(pongs * 127 <= 2 * Config::default().backlog_bytes, "{pongs}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_more_than_it_may_is_not_listened_to_for_a_while() {
        let slow = Config { session_rate: 10, session_burst: 10, ..Config::default() };
        let mut client = connect_with(slow, Vec::new(), Protocol::Text, 1024).await;
        let started = Instant::now();
        let ping = [&[0x89, 0xfd, 0, 0, 0, 0][..], &[b'p'; 125]].concat();
        let (mut reader, mut writer) = tokio::io::split(client.get_mut());
        let write = async {
            for _ in 0..120 {
                writer.write_all(&ping).await.unwrap();
            }
        };
        let read = async {
            let mut waste = [0; 1024];
            while reader.read(&mut waste).await.is_ok_and(|count| count > 0) {}
        };
        tokio::select! {
            () = write => {}
            () = read => panic!("it was closed"),
        }
        // 10 at once, 10 per second, and some that wait in buffers.
        assert!((Duration::from_secs(5)..=Duration::from_secs(12)).contains(&started.elapsed()), "{:?}", started.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_dropped_within_the_deadlines() {
        let mut client = connect(16).await;
        let started = Instant::now();
        // The pipe is full with a part of the welcome. Nothing more fits, not even the close frame.
        tokio::time::sleep(SILENCE_MOST + CLOSE_DEADLINE + CLOSE_LINGER).await;
        let mut bytes = Vec::new();
        client.get_mut().read_to_end(&mut bytes).await.unwrap();
        assert!(bytes.len() <= 16, "the other end is gone");
        assert_eq!(started.elapsed(), SILENCE_MOST + CLOSE_DEADLINE + CLOSE_LINGER);
    }
}
