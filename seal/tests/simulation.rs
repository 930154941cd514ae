//! Random schedules of a room: devices join, leave, are removed, renew, say things, lose answers,
//! crash and lose their state, and the writer fails over. After each everybody who is in agrees,
//! and has read exactly what was said while they were in, in its order. `SEAL_SCHEDULES` runs more,
//! `SEAL_SEED` one again.

mod world;

use seal::Refusal;
use seal::member::{Frame, Shown};
use world::{Client, Entry, Random, Server, earlier, now, room, said};

/// Steps of one schedule, before everything settles.
const STEPS: usize = 60;

struct World {
    random: Random,
    server: Server,
    clients: Vec<Client>,
    /// For each device the epoch that it came in with, while it is in.
    since: Vec<Option<u64>>,
    /// For each device the place at which it came in.
    came: Vec<usize>,
    /// What was said, by the bytes that were sent; none: messages of before were shared.
    contents: Vec<(Vec<u8>, Option<String>)>,
    /// Messages that were taken.
    read: usize,
    /// Messages of before that were shown.
    shared: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let count = 3 + random.below(4);
        let users = ["harry", "charly", "ann", "bob", "eve", "tom"];
        let mut clients: Vec<_> = (0..count)
            .map(|n| Client::new(users[n], "phone", n as u8 + 1))
            .collect();
        let mut server = Server::default();
        for client in &mut clients {
            client.publish(2);
            client.flush(&mut server);
        }
        let step = clients[0].member.found(
            &room(),
            seal::rules::JoinPolicy::Invited,
            &[seed as u8; 16],
            now(),
        );
        clients[0].host(step).unwrap();
        clients[0].flush(&mut server);
        clients[0].read(&server);
        let mut world = Self {
            random,
            server,
            clients,
            since: vec![None; count],
            came: vec![0; count],
            contents: Vec::new(),
            read: 0,
            shared: 0,
        };
        world.since[0] = Some(0);
        // Half of them are in from the beginning.
        for at in 1..count.div_ceil(2) + 1 {
            let (user, device) = (
                world.clients[at].user.clone(),
                world.clients[at].device.clone(),
            );
            let package = world.server.claim(&user, &device);
            world.clients[0].add(&[package]).unwrap();
            world.clients[0].flush(&mut world.server);
            world.clients[0].read(&world.server);
            world.come_back(at);
        }
        world
    }

    fn step(&mut self) {
        let at = self.somebody();
        match self.random.below(26) {
            0..=4 => self.deliver(at),
            5..=9 => drop(self.read_one(at)),
            10..=13 => self.say(at),
            14..=15 => self.add(at),
            16 => self.remove(at),
            17 => drop(self.clients[at].renew()),
            18 => self.leave(at),
            19 => self.clients[at].crash_and_resend(),
            20 => self.lose_state(at),
            21 => self.server.restart(),
            22 => self.come_back(at),
            23..=24 => self.share(at),
            _ => self.tidy(at),
        }
    }

    /// Mostly one that is in.
    fn somebody(&mut self) -> usize {
        let inside: Vec<_> = (0..self.clients.len())
            .filter(|at| self.clients[*at].member.is_in(&room()))
            .collect();
        match self.random.below(4) {
            0 => self.random.below(self.clients.len()),
            _ if inside.is_empty() => 0,
            _ => inside[self.random.below(inside.len())],
        }
    }

    /// The next frame arrives; its answer may be lost, and then it is sent again.
    fn deliver(&mut self, at: usize) {
        let is_answer_lost = self.random.below(4) == 0;
        let client = &mut self.clients[at];
        let Some(frame) = client.outbox.front().cloned() else {
            return;
        };
        // Who was too slow learns it from the events, and what is refused for good is over.
        let answer = self.server.take(&client.proven(), &client.device, &frame);
        match answer {
            Ok(()) | Err(Refusal::StaleEpoch { .. }) => {}
            Err(_) => {
                let step = client.member.refused(&room(), &frame);
                client.host(step).unwrap();
            }
        }
        if !is_answer_lost {
            client.outbox.pop_front();
        }
    }

    fn say(&mut self, at: usize) {
        let text = format!("message {}", self.contents.len());
        if self.clients[at].send(&text).is_ok()
            && let Some(Frame::Message { bytes, .. }) = self.clients[at].outbox.back()
        {
            self.contents.push((bytes.clone(), Some(text)));
        }
    }

    /// It says that somebody said things, also at places that are not there yet.
    fn share(&mut self, at: usize) {
        let with = self.random.below(self.clients.len());
        let with = self.clients[with].identity.public();
        let head = self.server.journal.len() as u64;
        let places = (1..head + 3).filter(|_| self.random.below(2) == 0);
        let messages: Vec<_> = places.map(|seq| earlier(seq, "tom", "before")).collect();
        if self.clients[at].share(with, &messages).is_ok()
            && let Some(Frame::Message { bytes, .. }) = self.clients[at].outbox.back()
        {
            self.contents.push((bytes.clone(), None));
        }
    }

    fn add(&mut self, at: usize) {
        let other = self.random.below(self.clients.len());
        if self.clients[other].member.is_in(&room()) {
            return;
        }
        let (user, device) = (
            self.clients[other].user.clone(),
            self.clients[other].device.clone(),
        );
        let package = self.server.claim(&user, &device);
        drop(self.clients[at].add(&[package]));
    }

    fn remove(&mut self, at: usize) {
        let other = self.clients[self.random.below(self.clients.len())]
            .user
            .clone();
        drop(self.clients[at].remove(&other));
    }

    fn leave(&mut self, at: usize) {
        // Somebody stays to remove who leaves.
        let count = self
            .clients
            .iter()
            .filter(|one| one.member.is_in(&room()))
            .count();
        if count > 2 {
            let step = self.clients[at].member.leave(&room());
            drop(self.clients[at].host(step));
        }
    }

    fn tidy(&mut self, at: usize) {
        let step = self.clients[at].member.tidy(&room(), now());
        drop(self.clients[at].host(step));
    }

    fn lose_state(&mut self, at: usize) {
        if self.clients[at].member.is_in(&room()) {
            self.clients[at].forget();
            self.since[at] = None;
            let client = &mut self.clients[at];
            client.publish(2);
            let key = world::key_of(&client.user, &client.device);
            self.server.waiting.remove(&key);
        }
    }

    fn come_back(&mut self, at: usize) {
        let is_member = self
            .server
            .delivery()
            .members()
            .any(|one| *one.user() == self.clients[at].user);
        let client = &mut self.clients[at];
        if client.welcome(&mut self.server) {
            self.since[at] = client.member.epoch(&room());
            self.came[at] = client.cursor;
            client.shown.clear();
        } else if is_member
            && client.member.is_out(&room())
            && !client
                .outbox
                .iter()
                .any(|frame| matches!(frame, Frame::Change { .. }))
        {
            client.cursor = self.server.journal.len();
            drop(client.rejoin(&self.server));
        }
    }

    /// One event, and whether the device saw of it what it should.
    fn read_one(&mut self, at: usize) -> bool {
        let client = &mut self.clients[at];
        let was_in = client.member.is_in(&room()) || !client.member.outstanding().is_empty();
        let Some(entry) = self.server.journal.get(client.cursor).cloned() else {
            client.member.caught_up(&room());
            return false;
        };
        let epoch_before = client.member.epoch(&room());
        client.shown.clear();
        client.read_one(&self.server);
        let said = said(&client.shown);
        if let Entry::Message { from, bytes, epoch } = &entry {
            let content = self.contents.iter().find(|(sent, _)| sent == bytes);
            let should = match self.since[at] {
                Some(since) if was_in && *from != client.user && *epoch >= since => {
                    let said = content.unwrap().1.as_ref();
                    said.map(|said| format!("{from}: {said}"))
                        .into_iter()
                        .collect()
                }
                _ => Vec::new(),
            };
            assert_eq!(
                said, should,
                "{} at {}, {:?}",
                client.user, client.cursor, client.shown
            );
            self.read += said.len();
        } else {
            assert!(said.is_empty());
        }
        for shown in &client.shown {
            match shown {
                Shown::Lost(_) | Shown::Out { .. } => self.since[at] = None,
                Shown::Changed { epoch, .. } if epoch_before.is_none() => {
                    self.since[at] = Some(*epoch);
                    self.came[at] = client.cursor;
                }
                // Whom it is for shows it, and nothing of when it was there itself.
                Shown::Shared { with, messages, .. } => {
                    let is_for_it = *with == client.identity.public();
                    assert!(is_for_it || messages.is_empty());
                    let came = self.came[at] as u64;
                    assert!(
                        messages.iter().all(|one| one.seq < came),
                        "{came}: {messages:?}"
                    );
                    self.shared += messages.len();
                }
                _ => {}
            }
        }
        if client.member.is_in(&room()) && self.since[at].is_none() {
            self.since[at] = client.member.epoch(&room());
        }
        true
    }

    /// Everything arrives, everybody reads, and who asked to leave is removed.
    fn settle(&mut self) {
        for _ in 0..100 {
            let mut is_quiet = true;
            for at in 0..self.clients.len() {
                while !self.clients[at].outbox.is_empty() {
                    self.deliver(at);
                    is_quiet = false;
                }
                while self.read_one(at) {
                    is_quiet = false;
                }
                if self.clients[at].member.is_out(&room()) {
                    self.come_back(at);
                    is_quiet &= self.clients[at].outbox.is_empty();
                }
            }
            if is_quiet {
                return;
            }
        }
        panic!("the room does not come to rest");
    }

    fn check(&mut self) {
        let delivery = self.server.delivery();
        let (epoch, members) = (delivery.epoch(), delivery.members().count());
        let mut codes = Vec::new();
        for client in &self.clients {
            if client.member.is_in(&room()) {
                assert_eq!(client.member.epoch(&room()), Some(epoch), "{}", client.user);
                assert_eq!(client.member.members(&room()).len(), members);
                assert_eq!(
                    client.member.outstanding(),
                    [],
                    "{} waits for ever",
                    client.user
                );
                codes.push(client.code());
            }
        }
        assert!(!codes.is_empty(), "nobody is in");
        assert!(codes.windows(2).all(|pair| pair[0] == pair[1]), "{codes:?}");
        assert!(
            codes.len() + delivery.leaving().count() >= members,
            "somebody is stuck"
        );
    }
}

