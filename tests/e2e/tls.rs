//! Clients that come with TLS: every way in, and a certificate that is renewed while they are
//! there.

use crate::{
    cluster::{Cluster, PATIENCE, eventually},
    node::Node,
    pki::Authority,
};
use futures::{SinkExt, StreamExt};
use rustls::pki_types::ServerName;
use safe_chat::tls::{Trust, client};
use serde_json::json;
use std::{fs, path::Path, process::Stdio, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{client_async, tungstenite::Message};

async fn connect(node: &Node, ca: &Path) -> TlsStream<TcpStream> {
    let trust = Trust {
        ca: Some(ca.to_owned()),
        ..Trust::default()
    };
    let connector = TlsConnector::from(Arc::new(client(&trust).expect("an authority")));
    let at = node.url().replace("http://", "");
    let stream = TcpStream::connect(at).await.expect("a connection");
    let name = ServerName::try_from("chat.example").expect("a name");
    let connecting = timeout(PATIENCE, connector.connect(name, stream)).await;
    connecting.expect("a handshake in time").expect("TLS")
}

/// What the node shows to who comes now.
async fn shown(node: &Node, ca: &Path) -> Vec<u8> {
    let stream = connect(node, ca).await;
    let (_, session) = stream.get_ref();
    let chain = session.peer_certificates().expect("a certificate");
    chain[0].to_vec()
}

async fn asked(node: &Node, ca: &Path, method: &str, path: &str, body: &str) -> String {
    let mut stream = connect(node, ca).await;
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: chat.example\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    let read = timeout(PATIENCE, stream.read_to_string(&mut answer)).await;
    read.expect("an answer in time")
        .expect("an answer that ends in order");
    answer
}

/// Says one line with the terminal client; what it printed and whether it ended well.
async fn chats(node: &Node, ca: Option<&Path>) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_safe-chat"));
    let url = node
        .url()
        .replace("http", "https")
        .replace("127.0.0.1", "localhost");
    command
        .args([
            "chat", &url, "--room", "aaa", "--user", "harry", "--key", "k1",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if let Some(ca) = ca {
        command.arg("--ca").arg(ca);
    }
    let mut child = command.spawn().expect("the program can be started");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(b"from a terminal\n").await.expect("typed");
    drop(stdin);
    let ended = timeout(PATIENCE, child.wait_with_output()).await;
    let ended = ended.expect("an end in time").expect("an end");
    let said = [ended.stdout, ended.stderr].concat();
    (
        ended.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

/// Nodes that show this certificate to clients.
fn with_certificate(cluster: Cluster, certificate: &Path, key: &Path) -> Cluster {
    cluster
        .with(
            "SAFE_CHAT_GATEWAY__TLS_CERTIFICATE",
            &certificate.display().to_string(),
        )
        .with("SAFE_CHAT_GATEWAY__TLS_KEY", &key.display().to_string())
}

pub(crate) async fn clients_come_with_tls_by_every_way_in(cluster: Cluster) {
    let authority = Authority::new();
    let ca = authority.ca();
    let (certificate, key) = authority.issue("node", &["chat.example", "localhost"]);
    let cluster = with_certificate(cluster, &certificate, &key);
    let node = cluster.node("node").await;
    assert!(
        node.logs().contains("https://127.0.0.1:"),
        "{}",
        node.logs()
    );

    let page = asked(&node, &ca, "GET", "/", "").await;
    assert!(
        page.starts_with("HTTP/1.1 200") && page.contains("<html"),
        "{page}"
    );
    let mut stream = connect(&node, &ca).await;
    let follow = "GET /rooms/aaa/events HTTP/1.1\r\nHost: chat.example\r\n\r\n";
    stream.write_all(follow.as_bytes()).await.expect("sent");
    let message = json!({"type": "send", "id": "m1", "text": "by POST"}).to_string();
    let path = "/rooms/aaa/messages?user=kim&pub=k2";
    let answer = asked(&node, &ca, "POST", path, &message).await;
    assert!(answer.contains("journaled"), "{answer}");
    let mut heard = String::new();
    while !heard.contains("by POST") {
        let mut part = [0; 4096];
        let read = timeout(PATIENCE, stream.read(&mut part)).await;
        let count = read.expect("an event in time").expect("a stream");
        assert!(count > 0, "the stream ended: {heard}");
        heard += &String::from_utf8_lossy(&part[..count]);
    }

    let (well, said) = chats(&node, Some(&ca)).await;
    assert!(well, "{said}");
    let (well, said) = chats(&node, None).await;
    assert!(!well && said.contains("--ca"), "{said}");
    let history = asked(&node, &ca, "GET", "/rooms/aaa/history", "").await;
    assert!(history.contains("from a terminal"), "{history}");

    let plain = reqwest::get(node.url()).await.expect("an answer");
    let (status, text) = (plain.status(), plain.text().await.expect("text"));
    assert!(
        status == 400 && text.contains("https://"),
        "{status} {text}"
    );
}

pub(crate) async fn a_certificate_is_renewed_under_its_clients_and_a_bad_one_is_not_taken(
    cluster: Cluster,
) {
    let authority = Authority::new();
    let ca = authority.ca();
    let (certificate, key) = authority.issue("node", &["chat.example"]);
    let cluster = with_certificate(cluster, &certificate, &key);
    let node = cluster.node("node").await;
    let url = "wss://chat.example/chat/aaa/user/harry?pub=k1";
    let (mut harry, _) = client_async(url, connect(&node, &ca).await)
        .await
        .expect("an upgrade");
    let first = shown(&node, &ca).await;

    // By the file alone, then by the signal alone.
    authority.issue("node", &["chat.example"]);
    eventually("the new certificate is shown", async || {
        shown(&node, &ca).await != first
    })
    .await;
    let second = shown(&node, &ca).await;
    authority.issue("node", &["chat.example"]);
    node.signal("-HUP").await;
    eventually("the newer certificate is shown", async || {
        shown(&node, &ca).await != second
    })
    .await;
    let third = shown(&node, &ca).await;

    fs::write(&certificate, "no certificate").expect("a file");
    node.signal("-HUP").await;
    node.warned("a new certificate is not used").await;
    node.signal("-HUP").await;
    assert_eq!(shown(&node, &ca).await, third);
    eventually("the second signal is answered", async || {
        node.logs()
            .contains("the certificates are the same as before")
    })
    .await;
    let warnings = node.logs().matches("a new certificate is not used").count();
    assert_eq!(warnings, 1, "{}", node.logs());

    // Who was there all the time noticed nothing.
    harry
        .send(Message::text("harry:*:still here"))
        .await
        .expect("sent");
    let mut heard = String::new();
    while !heard.contains("still here") {
        let frame = timeout(PATIENCE, harry.next())
            .await
            .expect("a frame in time");
        heard += &frame.expect("an open socket").expect("a frame").to_string();
    }
}
