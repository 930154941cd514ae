//! Which forms of what is stored and sent a version reads, and what of it each node does.

use super::{Error, NodeRecord};
use std::time::Duration;
use tokio::time::sleep;

/// The forms that this version reads. A form is written once every live node reads it.
///
/// 1: the first, which an older version does not say. 2: batches of messages, and what tells of
/// them ([`super::Action::Batch`], `room::Change::BatchTaken`, [`super::Inbound::Outcomes`]). 3:
/// commands and notes of sessions under the name of their gateway. 4: keys that are taken away from
/// names ([`super::Action::Unpin`], `room::Kind::Unpinned`). 5: policies of rooms, and the groups
/// of sealed ones (`room::Change::PolicySet`, `room::Body::Handshake`); how much of a room's past
/// is kept ([`super::Action::Retain`], `room::Change::Trimmed`); purges ([`super::Action::Purge`],
/// `room::Kind::Purged`). 6: keys of names in records of their own (`room::Change::Recalled`,
/// `room::Away`). 7: erasures ([`super::Action::Erase`], `room::Kind::Erased`,
/// `room::Body::Erased`). 8: rooms that are gone are removed (`journal::Journal::retire`), and in
/// Cassandra come back by a snapshot alone; what somebody signs of the devices that count names the
/// room (`seal::List`). 9: what the next event of a room is to take along is stored beside its
/// snapshot (`room::Carried`), and removals can be held ([`super::Settings::held`]).
pub const FORMATS: u32 = 9;

/// How often it is looked whether newer forms are stored.
pub(crate) const LOOK: Duration = Duration::from_secs(1);

/// Waits as long as the cluster stores forms that this program does not read, or that is not known:
/// what it cannot read is then for a node that does, and this one is about to end by itself. `tell`
/// is called once, if it is so.
pub(crate) async fn while_newer<F>(stores_newer: impl Fn() -> F, tell: impl FnOnce())
where
    F: Future<Output = Result<bool, Error>>,
{
    let mut tell = Some(tell);
    loop {
        match stores_newer().await {
            Ok(false) => return,
            Ok(true) => {
                if let Some(tell) = tell.take() {
                    tell();
                }
            }
            Err(error) => tracing::debug!(%error, "which forms are stored is not known"),
        }
        sleep(LOOK).await;
    }
}

impl NodeRecord {
    /// Whether it reads batches.
    pub fn reads_batches(&self) -> bool {
        self.formats >= 2
    }

    /// Whether it reads what gateways store under their names.
    pub fn reads_names(&self) -> bool {
        self.formats >= 3
    }

    /// Whether it reads that a key was taken away from a name.
    pub fn reads_unpins(&self) -> bool {
        self.formats >= 4
    }

    /// Whether it reads policies of rooms, and groups.
    pub fn reads_policies(&self) -> bool {
        self.formats >= 5
    }

    /// Whether it reads how much of a room's past is kept.
    pub fn reads_retention(&self) -> bool {
        self.formats >= 5
    }

    /// Whether it reads that a room was purged.
    pub fn reads_purges(&self) -> bool {
        self.formats >= 5
    }

    /// Whether it reads that what a user said was erased.
    pub fn reads_erasures(&self) -> bool {
        self.formats >= 7
    }

    /// Whether it knows that rooms are removed with their names.
    pub fn reads_retirements(&self) -> bool {
        self.formats >= 8
    }

    /// Whether it reads which devices count in a room, as that is signed now.
    pub fn reads_lists(&self) -> bool {
        self.formats >= 8
    }
}
