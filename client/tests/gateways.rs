//! Claims about a client, against gateways of a few lines on real sockets.

use futures::{SinkExt, StreamExt};
use safe_chat_client::{
    Backoff, Client, ConnectError, End, KeyPair, Lost, Notice, Protocol, Refusal, SendError, Tls,
};
use std::{fs, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
        protocol::CloseFrame,
    },
};

struct Gateway {
    listener: TcpListener,
    url: String,
}

impl Gateway {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        Self { listener, url }
    }

    /// Answers one request with a status and a body instead of an upgrade.
    async fn refuses(&self, status: &str, body: &str) {
        let (mut stream, _) = self.listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await.unwrap();
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
    }

    /// Takes one session.
    async fn takes(&self) -> Session<TcpStream> {
        let (stream, _) = self.listener.accept().await.unwrap();
        Session::over(stream).await
    }
}

/// A session, as its gateway sees it.
struct Session<S> {
    socket: WebSocketStream<S>,
    path: String,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    async fn over(stream: S) -> Self {
        let mut path = String::new();
        #[expect(clippy::result_large_err, reason = "the signature is the library's")]
        let answer = |request: &Request, mut response: Response| {
            path = request.uri().to_string();
            let name = "sec-websocket-protocol";
            if let Some(protocol) = request.headers().get(name) {
                response.headers_mut().insert(name, protocol.clone());
            }
            Ok(response)
        };
        let socket = tokio_tungstenite::accept_hdr_async(stream, answer).await;
        Self {
            socket: socket.unwrap(),
            path,
        }
    }

    async fn says(&mut self, frames: &[&str]) {
        for frame in frames {
            self.socket.send(Message::text(*frame)).await.unwrap();
        }
    }

    /// The next text that the client says.
    async fn hears(&mut self) -> String {
        loop {
            if let Message::Text(text) = self.socket.next().await.unwrap().unwrap() {
                return text.to_string();
            }
        }
    }

    async fn closes(mut self, code: u16) {
        let reason = "".into();
        let frame = CloseFrame {
            code: code.into(),
            reason,
        };
        self.socket.close(Some(frame)).await.unwrap();
    }
}

fn builder(gateways: &[&Gateway]) -> safe_chat_client::Builder {
    let moment = Duration::from_millis(1);
    Client::builder()
        .gateways(gateways.iter().map(|gateway| &gateway.url))
        .room("aaa")
        .user("harry")
        .key("KEY")
        .backoff(Backoff {
            first: moment,
            most: moment,
        })
}

const WELCOME: &str = r#"{"type":"welcome","seq":1,"recovered":true,"members":["harry"]}"#;

fn event(seq: u64, id: &str) -> String {
    format!(
        r#"{{"type":"event","seq":{seq},"at":1,"kind":"text","from":"harry","text":"x","id":"{id}"}}"#
    )
}

#[tokio::test]
async fn a_final_refusal_ends_with_the_words_of_the_gateway() {
    let gateway = Gateway::new().await;
    let body = r#"{"error":{"reason":"key_mismatch","message":"another key is pinned"}}"#;
    let (refused, _) = tokio::join!(
        builder(&[&gateway]).connect(),
        gateway.refuses("403 Forbidden", body)
    );
    let error = refused.unwrap_err();
    assert!(
        matches!(
            &error,
            ConnectError::Ended(End::Final(Lost::Refused(Refusal { status: 403, .. })))
        ),
        "{error:?}"
    );
    assert_eq!(error.to_string(), "key_mismatch: another key is pinned");
}

