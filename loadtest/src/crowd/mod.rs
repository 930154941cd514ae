//! Many clients in several rooms that go on until they are told to stop, whatever happens to the
//! servers meanwhile.
//!
//! [`Crowd::gather`] connects them, [`Crowd::begin`] lets them talk at a steady rate,
//! [`Crowd::until_calm`] lets everything settle, [`Crowd::finish`] reads the rooms once more from their
//! beginning, lets half of the clients leave, and judges. What happened when is in [`Outcome`].
//! What an operator has removed meanwhile is written down in a [`Record`].

mod notes;
mod outcome;
mod record;
mod talk;

use crate::{
    client::{self, Options, Outgoing},
    history::Step,
};
use anyhow::{Context, Result};
use notes::{Note, Notes};
pub use outcome::{Answer, Outcome};
pub use record::Record;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

/// How long all clients may take to connect for the first time.
const GATHER: Duration = Duration::from_secs(60);
/// How long the members of a room may take to be shown that one left who closed in order.
const LEAVE: Duration = Duration::from_secs(15);
/// How long it may take to read a room from its beginning.
const READ: Duration = Duration::from_secs(120);
/// How long after its last client has left a gateway may still have a room in its memory.
const FORGETS: Duration = Duration::from_secs(10);
/// How long everything may take to settle, even if it moves.
const MOST: Duration = Duration::from_secs(900);
/// Messages of a client that may wait for a connection; more are not made.
const WAITING: usize = 4096;
/// How often it is looked whether everything is settled.
const LOOK: Duration = Duration::from_millis(50);

/// What they do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Gateways.
    pub urls: Vec<String>,
    /// New rooms, so that their history begins with this run.
    pub rooms: Vec<String>,
    /// How many clients, spread over the rooms.
    pub clients: usize,
    /// Messages per second of all clients together.
    pub rate: f64,
    /// Of 100 messages, how many are sent once more after they were answered.
    pub repeats: u32,
}

/// A client.
struct Member {
    user: String,
    room: usize,
    outgoing: mpsc::Sender<Outgoing>,
    stop: watch::Sender<bool>,
}

/// Connected clients.
pub struct Crowd {
    plan: Plan,
    members: Vec<Member>,
    notes: Arc<Mutex<Notes>>,
    noted: mpsc::UnboundedSender<Note>,
    tasks: JoinSet<()>,
    quiet: watch::Sender<bool>,
    began: Instant,
    ended: Instant,
    /// Who came to see that nothing is shown that is gone.
    strangers: usize,
}

impl Crowd {
    /// Connects all of them.
    pub async fn gather(plan: Plan) -> Result<Self> {
        let (noted, mut news) = mpsc::unbounded_channel();
        let notes = Arc::new(Mutex::new(Notes::new(plan.rooms.len())));
        let mut tasks = JoinSet::new();
        let writer = notes.clone();
        tasks.spawn(async move {
            while let Some(note) = news.recv().await {
                writer
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .take(note);
            }
        });
        let mut crowd = Self {
            plan,
            members: Vec::new(),
            notes,
            noted,
            tasks,
            quiet: watch::channel(false).0,
            began: Instant::now(),
            ended: Instant::now(),
            strangers: 0,
        };
        let (connected, mut all) = mpsc::channel(1);
        for n in 0..crowd.plan.clients {
            let member = crowd.join(
                user(n),
                n % crowd.plan.rooms.len(),
                n,
                None,
                connected.clone(),
            );
            crowd.members.push(member);
        }
        drop(connected);
        // Every client drops its sender when it is connected for the first time.
        timeout(GATHER, all.recv()).await.with_context(|| {
            format!(
                "not every client could connect within {} s",
                GATHER.as_secs()
            )
        })?;
        Ok(crowd)
    }

