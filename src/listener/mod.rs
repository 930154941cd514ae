//! The HTTP server of a port: which connections it takes, and how long one may take for what. Both
//! ports have one; what is asked there is not known here.
//!
//! A connection that is not taken gets an answer if it asks soon, as long as few others do; the
//! rest is dropped.

mod bind;
mod framing;
mod origin;
mod presence;
mod rules;
mod secure;
mod slots;
mod timed;

pub(crate) use bind::{advice, bind, is_loopback, longest_queue};
pub(crate) use origin::Origin;
pub(crate) use presence::{Arrival, Presence};
pub(crate) use rules::{content_length, has_body, lists};
pub(crate) use secure::Tls;
pub(crate) use slots::{Slot, SlotCounter};

use axum::{
    Router,
    body::{Body, Bytes},
    response::Response,
};
use framing::{Deadlines, Followed, Framing};
use hyper::{
    Method, Request, StatusCode,
    body::Incoming,
    header::{CONNECTION, HeaderValue},
    server::conn::http1,
    service::Service as _,
    upgrade::Upgraded,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use presence::{RawSocket, Socket};
use secure::Secured;
use std::{
    any::Any,
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use timed::Timed;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle, task::TaskTracker};

/// How long a request's head may take to arrive, from its first byte on.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// How long the handshake of TLS may take, from the beginning of the connection.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// Bytes of a request's head, at most.
const HEAD: usize = 16 * 1024;
/// How long a client may take nothing of what is written to it. Longer than the silence after
/// which a WebSocket is closed with a code.
const WRITE_DEADLINE: Duration = Duration::from_secs(40);
/// How long a connection that is not taken may take to ask, and to take its answer.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(2);
/// Connections that are not taken and get an answer, at a time.
const REFUSALS: usize = 256;
/// How long a client may go on to send after the last answer.
const LINGER: Duration = Duration::from_secs(2);
/// How long open requests may take after the end.
const FINISH: Duration = Duration::from_secs(5);
/// After an accept that failed (no file descriptors left), before the next one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often such a failure is told.
const ACCEPT_TELL: Duration = Duration::from_secs(10);

/// Where a request comes from: an extension of every request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// That the connection of a request is a socket and nothing else, so that [`socket`] gives it back
/// after an upgrade: an extension of such requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plain;

/// The socket of a connection that was upgraded, and what the client sent behind its request. The
/// socket does not block, and the runtime has nothing to do with it any more.
pub(crate) fn socket(upgraded: Upgraded) -> io::Result<(std::net::TcpStream, Bytes)> {
    let parts = upgraded
        .downcast::<TokioIo<Timed<Followed<TcpStream>>>>()
        .map_err(|_| io::Error::other("it is more than a socket"))?;
    let followed = parts.io.into_inner().into_inner();
    Ok((followed.into_inner().into_std()?, parts.read_buf))
}

fn is_plain(io: &impl Any) -> bool {
    (io as &dyn Any).is::<TcpStream>()
}

/// What a connection counts for as long as a copy of this is kept: an extension of every request,
/// for those whose work outlives the request (an upgrade ends the HTTP connection, not the
/// connection).
#[derive(Clone)]
pub(crate) struct Counted {
    until_dropped: Arc<dyn Any + Send + Sync>,
    /// Cancelled: the connection gives its place to another one, or all end.
    end: Option<CancellationToken>,
}

impl Counted {
    pub(crate) fn new(counted: impl Any + Send + Sync) -> Self {
        Self {
            until_dropped: Arc::new(counted),
            end: None,
        }
    }

    /// The same for a connection that ends when `end` is cancelled, a child of what ends all.
    pub(crate) fn evictable(counted: Arc<impl Any + Send + Sync>, end: CancellationToken) -> Self {
        Self {
            until_dropped: counted,
            end: Some(end),
        }
    }

    /// What the connection counts for, if that is such a thing.
    pub(crate) fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.until_dropped.clone().downcast().ok()
    }
}

