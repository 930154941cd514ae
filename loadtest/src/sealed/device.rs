//! A device in a sealed room with its user, without I/O: [`Conversation`] as a terminal runs it,
//! what survives a crash, and notes of all that was said, read and shown.

use super::note::{Note, Noted};
use safe_chat_client::{KeyPair, keys};
use seal::{
    Certificate, Conversation, DeviceKey, Identity, Member, Name, Shelf,
    conversation::{Effect, Outgoing, Show},
    member::{Error, Frame, Holder, Person, Shown},
    rules::JoinPolicy,
};
use std::collections::BTreeMap;

/// Whose device it is, and in which room.
#[derive(Debug, Clone)]
pub struct Who {
    /// The room.
    pub room: Name,
    /// Who comes in by themselves, if this device founds the group.
    pub policy: JoinPolicy,
    /// The name of its person.
    pub user: Name,
    /// The device.
    pub device: Name,
    /// Of the person's identity.
    pub seed: [u8; 32],
}

impl Who {
    /// The person's key, as the protocol knows it.
    pub fn key_pair(&self) -> KeyPair {
        KeyPair::from_seed(&self.seed)
    }

    /// The person's identity.
    pub fn identity(&self) -> Identity {
        Identity::from_seed(&self.seed)
    }

    /// Names it in notes.
    pub fn name(&self) -> String {
        format!("{}/{}", self.user, self.device)
    }

    /// A key of the device itself, another one for each of its names.
    fn device_key(&self) -> DeviceKey {
        let mut seed = self.seed;
        let name = self.device.as_str().bytes().enumerate();
        name.for_each(|(at, byte)| seed[at % 32] ^= byte.rotate_left(3));
        seed[31] ^= 0x55;
        DeviceKey::from_seed(&seed)
    }

    /// It, when it has been nowhere yet.
    pub(crate) fn fresh(&self) -> Member {
        let key = self.device_key();
        let (user, device) = (self.user.clone(), self.device.clone());
        let certificate: Certificate = self.identity().certify(user, device, &key);
        Member::new(key, certificate)
    }
}

/// What a device waits for that knows of somebody who is to go.
pub const REMOVAL: &str = "somebody to be removed";

/// What is to be done outside, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Send what has this number: [`Device::sending`].
    Send(u64),
    /// Ask for the public state of the group: [`Device::group`].
    AskGroup,
    /// Ask for a welcome: [`Device::welcome`].
    AskWelcome,
    /// Read the room again from behind this place.
    Resume(u64),
    /// The program ended: begin again from [`Device::since`], with nothing under way.
    Restart,
}

/// See the module.
pub struct Device {
    who: Who,
    conversation: Conversation,
    /// What is on its disk.
    shelf: Shelf,
    /// What was sent and is not answered, with the id that it has.
    sending: BTreeMap<u64, (String, Outgoing)>,
    /// Programs that were started on the device: ids of each are its own.
    starts: u64,
    /// The last event that was read.
    seq: u64,
    is_member: bool,
    /// It ends when it has stored what it was to send next.
    is_doomed: bool,
    noted: Vec<Noted>,
}

impl Device {
    /// One that was never in its room.
    pub fn new(who: Who) -> Self {
        let member = who.fresh();
        Self {
            conversation: Self::converse(&who, member),
            who,
            shelf: Shelf::default(),
            sending: BTreeMap::new(),
            starts: 0,
            seq: 0,
            is_member: false,
            is_doomed: false,
            noted: Vec::new(),
        }
    }

    fn converse(who: &Who, member: Member) -> Conversation {
        Conversation::new(member, who.room.clone(), who.policy, rand::random())
    }

    /// Whose it is.
    pub fn who(&self) -> &Who {
        &self.who
    }

    /// Behind which place the room is to be read; `None`: from now on.
    pub fn since(&self) -> Option<u64> {
        self.conversation.since()
    }

    /// What is sent under a number, and its id.
    pub fn sending(&self, number: u64) -> Option<&(String, Outgoing)> {
        self.sending.get(&number)
    }

    /// All that is not answered, in the order in which it was made.
    pub fn unanswered(&self) -> Vec<u64> {
        self.sending.keys().copied().collect()
    }

    /// What was noted since this was asked last.
    pub fn noted(&mut self) -> Vec<Noted> {
        std::mem::take(&mut self.noted)
    }

    /// How it is.
    pub fn standing(&self) -> Standing {
        let (member, room) = (self.conversation.member(), &self.who.room);
        Standing {
            is_in: member.is_in(room),
            is_out: member.is_out(room),
            waits_for: match () {
                () if !self.sending.is_empty() => Some("an answer"),
                () if !self.conversation.is_settled() => Some("what it said"),
                () if member.outstanding_in(room).is_some() => Some("a change"),
                () if member.is_to_tidy(room) => Some(REMOVAL),
                () => None,
            },
            seq: self.seq,
            epoch: member.epoch(room),
            code: member.room_code(room),
            members: names(&member.members(room)),
        }
    }

