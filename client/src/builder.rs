//! How a client is made.

use crate::{
    Client,
    address::{Gateway, check_key, check_name},
    close::Lost,
    codec::{Codec, Protocol},
    connection::{Dial, Silence},
    driver::{Driver, Limits},
    frame::Policy,
    key::KeyPair,
    message::End,
    schedule::{Backoff, Schedule},
    session::{Options, Resend, Session},
    tls::Tls,
    token::{Token, Tokens},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures::FutureExt;
use std::{fmt, sync::Arc, time::Duration};
use tokio::time::timeout;

/// Messages of a client that may be undecided: enough to keep a connection busy, little to hold.
const WINDOW: usize = 64;
/// Notices that may wait to be taken: some seconds of a busy room.
const NOTICES: usize = 1024;

/// Says where a client connects, as whom, and how it behaves. Gateway, room and user are needed.
#[derive(Debug, Clone)]
#[must_use = "a client is made by `connect` or `start`"]
pub struct Builder {
    gateways: Vec<String>,
    first: usize,
    room: String,
    user: String,
    key: Option<String>,
    tokens: Option<Tokens>,
    pair: Option<KeyPair>,
    former: Former,
    device: Option<Option<String>>,
    since: Option<u64>,
    history: u16,
    policy: Option<Policy>,
    protocol: Protocol,
    tls: Tls,
    resend: Resend,
    retries: u32,
    backoff: Backoff,
    insists: bool,
    was_there: bool,
    silence: Silence,
    window: usize,
    notices: usize,
    trace: bool,
    connect_within: Duration,
    answer_within: Option<Duration>,
    deadline: Duration,
}

/// What opens the key pairs of before.
#[derive(Clone, Default)]
pub(crate) struct Former(Option<Arc<dyn Fn() -> Vec<KeyPair> + Send + Sync>>);

impl Former {
    pub(crate) fn open(&self) -> Vec<KeyPair> {
        self.0.as_ref().map_or_else(Vec::new, |open| open())
    }
}

impl fmt::Debug for Former {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Former")
    }
}

/// No client came of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// What was asked for cannot be.
    #[error("{0}")]
    Config(String),
    /// Trying again cannot help.
    #[error("{0}")]
    Ended(End),
    /// No gateway let it in, in the time that it had.
    #[error("not connected within {} s: {}", .within.as_secs_f64(), .last.as_ref().map_or_else(|| "no answer".into(), Lost::to_string))]
    TimedOut {
        /// How long it was tried.
        within: Duration,
        /// What happened last.
        last: Option<Lost>,
    },
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            gateways: Vec::new(),
            first: 0,
            room: String::new(),
            user: String::new(),
            key: None,
            tokens: None,
            pair: None,
            former: Former::default(),
            device: None,
            since: None,
            history: 0,
            policy: None,
            protocol: Protocol::default(),
            tls: Tls::default(),
            resend: Resend::default(),
            retries: 30,
            backoff: Backoff::default(),
            insists: false,
            was_there: false,
            silence: Silence::default(),
            window: WINDOW,
            notices: NOTICES,
            trace: false,
            connect_within: Duration::from_secs(30),
            answer_within: Some(Duration::from_secs(60)),
            deadline: Duration::from_secs(10),
        }
    }
}

impl Builder {
    /// A gateway: `http://HOST:PORT` or `https://...`, also as `ws` or `wss`. Called several times,
    /// the gateways take turns when a connection is lost.
    pub fn gateway(mut self, address: impl ToString) -> Self {
        self.gateways.push(address.to_string());
        self
    }

    /// Several gateways.
    pub fn gateways<T: ToString>(mut self, addresses: impl IntoIterator<Item = T>) -> Self {
        let addresses = addresses.into_iter().map(|address| address.to_string());
        self.gateways.extend(addresses);
        self
    }

    /// The gateway to begin with (default: 0, the first): spreads many clients.
    pub fn first_gateway(mut self, first: usize) -> Self {
        self.first = first;
        self
    }

