//! A sealed room whose devices talk, leave, come back, renew their keys and crash, for as long as
//! they are let, whatever happens to the servers meanwhile.

use super::{
    check::{Counts, Seen, check},
    device::{Device, REMOVAL, Standing, Who},
    driver::{Driver, Order, Page, note_end, now_ms},
    journal::{journal, seed_of},
    note::Note,
    replay::Journaled,
};
use anyhow::{Result, ensure};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use seal::{Name, Public, rules::JoinPolicy};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, timeout},
};

/// How long the devices may take to come in for the first time.
const GATHER: Duration = Duration::from_secs(60);
/// How often it is looked, and at most something is done.
const LOOK: Duration = Duration::from_millis(100);
/// Between two messages of a room, and between two other things that its users do.
const PACE: (Duration, Duration) = (Duration::from_millis(150), Duration::from_millis(900));
/// Between two attempts to add somebody.
const ADD_AGAIN: Duration = Duration::from_secs(3);
/// How long nothing may have changed until all is taken to be quiet.
const QUIET: Duration = Duration::from_millis(1200);
/// After so long without any news a device that could remove somebody does not wait for others.
const PASSES: Duration = Duration::from_secs(2);
/// How often somebody leaves a room into which others let them.
const MOST_ADDED: u32 = 8;
/// Orders that may wait for a device.
const ORDERS: usize = 1024;
/// A room to be.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Gateways.
    pub urls: Vec<String>,
    /// A new room.
    pub room: String,
    /// Who comes in by themselves.
    pub policy: JoinPolicy,
    /// Of which person is each device: `("ann", "phone")`. The first one founds the group.
    pub devices: Vec<(&'static str, &'static str)>,
    /// What every message has in it.
    pub marker: String,
    /// Where all chance comes from, but for that of cryptography.
    pub seed: u64,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// How much there was.
    pub counts: Counts,
    /// Broken promises, as a person reads them.
    pub broken: Vec<String>,
}

/// A device that is run.
#[derive(Clone)]
struct Seat {
    who: Who,
    orders: mpsc::Sender<Order>,
    page: Arc<Mutex<Page>>,
}

impl Seat {
    fn standing(&self) -> Standing {
        self.page().standing.clone()
    }

    fn page(&self) -> std::sync::MutexGuard<'_, Page> {
        self.page.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who is held up has its orders wait, and gets no more when too many do.
    fn order(&self, order: Order) {
        let _ = self.orders.try_send(order);
    }
}

/// Devices in a room.
pub struct Circle {
    plan: Plan,
    room: Name,
    seats: Vec<Seat>,
    tasks: JoinSet<()>,
    conductor: Option<JoinHandle<()>>,
    quiet: watch::Sender<bool>,
}

impl Circle {
    /// Connects all, founds the group and lets everybody in.
    ///
    /// # Errors
    /// They are not in within a minute.
    pub async fn gather(plan: Plan) -> Result<Self> {
        let name = |text: &str| Name::parse(text).map_err(|why| anyhow::anyhow!("{text}: {why}"));
        let mut circle = Self {
            room: name(&plan.room)?,
            plan,
            seats: Vec::new(),
            tasks: JoinSet::new(),
            conductor: None,
            quiet: watch::channel(false).0,
        };
        for at in 0..circle.plan.devices.len() {
            let (user, device) = circle.plan.devices[at];
            let who = Who {
                room: circle.room.clone(),
                policy: circle.plan.policy,
                user: name(user)?,
                device: name(device)?,
                seed: seed_of(user),
            };
            circle.sit_down(who, at)?;
            // Whoever made the room founds its group.
            if at == 0 {
                circle.all_in("the group is not founded").await?;
            }
        }
        circle.all_in("not everybody is in").await?;
        Ok(circle)
    }

    fn sit_down(&mut self, who: Who, at: usize) -> Result<()> {
        let page = Arc::new(Mutex::new(Page::default()));
        let driver = Driver::new(Device::new(who.clone()), &self.plan.urls, at, page.clone())?;
        let (orders, given) = mpsc::channel(ORDERS);
        let noted = page.clone();
        self.tasks.spawn(async move {
            if let Err(error) = driver.run(given).await {
                note_end(&noted, &error);
            }
        });
        let seat = Seat { who, orders, page };
        if self.plan.policy == JoinPolicy::Invited {
            seat.order(Order::Publish);
        }
        self.seats.push(seat);
        Ok(())
    }

