//! The way in of a client that brings its token in its first frame (`first=token`): what needs no
//! token is refused before the upgrade; then the token is waited for, and only with it the room is
//! asked to let the client in.

use crate::{
    access::{Credentials, Right},
    gateway::{
        Client, Close, Handle, Join, Session,
        join::Connection,
        websocket::first::{receive, say_goodbye},
    },
    room::{Reason, Rejection, Token},
    wire::{ClientFrame, Protocol, ServerFrame},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::OwnedSemaphorePermit,
    time::timeout,
};

/// How long the first frame may take (contract with clients).
const DEADLINE: Duration = Duration::from_secs(10);
/// Bytes of its frame: the longest token, and what is around it.
const FRAME: usize = Token::MAX + 1024;

/// A client whose upgrade was granted, and which has to bring a token.
pub(super) struct Unadmitted {
    handle: Handle,
    client: Client,
    join: Join,
    connection: Connection,
    /// Among the clients of this node, while it waits.
    place: OwnedSemaphorePermit,
}

impl Unadmitted {
    /// It costs what a join costs.
    pub(super) fn new(
        handle: &Handle,
        client: &Client,
        join: Join,
        mut connection: Connection,
    ) -> Result<Self, Rejection> {
        if join.protocol == Protocol::Text {
            let message = "the text protocol has no frame for a token: bring it with the upgrade";
            return Err(Rejection::new(Reason::BadQuery, message));
        }
        let place = handle.0.place()?;
        drop(client.join(&join.room)?);
        // It is of the request, which ends with the upgrade.
        connection.presence = None;
        Ok(Self {
            handle: handle.clone(),
            client: client.clone(),
            join,
            connection,
            place,
        })
    }

    /// Its session, or nothing when it was told why there is none.
    pub(super) async fn enter<S>(mut self, io: &mut S) -> Option<Session>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (room, protocol) = (self.join.room.clone(), self.join.protocol);
        let admitting = timeout(DEADLINE, self.admit(io)).await;
        let late = || {
            let message = "the first frame did not bring a token within 10 s";
            Err(Refusal::told(
                None,
                Rejection::new(Reason::TokenRequired, message),
            ))
        };
        let refusal = match admitting.unwrap_or_else(|_| late()) {
            Ok(id) => {
                let Self {
                    handle,
                    client,
                    join,
                    connection,
                    place,
                } = self;
                drop(place);
                match handle.join_over(&client, join, connection).await {
                    Ok(session) => return Some(session),
                    Err(rejection) => Refusal::told(Some(id), rejection),
                }
            }
            Err(refusal) => refusal,
        };
        if let Some(close) = refusal.close {
            let frame = refusal.frame.and_then(|it| protocol.encode(&room, &it));
            say_goodbye(io, frame, close).await;
        }
        None
    }

    /// Waits for the token and checks it; the id of its frame.
    async fn admit<S>(&mut self, io: &mut S) -> Result<Arc<str>, Refusal>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (handle, join) = (&self.handle, &self.join);
        let read = receive(io, FRAME, |message| {
            join.protocol.decode(message, &join.user)
        });
        let read = read.await.map_err(|close| Refusal { frame: None, close })?;
        let (id, token) = match read {
            Ok(ClientFrame::Token { id, token }) => (id, token),
            Ok(_) => {
                let message = "the first frame must bring a token, as first=token says";
                let rejection = Rejection::new(Reason::TokenRequired, message);
                return Err(Refusal::told(None, rejection));
            }
            Err(refused) => return Err(Refusal::told(refused.id, refused.rejection)),
        };
        let brought = Credentials {
            token: Some(token),
            proven: false,
        };
        let access = &handle.0.access;
        let admission = access.admit(&join.room, Some(&join.user), Right::Read, &brought);
        match admission.await {
            Ok(admission) => {
                self.connection.admission = admission;
                Ok(id)
            }
            Err(rejection) => Err(Refusal::told(Some(id), rejection)),
        }
    }
}

/// How a client is told that it does not come in.
struct Refusal {
    frame: Option<ServerFrame>,
    /// Nothing: it has left.
    close: Option<Close>,
}

impl Refusal {
    fn told(id: Option<Arc<str>>, rejection: Rejection) -> Self {
        let close = match rejection.retry_after_ms {
            Some(_) => Close::Unavailable,
            None => Close::NotAdmitted,
        };
        Self {
            frame: Some(ServerFrame::Rejected { id, rejection }),
            close: Some(close),
        }
    }
}
