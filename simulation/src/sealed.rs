//! A device of a sealed room, as its user runs it: real MLS over the wires of the simulation. Its
//! bytes are random, what it does is not: that is drawn from the seed, and decided alike again.

use crate::{
    board::Board,
    client::Phase,
    cluster::Cluster,
    random::Random,
    wire::{Heard, MAY_BE, Wire},
};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use loadtest::sealed::{
    Device,
    device::{Standing, Task, Who},
};
use safe_chat::{
    gateway::{Join, StartAt},
    room::{DeviceId, Identity, Key, Policy, RoomId, Seq, UserId},
    wire::Protocol,
};
use safe_chat_client::keys;
use seal::{conversation::Outgoing, rules::EPOCHS_BACK};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};

/// Longest wait for the first frame, and for an answer about the group.
const CONNECT: Duration = Duration::from_secs(15);
const ASK: Duration = Duration::from_secs(5);
/// After so long what could not be asked is asked again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often time goes on for a device.
const TICK: Duration = Duration::from_secs(1);
/// Between two messages, and between two other things that its user does, at most.
const SAY: Duration = Duration::from_secs(3);
const ACT: Duration = Duration::from_secs(12);
/// Nothing was heard for so long that it gives the connection up.
const SILENCE: Duration = Duration::from_secs(30);
/// A device renews its keys after a week; key packages count 84 days.
const WEEK: u64 = 7 * 86_400 + 1;
const MOST_WEEKS: u64 = 8;

pub(crate) struct Holder {
    pub(crate) cluster: Cluster,
    pub(crate) board: Board,
    pub(crate) device: Device,
    pub(crate) random: Random,
    pub(crate) phase: watch::Receiver<Phase>,
    /// Told when whoever makes the room has founded its group.
    pub(crate) founded: watch::Sender<bool>,
    pub(crate) state: State,
}

/// What it knows besides.
#[derive(Default)]
pub(crate) struct State {
    /// The numbers of what was sent, by id.
    numbers: BTreeMap<String, u64>,
    /// The last event of this connection; `None`: it begins where the device says.
    seen: Option<u64>,
    head: u64,
    /// What could not be asked.
    again: Option<Instant>,
    /// What was refused for now is sent again.
    retry: Option<Instant>,
    weeks: u64,
    said: u64,
    has_said_its_last: bool,
    /// It has left, until then.
    away: Option<Instant>,
    /// A message that it sent, with the newest epoch that this may be of.
    recorded: Option<(u64, String)>,
    /// The ids under which that was sent once more, when no member could read it any more.
    hostile: BTreeSet<String>,
}

/// The user of a device, in a room.
pub(crate) fn who(room: &str, user: u64) -> Who {
    let name = |text: &str| seal::Name::parse(text).expect("a valid name");
    Who {
        room: name(room),
        policy: seal::rules::JoinPolicy::Open,
        user: name(&format!("member-{user}")),
        device: name("phone"),
        seed: [user as u8 + 1; 32],
    }
}

impl Holder {
    /// Runs until the run is over.
    pub(crate) async fn run(mut self, is_first: bool) {
        if !is_first {
            // Somebody else would have to wait for ten minutes.
            let mut founded = self.founded.subscribe();
            drop(founded.wait_for(|founded| *founded).await);
        }
        loop {
            self.write_down(false);
            if *self.phase.borrow() == Phase::Over {
                return;
            }
            if let Some(wire) = self.connect().await {
                self.serve(wire).await;
                self.device.disconnected();
            }
            let most = if self.is_talking() { 3_000 } else { 500 };
            sleep(self.random.skewed(Duration::from_millis(most))).await;
        }
    }

    fn is_talking(&self) -> bool {
        *self.phase.borrow() == Phase::Talk
    }

    fn now(&self) -> u64 {
        self.cluster.now() + self.state.weeks * WEEK
    }

