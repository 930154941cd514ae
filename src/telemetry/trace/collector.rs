//! Requests to the collector, each over a connection of its own and within a deadline. On a runtime
//! of its own, which only the thread of the exporter drives: the node's has nothing to do with it.

use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use bytes::Bytes;
use hyper::{
    Request, Response, Uri,
    client::conn::http1,
    header::{CONNECTION, HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use opentelemetry_http::{HttpClient, HttpError};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use std::{
    io, mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    runtime::{Builder, Runtime},
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tracing::{info, warn};

/// More than any answer has.
const MOST: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Collector {
    runtime: Runtime,
    /// For https.
    tls: Option<Arc<ClientConfig>>,
    deadline: Duration,
    /// Whether the last request failed: that is said once.
    fails: AtomicBool,
}

impl Collector {
    pub(super) fn new(url: &str, deadline: Duration) -> io::Result<Self> {
        Ok(Self {
            runtime: Builder::new_current_thread().enable_all().build()?,
            tls: match url.starts_with("https:") {
                true => Some(Arc::new(trust_the_system()?)),
                false => None,
            },
            deadline,
            fails: AtomicBool::new(false),
        })
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let uri = request.uri().clone();
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let port = match (uri.port_u16(), &self.tls) {
            (Some(port), _) => port,
            (None, None) => 80,
            (None, Some(_)) => 443,
        };
        let stream = TcpStream::connect((host, port)).await?;
        let Some(tls) = &self.tls else {
            return exchange(stream, request, &uri).await;
        };
        let name = ServerName::try_from(host.to_owned())?;
        let stream = TlsConnector::from(tls.clone())
            .connect(name, stream)
            .await?;
        exchange(stream, request, &uri).await
    }

    fn note(&self, sent: &Result<Response<Bytes>, HttpError>) {
        let why = match sent {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("it answers {}", answer.status())),
            Err(error) => Some(error.to_string()),
        };
        match (why, &self.fails) {
            (Some(why), fails) if !fails.swap(true, Relaxed) => warn!(
                %why,
                "the collector of traces does not take spans: they are dropped and counted; \
                 look at trace.endpoint and trace.headers"
            ),
            (None, fails) if fails.swap(false, Relaxed) => {
                info!("the collector of traces takes spans again");
            }
            _ => {}
        }
    }
}

#[async_trait]
impl HttpClient for Collector {
    /// Blocks: the thread that calls it has nothing else to do.
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sent = self.runtime.block_on(async {
            let late = |_| -> HttpError {
                let within = self.deadline;
                format!("no answer within {within:?}").into()
            };
            timeout(self.deadline, self.send(request))
                .await
                .map_err(late)?
        });
        self.note(&sent);
        sent
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    mut request: Request<Bytes>,
    uri: &Uri,
) -> Result<Response<Bytes>, HttpError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_str(authority)?);
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse()?;
    let asked = async {
        let answer = sender.send_request(request.map(Body::from)).await?;
        let (mut head, body) = answer.into_parts();
        let body = to_bytes(Body::new(body), MOST).await?;
        let mut answer = Response::new(body);
        *answer.status_mut() = head.status;
        *answer.headers_mut() = mem::take(&mut head.headers);
        Ok(answer)
    };
    // The connection moves the bytes; it ends with the exchange, or fails, which the exchange
    // notices.
    let (answer, _) = tokio::join!(asked, connection);
    answer
}

/// Who is trusted to be the collector: whom the system trusts (`SSL_CERT_FILE` names others).
fn trust_the_system() -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(io::Error::other(
            "trace.endpoint is https, and this system trusts nobody: install CA certificates, \
             or name a file of them with SSL_CERT_FILE",
        ));
    }
    Ok(ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth())
}