    /// The room: 1-64 of `A-Z a-z 0-9 _ -`.
    pub fn room(mut self, room: impl Into<String>) -> Self {
        self.room = room.into();
        self
    }

    /// The user: 1-64 of the same.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = user.into();
        self
    }

    /// The public key: 1-128 of the same. The first one that comes with a name keeps that name in a
    /// room. Default: a new one, so that nobody, you included, can come back under this name.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The token, for rooms that ask for one. When it expires the client ends: see
    /// [`Self::token_from`].
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.tokens = Some(Tokens::One(Token::new(token)));
        self
    }

    /// Where tokens come from: asked before each connection, and when the server says that the one
    /// of this session expires. An error is told like a broken connection, without quoting a token.
    pub fn token_from<F, T>(mut self, source: F) -> Self
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<String, String>> + Send + 'static,
    {
        self.tokens = Some(Tokens::Source(Arc::new(move || source().boxed())));
        self
    }

    /// The key pair whose public half is the key: where the server can check it, it is proven, and
    /// from then on the name is nobody's who cannot.
    pub fn key_pair(mut self, pair: KeyPair) -> Self {
        self.key = Some(pair.public());
        self.pair = Some(pair);
        self
    }

    /// Key pairs that were used before that of [`Self::key_pair`], newest first. Where the name has
    /// another key still, they are tried one after the other: the one whose key it is signs that the
    /// new one takes its place, which all in the room see.
    pub fn former_key_pairs(self, pairs: impl IntoIterator<Item = KeyPair>) -> Self {
        let pairs: Vec<_> = pairs.into_iter().collect();
        self.former_key_pairs_from(move || pairs.clone())
    }

    /// The same, of key pairs that are asked for when the name has another key, and not before: to
    /// open one may take its time. There is no connection while it does.
    pub fn former_key_pairs_from(
        mut self,
        pairs: impl Fn() -> Vec<KeyPair> + Send + Sync + 'static,
    ) -> Self {
        self.former = Former(Some(Arc::new(pairs)));
        self
    }

    /// The device: a connection of it that a server still believes in is replaced, not counted.
    /// Default: a new one; `None`: no device at all.
    pub fn device(mut self, device: Option<String>) -> Self {
        self.device = Some(device);
        self
    }

    /// The last place of the room that is known already: everything after it is told.
    pub fn since(mut self, seq: u64) -> Self {
        self.since = Some(seq);
        self
    }

    /// Events from before the first join, 0-500 (default: 0).
    pub fn history(mut self, events: u16) -> Self {
        self.history = events;
        self
    }

    /// What the room is to ask of those who come, if this makes it; a room that asks something else
    /// refuses the client (default: whatever it asks).
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// In which form frames travel (default: JSON).
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// Whom to trust at https and wss (default: the authorities of the system).
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// When what is undecided is sent again after a connection broke.
    pub fn resend(mut self, resend: Resend) -> Self {
        self.resend = resend;
        self
    }

    /// How often a message is sent again that is rejected for now, with the delay that the server
    /// names (default: 30, which outlasts a takeover).
    pub fn retries(mut self, times: u32) -> Self {
        self.retries = times;
        self
    }

    /// Delays between attempts to connect.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Tries again even after what cannot change by itself: a refusal for good, an end by an
    /// operator. For tools that outlast whatever is done to a service.
    pub fn insist(mut self) -> Self {
        self.insists = true;
        self
    }

    /// Another client was let in by these servers a while ago: what answers in their place and is no
    /// safe-chat is waited out, as it is by each client that has been let in itself. Without that
    /// such an answer to the first attempt ends the client. Default false.
    pub fn was_there(mut self, was_there: bool) -> Self {
        self.was_there = was_there;
        self
    }

    /// When a silent connection is asked, and when it is given up.
    pub fn silence(mut self, silence: Silence) -> Self {
        self.silence = silence;
        self
    }

    /// Messages that may be undecided (default: 64). Beyond it [`crate::Handle::submit`] waits, and
    /// [`crate::Handle::try_submit`] refuses.
    pub fn window(mut self, messages: usize) -> Self {
        self.window = messages.max(1);
        self
    }

    /// Notices that may wait to be taken (default: 1024). Beyond it nothing more is read; while
    /// somebody waits for an answer, events are read and left out, and fetched by resuming when all
    /// notices are taken. So nothing is lost, and nobody waits for an answer in vain.
    pub fn queue(mut self, notices: usize) -> Self {
        self.notices = notices.max(1);
        self
    }

    /// Also tells every frame, as [`crate::Notice::Received`] and [`crate::Notice::Sent`].
    pub fn trace(mut self, trace: bool) -> Self {
        self.trace = trace;
        self
    }

    /// How long [`Self::connect`] tries (default: 30 s).
    pub fn connect_within(mut self, within: Duration) -> Self {
        self.connect_within = within;
        self
    }

    /// How long a message or a question may wait for its answer (default: 60 s; `None`: a message
    /// for ever, a question 60 s).
    pub fn answer_within(mut self, within: Option<Duration>) -> Self {
        self.answer_within = within;
        self
    }

    /// How long one attempt to connect, or one write, may take (default: 10 s).
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Connects. From then on the client reconnects by itself until it is closed or dropped.
    ///
    /// # Errors
    /// No gateway let it in.
    pub async fn connect(self) -> Result<Client, ConnectError> {
        let within = self.connect_within;
        let client = self.start()?;
        match timeout(within, client.connected()).await {
            Ok(Ok(())) => Ok(client),
            Ok(Err(end)) => Err(ConnectError::Ended(end)),
            Err(_) => {
                let last = client.status().trouble;
                client.abort();
                Err(ConnectError::TimedOut { within, last })
            }
        }
    }

    /// Like [`Self::connect`], but does not wait: tries for ever, and tells what happens by notices.
    ///
    /// # Errors
    /// What was asked for cannot be.
    pub fn start(self) -> Result<Client, ConnectError> {
        let config = ConnectError::Config;
        if self.gateways.is_empty() {
            return Err(config("name a gateway".into()));
        }
        let parse = |text: &String| {
            let parsed = text.parse::<Gateway>();
            parsed.map_err(|why| config(format!("the gateway {text}: {why}")))
        };
        let gateways: Vec<_> = self.gateways.iter().map(parse).collect::<Result<_, _>>()?;
        for (what, name) in [("room", &self.room), ("user", &self.user)] {
            check_name(name).map_err(|why| config(format!("the {what} {name:?} {why}")))?;
        }
        let key = self
            .key
            .unwrap_or_else(|| URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
        check_key(&key).map_err(|why| config(format!("the key {why}")))?;
        let is_secure = gateways.iter().any(Gateway::is_secure);
        let tls = is_secure.then(|| self.tls.build()).transpose();
        // A key that was named later counts.
        let pair = self.pair.filter(|pair| pair.public() == key);
        let former = match pair {
            Some(_) => self.former,
            None => Former::default(),
        };
        let dial = Dial {
            device: self.device.unwrap_or_else(|| Some(new_device())),
            history: Some(self.history),
            since: self.since,
            policy: self.policy,
            protocol: self.protocol,
            tls: tls.map_err(config)?,
            pair,
            deadline: self.deadline,
            ..Dial::new(gateways[0].clone(), &self.room, &self.user, &key)
        };
        let session = Session::new(Options {
            user: self.user.clone(),
            protocol: self.protocol,
            since: self.since,
            history: self.history,
            resend: self.resend,
            retries: self.retries,
            answer_within: self.answer_within,
        });
        let mut schedule = Schedule::new(gateways.len(), self.first, self.backoff, self.insists);
        if self.was_there {
            schedule.is_in();
        }
        let codec = Codec::new(self.protocol, &self.room, &self.user);
        let limits = Limits {
            window: self.window,
            notices: self.notices,
            trace: self.trace,
            silence: self.silence,
        };
        Ok(Driver::start(
            gateways,
            (dial, former, self.tokens),
            session,
            schedule,
            codec,
            limits,
        ))
    }
}

pub(crate) fn new_device() -> String {
    format!("c-{:08x}", rand::random::<u32>())
}