#[tokio::test]
async fn what_cannot_be_asked_for_is_said_without_a_connection() {
    let gateway = Gateway::new().await;
    let bad = [
        builder(&[]),
        builder(&[&gateway]).room("a b"),
        builder(&[&gateway]).key("secret!"),
        builder(&[&gateway]).gateway("ftp://x"),
    ];
    for builder in bad {
        let error = builder.start().unwrap_err();
        assert!(matches!(error, ConnectError::Config(_)), "{error:?}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn a_draining_gateway_is_left_for_the_next_one_and_the_session_resumes_there() {
    let (first, second) = (Gateway::new().await, Gateway::new().await);
    let server = async {
        first
            .refuses(
                "503 Service Unavailable",
                r#"{"error":{"reason":"draining"}}"#,
            )
            .await;
        let mut session = second.takes().await;
        let path = session.path.clone();
        session.says(&[WELCOME, &event(2, "m9")]).await;
        session.closes(4003).await;
        first.refuses("502 Bad Gateway", "").await;
        (path, second.takes().await)
    };
    let client = async {
        let mut client = builder(&[&first, &second]).connect().await.unwrap();
        assert_eq!(client.next_event().await.unwrap().seq, 2);
        client
    };
    let ((path, session), _client) = tokio::join!(server, client);
    assert!(
        path.starts_with("/chat/aaa/user/harry?pub=KEY&device=c-"),
        "{path}"
    );
    assert!(path.ends_with("&history=0"), "{path}");
    assert!(
        session.path.ends_with("&history=0&since=2&since_at=1"),
        "{}",
        session.path
    );
}

#[tokio::test]
async fn a_message_is_sent_again_with_its_id_and_its_answer_tells_that_it_is_a_duplicate() {
    let gateway = Gateway::new().await;
    let server = async {
        let mut session = gateway.takes().await;
        session.says(&[WELCOME]).await;
        let first = session.hears().await;
        drop(session);
        let mut session = gateway.takes().await;
        session.says(&[WELCOME]).await;
        assert_eq!(session.hears().await, first);
        let id = first.split('"').nth(7).unwrap().to_owned();
        let answer = format!(r#"{{"type":"journaled","id":"{id}","seq":7,"duplicate":true}}"#);
        session
            .says(&[
                &format!(r#"{{"type":"accepted","id":"{id}"}}"#),
                &answer,
                r#"{"type":"event","seq":9,"at":1,"kind":"text","from":"charly","text":"gap"}"#,
            ])
            .await;
        (session, gateway.takes().await)
    };
    let client = async {
        let client = builder(&[&gateway]).connect().await.unwrap();
        let mut sending = client.submit("Hello").await.unwrap();
        assert!(sending.accepted().await);
        (sending.await.unwrap(), client)
    };
    let ((_first, second), (receipt, _client)) = tokio::join!(server, client);
    assert_eq!(receipt.seq, 7);
    assert_eq!(receipt.duplicate, safe_chat_client::Duplicate::Yes);
    // The gap after it was no event, but a reason to come back.
    assert!(second.path.ends_with("&since=1"), "{}", second.path);
}

#[tokio::test]
async fn after_bye_the_delay_is_the_one_that_was_said() {
    let gateway = Gateway::new().await;
    let bye = r#"{"type":"bye","reason":"draining","reconnect_after_ms":1300}"#;
    let server = async {
        let mut session = gateway.takes().await;
        session.says(&[WELCOME, bye]).await;
        session.closes(1001).await;
    };
    let client = async {
        let mut client = builder(&[&gateway]).connect().await.unwrap();
        loop {
            if let Notice::Disconnected { wait, .. } = client.next().await.unwrap() {
                return wait;
            }
        }
    };
    let ((), wait) = tokio::join!(server, client);
    assert_eq!(wait, Duration::from_millis(1300));
}

#[tokio::test]
async fn a_replaced_session_goes_on_as_another_device_but_not_for_ever() {
    let gateway = Gateway::new().await;
    let server = async {
        let mut paths = std::collections::BTreeSet::new();
        for _ in 0..4 {
            let session = gateway.takes().await;
            paths.insert(session.path.clone());
            session.closes(4005).await;
        }
        paths
    };
    let (paths, ended) = tokio::join!(server, builder(&[&gateway]).connect());
    assert_eq!(ended.unwrap_err(), ConnectError::Ended(End::Replaced));
    assert_eq!(paths.len(), 4, "{paths:?}");
}

#[tokio::test]
async fn answers_come_although_nobody_reads_the_events_and_none_of_them_is_lost() {
    const EVENTS: u64 = 50;
    let gateway = Gateway::new().await;
    let (answered, mut was_answered) = mpsc::channel::<()>(1);
    let server = async {
        let mut session = gateway.takes().await;
        session.says(&[WELCOME]).await;
        let id = session.hears().await.split('"').nth(7).unwrap().to_owned();
        for seq in 2..=EVENTS {
            session.says(&[&event(seq, "m9")]).await;
        }
        let answer = format!(r#"{{"type":"journaled","id":"{id}","seq":2}}"#);
        session.says(&[&answer]).await;
        was_answered.recv().await;
        let mut again = gateway.takes().await;
        let since = again
            .path
            .rsplit('=')
            .next()
            .unwrap()
            .parse::<u64>()
            .unwrap();
        let head = format!(r#"{{"type":"welcome","seq":{EVENTS},"recovered":true}}"#);
        again.says(&[&head]).await;
        for seq in since + 1..=EVENTS {
            again.says(&[&event(seq, "m9")]).await;
        }
        (session, again)
    };
    let client = async {
        let builder = builder(&[&gateway]).queue(8);
        let mut client = builder.connect().await.unwrap();
        client.send("Hello").await.unwrap();
        answered.send(()).await.unwrap();
        let mut seen = Vec::new();
        while seen.last() != Some(&EVENTS) {
            seen.push(client.next_event().await.unwrap().seq);
        }
        seen
    };
    let (_sessions, seen) = tokio::join!(server, client);
    assert_eq!(seen, (2..=EVENTS).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_for_ever_when_no_gateway_answers() {
    let gateway = Gateway::new().await;
    let refused = gateway.url.clone();
    drop(gateway);
    let builder = Client::builder()
        .gateway(&refused)
        .room("aaa")
        .user("harry");
    let client = builder.clone().start().unwrap();
    assert_eq!(client.send("Hello").await, Err(SendError::Unanswered));
    let error = builder.connect().await.unwrap_err();
    assert!(
        matches!(error, ConnectError::TimedOut { last: Some(_), .. }),
        "{error:?}"
    );
    assert!(
        error.to_string().contains(&refused.replace("http", "ws")),
        "{error}"
    );
}

#[tokio::test]
async fn who_closes_says_goodbye_and_gets_no_answers_any_more() {
    let gateway = Gateway::new().await;
    let server = async {
        let mut session = gateway.takes().await;
        session.says(&[WELCOME]).await;
        loop {
            if let Message::Close(_) = session.socket.next().await.unwrap().unwrap() {
                return;
            }
        }
    };
    let client = async {
        let client = builder(&[&gateway]).connect().await.unwrap();
        let handle = client.handle();
        client.close().await;
        assert_eq!(handle.send("Hello").await, Err(SendError::Ended));
    };
    tokio::join!(server, client);
}

#[tokio::test]
async fn the_text_protocol_asks_for_no_subprotocol_and_knows_its_own_lines() {
    let gateway = Gateway::new().await;
    let server = async {
        let mut session = gateway.takes().await;
        session.says(&["harry:aaa:connected"]).await;
        assert_eq!(session.hears().await, "harry:charly:Hello");
        session.says(&["[aaa:3 - harry -> charly] Hello"]).await;
        session
    };
    let client = async {
        let builder = builder(&[&gateway]).protocol(Protocol::Text);
        let client = builder.connect().await.unwrap();
        let hello = safe_chat_client::Message::text("Hello").to("charly");
        (client.send(hello).await.unwrap().seq, client)
    };
    let (_session, (seq, _client)) = tokio::join!(server, client);
    assert_eq!(seq, 3);
}

#[tokio::test]
async fn a_gateway_with_tls_is_known_by_the_authority_that_was_named_and_by_no_other() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.der().clone(), made.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_no_client_auth()
    .with_single_cert(vec![certificate], key.try_into().unwrap())
    .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, made.cert.pem()).unwrap();
    let gateway = Gateway::new().await;
    let port = gateway.listener.local_addr().unwrap().port();
    let url = format!("https://localhost:{port}");
    let server = async {
        let (stream, _) = gateway.listener.accept().await.unwrap();
        let mut session = Session::over(acceptor.accept(stream).await.unwrap()).await;
        session.says(&[WELCOME]).await;
        let (stream, _) = gateway.listener.accept().await.unwrap();
        assert!(acceptor.accept(stream).await.is_err());
        session
    };
    let client = async {
        let known = Client::builder().gateway(&url).room("aaa").user("harry");
        let stranger = known.clone();
        let client = known.tls(Tls::Authorities(ca)).connect().await.unwrap();
        let mut stranger = stranger.start().unwrap();
        let Notice::Disconnected { why, .. } = stranger.next().await.unwrap() else {
            panic!("not refused")
        };
        assert!(why.to_string().contains("name the authority"), "{why}");
        stranger.abort();
        client
    };
    tokio::join!(server, client);
}

#[tokio::test]
async fn a_client_that_is_watched_leaves_no_events_out() {
    let gateway = Gateway::new().await;
    let server = async {
        let mut session = gateway.takes().await;
        session.says(&[WELCOME]).await;
        for seq in 2..=20 {
            session.says(&[&event(seq, &format!("m{seq}"))]).await;
        }
        session
    };
    let watched = builder(&[&gateway]).since(1).queue(1).trace(true);
    let read = async {
        let mut client = watched.start().unwrap();
        let mut told = Vec::new();
        while told.last() != Some(&20) {
            match client.next().await.unwrap() {
                Notice::Event(event) => told.push(event.seq),
                Notice::Disconnected { why, .. } => panic!("{why} after {told:?}"),
                _ => {}
            }
        }
        told
    };
    let (_session, told) = tokio::join!(server, read);
    assert_eq!(told, (2..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn who_speaks_tls_to_a_plain_gateway_is_told_so() {
    let gateway = Gateway::new().await;
    let secure = gateway.url.replacen("http", "https", 1);
    let client = Client::builder().gateway(secure).room("aaa").user("harry");
    let mut client = client.key("KEY").start().unwrap();
    let server = gateway.refuses("400 Bad Request", "");
    let told = async {
        loop {
            if let Notice::Disconnected { why, .. } = client.next().await.unwrap() {
                return why.to_string();
            }
        }
    };
    let ((), why) = tokio::join!(server, told);
    assert!(why.contains("no TLS is spoken there"), "{why}");
}

#[tokio::test]
async fn a_key_pair_is_proven_where_the_gateway_asks_and_not_elsewhere() {
    let gateway = Gateway::new().await;
    let seed: [u8; 32] = std::array::from_fn(|n| n as u8);
    let pair = KeyPair::from_seed(&seed);
    let public = pair.public();
    let proving = builder(&[&gateway]).key_pair(pair).device(None);
    let mut client = proving.start().unwrap();
    let mut session = gateway.takes().await;
    let asks = format!("?pub={public}&auth=1");
    assert!(session.path.contains(&asks), "{}", session.path);
    let nonce = "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8";
    let challenge = format!(r#"{{"type":"challenge","nonce":"{nonce}","within_ms":10000}}"#);
    session.says(&[&challenge]).await;
    let proof: serde_json::Value = serde_json::from_str(&session.hears().await).unwrap();
    let host = gateway.url.strip_prefix("http://").unwrap();
    assert_eq!(
        (&proof["type"], &proof["host"]),
        (&"proof".into(), &host.into())
    );
    assert_eq!(proof["signature"].as_str().unwrap().len(), 86);
    session
        .says(&[&WELCOME.replace("\"seq\"", "\"proven\":true,\"seq\"")])
        .await;
    let Some(Notice::Connected { welcome, .. }) = client.next().await else {
        panic!("not connected")
    };
    assert!(welcome.proven);
    client.close().await;

    // A server of before, which lets it in at once.
    let mut client = builder(&[&gateway])
        .key_pair(KeyPair::from_seed(&seed))
        .start()
        .unwrap();
    let mut session = gateway.takes().await;
    session.says(&[WELCOME]).await;
    let Some(Notice::Connected { welcome, .. }) = client.next().await else {
        panic!("not connected")
    };
    assert!(!welcome.proven);
    drop(client);

    // One that asks although nothing was offered.
    let mut client = builder(&[&gateway]).start().unwrap();
    let mut session = gateway.takes().await;
    assert!(!session.path.contains("auth="), "{}", session.path);
    session.says(&[&challenge]).await;
    let Some(Notice::Disconnected { why, .. }) = client.next().await else {
        panic!("still connected")
    };
    assert!(why.to_string().contains("not offered"), "{why}");
}
