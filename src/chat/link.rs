//! One WebSocket after another: connects, notices silence, waits with backoff, takes the next
//! address. It knows when to connect again (from `policy`), not what for: the session says where to
//! resume.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures::future::BoxFuture;
use futures::{FutureExt, SinkExt, StreamExt};
use rustls::{CertificateError, ClientConfig};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Response, header};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config,
};

use super::address::Address;
use super::frame::{ClientFrame, PROTOCOL};
use super::policy::{Verdict, When, after_close, after_refusal};

/// A connection or a write that takes longer has failed.
const DEADLINE: Duration = Duration::from_secs(10);

/// Silence after which we ask with a ping; the server pings every 25 s, so this is rare.
const IDLE: Duration = Duration::from_secs(30);

/// Silence after which the connection counts as dead.
const DEAD: Duration = Duration::from_secs(40);

/// A connection that lasted this long starts the backoff anew.
const STEADY: Duration = Duration::from_secs(5);

/// Devices that one client takes within this time before it gives up.
const REPLACED_MOST: usize = 3;
const REPLACED_WITHIN: Duration = Duration::from_secs(300);

const BACKOFF_FIRST: Duration = Duration::from_millis(250);
const BACKOFF_MOST: Duration = Duration::from_secs(15);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Who connects.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    room: String,
    user: String,
    key: String,
    device: String,
    history: u16,
}

impl Identity {
    /// With a device of this process: a connection of it that the server still believes in is
    /// replaced, not counted.
    pub(super) fn new(room: &str, user: &str, key: &str, history: u16) -> Identity {
        Identity {
            room: room.into(),
            user: user.into(),
            key: key.into(),
            device: new_device(),
            history,
        }
    }

    fn query(&self) -> String {
        let Identity {
            key,
            device,
            history,
            ..
        } = self;
        format!("pub={key}&device={device}&history={history}")
    }
}

fn new_device() -> String {
    format!("cli-{:08x}", rand::random::<u32>())
}

/// What happened to the connection.
pub(super) enum Signal {
    /// A frame of the server.
    Frame(String),
    /// No connection now; the next attempt comes after `wait`.
    Down { why: String, wait: Duration },
    /// Time to call [`Link::connect`].
    Connect,
    /// Trying again cannot help.
    Over(String),
}

