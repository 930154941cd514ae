//! The task of a client: it owns the session and one connection after another, and performs what
//! the session decides.

use crate::{
    address::Gateway,
    builder::{Former, new_device},
    client::{Client, Command, Handle, Link as LinkStatus, Status, Waiting},
    close::Lost,
    codec::Codec,
    connection::{Connection, Dial, Silence, Socket},
    frame::{ClientFrame, ServerFrame, Welcome},
    key::KeyPair,
    message::End,
    notice::Notice,
    schedule::{Next, Schedule},
    session::{Effect, Reply, Session},
    token::{Token, Tokens},
};
use futures::{FutureExt, future::BoxFuture};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
    vec,
};
use tokio::{
    sync::{Semaphore, mpsc, oneshot, watch},
    time::{Instant, sleep_until, timeout},
};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// The id of the frame of a new token.
const TOKEN_ID: &str = "token";
/// Questions that may wait beside the messages of the window.
const QUESTIONS: usize = 16;
/// Notices other than events may go beyond the queue by this factor before the client ends.
const BEYOND: usize = 4;

pub(crate) struct Limits {
    pub(crate) window: usize,
    pub(crate) notices: usize,
    pub(crate) trace: bool,
    pub(crate) silence: Silence,
}

enum Link {
    Waiting(Instant),
    Connecting(BoxFuture<'static, Result<Socket, Lost>>),
    Open(Box<Connection>),
}

/// What happened next.
enum Turn {
    Command(Option<Command>),
    Told,
    Wake,
    Connect,
    Opened(Box<Socket>),
    NotOpened(Lost),
    Renewed(Result<Token, String>),
    Frame(Result<(Utf8Bytes, ServerFrame), Lost>),
}

pub(crate) struct Driver {
    gateways: Vec<Gateway>,
    dial: Dial,
    /// Keys of before, newest first, and those that are tried next.
    former: (Former, Option<vec::IntoIter<KeyPair>>),
    tokens: Option<Tokens>,
    /// A new token for the session that is open.
    renewing: Option<BoxFuture<'static, Result<Token, String>>>,
    session: Session,
    schedule: Schedule,
    codec: Codec,
    limits: Limits,
    link: Link,
    commands: mpsc::Receiver<Command>,
    notices: mpsc::Sender<Notice>,
    /// What is to be told, in order.
    untold: VecDeque<Notice>,
    waiting: HashMap<String, Waiting>,
    asked: HashMap<String, oneshot::Sender<Option<Reply>>>,
    status: watch::Sender<Status>,
}

impl Driver {
    pub(crate) fn start(
        gateways: Vec<Gateway>,
        (dial, former, tokens): (Dial, Former, Option<Tokens>),
        session: Session,
        schedule: Schedule,
        codec: Codec,
        limits: Limits,
    ) -> Client {
        let (commands, orders) = mpsc::channel(limits.window + QUESTIONS);
        // The queue is `untold`, whose length is known; this only hands over.
        let (notices, told) = mpsc::channel(1);
        let (status, shown) = watch::channel(Status {
            gateway: dial.gateway.clone(),
            link: LinkStatus::Connecting,
            is_live: false,
            undecided: 0,
            unanswered_since: None,
            seq: session.resume_after(),
            trouble: None,
            end: None,
            was_welcome: false,
        });
        let handle = Handle {
            commands,
            window: Arc::new(Semaphore::new(limits.window)),
            status: shown,
            queries: Arc::new(AtomicU64::new(1)),
            protocol: codec.protocol(),
        };
        let driver = Self {
            gateways,
            dial,
            former: (former, None),
            tokens,
            renewing: None,
            session,
            schedule,
            codec,
            limits,
            link: Link::Waiting(Instant::now()),
            commands: orders,
            notices,
            untold: VecDeque::new(),
            waiting: HashMap::new(),
            asked: HashMap::new(),
            status,
        };
        Client {
            handle,
            notices: told,
            task: tokio::spawn(driver.run()),
        }
    }

