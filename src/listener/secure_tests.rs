//! A port that speaks TLS, on pipes, in virtual time.

use super::*;
use crate::tls::{Identity, Trust, client};
use axum::{response::IntoResponse, routing::get};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::ServerName;
use std::{
    fs,
    path::PathBuf,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio_rustls::TlsConnector;

const PEER: ([u8; 4], u16) = ([192, 0, 2, 1], 4711);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// A pipe whose first byte can be looked at.
struct Pipe {
    io: DuplexStream,
    first: Option<u8>,
}

impl Socket for Pipe {
    fn is_closed(&self) -> bool {
        false
    }
}

impl RawSocket for Pipe {
    fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<u8>>> {
        if self.first.is_none() {
            let mut byte = [0];
            let mut buffer = ReadBuf::new(&mut byte);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
            self.first = buffer.filled().first().copied();
        }
        Poll::Ready(Ok(self.first))
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.first.take() {
            Some(first) => {
                buffer.put_slice(&[first]);
                Poll::Ready(Ok(()))
            }
            None => Pin::new(&mut self.io).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// The certificate of a port, in files.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        let params = CertificateParams::new(["chat.example".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        fs::write(files.certificate(), certificate).unwrap();
        fs::write(files.key(), key.serialize_pem()).unwrap();
        files
    }

    fn certificate(&self) -> PathBuf {
        self.0.path().join("certificate.pem")
    }

    fn key(&self) -> PathBuf {
        self.0.path().join("key.pem")
    }

    fn tls(&self) -> Tls {
        Tls::new(Identity::load(&self.certificate(), &self.key()).unwrap())
    }

    /// A client that trusts this certificate, and offers these protocols above TLS.
    fn client(&self, protocols: &[&str]) -> TlsConnector {
        let trust = Trust {
            ca: Some(self.certificate()),
            ..Trust::default()
        };
        let mut config = client(&trust).unwrap();
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().into())
            .collect();
        TlsConnector::from(Arc::new(config))
    }
}

fn open(
    files: &Files,
    judge: impl Fn(SocketAddr) -> Verdict + Send + Sync + 'static,
) -> DuplexStream {
    let routes = Router::new().route("/", get(|| async { "hello" }));
    let (halt, keep_alive) = (CancellationToken::new(), Duration::from_secs(75));
    let listener = Listener::new(routes, judge, keep_alive, Some(files.tls()), halt);
    let (io, far) = duplex(64 * 1024);
    listener.open(Pipe { io, first: None }, PEER.into());
    far
}

fn welcome(_: SocketAddr) -> Verdict {
    Verdict::Welcome(Counted::new(()))
}

fn name() -> ServerName<'static> {
    "chat.example".try_into().unwrap()
}

async fn asked(files: &Files, io: DuplexStream) -> String {
    let client = files.client(&["h2", "http/1.1"]);
    let mut secured = client.connect(name(), io).await.unwrap();
    assert_eq!(secured.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    secured.write_all(REQUEST).await.unwrap();
    let mut answer = String::new();
    secured.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(start_paused = true)]
async fn a_request_is_answered_through_tls_which_ends_in_order() {
    let files = Files::new();
    let answer = asked(&files, open(&files, welcome)).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"),
        "{answer}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_handshake_has_10_seconds_and_counts_as_a_connection() {
    let files = Files::new();
    for begins in [&b""[..], b"\x16\x03\x01"] {
        let kept = Arc::new(());
        let counted = Counted::new(kept.clone());
        let mut silent = open(&files, move |_| Verdict::Welcome(counted.clone()));
        silent.write_all(begins).await.unwrap();
        let started = Instant::now();
        let mut rest = Vec::new();
        silent.read_to_end(&mut rest).await.unwrap();
        assert_eq!((started.elapsed(), rest), (HANDSHAKE_DEADLINE, vec![]));
        assert_eq!(Arc::strong_count(&kept), 1, "it counts no longer");
    }
}

#[tokio::test(start_paused = true)]
async fn who_speaks_without_tls_is_told_so() {
    let files = Files::new();
    let mut plain = open(&files, welcome);
    plain.write_all(REQUEST).await.unwrap();
    let mut answer = String::new();
    plain.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 400") && answer.contains("https://"),
        "{answer}"
    );
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_hears_that_through_tls() {
    let files = Files::new();
    let full = |_| {
        Verdict::Refused(Box::new(|_| {
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }))
    };
    let answer = asked(&files, open(&files, full)).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    // One that asks nothing is dropped soon.
    let mut silent = open(&files, full);
    let started = Instant::now();
    silent.read_to_end(&mut Vec::new()).await.unwrap();
    assert_eq!(started.elapsed(), REFUSAL_DEADLINE);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_speaks_nothing_but_http_2_gets_no_tls() {
    let files = Files::new();
    let io = open(&files, welcome);
    // It sees the alert, or that the connection has ended before it could read that.
    let connected = files.client(&["h2"]).connect(name(), io).await;
    assert!(connected.is_err());
}
