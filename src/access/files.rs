//! Keys of files, read again when they change: a key is renewed without a restart.

use super::{Config, Error, keys::KeySet};
use crate::secret;
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{task::spawn_blocking, time::sleep};
use tracing::{info, warn};

/// The keys of files.
#[derive(Clone, Default)]
pub(super) struct Files(Arc<Inner>);

#[derive(Default)]
struct Inner {
    keys: Vec<PathBuf>,
    secrets: Vec<PathBuf>,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    keys: Arc<KeySet>,
    /// By what it is known that nothing is new.
    seen: u64,
}

impl Files {
    /// Reads the files that are named.
    pub(super) fn load(config: &Config) -> Result<Self, Error> {
        let inner = Inner {
            keys: config.keys.clone(),
            secrets: config.hs256_keys.clone(),
            current: Mutex::default(),
        };
        let (seen, keys) = inner.read();
        let current = Current {
            keys: Arc::new(keys?),
            seen,
        };
        *inner.lock() = current;
        Ok(Self(Arc::new(inner)))
    }

    pub(super) fn keys(&self) -> Arc<KeySet> {
        self.0.lock().keys.clone()
    }

    /// Whether there are new keys.
    pub(super) fn look(&self) -> Result<bool, Error> {
        self.0.look()
    }

    /// Reads them again whenever they change. What cannot be used changes nothing.
    pub(super) async fn follow(&self) {
        if self.0.keys.is_empty() && self.0.secrets.is_empty() {
            return std::future::pending().await;
        }
        loop {
            sleep(secret::EVERY).await;
            let looking = self.clone();
            // A file that is mounted from elsewhere may take long.
            match spawn_blocking(move || looking.look()).await {
                Ok(Ok(false)) => {}
                Ok(Ok(true)) => info!("new keys of tokens in use"),
                Ok(Err(why)) => {
                    warn!("new keys of tokens are not used, those before still are: {why}");
                }
                Err(panic) => warn!("the keys of tokens cannot be looked at: {panic}"),
            }
        }
    }
}

impl Inner {
    fn lock(&self) -> std::sync::MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self) -> Result<bool, Error> {
        let (seen, keys) = self.read();
        let mut current = self.lock();
        if seen == current.seen {
            return Ok(false);
        }
        current.seen = seen;
        current.keys = Arc::new(keys?);
        Ok(true)
    }

    /// What the files hold, and by what it is known again.
    fn read(&self) -> (u64, Result<KeySet, Error>) {
        type Parse = fn(&[u8]) -> Result<KeySet, String>;
        let keys = self
            .keys
            .iter()
            .map(|path| (path, KeySet::of_file as Parse));
        let secrets = self.secrets.iter();
        let secrets = secrets.map(|path| (path, KeySet::of_secret as Parse));
        let (mut hasher, mut all) = (DefaultHasher::new(), Ok(KeySet::default()));
        for (path, parse) in keys.chain(secrets) {
            let bytes = secret::read(path).map_err(|error| error.to_string());
            bytes.hash(&mut hasher);
            let found = bytes.and_then(|bytes| parse(&bytes));
            match (&mut all, found) {
                (Ok(all), Ok(found)) if !found.is_empty() => all.extend(found),
                (Ok(_), Ok(_)) => all = Err(Error::new(path, "no key in it can check tokens")),
                (Ok(_), Err(why)) => all = Err(Error::new(path, why)),
                (Err(_), _) => {}
            }
        }
        (hasher.finish(), all)
    }
}
