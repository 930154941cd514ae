//! The operators of a node: who they are and what they may do. They come from a file
//! (`ops.operators_file`), which is followed while the node runs, and from the configuration.
//!
//! A change takes effect at once and as a whole: [`Roll`] is what was in force when somebody was
//! looked up, and whatever was found by an older one does not count any more.

mod account;
mod file;
mod password;
mod roll;

pub use crate::secret::Unusable as Error;
pub use account::Role;
pub(crate) use file::{check_name, line};
pub use password::{Weak, hashed};

pub(super) use account::Account;
pub(super) use roll::Roll;

use super::Config;
use crate::secret;
use account::Secret;
use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};
use tokio::{task::spawn_blocking, time::sleep};
use tracing::{info, warn};

/// Names that stand in the banner.
const SHOWN: usize = 5;
/// The permission of everybody on the machine to read a file.
const OTHERS_READ: u32 = 0o004;

/// The operators of a node, as they are now. Clones are the same.
#[derive(Clone)]
pub struct Accounts(Arc<Inner>);

struct Inner {
    file: Option<PathBuf>,
    /// The operator of the configuration.
    own: Option<Arc<Account>>,
    current: RwLock<Current>,
    /// Held from the reading of the file to the taking over: of two looks at the same time the one
    /// that read first must not win.
    looking: Mutex<()>,
}

struct Current {
    roll: Arc<Roll>,
    /// What was read last, fit for use or not.
    seen: Seen,
    refused: Option<Error>,
}

/// A file as it was read.
#[derive(PartialEq, Eq)]
struct Seen {
    text: Result<Vec<u8>, String>,
    /// Whether everybody on the machine may read it.
    is_open: bool,
}

/// What became of the file.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// Nothing new.
    Same,
    /// So many operators are in it, who count from now on.
    Taken(usize),
    /// It is new and cannot be used; who counted before still does.
    Refused(Error),
}

impl Accounts {
    /// Those of a configuration. Reads the file, if there is one.
    pub fn load(config: &Config) -> Result<Self, Error> {
        let own = config.own_login().map(|(name, password)| {
            let secret = Secret::Plain(password.to_owned());
            Arc::new(Account::new(name, Role::Operate, secret))
        });
        let seen = Seen::of(config.operators_file.as_deref());
        let roll = match &config.operators_file {
            Some(path) => seen.roll(path, own.as_ref())?,
            None => Roll::new(own.clone().into_iter().collect()),
        };
        if let Some(path) = config.operators_file.as_deref().filter(|_| seen.is_open) {
            warn!("{}", open_to_all(path));
        }
        Ok(Self(Arc::new(Inner {
            file: config.operators_file.clone(),
            own,
            current: RwLock::new(Current {
                roll: Arc::new(roll),
                seen,
                refused: None,
            }),
            looking: Mutex::default(),
        })))
    }

    /// Those who count now.
    pub(super) fn roll(&self) -> Arc<Roll> {
        self.0.read().roll.clone()
    }

    /// Who may manage the node, for people.
    pub fn described(&self) -> String {
        let roll = self.roll();
        match roll.names().collect::<Vec<_>>()[..] {
            [] => "nobody".into(),
            [one] => format!("user {one}"),
            ref all if all.len() <= SHOWN => format!("users {}", all.join(", ")),
            ref all => format!("{} users", all.len()),
        }
    }

    /// What somebody should look after.
    pub fn warnings(&self) -> Vec<String> {
        let current = self.0.read();
        let refused = current.refused.as_ref().map(not_used);
        let path = self.0.file.as_deref().filter(|_| current.seen.is_open);
        refused.into_iter().chain(path.map(open_to_all)).collect()
    }

    /// Looks at the file again and again, for ever.
    pub(super) async fn follow(&self) {
        if self.0.file.is_none() {
            return std::future::pending().await;
        }
        loop {
            sleep(secret::EVERY).await;
            self.reload().await;
        }
    }

    /// Looks at the file now. Who is in force changes only when it is new and fit for use.
    pub async fn reload(&self) {
        let looking = self.clone();
        // A file that is mounted from elsewhere may take long.
        match spawn_blocking(move || looking.0.look()).await {
            Ok(Look::Same) => {}
            Ok(Look::Taken(count)) => info!(count, "the file of operators has changed: it counts"),
            Ok(Look::Refused(why)) => warn!("{}", not_used(&why)),
            Err(panic) => warn!("the file of operators cannot be looked at: {panic}"),
        }
    }
}

fn not_used(why: &Error) -> String {
    format!("a new file of operators is not used, who counted before still does: {why}")
}

fn open_to_all(path: &Path) -> String {
    format!(
        "everybody on this machine may read {}, and could try passwords at its hashes: chmod o-r",
        path.display()
    )
}

impl Inner {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, Current> {
        self.current.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self) -> Look {
        let Some(path) = &self.file else {
            return Look::Same;
        };
        let _alone = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = Seen::of(Some(path));
        let (is_same, newly_open) = {
            let before = &self.read().seen;
            (before.text == seen.text, seen.is_open && !before.is_open)
        };
        if newly_open {
            warn!("{}", open_to_all(path));
        }
        let found = (!is_same).then(|| seen.roll(path, self.own.as_ref()));
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        current.seen = seen;
        match found {
            None => Look::Same,
            Some(Ok(roll)) => {
                let count = roll.names().count();
                (current.roll, current.refused) = (Arc::new(roll), None);
                Look::Taken(count)
            }
            Some(Err(why)) => {
                current.refused = Some(why.clone());
                Look::Refused(why)
            }
        }
    }
}

impl Seen {
    fn of(path: Option<&Path>) -> Self {
        let Some(path) = path else {
            return Self {
                text: Ok(Vec::new()),
                is_open: false,
            };
        };
        let mode = fs::metadata(path).map(|about| about.permissions().mode());
        Self {
            text: secret::read(path).map_err(|error: io::Error| error.to_string()),
            is_open: mode.is_ok_and(|mode| mode & OTHERS_READ != 0),
        }
    }

    /// Everybody who counts with this file.
    fn roll(&self, path: &Path, own: Option<&Arc<Account>>) -> Result<Roll, Error> {
        let unusable = |why: String| Error::new(path, why);
        let text = self.text.as_ref().map_err(|why| unusable(why.clone()))?;
        let taken = own.map(|account| account.name());
        let mut accounts = file::parse(text, taken).map_err(unusable)?;
        accounts.extend(own.cloned());
        Ok(Roll::new(accounts))
    }
}

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
