//! The way in of a client that shows behind its upgrade who it is: it brings a token in its first
//! frame (`first=token`), or proves its key (`auth=1`). What can be refused before the upgrade is
//! refused there; only when what the client shows fits, the room is asked to let it in.

use super::{gate, hosts::Hosts};
use crate::{
    access::{Admission, Credentials, Right},
    gateway::{
        Client, Close, Fault, Handle, Join, Session,
        join::Connection,
        metrics,
        websocket::first::{receive, say_goodbye},
    },
    room::{Reason, Rejection, Token},
    wire::{
        ClientFrame, ServerFrame,
        proof::{Nonce, PublicKey, SessionContext},
    },
};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

/// How long the first frame may take (contract with clients). A network that stalls is no fault of
/// the client's, so whoever is late may come back.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long the check of a proof may wait for its turn. That of a token has deadlines of its own.
const CHECK: Duration = Duration::from_secs(10);
/// Bytes of a frame with a token: the longest one, and what is around it.
const TOKEN: usize = Token::MAX + 1024;
/// Bytes of a frame with a proof, which has some 300.
const PROOF: usize = 1024;

/// What a client shows of who it is.
pub(super) enum Shows {
    /// A token.
    Token,
    /// That it has the other half of its key.
    Key {
        key: Box<PublicKey>,
        /// The same of the key that it takes the place of.
        former: Option<Box<PublicKey>>,
        /// The server that it means.
        hosts: Hosts,
    },
}

/// A client whose upgrade was granted, and which is not in yet.
pub(super) struct Unadmitted {
    pub(super) handle: Handle,
    pub(super) client: Client,
    pub(super) join: Join,
    pub(super) shows: Shows,
    pub(super) connection: Connection,
}

