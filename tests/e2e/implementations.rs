//! Devices of two implementations of MLS in sealed rooms of a real node: those of this project, as
//! terminals run them, and those of mls-rs. They come, go, are removed, renew their keys, crash,
//! and lose answers, which they send again. `SEAL_SCHEDULES` runs more schedules, `SEAL_SEED` one
//! again.

use crate::{
    cluster::{Cluster, PATIENCE},
    guest::Guest,
    peer::{self, Peer},
};
use futures::{StreamExt, stream};
use loadtest::sealed::{
    Counts, Device, Note, Noted, Seen, check,
    device::{REMOVAL, Who},
    driver::{Driver, Order, Page},
    journal,
};
use mls_rs::client_builder::MlsConfig;
use seal::{Name, Public, rules::JoinPolicy};
use sha2::{Digest, Sha512};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

/// Schedules of a usual run.
const SCHEDULES: u64 = 100;
/// Steps of one, before everything settles.
const STEPS: usize = 16;
/// How many run at once.
const AT_ONCE: usize = 8;
/// How often it is looked whether something is so that gives no signal.
const LOOK: Duration = Duration::from_millis(10);
/// How long somebody who is to be added waits until that is tried again: at first, and at most. Each
/// time it is twice as long, for who asks for the key packages of one person is soon held off.
const AGAIN: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(10));

/// A small generator (splitmix64), so that what is done is its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

/// A device of this project.
struct Own {
    who: Who,
    orders: mpsc::Sender<Order>,
    page: Arc<Mutex<Page>>,
}

impl Own {
    fn sits_down(url: &str, room: &Name, policy: JoinPolicy, user: &str, person: [u8; 32]) -> Self {
        let who = Who {
            room: room.clone(),
            policy,
            user: Name::parse(user).unwrap(),
            device: Name::parse("phone").unwrap(),
            seed: person,
        };
        let page = Arc::new(Mutex::new(Page::default()));
        let device = Device::new(who.clone());
        let driver = Driver::new(device, &[url.to_owned()], 0, page.clone()).unwrap();
        let (orders, given) = mpsc::channel(256);
        // What ends it shows: nothing of it goes on.
        tokio::spawn(driver.run(given));
        let own = Self { who, orders, page };
        own.does(Order::Publish);
        own
    }

    fn does(&self, order: Order) {
        self.orders.try_send(order).expect("a device that runs");
    }

    fn is_in(&self) -> bool {
        self.page.lock().unwrap().standing.is_in
    }
}

/// Somebody was asked to add a person.
struct Asked {
    at: Instant,
    /// How long it is waited for.
    pause: Duration,
}

impl Asked {
    fn is_due(&self) -> bool {
        self.at.elapsed() > self.pause
    }
}

/// A room of one schedule.
struct Room<C: MlsConfig> {
    url: String,
    name: Name,
    /// Of its own devices this one does not go: guests let nobody in.
    stays: usize,
    random: Random,
    own: Vec<Own>,
    guests: Vec<Guest<C>>,
    /// Whom somebody was asked to add, until they are in.
    asked: BTreeMap<String, Asked>,
}

fn guest_of(at: u8, seed: u64) -> Peer<impl MlsConfig + use<>> {
    let user = ["peter", "paula"][usize::from(at)];
    peer::device(user, "phone", 50 + at, person(150 + at, seed))
}

/// What the key of a person is made of: the store of key packages is one for all rooms.
fn person(which: u8, seed: u64) -> [u8; 32] {
    let mut person = [which; 32];
    person[..8].copy_from_slice(&seed.to_be_bytes());
    person
}

/// Until something is so.
async fn eventually(seed: u64, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < until, "SEAL_SEED={seed}: never {what}");
        sleep(LOOK).await;
    }
}

