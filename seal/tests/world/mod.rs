//! A room with its writer and devices, without a network: tests decide what arrives when.

#![allow(dead_code, reason = "each test uses its part")]

use seal::content::Earlier;
use seal::delivery::{Admission, Delivery, Proven};
use seal::device::{DeviceKey, Name};
use seal::member::{Agreed, Content, Error, Event, Frame, Member, Person, Shown, Step, holder_of};
use seal::rules::JoinPolicy;
use seal::{Bundle, Identity, Public, Refusal, Shelf};
use std::collections::{BTreeMap, VecDeque};
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub(crate) fn room() -> Name {
    name("aaa")
}

/// OpenMLS asks the clock whether a key package counts, so tests live now.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// A small generator (splitmix64), so that a schedule is its seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// What the journal has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Founded(Vec<u8>),
    Commit(Vec<u8>),
    Message {
        from: Name,
        bytes: Vec<u8>,
        epoch: u64,
    },
    Leave(Vec<u8>),
    Devices(Vec<u8>),
}

impl Entry {
    pub(crate) fn event(&self) -> Event<'_> {
        match self {
            Self::Founded(bytes) => Event::Founded(bytes),
            Self::Commit(bytes) => Event::Commit(bytes),
            Self::Message { bytes, .. } => Event::Message(bytes),
            Self::Leave(bytes) => Event::Leave(bytes),
            Self::Devices(bytes) => Event::Devices(bytes),
        }
    }
}

/// A welcome that waits for a device, and after which entry its epoch begins.
#[derive(Clone)]
pub(crate) struct Waiting {
    pub(crate) admission: Admission,
    pub(crate) after: usize,
}

/// Key packages of a device: for one use each, and the last resort.
pub(crate) type Packages = (VecDeque<Vec<u8>>, Vec<u8>);

/// The writer of the room, the store of key packages, and the journal.
#[derive(Default)]
pub(crate) struct Server {
    pub(crate) delivery: Option<Delivery>,
    pub(crate) journal: Vec<Entry>,
    pub(crate) packages: BTreeMap<(String, String), Packages>,
    pub(crate) waiting: BTreeMap<(String, String), Waiting>,
    pub(crate) taken: Vec<Frame>,
}

impl Server {
    pub(crate) fn delivery(&self) -> &Delivery {
        self.delivery.as_ref().unwrap()
    }

    /// Decides a frame; what was decided before is decided alike.
    pub(crate) fn take(
        &mut self,
        by: &Proven,
        device: &Name,
        frame: &Frame,
    ) -> Result<(), Refusal> {
        if self.taken.contains(frame) {
            return Ok(());
        }
        match frame {
            Frame::Publish {
                one_time,
                last_resort,
            } => {
                for package in one_time.iter().chain([last_resort]) {
                    let certificate = Delivery::check_key_package(package, by, now())?;
                    assert_eq!(certificate.device(), device);
                }
                let stored = (one_time.iter().cloned().collect(), last_resort.clone());
                self.packages.insert(key_of(&by.user, device), stored);
            }
            Frame::Found { room, founding } => {
                if let Some(delivery) = &self.delivery {
                    let current = delivery.epoch();
                    return Err(Refusal::StaleEpoch { current });
                }
                self.delivery = Some(Delivery::found(room.clone(), founding, by, now())?);
                self.journal
                    .push(Entry::Founded(founding.group_info.clone()));
            }
            Frame::Change { bundle, .. } => self.change(bundle, by)?,
            Frame::Message { bytes, .. } => {
                let epoch = self.delivery().decide_message(bytes, by)?;
                self.journal.push(Entry::Message {
                    from: by.user.clone(),
                    bytes: bytes.clone(),
                    epoch,
                });
            }
            Frame::Leave { bytes, .. } => {
                let leaf = self.delivery().decide_leave(bytes, by)?;
                self.delivery.as_mut().unwrap().apply_leave(leaf);
                self.journal.push(Entry::Leave(bytes.clone()));
            }
            Frame::Devices { list, .. } => {
                let decided = self.delivery().decide_devices(list, by)?;
                self.delivery.as_mut().unwrap().apply_devices(decided);
                self.journal.push(Entry::Devices(list.clone()));
            }
            Frame::Report { epoch, .. } => {
                let leaf = self.delivery().decide_report(*epoch, by)?;
                self.delivery.as_mut().unwrap().apply_report(leaf, now());
            }
        }
        self.taken.push(frame.clone());
        Ok(())
    }

    fn change(&mut self, bundle: &Bundle, by: &Proven) -> Result<(), Refusal> {
        let accepted = self.delivery().decide(bundle, by, now())?;
        let changed = self.delivery.as_mut().unwrap().apply(accepted);
        self.journal.push(Entry::Commit(bundle.commit.clone()));
        if let Some(admission) = changed.admission {
            for one in &changed.joined {
                let waiting = Waiting {
                    admission: admission.clone(),
                    after: self.journal.len(),
                };
                self.waiting
                    .insert(key_of(one.user(), one.device()), waiting);
            }
        }
        Ok(())
    }

