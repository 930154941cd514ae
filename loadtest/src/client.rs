//! One client of a room, over the JSON protocol: it reconnects to the next gateway, resumes where
//! it was, and sends again with the same id.

use crate::history::{Event, Step};
use anyhow::{Context, Result, bail};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

/// How long a connection may take to get its `welcome`.
const CONNECT: Duration = Duration::from_secs(10);

/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(200);

/// After so long without a frame the client asks whether anybody is there.
const QUIET: Duration = Duration::from_secs(5);
/// After so long it goes elsewhere.
const SILENCE: Duration = Duration::from_secs(10);

/// A step of a client, and when it was.
pub type Timed = (Instant, Step);

/// Who connects where.
#[derive(Debug, Clone)]
pub struct Options {
    /// Gateways, such as `http://127.0.0.1:8080`; the next one is tried when one fails.
    pub urls: Vec<String>,
    /// The room.
    pub room: String,
    /// The user; also the key.
    pub user: String,
    /// Which of the gateways is first.
    pub first: usize,
    /// The last place that it has already; `None`: it begins with what comes after its own
    /// `joined`.
    pub since: Option<u64>,
}

/// A message to send.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Its id.
    pub id: String,
    /// Its text.
    pub text: String,
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How a connection ended in order; everything else is an error.
enum End {
    Stopped,
    Bye,
}

/// What to wait for after a frame.
#[derive(PartialEq)]
enum Next {
    Frame,
    Bye,
}

struct Client {
    options: Options,
    steps: mpsc::UnboundedSender<Timed>,
    /// The last place that it has; `None` before the first welcome.
    seq: Option<u64>,
    /// Sent and not answered, in the order of sending.
    open: BTreeMap<u64, Outgoing>,
    sent: u64,
    /// Refused for now, and when to try again.
    later: VecDeque<(Instant, String)>,
}

/// Runs a client: it sends what comes in, tells every step, and ends when `until` says so, or when
/// nothing comes in any more and everything is answered and the room was seen up to the place that
/// `until` names.
pub async fn run(
    options: Options,
    mut outgoing: mpsc::Receiver<Outgoing>,
    steps: mpsc::UnboundedSender<Timed>,
    connected: mpsc::Sender<()>,
    mut stop: watch::Receiver<bool>,
) -> Result<()> {
    let seq = options.since;
    let mut client = Client {
        options,
        steps,
        seq,
        open: BTreeMap::new(),
        sent: 0,
        later: VecDeque::new(),
    };
    let mut attempt = client.options.first;
    let mut connected = Some(connected);
    loop {
        if *stop.borrow() {
            return Ok(());
        }
        let url = client.options.urls[attempt % client.options.urls.len()].clone();
        attempt += 1;
        let socket = tokio::select! {
            _ = stop.changed() => return Ok(()),
            socket = timeout(CONNECT, client.connect(&url)) => socket,
        };
        if let Ok(Ok(socket)) = socket {
            connected.take();
            let end = client.serve(socket, &mut outgoing, &mut stop).await;
            client.step(Step::Closed {
                bye: matches!(end, Ok(End::Bye | End::Stopped)),
            });
            client.later.clear();
        } else {
            sleep(PAUSE).await;
        }
    }
}

impl Client {
    fn step(&self, step: Step) {
        // Whoever listens has ended only when the run has.
        let _ = self.steps.send((Instant::now(), step));
    }

    async fn connect(&mut self, url: &str) -> Result<Socket> {
        let base = url.replacen("http", "ws", 1);
        let Options { room, user, .. } = &self.options;
        let resume = self
            .seq
            .map_or("history=0".to_owned(), |seq| format!("since={seq}"));
        let uri = format!("{base}/chat/{room}/user/{user}?pub=key-{user}&{resume}");
        let mut request = uri.into_client_request()?;
        request.headers_mut().insert(
            "Sec-WebSocket-Protocol",
            HeaderValue::from_static("safechat.v1+json"),
        );
        let (mut socket, _) = connect_async(request).await?;
        let welcome = socket.next().await.context("closed before the welcome")??;
        let welcome: Value = serde_json::from_str(welcome.to_text()?)?;
        if welcome["type"] != "welcome" {
            bail!("the first frame is a {}", welcome["type"]);
        }
        let head = welcome["seq"].as_u64().context("a welcome without seq")?;
        let after = *self.seq.get_or_insert(head);
        let members = welcome["members"]
            .as_array()
            .context("a welcome without members")?;
        let members = members
            .iter()
            .filter_map(|member| member.as_str().map(str::to_owned))
            .collect();
        self.step(Step::Connected { after });
        self.step(Step::Welcomed {
            seq: head,
            members,
            recovered: welcome["recovered"] == true,
        });
        Ok(socket)
    }