async fn schedule(url: &str, seed: u64) -> Counts {
    let name = Name::parse(&format!("{}-{seed}", crate::support::unique('m'))).unwrap();
    let policy = match seed % 2 {
        0 => JoinPolicy::Open,
        _ => JoinPolicy::Invited,
    };
    let harry = Own::sits_down(url, &name, policy, "harry", person(1, seed));
    eventually(seed, "is the group founded", async || harry.is_in()).await;
    let mut guests = Vec::new();
    for at in 0..2 {
        guests.push(Guest::sits_down(guest_of(at, seed), url, &name, policy).await);
    }
    let charly = Own::sits_down(url, &name, policy, "charly", person(2, seed));
    let mut room = Room {
        url: url.into(),
        name,
        stays: (seed / 2 % 2) as usize,
        random: Random(seed),
        own: vec![harry, charly],
        guests,
        asked: BTreeMap::new(),
    };
    eventually(seed, "is everybody in", async || {
        room.everybody_comes().await
    })
    .await;
    for step in 0..STEPS {
        room.step(step).await;
    }
    room.own.iter().for_each(|own| own.does(Order::Calm));
    room.settle(seed).await;
    for own in &room.own {
        own.does(Order::Say(format!("the last word of {}", own.who.user)));
    }
    // Somebody may still be removed who asked for it before.
    eventually(seed, "are all last words said", async || {
        room.everybody_comes().await;
        for guest in &mut room.guests {
            let said = format!("the last word of {}", guest.peer.user);
            let is_said = |noted: &Noted| {
                let Note::Placed { text, .. } = &noted.note else {
                    return false;
                };
                text.starts_with(&said)
            };
            if !guest.notes.iter().any(is_said) {
                let word = format!("{said} at {}", guest.seq);
                guest.says(&word, false).await;
            }
        }
        room.last_words() == 4
    })
    .await;
    room.settle(seed).await;
    room.end(seed).await
}

impl<C: MlsConfig> Room<C> {
    /// Whoever is out comes in, or is added.
    async fn everybody_comes(&mut self) -> bool {
        let mut are_in = true;
        let is_invited = self.own[0].who.policy == JoinPolicy::Invited;
        let Some(host) = self.own.iter().find(|own| own.is_in()) else {
            return false;
        };
        // Who has not gone yet cannot be added.
        let known = host.page.lock().unwrap().standing.members.clone();
        let mut waiting = Vec::new();
        for own in &self.own {
            let standing = own.page.lock().unwrap().standing.clone();
            are_in &= standing.is_in;
            if standing.is_in {
                self.asked.remove(own.who.user.as_str());
            }
            if standing.waits_for == Some(REMOVAL) {
                own.does(Order::AMinutePasses);
            }
            if standing.is_out && !known.contains(&own.who.name()) {
                own.does_if(is_invited, Order::Publish, &self.asked);
                waiting.push((own.who.user.clone(), own.who.identity().public()));
            }
        }
        for guest in &mut self.guests {
            guest.tidies().await;
            let is_there = known.contains(&guest.name());
            if guest.comes(is_there).await {
                self.asked.remove(guest.peer.user.as_str());
            } else {
                are_in = false;
                if is_there {
                    continue;
                }
                waiting.push((guest.peer.user.clone(), guest.peer.identity.public()));
            }
        }
        for (user, identity) in waiting {
            let last = self.asked.get(user.as_str());
            if is_invited && last.is_none_or(Asked::is_due) {
                let pause = last.map_or(AGAIN.0, |last| AGAIN.1.min(2 * last.pause));
                let guests = self.guests.iter();
                for guest in guests.filter(|guest| guest.peer.user == user) {
                    guest.publishes().await;
                }
                let at = Instant::now();
                self.asked.insert(user.to_string(), Asked { at, pause });
                host.does(Order::Add(user.to_string(), identity.to_string()));
            }
        }
        are_in
    }

