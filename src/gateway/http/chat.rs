//! `GET /chat/{room}/user/{user}`: joins, then upgrades. Every refusal is an answer before the
//! upgrade. A page cannot see that answer, so the same address without an upgrade gives it as well.
//! A client may show behind the upgrade who it is ([`super::handshake`]).

use super::{
    answer::refuse,
    credentials, gate,
    handshake::{Shows, Unadmitted},
    hosts::Hosts,
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
    room::{Identity, Key, Reason, Rejection},
    wire::{Protocol, proof::PublicKey},
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
    /// A client that shows first who it is.
    Unadmitted(Box<Unadmitted>),
}

/// Joins, or makes sure that a client may that shows first who it is. A client that goes away
/// meanwhile drops this future, and leaves nothing open.
async fn grant(
    handle: &Handle,
    client: &Client,
    request: &Parts,
) -> Result<(Granted, Response), Rejection> {
    let Wanted {
        join,
        echo,
        shows,
        admission,
    } = wanted(handle, client, request).await?;
    let mut response = upgrade::accept(request)?;
    if let Some(name) = echo {
        let name = HeaderValue::from_static(name);
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, name);
    }
    let mut connection = Connection {
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
        admission,
        knock: None,
    };
    let granted = match shows {
        None => {
            let session = handle.join_over(client, join, connection).await?;
            Granted::Session(Box::new(session))
        }
        Some(shows) => {
            connection.knock = Some(match &shows {
                // Only here: a page that asks cannot say which protocol it would speak.
                Shows::Token if join.protocol == Protocol::Text => return Err(no_frame()),
                // Who has shown nothing yet learns nothing of the room.
                Shows::Token => handle.await_token(client, &join)?,
                Shows::Key { .. } => handle.knock(client, &join).await?,
            });
            // It is of the request, which ends with the upgrade.
            connection.presence = None;
            Granted::Unadmitted(Box::new(Unadmitted {
                handle: handle.clone(),
                client: client.clone(),
                join,
                shows,
                connection,
            }))
        }
    };
    Ok((granted, response))
}

/// The refusal that an upgrade would get now; if none, that an upgrade is what is missing.
async fn ask(handle: &Handle, client: &Client, request: &Parts) -> Rejection {
    let asked = async {
        let wanted = wanted(handle, client, request).await?;
        match wanted.shows {
            // Who has shown nothing yet learns nothing of the room.
            Some(Shows::Token) => handle.await_token(client, &wanted.join).map(drop),
            Some(Shows::Key { .. }) | None => handle.may_join(client, &wanted.join).await,
        }
    };
    asked.await.err().unwrap_or_else(upgrade::required)
}

/// What a request asks for.
struct Wanted {
    join: Join,
    /// The subprotocol to name in the answer.
    echo: Option<&'static str>,
    /// What its client shows behind the upgrade, if it does.
    shows: Option<Shows>,
    /// Nothing until a token has come that says more.
    admission: Admission,
}

/// What the path, then the query, then the headers say, if the room's policy lets it in.
async fn wanted(handle: &Handle, client: &Client, request: &Parts) -> Result<Wanted, Rejection> {
    let (uri, headers) = (&request.uri, &request.headers);
    let (room, user) = (request::room(uri)?, request::user_of_path(uri)?);
    let parameters = Parameters::of(uri)?;
    let mut key = credentials::key(handle, &room, headers, &parameters)?;
    let (from, device) = (parameters.from()?, parameters.device()?);
    let policy = parameters.policy()?;
    let mut public = match parameters.wants_proof()? {
        // Where a token says who somebody is, no key does.
        true if !key.is_vouched() => Some(PublicKey::parse(&key).ok_or_else(no_public_key)?),
        true | false => None,
    };
    let offered = request.headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let (protocol, echo) = Protocol::negotiate(offered.map(|value| value.to_str().unwrap_or("?")))?;
    let brought = credentials::brought(handle, headers, &parameters, public.is_some());
    let access = &handle.0.access;
    let lacks_token = access.policy(&room) == Policy::Token && brought.token.is_none();
    let admitted = || gate::admit(handle, client, &room, Some(&user), Right::Read, &brought);
    let mut admission = None;
    // A member of a group is a key, whatever its token says.
    if !lacks_token && gate::needs_both(handle, &room, &parameters) {
        admission = Some(admitted().await?);
        if gate::is_sealed(handle, &room, policy).await? {
            key = credentials::named_key(headers, &parameters)?;
            public = Some(PublicKey::parse(&key).ok_or_else(no_public_key)?);
        }
    }
    // Both will be, or the client does not come in.
    let proven = public.is_some();
    let former = former(&parameters, &key, proven)?;
    let (shows, admission) = match parameters.promises_token()? && lacks_token {
        true => (Some(Shows::Token), Admission::NONE),
        false => {
            let shows = public.map(|key| {
                let hosts = Hosts::of(&handle.0.config, request);
                Shows::Key {
                    key: key.into(),
                    former: former.as_ref().map(|(_, former)| (*former).into()),
                    hosts,
                }
            });
            let admission = match admission {
                Some(admission) => admission,
                None => admitted().await?,
            };
            (shows, admission)
        }
    };
    let join = Join {
        room,
        user,
        key,
        identity: Identity::of(proven),
        device,
        from,
        protocol,
        policy,
        former: former.map(|(named, _)| named),
    };
    Ok(Wanted {
        join,
        echo,
        shows,
        admission,
    })
}

/// The key whose place the one of the request is to take. Where a token says who somebody is, no key
/// is looked at.
fn former(
    parameters: &Parameters,
    key: &Key,
    proven: bool,
) -> Result<Option<(Key, PublicKey)>, Rejection> {
    let Some(former) = parameters.former()?.filter(|_| !key.is_vouched()) else {
        return Ok(None);
    };
    if !proven {
        let message = "former needs auth=1: both keys sign the answer to the challenge";
        return Err(request::bad(message));
    }
    let message = "former must be the Ed25519 public key that the name had, base64url of its 32 \
                   bytes";
    let public = PublicKey::parse(&former).ok_or_else(|| request::bad(message))?;
    Ok(Some((former, public)))
}

fn no_public_key() -> Rejection {
    let message = "auth=1 needs a pub that can be proven: an Ed25519 public key, base64url of its \
                   32 bytes";
    Rejection::new(Reason::BadPub, message)
}

fn no_frame() -> Rejection {
    let message = "the text protocol has no frame for a token: bring it with the upgrade";
    Rejection::new(Reason::BadQuery, message)
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
