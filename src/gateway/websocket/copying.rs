//! The copying way: one task per connection, for byte streams that no loop can own (TLS). It reads,
//! and writes all that waits in the outbox with one flush.

mod metered_io;

use super::{
    connection::{CLOSE_DEADLINE, CLOSE_LINGER, PATIENCE, SILENCE},
    frame::MESSAGE,
};
use crate::{
    gateway::{Close, Session, Taken, metrics, outbox::BATCH},
    wire::{Encoded, Incoming},
};
use bytes::Bytes;
use futures::{Sink, SinkExt, Stream, StreamExt};
use metered_io::MeteredIo;
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

/// Small, because there is one per connection, mostly idle.
const READ_BUFFER: usize = 4 * 1024;
/// Bytes of a frame that go out at once. Few are larger: the members of a large room, for example.
/// They go out in fragments.
const PART: usize = 512 * 1024;
/// Messages that are read before it is looked again for what is to be written.
const READS: u32 = 32;

struct Socket<S> {
    ws: WebSocketStream<MeteredIo<S>>,
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
    /// So many bytes were read that are no message, and are to be paid for.
    Overhead(usize),
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
pub(in crate::gateway) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    io: S,
    mut session: Session,
) {
    let sizes = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE))
        .max_frame_size(Some(MESSAGE));
    // Nothing is written before the flush. The most is for pongs to a client that pings and takes
    // nothing; beyond it only the last one is kept.
    let config = sizes
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(2 * BATCH)
        .max_write_buffer_size(2 * BATCH + PART);
    let ws = WebSocketStream::from_raw_socket(MeteredIo::new(io), Role::Server, Some(config)).await;
    let heard = Instant::now();
    let timer = Box::pin(sleep_until(heard + SILENCE));
    let mut socket = Socket {
        ws,
        rest: None,
        dirty: false,
        reads: 0,
        hold: None,
        heard,
        pinged: None,
        timer,
    };
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
                Turn::Overhead(bytes) => {
                    match session.empty(bytes) {
                        None => self.ws.get_mut().paid(bytes),
                        pause => self.hold(pause),
                    }
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

    /// Reading comes before writing, for a client that sends is alive; but only so many messages in
    /// a row.
    fn poll_turn(&mut self, session: &Session, cx: &mut Context<'_>) -> Poll<Turn> {
        if self.timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Turn::Tick);
        }
        if let Poll::Ready(close) = session.outbox().poll_cut(cx) {
            return Poll::Ready(Turn::End(close));
        }
        if self.reads < READS && self.listens(cx) {
            let read = Pin::new(&mut self.ws).poll_next(cx);
            if let Poll::Ready(read) = read {
                self.reads += 1;
                return Poll::Ready(match read {
                    Some(Ok(message)) => Turn::Read(message),
                    Some(Err(error)) => broken(&error).map_or(Turn::Gone, Turn::Broken),
                    None => Turn::Gone,
                });
            }
            if let Some(bytes) = self.ws.get_ref().due() {
                return Poll::Ready(Turn::Overhead(bytes));
            }
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
        if self
            .hold
            .as_mut()
            .is_some_and(|hold| hold.as_mut().poll(cx).is_pending())
        {
            return false;
        }
        self.hold = None;
        true
    }

    fn read(&mut self, session: &mut Session, message: &Message) {
        self.heard = Instant::now();
        if let (Message::Pong(_), Some(pinged)) = (message, self.pinged) {
            metrics::ponged(self.heard - pinged);
        }
        self.pinged = None;
        // The answers to these are in the write buffer already.
        self.dirty |= matches!(message, Message::Ping(_) | Message::Close(_));
        self.ws.get_mut().paid(message.len());
        self.hold(match message {
            Message::Text(text) => session.receive(Incoming::Text(text)),
            Message::Binary(bytes) => session.receive(Incoming::Binary(bytes)),
            Message::Ping(bytes) | Message::Pong(bytes) => session.empty(bytes.len()),
            Message::Close(_) | Message::Frame(_) => None,
        });
    }

    fn hold(&mut self, pause: Option<Duration>) {
        self.hold = pause.map(|pause| Box::pin(sleep(pause)));
    }

    fn write(&mut self, frames: Vec<Encoded>) -> Result<(), Error> {
        metrics::written(frames.len(), 1);
        self.reads = 0;
        frames.into_iter().try_for_each(|frame| match frame {
            Encoded::Text(text) => self.write_part(text.into(), Data::Text),
            Encoded::Binary(bytes) => self.write_part(bytes, Data::Binary),
        })
    }

    /// Puts a frame into the write buffer, in parts when it is large: the rest after the flush, and
    /// no other frame between. Text is not checked again for being UTF-8.
    fn write_part(&mut self, mut bytes: Bytes, kind: Data) -> Result<(), Error> {
        let rest = bytes.split_off(bytes.len().min(PART));
        self.dirty = true;
        self.put(Message::Frame(Frame::message(
            bytes,
            OpCode::Data(kind),
            rest.is_empty(),
        )))?;
        self.rest = Some(rest).filter(|rest| !rest.is_empty());
        Ok(())
    }

    /// Puts a message into the write buffer. Bounded: what was there before is flushed, or control
    /// frames only follow.
    fn put(&mut self, message: Message) -> Result<(), Error> {
        Pin::new(&mut self.ws).start_send(message)
    }

    fn tick(&mut self) -> Result<(), Silent> {
        // By the ping and not by the silence: after a freeze of this process everybody has been
        // silent for long.
        if self.pinged.is_some_and(|at| at.elapsed() >= PATIENCE) {
            return Err(Silent);
        }
        if self.heard.elapsed() >= SILENCE && self.pinged.is_none() {
            self.pinged = Some(Instant::now());
            self.dirty = true;
            // A connection that cannot take a ping is found silent.
            let _ = self.put(Message::Ping(Default::default()));
        }
        self.timer
            .as_mut()
            .reset(self.pinged.map_or(self.heard + SILENCE, |at| at + PATIENCE));
        Ok(())
    }

    /// Sends the close frame and gives the client time to take it.
    async fn say_goodbye(mut self, close: Close, broken: bool) {
        self.ws.get_mut().set_free();
        let frame = CloseFrame {
            code: close.code().into(),
            reason: close.reason().into(),
        };
        let sent = async {
            self.put(Message::Close(Some(frame)))?;
            self.ws.flush().await
        };
        if !matches!(timeout(CLOSE_DEADLINE, sent).await, Ok(Ok(()))) {
            return;
        }
        let linger = async {
            if broken {
                // What comes cannot be understood, but has to be read: a connection that is dropped
                // with unread bytes is reset.
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
mod tests;
