//! Key packages: a device leaves some, and whoever wants to add it to a sealed room takes one.
//! Every request proves a key (`Safe-Chat-Proof`): that of the packages, or of whoever asks for
//! one.

use super::{
    answer::{json, refuse},
    credentials::KEY,
    hosts::Hosts,
    request::{Parameters, segment},
    rooms,
    signed::{self, Signed},
};
use crate::{
    bus::{
        self,
        packages::{Offer, Package, Packages as _, Person, Refusal, Taken},
    },
    gateway::{
        Client, Handle,
        core::{busy, unavailable},
        limits::Cost,
        metrics, replays,
    },
    room::{Key, Reason, Rejection, UserId},
    wire::{
        ServerFrame, Utf8,
        keys::{self, Claimed, Devices, Left, Published, Removed, encode},
    },
};
use axum::{
    Router,
    extract::{Extension, Request, State},
    http::{Method, StatusCode, Uri, request::Parts},
    response::Response,
    routing::{get, post},
};
use bytes::Bytes;
use seal::{Name, Public, delivery::Proven};
use std::time::Duration;
use tokio::{task::yield_now, time::timeout};

/// How long a request may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// Before a client comes back to a store that is full, in milliseconds.
const FULL_MS: u64 = 60_000;

pub(super) fn routes() -> Router<Handle> {
    Router::new()
        .route("/keys/{identity}/{user}/devices", get(devices))
        .route(
            "/keys/{identity}/{user}/devices/{device}",
            post(publish).delete(remove),
        )
        .route("/keys/{identity}/{user}/claim", post(claim))
}

/// `POST /keys/{identity}/{user}/devices/{device}`
async fn publish(
    State(handle): State<Handle>,
    Extension(client): Extension<Client>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let published = async {
        let (person, device) = (person(&parts.uri)?, device(&parts.uri, 4)?);
        let signed = proof(&handle, &parts)?;
        let body = read(&client, &parts, body).await?;
        let path = format!("{}/devices/{device}", path_of(&person));
        let asked = (parts.method.as_str(), &*path, &key_of(&person));
        let signed = signed.check_keys(&handle, &client, asked, &body).await?;
        handle.0.limits.publish_keys(&client)?;
        let published = Published::read(&body)?;
        let offer = check(&handle, &client, (&person, &device), published).await?;
        let now = signed::now() / 1000;
        let bus = &handle.0.bus;
        let times = (signed.at, now);
        let left = bus.publish_packages(&person, &device, offer, times).await;
        let left = left.map_err(refused)?;
        metrics::key_packages("published");
        Ok(encode(&shown(&device, left)))
    };
    answered(published).await
}

/// `GET /keys/{identity}/{user}/devices`
async fn devices(
    State(handle): State<Handle>,
    Extension(client): Extension<Client>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let counted = async {
        let person = person(&parts.uri)?;
        let path = format!("{}/devices", path_of(&person));
        owner(&handle, &client, &parts, &path, &person.identity).await?;
        let now = signed::now() / 1000;
        let left = handle.0.bus.left_packages(&person, now).await;
        let left = left.map_err(failed)?;
        let devices = left.iter().map(|(device, left)| shown(device, *left));
        Ok(encode(&Devices {
            devices: devices.collect(),
        }))
    };
    answered(counted).await
}

/// `DELETE /keys/{identity}/{user}/devices/{device}`
async fn remove(
    State(handle): State<Handle>,
    Extension(client): Extension<Client>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let removed = async {
        let (person, device) = (person(&parts.uri)?, device(&parts.uri, 4)?);
        let path = format!("{}/devices/{device}", path_of(&person));
        let signed = owner(&handle, &client, &parts, &path, &person.identity).await?;
        let bus = &handle.0.bus;
        let removed = bus.remove_packages(&person, &device, signed.at).await;
        let removed = removed.map_err(refused)?;
        Ok(encode(&Removed { removed }))
    };
    answered(removed).await
}

