//! A message into a room, and a page of its history, without a WebSocket.

use super::{
    answer::{json, refuse, refuse_with},
    credentials, gate,
    hosts::Hosts,
    request::{self, Parameters},
    signed::{self, Signed},
};
use crate::{
    access::Right,
    gateway::{Client, Handle, limits::Cost, metrics, owner, replays},
    listener::content_length,
    room::{CommandId, Identity, Key, Reason, Rejection, RoomId, UserId},
    telemetry::trace::hop,
    wire::{self, Encoded, Message, Protocol, ServerFrame, Utf8, decode_send_object},
};
use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{Extension, Request, State},
    http::{HeaderMap, StatusCode, request::Parts},
    response::Response,
};
use http_body_util::LengthLimitError;
use std::{error::Error, sync::Arc, time::Duration};
use tokio::time::timeout;
use tracing::{Instrument, Span};

/// Bytes of a body: the largest sealed message in base64 and what is around it.
const BODY: usize = 131_072;
/// How long a body may take to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// `POST /rooms/{room}/messages?user=U`
pub(super) async fn message(
    State(handle): State<Handle>,
    Extension(client): Extension<Client>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let headers = &parts.headers;
    let (room, user, key, signed) = match addressed(&handle, &client, &parts).await {
        Ok(addressed) => addressed,
        Err(rejection) => return refuse(&rejection),
    };
    let body = match read(&client, headers, body).await {
        Ok(body) => body,
        Err(refused) => return answer(&room, &refused),
    };
    let signed = match &signed {
        None => None,
        Some(signed) => {
            let whose = (&room, &user, &key);
            let method = parts.method.as_str();
            match signed.check(&handle, &client, method, whose, &body).await {
                Ok(signed) => Some(signed),
                Err(rejection) => return refuse(&rejection),
            }
        }
    };
    let message = match decode_send_object(&body) {
        Ok(message) => message,
        Err(refused) => return answer(&room, &ServerFrame::from(refused)),
    };
    let span = hop::message(&request::origin(headers), message.body.size());
    let posting = post((&handle, &client), &room, (user, key), signed, message);
    let posted = posting.instrument(span.clone()).await;
    note(&span, &posted);
    match posted {
        Ok(frame) => answer(&room, &frame),
        Err(rejection) => refuse(&rejection),
    }
}

/// Has a message journaled. A signed one that was journaled through this gateway is not again: who
/// recorded the request may have waited until the room has forgotten its id.
async fn post(
    (handle, client): (&Handle, &Client),
    room: &RoomId,
    (user, key): (UserId, Key),
    signed: Option<replays::Signed>,
    message: Message,
) -> Result<ServerFrame, Rejection> {
    let Some(signed) = signed else {
        let whose = (key, Identity::Claimed);
        return handle.post_of(client, room, user, whose, message).await;
    };
    let id = message.id.as_ref().and_then(CommandId::shown);
    let id: Arc<str> = id.unwrap_or_default().into();
    let replays = &handle.0.replays;
    match replays.first(&signed, signed::now()) {
        Ok(None) => {}
        Ok(Some((seq, epoch))) => {
            return Ok(ServerFrame::Journaled {
                id,
                seq,
                epoch,
                duplicate: true,
            });
        }
        Err(rejection) => {
            metrics::refused(&rejection);
            let id = Some(id);
            return Ok(ServerFrame::Rejected { id, rejection });
        }
    }
    let whose = (key, Identity::Proven);
    let posted = handle.post_of(client, room, user, whose, message).await;
    if let Ok(ServerFrame::Journaled { seq, epoch, .. }) = posted {
        replays.keep(signed, (seq, epoch));
    }
    posted
}

/// Where a message is to go, in whose name and with which proof, if the room's policy lets it.
async fn addressed(
    handle: &Handle,
    client: &Client,
    parts: &Parts,
) -> Result<(RoomId, UserId, Key, Option<Signed>), Rejection> {
    let Parts { uri, headers, .. } = parts;
    let room = request::room(uri)?;
    let parameters = Parameters::of(uri)?;
    let user = parameters.user()?;
    let key = credentials::key(handle, &room, headers, &parameters)?;
    let signed = match key.is_vouched() {
        // Where a token says who somebody is, no key does.
        true => None,
        false => Signed::read(headers, &Hosts::of(&handle.0.config, parts))?,
    };
    // It will be, or the message is refused.
    let proven = signed.is_some();
    let brought = credentials::brought(handle, headers, &parameters, proven);
    gate::admit(handle, client, &room, Some(&user), Right::Write, &brought).await?;
    if let Some(wanted) = parameters.policy()? {
        let own = owner::policy(&handle.0, &room, owner::DEADLINE).await?;
        gate::expect(Some(wanted), own)?;
    }
    Ok((room, user, key, signed))
}