    async fn all_in(&self, what: &str) -> Result<()> {
        let until = Instant::now() + GATHER;
        let mut adding = Adding::default();
        while !self.seats.iter().all(|seat| seat.standing().is_in) {
            let told = || stand(&self.seats);
            ensure!(
                Instant::now() < until,
                "{what} after {} s in {}: {}",
                GATHER.as_secs(),
                self.room,
                told()
            );
            adding.go_on(&self.plan, &self.seats, None);
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Lets them talk, and do what users do, from now on.
    pub fn begin(&mut self) {
        let conductor = Conductor {
            plan: self.plan.clone(),
            seats: self.seats.clone(),
            random: SmallRng::seed_from_u64(self.plan.seed),
            away: BTreeMap::new(),
            adding: Adding::default(),
            said: 0,
            left: 0,
        };
        let quiet = self.quiet.subscribe();
        self.conductor = Some(tokio::spawn(conductor.run(quiet)));
    }

    /// Nobody does anything new. All come back, and everything settles; unless nothing moves for
    /// `settle`. Then everybody says a last word, which all hear, and all is judged.
    pub async fn finish(mut self, settle: Duration) -> Outcome {
        self.quiet.send_replace(true);
        if let Some(conductor) = self.conductor.take() {
            let _ = conductor.await;
        }
        self.seats.iter().for_each(|seat| seat.order(Order::Calm));
        let mut broken = self.settle("after the faults", settle).await;
        if broken.is_empty() {
            for seat in &self.seats {
                let (marker, name) = (&self.plan.marker, seat.who.name());
                seat.order(Order::Say(format!("{marker} the last word of {name}")));
            }
            sleep(QUIET).await;
            broken = self.settle("after the last words", settle).await;
        }
        let outcome = match journal(&self.plan.urls, &self.room).await {
            Ok(journal) => self.judge(&journal, broken),
            Err(error) => {
                broken.push(format!("{} cannot be read again: {error:#}", self.room));
                let counts = Counts::default();
                Outcome { counts, broken }
            }
        };
        // Without orders they end.
        let Self { seats, tasks, .. } = self;
        drop(seats);
        let _ = timeout(Duration::from_secs(10), tasks.join_all()).await;
        outcome
    }

    fn judge(&self, journal: &[Journaled], mut broken: Vec<String>) -> Outcome {
        let people: BTreeMap<String, Public> = self
            .seats
            .iter()
            .map(|seat| (seat.who.user.to_string(), seat.who.identity().public()))
            .collect();
        let devices = self
            .seats
            .iter()
            .map(|seat| (seat.who.name(), seat.page().notes.clone()));
        let devices = devices.collect();
        let (found, counts) = check(Seen {
            room: &self.room,
            people: &people,
            journal,
            devices: &devices,
            is_over: broken.is_empty(),
        });
        broken.extend(found);
        let room = &self.room;
        let broken = broken
            .iter()
            .map(|what| format!("sealed room {room}: {what}"));
        Outcome {
            counts,
            broken: broken.collect(),
        }
    }

    /// Waits until all are in the same epoch, with the same code, and nothing is under way. What is
    /// not so when nothing moved for `settle`.
    async fn settle(&self, when: &str, settle: Duration) -> Vec<String> {
        let mut adding = Adding::default();
        let mut before = (Instant::now(), Vec::new());
        let mut passed = Instant::now();
        loop {
            let standings: Vec<_> = self.seats.iter().map(Seat::standing).collect();
            let since = match standings == before.1 {
                true => before.0.elapsed(),
                false => Duration::ZERO,
            };
            if since == Duration::ZERO {
                before = (Instant::now(), standings);
            }
            let is_agreed = is_agreed(&before.1);
            if is_agreed && since >= QUIET {
                return Vec::new();
            }
            if since >= settle {
                let what = stand(&self.seats);
                return vec![format!("{when} it does not settle: {what}")];
            }
            for seat in &self.seats {
                let standing = seat.standing();
                if standing.is_out && has_left(seat) {
                    seat.order(Order::ComeBack);
                }
                // Whose turn it was is not there any more: others remove after a minute.
                if standing.waits_for == Some(REMOVAL) && since > PASSES && passed < Instant::now()
                {
                    passed = Instant::now() + PASSES;
                    seat.order(Order::AMinutePasses);
                }
            }
            adding.go_on(&self.plan, &self.seats, None);
            sleep(LOOK).await;
        }
    }
}

/// Whether all are in, in one epoch with one code, and nothing is under way.
fn is_agreed(standings: &[Standing]) -> bool {
    let first = &standings[0];
    standings.iter().all(|one| {
        one.is_in
            && one.waits_for.is_none()
            && (one.epoch, &one.code) == (first.epoch, &first.code)
            && one.seq == first.seq
            && one.members.len() == standings.len()
    })
}

/// How all are, for a person.
fn stand(seats: &[Seat]) -> String {
    let told = seats.iter().map(|seat| {
        let one = seat.standing();
        let page = seat.page();
        let last = page.notes.iter().rev().find(|noted| {
            matches!(
                noted.note,
                Note::Lost(_)
                    | Note::ChangeRefused(_)
                    | Note::NotDone(_)
                    | Note::Odd(_)
                    | Note::Broken(_)
            )
        });
        format!(
            "{} is {} in epoch {:?} of {} devices at seq {}, waits for {}{}, last trouble {:?}",
            seat.who.name(),
            ["not in", "in"][usize::from(one.is_in)],
            one.epoch,
            one.members.len(),
            one.seq,
            one.waits_for.unwrap_or("nothing"),
            [", not connected", ""][usize::from(page.is_connected)],
            last
        )
    });
    told.collect::<Vec<_>>().join("; ")
}

/// Whether its user has left, and not come back.
fn has_left(seat: &Seat) -> bool {
    let page = seat.page();
    let last = page.notes.iter().rev().find(|noted| {
        matches!(
            noted.note,
            Note::Came { .. } | Note::Went | Note::Crashed | Note::Forgot
        )
    });
    last.is_some_and(|noted| noted.note == Note::Went)
}

/// Lets people in who do not come in by themselves.
#[derive(Default)]
struct Adding {
    asked: BTreeMap<String, (Instant, u32)>,
}

impl Adding {
    /// `but`: who stays out for now.
    fn go_on(&mut self, plan: &Plan, seats: &[Seat], but: Option<&BTreeMap<usize, Instant>>) {
        if plan.policy != JoinPolicy::Invited {
            return;
        }
        let Some(host) = seats.iter().find(|seat| seat.standing().is_in) else {
            return;
        };
        // Who has not gone yet cannot be added.
        let known = host.standing().members;
        for (at, seat) in seats.iter().enumerate() {
            let is_there = known.contains(&seat.who.name());
            if is_there || !seat.standing().is_out || but.is_some_and(|away| away.contains_key(&at))
            {
                continue;
            }
            let asked = self.asked.entry(seat.who.name());
            let asked = asked.or_insert((Instant::now() - ADD_AGAIN, 0));
            if asked.0.elapsed() < ADD_AGAIN {
                continue;
            }
            *asked = (Instant::now(), asked.1 + 1);
            // It has lost those that were published, or they never came there.
            if asked.1 > 1 {
                seat.order(Order::Publish);
            }
            let identity = seat.who.identity().public().to_string();
            host.order(Order::Add(seat.who.user.to_string(), identity));
        }
    }
}

/// What users do, by chance.
struct Conductor {
    plan: Plan,
    seats: Vec<Seat>,
    random: SmallRng,
    /// Who has left, and until when.
    away: BTreeMap<usize, Instant>,
    adding: Adding,
    said: u64,
    /// How often somebody left.
    left: u32,
}

impl Conductor {
    async fn run(mut self, quiet: watch::Receiver<bool>) {
        let (mut say, mut act) = (Instant::now(), Instant::now());
        while !*quiet.borrow() {
            if Instant::now() >= say {
                say = Instant::now() + PACE.0.mul_f64(self.random.random_range(0.5..1.5));
                self.say();
            }
            if Instant::now() >= act {
                act = Instant::now() + PACE.1.mul_f64(self.random.random_range(0.2..1.8));
                self.act();
            }
            self.come_back();
            sleep(LOOK / 2).await;
        }
    }

    fn say(&mut self) {
        let at = self.random.random_range(0..self.seats.len());
        // Who has left says nothing: it would wait until it is back.
        if !self.away.contains_key(&at) {
            self.said += 1;
            let (seat, marker) = (&self.seats[at], &self.plan.marker);
            let text = format!("{marker} {} {}", seat.who.name(), self.said);
            seat.order(Order::Say(text));
        }
    }

    fn act(&mut self) {
        let at = self.random.random_range(0..self.seats.len());
        let is_in = self.seats[at].standing().is_in;
        // Somebody stays, who removes whoever leaves.
        let many = self.seats.len() - self.away.len() > self.seats.len() / 2;
        // Each of them costs a key package, of which nobody gets many in an hour.
        let may_leave = self.plan.policy == JoinPolicy::Open || self.left < MOST_ADDED;
        let order = match self.random.random_range(0..10) {
            0..=2 if is_in && many && may_leave && !self.away.contains_key(&at) => {
                self.left += 1;
                let stays_out = Duration::from_millis(self.random.random_range(500..4_000));
                self.away.insert(at, Instant::now() + stays_out);
                Order::Leave
            }
            3..=5 if is_in => Order::AWeekPasses,
            6 => Order::CrashBeforeItSends,
            7 => Order::LoseAnswer,
            8 => Order::Crash,
            9 if is_in && many => Order::Forget,
            _ => return,
        };
        self.seats[at].order(order);
    }

    /// Who has been out for its time starts again. What it said last may not be in the room yet;
    /// then it has not left.
    fn come_back(&mut self) {
        let due = |_: &usize, until: &mut Instant| *until <= Instant::now();
        for (at, _) in self.away.extract_if(.., due) {
            self.seats[at].order(Order::ComeBack);
        }
        self.adding.go_on(&self.plan, &self.seats, Some(&self.away));
    }
}

/// A marker that is of this run alone.
pub fn marker() -> String {
    format!("Zwiebelfischkonfitüre{:x}", now_ms())
}
