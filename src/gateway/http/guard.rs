//! What every request passes before it is looked at: whose it is, and whether that client may ask
//! now.

use super::{
    answer::{come_back, is_event_source, refuse},
    origin::{Names, Origins, Told},
};
use crate::{
    gateway::{
        Handle,
        core::short_of_memory,
        limits::{Cost, Proxies},
        metrics,
    },
    listener::{Counted, Peer, Verdict},
    room::{Reason, Rejection},
};
use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use std::{net::SocketAddr, sync::Arc};
use tokio::sync::Semaphore;

/// Before a client that a full node refused should try again, in milliseconds.
const FULL_MS: u64 = 5_000;

/// What the listener and the guard know.
pub(super) struct Guard {
    handle: Handle,
    proxies: Proxies,
    origins: Origins,
    names: Names,
    pub(super) told: Told,
    places: Arc<Semaphore>,
}

impl Guard {
    pub(super) fn new(handle: Handle) -> Arc<Self> {
        let config = &handle.0.config;
        let most = if config.max_connections == 0 {
            Semaphore::MAX_PERMITS
        } else {
            config.max_connections
        };
        let (proxies, origins, names, places) = (
            config.proxies(),
            config.origins(),
            Names::of(config),
            Arc::new(Semaphore::new(most)),
        );
        Arc::new(Self {
            handle,
            proxies,
            origins,
            names,
            told: Told::default(),
            places,
        })
    }

    /// Whose pages may come in.
    pub(super) fn origins(&self) -> &Origins {
        &self.origins
    }

    /// By which names it may be asked.
    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// Whether a connection is let in. Those of a trusted proxy count for its clients, request by
    /// request.
    pub(super) fn judge(&self, peer: SocketAddr) -> Verdict {
        if self.handle.0.pressure.is_short() {
            metrics::limited("memory");
            return refused(short_of_memory());
        }
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            metrics::limited("node");
            return refused(Rejection::retry(
                Reason::Unavailable,
                "this node has as many connections as it takes: try again, or another node",
                FULL_MS,
            ));
        };
        if self.proxies.trust(peer.ip()) {
            return Verdict::Welcome(Counted::new(place));
        }
        match self.handle.client(peer.ip()).connect() {
            Ok(connection) => Verdict::Welcome(Counted::new((place, connection))),
            Err(rejection) => refused(rejection),
        }
    }
}

fn refused(rejection: Rejection) -> Verdict {
    Verdict::Refused(Box::new(move |request| {
        let refused = refuse(&rejection);
        if is_event_source(request.method(), request.headers()) {
            come_back(refused)
        } else {
            refused
        }
    }))
}

/// Finds out whose request it is, and takes what it costs.
pub(super) async fn guard(
    State(guard): State<Arc<Guard>>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(Peer(peer)) = request.extensions().get().copied() else {
        unreachable!("the listener says where a request comes from")
    };
    let proxied = guard.proxies.client(peer.ip(), request.headers());
    let client = guard.handle.client(proxied.unwrap_or(peer.ip()));
    if proxied.is_some() {
        match client.connect() {
            Ok(connection) => {
                let both = (request.extensions_mut().remove::<Counted>(), connection);
                request.extensions_mut().insert(Counted::new(both));
            }
            Err(rejection) => return refuse(&rejection),
        }
    }
    if let Err(rejection) = client.request(Cost::FRAME) {
        return refuse(&rejection);
    }
    request.extensions_mut().insert(client);
    next.run(request).await
}
