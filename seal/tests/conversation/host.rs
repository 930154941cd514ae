//! A device as its host runs it, with what is on its way to and from a room.

use crate::world::{self, Client, Entry, Server, key_of, now, room};
use seal::conversation::{Conversation, Effect, Outgoing, Show};
use seal::member::{Frame, How, Member, Shown};
use seal::rules::JoinPolicy;
use seal::{Handshake, Refusal, Shelf};
use std::collections::VecDeque;

/// A device and what runs it.
pub(crate) struct Host {
    pub(crate) person: Client,
    pub(crate) conversation: Conversation,
    /// What survives a crash.
    pub(crate) stored: Shelf,
    /// The next event that the room sends, from 1 on; 0: there is no connection.
    pub(crate) next: u64,
    pub(crate) effects: VecDeque<Effect>,
    /// Answers that are on their way.
    pub(crate) answers: VecDeque<(u64, Result<u64, String>)>,
    pub(crate) policy: JoinPolicy,
    /// Whether the room lets it found its group.
    pub(crate) may_found: bool,
    /// Whether its user is asked, and does not agree to everything.
    pub(crate) asks: bool,
    /// The place whose content the server does not show.
    pub(crate) hidden: Option<u64>,
    /// Seconds that its clock is ahead when it hears events.
    pub(crate) later: u64,
    pub(crate) shown: Vec<Show>,
    /// What it has said, and read, in the room.
    pub(crate) said: Vec<(u64, String)>,
}

impl Host {
    pub(crate) fn new(user: &str, seed: u8, policy: JoinPolicy) -> Self {
        Self::with_device(user, seed, "phone", policy)
    }

    pub(crate) fn with_device(user: &str, seed: u8, device: &str, policy: JoinPolicy) -> Self {
        let person = Client::new(user, device, seed);
        let certificate =
            person
                .identity
                .certify(person.user.clone(), person.device.clone(), &person.key);
        let member = Member::new(person.key.clone(), certificate);
        Self {
            conversation: Conversation::new(member, room(), policy, [seed; 16]),
            person,
            stored: Shelf::default(),
            next: 0,
            effects: VecDeque::new(),
            answers: VecDeque::new(),
            policy,
            may_found: true,
            asks: false,
            hidden: None,
            later: 0,
            shown: Vec::new(),
            said: Vec::new(),
        }
    }

    pub(crate) fn publish(&mut self, server: &mut Server) {
        let step = self.conversation.member_mut().publish(3, now()).unwrap();
        self.stored.store(step.changes).unwrap();
        for frame in step.frames {
            let (by, device) = (self.person.proven(), self.person.device.clone());
            server.take(&by, &device, &frame).unwrap();
        }
    }

    pub(crate) fn connect(&mut self, server: &Server) {
        let head = server.journal.len() as u64;
        self.next = self.conversation.since().unwrap_or(head) + 1;
        self.effects
            .extend(self.conversation.connected(head, now()));
    }

    pub(crate) fn disconnect(&mut self) {
        self.next = 0;
        self.conversation.disconnected();
        // Whatever was under way is sent again, and answered, with the next connection.
    }

    /// The program ends without a warning: only what was stored is left.
    pub(crate) fn crash(&mut self) {
        let seed = self.person.identity.seed()[0];
        let member = match self.stored.revision() {
            0 => {
                let (person, key) = (&self.person, &self.person.key);
                let identity = &person.identity;
                let names = (person.user.clone(), person.device.clone());
                Member::new(key.clone(), identity.certify(names.0, names.1, key))
            }
            _ => {
                let shelf = Shelf::decode(&self.stored.encode()).unwrap();
                Member::restore(shelf).unwrap()
            }
        };
        self.conversation = Conversation::new(member, room(), self.policy, [seed; 16]);
        self.next = 0;
        self.effects.clear();
        self.answers.clear();
    }

    pub(crate) fn say(&mut self, text: &str) {
        let effects = self.conversation.say(text.as_bytes(), now()).unwrap();
        self.effects.extend(effects);
    }

    pub(crate) fn add(&mut self, server: &mut Server, other: &Self) -> bool {
        let package = server.claim(&other.person.user, &other.person.device);
        let person = other.person.person();
        let added = self.conversation.add(&person, &[package], now());
        let is_added = added.is_ok();
        self.effects.extend(added.into_iter().flatten());
        is_added
    }

    pub(crate) fn remove(&mut self, other: &str) {
        let removed = self.conversation.remove(&world::name(other), None, now());
        self.effects.extend(removed.into_iter().flatten());
    }

    /// Does one thing that is to be done; `false`: there is none.
    pub(crate) fn act(&mut self, server: &mut Server) -> bool {
        if self.next == 0 {
            return false;
        }
        if let Some(effect) = self.effects.pop_front() {
            self.effect(effect, server);
            return true;
        }
        if let Some((number, answer)) = self.answers.pop_front() {
            let answer = answer.as_ref().map(|seq| *seq).map_err(String::as_str);
            let effects = self.conversation.answered(number, answer, now());
            self.effects.extend(effects);
            return true;
        }
        let Some(entry) = server.journal.get(self.next as usize - 1) else {
            return false;
        };
        let content = content(entry);
        let content = (self.hidden != Some(self.next)).then_some(&content);
        let later = now() + self.later;
        let effects = self.conversation.event(self.next, content, later);
        self.next += 1;
        self.effects.extend(effects);
        true
    }

