//! `GET /chat/{room}/user/{user}`: joins, then upgrades. Every refusal is an answer before the
//! upgrade. A page cannot see that answer, so the same address without an upgrade gives it as well.

use super::{
    answer::refuse,
    request::{self, Parameters},
    upgrade,
};
use crate::{
    gateway::{
        Client, Handle, Join, Session,
        join::Connection,
        websocket::{Loops, Upgraded, copying},
    },
    listener::{self, Arrival, Counted, Plain},
    room::Rejection,
    wire::Protocol,
};
use axum::{
    extract::{Extension, Request, State},
    http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL, request::Parts},
    response::Response,
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

pub(super) async fn chat(
    State(handle): State<Handle>,
    Extension(client): Extension<Client>,
    request: Request,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let opened = match upgrade::is_wanted(&parts) {
        true => open(&handle, &client, &parts).await,
        false => Err(ask(&handle, &client, &parts).await),
    };
    match opened {
        Ok((session, response)) => {
            let counted = parts.extensions.remove();
            let upgrade = hyper::upgrade::on(Request::from_parts(parts, body));
            handle.0.spawn(talk(upgrade, session, counted));
            response
        }
        Err(rejection) => refuse(&rejection),
    }
}

/// Joins. A client that goes away meanwhile drops this future, and leaves nothing open.
async fn open(
    handle: &Handle,
    client: &Client,
    request: &Parts,
) -> Result<(Session, Response), Rejection> {
    let (join, echo) = wanted(request)?;
    let mut response = upgrade::accept(request)?;
    if let Some(name) = echo {
        let name = HeaderValue::from_static(name);
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, name);
    }
    let connection = Connection {
        arrival: request
            .extensions
            .get()
            .copied()
            .unwrap_or_else(Arrival::next),
        presence: request.extensions.get().cloned(),
        origin: request::origin(&request.headers),
        loops: request
            .extensions
            .get()
            .and_then(|Plain| request.extensions.get::<Loops>().cloned()),
    };
    let session = handle.join_over(client, join, connection).await?;
    Ok((session, response))
}

/// The refusal that an upgrade would get now; if none, that an upgrade is what is missing.
async fn ask(handle: &Handle, client: &Client, request: &Parts) -> Rejection {
    let asked = async {
        let (join, _) = wanted(request)?;
        handle.may_join(client, &join).await
    };
    asked.await.err().unwrap_or_else(upgrade::required)
}

/// What the path, then the query, then the headers say.
fn wanted(request: &Parts) -> Result<(Join, Option<&'static str>), Rejection> {
    let uri = &request.uri;
    let (room, user) = (request::room(uri)?, request::user_of_path(uri)?);
    let parameters = Parameters::of(uri)?;
    let (key, from, device) = (parameters.key()?, parameters.from()?, parameters.device()?);
    let offered = request.headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let (protocol, echo) = Protocol::negotiate(offered.map(|value| value.to_str().unwrap_or("?")))?;
    let join = Join {
        room,
        user,
        key,
        device,
        from,
        protocol,
    };
    Ok((join, echo))
}

/// A connection that is not upgraded after all drops its session, which ends it. It counts until
/// it is closed.
async fn talk(upgrade: OnUpgrade, session: Session, counted: Option<Counted>) {
    let io = match upgrade.await {
        Ok(io) => io,
        Err(error) => {
            return tracing::debug!(%error, "a connection was gone before its upgrade");
        }
    };
    let Some(way) = session.outbox().way().cloned() else {
        copying::serve(TokioIo::new(io), session).await;
        return drop(counted);
    };
    match listener::socket(io) {
        Ok((stream, early)) => way.attach(Upgraded::new(stream, early, session, counted)),
        Err(error) => tracing::debug!(%error, "a connection was gone after its upgrade"),
    }
}
