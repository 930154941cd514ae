//! Runs a device over the network: its client, its questions over HTTP, and the clock.

use super::{
    device::{Device, Standing, Task},
    note::{Note, Noted},
};
use anyhow::{Context, Result, bail};
use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, pending},
    stream::FuturesUnordered,
};
use safe_chat_client::{
    Backoff, Body, Client, Gateway, Message, Notice, Policy, SendError, Sending, Silence,
    keys::{self, Keys, Request},
};
use seal::{Name, Public, conversation::Outgoing, member::Person};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    sync::mpsc,
    task::spawn_blocking,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};

/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(200);
/// How long a question over HTTP may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// After so long what could not be asked is asked again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a client whose connection is to break waits until its message is stored.
const STORED: Duration = Duration::from_secs(1);
/// How often time goes on for a device.
const TICK: Duration = Duration::from_millis(250);
/// Bytes of an answer.
const MOST: u64 = 4 << 20;
/// Messages that may be under way: more than a device ever has.
const WINDOW: usize = 512;
/// Key packages of a device.
const PACKAGES: usize = 20;
/// A device renews its keys after a week.
const WEEK: u64 = 7 * 86_400 + 1;
/// It removes who asked for it after a minute, whosever turn that was.
const MINUTE: u64 = 61;
/// Weeks that pass for a device at most: key packages count 84 days.
const MOST_WEEKS: u64 = 8;

/// What a user has its device do.
#[derive(Debug, Clone)]
pub enum Order {
    /// Say this.
    Say(String),
    /// Go on a week later: the device renews its keys.
    AWeekPasses,
    /// Go on a minute later: the device removes who was another one's to remove.
    AMinutePasses,
    /// Leave the group, and stay out.
    Leave,
    /// Start again after that.
    ComeBack,
    /// End without a warning, and start again.
    Crash,
    /// The same between storing the next thing to send and sending it.
    CrashBeforeItSends,
    /// Lose all that was stored but the keys, and start again.
    Forget,
    /// Lose the connection when something was sent, before its answer is read, and send it again
    /// over the next one.
    LoseAnswer,
    /// None of that any more.
    Calm,
    /// Add somebody, by user and identity.
    Add(String, String),
    /// Remove somebody, by user.
    Remove(Name),
    /// Publish key packages.
    Publish,
}

/// How a device is, and all that it noted. Shared with whoever looks on.
#[derive(Debug, Default)]
pub struct Page {
    /// How it is.
    pub standing: Standing,
    /// What it noted.
    pub notes: Vec<Noted>,
    /// Whether it has a session.
    pub is_connected: bool,
    /// Whether it has said its last word, where devices say one by themselves.
    pub said: bool,
}

/// What comes back of a question.
enum Found {
    Group(Result<Option<keys::Group>>),
    Welcome(Result<Option<keys::Welcome>>),
    /// Of whom it was asked for.
    Packages(Option<Person>, Result<Option<keys::Claimed>>),
    Done,
}

type Sent = (u64, u64, Result<u64, SendError>);

/// See the module.
pub struct Driver {
    device: Device,
    gateways: Vec<Gateway>,
    /// The gateway that is asked next.
    next: usize,
    client: Client,
    /// Clients so far: answers to one before are nobody's.
    clients: u64,
    sent: FuturesUnordered<BoxFuture<'static, Sent>>,
    asked: FuturesUnordered<BoxFuture<'static, (u64, Found)>>,
    /// Where the room ended when the session began; when what could not be asked is asked again.
    head: u64,
    again: Option<Instant>,
    weeks: u64,
    minutes: u64,
    loses_answer: bool,
    page: Arc<Mutex<Page>>,
}

impl Driver {
    /// A device that connects to the gateways in turn, beginning with one of them.
    ///
    /// # Errors
    /// They are none.
    pub fn new(
        device: Device,
        urls: &[String],
        first: usize,
        page: Arc<Mutex<Page>>,
    ) -> Result<Self> {
        let gateways: Result<Vec<Gateway>, _> = urls.iter().map(|url| url.parse()).collect();
        let gateways = gateways.map_err(anyhow::Error::msg)?;
        let first = first % gateways.len().max(1);
        let client = begin(&device, &gateways, first, device.since())?;
        Ok(Self {
            device,
            gateways,
            next: first,
            client,
            clients: 0,
            sent: FuturesUnordered::new(),
            asked: FuturesUnordered::new(),
            head: 0,
            again: None,
            weeks: 0,
            minutes: 0,
            loses_answer: false,
            page,
        })
    }