    fn write_down(&mut self, is_connected: bool) {
        let (name, standing) = (self.device.who().name(), self.device.standing());
        if standing.is_in {
            self.founded.send_replace(true);
        }
        let (noted, room) = (self.device.noted(), self.device.who().room.to_string());
        let said = self.state.has_said_its_last;
        self.board.sealed(|rooms| {
            let page = rooms.entry(room).or_default().entry(name).or_default();
            page.notes.extend(noted);
            (page.standing, page.is_connected, page.said) = (standing, is_connected, said);
        });
    }

    fn complain(&self, what: &str) {
        let (name, room) = (self.device.who().name(), &self.device.who().room);
        self.board.room(room.as_str(), |room| {
            room.complaints.push(format!("{name}: {what}"));
        });
    }

    async fn connect(&mut self) -> Option<Wire> {
        let names = self.cluster.names();
        if names.is_empty() {
            return None;
        }
        let node = self.cluster.node(self.random.pick::<&str>(&names))?;
        let who = self.device.who();
        let key = who.identity().public().to_string();
        let since = self.state.seen.or(self.device.since());
        let join = Join {
            room: RoomId::parse(who.room.as_str()).expect("a valid name"),
            user: UserId::parse(who.user.as_str()).expect("a valid name"),
            key: Key::parse(&key).expect("a valid key"),
            identity: Identity::Proven,
            device: DeviceId::parse(who.device.as_str()).ok(),
            from: StartAt {
                since: since.map(Seq),
                since_at: None,
                history: 0,
            },
            protocol: Protocol::Json,
            policy: Some(Policy::Sealed),
            former: None,
        };
        let mut wire = node.connect(join, self.cluster.next_wire());
        match timeout(CONNECT, wire.down.recv()).await.ok().flatten()? {
            Heard::Frames(frames) => {
                let welcome = &frames[0];
                let seq = welcome["seq"].as_u64();
                if seq.is_none() || welcome["policy"] != "sealed" {
                    self.complain(&format!("the first frame is {welcome}"));
                }
                self.state.head = seq.unwrap_or_default();
                self.state.seen = since.or(seq);
                (self.state.again, self.state.retry) = (None, None);
                let tasks = self.device.connected(self.state.head, self.now());
                // What was not answered goes again before anything new.
                for number in self.device.unanswered() {
                    self.send(&wire, number);
                }
                let goes_on = self.carry_out(&wire, tasks).await;
                (goes_on && self.hear(&wire, &frames[1..]).await).then_some(wire)
            }
            Heard::Refused(reason) => {
                if !MAY_BE.contains(&reason) {
                    self.complain(&format!("refused with {reason}"));
                }
                None
            }
            Heard::Closed(_) => None,
        }
    }

    async fn serve(&mut self, mut wire: Wire) {
        let within = |random: &mut Random, most| Instant::now() + random.time(most);
        let (mut say, mut act) = (within(&mut self.random, SAY), within(&mut self.random, ACT));
        let vanish = within(&mut self.random, Duration::from_secs(60));
        let (mut tick, mut silent) = (Instant::now() + TICK, Instant::now() + SILENCE);
        loop {
            self.write_down(true);
            let talking = self.is_talking();
            let due = self.state.again.or(self.state.retry);
            let goes_on = tokio::select! {
                biased; // As of a client of text.
                changed = self.phase.changed() => changed.is_ok() && *self.phase.borrow() != Phase::Over,
                heard = wire.down.recv() => {
                    silent = Instant::now() + SILENCE;
                    match heard {
                        Some(Heard::Frames(frames)) => self.hear(&wire, &frames).await,
                        _ => false,
                    }
                }
                () = sleep_until(due.unwrap_or(silent)), if due.is_some() => self.again(&wire).await,
                () = sleep_until(tick) => {
                    tick = Instant::now() + TICK;
                    let tasks = self.device.tick(self.now());
                    self.carry_out(&wire, tasks).await && self.goes_on(&wire).await
                }
                () = sleep_until(say), if talking && self.state.away.is_none() => {
                    say = Instant::now() + self.random.time(SAY);
                    self.say(&wire, "said").await
                }
                () = sleep_until(act), if talking => {
                    act = Instant::now() + self.random.time(ACT);
                    self.act(&wire).await
                }
                () = sleep_until(vanish), if talking => false,
                () = sleep_until(silent) => false,
            };
            if !goes_on {
                return;
            }
        }
    }

