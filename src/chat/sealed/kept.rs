//! What a device has read and said in a room of late. A message is decrypted once, so whoever is to
//! see it again keeps it: beside the shelf, encrypted with the same key, a record behind the other,
//! on the disk before the shelf forgets what opens the message.

use super::store::{folder_of, private, write_whole};
use anyhow::{Context, Result};
use safe_chat_client::{Body, Event};
use seal::{Identity, Name, Public, content::Earlier, member::Content, shelf};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{ErrorKind, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// Messages of one room, at most, and bytes of their texts; the oldest go first.
const MOST: usize = 1000;
const MOST_BYTES: usize = 2 * 1024 * 1024;
/// Notes of one room, at most: what was shared, or asked for, and bytes of them.
const MOST_NOTES: (usize, usize) = (200, 1024 * 1024);
/// Records of a later version that are kept for it, at most, and their bytes.
const MOST_UNKNOWN: (usize, usize) = (200, 1024 * 1024);
/// What the author of a note begins with in a file. No name has a blank, so versions that know of
/// no notes skip them, and not what follows.
const NOTE: &str = "note ";
/// Own messages of which it is not known whether they are in the room.
const MOST_SENT: usize = 64;
/// Keys that are known to be former ones, and that came, at most: those of the largest group.
const MOST_KEYS: usize = 1000;
/// How long a message is kept, and the file of a room where nobody is any more: as the service
/// keeps what can be read again.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Tells one encrypted message from all others.
pub(super) type Hash = [u8; 32];

#[derive(Serialize, Deserialize)]
pub(super) enum Record {
    /// It was encrypted, to be sent.
    Sent { hash: Hash, text: String },
    /// It is at this place of the room. `sent`: it is that own message.
    Read {
        seq: u64,
        at: u64,
        from: String,
        text: String,
        sent: Option<Hash>,
    },
    /// It will never be in the room.
    Refused { hash: Hash },
    /// At this place there is no message, but something that is read so. Files have it as `Read`,
    /// of a [`NOTE`]; those of one version, as it is here.
    Noted(Note),
    /// The service says at this place that the name of who has this key has another one now.
    Former { seq: u64, key: String },
    /// Who has this key has come in with it.
    Current { key: String },
    /// The newest device of who has this key came in at this place, or before.
    Came { seq: u64, key: String },
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Note {
    pub(super) seq: u64,
    pub(super) at: u64,
    pub(super) from: String,
    pub(super) text: String,
}

impl Record {
    pub(super) fn sent(bytes: &[u8], text: &[u8]) -> Self {
        Self::Sent {
            hash: Kept::hash(bytes),
            text: String::from_utf8_lossy(text).into_owned(),
        }
    }
}

/// See the module.
pub(super) struct Kept {
    path: PathBuf,
    identity: Identity,
    about: String,
    file: File,
    /// Records that are not in the file yet.
    unwritten: Vec<u8>,
    /// Bytes of both.
    length: usize,
    messages: BTreeMap<u64, Earlier>,
    /// Of their texts.
    bytes: usize,
    notes: BTreeMap<u64, Note>,
    /// Keys that their names do not have any more, and since which place. What was said being
    /// forgotten is no reason to forget these.
    former: BTreeMap<String, u64>,
    /// Where the newest devices of others came in: they have read what was said since themselves.
    came: BTreeMap<String, u64>,
    /// Records that this version does not know, as they are.
    unknown: Vec<Vec<u8>>,
    /// Own messages that were not seen in the room yet.
    sent: Vec<(Hash, String)>,
    /// Those that were sent before this was opened.
    sent_before: Vec<Hash>,
}

impl Kept {
    /// What was kept of a room under a name, that of the key in `key_file`, whose store this
    /// program has.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub(super) fn open(
        key_file: &Path,
        identity: Identity,
        (room, user): (&str, &str),
    ) -> Result<Self> {
        // No name of a user has a dot.
        let folder = folder_of(key_file).join(format!("{user}.said"));
        let place = || format!("cannot keep what is said in {}", folder.display());
        let mut made = fs::DirBuilder::new();
        made.recursive(true).mode(0o700);
        made.create(&folder).with_context(place)?;
        trim_old_rooms(&folder).with_context(place)?;
        let path = folder.join(room);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            bytes => bytes.with_context(place)?,
        };
        let mut kept = Self {
            file: private().append(true).open(&path).with_context(place)?,
            path,
            identity,
            about: format!("said {user}/{room}"),
            unwritten: Vec::new(),
            length: bytes.len(),
            messages: BTreeMap::new(),
            bytes: 0,
            notes: BTreeMap::new(),
            former: BTreeMap::new(),
            came: BTreeMap::new(),
            unknown: Vec::new(),
            sent: Vec::new(),
            sent_before: Vec::new(),
        };
        let is_whole = kept.read(&bytes);
        kept.sent_before = kept.sent.iter().map(|(hash, _)| *hash).collect();
        let count = kept.count();
        kept.trim_oldest();
        let oldest = SystemTime::now() - LONGEST;
        let oldest = oldest.duration_since(SystemTime::UNIX_EPOCH);
        let oldest = oldest.unwrap_or_default().as_millis() as u64;
        kept.messages.retain(|_, one| one.at >= oldest);
        kept.notes.retain(|_, one| one.at >= oldest);
        if !is_whole || kept.count() < count {
            kept.write_anew()?;
        }
        Ok(kept)
    }

    /// Takes what a file has; whether that is all. A program that is killed while it writes leaves
    /// a record that is cut off, of a message that it can decrypt again.
    fn read(&mut self, mut bytes: &[u8]) -> bool {
        while let Some((length, rest)) = bytes.split_first_chunk() {
            let length = u32::from_be_bytes(*length) as usize;
            let Some((record, rest)) = rest.split_at_checked(length) else {
                return false;
            };
            let Ok(record) = shelf::unlock(record, &self.identity, &self.about) else {
                return false;
            };
            match serde_json::from_slice(&record) {
                Ok(record) => self.take(record),
                Err(_) => self.unknown.push(record.to_vec()),
            }
            bytes = rest;
        }
        bytes.is_empty()
    }

    fn take(&mut self, record: Record) {
        match record {
            Record::Sent { hash, text } => {
                self.sent.push((hash, text));
                if self.sent.len() > MOST_SENT {
                    self.sent.remove(0);
                }
            }
            Record::Refused { hash } => self.sent.retain(|(sent, _)| *sent != hash),
            Record::Noted(note) => drop(self.notes.insert(note.seq, note)),
            Record::Former { seq, key } => {
                self.former.insert(key, seq);
                trim_keys(&mut self.former);
            }
            Record::Current { key } => drop(self.former.remove(&key)),
            Record::Came { seq, key } => {
                self.came.insert(key, seq);
                trim_keys(&mut self.came);
            }
            Record::Read {
                seq,
                at,
                from,
                text,
                sent,
            } => {
                if let Some(hash) = sent {
                    self.sent.retain(|(sent, _)| *sent != hash);
                }
                if let Some(by) = from.strip_prefix(NOTE) {
                    let from = by.to_owned();
                    self.notes.insert(
                        seq,
                        Note {
                            seq,
                            at,
                            from,
                            text,
                        },
                    );
                    return;
                }
                let Ok(from) = Name::parse(&from) else { return };
                self.bytes += text.len();
                let content = Content(text.into_bytes());
                let read = Earlier {
                    seq,
                    at,
                    from,
                    content,
                };
                if let Some(before) = self.messages.insert(seq, read) {
                    self.bytes -= before.content.0.len();
                }
            }
        }
    }

    /// Keeps these; the shelf must not forget how to read them until they are [`Kept::write`]n.
    ///
    /// # Errors
    /// There were many, and they cannot be written.
    pub(super) fn keep(&mut self, records: Vec<Record>) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        for record in records {
            bytes.extend(self.locked(&record)?);
            self.take(record);
        }
        self.trim_oldest();
        self.length += bytes.len();
        self.unwritten.extend(bytes);
        // Each record has some 200 bytes beside its text.
        match self.length > 2 * (MOST_BYTES + MOST_NOTES.1 + (MOST + MOST_NOTES.0) * 256) {
            true => self.write_anew(),
            false => Ok(()),
        }
    }

    /// All that is kept is on the disk when it returns.
    ///
    /// # Errors
    /// It is not.
    pub(super) fn write(&mut self) -> Result<()> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        let place = || format!("cannot write {}", self.path.display());
        self.file.write_all(&self.unwritten).with_context(place)?;
        self.file.sync_data().with_context(place)?;
        self.unwritten.clear();
        Ok(())
    }

    /// The own message that was sent as these bytes, or, of one that this device cannot see in the
    /// room any more, with this text.
    pub(super) fn sent_as(&self, body: Option<&Body>, text: &str) -> Option<Hash> {
        let mut sent = self.sent.iter();
        let found = match body {
            Some(Body::Sealed(bytes)) => {
                let hash = Self::hash(bytes);
                sent.find(|(sent, _)| *sent == hash)
            }
            _ => sent.find(|(_, sent)| sent == text),
        };
        found.map(|(hash, _)| *hash)
    }

    /// What an event says that was sent before this was opened; `None`: it was not.
    pub(super) fn said_before(&self, event: &Event) -> Option<(Hash, &str)> {
        let Body::Sealed(bytes) = &event.body else {
            return None;
        };
        let hash = Self::hash(bytes);
        let said = self.unsure().find(|(sent, _)| *sent == hash);
        said.map(|(hash, text)| (*hash, text.as_str()))
    }

    /// What was sent before it was opened, and not seen in the room since.
    pub(super) fn unsure(&self) -> impl Iterator<Item = &(Hash, String)> {
        let sent = self.sent.iter();
        sent.filter(|(hash, _)| self.sent_before.contains(hash))
    }

    pub(super) fn is_unsure(&self) -> bool {
        self.unsure().next().is_some()
    }

    /// The newest messages from before a place.
    pub(super) fn newest(&self, count: u8, before: u64) -> Vec<Earlier> {
        let earlier = self.messages.range(..before).rev();
        let mut newest: Vec<_> = earlier
            .take(count.into())
            .map(|(_, one)| one.clone())
            .collect();
        newest.reverse();
        newest
    }

    /// Makes events of before readable that this device has read; what there is to read in the
    /// place of others.
    pub(super) fn recall(&self, events: &mut [Event]) -> BTreeMap<u64, String> {
        let is_sealed = |event: &&mut Event| matches!(event.body, Body::Sealed(_));
        for event in events.iter_mut().filter(is_sealed) {
            let read = self.messages.get(&event.seq);
            if let Some(read) = read.filter(|read| read.from.as_str() == event.from) {
                let text = String::from_utf8_lossy(&read.content.0);
                event.body = Body::Text(text.into_owned());
            }
        }
        let sealed = events.iter().filter(|event| event.kind() == "sealed");
        let noted = sealed.filter_map(|event| self.notes.get(&event.seq));
        noted.map(|note| (note.seq, note.text.clone())).collect()
    }

    /// Since which place the service says that this is a former key.
    pub(super) fn former(&self, key: &Public) -> Option<u64> {
        self.former.get(&key.to_string()).copied()
    }

    /// Where the newest device of who has this key came in, or before; `None`: that is not known.
    pub(super) fn came(&self, key: &Public) -> Option<u64> {
        self.came.get(&key.to_string()).copied()
    }

    fn count(&self) -> usize {
        self.messages.len() + self.notes.len() + self.unknown.len()
    }

    /// Forgets what is from before a place, of all or of one.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn trim(&mut self, before: u64, of: Option<&str>) -> Result<()> {
        let count = self.count();
        // Which place they are of is not known here, but somebody wants what is there forgotten.
        self.unknown.clear();
        let stays = |seq: u64, from: &str| seq >= before || of.is_some_and(|of| from != of);
        self.messages
            .retain(|seq, one| stays(*seq, one.from.as_str()));
        self.notes.retain(|seq, one| stays(*seq, &one.from));
        match self.count() < count {
            true => self.write_anew(),
            false => Ok(()),
        }
    }

    pub(super) fn hash(bytes: &[u8]) -> Hash {
        Sha256::digest(bytes).into()
    }

    fn trim_oldest(&mut self) {
        while self.messages.len() > MOST || self.bytes > MOST_BYTES {
            let Some((_, oldest)) = self.messages.pop_first() else {
                break;
            };
            self.bytes -= oldest.content.0.len();
        }
        let (most, most_bytes) = MOST_NOTES;
        let mut bytes: usize = self.notes.values().map(|note| note.text.len()).sum();
        while self.notes.len() > most || bytes > most_bytes {
            let Some((_, oldest)) = self.notes.pop_first() else {
                break;
            };
            bytes -= oldest.text.len();
        }
        let (most, most_bytes) = MOST_UNKNOWN;
        let mut bytes: usize = self.unknown.iter().map(Vec::len).sum();
        while self.unknown.len() > most || bytes > most_bytes {
            bytes -= self.unknown.remove(0).len();
        }
    }

    fn locked(&self, record: &Record) -> Result<Vec<u8>> {
        let record = match record {
            Record::Noted(note) => serde_json::to_vec(&Record::Read {
                seq: note.seq,
                at: note.at,
                from: format!("{NOTE}{}", note.from),
                text: note.text.clone(),
                sent: None,
            }),
            record => serde_json::to_vec(record),
        };
        self.lock(&record?)
    }

    fn lock(&self, record: &[u8]) -> Result<Vec<u8>> {
        let locked = shelf::lock(record, &self.identity, &self.about, &rand::random());
        let length = u32::try_from(locked.len()).context("a record too long to keep")?;
        Ok([&length.to_be_bytes(), &locked[..]].concat())
    }

    /// The whole file, without what is forgotten.
    fn write_anew(&mut self) -> Result<()> {
        let text = |one: &Earlier| String::from_utf8_lossy(&one.content.0).into_owned();
        self.bytes = self.messages.values().map(|one| one.content.0.len()).sum();
        let read = self.messages.values().map(|one| Record::Read {
            seq: one.seq,
            at: one.at,
            from: one.from.to_string(),
            text: text(one),
            sent: None,
        });
        let sent = self.sent.iter().map(|(hash, text)| Record::Sent {
            hash: *hash,
            text: text.clone(),
        });
        let notes = self.notes.values().cloned().map(Record::Noted);
        let former = self.former.iter().map(|(key, seq)| Record::Former {
            seq: *seq,
            key: key.clone(),
        });
        let came = self.came.iter().map(|(key, seq)| Record::Came {
            seq: *seq,
            key: key.clone(),
        });
        let mut bytes = Vec::new();
        for record in read.chain(notes).chain(sent).chain(former).chain(came) {
            bytes.extend(self.locked(&record)?);
        }
        for record in &self.unknown {
            bytes.extend(self.lock(record)?);
        }
        let place = || format!("cannot write {}", self.path.display());
        // No room has a dot in its name.
        let draft = self.path.with_extension("new");
        let file = write_whole(&self.path, &draft, &bytes).with_context(place)?;
        (self.file, self.length) = (file, bytes.len());
        self.unwritten.clear();
        Ok(())
    }
}

/// Forgets those of the lowest places.
fn trim_keys(keys: &mut BTreeMap<String, u64>) {
    while keys.len() > MOST_KEYS {
        let oldest = keys.iter().min_by_key(|(_, seq)| **seq);
        let Some(oldest) = oldest.map(|(key, _)| key.clone()) else {
            break;
        };
        keys.remove(&oldest);
    }
}

/// Rooms where nobody was for so long that nothing of them counts any more.
fn trim_old_rooms(folder: &Path) -> Result<()> {
    for file in fs::read_dir(folder)? {
        let file = file?;
        let age = file.metadata()?.modified()?.elapsed();
        if age.is_ok_and(|age| age > LONGEST) {
            fs::remove_file(file.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