    /// A session began, and events up to `head` follow. Times are seconds since 1970.
    pub fn connected(&mut self, head: u64, now: u64) -> Vec<Task> {
        if self.since().is_none() {
            self.seq = self.seq.max(head);
        }
        let effects = self.conversation.connected(head, now);
        self.perform(effects, now)
    }

    /// The connection is gone.
    pub fn disconnected(&mut self) {
        self.conversation.disconnected();
    }

    /// Continuity was lost.
    pub fn missed(&mut self, now: u64) -> Vec<Task> {
        self.note(Note::Reset);
        let effects = self.conversation.missed(now);
        self.perform(effects, now)
    }

    /// The next event of the room.
    pub fn event(&mut self, seq: u64, content: Option<&Outgoing>, now: u64) -> Vec<Task> {
        self.seq = seq;
        let effects = self.conversation.event(seq, content, now);
        self.perform(effects, now)
    }

    /// What became of what was sent: its place, or the protocol's reason.
    pub fn answered(&mut self, number: u64, answer: Result<u64, &str>, now: u64) -> Vec<Task> {
        self.sending.remove(&number);
        let effects = self.conversation.answered(number, answer, now);
        self.perform(effects, now)
    }

    /// The answer to [`Task::AskGroup`].
    pub fn group(&mut self, found: Option<&keys::Group>, now: u64) -> Vec<Task> {
        let state = found.map(|it| (&it.group_info[..], &it.tree[..]));
        let effects = self.conversation.group(state, now);
        self.perform(effects, now)
    }

    /// The answer to [`Task::AskWelcome`].
    pub fn welcome(&mut self, found: Option<&keys::Welcome>, now: u64) -> Vec<Task> {
        let found = found.map(|it| (it.seq, &it.welcome[..], &it.tree[..]));
        let effects = self.conversation.welcome(found, now);
        self.perform(effects, now)
    }

    /// Its user says something.
    pub fn say(&mut self, text: &str, now: u64) -> Vec<Task> {
        match self.conversation.say(text.as_bytes(), now) {
            Ok(effects) => {
                self.note(Note::Said { text: text.into() });
                self.perform(effects, now)
            }
            // So much waits already: it was not said.
            Err(_) => Vec::new(),
        }
    }

    /// Time goes on.
    pub fn tick(&mut self, now: u64) -> Vec<Task> {
        let effects = self.conversation.tick(now);
        self.perform(effects, now)
    }

    /// Its user leaves the group, and stays out until [`Device::come_back`].
    pub fn leave(&mut self, now: u64) -> Vec<Task> {
        let left = self.conversation.leave(now);
        self.changed(left, now)
    }

    /// Its user has the devices of these key packages, of this person, come in.
    pub fn add(&mut self, person: &Person, packages: &[Vec<u8>], now: u64) -> Vec<Task> {
        let added = self.conversation.add(person, packages, now);
        self.changed(added, now)
    }

    /// Its user removes somebody with all devices.
    pub fn remove(&mut self, user: &Name, now: u64) -> Vec<Task> {
        let removed = self.conversation.remove(user, None, now);
        self.changed(removed, now)
    }

    /// Nothing changes when it cannot be: a change is on its way, or the device is not in.
    fn changed(&mut self, effects: Result<Vec<Effect>, Error>, now: u64) -> Vec<Task> {
        match effects {
            Ok(effects) => self.perform(effects, now),
            Err(error) => {
                self.not_done(error.to_string());
                Vec::new()
            }
        }
    }

    /// What its user wanted could not be done.
    pub fn not_done(&mut self, why: String) {
        self.note(Note::NotDone(why));
    }

    /// Key packages to publish: for one use each, and the last resort.
    pub fn publish(&mut self, count: usize, now: u64) -> Option<(Vec<Vec<u8>>, Vec<u8>)> {
        let step = self.conversation.member_mut().publish(count, now).ok()?;
        self.store(step.changes);
        step.frames.into_iter().find_map(|frame| match frame {
            Frame::Publish {
                one_time,
                last_resort,
            } => Some((one_time, last_resort)),
            _ => None,
        })
    }

    /// The program ends now, and starts again: it has what was stored.
    pub fn crash(&mut self) {
        self.note(Note::Crashed);
        self.restart();
    }

    /// Whether it ends as soon as it has stored something that it is to send, and has not sent it.
    pub fn crash_before_it_sends(&mut self, is_doomed: bool) {
        self.is_doomed = is_doomed;
    }

    /// Its user starts the program again, after having left.
    pub fn come_back(&mut self) {
        self.note(Note::Crashed);
        self.restart();
    }

    /// All that it had stored is gone but its keys.
    pub fn forget(&mut self) {
        self.note(Note::Forgot);
        self.shelf = Shelf::default();
        self.is_member = false;
        self.restart();
    }

