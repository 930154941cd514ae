//! The door of an HTTP port: who is let in, and how long a connection may take for what. Both ports have one; what is asked behind it is not known here.
//!
//! A connection that is not let in gets an answer if it asks soon, as long as few others do; the rest is dropped.

use axum::{Router, body::Body, response::Response};
use hyper::{Request, body::Incoming, server::conn::http1, service::Service as _};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{any::Any, net::SocketAddr, pin::pin, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long a request's head may take to arrive, also after the answer to the request before.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// Bytes of a request's head, at most.
const HEAD: usize = 16 * 1024;
/// How long a client may take nothing of what is written to it. Longer than the silence after which a WebSocket is closed with a code.
const WRITE_DEADLINE: Duration = Duration::from_secs(40);
/// How long a connection that is not let in may take to ask, and to take its answer.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(2);
/// Connections that are not let in and get an answer, at a time.
const REFUSALS: usize = 256;
/// How long open requests may take after the end.
const FINISH: Duration = Duration::from_secs(5);
/// After an accept that failed (no file descriptors left), before the next one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where a request comes from: an extension of every request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// What became of a connection at the door.
pub(crate) enum Verdict {
    /// It is let in, and counts until this is dropped.
    Welcome(Box<dyn Any + Send>),
    /// It is not; all that it asks is answered so.
    Refused(Box<dyn Fn() -> Response + Send + Sync>),
}

/// A door.
pub(crate) struct Door<F> {
    router: Router,
    judge: F,
    refusals: Arc<Semaphore>,
    tasks: TaskTracker,
    finish: CancellationToken,
    halt: CancellationToken,
}

impl<F: Fn(SocketAddr) -> Verdict> Door<F> {
    /// A door before `router`, where `judge` decides who is let in. `halt` ends all connections at once.
    pub(crate) fn new(router: Router, judge: F, halt: CancellationToken) -> Self {
        let refusals = Arc::new(Semaphore::new(REFUSALS));
        Self { router, judge, refusals, tasks: TaskTracker::new(), finish: CancellationToken::new(), halt }
    }

    /// Lets connections in until `end` is over; then gives open requests a moment.
    pub(crate) async fn serve(&self, listener: TcpListener, end: impl Future<Output = ()>) {
        tokio::select! {
            biased; // Connections are accepted until the very end.
            () = end => {}
            () = self.accept(&listener) => {}
        }
        drop(listener);
        self.finish.cancel();
        self.tasks.close();
        if timeout(FINISH, self.tasks.wait()).await.is_err() {
            tracing::debug!(left = self.tasks.len(), "connections that were still open are dropped");
        }
    }

    async fn accept(&self, listener: &TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    // Without it small frames wait for acknowledgements. A connection that is gone already shows below.
                    let _ = stream.set_nodelay(true);
                    self.open(stream, peer);
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn open(&self, io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: SocketAddr) {
        let (halt, finish) = (self.halt.clone(), self.finish.clone());
        match (self.judge)(peer) {
            Verdict::Welcome(counted) => {
                let talk = converse(io, self.router.clone(), peer, finish);
                self.tasks.spawn(async move {
                    halt.run_until_cancelled(talk).await;
                    drop(counted);
                });
            }
            Verdict::Refused(answer) => {
                // Beyond them not even an answer is worth it.
                let Ok(permit) = self.refusals.clone().try_acquire_owned() else { return };
                self.tasks.spawn(async move {
                    halt.run_until_cancelled(refuse(io, answer)).await;
                    drop(permit);
                });
            }
        }
    }
}

async fn converse(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router, peer: SocketAddr, finish: CancellationToken) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_DEADLINE).max_buf_size(HEAD);
    let router = TowerToHyperService::new(router);
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        router.call(request)
    });
    let mut timed = Box::pin(TimeoutStream::new(io));
    timed.as_mut().set_write_timeout_pinned(Some(WRITE_DEADLINE));
    let mut serving = pin!(http.serve_connection(TokioIo::new(timed), service).with_upgrades());
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

/// Answers one request, whatever it asks.
async fn refuse(io: impl AsyncRead + AsyncWrite + Unpin, answer: Box<dyn Fn() -> Response + Send + Sync>) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).max_buf_size(HEAD).keep_alive(false);
    let service = hyper::service::service_fn(move |_: Request<Incoming>| {
        std::future::ready(Ok::<Response<Body>, std::convert::Infallible>(answer()))
    });
    // What does not ask in time is dropped.
    drop(timeout(REFUSAL_DEADLINE, http.serve_connection(TokioIo::new(io), service)).await);
}