    fn join(
        &mut self,
        user: String,
        room: usize,
        first: usize,
        since: Option<u64>,
        connected: mpsc::Sender<()>,
    ) -> Member {
        let options = Options {
            urls: self.plan.urls.clone(),
            room: self.plan.rooms[room].clone(),
            user: user.clone(),
            first,
            since,
        };
        let (outgoing, messages) = mpsc::channel(WAITING);
        let (steps, mut own) = mpsc::unbounded_channel();
        let (stop, stopped) = watch::channel(false);
        let (noted, name) = (self.noted.clone(), user.clone());
        self.look(|notes| notes.rooms[room].free.insert(name.clone(), Instant::now()));
        self.tasks.spawn(async move {
            while let Some((at, step)) = own.recv().await {
                let _ = noted.send(Note::Step {
                    user: name.clone(),
                    room,
                    at,
                    step,
                });
            }
        });
        self.tasks.spawn(async move {
            let _ = client::run(options, messages, steps, connected, stopped).await;
        });
        Member {
            user,
            room,
            outgoing,
            stop,
        }
    }

    /// Lets them talk from now on. Returns when that is.
    pub fn begin(&mut self) -> Instant {
        self.began = Instant::now();
        for (n, member) in self.members.iter().enumerate() {
            let talk = talk::Talk {
                user: member.user.clone(),
                room: member.room,
                first: self.began + Duration::from_secs_f64(n as f64 / self.plan.rate),
                every: Duration::from_secs_f64(self.members.len() as f64 / self.plan.rate),
                repeats: self.plan.repeats,
                outgoing: member.outgoing.clone(),
                notes: self.notes.clone(),
                noted: self.noted.clone(),
                quiet: self.quiet.subscribe(),
            };
            self.tasks.spawn(talk.run());
        }
        self.began
    }

    /// Somebody comes to each room of which an operator was told since that something is gone, asks
    /// for everything, and stays.
    pub fn send_onlookers(&mut self) {
        let (connected, _first) = mpsc::channel(1);
        for room in self.look(|notes| std::mem::take(&mut notes.unseen)) {
            let n = self.members.len();
            let name = format!("onlooker-{n}");
            let member = self.join(name, room, n, Some(0), connected.clone());
            self.members.push(member);
        }
    }

    /// Where it is written down what an operator has removed.
    pub fn record(&self) -> Record {
        Record::new(&self.plan, &self.notes)
    }

    /// When a message of each room was last answered `journaled`.
    pub fn last_journaled(&self) -> Vec<Option<Instant>> {
        self.look(|notes| notes.last_journaled())
    }

    /// How often clients connected up to now.
    pub fn connects(&self) -> usize {
        self.look(|notes| notes.connects.len())
    }

