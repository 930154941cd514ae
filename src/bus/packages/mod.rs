//! Key packages: what a device leaves, so that others can add it to a sealed room while it is away.
//! One record per device, changed by compare-and-set: so no two who ask get the same one-time
//! package, and the bounds hold whichever nodes are asked. What is lost on the way (an answer, a
//! node) is a package that nobody uses, never one that two use.
//!
//! Whoever has recorded a signed request must not undo by it what came later, through whichever
//! node: the record has the time of the newest request that changed it, also when its device was
//! removed, and the claims that took something.
//!
//! | bound | |
//! |---|---|
//! | one-time packages of a device | [`MOST_ONE_TIME`]: of more the oldest go |
//! | bytes of a device | [`MOST_BYTES`]: more are refused |
//! | devices of an identity | [`MOST_DEVICES`]: more are refused |
//! | how long | 90 days, or as long as the package counts |
//! | names of an identity, with those of removed devices | [`MOST_NAMES`], while older requests count |
//! | all | the bucket's `max_bytes`: then publishing is refused, and claims give the last resort |

mod record;

pub use record::{BURST, EVERY_SECONDS, Left, MOST_BYTES, MOST_ONE_TIME, Offer, Package, Taken};

use super::{Bucket, Buckets, Error};
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use record::Record;
use seal::{Name, Public};

const BUCKET: Bucket = Bucket::Packages;
/// Devices of an identity that have key packages.
pub const MOST_DEVICES: usize = 16;
/// Names of an identity, with those of devices that were removed a moment ago.
pub const MOST_NAMES: usize = 4 * MOST_DEVICES;
/// Attempts to change a record that others change at the same time.
const ATTEMPTS: usize = 16;

/// Whose devices: an identity under one of the names that it has in rooms.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Person {
    /// The key that certifies the devices.
    pub identity: Public,
    /// The name that stands in their certificates.
    pub user: Name,
}

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The identity has as many devices here as it may.
    #[error("{MOST_DEVICES} devices of this identity have key packages: remove one first")]
    TooManyDevices,
    /// There would be more bytes of the device than are kept.
    #[error("the key packages of a device may have {MOST_BYTES} bytes together")]
    TooLarge,
    /// What came later counts.
    #[error(
        "a request that was signed at the same time or later has changed this device's key packages: sign it again, with the time of now"
    )]
    Superseded,
    /// The bus.
    #[error(transparent)]
    Bus(#[from] Error),
}

/// Key packages, for every adapter.
#[async_trait]
pub trait Packages: Send + Sync {
    /// Adds what a device offers, which was checked, by a request that was signed at this time (in
    /// milliseconds; `now` in seconds). What is left of it then.
    async fn publish_packages(
        &self,
        person: &Person,
        device: &Name,
        offer: Offer,
        times: (u64, u64),
    ) -> Result<Left, Refusal>;

    /// One package of each device of a person, by name, for this claim. Empty: it has no device
    /// here.
    async fn claim_packages(
        &self,
        person: &Person,
        claim: &[u8],
        now: u64,
    ) -> Result<Vec<(Name, Taken)>, Error>;

    /// What is left of each device of a person, by name.
    async fn left_packages(&self, person: &Person, now: u64) -> Result<Vec<(Name, Left)>, Error>;

    /// Removes all of a device, by a request that was signed at this time (in milliseconds);
    /// whether there was something.
    async fn remove_packages(
        &self,
        person: &Person,
        device: &Name,
        signed: u64,
    ) -> Result<bool, Refusal>;
}

