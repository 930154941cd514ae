//! Who may manage a node: HTTP Basic authentication (RFC 7617), no faster than anybody may guess.
//! Who guesses keeps nobody else out: wrong logins count for the address that they come from, a
//! request without a login is no guess, and each operator has a rate of its own.
//!
//! What is done for a login, in this order:
//!
//! 1. An address that guessed too often is not heard, right or wrong: else who guesses would learn
//!    at once which of its guesses was right, and the limit would be none.
//! 2. A login that was right a moment ago is right ([`Logins`]); nothing is computed for it.
//! 3. Any other one is paid for by its address (or pass) before its hash is computed, which takes
//!    a core for some 25 ms and 19 MiB.
//!
//! By 1 alone, somebody behind the same NAT could keep an operator out by guessing. A remembered
//! login must not be an exception: it is what the guess is about. What a guesser cannot have is the
//! [pass](Passes) that a right login is given: who brings one is heard, its wrong logins count for
//! the pass, and all that can be guessed with it is the password of the operator who has it.

mod browser;
mod guesses;
mod keyed;
mod logins;
mod passes;

use super::{
    Config,
    accounts::{Account, Accounts, Role},
    manage::ApiError,
};
use crate::listener::Origin;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use base64::{Engine, prelude::BASE64_STANDARD};
use browser::Names;
use guesses::{Guesses, Payer};
use logins::{Failure, Logins};
use passes::Passes;
use std::{net::IpAddr, sync::Arc, time::Duration};

/// The guard of the management.
pub(super) struct Guard {
    accounts: Accounts,
    /// The names by which it may be asked, beside addresses; `None`: any.
    names: Option<Names>,
    guesses: Guesses,
    logins: Logins,
    passes: Passes,
}

/// Somebody who has logged in right.
pub(super) struct Visitor {
    pub(super) account: Arc<Account>,
    /// A pass that it is to be given.
    pub(super) pass: Option<HeaderValue>,
}

impl Guard {
    pub(super) fn new(config: &Config, accounts: Accounts) -> Self {
        Self {
            accounts,
            names: config.is_loopback().then(|| Names::of(config)),
            guesses: Guesses::default(),
            logins: Logins::default(),
            passes: Passes::default(),
        }
    }

    /// Who asks.
    pub(super) async fn log_in(
        &self,
        from: IpAddr,
        headers: &HeaderMap,
    ) -> Result<Visitor, ApiError> {
        let roll = self.accounts.roll();
        if roll.is_empty() {
            return Err(ApiError::new(
                StatusCode::NOT_FOUND,
                "not_found",
                "this node is not managed over HTTP: its ops.password is empty, and it has no \
                 ops.operators_file",
            ));
        }
        if self.names.as_ref().is_some_and(|names| !names.fit(headers)) {
            return Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "forbidden",
                "this node is managed from its own machine: ask it as localhost or by its address, \
                 or set ops.advertise to the name that you ask",
            ));
        }
        let Some(login) = headers.get(header::AUTHORIZATION) else {
            // What a web page can have a browser send is of this kind.
            return Err(unauthorized());
        };
        // What is no login names nobody, and is paid for as any.
        let (name, password) = parts(login).unwrap_or_default();
        let pass = self.passes.shown(headers, &name);
        let payer = match pass {
            Some(_) => Payer::Pass(name.clone()),
            None => Payer::Address(Origin::of(from)),
        };
        if let Err(wait) = self.guesses.may(&payer) {
            return Err(too_many(wait));
        }
        let pay = || self.guesses.pay(&payer);
        match self.logins.check(&roll, &name, &password, pay).await {
            Ok(account) => Ok(Visitor {
                pass: (pass.is_none_or(|pass| pass.is_old)).then(|| self.passes.issue(&name)),
                account,
            }),
            Err(Failure::TooMany(wait)) => Err(too_many(wait)),
            Err(Failure::Busy) => Err(ApiError::unavailable(
                "too many log in at this moment: try again",
            )),
            Err(Failure::Wrong) => {
                tracing::warn!(%from, "a login to the management was wrong");
                Err(unauthorized())
            }
        }
    }

    /// Whether somebody who has logged in may ask this: it needs a role.
    pub(super) fn allow(
        &self,
        account: &Account,
        needs: Role,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<(), ApiError> {
        account.ask().map_err(too_many)?;
        if !browser::may(method, headers) {
            return Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "forbidden",
                "a web page may not manage a node: use curl",
            ));
        }
        match account.role() >= needs {
            true => Ok(()),
            false => Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "forbidden",
                format!(
                    "{} may look, and do nothing: this needs an operator with the role {}",
                    account.name(),
                    needs.as_str()
                ),
            )),
        }
    }
}

/// The name and the password of a login.
fn parts(login: &HeaderValue) -> Option<(Vec<u8>, Vec<u8>)> {
    let (scheme, encoded) = login.to_str().ok()?.split_once(' ')?;
    let mut name = BASE64_STANDARD.decode(encoded.trim()).ok()?;
    let colon = name.iter().position(|byte| *byte == b':')?;
    let password = name.split_off(colon + 1);
    name.pop();
    scheme
        .eq_ignore_ascii_case("basic")
        .then_some((name, password))
}

fn unauthorized() -> ApiError {
    ApiError::new(
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        "no login, or a wrong one: log in as an operator of ops.operators_file, or as ops.user \
         with ops.password (HTTP Basic authentication)",
    )
}

fn too_many(wait: Duration) -> ApiError {
    ApiError {
        retry_after: Some(wait.as_secs() + 1),
        ..ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limited",
            "too many requests: try again later",
        )
    }
}

#[cfg(test)]
mod tests;
