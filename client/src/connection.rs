//! One WebSocket: how it is made, and what counts as its end. For tools that need a session
//! without a client behind it, [`Dial`] is public.

use crate::{
    address::Gateway,
    close::{CloseCode, Lost, Refusal},
    codec::{Codec, Protocol},
    frame::{ClientFrame, Policy, ServerFrame},
    key::{KeyPair, Proving},
    token::Token,
};
use futures::{SinkExt, StreamExt};
use rustls::{CertificateError, ClientConfig};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    net::{TcpSocket, TcpStream, lookup_host},
    time::{Instant, sleep_until, timeout},
};
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config,
    tungstenite::{
        Error, Message, Utf8Bytes,
        client::IntoClientRequest,
        http::{HeaderValue, Request, Response, header},
    },
};

/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// A WebSocket after its upgrade.
pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What a silent connection means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silence {
    /// After so long we ask with a ping.
    pub ask_after: Duration,
    /// After so long it counts as dead.
    pub dead_after: Duration,
}

impl Default for Silence {
    /// 30 and 40 s: the server pings every 25 s, so that asking is rare.
    fn default() -> Self {
        Self {
            ask_after: Duration::from_secs(30),
            dead_after: Duration::from_secs(40),
        }
    }
}

/// A request for a session.
#[derive(Debug, Clone)]
pub struct Dial {
    /// Where.
    pub gateway: Gateway,
    /// The room.
    pub room: String,
    /// The user.
    pub user: String,
    /// The public key.
    pub key: String,
    /// A token, for rooms that ask for one.
    pub token: Option<Token>,
    /// The pair that it is of, to prove it.
    pub pair: Option<KeyPair>,
    /// The pair of the key that the name has, whose place that one takes.
    pub former: Option<KeyPair>,
    /// Replaces an earlier session of the same one.
    pub device: Option<String>,
    /// Resume after this place.
    pub since: Option<u64>,
    /// When the event of that place was stored, if it was told.
    pub since_at: Option<u64>,
    /// Events from before, if it does not resume.
    pub history: Option<u16>,
    /// What the room is to ask if this makes it, or must ask.
    pub policy: Option<Policy>,
    /// In which form frames travel.
    pub protocol: Protocol,
    /// How gateways with TLS are known.
    pub tls: Option<Arc<ClientConfig>>,
    /// How long it may take.
    pub deadline: Duration,
    /// Bytes that the system may keep unread, for clients that are slow on purpose.
    pub receive_buffer: Option<u32>,
}

impl Dial {
    /// A request with nothing but what every session has, over JSON.
    pub fn new(gateway: Gateway, room: &str, user: &str, key: &str) -> Self {
        Self {
            gateway,
            room: room.into(),
            user: user.into(),
            key: key.into(),
            token: None,
            pair: None,
            former: None,
            device: None,
            since: None,
            since_at: None,
            history: None,
            policy: None,
            protocol: Protocol::Json,
            tls: None,
            deadline: Duration::from_secs(10),
            receive_buffer: None,
        }
    }

    /// Address with path and query. All parts are checked already, so nothing needs escaping.
    pub fn url(&self) -> String {
        let Self {
            gateway,
            room,
            user,
            key,
            ..
        } = self;
        let mut url = format!("{gateway}/chat/{room}/user/{user}?pub={key}");
        if self.pair.is_some() {
            url += "&auth=1";
        }
        if let Some(former) = &self.former {
            url += &format!("&former={}", former.public());
        }
        if let Some(device) = &self.device {
            url += &format!("&device={device}");
        }
        if let Some(history) = self.history {
            url += &format!("&history={history}");
        }
        if let Some(policy) = self.policy {
            url += &format!("&policy={}", policy.as_str());
        }
        if let Some(since) = self.since {
            url += &format!("&since={since}");
            if let Some(at) = self.since_at {
                url += &format!("&since_at={at}");
            }
        }
        url
    }

