//! Keys that an issuer publishes. They are fetched from time to time, and when a token names one
//! that is not known, but seldom, whatever tokens come; keys stay until they leave the set, also
//! while nothing can be fetched.

use super::{Config, Error, keys::KeySet};
use crate::{
    fetch, metric,
    tls::{self, Trust},
};
use bytes::Bytes;
use hyper::{Request, StatusCode, Uri, header::ACCEPT};
use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::Mutex as Alone,
    time::{Instant, sleep},
};
use tracing::{info, warn};

/// Bytes of a set of keys, at most.
const MOST: usize = 256 * 1024;

/// The keys that are published at an address.
pub(super) struct Remote {
    address: Uri,
    client: fetch::Client,
    refresh: Duration,
    cooldown: Duration,
    /// `None`: never fetched. Empty: none of those that were published can be used.
    keys: Mutex<Option<Arc<KeySet>>>,
    /// Held during a fetch: others wait for what comes of it.
    last: Alone<Last>,
}

#[derive(Default)]
struct Last {
    tried: Option<Instant>,
    fails: bool,
}

impl Remote {
    /// The address is one of [`Config::address`].
    pub(super) fn new(address: &Uri, config: &Config) -> Result<Self, Error> {
        let trust = Trust {
            ca: config.jwks_ca.clone(),
            ..Trust::default()
        };
        let tls = match address.scheme_str() {
            Some("https") => {
                let client = tls::client(&trust);
                let place = config
                    .jwks_ca
                    .as_deref()
                    .unwrap_or(Path::new("access.jwks"));
                Some(Arc::new(
                    client.map_err(|why| Error::new(place, why.to_string()))?,
                ))
            }
            _ => None,
        };
        let deadline = Duration::from_millis(config.jwks_timeout_ms);
        Ok(Self {
            address: address.clone(),
            client: fetch::Client::new(tls, deadline, MOST),
            refresh: Duration::from_millis(config.jwks_refresh_ms),
            cooldown: Duration::from_millis(config.jwks_cooldown_ms),
            keys: Mutex::default(),
            last: Alone::default(),
        })
    }

    pub(super) fn keys(&self) -> Arc<KeySet> {
        self.lock().clone().unwrap_or_default()
    }

    /// Whether there are keys.
    pub(super) fn has_keys(&self) -> bool {
        self.lock().as_ref().is_some_and(|keys| !keys.is_empty())
    }

    /// Fetches the keys, unless that was tried a moment ago. Whether they may be others now.
    pub(super) async fn refresh(&self) -> bool {
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        match last.tried {
            // Somebody else fetched them while this one waited.
            Some(tried) if tried >= asked => !last.fails,
            Some(tried) if tried.elapsed() < self.cooldown => false,
            _ => self.fetch(&mut last).await,
        }
    }

    /// Fetches the keys from time to time, sooner as long as it fails.
    pub(super) async fn follow(&self) {
        loop {
            let fetched = {
                let mut last = self.last.lock().await;
                self.fetch(&mut last).await
            };
            sleep(if fetched { self.refresh } else { self.cooldown }).await;
        }
    }

    async fn fetch(&self, last: &mut Last) -> bool {
        let found = self.ask().await;
        last.tried = Some(Instant::now());
        let outcome = match &found {
            Ok(keys) if keys.is_empty() => "unusable",
            Ok(_) => "fetched",
            Err(_) => "failed",
        };
        metric::KEY_FETCHES.of(outcome).increment(1);
        let why = match found {
            Ok(keys) => {
                // Those that left the set count no more, also when none is left.
                let is_usable = !keys.is_empty();
                let is_first = self.lock().replace(Arc::new(keys)).is_none();
                if is_usable {
                    if std::mem::take(&mut last.fails) || is_first {
                        info!(at = self.shown(), "the keys of tokens were fetched");
                    }
                    return true;
                }
                "no published key can check tokens".to_owned()
            }
            Err(why) => format!(
                "the keys of tokens cannot be fetched, those that are known stay in use: {why}"
            ),
        };
        if !std::mem::replace(&mut last.fails, true) {
            warn!(at = self.shown(), "{why}; look at access.jwks");
        }
        false
    }

    async fn ask(&self) -> Result<KeySet, String> {
        let request = Request::get(&self.address).header(ACCEPT, "application/json");
        let request = request.body(Bytes::new()).map_err(|why| why.to_string())?;
        let answer = self.client.send(request).await;
        let answer = answer.map_err(|why| why.to_string())?;
        if answer.status() != StatusCode::OK {
            return Err(format!("it answers {}", answer.status()));
        }
        KeySet::of_json(answer.body(), false)
    }

    /// The address without its query, which may hold a secret.
    fn shown(&self) -> String {
        let host = self.address.authority().map_or("", |it| it.as_str());
        let scheme = self.address.scheme_str().unwrap_or_default();
        format!("{scheme}://{host}{}", self.address.path())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<KeySet>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