    async fn serve(
        &mut self,
        mut socket: Socket,
        outgoing: &mut mpsc::Receiver<Outgoing>,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<End> {
        for message in self.open.values() {
            self.step(Step::Sent {
                id: message.id.clone(),
            });
            socket.feed(frame(message)).await?;
        }
        socket.flush().await?;
        let (mut heard, mut asked) = (Instant::now(), false);
        loop {
            let again = self.later.front().map(|(at, _)| *at);
            tokio::select! {
                _ = stop.changed() => {
                    socket.close(None).await?;
                    return Ok(End::Stopped);
                }
                received = socket.next() => {
                    (heard, asked) = (Instant::now(), false);
                    match received.context("closed")?? {
                        Message::Text(text) if self.on_frame(&serde_json::from_str(&text)?)? == Next::Bye => return Ok(End::Bye),
                        Message::Close(_) => bail!("closed"),
                        _ => {}
                    }
                }
                () = sleep_until(heard + if asked { SILENCE } else { QUIET }) => {
                    if asked {
                        bail!("silence");
                    }
                    asked = true;
                    socket.send(Message::text(json!({"type": "ping", "id": "there"}).to_string())).await?;
                }
                Some(message) = outgoing.recv() => {
                    self.step(Step::Sent { id: message.id.clone() });
                    let text = frame(&message);
                    self.sent += 1;
                    self.open.insert(self.sent, message);
                    socket.send(text).await?;
                }
                () = sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {
                    let (_, id) = self.later.pop_front().context("the time of nothing came")?;
                    if let Some(message) = self.open.values().find(|message| message.id == id) {
                        self.step(Step::Sent { id });
                        socket.send(frame(message)).await?;
                    }
                }
            }
        }
    }

    fn on_frame(&mut self, frame: &Value) -> Result<Next> {
        let text = |name: &str| frame[name].as_str().map(str::to_owned);
        match frame["type"].as_str() {
            Some("event") => {
                let event = Event::of_json(frame).context("an event that lacks something")?;
                self.seq = Some(event.seq);
                self.step(Step::Saw(event));
            }
            Some("journaled") => {
                let id = text("id").context("journaled without id")?;
                self.open.retain(|_, message| message.id != id);
                let seq = frame["seq"].as_u64().context("journaled without seq")?;
                self.step(if frame["duplicate"] == true {
                    Step::Repeated { id, seq }
                } else {
                    Step::Journaled { id, seq }
                });
            }
            Some("accepted") => self.step(Step::Accepted {
                id: text("id").context("accepted without id")?,
            }),
            Some("rejected") => {
                let (id, reason) = (
                    text("id").unwrap_or_default(),
                    text("reason").unwrap_or_default(),
                );
                match frame["retry_after_ms"].as_u64() {
                    Some(pause) => {
                        self.later
                            .push_back((Instant::now() + Duration::from_millis(pause), id.clone()));
                        self.step(Step::Refused { id, reason });
                    }
                    // The session ended without the connection; another one helps.
                    None if reason == "not_member" => {
                        self.step(Step::Refused { id, reason });
                        bail!("not a member any more");
                    }
                    None => {
                        self.open.retain(|_, message| message.id != id);
                        self.step(Step::Rejected { id, reason });
                    }
                }
            }
            Some("reset") => {
                let seq = frame["seq"].as_u64().context("a reset without seq")?;
                self.seq = Some(seq - 1);
                self.step(Step::Reset { seq });
            }
            Some("bye") => return Ok(Next::Bye),
            _ => {}
        }
        Ok(Next::Frame)
    }
}

fn frame(message: &Outgoing) -> Message {
    Message::text(json!({"type": "send", "id": message.id, "text": message.text}).to_string())
}
