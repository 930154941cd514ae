//! Welcomes: what a device that was added to a sealed room needs to join, kept until it has it.
//! What all devices of one commit share (the welcome and the tree of that epoch, some 300 kB in a
//! room of 1000) is stored once, in parts; each device has a note beside it.
//!
//! ```text
//! to.<identity>.<user>.<device>.<adder>.<room>.<seq>.<epoch>     a note
//! commit.<room>.<seq>.<epoch>.<part>                             what it is about
//! ```
//!
//! | bound | |
//! |---|---|
//! | notes of a device by one adder | [`MOST_BY_ADDER`] |
//! | notes of a device | [`MOST_WAITING`] |
//! | bytes of an admission | [`MOST_BYTES`] |
//! | how long | 90 days |
//! | all | the bucket's `max_bytes`: then more are refused |
//!
//! Of an adder with as many as it may have the first note of the same room makes room, which a
//! later commit has made useless, else its oldest. Where a device has as many as it may, the oldest
//! of whoever has most there makes room for an adder with fewer, else one of its own: a flood
//! pushes out itself, not what others sent. Who has none there is refused while nobody has two.
//!
//! A device whose welcome was refused is in the group, and comes in by an external commit.

use super::{BLOB, Bucket, Buckets, Error};
use crate::{
    metric,
    proto::keys::v1 as pb,
    room::{Millis, RoomId, Seq},
};
use async_trait::async_trait;
use bytes::{BufMut, Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use prost::Message;
use seal::{Certificate, Name, Public, delivery::Admission};
use std::{collections::BTreeMap, fmt};

const BUCKET: Bucket = Bucket::Welcomes;
/// Welcomes of one adder that wait for a device.
pub const MOST_BY_ADDER: usize = 32;
/// Welcomes that wait for a device.
pub const MOST_WAITING: usize = 256;
/// Bytes of an admission: the bounds of the seal crate for 1000 devices.
pub const MOST_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of a part.
const PART: usize = BLOB / 2;
/// Calls to the bus at a time.
const AT_ONCE: usize = 16;

/// The commit that added somebody.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Its room.
    pub room: RoomId,
    /// Its place there.
    pub seq: Seq,
    /// The epoch of the group that it made.
    pub epoch: u64,
}

/// A device that welcomes wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// Whose device it is.
    pub identity: Public,
    /// The name in its certificate.
    pub user: Name,
    /// Its own name.
    pub device: Name,
}

/// Which welcome, among those of a device: the commit and who made it. As text it is
/// `<room>.<seq>.<epoch>.<adder>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WelcomeId {
    /// The commit.
    pub place: Place,
    /// Who made it.
    pub by: Public,
}

/// A welcome that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Which it is.
    pub id: WelcomeId,
    /// When it was stored.
    pub at: Millis,
    /// The name of who made the commit, as its certificate has it.
    pub by_user: String,
    /// And of the device.
    pub by_device: String,
    /// Bytes of welcome and tree.
    pub size: u64,
}

/// What became of a welcome for a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It waits now.
    Waits,
    /// It waited already.
    Known,
    /// As many of this adder wait for the device as may, and one of them is of a later commit of
    /// this room: so this one is of no use.
    Superseded,
    /// Too many wait for the device, each of another adder.
    TooMany,
}

/// Welcomes, for every adapter.
#[async_trait]
pub trait Admissions: Send + Sync {
    /// Keeps what the devices need that a commit adds. Doing it again changes nothing, unless
    /// something is missing, which it adds. What became of each, in their order.
    async fn put_admission(
        &self,
        place: &Place,
        by: &Certificate,
        recipients: &[Certificate],
        admission: &Admission,
        at: Millis,
    ) -> Result<Vec<Kept>, Error>;

    /// What waits for a device, oldest first.
    async fn waiting(&self, device: &Recipient) -> Result<Vec<Waiting>, Error>;

    /// What a device needs to join. `None`: nothing of that name waits. [`Error::Unavailable`]
    /// while not all of it is stored.
    async fn admission(
        &self,
        device: &Recipient,
        id: &WelcomeId,
    ) -> Result<Option<(Waiting, Admission)>, Error>;

    /// The device has it: forgets it, and what the last device of its commit needed. Whether it
    /// waited.
    async fn confirm_welcome(&self, device: &Recipient, id: &WelcomeId) -> Result<bool, Error>;

    /// Forgets those of a room whose commits lie below a place, whoever waits for them; how many
    /// values.
    async fn forget_welcomes(&self, room: &RoomId, below: Seq) -> Result<usize, Error>;
}

