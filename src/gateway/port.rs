//! The port for clients: where it listens, and what it shows to those that come with TLS.

use crate::{listener::Tls, tls::Identity};
use std::{io, net::SocketAddr, sync::Arc};
use tokio::net::TcpListener;

/// An open port. Clients wait to be accepted.
pub struct Port {
    pub(super) listener: TcpListener,
    identity: Option<Arc<Identity>>,
}

impl Port {
    /// With an identity nothing but TLS is spoken there.
    pub fn new(listener: TcpListener, identity: Option<Arc<Identity>>) -> Self {
        Self { listener, identity }
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// What it shows, if it speaks TLS.
    pub fn identity(&self) -> Option<Arc<Identity>> {
        self.identity.clone()
    }

    pub(super) fn tls(&self) -> Option<Tls> {
        self.identity.clone().map(Tls::new)
    }
}

impl From<TcpListener> for Port {
    fn from(listener: TcpListener) -> Self {
        Self::new(listener, None)
    }
}