    async fn run(mut self) {
        let end = loop {
            let turn = self.next().await;
            if let Err(end) = self.take(turn).await {
                break end;
            }
            self.show();
        };
        if let Link::Open(connection) = std::mem::replace(&mut self.link, waiting(Duration::ZERO)) {
            connection.close().await;
        }
        self.commands.close();
        self.waiting.clear();
        self.asked.clear();
        self.status
            .send_modify(|status| status.end = Some(end.clone()));
        self.untold.push_back(Notice::Ended(end));
        for notice in self.untold {
            if self.notices.send(notice).await.is_err() {
                return;
            }
        }
    }

    /// Biased: what is wanted here goes first (its amount is bounded by the window; a client that is
    /// dropped wants to leave), then what was heard is handed on, then what is due, and then more is
    /// heard. All of them wait without losing anything when another one is first.
    async fn next(&mut self) -> Turn {
        let wake = self.session.next_wake().map(Instant::from_std);
        tokio::select! {
            biased;
            command = self.commands.recv() => Turn::Command(command),
            () = self.notices.closed() => Turn::Command(None),
            place = self.notices.reserve(), if !self.untold.is_empty() => {
                if let (Ok(place), Some(notice)) = (place, self.untold.pop_front()) {
                    place.send(notice);
                }
                Turn::Told
            }
            () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => Turn::Wake,
            token = renewed(&mut self.renewing) => Turn::Renewed(token),
            turn = next_of(&mut self.link), if !self.is_held_up() => turn,
        }
    }

    /// Nobody takes events and nobody waits for an answer: nothing more is read, until the gateway
    /// closes. With somebody waiting, events are left out instead.
    fn is_held_up(&self) -> bool {
        let nobody_waits = self.waiting.is_empty() && self.asked.is_empty();
        let is_full = self.untold.len() >= self.limits.notices;
        is_full && nobody_waits && matches!(self.link, Link::Open(_))
    }

    async fn take(&mut self, turn: Turn) -> Result<(), End> {
        let now = Instant::now().into_std();
        let effects = match turn {
            Turn::Command(None | Some(Command::Close)) => return Err(End::Closed),
            Turn::Command(Some(Command::Send { message, answer })) => {
                let id = message.id().to_owned();
                match self.session.say(message, now) {
                    Ok(effects) => {
                        self.waiting.insert(id, answer);
                        effects
                    }
                    Err(error) => {
                        // Who does not wait does not want to know.
                        let _ = answer.done.send(Err(error));
                        Vec::new()
                    }
                }
            }
            Turn::Command(Some(Command::Ask { id, frame, reply })) => {
                self.asked.insert(id, reply);
                self.session.ask(frame, now)
            }
            Turn::Told if self.untold.is_empty() => self.session.has_space(),
            Turn::Told => Vec::new(),
            Turn::Wake => self.session.wake(now),
            Turn::Connect => {
                self.connect();
                Vec::new()
            }
            Turn::Opened(socket) => {
                let (codec, deadline) = (self.codec.clone(), self.dial.deadline);
                let silence = self.limits.silence;
                let connection = Connection::new(*socket, codec, deadline, silence);
                self.link = Link::Open(Box::new(connection));
                Vec::new()
            }
            Turn::NotOpened(lost) | Turn::Frame(Err(lost)) => self.lost(lost)?,
            Turn::Renewed(token) => return self.renew(token).await,
            Turn::Frame(Ok((raw, frame))) => {
                if let ServerFrame::Welcome(welcome) = &frame {
                    if let Some(why) = self.is_elsewhere(welcome) {
                        let effects = self.lost(Lost::Broken(why))?;
                        return self.perform(effects).await;
                    }
                    self.status.send_modify(|status| status.was_welcome = true);
                    self.schedule.is_in();
                    // The name has the key of now.
                    (self.dial.former, self.former.1) = (None, None);
                }
                if matches!(frame, ServerFrame::Expiring { .. }) {
                    let tokens = self.tokens.as_ref().filter(|tokens| tokens.renew());
                    self.renewing = tokens.map(Tokens::next);
                }
                // Before the frame itself is told: to watch a client must not change what it does.
                let is_full = self.untold.len() >= self.limits.notices;
                if self.limits.trace {
                    let frame = frame.clone();
                    self.tell(Notice::Received { raw, frame })?;
                }
                match frame {
                    ServerFrame::Challenge { nonce } => self.prove(&nonce)?,
                    frame => self.session.take(frame, is_full, now),
                }
            }
        };
        self.perform(effects).await
    }

