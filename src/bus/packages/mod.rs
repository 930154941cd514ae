//! Key packages: what a device leaves, so that others can add it to a sealed room while it is away.
//! One record per device, changed by compare-and-set: so no two who ask get the same one-time
//! package, and the bounds hold whichever nodes are asked. What is lost on the way (an answer, a
//! node) is a package that nobody uses, never one that two use.
//!
//! | bound | |
//! |---|---|
//! | one-time packages of a device | [`MOST_ONE_TIME`]: of more the oldest go |
//! | bytes of a device | [`MOST_BYTES`]: more are refused |
//! | devices of an identity | [`MOST_DEVICES`]: more are refused |
//! | how long | 90 days, or as long as the package counts |
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
    /// The bus.
    #[error(transparent)]
    Bus(#[from] Error),
}

/// Key packages, for every adapter.
#[async_trait]
pub trait Packages: Send + Sync {
    /// Adds what a device offers, which was checked. What is left of it then.
    async fn publish_packages(
        &self,
        person: &Person,
        device: &Name,
        offer: Offer,
        now: u64,
    ) -> Result<Left, Refusal>;

    /// One package of each device of a person, by name. Empty: it has no device here.
    async fn claim_packages(&self, person: &Person, now: u64) -> Result<Vec<(Name, Taken)>, Error>;

    /// What is left of each device of a person, by name.
    async fn left_packages(&self, person: &Person, now: u64) -> Result<Vec<(Name, Left)>, Error>;

    /// Removes all of a device; whether there was something.
    async fn remove_packages(&self, person: &Person, device: &Name) -> Result<bool, Error>;
}

#[async_trait]
impl<B: Buckets + ?Sized> Packages for B {
    async fn publish_packages(
        &self,
        person: &Person,
        device: &Name,
        offer: Offer,
        now: u64,
    ) -> Result<Left, Refusal> {
        let key = key(person, device.as_str());
        for _ in 0..ATTEMPTS {
            let found = self.read(BUCKET, &key).await?;
            let (mut record, revision) = match found {
                Some((bytes, revision)) => (Record::decode(bytes).unwrap_or_default(), revision),
                None => (Record::default(), 0),
            };
            if revision == 0 && count_devices(self, person).await? >= MOST_DEVICES {
                return Err(Refusal::TooManyDevices);
            }
            record.add(offer.clone(), now);
            let value = record.encode();
            if value.len() > MOST_BYTES {
                return Err(Refusal::TooLarge);
            }
            match self.write(BUCKET, &key, value, revision).await {
                Ok(made) if revision == 0 => {
                    check_new(self, person, &key, made).await?;
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

    async fn claim_packages(&self, person: &Person, now: u64) -> Result<Vec<(Name, Taken)>, Error> {
        let keys = keys(self, person).await?;
        let claims = keys
            .into_iter()
            .map(|(device, key)| async move { (device, claim(self, &key, now).await) });
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
            let left = found.map(|(bytes, _)| Record::decode(bytes).unwrap_or_default().left(now));
            Ok::<_, Error>(left.map(|left| (device, left)))
        });
        let left: Vec<_> = stream::iter(reads)
            .buffered(MOST_DEVICES)
            .try_collect()
            .await?;
        Ok(left.into_iter().flatten().collect())
    }

    async fn remove_packages(&self, person: &Person, device: &Name) -> Result<bool, Error> {
        let key = key(person, device.as_str());
        for _ in 0..ATTEMPTS {
            let Some((_, revision)) = self.read(BUCKET, &key).await? else {
                return Ok(false);
            };
            match self.erase(BUCKET, &key, revision).await {
                Err(Error::Conflict(_)) => {}
                erased => return erased.map(|()| true),
            }
        }
        Err(Error::Unavailable(
            "many nodes change this device's key packages".into(),
        ))
    }
}

/// Takes one package of a device; `None`: there is no such device any more.
async fn claim<B: Buckets + ?Sized>(
    buckets: &B,
    key: &str,
    now: u64,
) -> Result<Option<Taken>, Error> {
    for _ in 0..ATTEMPTS {
        let Some((bytes, revision)) = buckets.read(BUCKET, key).await? else {
            return Ok(None);
        };
        let Some(mut record) = Record::decode(bytes) else {
            return Ok(Some(Taken::Nothing));
        };
        let taken = record.take(now);
        if !matches!(taken, Taken::OneTime(_)) {
            return Ok(Some(taken));
        }
        match buckets.write(BUCKET, key, record.encode(), revision).await {
            Ok(_) => return Ok(Some(taken)),
            // It may be out of the record, and then nobody gets it: the next one will do.
            Err(Error::Conflict(_) | Error::Unknown(_)) => {}
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
    key: &str,
    revision: u64,
) -> Result<(), Refusal> {
    if count_devices(buckets, person).await? <= MOST_DEVICES {
        return Ok(());
    }
    match buckets.erase(BUCKET, key, revision).await {
        Ok(()) | Err(Error::Conflict(_)) => Err(Refusal::TooManyDevices),
        Err(error) => Err(error.into()),
    }
}

/// Devices of an identity, whatever its names. Reads them only where the names are too many: some
/// of those may be of what was just removed.
async fn count_devices<B: Buckets + ?Sized>(buckets: &B, person: &Person) -> Result<usize, Error> {
    let pattern = format!("{}.>", person.identity);
    let names = buckets.names(BUCKET, &pattern).await?;
    if names.len() < MOST_DEVICES {
        return Ok(names.len());
    }
    let reads = names
        .into_iter()
        .map(|name| async move { Ok::<_, Error>(buckets.read(BUCKET, &name).await?.is_some()) });
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
    devices.truncate(2 * MOST_DEVICES);
    Ok(devices)
}

fn key(person: &Person, device: &str) -> String {
    format!("{}.{}.{device}", person.identity, person.user)
}
