//! Lets in who comes with a request, as the policy of the room says.

use super::{credentials, hosts::Hosts, request::Parameters, signed::Signed};
use crate::{
    access::{Admission, Credentials, Policy, Right},
    gateway::{Client, Handle, limits::Cost, owner},
    room::{self, Key, Reason, Rejection, RoomId, UserId},
};
use axum::http::request::Parts;
use std::time::Duration;

const PROOF_WANTED: &str = "this room asks for a proof of the key: add the header Safe-Chat-Proof, \
                            and user= and pub= to the address";

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

/// Whether it may be a room where a token says what somebody may do, and a key who that is: a
/// sealed one, whose members are keys. Elsewhere a token says both, and no key is looked at.
pub(super) fn needs_both(handle: &Handle, room: &RoomId, parameters: &Parameters) -> bool {
    handle.0.access.policy(room) == Policy::Token && parameters.wants_proof() == Ok(true)
}

/// Whether the room is sealed, or is to be.
pub(super) async fn is_sealed(
    handle: &Handle,
    room: &RoomId,
    wanted: Option<room::Policy>,
) -> Result<bool, Rejection> {
    let sealed = Some(room::Policy::Sealed);
    Ok(wanted == sealed || Some(owner::policy(&handle.0, room, owner::DEADLINE).await?) == sealed)
}

/// What the bearer of a request may read, and until when. Only a room that asks for a proof looks
/// at one: checking it is dear. Then the request says whose key it is, as a message does. A room
/// asks for it by what operators say of its name, or by its own policy, which its owner says within
/// some time.
pub(super) async fn reader(
    handle: &Handle,
    client: &Client,
    parts: &Parts,
    room: &RoomId,
    parameters: &Parameters,
    within: Duration,
) -> Result<Admission, Rejection> {
    let access = &handle.0.access;
    let mut proven = match access.policy(room) {
        Policy::Proven => proves(handle, client, parts, room, parameters).await?,
        Policy::Open | Policy::Token => None,
    };
    let brought = credentials::brought(handle, &parts.headers, parameters, proven.is_some());
    let admission = admit(handle, client, room, None, Right::Read, &brought).await?;
    let own = owner::policy(&handle.0, room, within).await?;
    expect(parameters.policy()?, own)?;
    match own {
        room::Policy::Open => {}
        room::Policy::Proven if access.policy(room) == Policy::Token => {}
        room::Policy::Proven | room::Policy::Sealed => {
            if access.policy(room) == Policy::Token {
                // The token is of whoever proves the key.
                let user = parameters.user()?;
                admit(handle, client, room, Some(&user), Right::Read, &brought).await?;
            }
            if proven.is_none() {
                proven = proves(handle, client, parts, room, parameters).await?;
            }
            if proven.is_none() {
                return Err(Rejection::new(Reason::ProofRequired, PROOF_WANTED));
            }
        }
    }
    // As a session: whoever proves a key of its own does not read under somebody else's name.
    if let Some((user, key)) = proven {
        owner::check_name(&handle.0, room, user, key, within).await?;
    }
    Ok(admission)
}

/// Refuses who wants another policy than the room has. Only a session makes a room with one.
pub(super) fn expect(wanted: Option<room::Policy>, own: room::Policy) -> Result<(), Rejection> {
    let message = "the room has another policy: leave out policy, or take another room; only a \
                   session makes a room with one";
    match wanted.is_none_or(|wanted| wanted == own) {
        true => Ok(()),
        false => Err(Rejection::new(Reason::OtherPolicy, message)),
    }
}

/// Whose key a request proves, of those that it names. One that does not try proves none.
async fn proves(
    handle: &Handle,
    client: &Client,
    parts: &Parts,
    room: &RoomId,
    parameters: &Parameters,
) -> Result<Option<(UserId, Key)>, Rejection> {
    let hosts = Hosts::of(&handle.0.config, parts);
    let Some(signed) = Signed::read(&parts.headers, &hosts)? else {
        return Ok(None);
    };
    let user = parameters.user()?;
    let key = credentials::named_key(&parts.headers, parameters)?;
    let (method, whose) = (parts.method.as_str(), (room, &user, &key));
    signed.check(handle, client, method, whose, b"").await?;
    Ok(Some((user, key)))
}
