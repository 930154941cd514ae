//! The verdict on a sealed room: what its devices noted, against its journal. Pure.
//!
//! Whoever was in the group when a message was placed, and in an epoch that it can read, reads it
//! once, in its place, as it was said. From before a device came (back) it reads nothing: MLS gives
//! it no key for that. Those are counted.

use super::{
    note::{Note, Noted},
    replay::{Journaled, Message, Replay},
};
use seal::{Name, Public};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What of one kind is told at most.
const TOLD: usize = 5;

/// How much of what there was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Devices.
    pub devices: u64,
    /// Epochs of the group.
    pub epochs: u64,
    /// Messages in the journal.
    pub journaled: u64,
    /// Readings of them by other devices.
    pub read: u64,
    /// Readings that there were not, because the device was out of the group, or came (back) later.
    pub not_theirs: u64,
    /// How often a device came in, or back, after the first time.
    pub came_back: u64,
    /// Crashes, those between storing and sending included.
    pub crashes: u64,
    /// How often a device lost all that it had stored but its keys.
    pub forgot: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.devices += more.devices;
        self.epochs += more.epochs;
        self.journaled += more.journaled;
        self.read += more.read;
        self.not_theirs += more.not_theirs;
        self.came_back += more.came_back;
        self.crashes += more.crashes;
        self.forgot += more.forgot;
    }
}

/// What is known of a room.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The room.
    pub room: &'a Name,
    /// The identity of each user.
    pub people: &'a BTreeMap<String, Public>,
    /// Messages and handshakes of the room, all of them, in their order.
    pub journal: &'a [Journaled],
    /// What each device noted, by `user/device`.
    pub devices: &'a BTreeMap<String, Vec<Noted>>,
    /// Whether everything had its time: what was said must be decided then.
    pub is_over: bool,
}

/// A time that a device was in the group.
struct Stay {
    /// The first epoch that it reads.
    epoch: u64,
    /// It reads nothing up to this place.
    after: u64,
    /// It reads up to this place.
    until: u64,
}

/// What is broken, and how much there was.
pub fn check(seen: Seen<'_>) -> (Vec<String>, Counts) {
    let replay = Replay::of(seen.room, seen.people, seen.journal);
    let mut checker = Checker {
        broken: replay.broken.clone(),
        count: Counts::default(),
        said: HashMap::new(),
        places: HashMap::new(),
    };
    checker.count.devices = seen.devices.len() as u64;
    checker.count.epochs = replay.epochs.len() as u64;
    checker.count.journaled = replay.messages.len() as u64;
    checker.messages(&replay, seen.devices);
    for (name, notes) in seen.devices {
        checker.device(name, notes, &replay);
        checker.said(name, notes, seen.is_over);
    }
    (checker.broken, checker.count)
}

struct Checker<'a> {
    broken: Vec<String>,
    count: Counts,
    /// From which device what is in a message, by its bytes.
    said: HashMap<&'a [u8], (&'a str, &'a str)>,
    /// Where what was said is.
    places: HashMap<&'a str, u64>,
}

impl<'a> Checker<'a> {
    /// Each message is one that was sent, of who is said to have sent it, and is there once.
    fn messages(&mut self, replay: &Replay<'a>, devices: &'a BTreeMap<String, Vec<Noted>>) {
        for (name, notes) in devices {
            for noted in notes {
                if let Note::Sent { text, bytes } = &noted.note {
                    self.said.insert(bytes, (name, text));
                }
            }
        }
        for Message {
            seq, from, bytes, ..
        } in &replay.messages
        {
            let Some((name, text)) = self.said.get(bytes) else {
                self.broken
                    .push(format!("seq {seq} holds what no device has sent"));
                continue;
            };
            if name.split('/').next() != Some(from) {
                self.broken
                    .push(format!("seq {seq} of {name} is said to be of {from}"));
            }
            if let Some(first) = self.places.insert(text, *seq) {
                self.broken
                    .push(format!("{text:?} is at {first} and at {seq}"));
            }
        }
    }