    /// Why a welcome is none: it is to another room, or as somebody else, than was asked for. The
    /// text protocol does not say which.
    fn is_elsewhere(&self, welcome: &Welcome) -> Option<String> {
        let (room, user) = (&self.dial.room, &self.dial.user);
        let is_other = |said: &String, asked: &String| !said.is_empty() && said != asked;
        (is_other(&welcome.room, room) || is_other(&welcome.user, user)).then(|| {
            format!(
                "{}: the server lets this client into the room {:?} as {:?}, and {room} as {user} \
                 was asked for",
                self.dial.gateway, welcome.room, welcome.user
            )
        })
    }

    /// Answers a challenge.
    fn prove(&mut self, nonce: &[u8]) -> Result<Vec<Effect>, End> {
        let Some(proving) = self.dial.proving() else {
            let why = "the server asked for a proof that was not offered";
            return self.lost(Lost::Broken(why.into()));
        };
        let proof = ClientFrame::Proof {
            host: proving.host.clone(),
            signature: proving.answer(nonce),
            former: proving.change(nonce),
        };
        Ok(vec![Effect::Send(proof)])
    }

    fn connect(&mut self) {
        let gateway = self.schedule.gateway();
        self.dial.gateway = self.gateways[gateway].clone();
        self.dial.since = self.session.resume_after();
        self.dial.since_at = self.session.resume_after_at();
        let (mut dial, tokens) = (self.dial.clone(), self.tokens.clone());
        let opening = async move {
            if let Some(tokens) = &tokens {
                let token = timeout(dial.deadline, tokens.next()).await;
                let token = token.unwrap_or_else(|_| Err("it did not come in time".into()));
                let token = token.map_err(|why| Lost::Broken(format!("there is no token: {why}")));
                dial.token = Some(token?);
            }
            dial.open().await.map_err(|lost| match lost {
                // The next one may be good.
                Lost::Refused(why)
                    if why.reason == "token_expired"
                        && tokens.as_ref().is_some_and(Tokens::renew) =>
                {
                    Lost::Broken(why.to_string())
                }
                lost => lost,
            })
        };
        self.link = Link::Connecting(opening.boxed());
    }

    /// Sends a new token for the session that is open. Without one the server closes it in time,
    /// and the next connection asks for one again.
    async fn renew(&mut self, token: Result<Token, String>) -> Result<(), End> {
        let (Ok(token), Link::Open(connection)) = (token, &mut self.link) else {
            return Ok(());
        };
        let id = TOKEN_ID.to_owned();
        let Err(lost) = connection.send(&[ClientFrame::Token { id, token }]).await else {
            return Ok(());
        };
        let effects = self.lost(lost)?;
        self.perform(effects).await
    }

    fn lost(&mut self, why: Lost) -> Result<Vec<Effect>, End> {
        let open = match &self.link {
            Link::Open(connection) => Some(connection.opened().into_std()),
            _ => None,
        };
        self.renewing = None;
        if self.tries_former(&why) {
            self.link = waiting(Duration::ZERO);
            return Ok(Vec::new());
        }
        let mut effects = self.session.disconnected();
        let now = Instant::now().into_std();
        match self.schedule.lost(&why, open, now) {
            Next::End if matches!(&why, Lost::Closed { code, .. } if u16::from(*code) == 4005) => {
                return Err(End::Replaced);
            }
            Next::End => return Err(End::Final(why)),
            Next::Connect {
                wait,
                new_device: other,
            } => {
                if other && self.dial.device.is_some() {
                    self.dial.device = Some(new_device());
                }
                self.link = waiting(wait);
                let trouble = Some(why.clone());
                self.status.send_modify(|status| status.trouble = trouble);
                effects.push(Effect::Tell(Notice::Disconnected { why, wait }));
            }
        }
        Ok(effects)
    }

