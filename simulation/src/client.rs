//! A client: it comes back to any gateway, resumes where it was and sends again with the same id,
//! as the protocol tells clients to. It also does what real clients do: says the same twice, naps,
//! disappears, asks for old pages.

use crate::{
    board::{Board, Standing},
    cluster::Cluster,
    random::Random,
    talk::{Talk, Told},
    wire::{Heard, MAY_BE, Wire},
};
use loadtest::history::Step;
use safe_chat::{
    gateway::{Join, StartAt},
    room::{Identity, Key, RoomId, Seq, UserId},
    wire::Protocol,
};
use serde_json::json;
use std::{collections::BTreeMap, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};

/// Longest wait for the first frame.
const CONNECT: Duration = Duration::from_secs(15);

/// What the run wants of its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Talk, and do what clients do.
    Talk,
    /// Say nothing new; stay, and see everything.
    Listen,
    /// Go.
    Over,
}

pub(crate) struct Client {
    pub(crate) cluster: Cluster,
    pub(crate) board: Board,
    pub(crate) room: RoomId,
    pub(crate) user: UserId,
    pub(crate) random: Random,
    pub(crate) phase: watch::Receiver<Phase>,
    /// Between two messages, on average.
    pub(crate) pace: Duration,
    /// How much it wants of before when it cannot go on where it was.
    pub(crate) history: u16,
    /// Whether it stops reading at times.
    pub(crate) naps: bool,
    /// What was said on this connection, and when.
    pub(crate) said: BTreeMap<String, Instant>,
}

/// When a client does what it does.
struct Times {
    send: Instant,
    /// It disappears without a word.
    vanish: Instant,
    /// It stops reading for some time.
    nap: Instant,
    ask: Instant,
    /// Nothing was heard for so long that it gives the connection up.
    silent: Instant,
}

impl Client {
    /// Runs until the run is over.
    pub(crate) async fn run(mut self) {
        let mut talk = Talk::new(self.user.as_str());
        self.go_on(&mut talk).await;
    }

    /// Goes on where it was, until it is over.
    pub(crate) async fn go_on(&mut self, talk: &mut Talk) {
        loop {
            self.stand(|standing| standing.connected = false);
            if *self.phase.borrow() == Phase::Over {
                return;
            }
            if let Some(wire) = self.connect(talk).await {
                self.stand(|standing| standing.connected = true);
                self.serve(wire, talk).await;
            }
            let most = if self.is_talking() { 3_000 } else { 500 };
            sleep(self.random.skewed(Duration::from_millis(most))).await;
        }
    }

    fn is_talking(&self) -> bool {
        *self.phase.borrow() == Phase::Talk
    }

    fn stand(&self, change: impl FnOnce(&mut Standing)) {
        self.board.room(self.room.as_str(), |room| {
            change(room.standing.entry(self.user.to_string()).or_default())
        });
    }

    fn step(&self, step: Step) {
        tracing::debug!(room = %self.room, user = %self.user, ?step);
        self.board.room(self.room.as_str(), |room| {
            room.step(self.user.as_str(), step)
        });
    }

    fn complain(&self, what: String) {
        tracing::error!(room = %self.room, user = %self.user, what, "complaint");
        self.board.room(self.room.as_str(), |room| {
            room.complaints.push(format!("{}: {what}", self.user))
        });
    }

    /// Connects to any node that runs; `None` when that did not work this time.
    async fn connect(&mut self, talk: &mut Talk) -> Option<Wire> {
        let names = self.cluster.names();
        if names.is_empty() {
            return None;
        }
        let name = *self.random.pick::<&str>(&names);
        let node = self.cluster.node(name)?;
        let join = Join {
            room: self.room.clone(),
            user: self.user.clone(),
            key: Key::parse(&format!("key-{}", self.user)).expect("a valid key"),
            identity: Identity::Claimed,
            device: None,
            from: StartAt {
                since: talk.seen().map(Seq),
                since_at: None,
                // Who comes first begins with what follows.
                history: talk.seen().map_or(0, |_| self.history),
            },
            protocol: Protocol::Json,
            policy: None,
            former: None,
        };
        let mut wire = node.connect(join, self.cluster.next_wire());
        match timeout(CONNECT, wire.down.recv()).await.ok().flatten()? {
            Heard::Frames(frames) => {
                match talk.welcome(&frames[0]) {
                    Ok(steps) => steps.into_iter().for_each(|step| self.step(step)),
                    Err(what) => self.complain(what),
                }
                self.hear(talk, &frames[1..]).then_some(wire)
            }
            Heard::Refused(reason) => {
                self.board.count(format!("refused {reason}"));
                if !MAY_BE.contains(&reason) {
                    self.complain(format!("refused with {reason}"));
                }
                None
            }
            Heard::Closed(code) => {
                self.board.count(format!("closed {code}"));
                None
            }
        }
    }