    async fn step(&mut self, step: usize) {
        let (ours, theirs) = (self.random.below(2), self.random.below(2));
        let loses_answer = self.random.below(3) == 0;
        let text = format!("message {step}");
        let may_go = match self.own[ours].who.policy {
            JoinPolicy::Open => self.own[1 - ours].is_in(),
            JoinPolicy::Invited => ours != self.stays,
        };
        let (own, guest) = (&self.own[ours], &mut self.guests[theirs]);
        guest.reads();
        if loses_answer {
            own.does(Order::LoseAnswer);
        }
        match self.random.below(14) {
            0..=2 => own.does(Order::Say(text)),
            3..=5 => guest.says(&text, loses_answer).await,
            6 => own.does(Order::AWeekPasses),
            7 => guest.commits(None, loses_answer).await,
            // Both at once: one of them is too late.
            8 => {
                own.does(Order::AWeekPasses);
                guest.commits(None, loses_answer).await;
            }
            9 if may_go => {
                own.does(Order::Leave);
                own.does(Order::Say(text));
                own.does(Order::ComeBack);
            }
            10 => guest.leaves().await,
            11 => own.does(Order::Remove(guest.peer.user.clone())),
            12 if may_go => {
                let gone = format!("{}/phone", own.who.user);
                guest.commits(Some(&gone), loses_answer).await;
            }
            13 => own.does(Order::CrashBeforeItSends),
            _ => guest.tidies().await,
        }
        guest.comes_if_open().await;
    }

    /// Everybody is in and has read everything, in one epoch of one group.
    async fn settle(&mut self, seed: u64) {
        let until = Instant::now() + PATIENCE;
        loop {
            if self.everybody_comes().await {
                let is_agreed = self.is_agreed();
                if is_agreed.is_ok() {
                    return;
                }
                assert!(Instant::now() < until, "SEAL_SEED={seed}: {is_agreed:?}");
            }
            let told = || self.told();
            assert!(Instant::now() < until, "SEAL_SEED={seed}: {}", told());
            sleep(LOOK).await;
        }
    }

    /// Whatever is in the room, as far as anybody knows.
    fn placed(&self) -> Vec<(u64, String)> {
        let own = self.own.iter();
        let own = own.map(|own| own.page.lock().unwrap().notes.clone());
        let notes = own.chain(self.guests.iter().map(|guest| guest.notes.clone()));
        let placed = notes.flatten().filter_map(|noted| match noted.note {
            Note::Placed { seq, text } => Some((seq, text)),
            _ => None,
        });
        placed.collect()
    }

    fn last_words(&self) -> usize {
        let placed = self.placed().into_iter();
        placed
            .filter(|(_, text)| text.contains("the last word"))
            .count()
    }

    /// How everybody is.
    fn told(&self) -> String {
        let last = |notes: &[Noted]| {
            let shown = notes
                .iter()
                .filter(|it| !matches!(it.note, Note::Sent { .. }));
            format!("{:?}", shown.collect::<Vec<_>>())
        };
        let own = self.own.iter().map(|own| {
            let page = own.page.lock().unwrap();
            let (name, standing) = (own.who.name(), &page.standing);
            format!("{name} {standing:?}, last {}", last(&page.notes))
        });
        let guests = self.guests.iter().map(|guest| {
            let (name, is_in) = (guest.name(), guest.peer.is_in());
            format!(
                "{name} in: {is_in}, at {}, last {}",
                guest.seq,
                last(&guest.notes)
            )
        });
        own.chain(guests).collect::<Vec<_>>().join("; ")
    }

    fn is_agreed(&mut self) -> Result<(), String> {
        let mut codes = BTreeSet::new();
        let mut places = BTreeSet::new();
        for own in &self.own {
            let standing = own.page.lock().unwrap().standing.clone();
            if !(standing.is_in && standing.waits_for.is_none()) {
                return Err(format!("{}: {standing:?}", own.who.name()));
            }
            codes.insert(standing.code.unwrap_or_default());
            places.insert(standing.seq);
        }
        for guest in &mut self.guests {
            guest.reads();
            places.insert(guest.seq);
            if guest.peer.is_in() {
                codes.insert(room_code(guest.peer.agreed()));
            }
        }
        let head = self.placed().iter().map(|(seq, _)| *seq).max();
        match (codes.len(), places.len()) {
            (1, 1) if places.last() >= head.as_ref() => Ok(()),
            _ => Err(format!("{codes:?} {places:?}")),
        }
    }