    /// Whether a refusal is answered by naming another key of before. When none is left, the refusal
    /// counts.
    fn tries_former(&mut self, why: &Lost) -> bool {
        let is_other_key = matches!(why, Lost::Refused(why) if why.reason == "key_mismatch");
        if !is_other_key {
            return false;
        }
        let (former, untried) = &mut self.former;
        let next = untried.get_or_insert_with(|| former.open().into_iter());
        self.dial.former = next.next();
        let is_one = self.dial.former.is_some();
        if !is_one {
            *untried = None;
        }
        is_one
    }

    async fn perform(&mut self, effects: Vec<Effect>) -> Result<(), End> {
        let mut frames = Vec::new();
        let mut left = None;
        for effect in effects {
            match effect {
                Effect::Send(frame) => frames.push(frame),
                Effect::Tell(notice) => self.tell(notice)?,
                Effect::Accepted { id } => {
                    let waiting = self.waiting.get_mut(&id);
                    if let Some(accepted) = waiting.and_then(|waiting| waiting.accepted.take()) {
                        let _ = accepted.send(());
                    }
                }
                Effect::Answer { id, answer } => {
                    if let Some(waiting) = self.waiting.remove(&id) {
                        let _ = waiting.done.send(answer);
                    }
                }
                Effect::Reply { id, reply } => {
                    if let Some(asked) = self.asked.remove(&id) {
                        let _ = asked.send(reply);
                    }
                }
                Effect::Leave(why) => left = Some(Lost::Left(why)),
            }
        }
        if !frames.is_empty() && left.is_none() {
            if self.limits.trace {
                for frame in &frames {
                    self.tell(Notice::Sent(frame.clone()))?;
                }
            }
            if let Link::Open(connection) = &mut self.link {
                left = connection.send(&frames).await.err();
            }
        }
        if let Some(lost) = left {
            let effects = self.lost(lost)?;
            // What follows from a loss is told and answered, never sent.
            return Box::pin(self.perform(effects)).await;
        }
        Ok(())
    }

    fn tell(&mut self, notice: Notice) -> Result<(), End> {
        if self.untold.len() >= self.limits.notices * BEYOND {
            return Err(End::NotRead);
        }
        self.untold.push_back(notice);
        Ok(())
    }

    fn show(&self) {
        let link = match &self.link {
            Link::Waiting(until) => LinkStatus::Waiting(*until),
            Link::Connecting(_) => LinkStatus::Connecting,
            Link::Open(_) => LinkStatus::Open,
        };
        let (is_live, undecided) = (self.session.is_live(), self.session.undecided());
        let seq = self.session.resume_after();
        let unanswered = self.session.unanswered_since().map(Instant::from_std);
        self.status.send_if_modified(|status| {
            let before = status.clone();
            status.gateway.clone_from(&self.dial.gateway);
            (status.link, status.is_live) = (link, is_live);
            (status.undecided, status.seq) = (undecided, seq);
            status.unanswered_since = unanswered;
            *status != before
        });
    }
}

fn waiting(wait: Duration) -> Link {
    Link::Waiting(Instant::now() + wait)
}

/// The new token that is being asked for. Cancel safe: the question stays where it is.
async fn renewed(
    renewing: &mut Option<BoxFuture<'static, Result<Token, String>>>,
) -> Result<Token, String> {
    let Some(asked) = renewing else {
        return std::future::pending().await;
    };
    let token = asked.await;
    *renewing = None;
    token
}

async fn next_of(link: &mut Link) -> Turn {
    match link {
        Link::Waiting(until) => {
            sleep_until(*until).await;
            Turn::Connect
        }
        Link::Connecting(opening) => match opening.await {
            Ok(socket) => Turn::Opened(Box::new(socket)),
            Err(lost) => Turn::NotOpened(lost),
        },
        Link::Open(connection) => Turn::Frame(connection.next().await),
    }
}