    pub(crate) fn claim(&mut self, user: &Name, device: &Name) -> Vec<u8> {
        let (one_time, last_resort) = self.packages.get_mut(&key_of(user, device)).unwrap();
        one_time.pop_front().unwrap_or_else(|| last_resort.clone())
    }

    /// From a snapshot, as after a fail-over.
    pub(crate) fn restart(&mut self) {
        if let Some(delivery) = &self.delivery {
            let snapshot = delivery.snapshot();
            let restored = Delivery::restore(&snapshot).unwrap();
            assert_eq!(restored.snapshot(), snapshot);
            self.delivery = Some(restored);
        }
    }
}

/// Whose these key packages are.
pub(crate) fn people_of(packages: &[Vec<u8>]) -> Vec<Person> {
    let holders = packages.iter().filter_map(|one| holder_of(one).ok());
    let people = holders.map(|one| Person {
        user: one.user,
        identity: one.identity,
    });
    people.collect()
}

pub(crate) fn key_of(user: &Name, device: &Name) -> (String, String) {
    (user.as_str().to_owned(), device.as_str().to_owned())
}

/// A device with its host: what it stores, how far it has read, and what it has to send.
pub(crate) struct Client {
    pub(crate) user: Name,
    pub(crate) device: Name,
    pub(crate) identity: Identity,
    pub(crate) key: DeviceKey,
    pub(crate) member: Member,
    pub(crate) shelf: Shelf,
    pub(crate) outbox: VecDeque<Frame>,
    pub(crate) cursor: usize,
    pub(crate) shown: Vec<Shown>,
}

impl Client {
    pub(crate) fn new(user: &str, device: &str, seed: u8) -> Self {
        let identity = Identity::from_seed(&[seed; 32]);
        let device_seed = [&[seed; 16][..], &device.as_bytes().repeat(16)[..16]].concat();
        let key = DeviceKey::from_seed(&device_seed.try_into().unwrap());
        let (user, device) = (name(user), name(device));
        let certificate = identity.certify(user.clone(), device.clone(), &key);
        let member = Member::new(key.clone(), certificate);
        Self {
            user,
            device,
            identity,
            key,
            member,
            shelf: Shelf::default(),
            outbox: VecDeque::new(),
            cursor: 0,
            shown: Vec::new(),
        }
    }

    /// Whom others mean by its person.
    pub(crate) fn person(&self) -> Person {
        Person {
            user: self.user.clone(),
            identity: self.identity.public(),
        }
    }

    /// What somebody is shown whom this device has removed.
    pub(crate) fn removal(&self) -> Shown {
        Shown::Out {
            by: Some(self.member.certificate().into()),
        }
    }

    pub(crate) fn proven(&self) -> Proven {
        Proven {
            user: self.user.clone(),
            identity: self.identity.public(),
        }
    }

    /// Stores, then sends, then shows.
    pub(crate) fn host(&mut self, step: Result<Step, Error>) -> Result<(), Error> {
        let step = step?;
        self.shelf.store(step.changes).unwrap();
        self.outbox.extend(step.frames);
        self.shown.extend(step.shown);
        Ok(())
    }

    pub(crate) fn publish(&mut self, count: usize) {
        let step = self.member.publish(count, now());
        self.host(step).unwrap();
    }

    pub(crate) fn send(&mut self, content: &str) -> Result<u64, Error> {
        let (number, step) = self.member.send(&room(), content.as_bytes())?;
        self.host(Ok(step))?;
        Ok(number)
    }

    /// A message with an inside that devices of before do not make.
    pub(crate) fn send_inside(&mut self, inside: &[u8]) -> Result<(), Error> {
        let (_, step) = self.member.send_inside(&room(), inside)?;
        self.host(Ok(step))
    }

    pub(crate) fn share(&mut self, with: Public, messages: &[Earlier]) -> Result<(), Error> {
        for inside in self.member.share(&room(), &with, messages)? {
            self.send_inside(&inside)?;
        }
        Ok(())
    }

    pub(crate) fn add(&mut self, packages: &[Vec<u8>]) -> Result<(), Error> {
        let step = self
            .member
            .add(&room(), &people_of(packages), packages, now());
        self.host(step)
    }

    pub(crate) fn remove(&mut self, user: &Name) -> Result<(), Error> {
        let step = self.member.remove(&room(), user, None, now());
        self.host(step)
    }

    pub(crate) fn renew(&mut self) -> Result<(), Error> {
        let step = self.member.renew(&room(), now());
        self.host(step)
    }

    /// Sends the next frame; the answer is what the server said.
    pub(crate) fn flush_one(&mut self, server: &mut Server) -> Option<Result<(), Refusal>> {
        let frame = self.outbox.pop_front()?;
        Some(server.take(&self.proven(), &self.device, &frame))
    }

    pub(crate) fn flush(&mut self, server: &mut Server) {
        while let Some(answer) = self.flush_one(server) {
            answer.unwrap();
        }
    }

