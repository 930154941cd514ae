//! The checker of sealed rooms notices what it is for: rooms of real devices, without a network,
//! in whose notes or journal something is changed.

use super::{
    Device, Journaled, Note, Noted, Seen, check,
    device::{Task, Who},
    driver::now_ms,
};
use safe_chat_client::keys;
use seal::{
    Delivery, Handshake, Name, Public, Refusal, conversation::Outgoing, delivery::Proven,
    rules::JoinPolicy,
};
use std::collections::{BTreeMap, VecDeque};

/// An honest owner, and devices that get everything at once.
struct World {
    room: Name,
    delivery: Option<Delivery>,
    journal: Vec<Journaled>,
    devices: Vec<Device>,
    notes: BTreeMap<String, Vec<Noted>>,
}

impl World {
    fn new(users: &[&str]) -> Self {
        let name = |text: &str| Name::parse(text).unwrap();
        let who = |(at, user): (usize, &&str)| Who {
            room: name("aaa"),
            policy: JoinPolicy::Open,
            user: name(user),
            device: name("phone"),
            seed: [at as u8 + 1; 32],
        };
        let mut world = Self {
            room: name("aaa"),
            delivery: None,
            journal: Vec::new(),
            devices: users.iter().enumerate().map(who).map(Device::new).collect(),
            notes: BTreeMap::new(),
        };
        for at in 0..users.len() {
            world.comes(at);
        }
        world
    }

    fn comes(&mut self, at: usize) {
        let head = self.journal.len() as u64;
        let since = self.devices[at].since().unwrap_or(head);
        let tasks = self.devices[at].connected(head, now());
        self.go_on(at, tasks);
        self.hears(at, since);
        self.settle();
    }

    /// Events from behind a place on, and what follows from them.
    fn hears(&mut self, at: usize, since: u64) {
        let mut next = since as usize;
        while let Some(event) = self.journal.get(next).cloned() {
            let tasks = self.devices[at].event(event.seq, Some(&event.content), now());
            next += 1;
            self.go_on(at, tasks);
        }
    }

    fn settle(&mut self) {
        loop {
            let before = self.journal.len();
            for at in 0..self.devices.len() {
                if self.devices[at].since().is_some() {
                    let read = self.devices[at].standing().seq;
                    self.hears(at, read);
                }
            }
            if self.journal.len() == before {
                break;
            }
        }
        for device in &mut self.devices {
            let notes = self.notes.entry(device.who().name()).or_default();
            notes.extend(device.noted());
        }
    }

    fn go_on(&mut self, at: usize, tasks: Vec<Task>) {
        let mut tasks = VecDeque::from(tasks);
        while let Some(task) = tasks.pop_front() {
            tasks.extend(match task {
                Task::Send(number) => {
                    let (_, outgoing) = self.devices[at].sending(number).unwrap().clone();
                    let placed = self.place(at, outgoing);
                    let answer = placed.as_ref().map(|seq| *seq);
                    let answer = answer.map_err(Refusal::code);
                    self.devices[at].answered(number, answer, now())
                }
                Task::AskWelcome => self.devices[at].welcome(None, now()),
                Task::AskGroup => {
                    let group = self.delivery.as_ref().map(|delivery| {
                        let (group_info, tree) = delivery.reentry();
                        let (epoch, seq) = (delivery.epoch(), 0);
                        keys::Group {
                            epoch,
                            seq,
                            group_info,
                            tree,
                        }
                    });
                    self.devices[at].group(group.as_ref(), now())
                }
                Task::Resume(_) => Vec::new(),
                Task::Restart => {
                    let head = self.journal.len() as u64;
                    self.devices[at].connected(head, now())
                }
            });
        }
    }

    fn place(&mut self, at: usize, content: Outgoing) -> Result<u64, Refusal> {
        let who = self.devices[at].who();
        let by = Proven {
            user: who.user.clone(),
            identity: who.identity().public(),
        };
        match (&content, &mut self.delivery) {
            (Outgoing::Sealed(bytes), Some(group)) => drop(group.decide_message(bytes, &by)?),
            (Outgoing::Sealed(_), None) => return Err(Refusal::NotAMember),
            (Outgoing::Handshake(bytes), group) => match (Handshake::decode(bytes)?, group) {
                (Handshake::Founding(founding), group) => {
                    *group = Some(Delivery::found(self.room.clone(), &founding, &by, now())?);
                }
                (Handshake::Bundle(bundle), Some(group)) => {
                    let accepted = group.decide(&bundle, &by, now())?;
                    group.apply(accepted);
                }
                (Handshake::Leave(bytes), Some(group)) => {
                    let leaf = group.decide_leave(&bytes, &by)?;
                    group.apply_leave(leaf);
                }
                _ => return Err(Refusal::Malformed),
            },
        }
        let seq = self.journal.len() as u64 + 1;
        self.journal.push(Journaled {
            seq,
            at: now_ms(),
            from: by.user.to_string(),
            content,
        });
        Ok(seq)
    }

    fn says(&mut self, at: usize, text: &str) {
        let tasks = self.devices[at].say(text, now());
        self.go_on(at, tasks);
        self.settle();
    }

    fn does(&mut self, at: usize, what: impl FnOnce(&mut Device) -> Vec<Task>) {
        let tasks = what(&mut self.devices[at]);
        self.go_on(at, tasks);
        self.settle();
    }

