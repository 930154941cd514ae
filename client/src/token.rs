//! Tokens: what a client brings into a room that asks for one. Shown nowhere.

use futures::{FutureExt, future::BoxFuture};
use std::{fmt, sync::Arc};

/// A token.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Wraps a token.
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }

    /// As it goes over the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Where tokens come from.
#[derive(Clone)]
pub(crate) enum Tokens {
    /// There is this one, and no other.
    One(Token),
    /// There may be a new one each time.
    Source(Arc<dyn Fn() -> BoxFuture<'static, Result<String, String>> + Send + Sync>),
}

impl Tokens {
    /// A token that counts now.
    pub(crate) fn next(&self) -> BoxFuture<'static, Result<Token, String>> {
        match self {
            Self::One(token) => {
                let token = token.clone();
                async move { Ok(token) }.boxed()
            }
            Self::Source(source) => {
                let next = source();
                async move { next.await.map(Token::new) }.boxed()
            }
        }
    }

    /// Whether the next one may be another one.
    pub(crate) fn renew(&self) -> bool {
        matches!(self, Self::Source(_))
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(..)")
    }
}