enum State {
    Connecting(BoxFuture<'static, Result<Socket, Verdict>>),
    Open {
        socket: Box<Socket>,
        since: Instant,
        heard: Instant,
        asked: bool,
    },
    Waiting(Pin<Box<Sleep>>),
    /// Given up by the session, for this reason.
    Abandoned(&'static str),
}

/// See the module.
pub(super) struct Link {
    addresses: Vec<Address>,
    tls: Option<Arc<ClientConfig>>,
    identity: Identity,
    state: State,
    backoff: ExponentialBackoff,
    attempts: usize,
    bye: Option<Duration>,
    /// When sessions were replaced lately.
    replaced: Vec<Instant>,
}

impl Link {
    /// Asks for [`Link::connect`] at once.
    pub(super) fn new(
        addresses: Vec<Address>,
        tls: Option<Arc<ClientConfig>>,
        identity: Identity,
    ) -> Link {
        Link {
            addresses,
            tls,
            identity,
            state: State::Waiting(Box::pin(sleep(Duration::ZERO))),
            backoff: backoff(),
            attempts: 0,
            bye: None,
            replaced: Vec::new(),
        }
    }

    /// How many there are.
    pub(super) fn addresses(&self) -> usize {
        self.addresses.len()
    }

    /// Connects to the next address, resuming after `since`.
    pub(super) fn connect(&mut self, since: Option<u64>) {
        let address = &self.addresses[self.attempts % self.addresses.len()];
        self.attempts += 1;
        let since = since.map(|seq| format!("&since={seq}")).unwrap_or_default();
        let Identity { room, user, .. } = &self.identity;
        let query = self.identity.query() + &since;
        let url = address.of_chat(room, user, &query);
        let tls = self.tls.clone().map(Connector::Rustls);
        self.state = State::Connecting(open(url, address.to_string(), tls).boxed());
    }

    /// What happens next. Cancel safe: all progress is in `self`.
    pub(super) async fn next(&mut self) -> Signal {
        loop {
            let verdict = match &mut self.state {
                State::Waiting(sleep) => {
                    sleep.await;
                    return Signal::Connect;
                }
                State::Connecting(opening) => match opening.await {
                    Ok(socket) => {
                        let now = Instant::now();
                        self.bye = None;
                        self.state = State::Open {
                            socket: Box::new(socket),
                            since: now,
                            heard: now,
                            asked: false,
                        };
                        continue;
                    }
                    Err(verdict) => verdict,
                },
                State::Open {
                    socket,
                    heard,
                    asked,
                    ..
                } => match receive(socket, heard, asked, self.bye).await {
                    Ok(text) => return Signal::Frame(text),
                    Err(verdict) => verdict,
                },
                State::Abandoned(why) => Verdict::Reconnect {
                    why: (*why).to_owned(),
                    when: When::Backoff,
                },
            };
            return self.settle(verdict);
        }
    }

    fn settle(&mut self, verdict: Verdict) -> Signal {
        let (why, when) = match verdict {
            Verdict::Stop(why) => return Signal::Over(why),
            Verdict::Replaced if self.takes_new_device() => (
                "replaced by a late attempt of this client".into(),
                When::Soon,
            ),
            Verdict::Replaced => {
                return Signal::Over(
                    "replaced: again and again by a session of the same device".into(),
                );
            }
            Verdict::Reconnect { why, when } => (why, when),
        };
        let steady = matches!(&self.state, State::Open { since, .. } if since.elapsed() > STEADY);
        if steady || matches!(when, When::After(_)) {
            self.backoff = backoff();
        }
        // The first round through several addresses is quick; only then all of them are known to
        // fail.
        let quick = self.attempts < self.addresses.len();
        let usual = if quick {
            BACKOFF_FIRST
        } else {
            self.backoff.next().unwrap_or(BACKOFF_MOST)
        };
        let wait = match when {
            When::Soon if steady => BACKOFF_FIRST.mul_f64(rand::random()),
            When::Soon | When::Backoff => usual,
            When::AtLeast(least) => usual.max(least),
            When::After(exactly) => exactly,
        };
        self.state = State::Waiting(Box::pin(sleep(wait)));
        Signal::Down { why, wait }
    }

    /// Goes on as another device, so that both sessions can live; false when that did not help.
    fn takes_new_device(&mut self) -> bool {
        let now = Instant::now();
        self.replaced.retain(|at| now - *at < REPLACED_WITHIN);
        self.replaced.push(now);
        self.identity.device = new_device();
        self.replaced.len() <= REPLACED_MOST
    }

    /// Sends a frame. A failure shows as [`Signal::Down`]; what was not answered is sent again by
    /// the session.
    pub(super) async fn send(&mut self, frame: &ClientFrame) {
        let Ok(json) = serde_json::to_string(frame) else {
            return;
        };
        if let State::Open { socket, .. } = &mut self.state
            && !matches!(
                timeout(DEADLINE, socket.send(Message::text(json))).await,
                Ok(Ok(()))
            )
        {
            self.state = State::Abandoned("the connection was lost");
        }
    }

    /// The server announced its end: connect again after exactly this time.
    pub(super) fn said_bye(&mut self, delay: Duration) {
        self.bye = Some(delay);
    }

    /// Leaves this connection for another one.
    pub(super) fn give_up(&mut self, why: &'static str) {
        self.state = State::Abandoned(why);
    }

    /// For the prompt; empty while all is well.
    pub(super) fn state(&self) -> String {
        match &self.state {
            State::Open { .. } => String::new(),
            State::Connecting(_) | State::Abandoned(_) => "connecting".into(),
            State::Waiting(sleep) => {
                let left = sleep.deadline().saturating_duration_since(Instant::now());
                format!("reconnecting in {} s", left.as_secs_f64().ceil())
            }
        }
    }

    /// Says goodbye, so that the room learns at once that we left.
    pub(super) async fn close(&mut self) {
        if let State::Open { socket, .. } = &mut self.state {
            let _ = timeout(Duration::from_secs(1), async {
                SinkExt::close(socket.as_mut()).await?;
                while socket.next().await.transpose()?.is_some() {}
                Ok::<(), Error>(())
            })
            .await;
        }
    }
}

/// With jitter (up to twice the delay), so that the clients of a node that died do not come back as
/// one.
fn backoff() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(BACKOFF_FIRST)
        .with_max_delay(BACKOFF_MOST)
        .with_jitter()
        .without_max_times()
        .build()
}

async fn open(url: String, address: String, tls: Option<Connector>) -> Result<Socket, Verdict> {
    let mut request = url
        .into_client_request()
        .map_err(|error| Verdict::Stop(format!("{address}: {error}")))?;
    request.headers_mut().insert(
        header::SEC_WEBSOCKET_PROTOCOL,
        HeaderValue::from_static(PROTOCOL),
    );
    let failed = |why: String| Verdict::Reconnect {
        why: format!("{address}: {why}"),
        when: When::Backoff,
    };
    match timeout(
        DEADLINE,
        connect_async_tls_with_config(request, None, true, tls),
    )
    .await
    {
        Err(_) => Err(failed(format!("no answer within {} s", DEADLINE.as_secs()))),
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(Error::Http(answer))) => Err(refusal(&answer)),
        Ok(Err(Error::Io(error))) if is_of_unknown(&error) => Err(failed(format!(
            "{error}: name the authority that vouches for it with --ca"
        ))),
        Ok(Err(Error::Io(error))) => Err(failed(error.to_string())),
        Ok(Err(Error::Protocol(_))) => Err(failed("no WebSocket answered there".into())),
        Ok(Err(error @ (Error::Url(_) | Error::HttpFormat(_)))) => {
            Err(Verdict::Stop(format!("{address}: {error}")))
        }
        Ok(Err(error)) => Err(failed(error.to_string())),
    }
}

