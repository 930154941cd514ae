//! Devices of this crate and devices of mls-rs in one room: the forms on the wire are those of
//! RFC 9420, not those of one library. `SEAL_SCHEDULES` runs more schedules. The same through the
//! service: `tests/e2e/implementations.rs`.

mod peer;
mod world;

use mls_rs::client_builder::MlsConfig;
use peer::{Heard, Told, device, is_of};
use seal::member::Frame;
use seal::{Bundle, Refusal};
use world::{Client, Entry, Server, key_of, name, now, room, room_of, said};

/// A device of mls-rs, how far it has read, and what it heard.
struct Peer<C: MlsConfig> {
    device: peer::Peer<C>,
    cursor: usize,
    heard: Vec<String>,
}

fn peer(user: &str, seed: u8) -> Peer<impl MlsConfig + use<>> {
    Peer {
        device: device(user, "phone", seed, [seed + 100; 32]),
        cursor: 0,
        heard: Vec::new(),
    }
}

impl<C: MlsConfig> Peer<C> {
    fn is_in(&self) -> bool {
        self.device.is_in()
    }

    fn welcome(&mut self, server: &mut Server) {
        let waiting = server
            .waiting
            .remove(&key_of(&self.device.user, &name("phone")));
        if let Some(waiting) = waiting {
            let admission = waiting.admission;
            assert!(self.device.join(&admission.welcome, &admission.tree));
            self.cursor = waiting.after;
        }
    }

    fn send(&self, server: &mut Server, bundle: Bundle) -> Result<(), Refusal> {
        let frame = Frame::Change {
            room: room(),
            bundle,
        };
        server.take(&self.device.proven(), &name("phone"), &frame)
    }

    /// Comes in, or back, by itself.
    fn rejoin(&mut self, server: &mut Server) {
        let (group_info, tree) = server.delivery().reentry();
        let (group, bundle) = self.device.entry((&group_info, &tree));
        self.send(server, bundle).unwrap();
        self.device.adopt(group);
        self.cursor = server.journal.len();
    }

    /// A commit, which may lose.
    fn change(&mut self, server: &mut Server) {
        let bundle = self.device.change(None, |_| false);
        if let Err(refusal) = self.send(server, bundle) {
            assert_eq!(refusal.code(), "stale_epoch", "{refusal}");
            self.device.refused();
        }
    }

    fn say(&mut self, server: &mut Server, text: &str) {
        let frame = Frame::Message {
            room: room(),
            bytes: self.device.encrypt(text),
        };
        server
            .take(&self.device.proven(), &name("phone"), &frame)
            .unwrap();
    }

