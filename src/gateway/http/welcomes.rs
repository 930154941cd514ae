//! Welcomes: what a device that was added to a sealed room needs to join, until it says that it has
//! it.

use super::{
    answer::refuse,
    keys::{answered, device, failed, identity, name, owner},
    request::segment,
};
use crate::{
    bus::admissions::{Admissions as _, Recipient, Waiting, WelcomeId},
    gateway::{Client, Handle, metrics},
    room::{Reason, Rejection},
    wire::keys::{By, Removed, Welcome, Welcomes, encode},
};
use axum::{
    Router,
    extract::{Extension, Request, State},
    http::{StatusCode, Uri, header::RETRY_AFTER},
    response::Response,
    routing::get,
};
use seal::delivery::Admission;

/// Seconds after which a device that waits asks again: nobody is added that often.
const POLL_SECONDS: u64 = 30;

pub(super) fn routes() -> Router<Handle> {
    Router::new()
        .route("/welcomes/{identity}/{user}/{device}", get(list))
        .route(
            "/welcomes/{identity}/{user}/{device}/{id}",
            get(fetch).delete(confirm),
        )
}

/// `GET /welcomes/{identity}/{user}/{device}`
async fn list(
    State(handle): State<Handle>,
    Extension(client): Extension<Client>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let listed = async {
        let device = recipient(&parts.uri)?;
        let path = path_of(&device);
        owner(&handle, &client, &parts, &path, &device.identity).await?;
        let waiting = handle.0.bus.waiting(&device).await.map_err(failed)?;
        Ok(encode(&Welcomes {
            welcomes: waiting.iter().map(|one| shown(one, None)).collect(),
            poll_after_ms: POLL_SECONDS * 1000,
        }))
    };
    let mut response = answered(listed).await;
    if response.status() == StatusCode::OK {
        response
            .headers_mut()
            .insert(RETRY_AFTER, POLL_SECONDS.into());
    }
    response
}

/// `GET /welcomes/{identity}/{user}/{device}/{id}`
async fn fetch(
    State(handle): State<Handle>,
    Extension(client): Extension<Client>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let fetched = async {
        let (device, id) = (recipient(&parts.uri)?, id(&parts.uri)?);
        let path = format!("{}/{id}", path_of(&device));
        owner(&handle, &client, &parts, &path, &device.identity).await?;
        let found = handle.0.bus.admission(&device, &id).await.map_err(failed)?;
        let (waiting, admission) = found.ok_or_else(|| {
            Rejection::new(Reason::NotFound, "no such welcome waits for this device")
        })?;
        metrics::welcomes("fetched");
        Ok(encode(&shown(&waiting, Some(&admission))))
    };
    // Some megabytes, at most.
    match handle.0.room_for_more() {
        Ok(()) => answered(fetched).await,
        Err(rejection) => refuse(&rejection),
    }
}

/// `DELETE /welcomes/{identity}/{user}/{device}/{id}`
async fn confirm(
    State(handle): State<Handle>,
    Extension(client): Extension<Client>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let confirmed = async {
        let (device, id) = (recipient(&parts.uri)?, id(&parts.uri)?);
        let path = format!("{}/{id}", path_of(&device));
        owner(&handle, &client, &parts, &path, &device.identity).await?;
        let confirmed = handle.0.bus.confirm_welcome(&device, &id).await;
        let removed = confirmed.map_err(failed)?;
        metrics::welcomes("confirmed");
        Ok(encode(&Removed { removed }))
    };
    answered(confirmed).await
}

fn recipient(uri: &Uri) -> Result<Recipient, Rejection> {
    Ok(Recipient {
        identity: identity(uri)?,
        user: name(uri, 2)?,
        device: device(uri, 3)?,
    })
}

fn id(uri: &Uri) -> Result<WelcomeId, Rejection> {
    WelcomeId::parse(segment(uri, 4))
        .ok_or_else(|| Rejection::new(Reason::NotFound, "that is no id of a welcome"))
}

/// As the path is signed, whatever of it was encoded.
fn path_of(device: &Recipient) -> String {
    let Recipient {
        identity,
        user,
        device,
    } = device;
    format!("/welcomes/{identity}/{user}/{device}")
}

fn shown<'a>(waiting: &'a Waiting, admission: Option<&'a Admission>) -> Welcome<'a> {
    let WelcomeId { place, by } = &waiting.id;
    Welcome {
        id: waiting.id.to_string(),
        room: place.room.as_str(),
        seq: place.seq.0,
        epoch: place.epoch,
        at: waiting.at.0,
        by: By {
            user: &waiting.by_user,
            device: &waiting.by_device,
            key: by.to_string(),
        },
        size: waiting.size,
        welcome: admission.map(|one| &*one.welcome),
        tree: admission.map(|one| &*one.tree),
    }
}
