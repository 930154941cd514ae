//! A port on pipes, in virtual time.

use super::*;
use axum::{http::StatusCode, response::IntoResponse, routing::get};
use std::task::{Context, Poll};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::Instant,
};

/// Longer than a head may take.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

impl Socket for DuplexStream {
    fn is_closed(&self) -> bool {
        false
    }
}

/// A pipe begins with what the test writes; only pipes of TLS are looked at.
impl RawSocket for DuplexStream {
    fn poll_first(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Option<u8>>> {
        Poll::Ready(Ok(Some(22)))
    }
}

trait Judge: Fn(SocketAddr) -> Verdict + Send + Sync + 'static {}

impl<F: Fn(SocketAddr) -> Verdict + Send + Sync + 'static> Judge for F {}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn listener(judge: impl Judge) -> Arc<Listener<impl Judge>> {
    let routes = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/large", get(|| async { vec![b'x'; 1 << 20] }));
    Listener::new(routes, judge, KEEP_ALIVE, None, CancellationToken::new())
}

fn connect(listener: &Listener<impl Judge>, pipe: usize) -> DuplexStream {
    let (near, far) = duplex(pipe);
    listener.open(near, ([192, 0, 2, 1], 4711).into());
    far
}

async fn rest(mut client: DuplexStream) -> String {
    let mut text = String::new();
    client.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test(start_paused = true)]