    pub(crate) fn effect(&mut self, effect: Effect, server: &mut Server) {
        match effect {
            Effect::Store(changes) => self.stored.store(changes).unwrap(),
            Effect::Send(number, outgoing) => {
                let is_founding = matches!(frame_of(&outgoing), Ok(Frame::Found { .. }));
                let answer = match is_founding && !self.may_found {
                    true => Err("not_the_maker".into()),
                    false => {
                        let placed = self.place(&outgoing, server);
                        placed.map_err(|refusal| refusal.code().into())
                    }
                };
                self.answers.push_back((number, answer));
            }
            Effect::AskGroup => {
                let state = server.delivery.as_ref().map(seal::Delivery::reentry);
                let state = state.as_ref().map(|(info, tree)| (&info[..], &tree[..]));
                let effects = self.conversation.group(state, now());
                self.effects.extend(effects);
            }
            Effect::AskWelcome => {
                let key = key_of(&self.person.user, &self.person.device);
                let waiting = server.waiting.get(&key).cloned();
                let found = waiting.as_ref().map(|waiting| {
                    let admission = &waiting.admission;
                    (
                        waiting.after as u64,
                        &admission.welcome[..],
                        &admission.tree[..],
                    )
                });
                let effects = self.conversation.welcome(found, now());
                self.effects.extend(effects);
                if !self.conversation.is_asking() {
                    server.waiting.remove(&key);
                }
            }
            Effect::Resume(seq) => self.next = seq + 1,
            Effect::Show(show) => self.show(show),
        }
    }

    /// The writer decides it; the same again has the same place.
    pub(crate) fn place(&self, outgoing: &Outgoing, server: &mut Server) -> Result<u64, Refusal> {
        let same = |entry: &Entry| content(entry) == *outgoing;
        let frame = frame_of(outgoing)?;
        if server.delivery.is_none() && !matches!(frame, Frame::Found { .. }) {
            return Err(Refusal::NotAMember);
        }
        server.take(&self.person.proven(), &self.person.device, &frame)?;
        let at = server.journal.iter().rposition(same);
        Ok(at.map_or(server.journal.len(), |at| at + 1) as u64)
    }

    pub(crate) fn show(&mut self, show: Show) {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        match &show {
            Show::Said { seq, content } => self.said.push((*seq, text(&content.0))),
            Show::Room {
                seq: Some(seq),
                what: Shown::Message { content, .. },
            } => self.said.push((*seq, text(&content.0))),
            Show::Ask(_) if !self.asks => self.effects.extend(self.conversation.agree(now())),
            _ => {}
        }
        self.shown.push(show);
    }

    /// How it came in, each time.
    pub(crate) fn came(&self) -> Vec<How> {
        let how = |show: &Show| match show {
            Show::Room { what, .. } => match what {
                Shown::Changed {
                    how: How::Change | How::Gone,
                    ..
                } => None,
                Shown::Changed { how, .. } => Some(*how),
                _ => None,
            },
            _ => None,
        };
        self.shown.iter().filter_map(how).collect()
    }

    pub(crate) fn is_in(&self) -> bool {
        self.conversation.member().is_in(&room())
    }

    pub(crate) fn said(&self) -> Vec<&str> {
        self.said.iter().map(|(_, text)| text.as_str()).collect()
    }
}

pub(crate) fn frame_of(outgoing: &Outgoing) -> Result<Frame, Refusal> {
    let room = room();
    Ok(match outgoing {
        Outgoing::Sealed(bytes) => Frame::Message {
            room,
            bytes: bytes.clone(),
        },
        Outgoing::Handshake(bytes) => match Handshake::decode(bytes)? {
            Handshake::Founding(founding) => Frame::Found { room, founding },
            Handshake::Bundle(bundle) => Frame::Change { room, bundle },
            Handshake::Leave(bytes) => Frame::Leave { room, bytes },
            Handshake::Devices(list) => Frame::Devices { room, list },
            Handshake::Report(epoch) => Frame::Report { room, epoch },
        },
    })
}

/// An event as a client gets it. The writer of these tests keeps the parts that devices need.
pub(crate) fn content(entry: &Entry) -> Outgoing {
    let handshake = match entry {
        Entry::Message { bytes, .. } => return Outgoing::Sealed(bytes.clone()),
        Entry::Founded(info) => Handshake::Founding(seal::Founding {
            group_info: info.clone(),
            tree: Vec::new(),
        }),
        Entry::Commit(commit) => Handshake::Bundle(seal::Bundle {
            commit: commit.clone(),
            welcome: None,
            group_info: Vec::new(),
        }),
        Entry::Leave(bytes) => Handshake::Leave(bytes.clone()),
        Entry::Devices(list) => Handshake::Devices(list.clone()),
    };
    Outgoing::Handshake(handshake.encode())
}