    async fn say(&mut self, wire: &Wire, what: &str) -> bool {
        self.state.said += 1;
        let text = format!("{what} by {} {}", self.device.who().name(), self.state.said);
        let tasks = self.device.say(&text, self.now());
        self.carry_out(wire, tasks).await
    }

    async fn act(&mut self, wire: &Wire) -> bool {
        let now = self.now();
        let tasks = match self.random.below(10) {
            0 | 1 if self.device.standing().is_in => {
                let stays_out = self.random.skewed(Duration::from_secs(10));
                self.state.away = Some(Instant::now() + stays_out);
                self.board.count("sealed: devices that left");
                self.device.leave(now)
            }
            // A device whose clock is ahead founds nothing.
            2..=4 if self.device.standing().is_in && self.state.weeks < MOST_WEEKS => {
                self.state.weeks += 1;
                self.board.count("sealed: keys renewed");
                self.device.tick(self.now())
            }
            5 | 6 => {
                self.board
                    .count("sealed: crashes between storing and sending");
                self.device.crash_before_it_sends(true);
                Vec::new()
            }
            7 => {
                self.board.count("sealed: crashes");
                self.device.crash();
                vec![Task::Restart]
            }
            8 if self.device.standing().is_in => {
                self.board.count("sealed: states lost");
                self.device.forget();
                vec![Task::Restart]
            }
            9 => {
                self.send_what_is_old(wire);
                Vec::new()
            }
            _ => Vec::new(),
        };
        self.carry_out(wire, tasks).await
    }

    /// As a hostile client would: a message of an epoch that members do not read any more.
    fn send_what_is_old(&mut self, wire: &Wire) {
        let Standing { is_in, epoch, .. } = self.device.standing();
        let Some((of, content)) = &self.state.recorded else {
            return;
        };
        if !is_in || epoch.is_none_or(|epoch| epoch <= of + EPOCHS_BACK) {
            return;
        }
        let id = format!("old-{}", self.state.hostile.len());
        let frame = json!({"type": "send", "id": id, "sealed": content});
        self.board.count("sealed: messages of an old epoch");
        let _ = wire.up.send(frame.to_string());
        self.state.hostile.insert(id);
    }

    /// What is due of itself: who left comes back; in the end, when all is quiet, a last word.
    async fn goes_on(&mut self, wire: &Wire) -> bool {
        let is_due = |until: &mut Instant| *until <= Instant::now();
        let Standing {
            is_in, waits_for, ..
        } = self.device.standing();
        if self.state.away.take_if(is_due).is_some() {
            self.device.come_back();
            return self.carry_out(wire, vec![Task::Restart]).await;
        }
        if !self.is_talking() && !self.state.has_said_its_last && is_in && waits_for.is_none() {
            self.device.crash_before_it_sends(false);
            self.state.has_said_its_last = true;
            return self.say(wire, "the last word").await;
        }
        true
    }

    /// Asks, or sends, again.
    async fn again(&mut self, wire: &Wire) -> bool {
        if self.state.again.take().is_some() {
            let tasks = self.device.connected(self.state.head, self.now());
            return self.carry_out(wire, tasks).await;
        }
        self.state.retry = None;
        for number in self.device.unanswered() {
            self.send(wire, number);
        }
        true
    }

    fn send(&mut self, wire: &Wire, number: u64) {
        let Some((id, outgoing)) = self.device.sending(number) else {
            return;
        };
        let (kind, bytes) = match outgoing {
            Outgoing::Sealed(bytes) => ("sealed", bytes),
            Outgoing::Handshake(bytes) => ("handshake", bytes),
        };
        let content = BASE64_URL_SAFE_NO_PAD.encode(bytes);
        if let (None, "sealed", Some(epoch)) =
            (&self.state.recorded, kind, self.device.standing().epoch)
        {
            self.state.recorded = Some((epoch, content.clone()));
        }
        let frame = json!({"type": "send", "id": id, kind: content});
        self.state.numbers.insert(id.clone(), number);
        tracing::debug!(device = self.device.who().name(), kind, id, "sent");
        // A connection that is gone is noticed by what is heard.
        let _ = wire.up.send(frame.to_string());
    }