impl Client {
    /// What was on its way is sent again: of the member's frames by the member, of messages by the
    /// host, whose outbox is stored.
    fn crash_and_resend(&mut self) {
        self.crash();
        self.outbox
            .retain(|frame| matches!(frame, Frame::Message { .. } | Frame::Publish { .. }));
        self.outbox.extend(self.member.outstanding());
    }
}

/// How many epochs there were, messages that were read, and such that were shared.
fn run(seed: u64) -> [u64; 3] {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step();
    }
    world.settle();
    world.check();
    // The room is of use to those who are in.
    let inside: Vec<_> = (0..world.clients.len())
        .filter(|at| world.clients[*at].member.is_in(&room()))
        .collect();
    let before = world.read;
    world.say(inside[0]);
    world.settle();
    world.check();
    assert_eq!(world.read - before, inside.len() - 1, "not all have heard");
    let [read, shared] = [world.read, world.shared].map(|count| count as u64);
    [world.server.delivery().epoch(), read, shared]
}

#[test]
fn nobody_diverges_is_stuck_or_misses_a_message() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().unwrap())
    };
    let seeds = match number("SEAL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEAL_SCHEDULES").unwrap_or(200),
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let mut sums = [0; 3];
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                let seeds = seeds.clone().filter(move |seed| seed % threads == worker);
                scope.spawn(move || {
                    seeds
                        .map(|seed| {
                            let run = std::panic::catch_unwind(|| run(seed));
                            run.unwrap_or_else(|_| panic!("SEAL_SEED={seed} shows it again"))
                        })
                        .fold([0; 3], plus)
                })
            })
            .collect();
        for worker in workers {
            sums = plus(sums, worker.join().unwrap());
        }
    });
    let [epochs, read, shared] = sums;
    println!("{epochs} epochs, {read} messages read, {shared} of before shared");
    let count = seeds.end - seeds.start;
    assert!(
        count < 10 || (epochs > count && read > count && shared > count / 10),
        "hardly anything happened"
    );
}

fn plus(one: [u64; 3], other: [u64; 3]) -> [u64; 3] {
    std::array::from_fn(|at| one[at] + other[at])
}
