//! Whether a client is still there. After a node stood still, most of those that wait have given up
//! and come again: what they asked must not be done behind what they ask now.

use futures::FutureExt;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
    task::yield_now,
};
use tokio_rustls::server::TlsStream;

/// When a request came, compared with others: an extension of every request. The first of a
/// connection came with it: connections are accepted in order and served in any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arrival(u64);

impl Arrival {
    /// Before all others.
    pub(crate) const FIRST: Self = Self(0);

    /// After all others so far.
    pub(crate) fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Relaxed) + 1)
    }
}

/// What a connection is made of.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Whether the other side has closed it, whatever it sent before and nobody has read yet.
    fn is_closed(&self) -> bool;
}

/// A connection as the kernel gives it.
pub(super) trait RawSocket: Socket {
    /// The first byte that was sent and not read, which stays unread; `None`: nothing will come.
    fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<u8>>>;
}

impl Socket for TcpStream {
    fn is_closed(&self) -> bool {
        let ready = self.ready(Interest::READABLE).now_or_never();
        ready.is_some_and(|ready| ready.map_or(true, |ready| ready.is_read_closed()))
    }
}

impl RawSocket for TcpStream {
    fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<u8>>> {
        let mut first = [0];
        let mut buffer = ReadBuf::new(&mut first);
        let count = ready!(self.poll_peek(cx, &mut buffer))?;
        Poll::Ready(Ok((count > 0).then_some(first[0])))
    }
}

impl<S: Socket> Socket for TlsStream<S> {
    fn is_closed(&self) -> bool {
        self.get_ref().0.is_closed()
    }
}

/// Whether the client of a request is still there: an extension of every request.
#[derive(Clone, Default)]
pub(crate) struct Presence(Arc<Flags>);

#[derive(Default)]
struct Flags {
    watched: AtomicBool,
    gone: AtomicBool,
}

impl Presence {
    /// Whether the client has closed its side of the connection by now.
    pub(crate) async fn is_gone(&self) -> bool {
        self.0.watched.store(true, Relaxed);
        // The connection's own task looks before it waits.
        yield_now().await;
        self.0.watched.store(false, Relaxed);
        self.0.gone.load(Relaxed)
    }

    /// Looks, if somebody wants to know.
    pub(super) fn look(&self, socket: &impl Socket) {
        if self.0.watched.load(Relaxed) && socket.is_closed() {
            self.0.gone.store(true, Relaxed);
        }
    }
}
