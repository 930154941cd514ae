//! Logins that were right a moment ago, so that scripts and dashboards do not pay for a hash with
//! every request; and how many hashes are computed at a time. What is kept of a login is a hash
//! with a key of this process, and it is forgotten when the file of operators changes.

use super::{
    Account,
    keyed::{Key, Tag},
};
use crate::ops::accounts::Roll;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{OnceCell, Semaphore},
    task::spawn_blocking,
    time::{Instant, timeout},
};

/// How long a right login is remembered.
const REMEMBERED: Duration = Duration::from_secs(300);
/// Logins that are remembered or being checked: more than a cluster's operators and scripts have.
const MOST: usize = 1024;
/// Hashes that are computed at a time: each takes a core, and the memory that it says.
const AT_A_TIME: usize = 2;
/// Logins that wait for that. Beyond it they are refused at once, rather than too late.
const WAITING: usize = 64;
/// How long a login may take to be checked.
const DEADLINE: Duration = Duration::from_secs(5);

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nobody has this name and this password.
    Wrong,
    /// It cannot be looked at before this time.
    TooMany(Duration),
    /// Too many are being looked at.
    Busy,
}

/// A login that is being checked or was right; those who wait for the same one share it.
type Login = Arc<OnceCell<Arc<Account>>>;

struct Known {
    login: Login,
    since: Instant,
    /// By whom it was found.
    roll: Arc<Roll>,
}

/// Logins that are known, and the checking of those that are not.
pub(super) struct Logins {
    key: Key,
    known: Mutex<HashMap<Tag, Known>>,
    waiting: Semaphore,
    hashing: Arc<Semaphore>,
}

impl Default for Logins {
    fn default() -> Self {
        Self {
            key: Key::default(),
            known: Mutex::default(),
            waiting: Semaphore::new(WAITING),
            hashing: Arc::new(Semaphore::new(AT_A_TIME)),
        }
    }
}

impl Logins {
    /// Whose login this is, by those who count now. `pay` is called before a hash is computed.
    pub(super) async fn check(
        &self,
        roll: &Arc<Roll>,
        name: &[u8],
        password: &[u8],
        pay: impl Fn() -> Result<(), Duration>,
    ) -> Result<Arc<Account>, Failure> {
        let tag = self.key.tag([name, password]);
        let login = self.login(tag, roll);
        let checked = login.get_or_try_init(|| async {
            pay().map_err(Failure::TooMany)?;
            self.look_up(roll, name, password).await
        });
        let checked = checked.await.cloned();
        if checked.is_err() {
            // Unless somebody else knows better by now.
            let mut known = self.known();
            if known.get(&tag).is_some_and(|it| !it.login.initialized()) {
                known.remove(&tag);
            }
        }
        checked
    }

    /// What is known of a login; or a new one, which is yet to be checked.
    fn login(&self, tag: Tag, roll: &Arc<Roll>) -> Login {
        let mut known = self.known();
        let counts = |it: &Known| it.since.elapsed() < REMEMBERED && Arc::ptr_eq(&it.roll, roll);
        if let Some(found) = known.get(&tag).filter(|it| counts(it)) {
            return found.login.clone();
        }
        if known.len() >= MOST {
            known.retain(|_, it| counts(it));
            let oldest = known.iter().min_by_key(|(_, it)| it.since);
            if let Some(tag) = oldest.map(|(tag, _)| *tag).filter(|_| known.len() >= MOST) {
                known.remove(&tag);
            }
        }
        let new = Known {
            login: Login::default(),
            since: Instant::now(),
            roll: roll.clone(),
        };
        let login = new.login.clone();
        known.insert(tag, new);
        login
    }

    async fn look_up(
        &self,
        roll: &Arc<Roll>,
        name: &[u8],
        password: &[u8],
    ) -> Result<Arc<Account>, Failure> {
        let _waits = self.waiting.try_acquire().map_err(|_| Failure::Busy)?;
        let (roll, name, password) = (roll.clone(), name.to_owned(), password.to_owned());
        let hashing = async {
            let turn = self.hashing.clone().acquire_owned().await;
            let found = spawn_blocking(move || {
                // Whoever is gone by then, a hash that is being computed counts.
                let _turn = turn;
                roll.find(&name, &password)
            });
            found.await
        };
        match timeout(DEADLINE, hashing).await {
            Ok(Ok(found)) => found.ok_or(Failure::Wrong),
            Ok(Err(panic)) => {
                tracing::error!("a login could not be checked: {panic}");
                Err(Failure::Busy)
            }
            Err(_) => Err(Failure::Busy),
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Tag, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.known().len()
    }
}