    /// What is needed to answer a challenge.
    pub(crate) fn proving(&self) -> Option<Proving> {
        self.pair.clone().map(|pair| Proving {
            pair,
            host: self.gateway.host(),
            room: self.room.clone(),
            user: self.user.clone(),
            device: self.device.clone(),
            former: self.former.clone(),
        })
    }

    /// Makes the connection, up to and with the upgrade.
    ///
    /// # Errors
    /// What happened, to which gateway, or with what it refused.
    pub async fn open(&self) -> Result<Socket, Lost> {
        let at = |why: String| Lost::Broken(format!("{}: {why}", self.gateway));
        match timeout(self.deadline, self.upgrade()).await {
            Err(_) => Err(at(format!(
                "no answer within {} s",
                self.deadline.as_secs_f64()
            ))),
            Ok(Ok(socket)) => Ok(socket),
            Ok(Err(Error::Http(answer))) => Err(Lost::Refused(self.refusal(&answer))),
            Ok(Err(Error::Io(error))) if is_of_unknown(&error) => Err(at(format!(
                "{error}: name the authority that vouches for it"
            ))),
            Ok(Err(Error::Io(error))) if is_no_tls(&error) => {
                Err(at("no TLS is spoken there: try http:// or ws://".into()))
            }
            Ok(Err(Error::Io(error))) => Err(at(error.to_string())),
            Ok(Err(Error::Protocol(_))) => Err(at("no WebSocket answered there".into())),
            Ok(Err(error)) => Err(at(error.to_string())),
        }
    }