async fn a_head_has_10_seconds_however_it_trickles_in() {
    let listener = listener(|_| Verdict::Welcome(Counted::new(())));
    let started = Instant::now();
    let mut silent = connect(&listener, 4096);
    silent.write_all(b"GET / HT").await.unwrap();
    let mut trickle = connect(&listener, 4096);
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
async fn a_connection_that_asks_nothing_more_is_closed_after_keep_alive() {
    let listener = listener(|_| Verdict::Welcome(Counted::new(())));
    let mut client = connect(&listener, 4096);
    let started = Instant::now();
    client.write_all(REQUEST).await.unwrap();
    for _ in 0..2 {
        sleep(Duration::from_secs(74)).await;
        client.write_all(REQUEST).await.unwrap();
    }
    assert_eq!(rest(client).await.matches("hello").count(), 3);
    assert_eq!(started.elapsed(), Duration::from_secs(148) + KEEP_ALIVE);
}

#[tokio::test(start_paused = true)]
async fn every_head_has_10_seconds_from_its_first_byte_on() {
    let listener = listener(|_| Verdict::Welcome(Counted::new(())));
    let mut client = connect(&listener, 4096);
    client.write_all(REQUEST).await.unwrap();
    let mut answer = [0; 4096];
    let _ = client.read(&mut answer).await.unwrap();
    sleep(Duration::from_secs(60)).await;
    let started = Instant::now();
    client.write_all(b"GET / HT").await.unwrap();
    assert_eq!(rest(client).await, "");
    assert_eq!(started.elapsed(), HEAD_DEADLINE);
}

/// What a connection gets that sends these bytes and no more.
async fn asked(request: &str) -> String {
    let listener = listener(|_| Verdict::Welcome(Counted::new(())));
    let mut client = connect(&listener, 64 * 1024);
    client.write_all(request.as_bytes()).await.unwrap();
    rest(client).await
}

#[tokio::test(start_paused = true)]
async fn a_request_with_two_ends_is_refused_wherever_it_stands() {
    let post = "POST / HTTP/1.1\r\nHost: a\r\n";
    let (length, chunked) = ("Content-Length: 4\r\n", "transfer-encoding: chunked\r\n");
    let both = &format!("{post}{length}{chunked}\r\n0\r\n\r\n");
    let turned = &format!("{post}{chunked}{length}\r\n0\r\n\r\n").replace("\r\n", "\n");
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let sized = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n\r\n\r\nx";
    // What comes before the digit is longer than what is kept of a line.
    let padded = |with: &str| {
        let padding = with.repeat(60);
        format!("{post}Content-Length: {padding}5\r\n\r\nabcde")
    };
    for request in [
        both,
        turned,
        &padded("0"),
        &padded(" "),
        &format!("{get}{both}"),
        &format!("\r\n{sized}{turned}"),
    ] {
        let answer = asked(&format!("{request}{get}")).await;
        let last = answer.rfind("HTTP/1.1 ").unwrap();
        assert!(
            answer[last..].starts_with("HTTP/1.1 400"),
            "{request:?}: {answer}"
        );
        assert!(
            answer.contains("connection: close"),
            "{request:?}: {answer}"
        );
    }
    let twice = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n";
    let answer = asked(&format!("{twice}abcd{get}")).await;
    assert!(!answer.contains("200 OK"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_framing_is_not_followed_has_no_other_request() {
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for first in [
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    ] {
        let answer = asked(&format!("{first}{get}")).await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_http_1_1_request_has_one_host() {
    for (hosts, status) in [
        ("", 400),
        ("Host: a\r\nHost: a\r\n", 400),
        ("Host: a\r\nhost: b\r\n", 400),
        ("Host: a b\r\n", 400),
        ("Host: me@a\r\n", 400),
        ("Host:\r\n", 400),
        ("Host: a, b\r\n", 400),
        ("Host: [::1]:8080\r\n", 200),
        ("Host: a_b.example:80\r\n", 200),
    ] {
        let close = "Connection: close\r\n";
        let answer = asked(&format!("GET / HTTP/1.1\r\n{hosts}{close}\r\n")).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{hosts}: {answer}"
        );
    }
    assert!(
        asked("GET / HTTP/1.0\r\n\r\n")
            .await
            .starts_with("HTTP/1.0 200")
    );
}

#[tokio::test(start_paused = true)]
async fn a_path_says_which_methods_it_has() {
    let answer = async |line: &str| {
        asked(&format!(
            "{line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        ))
        .await
    };
    for (line, status, allow) in [
        ("OPTIONS /", "204", Some("GET,HEAD,OPTIONS")),
        ("OPTIONS *", "204", Some("GET,HEAD,POST,DELETE,OPTIONS")),
        ("OPTIONS /nothing", "404", None),
        ("POST /", "405", Some("GET,HEAD,OPTIONS")),
        ("TRACE /", "405", Some("GET,HEAD,OPTIONS")),
        ("GET http://a/", "200", None),
        ("GET /%6carge", "200", None),
        ("GET /large/", "404", None),
        ("GET //large", "404", None),
        ("CONNECT a:80", "404", None),
    ] {
        let answer = answer(line).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{line}: {answer}"
        );
        let found = answer.lines().find_map(|line| line.strip_prefix("allow: "));
        assert_eq!(found, allow, "{line}");
    }
    let head = answer("HEAD /").await;
    assert!(
        head.ends_with("\r\n\r\n") && head.contains("content-length: 5"),
        "{head}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_not_lost_when_its_request_is_not_read_to_the_end() {
    let listener = listener(|_| Verdict::Welcome(Counted::new(())));
    let mut client = connect(&listener, 4096);
    let head = "POST /large HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    // A pipe that is dropped fails the one who writes, as a connection with unread bytes does.
    client.write_all(&vec![b'x'; 10_000_000]).await.unwrap();
    assert!(rest(client).await.starts_with("HTTP/1.1 405"));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_dropped_after_40_seconds() {
    let kept = Arc::new(());
    let counted = Counted::new(kept.clone());
    let listener = listener(move |_| Verdict::Welcome(counted.clone()));
    let mut client = connect(&listener, 64);
    client
        .write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let started = Instant::now();
    listener.tasks.close();
    listener.tasks.wait().await;
    assert!(
        (WRITE_DEADLINE..WRITE_DEADLINE * 2).contains(&started.elapsed()),
        "{:?}",
        started.elapsed()
    );
    drop(listener);
    assert_eq!(Arc::strong_count(&kept), 1, "it counts no longer");
}

#[tokio::test(start_paused = true)]
async fn who_is_not_let_in_gets_an_answer_when_asking_soon() {
    let listener = listener(|_| {
        Verdict::Refused(Box::new(|_| {
            (StatusCode::TOO_MANY_REQUESTS, "too many").into_response()
        }))
    });
    let mut asking = connect(&listener, 4096);
    asking.write_all(REQUEST).await.unwrap();
    let answer = rest(asking).await;
    assert!(
        answer.starts_with("HTTP/1.1 429") && answer.ends_with("too many"),
        "{answer}"
    );
    // More than are answered at a time, none of which asks.
    let started = Instant::now();
    let silent: Vec<_> = (0..2 * REFUSALS)
        .map(|_| connect(&listener, 4096))
        .collect();
    assert_eq!(listener.tasks.len(), REFUSALS);
    for client in silent {
        assert_eq!(rest(client).await, "");
    }
    assert_eq!(started.elapsed(), REFUSAL_DEADLINE);
}
