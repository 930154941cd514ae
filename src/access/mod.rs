//! Who may come in: the policy of each room, and the tokens that say who somebody is.
//!
//! [`Access::admit`] is the only place where that is decided, for sockets, messages, streams and
//! pages alike. Tokens are JWT (RFC 7519), checked against keys of files and of a key set that an
//! issuer publishes ([`keys`], [`jwks`]). A bad token costs a bounded amount of work, and the
//! refusal says no more than its bearer may know.

mod config;
mod end;
mod files;
mod jwks;
mod keys;
mod pattern;
mod policy;
mod token;
mod turns;

pub use crate::secret::Unusable as Error;
pub use config::Config;
pub use end::End;
pub use pattern::Pattern;
pub use policy::Policy;
pub use token::{Claims, Rights, sign};
pub use turns::Turns;

use crate::{
    metric,
    room::{Key, Reason, Rejection, RoomId, Token, UserId},
};
use files::Files;
use jwks::Remote;
use policy::Rules;
use std::{sync::Arc, time::SystemTime};
use token::{Checks, Failure, Grant};
use tokio_util::sync::CancellationToken;

/// What somebody wants to do in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// To see its events: a session, a stream, a page of history.
    Read,
    /// To say something.
    Write,
}

impl Right {
    /// What is said to whom lacks it.
    pub fn missing(self) -> &'static str {
        match self {
            Self::Read => "the token gives no right to read: its rights must name read",
            Self::Write => "the token gives no right to write: its rights must name write",
        }
    }
}

/// What somebody brings.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// A token, as it came.
    pub token: Option<Token>,
    /// Whether possession of the key was proven; or it is yet to be, and who cannot is not let in.
    pub proven: bool,
}

/// What somebody who was let in may do, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    /// What.
    pub rights: Rights,
    /// Until when; `None`: as long as they like.
    pub until: Option<End>,
}

impl Admission {
    /// Everything, without end.
    pub const OPEN: Self = Self {
        rights: Rights {
            read: true,
            write: true,
        },
        until: None,
    };

    /// Nothing.
    pub const NONE: Self = Self {
        rights: Rights {
            read: false,
            write: false,
        },
        until: None,
    };
}

/// Lets people in, or not. Cheap to clone.
#[derive(Clone, Default)]
pub struct Access(Arc<Inner>);

#[derive(Default)]
struct Inner {
    rules: Rules,
    checks: Checks,
    files: Files,
    remote: Option<Remote>,
    turns: Turns,
    in_url: bool,
}

impl Access {
    /// As the configuration says, which is valid. Reads the key files, and asks nobody.
    pub fn load(config: &Config) -> Result<Self, Error> {
        let remote = match config.address() {
            Some(address) => Some(Remote::new(&address, config)?),
            None => None,
        };
        Ok(Self(Arc::new(Inner {
            rules: config.rules(),
            checks: config.checks(),
            files: Files::load(config)?,
            remote,
            turns: Turns::default(),
            in_url: config.in_url,
        })))
    }

    /// The policy of a room.
    pub fn policy(&self, room: &RoomId) -> Policy {
        self.0.rules.of(room)
    }

    /// The turns in which signatures are checked, of tokens as of proofs.
    pub fn turns(&self) -> Turns {
        self.0.turns.clone()
    }

    /// Whether a token may stand in an address.
    pub fn takes_urls(&self) -> bool {
        self.0.in_url
    }

    /// The key of everybody in a room where tokens say who somebody is: no other counts there.
    pub fn key_of_all(&self, room: &RoomId) -> Option<Key> {
        (self.policy(room) == Policy::Token).then(Key::vouched)
    }

    /// Whether somebody may do something in a room: as `user`, or as nobody in particular.
    pub async fn admit(
        &self,
        room: &RoomId,
        user: Option<&UserId>,
        right: Right,
        brought: &Credentials,
    ) -> Result<Admission, Rejection> {
        let admitted = match self.policy(room) {
            Policy::Open => Ok(Admission::OPEN),
            Policy::Proven if brought.proven => Ok(Admission::OPEN),
            Policy::Proven => Err(Rejection::new(Reason::ProofRequired, PROOF_WANTED)),
            Policy::Token => match &brought.token {
                Some(token) => self.by_token(room, user, right, token).await,
                None => Err(Rejection::new(Reason::TokenRequired, WANTED)),
            },
        };
        admitted.inspect_err(|why| {
            metric::ADMISSIONS_REFUSED
                .of(why.reason.as_str())
                .increment(1)
        })
    }

    async fn by_token(
        &self,
        room: &RoomId,
        user: Option<&UserId>,
        right: Right,
        token: &Token,
    ) -> Result<Admission, Rejection> {
        let grant = self.grant(token).await?;
        let forbidden = |why: &str| Err(Rejection::new(Reason::Forbidden, why));
        if user.is_some_and(|user| *user != grant.user) {
            return forbidden("the token is another user's: its sub must be the user");
        }
        if !grant.rooms.iter().any(|pattern| pattern.matches(room)) {
            return forbidden("the token is not for this room: its rooms must name it");
        }
        if !grant.rights.has(right) {
            return forbidden(right.missing());
        }
        Ok(Admission {
            rights: grant.rights,
            until: Some(End::new(grant.until, SystemTime::now())),
        })
    }

    /// What a token grants. A key that is not known may be a new one of the issuer: then its key
    /// set is fetched again, seldom.
    async fn grant(&self, token: &Token) -> Result<Grant, Rejection> {
        let remote = self.0.remote.as_ref();
        let found = match (self.verify(token).await, remote) {
            // Nobody's turn lasts as long as a fetch.
            (Err(Failure::UnknownKey), Some(remote)) if remote.refresh().await => {
                self.verify(token).await
            }
            (found, _) => found,
        };
        match (found, remote) {
            (Err(Failure::UnknownKey), Some(remote)) if !remote.has_keys() => {
                Err(Rejection::retry(
                    Reason::Unavailable,
                    "no key of the issuer of tokens can be used yet: try again",
                    2_000,
                ))
            }
            (found, _) => found.map_err(Rejection::from),
        }
    }

    /// What a token grants by the keys that are known now.
    async fn verify(&self, token: &Token) -> Result<Grant, Failure> {
        let _turn = self.0.turns.next().await;
        let published = self.0.remote.as_ref().map(Remote::keys);
        let (own, published) = (self.0.files.keys(), published.unwrap_or_default());
        token::verify(token, [&own, &published], &self.0.checks)
    }

    /// What somebody should look after.
    pub fn warnings(&self) -> Vec<String> {
        let lacks_keys = self.0.remote.as_ref().is_some_and(|it| !it.has_keys());
        let warning = "no published key can check tokens, so none is taken that needs one: look at \
                       access.jwks";
        lacks_keys.then(|| warning.to_owned()).into_iter().collect()
    }

    /// Keeps the keys up to date until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let keep = async {
            let published = async {
                match &self.0.remote {
                    Some(remote) => remote.follow().await,
                    None => std::future::pending().await,
                }
            };
            tokio::join!(self.0.files.follow(), published);
        };
        stop.run_until_cancelled(keep).await;
        stop.cancelled().await;
    }
}

/// What is said to whom proves nothing.
const PROOF_WANTED: &str = "this room needs a proof of the key: connect with auth=1, or send the \
                            header Safe-Chat-Proof (with user= and pub= in the address)";

/// What is said to whom brings none.
const WANTED: &str = "this room needs a token: bring it in the header Authorization (Bearer ...), \
                      or as the subprotocol safechat.token.TOKEN beside that of the frames";

#[cfg(test)]
mod tests;
