//! Claims about the link, against servers of a few lines on real sockets.

use std::time::Duration;

use futures::SinkExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::address::Address;
use super::link::{Identity, Link, Signal};

async fn listener() -> (TcpListener, Address) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    (listener, address)
}

fn link(addresses: &[&Address]) -> Link {
    let identity = Identity::new("aaa", "harry", "KEY", 50);
    Link::new(
        addresses.iter().map(|&address| address.clone()).collect(),
        None,
        identity,
    )
}

/// Answers one request with a status and a body instead of an upgrade.
async fn refuse(listener: &TcpListener, status: &str, headers: &str, body: &str) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = [0; 4096];
    let _ = stream.read(&mut request).await.unwrap();
    let answer = format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await.unwrap();
}

/// Accepts one WebSocket and reports the path it came with.
async fn accept(
    listener: &TcpListener,
    paths: &mpsc::UnboundedSender<String>,
) -> WebSocketStream<TcpStream> {
    let (stream, _) = listener.accept().await.unwrap();
    #[expect(clippy::result_large_err, reason = "the signature is the library's")]
    let answer = |request: &Request, mut response: Response| {
        paths.send(request.uri().to_string()).unwrap();
        response.headers_mut().insert(
            "sec-websocket-protocol",
            request.headers()["sec-websocket-protocol"].clone(),
        );
        Ok(response)
    };
    tokio_tungstenite::accept_hdr_async(stream, answer)
        .await
        .unwrap()
}

async fn close(mut socket: WebSocketStream<TcpStream>, code: u16) {
    socket
        .close(Some(CloseFrame {
            code: code.into(),
            reason: "".into(),
        }))
        .await
        .unwrap();
}

/// The next signal; connects when it is time to, resuming after `since`.
async fn next(link: &mut Link, since: Option<u64>) -> Signal {
    loop {
        match timeout(Duration::from_secs(5), link.next())
            .await
            .expect("a signal")
        {
            Signal::Connect => link.connect(since),
            signal => return signal,
        }
    }
}

#[tokio::test]
async fn a_final_refusal_ends_with_the_words_of_the_server() {
    let (listener, address) = listener().await;
    let body = r#"{"error":{"reason":"key_mismatch","message":"another key is pinned"}}"#;
    tokio::spawn(async move { refuse(&listener, "403 Forbidden", "", body).await });
    let Signal::Over(why) = next(&mut link(&[&address]), None).await else {
        panic!("not over")
    };
    assert_eq!(why, "key_mismatch: another key is pinned");
}

#[tokio::test]
async fn what_a_refusal_says_cannot_command_the_terminal() {
    let (listener, address) = listener().await;
    let body = r#"{"error":{"reason":"bad_room","message":"\u001b[2Jgone"}}"#;
    tokio::spawn(async move { refuse(&listener, "400 Bad Request", "", body).await });
    let Signal::Over(why) = next(&mut link(&[&address]), None).await else {
        panic!("not over")
    };
    assert_eq!(why, "bad_room: \\u{1b}[2Jgone");
}

#[tokio::test]
async fn a_draining_server_is_left_for_the_next_one_with_the_same_since() {
    let ((first, first_address), (second, second_address)) = (listener().await, listener().await);
    let (paths, mut seen) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        refuse(
            &first,
            "503 Service Unavailable",
            "",
            r#"{"error":{"reason":"draining"}}"#,
        )
        .await
    });
    tokio::spawn(async move {
        let mut socket = accept(&second, &paths).await;
        socket.send(Message::text("hello")).await.unwrap();
        close(socket, 4005).await;
    });
    let mut link = link(&[&first_address, &second_address]);
    assert!(
        matches!(next(&mut link, Some(7)).await, Signal::Down { why, .. } if why == "draining")
    );
    assert!(matches!(next(&mut link, Some(7)).await, Signal::Frame(text) if text == "hello"));
    let Signal::Down { why, .. } = next(&mut link, Some(7)).await else {
        panic!("not down")
    };
    assert!(why.starts_with("replaced"), "{why}");
    let path = seen.recv().await.unwrap();
    assert!(
        path.starts_with("/chat/aaa/user/harry?pub=KEY&device=cli-"),
        "{path}"
    );
    assert!(path.ends_with("&history=50&since=7"), "{path}");
}

#[tokio::test]
async fn a_replaced_session_goes_on_as_another_device_but_not_for_ever() {
    let (listener, address) = listener().await;
    let (paths, mut seen) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            close(accept(&listener, &paths).await, 4005).await;
        }
    });
    let mut link = link(&[&address]);
    for _ in 0..3 {
        assert!(matches!(next(&mut link, None).await, Signal::Down { .. }));
    }
    assert!(matches!(next(&mut link, None).await, Signal::Over(_)));
    let mut devices = std::collections::BTreeSet::new();
    while let Ok(path) = seen.try_recv() {
        devices.insert(path);
    }
    assert_eq!(devices.len(), 4, "{devices:?}");
}

#[tokio::test]
async fn after_bye_the_delay_is_the_one_that_was_said() {
    let (listener, address) = listener().await;
    let (paths, _seen) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut socket = accept(&listener, &paths).await;
        socket.send(Message::text("bye")).await.unwrap();
        close(socket, 1001).await;
    });
    let mut link = link(&[&address]);
    assert!(matches!(next(&mut link, None).await, Signal::Frame(_)));
    link.said_bye(Duration::from_millis(1300));
    assert!(
        matches!(next(&mut link, None).await, Signal::Down { wait, .. } if wait == Duration::from_millis(1300))
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_is_tried_again_later_each_time() {
    let (listener, address) = listener().await;
    drop(listener);
    let mut link = link(&[&address]);
    let mut waits = Vec::new();
    for _ in 0..3 {
        let Signal::Down { wait, .. } = next(&mut link, None).await else {
            panic!("not down")
        };
        waits.push(wait);
    }
    assert!(
        waits[0] >= Duration::from_millis(250) && waits[2] >= Duration::from_secs(1),
        "{waits:?}"
    );
}