    /// What a device read is what it had to read.
    fn device(&mut self, name: &str, notes: &[Noted], replay: &Replay<'a>) {
        let stays = self.stays(name, notes, replay);
        let mut expected = Vec::new();
        for message in &replay.messages {
            let Some((by, text)) = self.said.get(message.bytes) else {
                continue;
            };
            let reads = |stay: &Stay| {
                message.epoch >= stay.epoch && (stay.after..=stay.until).contains(&message.seq)
            };
            // Its keys went with whoever sent it, before it was placed.
            let is_of_nobody = !message.members.contains(*by);
            match *by == name || is_of_nobody {
                true => {}
                false if stays.iter().any(reads) => expected.push((message.seq, *by, *text)),
                false => self.count.not_theirs += 1,
            }
        }
        let read = notes.iter().filter_map(|noted| match &noted.note {
            Note::Read { seq, from, text } => Some((*seq, from.as_str(), text.as_str())),
            _ => None,
        });
        let read: Vec<_> = read.collect();
        self.count.read += read.len() as u64;
        if read != expected {
            let (had, should): (BTreeSet<_>, BTreeSet<_>) =
                (read.iter().collect(), expected.iter().collect());
            let missed: Vec<_> = should.difference(&had).take(TOLD).collect();
            let more: Vec<_> = had.difference(&should).take(TOLD).collect();
            let what = match missed.is_empty() && more.is_empty() {
                true => "not in order, or not once".to_owned(),
                false => format!("missed {missed:?}, and read besides {more:?}"),
            };
            self.broken.push(format!(
                "{name} read {} messages of {}: {what}",
                read.len(),
                expected.len()
            ));
        }
        self.unreadable(name, notes, replay);
    }

    /// What could not be read is of somebody who had gone, or from before the device came.
    fn unreadable(&mut self, name: &str, notes: &[Noted], replay: &Replay<'a>) {
        let mut came = 0;
        for noted in notes {
            match &noted.note {
                Note::Came { epoch } => came = *epoch,
                Note::Unreadable { seq, why } => {
                    let message = replay.messages.iter().find(|message| message.seq == *seq);
                    let is_explained = message.is_some_and(|message| {
                        let by = self.said.get(message.bytes).map(|(by, _)| *by);
                        message.epoch < came || by.is_some_and(|by| !message.members.contains(by))
                    });
                    if !is_explained {
                        self.broken
                            .push(format!("{name} cannot read seq {seq}: {why}"));
                    }
                }
                _ => {}
            }
        }
    }

    /// When it was in the group, by what it noted; no device may excuse itself without a reason.
    fn stays(&mut self, name: &str, notes: &[Noted], replay: &Replay<'a>) -> Vec<Stay> {
        let mut stays: Vec<Stay> = Vec::new();
        let (mut is_in, mut is_reset) = (false, false);
        for Noted { seq, note } in notes {
            match note {
                Note::Came { epoch } => {
                    is_in = true;
                    let Some(after) = replay.epochs.get(epoch) else {
                        let what = format!("{name} came in epoch {epoch}, which nobody made");
                        self.broken.push(what);
                        continue;
                    };
                    self.count.came_back += u64::from(!stays.is_empty());
                    stays.push(Stay {
                        epoch: *epoch,
                        after: *after,
                        until: u64::MAX,
                    });
                }
                Note::Went | Note::Forgot => {
                    let gone = replay.went.get(name);
                    let is_reason =
                        *note == Note::Forgot || gone.is_some_and(|gone| gone.contains(seq));
                    if is_in && !is_reason && !is_reset {
                        self.broken.push(format!(
                            "{name} went at {seq} without a reason; it had one at {gone:?}"
                        ));
                    }
                    if let Some(last) = stays.last_mut().filter(|_| is_in) {
                        last.until = *seq;
                    }
                    is_in = false;
                    self.count.forgot += u64::from(*note == Note::Forgot);
                }
                Note::Reset => is_reset = true,
                Note::Crashed => self.count.crashes += 1,
                Note::Lost(why) if is_in && !is_reset => {
                    self.broken
                        .push(format!("{name} lost its group at {seq}: {why}"));
                }
                Note::Broken(what) => self.broken.push(format!("{name}: {what}")),
                _ => {}
            }
        }
        stays
    }

    /// What became of what it said is so, and is known in the end.
    fn said(&mut self, name: &str, notes: &'a [Noted], is_over: bool) {
        let (mut open, mut placed) = (BTreeSet::new(), BTreeSet::new());
        for Noted { note, .. } in notes {
            match note {
                Note::Said { text } => drop(open.insert(text.as_str())),
                Note::Crashed | Note::Forgot => open.clear(),
                Note::Placed { seq, text } => {
                    open.remove(text.as_str());
                    let is_at = self.places.get(text.as_str());
                    if is_at != Some(seq) || !placed.insert(text.as_str()) {
                        self.broken.push(format!(
                            "{name} was told that {text:?} is at {seq}; it is at {is_at:?}"
                        ));
                    }
                }
                Note::Refused { text, reason } => {
                    open.remove(text.as_str());
                    if let Some(seq) = self.places.get(text.as_str()) {
                        self.broken.push(format!(
                            "{name} was told that {text:?} was refused ({reason}); it is at {seq}"
                        ));
                    }
                }
                _ => {}
            }
        }
        if is_over && !open.is_empty() {
            let some: Vec<_> = open.iter().take(TOLD).collect();
            self.broken
                .push(format!("{name} does not know what became of {some:?}"));
        }
    }
}