    fn broken(&self) -> Vec<String> {
        let people: BTreeMap<String, Public> = self
            .devices
            .iter()
            .map(|one| (one.who().user.to_string(), one.who().identity().public()))
            .collect();
        let (broken, _) = check(Seen {
            room: &self.room,
            people: &people,
            journal: &self.journal,
            devices: &self.notes,
            is_over: true,
        });
        broken
    }

    fn notes(&mut self, user: &str) -> &mut Vec<Noted> {
        self.notes.get_mut(&format!("{user}/phone")).unwrap()
    }
}

fn now() -> u64 {
    now_ms() / 1000
}

/// A room of three that have said something, in several epochs.
fn a_room() -> World {
    let mut world = World::new(&["ann", "bob", "cleo"]);
    world.says(0, "one");
    world.says(1, "two");
    world.does(2, |cleo| cleo.tick(now() + 8 * 86_400));
    world.says(2, "three");
    world.says(0, "four");
    assert_eq!(world.broken(), [""; 0]);
    world
}

fn is_read(noted: &Noted) -> bool {
    matches!(noted.note, Note::Read { .. })
}

/// Breaks something, and looks whether the checker says so.
fn is_said(what: &str, change: impl FnOnce(&mut World)) {
    let mut world = a_room();
    change(&mut world);
    let broken = world.broken();
    assert!(broken.iter().any(|one| one.contains(what)), "{broken:?}");
}

#[test]
fn a_message_that_a_member_has_missed_is_noticed() {
    is_said("bob/phone read 2 messages of 3: missed", |world| {
        let notes = world.notes("bob");
        let at = notes.iter().rposition(is_read).unwrap();
        notes.remove(at);
    });
}

#[test]
fn a_message_that_is_read_twice_or_out_of_order_is_noticed() {
    is_said("not in order, or not once", |world| {
        let notes = world.notes("bob");
        let again = notes.iter().find(|noted| is_read(noted)).unwrap().clone();
        notes.push(again);
    });
    is_said("not in order, or not once", |world| {
        let notes = world.notes("bob");
        let reads: Vec<_> = (0..notes.len()).filter(|at| is_read(&notes[*at])).collect();
        notes.swap(reads[0], reads[1]);
    });
}

#[test]
fn a_message_that_is_read_otherwise_than_it_was_said_is_noticed() {
    is_said("read besides", |world| {
        for noted in world.notes("bob") {
            if let Note::Read { text, .. } = &mut noted.note {
                text.push('!');
            }
        }
    });
}

#[test]
fn what_was_said_once_and_is_there_twice_or_nowhere_is_noticed() {
    is_said("\"four\" is at 8 and at 9", |world| {
        let mut again = world.journal.last().unwrap().clone();
        again.seq += 1;
        world.journal.push(again);
    });
    is_said("was told that \"four\" is at 8; it is at None", |world| {
        world.journal.pop();
    });
    is_said("does not know what became of [\"five\"]", |world| {
        let note = Note::Said {
            text: "five".into(),
        };
        world.notes("ann").push(Noted { seq: 8, note });
    });
}

#[test]
fn a_commit_that_is_gone_or_there_twice_is_noticed() {
    let is_change = |event: &Journaled| matches!(event.content, Outgoing::Handshake(_));
    is_said("does not follow", |world| {
        let at = world.journal.iter().rposition(is_change).unwrap();
        world.journal.remove(at);
    });
    is_said("does not follow", |world| {
        let at = world.journal.iter().rposition(is_change).unwrap();
        let again = world.journal[at].clone();
        world.journal.push(Journaled { seq: 9, ..again });
    });
}

#[test]
fn who_excuses_itself_without_a_reason_is_noticed() {
    is_said("bob/phone went at 3 without a reason", |world| {
        let went = Noted {
            seq: 3,
            note: Note::Went,
        };
        let notes = world.notes("bob");
        notes.retain(|noted| !is_read(noted));
        notes.push(went);
    });
    is_said("bob/phone lost its group", |world| {
        let note = Note::Lost("somebody".into());
        world.notes("bob").push(Noted { seq: 3, note });
    });
}

#[test]
fn who_left_crashed_or_lost_its_state_reads_what_it_can_and_is_not_blamed() {
    let mut world = a_room();
    world.does(1, |bob| bob.leave(now()));
    world.says(0, "bob is not to read this");
    world.does(1, |bob| {
        bob.come_back();
        vec![Task::Restart]
    });
    world.says(0, "welcome back");
    world.does(2, |cleo| {
        cleo.crash();
        vec![Task::Restart]
    });
    world.devices[2].crash_before_it_sends(true);
    world.says(2, "this dies with the program");
    world.says(2, "this does not");
    world.does(2, |cleo| {
        cleo.forget();
        vec![Task::Restart]
    });
    world.says(0, "all read this");
    assert_eq!(world.broken(), [""; 0]);
    let texts = world
        .notes("bob")
        .iter()
        .filter_map(|noted| match &noted.note {
            Note::Read { text, .. } => Some(text.as_str()),
            _ => None,
        });
    let expected = [
        "one",
        "three",
        "four",
        "welcome back",
        "this does not",
        "all read this",
    ];
    assert_eq!(texts.collect::<Vec<_>>(), expected);
}