    fn restart(&mut self) {
        let member = match self.shelf.revision() {
            0 => self.who.fresh(),
            _ => match self.stored() {
                Ok(member) => member,
                Err(error) => {
                    self.odd(format!("what it had stored cannot be read: {error}"));
                    self.who.fresh()
                }
            },
        };
        self.conversation = Self::converse(&self.who, member);
        self.sending.clear();
        self.starts += 1;
        self.is_doomed = false;
        self.look();
    }

    fn stored(&self) -> Result<Member, Error> {
        Member::restore(Shelf::decode(&self.shelf.encode())?)
    }

    fn store(&mut self, changes: seal::Changes) {
        if let Err(error) = self.shelf.store(changes) {
            self.odd(format!(
                "a step does not follow what it has stored: {error}"
            ));
        }
    }

    fn perform(&mut self, effects: Vec<Effect>, now: u64) -> Vec<Task> {
        let mut tasks = Vec::new();
        for effect in effects {
            match effect {
                Effect::Store(changes) => self.store(changes),
                Effect::Send(..) if self.is_doomed => {
                    self.crash();
                    return vec![Task::Restart];
                }
                Effect::Send(number, outgoing) => {
                    self.send(number, outgoing);
                    tasks.push(Task::Send(number));
                }
                Effect::AskGroup => tasks.push(Task::AskGroup),
                Effect::AskWelcome => tasks.push(Task::AskWelcome),
                Effect::Resume(seq) => {
                    self.seq = seq;
                    tasks.push(Task::Resume(seq));
                }
                Effect::Show(Show::Ask(_)) => {
                    self.note(Note::Asked);
                    let agreed = self.conversation.agree(now);
                    tasks.extend(self.perform(agreed, now));
                    if tasks.last() == Some(&Task::Restart) {
                        return tasks;
                    }
                }
                Effect::Show(show) => self.show(show),
            }
        }
        self.look();
        tasks
    }

    fn send(&mut self, number: u64, outgoing: Outgoing) {
        if let Outgoing::Sealed(bytes) = &outgoing {
            let said = self.conversation.said_under(number).unwrap_or_default();
            let (text, bytes) = (text_of(said), bytes.clone());
            self.note(Note::Sent { text, bytes });
        }
        let id = format!("{}-{}-{number}", self.who.device, self.starts);
        self.sending.insert(number, (id, outgoing));
    }

    fn show(&mut self, show: Show) {
        let note = match show {
            Show::Said { seq, content }
            | Show::Unread {
                seq,
                content: Some(content),
            } => Note::Placed {
                seq,
                text: text_of(&content.0),
            },
            Show::Refused {
                content: Some(content),
                reason,
            } => Note::Refused {
                text: text_of(&content.0),
                reason,
            },
            Show::Refused {
                content: None,
                reason,
            } => Note::ChangeRefused(reason),
            Show::Room {
                seq: Some(seq),
                what: Shown::Message { from, content },
            } => Note::Read {
                seq,
                from: name_of(&from),
                text: text_of(&content.0),
            },
            Show::Room {
                what: Shown::Lost(why),
                ..
            } => Note::Lost(why.into()),
            Show::Room {
                seq: Some(seq),
                what: Shown::Unreadable(why),
            } => Note::Unreadable {
                seq,
                why: why.into(),
            },
            Show::Odd(error) => Note::Odd(error.to_string()),
            Show::Unseen { seq, .. } => Note::Odd(format!("what is at #{seq} does not come")),
            Show::InVain(why) => Note::Odd(why.into()),
            Show::Room { .. }
            | Show::NotShared { .. }
            | Show::Missed { .. }
            | Show::Unread { content: None, .. }
            | Show::NotIn
            | Show::Revoked
            | Show::NotFounded
            | Show::Shut
            | Show::Ask(_) => return,
        };
        self.note(note);
    }

    /// Whether it came into the group, or went.
    fn look(&mut self) {
        let (member, room) = (self.conversation.member(), &self.who.room);
        let is_member = match self.is_member {
            true => !member.is_out(room),
            false => member.is_in(room),
        };
        let epoch = member.epoch(room).unwrap_or_default();
        if is_member != std::mem::replace(&mut self.is_member, is_member) {
            self.note(match is_member {
                true => Note::Came { epoch },
                false => Note::Went,
            });
        }
    }

    fn odd(&mut self, what: String) {
        self.note(Note::Broken(what));
    }

    fn note(&mut self, note: Note) {
        self.noted.push(Noted {
            seq: self.seq,
            note,
        });
    }
}

fn name_of(one: &Holder) -> String {
    format!("{}/{}", one.user, one.device)
}

fn names(all: &[Holder]) -> Vec<String> {
    all.iter().map(name_of).collect()
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// How a device is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// It is in the group.
    pub is_in: bool,
    /// It is not in, and may come in.
    pub is_out: bool,
    /// What is under way; `None`: nothing.
    pub waits_for: Option<&'static str>,
    /// The last place that it has read.
    pub seq: u64,
    /// The epoch that it knows the group in.
    pub epoch: Option<u64>,
    /// The room code.
    pub code: Option<String>,
    /// Devices in the group, as it knows it: `user/device`.
    pub members: Vec<String>,
}