    fn read(&mut self, server: &Server) {
        while let Some(entry) = server.journal.get(self.cursor) {
            self.cursor += 1;
            let heard = match entry {
                Entry::Founded(_) | Entry::Devices(_) => continue,
                Entry::Message { from, .. } if *from == self.device.user => continue,
                Entry::Message { bytes, .. } => Heard::Message(bytes),
                Entry::Commit(bytes) => Heard::Commit(bytes),
                Entry::Leave(bytes) => Heard::Leave(bytes),
            };
            if let Told::Said { text, .. } = self.device.take(heard) {
                self.heard.push(text);
            }
        }
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// Harry and charly are devices of this crate, peter and paula of mls-rs.
fn run(seed: u64) {
    let mut random = Random(seed.wrapping_mul(7919) + 1);
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    let mut peers = [peer("peter", 50), peer("paula", 51)];
    clients[0].add(&[peers[0].device.key_package()]).unwrap();
    clients[0].flush(&mut server);
    peers[0].welcome(&mut server);
    assert!(peers[0].is_in());
    for n in 0..30 {
        let (ours, theirs) = (random.below(2), random.below(2));
        let text = format!("message {n}");
        match random.below(8) {
            0 if clients[ours].send(&text).is_ok() => flush(&mut clients[ours], &mut server),
            1 if peers[theirs].is_in() => {
                peers[theirs].read(&server);
                if peers[theirs].is_in() {
                    peers[theirs].say(&mut server, &text);
                }
            }
            2 if clients[ours].renew().is_ok() => flush(&mut clients[ours], &mut server),
            3 if peers[theirs].device.is_free() => {
                peers[theirs].change(&mut server);
            }
            4 if !peers[theirs].is_in() => {
                if clients[ours]
                    .add(&[peers[theirs].device.key_package()])
                    .is_ok()
                {
                    flush(&mut clients[ours], &mut server);
                    peers[theirs].welcome(&mut server);
                }
            }
            5 => {
                let gone = peers[theirs].device.user.clone();
                if clients[ours].remove(&gone).is_ok() {
                    flush(&mut clients[ours], &mut server);
                }
            }
            6 if peers[theirs].is_in() => peers[theirs].read(&server),
            7 if peers[theirs].is_in() => {
                peers[theirs].read(&server);
                if peers[theirs].is_in() {
                    peers[theirs].rejoin(&mut server);
                }
            }
            _ => drop(clients[ours].read(&server)),
        }
    }
    for _ in 0..3 {
        for client in &mut clients {
            client.read(&server);
            flush(client, &mut server);
        }
        for peer in &mut peers {
            peer.read(&server);
        }
    }
    let codes: Vec<_> = clients.iter().map(Client::code).collect();
    assert_eq!(codes[0], codes[1]);
    let mut peers_in = Vec::new();
    for peer in &mut peers {
        if peer.is_in() {
            peers_in.push(peer);
        }
    }
    let authenticators: Vec<_> = peers_in.iter().map(|peer| peer.device.agreed()).collect();
    assert!(authenticators.windows(2).all(|pair| pair[0] == pair[1]));
    // All that are in read each other.
    clients[0].send("from harry").unwrap();
    flush(&mut clients[0], &mut server);
    assert_eq!(said(&clients[1].read(&server)), ["harry: from harry"]);
    for peer in &mut peers_in {
        peer.read(&server);
        assert!(peer.heard.iter().any(|text| text == "from harry"));
        peer.say(&mut server, "from mls-rs");
        let expected = format!("{}: from mls-rs", peer.device.user);
        for client in &mut clients {
            let shown = said(&client.read(&server));
            assert_eq!(shown.last(), Some(&expected), "{shown:?}");
        }
    }
}

/// Sends all; what loses is made again when the winner is read.
fn flush(client: &mut Client, server: &mut Server) {
    while let Some(answer) = client.flush_one(server) {
        if let Err(refusal) = answer {
            assert_eq!(refusal.code(), "stale_epoch", "{refusal}");
            client.read(server);
        }
    }
}

#[test]
fn devices_of_two_implementations_share_a_room() {
    let count = std::env::var("SEAL_SCHEDULES")
        .ok()
        .map(|text| text.parse().unwrap());
    for seed in 0..count.unwrap_or(10) {
        let ran = std::panic::catch_unwind(|| run(seed));
        ran.unwrap_or_else(|_| panic!("schedule {seed} failed"));
    }
}

#[test]
fn nobody_comes_in_in_the_place_of_somebody_else() {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    let mut peter = peer("peter", 50);
    clients[0].add(&[peter.device.key_package()]).unwrap();
    clients[0].flush(&mut server);
    peter.welcome(&mut server);
    clients[0].read(&server);
    // Peter's second device is entitled to come in, but not to throw out charly.
    let charly = name("charly");
    let laptop = device("peter", "laptop", 51, [150; 32]);
    let (group_info, tree) = server.delivery().reentry();
    let is_charly = |one: &_| is_of(one, &charly);
    let (_, bundle) = laptop.external_commit((&group_info, &tree), is_charly);
    let decided = server
        .delivery()
        .decide(&bundle, &peter.device.proven(), now());
    assert_eq!(decided.map(drop), Err(Refusal::OtherSender));
    // Nor do members let it, whatever the server says.
    clients[0].does_not_take(&bundle.commit);
}
