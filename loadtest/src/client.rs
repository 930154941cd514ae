//! One client of a room whose every step is told, what it sends and each frame that it gets: the
//! client of everybody else, watched.

use crate::history::{Event, Step};
use anyhow::{Context, Result};
use safe_chat_client::{
    Backoff, Body, Client, Link, Lost, Message, Notice, Resend, Silence,
    frame::{self, ClientFrame, ServerFrame},
};
use std::{collections::HashSet, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(200);
/// More than ever wait for an answer: what is sent is bounded by whoever sends.
const WINDOW: usize = 1 << 16;

/// Events that whoever wants what is gone is shown instead, at most.
const HISTORY: u16 = 500;

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

impl Options {
    /// What is not answered is sent again at once, so that every reconnect asks the room whether it
    /// remembers; and nothing is taken for an end.
    fn start(&self) -> Result<Client> {
        let Self {
            urls,
            room,
            user,
            first,
            since,
        } = self;
        let mut builder = Client::builder()
            .gateways(urls)
            .first_gateway(*first)
            .room(room)
            .user(user)
            .key(format!("key-{user}"))
            .device(None)
            .backoff(Backoff {
                first: PAUSE,
                most: PAUSE,
            })
            .silence(Silence {
                ask_after: Duration::from_secs(5),
                dead_after: Duration::from_secs(10),
            })
            .resend(Resend::AtOnce)
            .retries(u32::MAX)
            .answer_within(None)
            .window(WINDOW)
            .insist()
            .trace(true);
        if let Some(seq) = since {
            // What is left of it, if that is gone.
            builder = builder.since(*seq).history(HISTORY);
        }
        Ok(builder.start()?)
    }
}

/// Runs a client: it sends what comes in, tells every step, and ends when `stop` says so.
/// `connected` is dropped with the first session.
///
/// # Errors
/// The options name no client.
pub async fn run(
    options: Options,
    mut outgoing: mpsc::Receiver<Outgoing>,
    steps: mpsc::UnboundedSender<Timed>,
    connected: mpsc::Sender<()>,
    mut stop: watch::Receiver<bool>,
) -> Result<()> {
    let mut client = options.start()?;
    let mut watch = Watch {
        user: options.user.clone(),
        refused: HashSet::new(),
        after: options.since,
        is_open: false,
        connected: Some(connected),
        steps,
    };
    loop {
        let is_open = client.status().link == Link::Open;
        tokio::select! {
            biased;
            () = async { drop(stop.wait_for(|stop| *stop).await) } => break,
            notice = client.next() => watch.take(notice.context("the client ended by itself")?),
            Some(Outgoing { id, text }) = outgoing.recv(), if is_open => {
                // What becomes of it is a step.
                drop(client.submit(Message::text(text).with_id(id)).await);
            }
        }
    }
    if watch.is_open {
        watch.step(Step::Closed { bye: true });
    }
    client.close().await;
    Ok(())
}

/// Makes steps of what the client tells.
struct Watch {
    user: String,
    /// Messages that were refused for now and not sent again yet.
    refused: HashSet<String>,
    /// The last place that it has; `None` before the first welcome.
    after: Option<u64>,
    is_open: bool,
    connected: Option<mpsc::Sender<()>>,
    steps: mpsc::UnboundedSender<Timed>,
}

impl Watch {
    fn step(&self, step: Step) {
        // Whoever listens has ended only when the run has.
        let _ = self.steps.send((Instant::now(), step));
    }

    fn take(&mut self, notice: Notice) {
        match notice {
            Notice::Received { frame, .. } => self.received(frame),
            // Not what was received: a client that leaves events out resumes before them.
            Notice::Event(event) => self.after = Some(event.seq),
            Notice::Reset { seq, .. } => self.after = Some(seq.saturating_sub(1)),
            Notice::Sent(ClientFrame::Send { id, .. }) => {
                self.refused.remove(&id);
                self.step(Step::Sent { id });
            }
            Notice::Disconnected { why, .. } if self.is_open => {
                self.is_open = false;
                let bye = matches!(why, Lost::Closed { bye: Some(_), .. });
                self.step(Step::Closed { bye });
            }
            _ => {}
        }
    }

    fn received(&mut self, frame: ServerFrame) {
        match frame {
            ServerFrame::Welcome(welcome) => {
                let seq = welcome.seq.unwrap_or_default();
                let after = *self.after.get_or_insert(seq);
                self.is_open = true;
                self.connected.take();
                self.step(Step::Connected { after });
                self.step(Step::Welcomed {
                    seq,
                    members: welcome.members,
                    recovered: welcome.recovered,
                });
            }
            ServerFrame::Event(event) => {
                let event = Event::from(event);
                let is_own = event.from == self.user;
                let own = event
                    .id
                    .clone()
                    .filter(|id| is_own && self.refused.remove(id));
                let seq = event.seq;
                self.step(Step::Saw(event));
                // It was stored before it was refused. The client knows, and sends it no more.
                if let Some(id) = own {
                    self.step(Step::Journaled { id, seq });
                }
            }
            ServerFrame::Accepted { id } => self.step(Step::Accepted { id }),
            ServerFrame::Journaled {
                id, seq, duplicate, ..
            } => self.step(if duplicate {
                Step::Repeated { id, seq }
            } else {
                Step::Journaled { id, seq }
            }),
            ServerFrame::Rejected {
                id,
                reason,
                retry_after_ms,
                ..
            } => {
                let id = id.unwrap_or_default();
                // Who is no member any more gets another session, and tries again.
                let is_final = retry_after_ms.is_none() && reason != "not_member";
                if is_final {
                    self.step(Step::Rejected { id, reason });
                } else {
                    self.refused.insert(id.clone());
                    self.step(Step::Refused { id, reason });
                }
            }
            ServerFrame::Reset { seq, .. } => self.step(Step::Reset { seq }),
            _ => {}
        }
    }
}

impl From<frame::Event> for Event {
    fn from(event: frame::Event) -> Self {
        let kind = event.kind().to_owned();
        let erased = event.body == Body::ErasedText;
        let (text, sealed) = match event.body {
            Body::Text(text) => (Some(text), None),
            Body::Sealed(bytes) => (None, Some(format!("{bytes:02x}"))),
            _ => (None, None),
        };
        Self {
            seq: event.seq,
            at: event.at,
            kind,
            from: event.from,
            id: event.id,
            to: event.to,
            text,
            sealed,
            erased,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The event of what was refused for now is its answer: nobody sends it again.
    #[test]
    fn what_is_seen_after_it_was_refused_is_journaled() {
        let (steps, mut told) = mpsc::unbounded_channel();
        let mut watch = Watch {
            user: "harry".into(),
            refused: HashSet::new(),
            after: Some(0),
            is_open: true,
            connected: None,
            steps,
        };
        let event = |seq, from: &str, id: &str| {
            ServerFrame::Event(frame::Event {
                seq,
                at: 1,
                from: from.into(),
                to: None,
                id: Some(id.into()),
                body: Body::Text("x".into()),
            })
        };
        let refused = |id: &str| ServerFrame::Rejected {
            id: Some(id.into()),
            reason: "busy".into(),
            message: String::new(),
            retry_after_ms: Some(1),
            seq: None,
        };
        watch.received(refused("m1"));
        watch.received(refused("m2"));
        watch.received(event(1, "anna", "m1"));
        watch.received(event(2, "harry", "m1"));
        watch.take(Notice::Sent(ClientFrame::Send {
            id: "m2".into(),
            to: None,
            content: frame::Content::Text("x".into()),
        }));
        watch.received(event(3, "harry", "m2"));
        let told: Vec<_> = std::iter::from_fn(|| told.try_recv().ok()).collect();
        let journaled: Vec<_> = told
            .into_iter()
            .filter(|(_, step)| matches!(step, Step::Journaled { .. }))
            .map(|(_, step)| step)
            .collect();
        let of_m1 = Step::Journaled {
            id: "m1".into(),
            seq: 2,
        };
        assert_eq!(journaled, [of_m1]);
    }
}
