//! Lets in who comes with a request, as the policy of the room says.

use super::{credentials, hosts::Hosts, request::Parameters, signed::Signed};
use crate::{
    access::{Admission, Credentials, Policy, Right},
    gateway::{Client, Handle, limits::Cost},
    room::{Rejection, RoomId, UserId},
};
use axum::http::request::Parts;

/// What a client may do in a room, and until when. A token is paid for before it is looked at, for
/// a bad one is as dear as a good one.
pub(super) async fn admit(
    handle: &Handle,
    client: &Client,
    room: &RoomId,
    user: Option<&UserId>,
    right: Right,
    brought: &Credentials,
) -> Result<Admission, Rejection> {
    let access = &handle.0.access;
    if brought.token.is_some() && access.policy(room) == Policy::Token {
        client.request(Cost::TOKEN)?;
    }
    access.admit(room, user, right, brought).await
}

/// What the bearer of a request may read, and until when. Only a room that asks for a proof looks at
/// one: checking it is dear. Then the request says whose key it is, as a message does.
pub(super) async fn reader(
    handle: &Handle,
    client: &Client,
    parts: &Parts,
    room: &RoomId,
    parameters: &Parameters,
) -> Result<Admission, Rejection> {
    let access = &handle.0.access;
    let proven = match access.policy(room) {
        Policy::Proven => proves(handle, client, parts, room, parameters).await?,
        Policy::Open | Policy::Token => false,
    };
    let brought = credentials::brought(handle, &parts.headers, parameters, proven);
    admit(handle, client, room, None, Right::Read, &brought).await
}

/// Whether a request proves the key that it names. One that does not try proves none.
async fn proves(
    handle: &Handle,
    client: &Client,
    parts: &Parts,
    room: &RoomId,
    parameters: &Parameters,
) -> Result<bool, Rejection> {
    let hosts = Hosts::of(&handle.0.config, parts);
    let Some(signed) = Signed::read(&parts.headers, &hosts)? else {
        return Ok(false);
    };
    let user = parameters.user()?;
    let key = credentials::key(handle, room, &parts.headers, parameters)?;
    let (method, whose) = (parts.method.as_str(), (room, &user, &key));
    signed.check(handle, client, method, whose, b"").await?;
    Ok(true)
}