    fn refusal(&self, answer: &Response<Option<Vec<u8>>>) -> Refusal {
        let body: serde_json::Value = answer
            .body()
            .as_deref()
            .and_then(|body| serde_json::from_slice(body).ok())
            .unwrap_or_default();
        let said = |name: &str| body["error"][name].as_str().unwrap_or_default().to_owned();
        let retry_after = answer
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        let reason = said("reason");
        Refusal {
            status: answer.status().as_u16(),
            message: match reason.is_empty() {
                true => format!("{}: no safe-chat answered there", self.gateway),
                false => said("message"),
            },
            reason,
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    async fn upgrade(&self) -> Result<Socket, Error> {
        let mut request = self.url().into_client_request()?;
        if let Some(protocol) = self.protocol.subprotocol() {
            let protocol = HeaderValue::from_static(protocol);
            let headers = request.headers_mut();
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        if let Some(token) = &self.token {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.as_str()))?;
            value.set_sensitive(true);
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        let stream = self.connect(&request).await?;
        stream.set_nodelay(true)?;
        let tls = self.tls.clone().map(Connector::Rustls);
        let (socket, _) = client_async_tls_with_config(request, stream, None, tls).await?;
        Ok(socket)
    }

    async fn connect(&self, request: &Request<()>) -> io::Result<TcpStream> {
        let uri = request.uri();
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let usual = if self.gateway.is_secure() { 443 } else { 80 };
        let place = (host, uri.port_u16().unwrap_or(usual));
        let Some(bytes) = self.receive_buffer else {
            return TcpStream::connect(place).await;
        };
        let mut found = lookup_host(place).await?;
        let address = found.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        socket.set_recv_buffer_size(bytes)?;
        socket.connect(address).await
    }
}

/// Whether a server's certificate comes from an authority that is not trusted.
fn is_of_unknown(error: &io::Error) -> bool {
    matches!(
        of_tls(error),
        Some(rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer
        ))
    )
}

/// Whether what answered is no TLS.
fn is_no_tls(error: &io::Error) -> bool {
    matches!(of_tls(error), Some(rustls::Error::InvalidMessage(_)))
}

fn of_tls(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// A session's socket, and what is known of its health.
pub(crate) struct Connection {
    socket: Socket,
    codec: Codec,
    deadline: Duration,
    silence: Silence,
    opened: Instant,
    welcomed: bool,
    heard: Instant,
    asked: bool,
    bye: Option<Duration>,
}

impl Connection {
    pub(crate) fn new(socket: Socket, codec: Codec, deadline: Duration, silence: Silence) -> Self {
        let now = Instant::now();
        Self {
            socket,
            codec,
            deadline,
            silence,
            opened: now,
            welcomed: false,
            heard: now,
            asked: false,
            bye: None,
        }
    }

    pub(crate) fn opened(&self) -> Instant {
        self.opened
    }

    /// The next frame, and its text if it is one. Pings are answered by the socket itself; anything
    /// that arrives counts as a sign of life. Cancel safe: all progress is in `self`.
    pub(crate) async fn next(&mut self) -> Result<(Utf8Bytes, ServerFrame), Lost> {
        loop {
            let until = match (self.welcomed, self.asked) {
                (false, _) => self.opened + self.deadline,
                (true, false) => self.heard + self.silence.ask_after,
                (true, true) => self.heard + self.silence.dead_after,
            };
            // Biased: what has arrived is read before time is up.
            let message = tokio::select! {
                biased;
                message = self.socket.next() => message,
                () = sleep_until(until) => {
                    self.ask().await?;
                    continue;
                }
            };
            (self.heard, self.asked) = (Instant::now(), false);
            match message {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    return self.read(message);
                }
                Some(Ok(Message::Close(frame))) => {
                    let (code, reason) = frame.map_or((1005, String::new()), |frame| {
                        (frame.code.into(), frame.reason.to_string())
                    });
                    return Err(Lost::Closed {
                        code: CloseCode::from(code),
                        reason,
                        bye: self.bye,
                    });
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(self.broken()),
            }
        }
    }

    fn read(&mut self, message: Message) -> Result<(Utf8Bytes, ServerFrame), Lost> {
        let frame = self
            .codec
            .decode(&message)
            .map_err(|error| Lost::Broken(error.to_string()))?;
        match &frame {
            ServerFrame::Welcome(_) => self.welcomed = true,
            ServerFrame::Bye {
                reconnect_after_ms, ..
            } => self.bye = Some(Duration::from_millis(*reconnect_after_ms)),
            _ => {}
        }
        let raw = match message {
            Message::Text(text) => text,
            _ => Utf8Bytes::default(),
        };
        Ok((raw, frame))
    }

    /// A server that said `bye` and went without a close is gone as it said.
    fn broken(&self) -> Lost {
        match self.bye {
            Some(_) => Lost::Closed {
                code: CloseCode::Away,
                reason: String::new(),
                bye: self.bye,
            },
            None => Lost::Broken("the connection was lost".into()),
        }
    }

    async fn ask(&mut self) -> Result<(), Lost> {
        if !self.welcomed {
            let within = self.deadline.as_secs_f64();
            return Err(Lost::Broken(format!("no welcome within {within} s")));
        }
        if self.asked {
            return Err(Lost::Broken("the server fell silent".into()));
        }
        self.asked = true;
        let ping = self.socket.send(Message::Ping(Vec::new().into()));
        match timeout(self.deadline, ping).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(self.broken()),
        }
    }

    /// Sends frames with one flush. A frame that the protocol has no words for was refused before.
    pub(crate) async fn send(&mut self, frames: &[ClientFrame]) -> Result<(), Lost> {
        let messages: Vec<_> = frames
            .iter()
            .filter_map(|frame| self.codec.encode(frame))
            .collect();
        let socket = &mut self.socket;
        let write = async {
            for message in messages {
                socket.feed(message).await?;
            }
            socket.flush().await
        };
        match timeout(self.deadline, write).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.broken()),
            Err(_) => Err(Lost::Broken("the server takes nothing any more".into())),
        }
    }

    /// Says goodbye, so that the room learns at once that we left.
    pub(crate) async fn close(mut self) {
        // It is gone either way.
        let _ = timeout(FAREWELL, async {
            SinkExt::close(&mut self.socket).await?;
            while self.socket.next().await.transpose()?.is_some() {}
            Ok::<(), Error>(())
        })
        .await;
    }
}