/// `POST /keys/{identity}/{user}/claim?pub=KEY`
async fn claim(
    State(handle): State<Handle>,
    Extension(client): Extension<Client>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let claimed = async {
        let person = person(&parts.uri)?;
        let asker = asker(&parts)?;
        let signed = proof(&handle, &parts)?;
        let body = read(&client, &parts, body).await?;
        let path = format!("{}/claim", path_of(&person));
        let asked = (parts.method.as_str(), &*path, &asker);
        let signed = signed.check_keys(&handle, &client, asked, &body).await?;
        let whose = (key_of(&person), user_of(&person));
        handle.0.limits.claim_keys(&asker, whose, &client)?;
        signed::once(&handle, signed)?;
        let now = signed::now() / 1000;
        let bus = &handle.0.bus;
        let taken = bus.claim_packages(&person, &signed.digest, now).await;
        handed_out(&taken.map_err(failed)?)
    };
    answered(claimed).await
}

/// The answer to a claim.
fn handed_out(taken: &[(Name, Taken)]) -> Result<Utf8, Rejection> {
    if taken.is_empty() {
        let message = "no device of this person has key packages: it has to come and publish some";
        return Err(Rejection::new(Reason::NotFound, message));
    }
    let (mut claimed, mut wait) = (Claimed::default(), None);
    for (device, taken) in taken {
        let (package, last_resort) = match taken {
            Taken::OneTime(package) => (package, false),
            Taken::LastResort(package) => (package, true),
            Taken::Repeated => return Err(signed::repeated()),
            Taken::Nothing => {
                metrics::key_packages("missing");
                claimed.missing.push(device.as_str());
                continue;
            }
            Taken::Limited(seconds) => {
                metrics::key_packages("limited");
                wait = wait.max(Some(*seconds));
                claimed.missing.push(device.as_str());
                continue;
            }
        };
        metrics::key_packages(if last_resort {
            "last_resort"
        } else {
            "one_time"
        });
        claimed.packages.push(keys::Package {
            device: device.as_str(),
            package,
            last_resort,
        });
    }
    match wait {
        Some(seconds) if claimed.packages.is_empty() => Err(Rejection::retry(
            Reason::RateLimited,
            "too many key packages of this person were asked for lately: try again later",
            seconds * 1000,
        )),
        _ => Ok(encode(&claimed)),
    }
}

/// Checks what is published: all of this device, one key, and each what it is said to be.
async fn check(
    handle: &Handle,
    client: &Client,
    (person, device): (&Person, &Name),
    published: Published,
) -> Result<Offer, Rejection> {
    let by = Proven {
        user: person.user.clone(),
        identity: person.identity,
    };
    let now = signed::now() / 1000;
    let count = published.packages.len();
    client.request(Cost::frames(count))?;
    let mut offer = Offer::default();
    let all = published.packages.into_iter().map(|bytes| (bytes, false));
    let last = published.last_resort.map(|bytes| (bytes, true));
    for (number, (bytes, is_last)) in all.chain(last).enumerate() {
        let checked = {
            let _turn = handle.0.proofs.turn().await;
            seal::Published::check(&bytes, &by, now)
        };
        // A hundred of them are some 20 ms of a processor, which others want, too.
        yield_now().await;
        let bad = |why: &str| Rejection::new(Reason::BadField, why);
        let checked = checked.map_err(|why| bad(&format!("key package {number}: {why}")))?;
        if checked.certificate.device() != device {
            return Err(bad(&format!("key package {number} is of another device")));
        }
        if checked.is_last_resort != is_last {
            return Err(bad(&format!(
                "key package {number}: last_resort is the one that is made for more than one use, \
                 and no other"
            )));
        }
        let key = *checked.certificate.key();
        if number > 0 && key != offer.device_key {
            return Err(bad(&format!(
                "key package {number} is of another device's key"
            )));
        }
        offer.device_key = key;
        let package = Package {
            bytes,
            until: checked.until,
        };
        match is_last {
            true => offer.last_resort = Some(package),
            false => offer.one_time.push(package),
        }
    }
    Ok(offer)
}

/// Whether the request is of whoever has this identity.
pub(super) async fn owner(
    handle: &Handle,
    client: &Client,
    parts: &Parts,
    path: &str,
    identity: &Public,
) -> Result<replays::Signed, Rejection> {
    // HEAD is asked as GET is.
    let method = match &parts.method {
        method if *method == Method::HEAD => Method::GET.as_str(),
        method => method.as_str(),
    };
    let signed = proof(handle, parts)?;
    let asked = (method, path, &key(identity));
    signed.check_keys(handle, client, asked, b"").await
}

