//! What a client's bytes are besides messages: heads of frames, and fragments of a message that
//! does not end. The WebSocket library reads those without returning, so they are counted below it,
//! and are paid for in slices.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are read before they are paid for. More than the largest message, which is paid for
/// as such when it is whole.
const SLICE: isize = super::MESSAGE as isize + 64 * 1024;

/// A byte stream that counts what is read of it, and is not read on while a slice is unpaid.
pub(super) struct MeteredIo<S> {
    io: S,
    /// Negative: a part of a message was paid for in a slice, and again with the message.
    unpaid: isize,
    is_free: bool,
}

impl<S> MeteredIo<S> {
    pub(super) fn new(io: S) -> Self {
        Self {
            io,
            unpaid: 0,
            is_free: false,
        }
    }

    /// So many of its bytes are paid for.
    pub(super) fn paid(&mut self, bytes: usize) {
        self.unpaid -= bytes as isize;
    }

    /// Bytes to be paid for now. Until they are, reading waits, and nobody is woken: whoever reads
    /// looks here as well.
    pub(super) fn due(&self) -> Option<usize> {
        self.is_due().then_some(self.unpaid as usize)
    }

    /// What is read from now on costs nothing.
    pub(super) fn set_free(&mut self) {
        self.is_free = true;
    }

    fn is_due(&self) -> bool {
        self.unpaid >= SLICE && !self.is_free
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for MeteredIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_due() {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        self.unpaid += (buf.filled().len() - before) as isize;
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for MeteredIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