/// Ends the span of a message with what became of it.
fn note(span: &Span, posted: &Result<ServerFrame, Rejection>) {
    match posted {
        Ok(ServerFrame::Journaled {
            seq,
            epoch,
            duplicate,
            ..
        }) => {
            let outcome = if *duplicate { "duplicate" } else { "journaled" };
            hop::answered(span, outcome, Some((seq.0, epoch.0)));
        }
        Ok(ServerFrame::Rejected { rejection, .. }) | Err(rejection) => {
            hop::answered(span, rejection.reason.as_str(), None);
        }
        Ok(_) => {}
    }
}

pub(super) async fn read(
    client: &Client,
    headers: &HeaderMap,
    body: Body,
) -> Result<Bytes, ServerFrame> {
    let refused = |rejection| ServerFrame::Rejected {
        id: None,
        rejection,
    };
    let too_large = || {
        refused(Rejection::new(
            Reason::TooLarge,
            "the body may have 131072 bytes at most",
        ))
    };
    if content_length(headers).is_some_and(|length| length > BODY as u64) {
        return Err(too_large());
    }
    let body = timeout(BODY_DEADLINE, to_bytes(body, BODY)).await;
    let body = body.map_err(|_| {
        refused(Rejection::retry(
            Reason::Unavailable,
            "the body did not arrive in time: send it again",
            1_000,
        ))
    })?;
    let body = body.map_err(|error| match is_too_long(&error) {
        true => too_large(),
        false => refused(Rejection::new(
            Reason::BadFrame,
            "the body is not framed as HTTP/1.1 has it, or ended before its end",
        )),
    })?;
    client.read(body.len()).map_err(refused)?;
    Ok(body)
}

fn is_too_long(error: &axum::Error) -> bool {
    error
        .source()
        .is_some_and(|source| source.is::<LengthLimitError>())
}

/// `GET /rooms/{room}/history?before=SEQ&limit=N`
pub(super) async fn history(
    State(handle): State<Handle>,
    Extension(client): Extension<Client>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let page = async {
        let room = request::room(&parts.uri)?;
        let parameters = Parameters::of(&parts.uri)?;
        let (before, limit) = parameters.page()?;
        let within = owner::DEADLINE;
        gate::reader(&handle, &client, &parts, &room, &parameters, within).await?;
        let frame = handle.history(&client, &room, before, limit).await?;
        Ok((room, frame))
    };
    match page.await {
        Ok((room, frame)) => answer(&room, &frame),
        Err(rejection) => refuse(&rejection),
    }
}

/// `GET /rooms/{room}/group`: with what a device comes back into the group of a sealed room.
pub(super) async fn group(
    State(handle): State<Handle>,
    Extension(client): Extension<Client>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let group = async {
        let room = request::room(&parts.uri)?;
        let parameters = Parameters::of(&parts.uri)?;
        client.request(Cost::GROUP.beyond_a_frame())?;
        let within = owner::DEADLINE;
        gate::reader(&handle, &client, &parts, &room, &parameters, within).await?;
        let group = owner::group(&handle.0, &room).await?;
        group.ok_or_else(|| {
            let message = "the room has no group: it is not sealed, or nobody has founded one yet";
            Rejection::new(Reason::NotFound, message)
        })
    };
    match group.await {
        Ok(group) => json(StatusCode::OK, wire::http::group(&group)),
        Err(rejection) => refuse(&rejection),
    }
}

/// A frame as an answer.
fn answer(room: &RoomId, frame: &ServerFrame) -> Response {
    let body = encode(room, frame);
    match frame {
        ServerFrame::Rejected { rejection, .. } => refuse_with(rejection, body),
        _ => json(StatusCode::OK, body),
    }
}

fn encode(room: &RoomId, frame: &ServerFrame) -> Utf8 {
    match Protocol::Json.encode(room, frame) {
        Some(Encoded::Text(json)) => json,
        _ => unreachable!("JSON has every frame, as text"),
    }
}
