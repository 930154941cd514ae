//! Looks after the certificates that a node shows: reads them again when their files change, or
//! when somebody asks for it (SIGHUP).

use super::{Identity, identity::Look};
use crate::secret;
use std::sync::Arc;
use tokio::{sync::Mutex, task::spawn_blocking, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// The certificates that a node shows, each with what it is for. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    identities: Vec<(&'static str, Arc<Identity>)>,
    /// Held while files are read, which may take long where they are mounted from elsewhere.
    looking: Arc<Mutex<()>>,
}

impl Watch {
    /// Looks after these.
    pub fn new(identities: impl IntoIterator<Item = (&'static str, Arc<Identity>)>) -> Self {
        Self {
            identities: identities.into_iter().collect(),
            looking: Arc::default(),
        }
    }

    /// Looks until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let looking = async {
            while !self.identities.is_empty() {
                sleep(secret::EVERY).await;
                let _alone = self.looking.lock().await;
                self.look().await;
            }
        };
        stop.run_until_cancelled(looking).await;
        stop.cancelled().await;
    }

    /// Looks now, because somebody asked for it.
    pub async fn reload(&self) {
        if self.identities.is_empty() {
            return info!("there is no certificate to read again; going on");
        }
        let Ok(_alone) = self.looking.try_lock() else {
            return warn!("the certificates are being read already: can their files be reached?");
        };
        if !self.look().await {
            info!("the certificates are the same as before");
        }
    }

    /// What somebody should look after.
    pub fn warnings(&self) -> Vec<String> {
        let all = self.identities.iter();
        all.flat_map(|(_, identity)| identity.warnings()).collect()
    }

    /// When each certificate ends, in seconds since 1970, with what it is for.
    pub fn ends(&self) -> Vec<(&'static str, u64)> {
        let all = self.identities.iter();
        all.map(|(purpose, identity)| (*purpose, identity.ends()))
            .collect()
    }

    /// Whether something is new.
    async fn look(&self) -> bool {
        let mut is_new = false;
        for (_, identity) in &self.identities {
            let looking = identity.clone();
            let look = spawn_blocking(move || looking.look()).await;
            let file = identity.path().display();
            is_new |= !matches!(look, Ok(Look::Same));
            match look {
                Ok(Look::Same) => {}
                Ok(Look::Taken) => info!(%file, "new certificate in use"),
                Ok(Look::Refused(why)) => {
                    warn!("a new certificate is not used, the one before still is: {why}");
                }
                Err(panic) => warn!(%file, "the certificate cannot be looked at: {panic}"),
            }
        }
        is_new
    }
}