#[async_trait]
impl<B: Buckets + ?Sized> Admissions for B {
    async fn put_admission(
        &self,
        place: &Place,
        by: &Certificate,
        recipients: &[Certificate],
        admission: &Admission,
        at: Millis,
    ) -> Result<Vec<Kept>, Error> {
        let bytes = encode(admission);
        if bytes.len() > MOST_BYTES {
            return Err(Error::TooLarge(format!(
                "a welcome and its tree have {} bytes, more than {MOST_BYTES}",
                bytes.len()
            )));
        }
        let parts: Vec<Bytes> = bytes
            .chunks(PART)
            .map(|part| bytes.slice_ref(part))
            .collect();
        let note = Bytes::from(
            pb::Welcomed {
                at: at.0,
                user: by.user().to_string(),
                device: by.device().to_string(),
                parts: parts.len() as u32,
                size: bytes.len() as u64,
            }
            .encode_to_vec(),
        );
        let id = WelcomeId {
            place: place.clone(),
            by: *by.identity(),
        };
        // The notes first: whoever is the last to confirm removes the parts, and sees then who else
        // waits for them.
        let noted: Vec<_> = recipients
            .iter()
            .map(|one| keep(self, Recipient::of(one), &id, note.clone()))
            .collect();
        let kept: Vec<Kept> = stream::iter(noted).buffered(AT_ONCE).try_collect().await?;
        for one in &kept {
            let outcome = match one {
                Kept::Waits => "stored",
                Kept::Known => continue,
                Kept::Superseded | Kept::TooMany => "refused",
            };
            metric::WELCOMES.of(outcome).increment(1);
        }
        if kept
            .iter()
            .any(|one| matches!(one, Kept::Waits | Kept::Known))
        {
            for (number, part) in parts.into_iter().enumerate() {
                match self.write(BUCKET, &part_key(place, number), part, 0).await {
                    Ok(_) | Err(Error::Conflict(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(kept)
    }

    async fn waiting(&self, device: &Recipient) -> Result<Vec<Waiting>, Error> {
        let names = self.names(BUCKET, &device.pattern()).await?;
        let reads = names
            .into_iter()
            .take(2 * MOST_WAITING)
            .map(|name| async move {
                let found = self.read(BUCKET, &name).await?;
                Ok::<_, Error>(found.and_then(|(note, at)| Some((at, read_note(&name, note)?.0))))
            });
        let found: Vec<_> = stream::iter(reads).buffered(AT_ONCE).try_collect().await?;
        let mut waiting: Vec<(u64, Waiting)> = found.into_iter().flatten().collect();
        waiting.sort_by_key(|(revision, _)| *revision);
        Ok(waiting.into_iter().map(|(_, one)| one).collect())
    }

    async fn admission(
        &self,
        device: &Recipient,
        id: &WelcomeId,
    ) -> Result<Option<(Waiting, Admission)>, Error> {
        let name = device.key(id);
        let Some((note, _)) = self.read(BUCKET, &name).await? else {
            return Ok(None);
        };
        let unreadable =
            || Error::Unavailable(format!("the welcome at {} cannot be read", id.place));
        let (waiting, parts) = read_note(&name, note).ok_or_else(unreadable)?;
        if parts > MOST_BYTES.div_ceil(PART) {
            return Err(unreadable());
        }
        let reads = (0..parts).map(|number| async move {
            let part = self.read(BUCKET, &part_key(&id.place, number)).await?;
            let (part, _) = part.ok_or_else(|| {
                Error::Unavailable(format!("not all of the welcome at {} is stored", id.place))
            })?;
            Ok::<_, Error>(part)
        });
        let parts: Vec<Bytes> = stream::iter(reads).buffered(AT_ONCE).try_collect().await?;
        let admission = decode(&parts.concat()).ok_or_else(unreadable)?;
        Ok(Some((waiting, admission)))
    }

    async fn confirm_welcome(&self, device: &Recipient, id: &WelcomeId) -> Result<bool, Error> {
        let name = device.key(id);
        let Some((note, revision)) = self.read(BUCKET, &name).await? else {
            return Ok(false);
        };
        remove_note(self, &name, note, revision).await?;
        Ok(true)
    }

    async fn forget_welcomes(&self, room: &RoomId, below: Seq) -> Result<usize, Error> {
        let mut forgotten = 0;
        for (pattern, place) in [
            (format!("to.*.*.*.*.{room}.>"), 6),
            (format!("commit.{room}.>"), 2),
        ] {
            let mut names = self.names(BUCKET, &pattern).await?;
            let seq = |name: &str| name.split('.').nth(place)?.parse::<u64>().ok();
            names.retain(|name| seq(name).is_some_and(|seq| seq < below.0));
            let erased: Vec<_> = names.iter().map(|name| erase(self, name)).collect();
            let erased: Vec<bool> = stream::iter(erased).buffered(AT_ONCE).try_collect().await?;
            forgotten += erased.into_iter().filter(|was_there| *was_there).count();
        }
        Ok(forgotten)
    }
}

/// Notes that a device was added, if it may have one more.
async fn keep<B: Buckets + ?Sized>(
    buckets: &B,
    device: Recipient,
    id: &WelcomeId,
    note: Bytes,
) -> Result<Kept, Error> {
    let (name, adder) = (device.key(id), id.by.to_string());
    if buckets.read(BUCKET, &name).await?.is_some() {
        return Ok(Kept::Known);
    }
    let waiting = buckets.names(BUCKET, &device.pattern()).await?;
    let mut of_adder: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
    for name in &waiting {
        let adder = name.split('.').nth(4).unwrap_or_default();
        of_adder.entry(adder).or_default().push(name);
    }
    let mine = of_adder.remove(&*adder).unwrap_or_default();
    let most = of_adder.values().max_by_key(|names| names.len());
    let full = waiting.len() >= MOST_WAITING;
    match most.filter(|names| names.len() > mine.len() + 1) {
        _ if mine.len() < MOST_BY_ADDER && !full => {}
        Some(names) if mine.len() < MOST_BY_ADDER => make_room(buckets, names, 1).await?,
        _ if mine.is_empty() => return Ok(Kept::TooMany),
        _ => {
            let of_room = of_room(&mine, &id.place.room);
            match of_room.last() {
                Some((seq, _)) if *seq > id.place.seq.0 => return Ok(Kept::Superseded),
                Some(_) => remove_first_note(buckets, &of_room).await?,
                None if full => make_room(buckets, &mine, 1).await?,
                None => make_room(buckets, &mine, MOST_BY_ADDER).await?,
            }
        }
    }
    match buckets.write(BUCKET, &name, note, 0).await {
        Ok(_) => Ok(Kept::Waits),
        Err(Error::Conflict(_)) => Ok(Kept::Known),
        Err(error) => Err(error),
    }
}

/// Which of these notes are of commits of a room, in their order there.
fn of_room<'a>(names: &[&'a String], room: &RoomId) -> Vec<(u64, &'a String)> {
    let seq = |name: &str| name.split('.').nth(6)?.parse::<u64>().ok();
    let of_room = names
        .iter()
        .filter(|name| name.split('.').nth(5) == Some(room.as_str()))
        .filter_map(|name| Some((seq(name)?, *name)));
    let mut of_room: Vec<_> = of_room.collect();
    of_room.sort();
    of_room
}

/// Forgets the first of these notes that is there. A later commit of the same room made it useless,
/// and their names say which that is: so a flood in one room costs little reading.
async fn remove_first_note<B: Buckets + ?Sized>(
    buckets: &B,
    of_room: &[(u64, &String)],
) -> Result<(), Error> {
    for (_, name) in of_room {
        // One that was just forgotten may still be named.
        if let Some((note, revision)) = buckets.read(BUCKET, name).await? {
            return remove_note(buckets, name, note, revision).await;
        }
    }
    Ok(())
}

/// Forgets the oldest of these notes, if there are so many: of those that are named some may just
/// have been forgotten.
async fn make_room<B: Buckets + ?Sized>(
    buckets: &B,
    names: &[&String],
    least: usize,
) -> Result<(), Error> {
    let read = async |name: String| {
        let found = buckets.read(BUCKET, &name).await?;
        Ok::<_, Error>(found.map(|(note, revision)| (revision, name, note)))
    };
    let reads: Vec<_> = names.iter().map(|name| read((*name).clone())).collect();
    let found: Vec<_> = stream::iter(reads).buffered(AT_ONCE).try_collect().await?;
    let found: Vec<_> = found.into_iter().flatten().collect();
    if found.len() < least {
        return Ok(());
    }
    match found.into_iter().min() {
        Some((revision, name, note)) => remove_note(buckets, &name, note, revision).await,
        None => Ok(()),
    }
}

/// Forgets a note, and what its commit's devices shared if it was the last one of these.
async fn remove_note<B: Buckets + ?Sized>(
    buckets: &B,
    name: &str,
    note: Bytes,
    revision: u64,
) -> Result<(), Error> {
    match buckets.erase(BUCKET, name, revision).await {
        Ok(()) | Err(Error::Conflict(_)) => {}
        Err(error) => return Err(error),
    }
    match read_note(name, note) {
        Some((gone, parts)) => forget_parts(buckets, &gone.id.place, parts).await,
        None => Ok(()),
    }
}

/// Forgets what the devices of a commit shared, when none waits for it any more.
async fn forget_parts<B: Buckets + ?Sized>(
    buckets: &B,
    place: &Place,
    parts: usize,
) -> Result<(), Error> {
    let others = buckets
        .names(BUCKET, &format!("to.*.*.*.*.{place}"))
        .await?;
    for name in &others {
        // One that was just confirmed may still be named.
        if buckets.read(BUCKET, name).await?.is_some() {
            return Ok(());
        }
    }
    for number in 0..parts.min(MOST_BYTES.div_ceil(PART)) {
        erase(buckets, &part_key(place, number)).await?;
    }
    Ok(())
}

/// Erases what is there now; whether there was something.
async fn erase<B: Buckets + ?Sized>(buckets: &B, name: &str) -> Result<bool, Error> {
    let Some((_, revision)) = buckets.read(BUCKET, name).await? else {
        return Ok(false);
    };
    match buckets.erase(BUCKET, name, revision).await {
        Ok(()) | Err(Error::Conflict(_)) => Ok(true),
        Err(error) => Err(error),
    }
}

/// What a note says, and in how many parts its admission is.
fn read_note(name: &str, note: Bytes) -> Option<(Waiting, usize)> {
    let note = pb::Welcomed::decode(note).ok()?;
    let mut parts = name.split('.').skip(4);
    let (by, room) = (parts.next()?, parts.next()?);
    let (seq, epoch) = (parts.next()?, parts.next()?);
    let waiting = Waiting {
        id: WelcomeId::parse(&format!("{room}.{seq}.{epoch}.{by}"))?,
        at: Millis(note.at),
        by_user: note.user,
        by_device: note.device,
        size: note.size,
    };
    Some((waiting, note.parts as usize))
}

impl Recipient {
    /// The device of a certificate.
    pub fn of(certificate: &Certificate) -> Self {
        Self {
            identity: *certificate.identity(),
            user: certificate.user().clone(),
            device: certificate.device().clone(),
        }
    }

    fn key(&self, id: &WelcomeId) -> String {
        format!("{}.{}.{}", self.front(), id.by, id.place)
    }

    fn pattern(&self) -> String {
        format!("{}.>", self.front())
    }

    fn front(&self) -> String {
        format!("to.{}.{}.{}", self.identity, self.user, self.device)
    }
}

fn part_key(place: &Place, number: usize) -> String {
    format!("commit.{place}.{number}")
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}.{}", self.room, self.seq, self.epoch)
    }
}

impl fmt::Display for WelcomeId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.place, self.by)
    }
}