    /// Runs it until nobody has orders any more.
    ///
    /// # Errors
    /// Its client ended by itself.
    pub async fn run(mut self, mut orders: mpsc::Receiver<Order>) -> Result<()> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let again = self.again;
            let due = async {
                match again {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            // Biased: what was heard goes before what is wanted, or it is wanted of the past; all
            // of them wait without losing anything.
            let tasks = tokio::select! {
                biased;
                notice = self.client.next() => self.heard(notice.context("the client ended")?)?,
                Some(sent) = self.sent.next() => self.answered(sent),
                Some((of, found)) = self.asked.next() => self.found(of, found),
                () = due => {
                    self.again = None;
                    self.device.connected(self.head, self.now())
                }
                order = orders.recv() => match order {
                    Some(order) => self.obey(order)?,
                    None => break,
                },
                _ = ticks.tick() => self.device.tick(self.now()),
            };
            self.carry_out(tasks).await?;
            self.write_down();
        }
        self.client.close().await;
        Ok(())
    }

    /// Seconds since 1970, on this device.
    fn now(&self) -> u64 {
        now_ms() / 1000 + self.weeks * WEEK + self.minutes * MINUTE
    }

    fn write_down(&mut self) {
        let mut page = self.page.lock().unwrap_or_else(PoisonError::into_inner);
        page.standing = self.device.standing();
        page.notes.extend(self.device.noted());
        page.is_connected = self.client.status().is_live;
    }

    fn heard(&mut self, notice: Notice) -> Result<Vec<Task>> {
        let now = self.now();
        Ok(match notice {
            Notice::Connected { welcome, .. } => {
                (self.head, self.again) = (welcome.seq.unwrap_or_default(), None);
                self.device.connected(self.head, now)
            }
            Notice::Event(event) => {
                let content = content(event.body);
                self.device.event(event.seq, content.as_ref(), now)
            }
            Notice::Reset { .. } => self.device.missed(now),
            Notice::Disconnected { .. } => {
                self.device.disconnected();
                Vec::new()
            }
            Notice::Ended(end) => bail!("{}: {end}", self.device.who().name()),
            _ => Vec::new(),
        })
    }

    fn answered(&mut self, (of, number, outcome): Sent) -> Vec<Task> {
        let answer = match &outcome {
            _ if of != self.clients => return Vec::new(),
            Ok(seq) => Ok(*seq),
            Err(SendError::Rejected { reason, .. }) => Err(reason.as_str()),
            // The client has ended, which is told.
            Err(_) => return Vec::new(),
        };
        self.device.answered(number, answer, self.now())
    }

    fn found(&mut self, of: u64, found: Found) -> Vec<Task> {
        if of != self.clients {
            return Vec::new();
        }
        let now = self.now();
        match found {
            Found::Group(Ok(group)) => self.device.group(group.as_ref(), now),
            Found::Welcome(Ok(welcome)) => {
                let tasks = self.device.welcome(welcome.as_ref(), now);
                if let Some(welcome) = welcome {
                    let who = self.device.who();
                    let (user, device) = (who.user.as_str(), who.device.as_str());
                    let confirm = self.keys().confirm(user, device, &welcome.id, now_ms());
                    self.ask(confirm, |_| Found::Done);
                }
                tasks
            }
            Found::Packages(Some(person), Ok(Some(claimed))) => {
                let packages = claimed.packages.into_iter().map(|one| one.package);
                // The service's clock says whether key packages count, as for publishing them.
                let now = now_ms() / 1000;
                self.device.add(&person, &packages.collect::<Vec<_>>(), now)
            }
            // Whoever wants it asks again.
            Found::Packages(_, none) => {
                let why = none
                    .err()
                    .map_or("there is no such device".into(), |error| {
                        format!("no key packages: {error:#}")
                    });
                self.device.not_done(why);
                Vec::new()
            }
            Found::Done => Vec::new(),
            Found::Group(Err(_)) | Found::Welcome(Err(_)) => {
                self.device.disconnected();
                self.next += 1;
                self.again = Some(Instant::now() + AGAIN);
                Vec::new()
            }
        }
    }