#[async_trait]
impl<B: Buckets + ?Sized> Packages for B {
    async fn publish_packages(
        &self,
        person: &Person,
        device: &Name,
        offer: Offer,
        (signed, now): (u64, u64),
    ) -> Result<Left, Refusal> {
        let key = key(person, device.as_str());
        for _ in 0..ATTEMPTS {
            let found = self.read(BUCKET, &key).await?;
            let (mut record, revision) = match found {
                Some((bytes, revision)) => (Record::decode(bytes).unwrap_or_default(), revision),
                None => (Record::default(), 0),
            };
            if !record.is_older_than(signed) {
                return Err(Refusal::Superseded);
            }
            let is_new = record.is_removed();
            if is_new && count_devices(self, person, now).await? >= MOST_DEVICES {
                return Err(Refusal::TooManyDevices);
            }
            record.add(offer.clone(), (signed, now));
            let value = record.encode();
            if value.len() > MOST_BYTES {
                return Err(Refusal::TooLarge);
            }
            match self.write(BUCKET, &key, value, revision).await {
                Ok(made) if is_new => {
                    check_new(self, person, (&key, made), now).await?;
                    return Ok(record.left(now));
                }
                Ok(_) => return Ok(record.left(now)),
                Err(Error::Conflict(_)) => {}
                // Adding the same again changes nothing.
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Unavailable("many nodes change this device's key packages".into()).into())
    }

    async fn claim_packages(
        &self,
        person: &Person,
        claim: &[u8],
        now: u64,
    ) -> Result<Vec<(Name, Taken)>, Error> {
        let keys = keys(self, person).await?;
        let claims = keys
            .into_iter()
            .map(|(device, key)| async move { (device, take(self, &key, claim, now).await) });
        let claims = stream::iter(claims).buffered(MOST_DEVICES);
        let (mut claimed, mut failed) = (Vec::new(), None);
        for (device, taken) in claims.collect::<Vec<_>>().await {
            match taken {
                Ok(taken) => claimed.extend(taken.map(|taken| (device, taken))),
                // What others gave is taken out, and must not be lost.
                Err(error) => {
                    failed = Some(error);
                    claimed.push((device, Taken::Nothing));
                }
            }
        }
        let is_any = |(_, taken): &(Name, Taken)| *taken != Taken::Nothing;
        match failed {
            Some(error) if !claimed.iter().any(is_any) => Err(error),
            _ => Ok(claimed),
        }
    }

    async fn left_packages(&self, person: &Person, now: u64) -> Result<Vec<(Name, Left)>, Error> {
        let keys = keys(self, person).await?;
        let reads = keys.into_iter().map(|(device, key)| async move {
            let found = self.read(BUCKET, &key).await?;
            let record = found.map(|(bytes, _)| Record::decode(bytes).unwrap_or_default());
            let record = record.filter(|record| !record.is_removed());
            Ok::<_, Error>(record.map(|record| (device, record.left(now))))
        });
        let left: Vec<_> = stream::iter(reads)
            .buffered(MOST_DEVICES)
            .try_collect()
            .await?;
        Ok(left.into_iter().flatten().collect())
    }

    async fn remove_packages(
        &self,
        person: &Person,
        device: &Name,
        signed: u64,
    ) -> Result<bool, Refusal> {
        let key = key(person, device.as_str());
        for _ in 0..ATTEMPTS {
            let Some((bytes, revision)) = self.read(BUCKET, &key).await? else {
                return Ok(false);
            };
            let mut record = Record::decode(bytes).unwrap_or_default();
            if !record.is_older_than(signed) {
                return Err(Refusal::Superseded);
            }
            let was_there = !record.is_removed();
            record.remove(signed);
            let written = self.write(BUCKET, &key, record.encode(), revision).await;
            let removed = match written.map(drop) {
                // Without space for what keeps older requests out, it still goes.
                Err(Error::Full(_)) => self.erase(BUCKET, &key, revision).await,
                written => written,
            };
            match removed {
                Err(Error::Conflict(_)) => {}
                removed => return Ok(removed.map(|()| was_there)?),
            }
        }
        Err(Error::Unavailable("many nodes change this device's key packages".into()).into())
    }
}

/// Takes one package of a device; `None`: there is no such device any more.
async fn take<B: Buckets + ?Sized>(
    buckets: &B,
    key: &str,
    claim: &[u8],
    now: u64,
) -> Result<Option<Taken>, Error> {
    // A write of this claim may have succeeded: then it is not the claim of before.
    let mut tries: u8 = 0;
    for _ in 0..ATTEMPTS {
        let Some((bytes, revision)) = buckets.read(BUCKET, key).await? else {
            return Ok(None);
        };
        let Some(mut record) = Record::decode(bytes) else {
            return Ok(Some(Taken::Nothing));
        };
        if record.is_removed() {
            return Ok(None);
        }
        let taken = match tries {
            0 => record.take(claim, now),
            _ => record.take(&[claim, &[tries]].concat(), now),
        };
        if !matches!(taken, Taken::OneTime(_)) {
            return Ok(Some(taken));
        }
        match buckets.write(BUCKET, key, record.encode(), revision).await {
            Ok(_) => return Ok(Some(taken)),
            // It may be out of the record, and then nobody gets it: the next one will do.
            Err(Error::Unknown(_)) => tries += 1,
            Err(Error::Conflict(_)) => {}
            // Nothing can be taken out.
            Err(Error::Full(why)) => {
                return record.last_resort().map(Some).ok_or(Error::Full(why));
            }
            Err(error) => return Err(error),
        }
    }
    Err(Error::Unavailable(
        "many ask for this device's key packages".into(),
    ))
}

/// Looks again when a new device is there: of two that came at once, each as the last that is
/// allowed, none stays.
async fn check_new<B: Buckets + ?Sized>(
    buckets: &B,
    person: &Person,
    (key, revision): (&str, u64),
    now: u64,
) -> Result<(), Refusal> {
    if count_devices(buckets, person, now).await? <= MOST_DEVICES {
        return Ok(());
    }
    match buckets.erase(BUCKET, key, revision).await {
        Ok(()) | Err(Error::Conflict(_)) => Err(Refusal::TooManyDevices),
        Err(error) => Err(error.into()),
    }
}

/// Devices of an identity, whatever its names. Reads them only where the names are too many: some
/// of those may be of what was removed, and what is not needed of that goes.
async fn count_devices<B: Buckets + ?Sized>(
    buckets: &B,
    person: &Person,
    now: u64,
) -> Result<usize, Error> {
    let pattern = format!("{}.>", person.identity);
    let names = buckets.names(BUCKET, &pattern).await?;
    if names.len() < MOST_DEVICES {
        return Ok(names.len());
    }
    if names.len() > MOST_NAMES {
        return Ok(names.len());
    }
    let reads = names.into_iter().map(|name| async move {
        let Some((bytes, revision)) = buckets.read(BUCKET, &name).await? else {
            return Ok(false);
        };
        let record = Record::decode(bytes).unwrap_or_default();
        if record.is_needless(now) {
            // Who cannot remove it now does so later.
            drop(buckets.erase(BUCKET, &name, revision).await);
        }
        Ok::<_, Error>(!record.is_removed())
    });
    let there: Vec<bool> = stream::iter(reads)
        .buffered(MOST_DEVICES)
        .try_collect()
        .await?;
    Ok(there.into_iter().filter(|is_there| *is_there).count())
}

/// The devices of a person and their keys, by name.
async fn keys<B: Buckets + ?Sized>(
    buckets: &B,
    person: &Person,
) -> Result<Vec<(Name, String)>, Error> {
    let names = buckets.names(BUCKET, &key(person, "*")).await?;
    let devices = names.into_iter().filter_map(|key| {
        let device = Name::parse(key.rsplit('.').next()?).ok()?;
        Some((device, key))
    });
    let mut devices: Vec<_> = devices.collect();
    devices.sort();
    devices.truncate(MOST_NAMES);
    Ok(devices)
}

fn key(person: &Person, device: &str) -> String {
    format!("{}.{}.{device}", person.identity, person.user)
}