impl Unadmitted {
    /// Its session, or nothing when it was told why there is none.
    pub(super) async fn enter<S>(self, io: &mut S) -> Option<Session>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (room, protocol) = (self.join.room.clone(), self.join.protocol);
        let farewell = match self.shown(io).await {
            Ok((id, admission)) => {
                let Self {
                    handle,
                    client,
                    join,
                    shows,
                    mut connection,
                } = self;
                connection.admission = admission;
                match handle.join_over(&client, join, connection).await {
                    Ok(session) => return Some(session),
                    Err(rejection) => shows.refused(id, rejection),
                }
            }
            Err(farewell) => farewell,
        };
        if let Some(close) = farewell.close {
            let frame = farewell.frame;
            let frame = frame.and_then(|frame| protocol.encode(&room, &frame));
            say_goodbye(io, frame, close).await;
        }
        None
    }

    /// Waits for what it shows and checks it; the id of its frame, and what it may do.
    async fn shown<S>(&self, io: &mut S) -> Result<(Option<Arc<str>>, Admission), Farewell>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        match &self.shows {
            Shows::Token => {
                let (id, admission) = self.bring(io).await?;
                Ok((Some(id), admission))
            }
            Shows::Key { key, former, hosts } => {
                let proven = self.prove(io, **key, former.as_deref(), hosts).await;
                proven.map_err(Farewell::unproven)?;
                metrics::proof("fits");
                Ok((None, self.connection.admission))
            }
        }
    }

    /// Waits for the token and checks it.
    async fn bring<S>(&self, io: &mut S) -> Result<(Arc<str>, Admission), Farewell>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let join = &self.join;
        let read = receive(io, None, TOKEN, |message| {
            join.protocol.decode(message, &join.user)
        });
        let read = timeout(DEADLINE, read).await;
        let read = read.unwrap_or(Err(Some(Close::Late)));
        let read = read.map_err(|close| Farewell { frame: None, close })?;
        let (id, token) = match read {
            Ok(ClientFrame::Token { id, token }) => (id, token),
            Ok(_) => {
                let message = "the first frame must bring a token, as first=token says";
                let rejection = Rejection::new(Reason::TokenRequired, message);
                return Err(Farewell::refused(None, rejection));
            }
            Err(refused) => return Err(Farewell::refused(refused.id, refused.rejection)),
        };
        let brought = Credentials {
            token: Some(token),
            proven: false,
        };
        let (handle, client, user) = (&self.handle, &self.client, Some(&join.user));
        let admission = gate::admit(handle, client, &join.room, user, Right::Read, &brought);
        match admission.await {
            Ok(admission) => Ok((id, admission)),
            Err(rejection) => Err(Farewell::refused(Some(id), rejection)),
        }
    }

    /// Challenges it. The error is nothing when the client has left.
    async fn prove<S>(
        &self,
        io: &mut S,
        key: PublicKey,
        former: Option<&PublicKey>,
        hosts: &Hosts,
    ) -> Result<(), Option<Close>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Join {
            room,
            user,
            device,
            protocol,
            ..
        } = &self.join;
        let context = SessionContext {
            room: room.clone(),
            user: user.clone(),
            device: device.clone(),
            key,
            nonce: Nonce(rand::random()),
        };
        let challenge = ServerFrame::Challenge {
            nonce: context.nonce,
            within_ms: DEADLINE.as_millis() as u64,
        };
        let challenge = protocol.encode(room, &challenge);
        let malformed = Some(Close::Proof(Fault::Malformed));
        let proof = receive(io, challenge, PROOF, |said| protocol.decode_proof(said));
        let proof = timeout(DEADLINE, proof).await;
        let proof = proof.unwrap_or(Err(Some(Close::Late)));
        let proof = proof.map_err(|why| match why {
            Some(Close::TooBig) => malformed,
            why => why,
        });
        let proof = proof?.ok_or(malformed)?;
        if !hosts.include(&proof.host) {
            return Err(Some(Close::Proof(Fault::Host)));
        }
        let bytes = context.bytes(&proof.host);
        self.check(&key, &bytes, &proof.signature).await?;
        let Some(former) = former else {
            return Ok(());
        };
        let signature = proof.former.ok_or(malformed)?;
        let bytes = context.change(&proof.host, former);
        self.check(former, &bytes, &signature).await
    }

    async fn check(
        &self,
        key: &PublicKey,
        bytes: &[u8],
        signature: &[u8; 64],
    ) -> Result<(), Option<Close>> {
        let fits = self.handle.0.proofs.fits(key, bytes, signature);
        match timeout(CHECK, fits).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Some(Close::Proof(Fault::Signature))),
            Err(_) => Err(Some(Close::Late)),
        }
    }
}

impl Shows {
    /// It fits, and the room does not let its client in.
    fn refused(self, id: Option<Arc<str>>, rejection: Rejection) -> Farewell {
        match self {
            Self::Token => Farewell::refused(id, rejection),
            Self::Key { .. } => Farewell::later(&rejection),
        }
    }
}

/// How a client is told that it does not come in.
struct Farewell {
    frame: Option<ServerFrame>,
    /// Nothing: it has left.
    close: Option<Close>,
}

impl Farewell {
    fn refused(id: Option<Arc<str>>, rejection: Rejection) -> Self {
        let close = match rejection.retry_after_ms {
            Some(_) => Close::Unavailable,
            None => Close::NotAdmitted,
        };
        Self {
            frame: Some(ServerFrame::Rejected { id, rejection }),
            close: Some(close),
        }
    }

    fn unproven(close: Option<Close>) -> Self {
        match close {
            Some(Close::Proof(fault)) => metrics::proof(fault.as_str()),
            Some(Close::Late) => metrics::proof("late"),
            Some(_) => metrics::proof("other"),
            None => {}
        }
        Self { frame: None, close }
    }

    /// It comes back, and its request is refused with the reason.
    fn later(rejection: &Rejection) -> Self {
        if rejection.reason != Reason::Draining {
            return Self {
                frame: None,
                close: Some(Close::Unavailable),
            };
        }
        let bye = ServerFrame::Bye {
            reason: "draining".into(),
            reconnect_after_ms: rejection.retry_after_ms.unwrap_or_default(),
        };
        Self {
            frame: Some(bye),
            close: Some(Close::GoingAway),
        }
    }
}

#[cfg(test)]
mod tests;
