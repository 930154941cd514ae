//! One operator: a name, a role, a secret, and how often it may ask.

use super::password::Hash;
use governor::{
    Quota, RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{InMemoryState, NotKeyed},
};
use std::{num::NonZeroU32, time::Duration};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

/// Requests per second of one operator: more than scripts need.
const RATE: NonZeroU32 = NonZeroU32::new(20).expect("above 0");
const BURST: NonZeroU32 = NonZeroU32::new(100).expect("above 0");

/// What an operator may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Role {
    /// Look at what changes nothing.
    Read,
    /// Everything.
    Operate,
}

impl Role {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let all = [Self::Read, Self::Operate].into_iter();
        all.into_iter().find(|role| role.as_str() == text)
    }
}

/// By what an operator is known.
pub(super) enum Secret {
    /// The password itself, as a configuration has it.
    Plain(String),
    /// What was made of it.
    Hashed(Hash),
}

/// An operator.
pub(in crate::ops) struct Account {
    name: Box<str>,
    role: Role,
    secret: Secret,
    /// Of this operator alone, so that none keeps another one out.
    requests: RateLimiter<NotKeyed, InMemoryState, Since, NoOpMiddleware<Nanos>>,
}

/// Nanoseconds since the limiter was made. The clock is tokio's, so that tests run in virtual time.
#[derive(Debug, Clone)]
struct Since(Instant);

impl Clock for Since {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.elapsed().into()
    }
}

impl Account {
    pub(super) fn new(name: &str, role: Role, secret: Secret) -> Self {
        let quota = Quota::per_second(RATE).allow_burst(BURST);
        Self {
            name: name.into(),
            role,
            secret,
            requests: RateLimiter::direct_with_clock(quota, Since(Instant::now())),
        }
    }

    pub(in crate::ops) fn name(&self) -> &str {
        &self.name
    }

    pub(in crate::ops) fn role(&self) -> Role {
        self.role
    }

    /// Takes one of the requests that it may make, or says how long it must wait.
    pub(in crate::ops) fn ask(&self) -> Result<(), Duration> {
        let taken = self.requests.check();
        taken.map_err(|until| until.wait_time_from(self.requests.clock().now()))
    }

    pub(super) fn hash(&self) -> Option<&Hash> {
        match &self.secret {
            Secret::Plain(_) => None,
            Secret::Hashed(hash) => Some(hash),
        }
    }

    /// Whether the password is its own. May take long.
    pub(super) fn has(&self, password: &[u8]) -> bool {
        match &self.secret {
            Secret::Plain(own) => own.as_bytes().ct_eq(password).into(),
            Secret::Hashed(hash) => hash.fits(password),
        }
    }
}
