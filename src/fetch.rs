//! Small requests over HTTP/1.1 to servers that the configuration names, each over a connection of
//! its own and within a deadline. Redirections are not followed.

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use hyper::{
    Request, Response, Uri,
    client::conn::http1,
    header::{CONNECTION, HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use std::{mem, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// Why there is no answer.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// Sends requests to one server.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    /// For https.
    tls: Option<Arc<ClientConfig>>,
    deadline: Duration,
    /// The most bytes of an answer.
    most: usize,
}

impl Client {
    pub(crate) fn new(tls: Option<Arc<ClientConfig>>, deadline: Duration, most: usize) -> Self {
        Self {
            tls,
            deadline,
            most,
        }
    }

    /// Sends a request whose address is absolute.
    pub(crate) async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let sent = timeout(self.deadline, self.exchange(request)).await;
        sent.map_err(|_| -> Error { format!("no answer within {:?}", self.deadline).into() })?
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let uri = request.uri().clone();
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let port = match (uri.port_u16(), &self.tls) {
            (Some(port), _) => port,
            (None, None) => 80,
            (None, Some(_)) => 443,
        };
        let stream = TcpStream::connect((host, port)).await?;
        let Some(tls) = &self.tls else {
            return exchange(stream, request, &uri, self.most).await;
        };
        let name = ServerName::try_from(host.to_owned())?;
        let stream = TlsConnector::from(tls.clone())
            .connect(name, stream)
            .await?;
        exchange(stream, request, &uri, self.most).await
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    mut request: Request<Bytes>,
    uri: &Uri,
    most: usize,
) -> Result<Response<Bytes>, Error> {
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
        let body = to_bytes(Body::new(body), most).await?;
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
