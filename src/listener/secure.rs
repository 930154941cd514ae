//! TLS of a port: the handshake, and what becomes of clients that do not begin one.

use super::{presence::RawSocket, rules};
use crate::tls::{self, Identity};
use axum::response::Response;
use rustls::ServerConfig;
use std::{future::poll_fn, io, sync::Arc};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// With what each connection of TLS begins. No request of HTTP does.
const HANDSHAKE: u8 = 22;

/// What a port shows to clients that begin TLS. Clones are the same.
#[derive(Clone)]
pub(crate) struct Tls(Arc<ServerConfig>);

/// A connection whose first byte is known.
#[expect(
    clippy::large_enum_variant,
    reason = "moved once, into its conversation on the heap"
)]
pub(super) enum Secured<S> {
    Tls(TlsStream<S>),
    /// The client speaks something else; nothing was read or written.
    Plain(S),
}

impl Tls {
    pub(crate) fn new(identity: Arc<Identity>) -> Self {
        Self(tls::server(identity))
    }

    /// Shakes hands with a client that begins to. The caller sets the deadline.
    pub(super) async fn secure<S: RawSocket>(&self, mut io: S) -> io::Result<Secured<S>> {
        match poll_fn(|cx| io.poll_first(cx)).await? {
            Some(HANDSHAKE) => {
                let acceptor = TlsAcceptor::from(self.0.clone());
                Ok(Secured::Tls(acceptor.accept(io).await?))
            }
            Some(_) => Ok(Secured::Plain(io)),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// What a client hears that speaks without TLS: a browser where somebody typed http://, a script.
pub(super) fn wanted() -> Response {
    rules::malformed("this port speaks TLS: connect with https:// or wss://")
}