    /// `false`: the connection is given up.
    async fn carry_out(&mut self, wire: &Wire, tasks: Vec<Task>) -> bool {
        let mut tasks = std::collections::VecDeque::from(tasks);
        while let Some(task) = tasks.pop_front() {
            match task {
                Task::Send(number) => self.send(wire, number),
                Task::AskWelcome => tasks.extend(self.device.welcome(None, self.now())),
                Task::AskGroup => match self.group().await {
                    Some(group) => tasks.extend(self.device.group(group.as_ref(), self.now())),
                    None => {
                        self.device.disconnected();
                        self.state.again = Some(Instant::now() + AGAIN);
                    }
                },
                Task::Resume(seq) => {
                    self.state.seen = Some(seq);
                    return false;
                }
                Task::Restart => {
                    self.state.seen = None;
                    self.state.numbers.clear();
                    return false;
                }
            }
        }
        true
    }

    /// The public state of the group, from any node; `None`: no answer.
    async fn group(&mut self) -> Option<Option<keys::Group>> {
        let room = RoomId::parse(self.device.who().room.as_str()).expect("a valid name");
        let names = self.cluster.names();
        let node = match names.is_empty() {
            true => return None,
            false => self.cluster.node(self.random.pick::<&str>(&names))?,
        };
        let found = timeout(ASK, node.group(room)).await.ok()??;
        Some(found.map(|found| keys::Group {
            epoch: found.epoch,
            seq: found.made_at.0,
            group_info: found.group_info.to_vec(),
            tree: found.tree.to_vec(),
        }))
    }

    async fn hear(&mut self, wire: &Wire, frames: &[Value]) -> bool {
        for frame in frames {
            let id = frame["id"].as_str().unwrap_or_default();
            let (seq, now) = (frame["seq"].as_u64().unwrap_or_default(), self.now());
            let number = self.state.numbers.get(id).copied();
            let device = self.device.who().name();
            let (kind, reason) = (&frame["type"], &frame["reason"]);
            tracing::debug!(device, %kind, id, seq, %reason, "heard");
            let tasks = match frame["type"].as_str() {
                Some("event") => {
                    self.state.seen = Some(seq);
                    self.device.event(seq, content(frame).as_ref(), now)
                }
                Some("journaled") if self.state.hostile.contains(id) => {
                    self.complain(&format!("a message that nobody can read is at {seq}"));
                    Vec::new()
                }
                Some("journaled") => match number {
                    Some(number) => self.device.answered(number, Ok(seq), now),
                    None => Vec::new(),
                },
                Some("rejected") => {
                    let reason = frame["reason"].as_str().unwrap_or_default();
                    match (frame["retry_after_ms"].as_u64(), number) {
                        _ if reason == "not_member" => return false,
                        (Some(ms), _) => {
                            let pause = Duration::from_millis(ms.min(5_000));
                            self.state.retry = Some(Instant::now() + pause);
                            Vec::new()
                        }
                        (None, Some(number)) => {
                            self.board.count(format!("sealed: refused with {reason}"));
                            self.device.answered(number, Err(reason), now)
                        }
                        (None, None) => Vec::new(),
                    }
                }
                Some("reset") => {
                    self.complain(&format!("nothing is gone, and it was told {frame}"));
                    self.state.seen = Some(seq.saturating_sub(1));
                    self.device.missed(now)
                }
                Some("bye") => return false,
                _ => Vec::new(),
            };
            if !self.carry_out(wire, tasks).await {
                return false;
            }
        }
        true
    }
}

/// What members read of an event.
fn content(event: &Value) -> Option<Outgoing> {
    let bytes = |name: &str| BASE64_URL_SAFE_NO_PAD.decode(event[name].as_str()?).ok();
    let sealed = bytes("sealed").map(Outgoing::Sealed);
    sealed.or(bytes("handshake").map(Outgoing::Handshake))
}
