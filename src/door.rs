//! The door of an HTTP port: who is let in, and how long a connection may take for what. Both ports have one; what is asked behind it is not known here.
//!
//! A connection that is not let in gets an answer if it asks soon, as long as few others do; the rest is dropped.

mod places;

pub(crate) use places::{Place, Places};

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

/// What a connection counts for as long as a copy of this is kept: an extension of every request, for those whose work outlives the request (an upgrade ends
/// the HTTP connection, not the connection).
#[derive(Clone)]
pub(crate) struct Counted {
    _until_dropped: Arc<dyn Any + Send + Sync>,
}

impl Counted {
    pub(crate) fn new(counted: impl Any + Send + Sync) -> Self {
        Self {
            _until_dropped: Arc::new(counted),
        }
    }
}

/// What became of a connection at the door.
pub(crate) enum Verdict {
    /// It is let in.
    Welcome(Counted),
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
        Self {
            router,
            judge,
            refusals,
            tasks: TaskTracker::new(),
            finish: CancellationToken::new(),
            halt,
        }
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
            tracing::debug!(
                left = self.tasks.len(),
                "connections that were still open are dropped"
            );
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
                let talk = converse(io, self.router.clone(), Peer(peer), counted, finish);
                self.tasks.spawn(async move {
                    halt.run_until_cancelled(talk).await;
                });
            }
            Verdict::Refused(answer) => {
                // Beyond them not even an answer is worth it.
                let Ok(permit) = self.refusals.clone().try_acquire_owned() else {
                    return;
                };
                self.tasks.spawn(async move {
                    halt.run_until_cancelled(refuse(io, answer)).await;
                    drop(permit);
                });
            }
        }
    }
}

async fn converse(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    peer: Peer,
    counted: Counted,
    finish: CancellationToken,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(HEAD);
    let router = TowerToHyperService::new(router);
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(counted.clone());
        router.call(request)
    });
    let mut timed = Box::pin(TimeoutStream::new(io));
    timed
        .as_mut()
        .set_write_timeout_pinned(Some(WRITE_DEADLINE));
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

/// Answers one request, whatever it asks.
async fn refuse(
    io: impl AsyncRead + AsyncWrite + Unpin,
    answer: Box<dyn Fn() -> Response + Send + Sync>,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .max_buf_size(HEAD)
        .keep_alive(false);
    let service = hyper::service::service_fn(move |_: Request<Incoming>| {
        std::future::ready(Ok::<Response<Body>, std::convert::Infallible>(answer()))
    });
    // What does not ask in time is dropped.
    drop(
        timeout(
            REFUSAL_DEADLINE,
            http.serve_connection(TokioIo::new(io), service),
        )
        .await,
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{http::StatusCode, response::IntoResponse, routing::get};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        time::Instant,
    };

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    fn door(judge: impl Fn(SocketAddr) -> Verdict) -> Door<impl Fn(SocketAddr) -> Verdict> {
        let routes = Router::new()
            .route("/", get(|| async { "hello" }))
            .route("/large", get(|| async { vec![b'x'; 1 << 20] }));
        Door::new(routes, judge, CancellationToken::new())
    }

    fn connect(door: &Door<impl Fn(SocketAddr) -> Verdict>, pipe: usize) -> DuplexStream {
        let (near, far) = duplex(pipe);
        door.open(near, ([192, 0, 2, 1], 4711).into());
        far
    }

    async fn rest(mut client: DuplexStream) -> String {
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_10_seconds_however_it_trickles_in() {
        let door = door(|_| Verdict::Welcome(Counted::new(())));
        let started = Instant::now();
        let mut silent = connect(&door, 4096);
        silent.write_all(b"GET / HT").await.unwrap();
        let mut trickle = connect(&door, 4096);
        let sent = async {
            for n in 0.. {
                sleep(Duration::from_secs(1)).await;
                if trickle.write_all(b"x").await.is_err() {
                    return n;
                }
            }
            unreachable!("for ever")
        };
        let (_, sent) = tokio::join!(rest(silent), sent);
        assert!((9..=11).contains(&sent), "{sent} bytes, one in a second");
        assert!(started.elapsed() <= Duration::from_secs(11));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_asks_nothing_more_is_closed_after_10_seconds() {
        let door = door(|_| Verdict::Welcome(Counted::new(())));
        let mut client = connect(&door, 4096);
        let started = Instant::now();
        for _ in 0..3 {
            sleep(Duration::from_secs(9)).await;
            client.write_all(REQUEST).await.unwrap();
        }
        assert_eq!(rest(client).await.matches("hello").count(), 3);
        assert_eq!(started.elapsed(), Duration::from_secs(27) + HEAD_DEADLINE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_dropped_after_40_seconds() {
        let kept = Arc::new(());
        let counted = Counted::new(kept.clone());
        let door = door(move |_| Verdict::Welcome(counted.clone()));
        let mut client = connect(&door, 64);
        client
            .write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        let started = Instant::now();
        door.tasks.close();
        door.tasks.wait().await;
        assert!(
            (WRITE_DEADLINE..WRITE_DEADLINE * 2).contains(&started.elapsed()),
            "{:?}",
            started.elapsed()
        );
        drop(door);
        assert_eq!(Arc::strong_count(&kept), 1, "it counts no longer");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_not_let_in_gets_an_answer_when_asking_soon() {
        let door = door(|_| {
            Verdict::Refused(Box::new(|| {
                (StatusCode::TOO_MANY_REQUESTS, "too many").into_response()
            }))
        });
        let mut asking = connect(&door, 4096);
        asking.write_all(REQUEST).await.unwrap();
        let answer = rest(asking).await;
        assert!(
            answer.starts_with("HTTP/1.1 429") && answer.ends_with("too many"),
            "{answer}"
        );
        // More than are answered at a time, none of which asks.
        let started = Instant::now();
        let silent: Vec<_> = (0..2 * REFUSALS).map(|_| connect(&door, 4096)).collect();
        assert_eq!(door.tasks.len(), REFUSALS);
        for client in silent {
            assert_eq!(rest(client).await, "");
        }
        assert_eq!(started.elapsed(), REFUSAL_DEADLINE);
    }
}