    fn obey(&mut self, order: Order) -> Result<Vec<Task>> {
        let now = self.now();
        Ok(match order {
            Order::Say(text) => self.device.say(&text, now),
            Order::AWeekPasses if self.weeks < MOST_WEEKS => {
                self.weeks += 1;
                self.device.tick(self.now())
            }
            Order::AWeekPasses => Vec::new(),
            // Noticed now, and long enough ago then.
            Order::AMinutePasses => {
                let mut tasks = self.device.tick(now);
                self.minutes += 1;
                tasks.extend(self.device.tick(self.now()));
                tasks
            }
            Order::Leave => self.device.leave(now),
            Order::ComeBack => {
                self.device.come_back();
                vec![Task::Restart]
            }
            Order::Crash => {
                self.device.crash();
                vec![Task::Restart]
            }
            Order::CrashBeforeItSends => {
                self.device.crash_before_it_sends(true);
                Vec::new()
            }
            Order::Forget => {
                self.device.forget();
                vec![Task::Restart]
            }
            Order::Add(user, identity) => {
                let claim = self.keys().claim(&identity, &user, now_ms());
                let person = Name::parse(&user).ok().zip(Public::parse(&identity).ok());
                let person = person.map(|(user, identity)| Person { user, identity });
                self.ask(claim, |body| Found::Packages(person, read(body)));
                Vec::new()
            }
            Order::Remove(user) => self.device.remove(&user, now),
            Order::Calm => {
                self.device.crash_before_it_sends(false);
                self.loses_answer = false;
                Vec::new()
            }
            Order::LoseAnswer => {
                self.loses_answer = true;
                Vec::new()
            }
            Order::Publish => {
                self.publish();
                Vec::new()
            }
        })
    }

    fn publish(&mut self) {
        let made = self.device.publish(PACKAGES, now_ms() / 1000);
        if let Some((one_time, last_resort)) = made {
            let who = self.device.who();
            let (user, device) = (who.user.as_str(), who.device.as_str());
            let keys = self.keys();
            let request = keys.publish(user, device, &one_time, Some(&last_resort), now_ms());
            self.ask(request, |_| Found::Done);
        }
    }

    async fn carry_out(&mut self, tasks: Vec<Task>) -> Result<()> {
        for task in tasks {
            match task {
                Task::Send(number) if self.loses_answer => {
                    self.loses_answer = false;
                    self.send_and_lose_the_answer(number).await?;
                }
                Task::Send(number) => self.send(number).await,
                Task::AskGroup => {
                    let who = self.device.who();
                    let (room, user) = (who.room.as_str(), who.user.as_str());
                    let request = self.keys().group(room, user, now_ms());
                    self.ask(request, |body| Found::Group(read(body)));
                }
                Task::AskWelcome => self.ask_welcome(),
                Task::Resume(seq) => {
                    self.begin(Some(seq)).await?;
                    for number in self.device.unanswered() {
                        self.send(number).await;
                    }
                }
                Task::Restart => {
                    self.again = None;
                    self.begin(self.device.since()).await?;
                }
            }
        }
        Ok(())
    }

    /// It is sent, and the connection breaks when it is stored and not answered. The next one goes
    /// on behind what was read.
    async fn send_and_lose_the_answer(&mut self, number: u64) -> Result<()> {
        if let Some(Ok(mut sending)) = self.submit(number).await {
            let _ = timeout(STORED, sending.accepted()).await;
        }
        self.device.disconnected();
        self.begin(Some(self.device.standing().seq)).await?;
        for number in self.device.unanswered() {
            self.send(number).await;
        }
        Ok(())
    }

    async fn begin(&mut self, since: Option<u64>) -> Result<()> {
        self.clients += 1;
        self.next += 1;
        let client = begin(&self.device, &self.gateways, self.next, since)?;
        std::mem::replace(&mut self.client, client).abort();
        Ok(())
    }

    async fn submit(&mut self, number: u64) -> Option<Result<Sending, SendError>> {
        let (id, outgoing) = self.device.sending(number)?;
        let message = match outgoing {
            Outgoing::Sealed(bytes) => Message::sealed(bytes.clone()),
            Outgoing::Handshake(bytes) => Message::handshake(bytes.clone()),
        };
        Some(self.client.submit(message.with_id(id)).await)
    }