/// Whether a server's certificate comes from an authority that is not trusted.
fn is_of_unknown(error: &std::io::Error) -> bool {
    let of_tls = error.get_ref().and_then(|error| error.downcast_ref());
    matches!(
        of_tls,
        Some(rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer
        ))
    )
}

fn refusal(answer: &Response<Option<Vec<u8>>>) -> Verdict {
    let body: serde_json::Value = answer
        .body()
        .as_deref()
        .and_then(|body| serde_json::from_slice(body).ok())
        .unwrap_or_default();
    let said = |name: &str| super::view::escaped(body["error"][name].as_str().unwrap_or_default());
    let retry_after = answer
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    after_refusal(
        answer.status().as_u16(),
        &said("reason"),
        &said("message"),
        retry_after.map(Duration::from_secs),
    )
}

/// The next text frame. Pings are answered by the socket itself; anything that arrives counts as a
/// sign of life.
async fn receive(
    socket: &mut Socket,
    heard: &mut Instant,
    asked: &mut bool,
    bye: Option<Duration>,
) -> Result<String, Verdict> {
    let lost = |why: &str| Verdict::Reconnect {
        why: why.to_owned(),
        when: When::Soon,
    };
    loop {
        let patience = *heard + if *asked { DEAD } else { IDLE };
        let message = tokio::select! {
            biased;
            message = socket.next() => message,
            () = sleep_until(patience), if *asked => return Err(lost("the server fell silent")),
            () = sleep_until(patience) => {
                *asked = true;
                match timeout(DEADLINE, socket.send(Message::Ping(Vec::new().into()))).await {
                    Ok(Ok(())) => continue,
                    _ => return Err(lost("the connection was lost")),
                }
            }
        };
        *heard = Instant::now();
        *asked = false;
        match message {
            Some(Ok(Message::Text(text))) => return Ok(text.to_string()),
            Some(Ok(Message::Close(frame))) => {
                let (code, reason) = frame.map_or((None, String::new()), |frame| {
                    (Some(frame.code.into()), frame.reason.to_string())
                });
                return Err(after_close(code, &super::view::escaped(&reason), bye));
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Err(after_close(None, "", bye)),
        }
    }
}
