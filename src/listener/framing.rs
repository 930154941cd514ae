//! Looks at the bytes of a connection on their way to the HTTP library, for what it cannot say:
//! when a head begins, whether a head gives two lengths of its body, and whether the client has
//! closed its side. After the last answer it takes what the client still sends.
//!
//! It follows the framing from head to head. Where it cannot (a chunked body, an upgrade), the
//! connection carries no other request: see [`Framing::is_last`].

use super::presence::{Presence, Socket};
use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// Bytes of a header line that are kept. The names looked for are shorter; a length that is not is
/// refused.
const LINE: usize = 64;
/// How a body in chunks usually ends; one with trailers does not.
const END: &[u8] = b"0\r\n\r\n";

/// What is known of the requests of a connection. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Framing(Arc<Flags>);

#[derive(Default)]
struct Flags {
    ambiguous: AtomicBool,
    last: AtomicBool,
    unread: AtomicBool,
}

impl Framing {
    /// A head had both a Content-Length and a Transfer-Encoding, or a length that is not followed:
    /// a proxy before this server may have seen another end of the request (request smuggling).
    pub(super) fn is_ambiguous(&self) -> bool {
        self.0.ambiguous.load(Relaxed)
    }

    /// Where the request ends is not followed, so no other one may come on this connection.
    pub(super) fn is_last(&self) -> bool {
        self.0.last.load(Relaxed)
    }

    /// The client is still sending the body of its request. An answer now is the last one: what is
    /// left would have to be read before the next request.
    pub(super) fn is_unread(&self) -> bool {
        self.0.unread.load(Relaxed)
    }
}

/// How long a client may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadlines {
    /// For a head, from its first byte on; the first head from the beginning of the connection.
    pub(super) head: Duration,
    /// To stop sending after the last answer. A connection that is dropped with unread bytes is
    /// reset, and the answer may be lost with it.
    pub(super) linger: Duration,
}

/// A connection whose requests are followed.
pub(super) struct Followed<S> {
    io: S,
    deadlines: Deadlines,
    framing: Framing,
    presence: Presence,
    at: At,
    head: Head,
    line: Vec<u8>,
    timer: Option<Pin<Box<Sleep>>>,
    lingering: Option<Pin<Box<Sleep>>>,
    finished: bool,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// The first byte of a head, or an empty line before it.
    Between,
    Head,
    Body(u64),
    /// A body in chunks; the last bytes of it are kept, to know its end after the last answer.
    Chunked,
    /// Not followed any more.
    Lost,
}

/// What a head has said so far.
#[derive(Default)]
struct Head {
    length: Option<u64>,
    transfer_encoding: bool,
    upgrade: bool,
    /// The length did not fit into what is kept of a line, so where the body ends is not known.
    cut: bool,
}

impl<S> Followed<S> {
    pub(super) fn new(io: S, deadlines: Deadlines) -> (Self, Framing, Presence) {
        let (framing, presence) = (Framing::default(), Presence::default());
        let this = Self {
            io,
            deadlines,
            framing: framing.clone(),
            presence: presence.clone(),
            at: At::Between,
            head: Head::default(),
            line: Vec::with_capacity(LINE),
            timer: Some(Box::pin(sleep(deadlines.head))),
            lingering: None,
            finished: false,
        };
        (this, framing, presence)
    }

    pub(super) fn into_inner(self) -> S {
        self.io
    }

    fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.at {
                At::Lost => return,
                At::Chunked => {
                    self.line
                        .extend(&bytes[bytes.len().saturating_sub(END.len())..]);
                    let surplus = self.line.len().saturating_sub(END.len());
                    self.line.drain(..surplus);
                    return;
                }
                At::Body(left) => {
                    let taken = left.min(bytes.len() as u64);
                    bytes = &bytes[taken as usize..];
                    self.at = match left - taken {
                        0 => At::Between,
                        left => At::Body(left),
                    };
                }
                At::Between | At::Head => {
                    if self.timer.is_none() {
                        self.timer = Some(Box::pin(sleep(self.deadlines.head)));
                    }
                    let end = bytes.iter().position(|byte| *byte == b'\n');
                    let part = &bytes[..end.unwrap_or(bytes.len())];
                    let space = LINE - self.line.len();
                    self.line.extend(&part[..part.len().min(space)]);
                    let Some(end) = end else { return };
                    bytes = &bytes[end + 1..];
                    self.end_of_line();
                }
            }
        }
    }

    fn end_of_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        match (self.at, line.trim_ascii_end()) {
            (At::Between, b"") => {}
            (At::Between, _) => self.at = At::Head,
            (_, b"") => self.end_of_head(),
            (_, header) => self.head.read(header, line.len() >= LINE),
        }
        self.line = line;
        self.line.clear();
    }

    /// Whether the client is still sending the body of the last request.
    fn expects_more(&self) -> bool {
        match self.at {
            At::Body(_) => true,
            At::Chunked => self.line != END,
            At::Between | At::Head | At::Lost => false,
        }
    }

    fn end_of_head(&mut self) {
        self.timer = None;
        let head = std::mem::take(&mut self.head);
        let ambiguous = head.cut || head.transfer_encoding && head.length.is_some();
        let lost = head.transfer_encoding || head.upgrade;
        self.framing.0.ambiguous.fetch_or(ambiguous, Relaxed);
        self.framing.0.last.fetch_or(lost, Relaxed);
        self.at = match head.length.unwrap_or(0) {
            _ if head.upgrade => At::Lost,
            _ if lost => At::Chunked,
            0 => At::Between,
            length => At::Body(length),
        };
    }
}

impl Head {
    fn read(&mut self, line: &[u8], is_cut: bool) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return;
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            self.cut |= is_cut;
            // The HTTP library refuses a length that is none.
            let length = std::str::from_utf8(value).ok();
            self.length = Some(length.and_then(|text| text.parse().ok()).unwrap_or(0));
        }
        self.transfer_encoding |= name.eq_ignore_ascii_case(b"transfer-encoding");
        self.upgrade |= name.eq_ignore_ascii_case(b"upgrade");
    }
}

impl<S: Socket> AsyncRead for Followed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut this.io).poll_read(cx, buffer) {
            if this.at != At::Lost {
                this.follow(&buffer.filled()[before..]);
                this.framing.0.unread.store(this.expects_more(), Relaxed);
            }
            return Poll::Ready(read);
        }
        if let Some(timer) = &mut this.timer {
            ready!(timer.as_mut().poll(cx));
            this.timer = None;
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl<S: Socket> AsyncWrite for Followed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Whatever the HTTP library waits for, it flushes before it does.
        self.presence.look(&self.io);
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Takes the rest of a body that nobody wanted, says that nothing follows, and waits until the
    /// client says so, too. Many clients write all of a body before they read the answer, and take
    /// an end before that for a failure.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let linger = this.deadlines.linger;
        let timer = this
            .lingering
            .get_or_insert_with(|| Box::pin(sleep(linger)));
        let mut over = timer.as_mut().poll(cx).is_ready();
        let mut waste = [0; 4096];
        loop {
            if !this.finished && (over || !this.expects_more()) {
                ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
                this.finished = true;
            }
            if over {
                return Poll::Ready(Ok(()));
            }
            let mut buffer = ReadBuf::new(&mut waste);
            match ready!(Pin::new(&mut this.io).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => this.follow(buffer.filled()),
                _ => over = true,
            }
            // A client that sends without end keeps this task from its timer.
            let timer = this.lingering.as_mut();
            over |= timer.is_none_or(|timer| timer.as_mut().poll(cx).is_ready());
        }
    }
}