/// Answers whatever a connection that is not taken asks.
type Refusal = Box<dyn Fn(&Request<Incoming>) -> Response + Send + Sync>;

/// Whether a connection is taken.
pub(crate) enum Verdict {
    /// It is.
    Welcome(Counted),
    /// It is not; all that it asks is answered so.
    Refused(Refusal),
}

/// The HTTP server of a port.
pub(crate) struct Listener<F> {
    router: Router,
    judge: F,
    keep_alive: Duration,
    tls: Option<Tls>,
    refusals: Arc<Semaphore>,
    tasks: TaskTracker,
    finish: CancellationToken,
    halt: CancellationToken,
}

impl<F: Fn(SocketAddr) -> Verdict + Send + Sync + 'static> Listener<F> {
    /// A server of `router`, where `judge` decides which connections are taken. One that asks
    /// nothing more is closed after `keep_alive`. With `tls`, nothing else is spoken there. `halt`
    /// ends all connections at once.
    pub(crate) fn new(
        router: Router,
        judge: F,
        keep_alive: Duration,
        tls: Option<Tls>,
        halt: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            router,
            judge,
            keep_alive,
            tls,
            refusals: Arc::new(Semaphore::new(REFUSALS)),
            tasks: TaskTracker::new(),
            finish: CancellationToken::new(),
            halt,
        })
    }

    /// Takes connections until `end` is over; then gives open requests a moment.
    pub(crate) async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        end: impl Future<Output = ()>,
    ) {
        // A task of its own: a burst of connections waits for nothing else that this node does.
        let this = self.clone();
        let accepting = tokio::spawn(async move { this.accept(&listener).await });
        let accepting = AbortOnDropHandle::new(accepting);
        end.await;
        drop(accepting);
        self.finish.cancel();
        self.tasks.close();
        if timeout(FINISH, self.tasks.wait()).await.is_err() {
            tracing::debug!(
                left = self.tasks.len(),
                "connections that were still open are dropped"
            );
        }
    }

    /// Takes all that wait, one after the other; each is then served by a task of its own.
    async fn accept(&self, listener: &TcpListener) {
        let mut told: Option<Instant> = None;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    // Without it small frames wait for acknowledgements. A connection that is
                    // gone already shows below.
                    let _ = stream.set_nodelay(true);
                    self.open(stream, peer);
                }
                // That client is gone; the next one need not wait.
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if told.is_none_or(|at| at.elapsed() >= ACCEPT_TELL) {
                        told = Some(Instant::now());
                        tracing::warn!(%error, "connections cannot be accepted; trying again");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn open(&self, io: impl RawSocket, peer: SocketAddr) {
        let halt = self.halt.clone();
        match (self.judge)(peer) {
            Verdict::Welcome(counted) => {
                let end = counted.end.clone().unwrap_or(halt);
                let talk = self.welcome(io, peer, counted);
                self.tasks.spawn(async move {
                    end.run_until_cancelled(talk).await;
                });
            }
            Verdict::Refused(answer) => {
                // Beyond them not even an answer is worth it.
                let Ok(permit) = self.refusals.clone().try_acquire_owned() else {
                    return;
                };
                let tls = self.tls.clone();
                self.tasks.spawn(async move {
                    // What does not ask in time is dropped.
                    let refusal = timeout(REFUSAL_DEADLINE, refuse(io, tls, answer));
                    halt.run_until_cancelled(refusal).await;
                    drop(permit);
                });
            }
        }
    }

    /// Serves a connection that is taken; what it counts for includes the handshake.
    fn welcome(
        &self,
        io: impl RawSocket,
        peer: SocketAddr,
        counted: Counted,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (router, tls) = (self.router.clone(), self.tls.clone());
        let (from, keep_alive) = ((Peer(peer), Arrival::next()), self.keep_alive);
        let finish = self.finish.clone();
        async move {
            let Some(tls) = tls else {
                return converse(io, router, from, counted, keep_alive, finish).await;
            };
            match timeout(HANDSHAKE_DEADLINE, tls.secure(io)).await {
                Ok(Ok(Secured::Tls(io))) => {
                    // On the heap: connections without TLS need not be as large.
                    Box::pin(converse(io, router, from, counted, keep_alive, finish)).await;
                }
                Ok(Ok(Secured::Plain(io))) => {
                    let refusal = answer_plainly(io, Box::new(|_| secure::wanted()));
                    drop(timeout(REFUSAL_DEADLINE, refusal).await);
                }
                Ok(Err(error)) => tracing::debug!(%error, "no TLS with a client"),
                Err(_) => tracing::debug!("no TLS with a client in time"),
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

async fn converse(
    io: impl Socket,
    router: Router,
    (peer, arrival): (Peer, Arrival),
    counted: Counted,
    keep_alive: Duration,
    finish: CancellationToken,
) {
    let is_plain = is_plain(&io);
    let mut http = http1::Builder::new();
    // The time for a head ends sooner, see below; this is the time until it begins.
    http.timer(TokioTimer::new())
        .header_read_timeout(keep_alive)
        .max_buf_size(HEAD);
    let deadlines = Deadlines {
        head: HEAD_DEADLINE,
        linger: LINGER,
    };
    let (io, framing, presence) = Followed::new(io, deadlines);
    let first = Mutex::new(Some(arrival));
    let router = TowerToHyperService::new(router);
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        let extensions = request.extensions_mut();
        extensions.insert(peer);
        let first = first.lock().unwrap_or_else(PoisonError::into_inner).take();
        extensions.insert(first.unwrap_or_else(Arrival::next));
        extensions.insert(presence.clone());
        extensions.insert(counted.clone());
        if is_plain {
            extensions.insert(Plain);
        }
        answer(router.clone(), request, framing.clone())
    });
    let timed = Timed::new(io, WRITE_DEADLINE);
    let mut serving = pin!(
        http.serve_connection(TokioIo::new(timed), service)
            .with_upgrades()
    );
    let result = tokio::select! {
        biased; // The end is waited for only while nothing else is to do.
        result = serving.as_mut() => result,
        () = finish.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = result {
        tracing::trace!(%error, "a connection ended");
    }
}

/// Answers a request of a connection that is taken.
async fn answer(
    router: TowerToHyperService<Router>,
    mut request: Request<Incoming>,
    framing: Framing,
) -> Result<Response, Infallible> {
    if framing.is_ambiguous() {
        let message = "the request has both a Content-Length and a Transfer-Encoding, or a \
                       Content-Length that is too long";
        return Ok(rules::malformed(message));
    }
    if let Some(message) = rules::fault(&request) {
        return Ok(rules::malformed(message));
    }
    if rules::asks_for_methods(&request) {
        return Ok(rules::methods());
    }
    if let Some(normal) = rules::normal(request.uri()) {
        *request.uri_mut() = normal;
    }
    let is_options = request.method() == Method::OPTIONS;
    let mut response = rules::finish(is_options, router.call(request).await?);
    let is_last = framing.is_last() || framing.is_unread();
    if is_last && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    Ok(response)
}

/// Answers one request of a connection that is not taken.
async fn refuse(io: impl RawSocket, tls: Option<Tls>, answer: Refusal) {
    let Some(tls) = tls else {
        return answer_plainly(io, answer).await;
    };
    match tls.secure(io).await {
        Ok(Secured::Tls(io)) => Box::pin(answer_plainly(io, answer)).await,
        Ok(Secured::Plain(io)) => answer_plainly(io, answer).await,
        Err(error) => tracing::trace!(%error, "no TLS with a client that is refused"),
    }
}

/// Answers one request, whatever it asks.
async fn answer_plainly(io: impl AsyncRead + AsyncWrite + Unpin, answer: Refusal) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .max_buf_size(HEAD)
        .keep_alive(false);
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        std::future::ready(Ok::<Response<Body>, Infallible>(answer(&request)))
    });
    drop(http.serve_connection(TokioIo::new(io), service).await);
}

#[cfg(test)]
mod secure_tests;
#[cfg(test)]
mod tests;
