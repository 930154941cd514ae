//! Messages by POST, as many as the service takes, on some connections that stay open.

use anyhow::{Context, Result, bail, ensure};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, interval, sleep, timeout},
};
use xtask::{console::say, interrupt::Interrupt};

/// Connections that fill at the same time. With 512 that each make a room, a busy machine answers
/// most with 503.
const LINES: usize = 64;
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(60);
/// How long a message may take that is sent again: longer than a takeover on a busy machine.
const JOURNALED: Duration = Duration::from_secs(300);
/// What is said to a client that shall send the same once more.
const AGAIN: u16 = 503;
/// Before it does.
const PAUSE: Duration = Duration::from_secs(1);
/// How often it is said how far it is.
const TELL: Duration = Duration::from_secs(30);

/// A message, and who says it.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) room: String,
    pub(super) user: String,
    /// Unique in its room for this user.
    pub(super) id: String,
}

impl Message {
    pub(super) fn new(room: &str, user: &str, id: &str) -> Self {
        let [room, user, id] = [room, user, id].map(str::to_owned);
        Self { room, user, id }
    }
}

/// The key of a name: as long as one of Ed25519.
pub(super) fn key_of(user: &str) -> String {
    format!("{user:k<43}")
}

/// A connection that stays open.
pub(super) struct Line {
    stream: BufReader<TcpStream>,
    host: SocketAddr,
}

impl Line {
    pub(super) async fn open(gateway: SocketAddr) -> Result<Self> {
        let stream = timeout(ANSWER, TcpStream::connect(gateway)).await?;
        let stream = stream.with_context(|| format!("{gateway} cannot be reached"))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
            host: gateway,
        })
    }

    /// Posts it until it is journaled, under the same id as clients do; how often once more.
    pub(super) async fn post(&mut self, message: &Message) -> Result<u64> {
        let until = Instant::now() + JOURNALED;
        for again in 0.. {
            let posted = timeout(ANSWER, self.exchange(message)).await;
            let (status, body) = posted
                .context("a message has no answer")?
                .with_context(|| format!("{}: no answer to a message", self.host))?;
            match status {
                200 => return Ok(again),
                AGAIN if Instant::now() < until => sleep(PAUSE).await,
                _ => bail!("{}: {status} {body}", self.host),
            }
        }
        unreachable!("attempts do not end by themselves")
    }

    async fn exchange(&mut self, message: &Message) -> Result<(u16, String)> {
        let Message { room, user, id } = message;
        let body = format!(r#"{{"type":"send","id":"{id}","text":"Hello"}}"#);
        let request = format!(
            "POST /rooms/{room}/messages?user={user}&pub={} HTTP/1.1\r\nHost: {}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            key_of(user),
            self.host,
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes()).await?;
        let (mut status, mut length, mut line) = (0, 0, String::new());
        loop {
            line.clear();
            ensure!(
                self.stream.read_line(&mut line).await? > 0,
                "the connection was closed"
            );
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(rest) = line.strip_prefix("http/1.1 ") {
                status = rest.split(' ').next().unwrap_or_default().parse()?;
            } else if let Some(rest) = line.strip_prefix("content-length:") {
                length = rest.trim().parse()?;
            }
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer).await?;
        Ok((status, String::from_utf8_lossy(&answer).into_owned()))
    }
}

/// What came of posting many.
pub(super) struct Posted {
    /// How long after the beginning each was journaled, in that order.
    pub(super) answered: Vec<Duration>,
    /// How often one was sent again because the service asked for that.
    pub(super) again: u64,
}

/// Posts so many, spread over gateways.
pub(super) async fn all(
    gateways: &[SocketAddr],
    count: u64,
    since: Instant,
    interrupt: &Interrupt,
    message: impl Fn(u64) -> Message + Clone + Send + 'static,
) -> Result<Posted> {
    let next = Arc::new(AtomicU64::new(0));
    let mut lines = JoinSet::new();
    for gateway in gateways.iter().cycle().take(LINES).copied() {
        let (next, message) = (next.clone(), message.clone());
        lines.spawn(async move {
            let (mut line, mut answered) = (Line::open(gateway).await?, Vec::new());
            let mut again = 0;
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= count {
                    return anyhow::Ok((answered, again));
                }
                again += line.post(&message(n)).await?;
                answered.push(since.elapsed());
            }
        });
    }
    let mut all = Posted {
        answered: Vec::new(),
        again: 0,
    };
    let mut told = interval(TELL);
    told.tick().await;
    loop {
        tokio::select! {
            line = lines.join_next() => match line {
                None => break,
                Some(line) => {
                    let (answered, again) = line??;
                    all.answered.extend(answered);
                    all.again += again;
                }
            },
            _ = told.tick() => {
                interrupt.check()?;
                say(format!("   {} of {count}", next.load(Ordering::Relaxed).min(count)));
            }
        }
    }
    all.answered.sort_unstable();
    Ok(all)
}