    async fn send(&mut self, number: u64) {
        let Some(sending) = self.submit(number).await else {
            return;
        };
        let of = self.clients;
        let sent = async move {
            let outcome = match sending {
                Ok(sending) => sending.await,
                Err(error) => Err(error),
            };
            (of, number, outcome.map(|receipt| receipt.seq))
        };
        self.sent.push(sent.boxed());
    }

    fn keys(&self) -> Keys {
        let gateway = &self.gateways[self.next % self.gateways.len()];
        Keys::new(self.device.who().key_pair(), gateway)
    }

    /// The newest welcome to this room.
    fn ask_welcome(&mut self) {
        let (keys, who, of) = (self.keys(), self.device.who().clone(), self.clients);
        let asked = async move {
            let (user, device) = (who.user.as_str(), who.device.as_str());
            let all = ask(keys.welcomes(user, device, now_ms())).await;
            let Some(all) = read::<keys::Welcomes>(all)? else {
                return Ok(None);
            };
            let of_room = all.welcomes.into_iter();
            let of_room = of_room.filter(|one| one.room == who.room.as_str());
            let Some(newest) = of_room.max_by_key(|one| one.seq) else {
                return Ok(None);
            };
            read(ask(keys.welcome(user, device, &newest.id, now_ms())).await)
        };
        self.asked.push(
            asked
                .map(move |welcome| (of, Found::Welcome(welcome)))
                .boxed(),
        );
    }

    fn ask(
        &mut self,
        request: Request,
        found: impl FnOnce(Result<Option<Vec<u8>>>) -> Found + Send + 'static,
    ) {
        let of = self.clients;
        self.asked
            .push(ask(request).map(move |body| (of, found(body))).boxed());
    }
}

/// Notes that the run of a device ended by itself.
pub(super) fn note_end(page: &Mutex<Page>, error: &anyhow::Error) {
    let mut page = page.lock().unwrap_or_else(PoisonError::into_inner);
    page.notes.push(Noted {
        seq: 0,
        note: Note::Broken(format!("its client ended: {error:#}")),
    });
}

fn begin(
    device: &Device,
    gateways: &[Gateway],
    first: usize,
    since: Option<u64>,
) -> Result<Client> {
    let who = device.who();
    let builder = Client::builder()
        .gateways(gateways)
        .first_gateway(first % gateways.len().max(1))
        .room(who.room.as_str())
        .user(who.user.as_str())
        .key_pair(who.key_pair())
        .device(Some(who.device.to_string()))
        .policy(Policy::Sealed)
        .backoff(Backoff {
            first: PAUSE,
            most: PAUSE,
        })
        .silence(Silence {
            ask_after: Duration::from_secs(5),
            dead_after: Duration::from_secs(10),
        })
        .retries(u32::MAX)
        .answer_within(None)
        .window(WINDOW)
        .insist();
    let builder = match since {
        Some(seq) => builder.since(seq),
        None => builder,
    };
    Ok(builder.start()?)
}

pub(super) fn content(body: Body) -> Option<Outgoing> {
    match body {
        Body::Sealed(bytes) => Some(Outgoing::Sealed(bytes.to_vec())),
        Body::Handshake(bytes) => Some(Outgoing::Handshake(bytes.to_vec())),
        _ => None,
    }
}

fn read<T: serde::de::DeserializeOwned>(body: Result<Option<Vec<u8>>>) -> Result<Option<T>> {
    Ok(body?.map(|body| keys::read(&body)).transpose()?)
}

/// The body of an answer; `None`: there is nothing.
async fn ask(request: Request) -> Result<Option<Vec<u8>>> {
    spawn_blocking(move || ask_now(&request)).await?
}

fn ask_now(request: &Request) -> Result<Option<Vec<u8>>> {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(DEADLINE))
        .proxy(None)
        .http_status_as_error(false);
    let built = ureq::http::Request::builder()
        .method(request.method)
        .uri(&request.url)
        .header(keys::PROOF_HEADER, &request.proof)
        .header("content-type", "application/json");
    let agent = ureq::Agent::from(config.build());
    let mut answer = match request.body.is_empty() {
        true => agent.run(built.body(())?)?,
        false => agent.run(built.body(request.body.clone())?)?,
    };
    match answer.status().as_u16() {
        200 => {
            let body = answer.body_mut().with_config().limit(MOST);
            Ok(Some(body.read_to_vec()?))
        }
        404 => Ok(None),
        status => bail!("HTTP {status}"),
    }
}

/// Milliseconds since 1970 UTC.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_millis() as u64
}
