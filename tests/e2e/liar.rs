//! A server that is not honest: it stands between a client and a node, and changes what the node
//! says as a test wants it.

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    response::Response,
};
use futures::{SinkExt, StreamExt};
use hyper::{
    StatusCode,
    body::Incoming,
    header::{CONNECTION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE},
    server::conn::http1,
    service::service_fn,
    upgrade,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinSet,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, handshake::derive_accept_key, protocol::Role},
};

/// Larger than any answer of these tests.
const MOST: usize = 1024 * 1024;

/// What the node has said.
pub(crate) enum Said<'a> {
    /// The answer to a request of this path. One that becomes null was not found.
    Answer(&'a str),
    /// A frame of a session.
    Frame,
}

type Lie = Box<dyn Fn(Said<'_>, &mut Value) + Send + Sync>;
type Refusal = Box<dyn Fn(&str) -> Option<(u16, Value)> + Send + Sync>;
type Inside = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// See the module.
pub(crate) struct Liar {
    address: SocketAddr,
    node: Arc<Way>,
    /// Ends with the liar.
    _tasks: JoinSet<()>,
}

/// To the node, and what is done on the way.
struct Way {
    /// Host and port.
    node: String,
    lie: Mutex<Lie>,
    /// With what a session of this path is refused.
    refusal: Mutex<Refusal>,
    cut: Notify,
    /// What clients have sent in their sessions.
    sent: Mutex<Vec<String>>,
}

impl Liar {
    /// One that is honest until it [`Liar::tells`] something else.
    pub(crate) async fn before(node: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let node = Arc::new(Way {
            node: node.trim_start_matches("http://").into(),
            lie: Mutex::new(Box::new(|_, _| {})),
            refusal: Mutex::new(Box::new(|_| None)),
            cut: Notify::new(),
            sent: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, node.clone()));
        Self {
            address,
            node,
            _tasks: tasks,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on it makes this of what the node says.
    pub(crate) fn tells(&self, lie: impl Fn(Said<'_>, &mut Value) + Send + Sync + 'static) {
        *self.node.lie.lock().expect("no panic") = Box::new(lie);
    }

    /// From now on it refuses sessions of these paths so, with a status and a body; those that there
    /// are end.
    pub(crate) fn refuses(
        &self,
        refusal: impl Fn(&str) -> Option<(u16, Value)> + Send + Sync + 'static,
    ) {
        *self.node.refusal.lock().expect("no panic") = Box::new(refusal);
        self.node.cut.notify_waiters();
    }

    /// The frames that clients have sent, as they are.
    pub(crate) fn was_sent(&self) -> Vec<String> {
        self.node.sent.lock().expect("no panic").clone()
    }
}

impl Way {
    /// What a client gets in place of this; as it is if that is no JSON.
    fn changed(&self, about: Said<'_>, text: &[u8]) -> Vec<u8> {
        let Ok(mut value) = serde_json::from_slice(text) else {
            return text.to_vec();
        };
        self.lie.lock().expect("no panic")(about, &mut value);
        value.to_string().into_bytes()
    }
}

async fn accept(listener: TcpListener, way: Arc<Way>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let way = way.clone();
        connections.spawn(async move {
            let answered = service_fn(|request| answer(request, way.clone()));
            let served = http1::Builder::new().serve_connection(TokioIo::new(client), answered);
            // A client may go at any time.
            let _ = served.with_upgrades().await;
        });
    }
}

async fn answer(request: Request<Incoming>, way: Arc<Way>) -> Result<Response, Infallible> {
    Ok(match request.headers().contains_key(UPGRADE) {
        true => session(request, way).await,
        false => exchange(request, &way).await,
    })
}

async fn exchange(request: Request<Incoming>, way: &Way) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(Body::new(body), MOST).await.expect("a body");
    let asked = reqwest::Client::new()
        .request(head.method, format!("http://{}{}", way.node, head.uri))
        .headers(head.headers)
        .body(body);
    let found = asked.send().await.expect("an answer");
    let (status, mut answer) = (found.status(), Response::builder());
    for (name, value) in found.headers() {
        // The body may become longer.
        if !matches!(name.as_str(), "content-length" | "transfer-encoding") {
            answer = answer.header(name, value);
        }
    }
    let body = found.bytes().await.expect("a body");
    let body = way.changed(Said::Answer(head.uri.path()), &body);
    let status = match &body[..] {
        b"null" => StatusCode::NOT_FOUND,
        _ => status,
    };
    let answer = answer.status(status);
    answer.body(body.into()).expect("an answer")
}

async fn session(mut request: Request<Incoming>, way: Arc<Way>) -> Response {
    let refused = (way.refusal.lock().expect("no panic"))(request.uri().path());
    if let Some((status, body)) = refused {
        let answer = Response::builder().status(status);
        return answer.body(body.to_string().into()).expect("an answer");
    }
    let mut asked = Request::builder().uri(format!("ws://{}{}", way.node, request.uri()));
    *asked.headers_mut().expect("headers") = request.headers().clone();
    let (inside, accepted) = match connect_async(asked.body(()).expect("a request")).await {
        Ok(opened) => opened,
        Err(Error::Http(refused)) => return refused.map(|body| body.unwrap_or_default().into()),
        Err(why) => panic!("the node is not there: {why}"),
    };
    let key = request.headers()[SEC_WEBSOCKET_KEY].as_bytes();
    let mut answer = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "upgrade")
        .header(UPGRADE, "websocket")
        .header("sec-websocket-accept", derive_accept_key(key));
    if let Some(protocol) = accepted.headers().get(SEC_WEBSOCKET_PROTOCOL) {
        answer = answer.header(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    let upgraded = upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgraded.await {
            let outside =
                WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
            between(outside, inside, &way).await;
        }
    });
    answer.body(Body::empty()).expect("an answer")
}

/// Passes on what both sides say, until one of them goes.
async fn between(
    mut outside: WebSocketStream<TokioIo<upgrade::Upgraded>>,
    mut inside: Inside,
    way: &Way,
) {
    let cut = way.cut.notified();
    tokio::pin!(cut);
    loop {
        let passed = tokio::select! {
            () = &mut cut => return,
            Some(Ok(message)) = outside.next() => {
                if let Message::Text(text) = &message {
                    way.sent.lock().expect("no panic").push(text.to_string());
                }
                inside.send(message).await
            }
            Some(Ok(message)) = inside.next() => {
                let message = match message {
                    Message::Text(text) => {
                        let said = way.changed(Said::Frame, text.as_bytes());
                        Message::text(String::from_utf8(said).expect("UTF-8"))
                    }
                    other => other,
                };
                outside.send(message).await
            }
            else => return,
        };
        if passed.is_err() {
            return;
        }
    }
}