fn proof(handle: &Handle, parts: &Parts) -> Result<Signed, Rejection> {
    let signed = Signed::read(&parts.headers, &Hosts::of(&handle.0.config, parts))?;
    signed.ok_or_else(|| {
        let message = "prove the key of the identity: sign the request in the header \
                       Safe-Chat-Proof";
        Rejection::new(Reason::ProofRequired, message)
    })
}

async fn read(client: &Client, parts: &Parts, body: axum::body::Body) -> Result<Bytes, Rejection> {
    let body = rooms::read(client, &parts.headers, body).await;
    body.map_err(|refused| match refused {
        ServerFrame::Rejected { rejection, .. } => rejection,
        _ => unreachable!("a body is refused by a rejection"),
    })
}

/// Who asks, for somebody else's packages.
fn asker(parts: &Parts) -> Result<Key, Rejection> {
    let header = parts.headers.get_all(KEY).iter().next_back();
    let Some(header) = header else {
        return Parameters::of(&parts.uri)?.key();
    };
    let bad = |why: String| Rejection::new(Reason::BadPub, why);
    let text = header
        .to_str()
        .map_err(|_| bad("Chat-Key is no key".into()))?;
    Key::parse(text).map_err(|why| bad(why.to_string()))
}

/// Whose packages: `/keys/{identity}/{user}/...`.
fn person(uri: &Uri) -> Result<Person, Rejection> {
    Ok(Person {
        identity: identity(uri)?,
        user: name(uri, 2)?,
    })
}

pub(super) fn identity(uri: &Uri) -> Result<Public, Rejection> {
    let public = Public::parse(segment(uri, 1));
    public.map_err(|why| Rejection::new(Reason::BadPub, format!("the identity in the path {why}")))
}

pub(super) fn name(uri: &Uri, at: usize) -> Result<Name, Rejection> {
    let name = Name::parse(segment(uri, at));
    name.map_err(|why| Rejection::new(Reason::BadUser, why.to_string()))
}

pub(super) fn device(uri: &Uri, at: usize) -> Result<Name, Rejection> {
    let name = Name::parse(segment(uri, at));
    name.map_err(|why| super::request::bad(format!("the device in the path: {why}")))
}

/// As the path is signed, whatever of it was encoded.
fn path_of(person: &Person) -> String {
    format!("/keys/{}/{}", person.identity, person.user)
}

fn key(identity: &Public) -> Key {
    Key::parse(&identity.to_string()).expect("base64url is a key")
}

fn key_of(person: &Person) -> Key {
    key(&person.identity)
}

fn user_of(person: &Person) -> UserId {
    UserId::parse(person.user.as_str()).expect("a name of one is a name of the other")
}

fn shown(device: &Name, left: bus::packages::Left) -> Left<'_> {
    Left {
        device: device.as_str(),
        one_time: left.one_time,
        last_resort: left.last_resort,
    }
}

/// An answer, in time.
pub(super) async fn answered(work: impl Future<Output = Result<Utf8, Rejection>>) -> Response {
    let late = || Err(unavailable("this took too long: try again later"));
    match timeout(DEADLINE, work).await.unwrap_or_else(|_| late()) {
        Ok(body) => json(StatusCode::OK, body),
        Err(rejection) => refuse(&rejection),
    }
}

fn refused(refusal: Refusal) -> Rejection {
    match refusal {
        Refusal::TooManyDevices => Rejection::new(Reason::Forbidden, refusal.to_string()),
        Refusal::TooLarge => Rejection::new(Reason::TooLarge, refusal.to_string()),
        Refusal::Superseded => Rejection::new(Reason::Superseded, refusal.to_string()),
        Refusal::Bus(error) => failed(error),
    }
}

/// What a client is told of a bus that does not do it.
pub(super) fn failed(error: bus::Error) -> Rejection {
    tracing::debug!(%error, "key packages or welcomes are not reached");
    match error {
        bus::Error::Full(_) => {
            metrics::key_packages("full");
            Rejection {
                message: "no space is left for key packages and welcomes: try again later".into(),
                retry_after_ms: Some(FULL_MS),
                ..busy()
            }
        }
        bus::Error::TooLarge(_) => bus::too_large_now(),
        _ => unavailable("key packages and welcomes are not kept here now: try again later"),
    }
}