    fn look<T>(&self, at: impl FnOnce(&mut Notes) -> T) -> T {
        at(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// No more messages. What is under way is answered and seen as long as it takes, unless for
    /// `patience` nothing moves.
    pub async fn until_calm(&mut self, patience: Duration) {
        self.quiet.send_replace(true);
        self.ended = Instant::now();
        // A backlog on a slow machine is no broken promise; standing still is.
        let mut steps = 0;
        while !self.until(patience, Notes::is_settled).await {
            let before = std::mem::replace(&mut steps, self.look(|notes| notes.steps));
            if before == steps || self.ended.elapsed() > MOST {
                break;
            }
        }
    }

    /// Judges everything, once it has settled. `starts`: at which place each room begins.
    pub async fn finish(mut self, starts: &[u64]) -> Outcome {
        let mut broken = self.look(|notes| notes.liveness());
        if broken.is_empty() {
            broken.extend(self.read_again(starts).await);
            broken.extend(self.leave().await);
        }
        for member in &self.members {
            member.stop.send_replace(true);
        }
        self.until(Duration::from_secs(5), Notes::is_over).await;
        if broken.is_empty() {
            broken.extend(self.ask_for_what_is_gone(starts).await);
        }
        self.tasks.shutdown().await;
        broken.extend(self.look(|notes| notes.safety()));
        self.look(|notes| Outcome::new(&self.plan, notes, (self.began, self.ended), broken))
    }

    /// Whether it came true in time.
    async fn until(&self, limit: Duration, settled: impl Fn(&Notes) -> bool) -> bool {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if self.look(|notes| settled(notes)) {
                return true;
            }
            sleep(LOOK).await;
        }
        self.look(|notes| settled(notes))
    }

    /// Somebody new reads each room from its first event on: what was journaled is still there, and
    /// was not to go.
    async fn read_again(&mut self, starts: &[u64]) -> Vec<String> {
        let (connected, _all) = mpsc::channel(1);
        for (room, start) in starts.iter().enumerate() {
            let since = Some(start.saturating_sub(1));
            let name = format!("reader-{room}");
            let member = self.join(name, room, room, since, connected.clone());
            self.members.push(member);
        }
        match self
            .until(READ, |notes| {
                (0..notes.rooms.len())
                    .all(|room| notes.has_read_all(room, &format!("reader-{room}")))
            })
            .await
        {
            true => Vec::new(),
            false => vec![format!(
                "a new client could not read every room from its beginning within {} s",
                READ.as_secs()
            )],
        }
    }

    /// Somebody else asks for everything where something is gone, when all have left: as long as
    /// somebody is there, gateways show what they have in memory of what a room does not keep.
    async fn ask_for_what_is_gone(&mut self, starts: &[u64]) -> Vec<String> {
        let mut broken = Vec::new();
        for (room, start) in starts.iter().copied().enumerate().filter(|it| it.1 > 1) {
            let deadline = Instant::now() + READ;
            loop {
                let first = self.first_of(room).await;
                if first.is_some_and(|first| first >= start) {
                    break;
                }
                if Instant::now() > deadline {
                    let name = &self.plan.rooms[room];
                    broken.push(format!(
                        "{name} begins at {start}, and who comes is shown {first:?} first"
                    ));
                    break;
                }
                sleep(FORGETS).await;
            }
        }
        broken
    }

    /// The first place that somebody new is shown who wants all of a room; `None`: he did not come
    /// in, or not to its end.
    async fn first_of(&mut self, room: usize) -> Option<u64> {
        self.strangers += 1;
        let name = format!("stranger-{}", self.strangers);
        let (connected, _first) = mpsc::channel(1);
        let stranger = self.join(name.clone(), room, room, Some(0), connected);
        let has_read = |notes: &Notes| notes.rooms[room].has_seen_end(&name);
        let has_read = self.until(READ, has_read).await;
        stranger.stop.send_replace(true);
        self.until(LEAVE, Notes::is_over).await;
        has_read.then(|| self.look(|notes| notes.rooms[room].first_shown(&name)))?
    }

    /// Every second client closes, and the others are shown that it left.
    async fn leave(&mut self) -> Vec<String> {
        let half = self.members.len() / 2;
        let leaving: Vec<_> = self.members.drain(..half).collect();
        for member in &leaving {
            member.stop.send_replace(true);
        }
        let gone = |notes: &Notes| {
            leaving
                .iter()
                .all(|member| notes.has_left(member.room, &member.user))
        };
        if self.until(LEAVE, gone).await {
            return Vec::new();
        }
        let stay: Vec<_> = leaving
            .iter()
            .filter(|member| !self.look(|notes| notes.has_left(member.room, &member.user)))
            .collect();
        let named = stay
            .iter()
            .map(|member| format!("{} in {}", member.user, self.plan.rooms[member.room]));
        vec![format!(
            "closed {} s ago and not left: {}",
            LEAVE.as_secs(),
            named.collect::<Vec<_>>().join(", ")
        )]
    }
}

/// The name of the nth of those who talk.
fn user(n: usize) -> String {
    format!("user-{n:03}")
}

/// Whether a step answers a message for good.
fn is_answer(step: &Step) -> bool {
    matches!(
        step,
        Step::Journaled { .. } | Step::Repeated { .. } | Step::Rejected { .. }
    )
}
