//! `GET /chat/{room}/user/{user}`: joins, then upgrades. Every refusal is an answer before the upgrade.

use super::{
    answer::refuse,
    request::{self, Parameters},
};
use crate::{
    door::Counted,
    gateway::{Client, Handle, Join, Session, socket},
    room::{Reason, Rejection},
    wire::Protocol,
};
use axum::{
    body::Body,
    extract::{Extension, Request, State},
    http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL},
    response::Response,
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

pub(super) async fn chat(
    State(handle): State<Handle>,
    Extension(client): Extension<Client>,
    mut request: Request,
) -> Response {
    match open(&handle, &client, &mut request).await {
        Ok((session, response)) => {
            let (upgrade, counted) = (
                hyper::upgrade::on(&mut request),
                request.extensions_mut().remove(),
            );
            handle.0.spawn(talk(upgrade, session, counted));
            response
        }
        Err(rejection) => refuse(&rejection),
    }
}

/// Checks the path, then the query, then the headers; then joins. A client that goes away meanwhile drops this future, and leaves nothing open.
async fn open(
    handle: &Handle,
    client: &Client,
    request: &mut Request,
) -> Result<(Session, Response), Rejection> {
    let (room, user) = (
        request::room(request.uri())?,
        request::user_of_path(request.uri())?,
    );
    let parameters = Parameters::of(request.uri())?;
    let (key, from, device) = (parameters.key()?, parameters.from()?, parameters.device()?);
    let offered = request
        .headers()
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .map(|value| value.to_str().unwrap_or("?"));
    let (protocol, echo) = Protocol::negotiate(offered)?;
    let mut response =
        create_response_with_body(request, Body::empty).map_err(|_| not_an_upgrade())?;
    if let Some(name) = echo {
        response
            .headers_mut()
            .insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(name));
    }
    let session = handle
        .join_of(
            client,
            Join {
                room,
                user,
                key,
                device,
                from,
                protocol,
            },
        )
        .await?;
    Ok((session, response))
}

/// A connection that is not upgraded after all drops its session, which ends it. It counts until it is closed.
async fn talk(upgrade: OnUpgrade, session: Session, _counted: Option<Counted>) {
    match upgrade.await {
        Ok(io) => socket::serve(TokioIo::new(io), session).await,
        Err(error) => tracing::debug!(%error, "a connection was gone before its upgrade"),
    }
}

fn not_an_upgrade() -> Rejection {
    Rejection::new(
        Reason::UpgradeRequired,
        "connect with a WebSocket (version 13); without one there are /rooms/{room}/events and /rooms/{room}/messages",
    )
}