impl WelcomeId {
    /// Reads what [`fmt::Display`] writes, in that form only.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let id = Self {
            place: Place {
                room: RoomId::parse(parts.next()?).ok()?,
                seq: Seq(parts.next()?.parse().ok()?),
                epoch: parts.next()?.parse().ok()?,
            },
            by: Public::parse(parts.next()?).ok()?,
        };
        (id.to_string() == text).then_some(id)
    }
}

/// Both behind their lengths in four bytes, big-endian.
fn encode(admission: &Admission) -> Bytes {
    let Admission { welcome, tree } = admission;
    let mut bytes = BytesMut::with_capacity(welcome.len() + tree.len() + 8);
    for part in [welcome, tree] {
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        bytes.put_u32(length);
        bytes.put_slice(part);
    }
    bytes.freeze()
}

fn decode(bytes: &[u8]) -> Option<Admission> {
    let (welcome, rest) = part(bytes)?;
    let (tree, rest) = part(rest)?;
    rest.is_empty().then(|| Admission {
        welcome: welcome.to_vec(),
        tree: tree.to_vec(),
    })
}

fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let by = seal::Identity::from_seed(&[7; 32]).public();
        let text = format!("aaa.17.3.{by}");
        let id = WelcomeId::parse(&text).unwrap();
        assert_eq!((id.place.seq, id.place.epoch), (Seq(17), 3));
        assert_eq!(id.to_string(), text);
        for bad in [
            "aaa.17.3".to_owned(),
            format!("aaa.+17.3.{by}"),
            format!("aaa.017.3.{by}"),
            format!("{text}.x"),
            format!("a*a.17.3.{by}"),
            String::new(),
        ] {
            assert_eq!(WelcomeId::parse(&bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn an_admission_is_read_as_it_is_written(welcome: Vec<u8>, tree: Vec<u8>) {
            let admission = Admission { welcome, tree };
            let bytes = encode(&admission);
            prop_assert_eq!(decode(&bytes), Some(admission));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }
    }
}