    /// Talks until the connection is over, for whatever reason.
    async fn serve(&mut self, mut wire: Wire, talk: &mut Talk) {
        self.said.clear();
        for (id, frame) in talk.again() {
            self.say(&wire, id, frame);
        }
        let mut times = self.times();
        loop {
            let retry = talk.retry_at();
            let talking = self.is_talking();
            tokio::select! {
                biased; // In the order of what a client cares for; all but the first are times, so nothing starves.
                changed = self.phase.changed() => if changed.is_err() || *self.phase.borrow() == Phase::Over { return },
                heard = wire.down.recv() => match heard {
                    Some(Heard::Frames(frames)) => {
                        times.silent = Instant::now() + SILENCE;
                        if !self.hear(talk, &frames) {
                            return;
                        }
                    }
                    Some(Heard::Closed(code)) => return self.closed(code),
                    Some(Heard::Refused(_)) | None => return self.board.count("connections lost"),
                },
                () = sleep_until(retry.unwrap_or(times.silent)), if retry.is_some() => {
                    for (id, frame) in talk.again() {
                        self.say(&wire, id, frame);
                    }
                }
                () = sleep_until(times.send), if talking => {
                    times.send = Instant::now() + self.random.time(self.pace * 2);
                    self.talk(&wire, talk);
                }
                () = sleep_until(times.ask) => {
                    times.ask = Instant::now() + self.random.time(Duration::from_secs(if talking { 8 } else { 3 }));
                    self.ask(&wire, talk);
                }
                () = sleep_until(times.nap), if talking && self.naps => {
                    times.nap = Instant::now() + Duration::from_secs(60);
                    sleep(self.random.skewed(Duration::from_secs(20))).await;
                }
                () = sleep_until(times.vanish), if talking => return self.board.count("clients that vanished"),
                () = sleep_until(times.silent) => return self.board.count("silences"),
            }
        }
    }

    fn times(&mut self) -> Times {
        let now = Instant::now();
        let mut within = |seconds: u64| now + self.random.time(Duration::from_secs(seconds));
        let (vanish, nap, ask) = (within(60), within(120), within(8));
        Times {
            send: now + self.random.time(self.pace * 2),
            vanish,
            nap,
            ask,
            silent: now + SILENCE,
        }
    }

    /// Something new, or something old again.
    fn talk(&mut self, wire: &Wire, talk: &mut Talk) {
        let repeat = self.random.chance(100).then(|| talk.repeat()).flatten();
        let (id, frame) = repeat.unwrap_or_else(|| talk.new_message());
        self.say(wire, id, frame);
        self.stand(|standing| standing.open = talk.open());
    }

    fn say(&mut self, wire: &Wire, id: String, frame: String) {
        self.said.insert(id.clone(), Instant::now());
        self.step(Step::Sent { id });
        // A connection that is gone is noticed by what is heard.
        let _ = wire.up.send(frame);
    }

    fn ask(&mut self, wire: &Wire, talk: &Talk) {
        let question = match talk.seen() {
            Some(seen) if self.is_talking() && self.random.chance(500) => {
                json!({"type": "history", "id": "h", "before": 1 + self.random.below(seen + 2), "limit": 1 + self.random.below(30)})
            }
            _ => json!({"type": "members", "id": "q"}),
        };
        let _ = wire.up.send(question.to_string());
    }

    /// Takes frames in; `false` when the client gives the connection up.
    fn hear(&mut self, talk: &mut Talk, frames: &[serde_json::Value]) -> bool {
        for frame in frames {
            match talk.hear(frame) {
                Ok(Told::Nothing) => {}
                Ok(Told::Step(step)) => {
                    if let Step::Journaled { id, .. } = &step
                        && let Some(since) = self.said.remove(id)
                    {
                        self.board.answered(since.elapsed());
                    }
                    self.step(step);
                }
                Ok(Told::Repeated(step)) => {
                    self.board.count("duplicates answered");
                    self.step(step);
                }
                Ok(Told::Page(events)) => {
                    self.board.count("pages");
                    self.board.room(self.room.as_str(), |room| {
                        room.page(self.user.as_str(), events)
                    });
                }
                Ok(Told::Members(members)) => self.stand(|standing| standing.members = members),
                Ok(Told::Retry(step)) => {
                    self.board.count("refused for now");
                    self.step(step);
                }
                Ok(Told::Leave(why)) => {
                    self.board.count(format!("told {why}"));
                    return false;
                }
                Err(what) => self.complain(what),
            }
        }
        self.stand(|standing| {
            (standing.open, standing.seen) = (talk.open(), talk.seen().unwrap_or_default())
        });
        true
    }

    fn closed(&self, code: u16) {
        self.board.count(format!("closed {code}"));
        if ![1001, 4003, 4010].contains(&code) {
            self.complain(format!("closed with {code}"));
        }
    }
}

/// A client gives a connection up on which it heard nothing for so long; gateways ping after 25 s.
const SILENCE: Duration = Duration::from_secs(30);
