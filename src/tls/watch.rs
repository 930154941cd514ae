//! Looks after the certificates that a node shows: reads them again when their files change, or
//! when somebody asks for it (SIGHUP).

use super::{Identity, identity::Look};
use std::{sync::Arc, time::Duration};
use tokio::{task::spawn_blocking, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How often the files are looked at. Their contents are compared: what mounts secrets replaces
/// links and directories, which shows in no file's time or notification.
const EVERY: Duration = Duration::from_secs(5);

/// The certificates that a node shows. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Watch(Vec<Arc<Identity>>);

impl Watch {
    /// Looks after these.
    pub fn new(identities: impl IntoIterator<Item = Arc<Identity>>) -> Self {
        Self(identities.into_iter().collect())
    }

    /// Looks until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let looking = async {
            while !self.0.is_empty() {
                sleep(EVERY).await;
                self.look().await;
            }
        };
        stop.run_until_cancelled(looking).await;
        stop.cancelled().await;
    }

    /// Looks now, because somebody asked for it.
    pub async fn reload(&self) {
        if self.0.is_empty() {
            info!("there is nothing to read again; going on");
        } else if !self.look().await {
            info!("the certificates are the same as before");
        }
    }

    /// What somebody should look after.
    pub fn warnings(&self) -> Vec<String> {
        self.0
            .iter()
            .flat_map(|identity| identity.warnings())
            .collect()
    }

    /// Whether something is new.
    async fn look(&self) -> bool {
        let mut is_new = false;
        for identity in &self.0 {
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