    /// What everybody noted is what the room holds.
    async fn end(self, seed: u64) -> Counts {
        let journal = journal(std::slice::from_ref(&self.url), &self.name).await;
        let mut people: BTreeMap<String, Public> = BTreeMap::new();
        let mut devices = BTreeMap::new();
        for own in &self.own {
            people.insert(own.who.user.to_string(), own.who.identity().public());
            devices.insert(own.who.name(), own.page.lock().unwrap().notes.clone());
        }
        for guest in &self.guests {
            let (user, identity) = (&guest.peer.user, &guest.peer.identity);
            people.insert(user.to_string(), identity.public());
            devices.insert(guest.name(), guest.notes.clone());
        }
        let (broken, counts) = check(Seen {
            room: &self.name,
            people: &people,
            journal: &journal.unwrap(),
            devices: &devices,
            is_over: true,
        });
        let told = self.told();
        assert_eq!(broken, [""; 0], "SEAL_SEED={seed}: {told}");
        for guest in self.guests {
            guest.client.close().await;
        }
        counts
    }
}

impl Own {
    /// Key packages of before may be of a state that is lost.
    fn does_if(&self, is_wanted: bool, order: Order, asked: &BTreeMap<String, Asked>) {
        let last = asked.get(self.who.user.as_str());
        if is_wanted && last.is_some_and(Asked::is_due) {
            self.does(order);
        }
    }
}

/// The room code as docs/adr/0004-seal.md has it, by what mls-rs knows of the epoch.
fn room_code((group, epoch, authenticator): (Vec<u8>, u64, Vec<u8>)) -> String {
    let mut bytes = Vec::new();
    let parts = [
        b"safe-chat room code v1",
        &group[..],
        &epoch.to_be_bytes(),
        &authenticator,
    ];
    for part in parts {
        bytes.extend((part.len() as u16).to_be_bytes());
        bytes.extend(part);
    }
    let hash = Sha512::digest(bytes);
    let groups = hash.chunks_exact(5).map(|five| {
        let number = five.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        format!("{:05}", number % 100_000)
    });
    groups.collect::<Vec<_>>().join(" ")
}

pub(crate) async fn devices_of_two_implementations_share_sealed_rooms(cluster: Cluster) {
    let number = |name: &str| {
        let value = std::env::var(name).ok()?;
        Some(value.parse::<u64>().expect("a number"))
    };
    let seeds = match number("SEAL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEAL_SCHEDULES").unwrap_or(SCHEDULES),
    };
    // Everybody comes from one address, and publishes for each room anew.
    let cluster = cluster
        .with("SAFE_CHAT_GATEWAY__ADDRESS_RATE", "0")
        .with("SAFE_CHAT_GATEWAY__KEY_PUBLISH_RATE", "0")
        .with("SAFE_CHAT_GATEWAY__KEY_CLAIMS_RATE", "0")
        .with("SAFE_CHAT_GATEWAY__ADDRESS_KEY_CLAIMS_RATE", "0");
    let node = cluster.node("only").await;
    let (url, count) = (node.url(), seeds.end - seeds.start);
    let runs = seeds.map(|seed| schedule(&url, seed));
    let all: Vec<Counts> = stream::iter(runs).buffer_unordered(AT_ONCE).collect().await;
    let mut counts = Counts::default();
    all.into_iter().for_each(|one| counts += one);
    println!("{count} schedules: {counts:?}");
    let is_much = counts.epochs > 8 * count && counts.read > 20 * count && counts.came_back > count;
    assert!(
        count < 10 || is_much,
        "hardly anything happened: {counts:?}"
    );
}