    /// Takes a welcome that waits. One for a key package that was lost with the device's state it
    /// cannot open; then it is in the group, and may rejoin.
    pub(crate) fn welcome(&mut self, server: &mut Server) -> bool {
        if !self.member.is_out(&room()) {
            return false;
        }
        let Some(waiting) = server.waiting.remove(&key_of(&self.user, &self.device)) else {
            return false;
        };
        let Admission { welcome, tree } = waiting.admission;
        let at = Some(waiting.after as u64);
        let step = self.member.join_at(&room(), at, (&welcome, &tree), now());
        if step.is_ok() {
            self.cursor = waiting.after;
        }
        self.host(step).is_ok()
    }

    pub(crate) fn read_one(&mut self, server: &Server) -> bool {
        let Some(entry) = server.journal.get(self.cursor) else {
            self.member.caught_up(&room());
            return false;
        };
        let seq = self.cursor as u64 + 1;
        let step = self.member.receive_at(&room(), seq, entry.event());
        self.host(step).unwrap();
        self.cursor += 1;
        true
    }

    pub(crate) fn read(&mut self, server: &Server) -> Vec<Shown> {
        while self.read_one(server) {}
        std::mem::take(&mut self.shown)
    }

    /// Its user agrees to whoever came meanwhile.
    pub(crate) fn rejoin(&mut self, server: &Server) -> Result<(), Error> {
        match self.rejoin_if(server, Agreed::Nothing) {
            Err(Error::Newcomers(them)) => self.rejoin_if(server, Agreed::Newcomers(&them)),
            done => done,
        }
    }

    pub(crate) fn rejoin_if(&mut self, server: &Server, agreed: Agreed<'_>) -> Result<(), Error> {
        let (group_info, tree) = server.delivery().reentry();
        let step = self
            .member
            .rejoin(&room(), (&group_info, &tree), agreed, now());
        self.host(step)
    }

    /// The program ends, and starts again from what it has stored.
    pub(crate) fn crash(&mut self) {
        let shelf = Shelf::decode(&self.shelf.encode()).unwrap();
        self.member = Member::restore(shelf).unwrap();
    }

    /// A commit that the writer should have refused comes to it all the same: it is in no group
    /// with whoever made it.
    pub(crate) fn does_not_take(&mut self, commit: &[u8]) {
        let step = self.member.receive(&room(), Event::Commit(commit));
        let shown = step.unwrap().shown;
        assert!(matches!(shown[..], [Shown::Lost(_)]), "{shown:?}");
    }

    /// It goes on from a copy of what it had stored, taken when it had read up to `cursor`.
    pub(crate) fn restore(&mut self, backup: &[u8], cursor: usize) {
        self.shelf = Shelf::decode(backup).unwrap();
        self.crash();
        self.cursor = cursor;
    }

    /// All that the device has stored is gone but its key.
    pub(crate) fn forget(&mut self) {
        let fresh = self
            .identity
            .certify(self.user.clone(), self.device.clone(), &self.key);
        self.member = Member::new(self.key.clone(), fresh);
        self.shelf = Shelf::default();
        self.outbox.clear();
    }

    pub(crate) fn code(&self) -> String {
        self.member.room_code(&room()).unwrap()
    }
}

/// A room with these users in it, each with one device; all have read everything.
pub(crate) fn room_of(users: &[&str]) -> (Server, Vec<Client>) {
    room_with(JoinPolicy::Invited, users)
}

pub(crate) fn room_with(policy: JoinPolicy, users: &[&str]) -> (Server, Vec<Client>) {
    let mut server = Server::default();
    let mut clients: Vec<_> = (1..)
        .zip(users)
        .map(|(seed, user)| Client::new(user, "phone", seed))
        .collect();
    for client in &mut clients {
        client.publish(3);
        client.flush(&mut server);
    }
    let step = clients[0].member.found(&room(), policy, &[7; 16], now());
    clients[0].host(step).unwrap();
    clients[0].flush(&mut server);
    clients[0].read(&server);
    if users.len() > 1 {
        let others = &clients[1..];
        let packages: Vec<_> = others
            .iter()
            .map(|one| server.claim(&one.user, &one.device))
            .collect();
        clients[0].add(&packages).unwrap();
        clients[0].flush(&mut server);
    }
    for client in &mut clients {
        client.welcome(&mut server);
        client.read(&server);
    }
    (server, clients)
}

/// A message of before, as somebody says that it was.
pub(crate) fn earlier(seq: u64, from: &str, text: &str) -> Earlier {
    Earlier {
        seq,
        at: 1_795_000_000_000 + seq,
        from: name(from),
        content: Content(text.into()),
    }
}

/// What was said, of what was shown.
pub(crate) fn said(shown: &[Shown]) -> Vec<String> {
    let said = shown.iter().filter_map(|one| match one {
        Shown::Message { from, content } => Some(format!(
            "{}: {}",
            from.user,
            String::from_utf8_lossy(&content.0)
        )),
        _ => None,
    });
    said.collect()
}
