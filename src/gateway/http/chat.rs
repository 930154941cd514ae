//! `GET /chat/{room}/user/{user}`: joins, then upgrades. Every refusal is an answer before the
//! upgrade. A page cannot see that answer, so the same address without an upgrade gives it as well.
//! A client may bring its token behind the upgrade ([`super::first_frame`]).

use super::{
    answer::refuse,
    credentials,
    first_frame::Unadmitted,
    request::{self, Parameters},
    upgrade,
};
use crate::{
    access::{Admission, Policy, Right},
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
    let granted = match upgrade::is_wanted(&parts) {
        true => grant(&handle, &client, &parts).await,
        false => Err(ask(&handle, &client, &parts).await),
    };
    match granted {
        Ok((granted, response)) => {
            let counted = parts.extensions.remove();
            let upgrade = hyper::upgrade::on(Request::from_parts(parts, body));
            handle.0.spawn(talk(upgrade, granted, counted));
            response
        }
        Err(rejection) => refuse(&rejection),
    }
}

/// What an upgrade was granted to.
enum Granted {
    /// A client that is in.
    Session(Box<Session>),
    /// A client that brings a token first.
    Unadmitted(Box<Unadmitted>),
}

/// Joins, or lets a client bring its token. A client that goes away meanwhile drops this future,
/// and leaves nothing open.
async fn grant(
    handle: &Handle,
    client: &Client,
    request: &Parts,
) -> Result<(Granted, Response), Rejection> {
    let Wanted {
        join,
        echo,
        admission,
    } = wanted(handle, request).await?;
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
        admission: admission.unwrap_or(Admission::OPEN),
    };
    let granted = match admission {
        Some(_) => {
            let session = handle.join_over(client, join, connection).await?;
            Granted::Session(Box::new(session))
        }
        None => Granted::Unadmitted(Box::new(Unadmitted::new(handle, client, join, connection)?)),
    };
    Ok((granted, response))
}

/// The refusal that an upgrade would get now; if none, that an upgrade is what is missing.
async fn ask(handle: &Handle, client: &Client, request: &Parts) -> Rejection {
    let asked = async {
        let wanted = wanted(handle, request).await?;
        match wanted.admission {
            Some(_) => handle.may_join(client, &wanted.join).await,
            // Who has shown nothing yet learns nothing of the room.
            None => Ok(()),
        }
    };
    asked.await.err().unwrap_or_else(upgrade::required)
}

/// What a request asks for.
struct Wanted {
    join: Join,
    /// The subprotocol to name in the answer.
    echo: Option<&'static str>,
    /// `None`: its client will bring a token.
    admission: Option<Admission>,
}

/// What the path, then the query, then the headers say, if the room's policy lets it in.
async fn wanted(handle: &Handle, request: &Parts) -> Result<Wanted, Rejection> {
    let (uri, headers) = (&request.uri, &request.headers);
    let (room, user) = (request::room(uri)?, request::user_of_path(uri)?);
    let parameters = Parameters::of(uri)?;
    let key = credentials::key(handle, &room, headers, &parameters)?;
    let (from, device) = (parameters.from()?, parameters.device()?);
    let offered = request.headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let (protocol, echo) = Protocol::negotiate(offered.map(|value| value.to_str().unwrap_or("?")))?;
    let brought = credentials::brought(handle, headers, &parameters);
    let access = &handle.0.access;
    let waits = access.policy(&room) == Policy::Token && brought.token.is_none();
    let admission = match parameters.promises_token()? && waits {
        true => None,
        false => {
            let admission = access.admit(&room, Some(&user), Right::Read, &brought);
            Some(admission.await?)
        }
    };
    let join = Join {
        room,
        user,
        key,
        device,
        from,
        protocol,
    };
    Ok(Wanted {
        join,
        echo,
        admission,
    })
}

/// A connection that is not upgraded after all drops its session, which ends it. It counts until
/// it is closed.
async fn talk(upgrade: OnUpgrade, granted: Granted, counted: Option<Counted>) {
    let mut io = match upgrade.await {
        Ok(io) => TokioIo::new(io),
        Err(error) => {
            return tracing::debug!(%error, "a connection was gone before its upgrade");
        }
    };
    let session = match granted {
        Granted::Session(session) => *session,
        Granted::Unadmitted(unadmitted) => match unadmitted.enter(&mut io).await {
            Some(session) => session,
            None => return,
        },
    };
    let Some(way) = session.outbox().way().cloned() else {
        copying::serve(io, session).await;
        return drop(counted);
    };
    match listener::socket(io.into_inner()) {
        Ok((stream, early)) => way.attach(Upgraded::new(stream, early, session, counted)),
        Err(error) => tracing::debug!(%error, "a connection was gone after its upgrade"),
    }
}
