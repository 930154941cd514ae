//! What a gateway refuses because the bus, or a node that is there, could do nothing with it.

use super::core::{Core, unavailable, unkept};
use crate::{
    bus::{self, NodeRecord},
    room::{Reason, Rejection},
};
use tokio::sync::watch;

impl Core {
    /// Refuses what may have been purged or erased since this node has heard of the bus.
    pub(super) fn check_hears(&self) -> Result<(), Rejection> {
        self.bus.ready().map_err(|_| {
            unavailable("this node does not hear the bus now: ask again, or another node")
        })
    }

    /// Refuses while nothing that is stored on the bus can be kept: there would be no answer.
    pub(super) fn check_bus(&self) -> Result<(), Rejection> {
        match self.bus.health().borrow().refuses_commands() {
            None => Ok(()),
            Some(_) => Err(unkept()),
        }
    }

    /// As [`Self::check_bus`], and a message whose content has `size` bytes when the bus cannot
    /// carry it.
    pub(super) fn check_message(&self, size: usize) -> Result<(), Rejection> {
        self.check_bus()?;
        match size + bus::ENVELOPE > self.bus.health().borrow().largest {
            false => Ok(()),
            true => Err(bus::too_large_now()),
        }
    }

    /// Refuses a session while its opening, or what it says, could not be kept.
    pub(super) fn check_sessions(&self) -> Result<(), Rejection> {
        match self.bus.health().borrow().refuses_sessions() {
            None => Ok(()),
            Some(_) => Err(unkept()),
        }
    }

    /// Refuses what a room's owner is asked while no node lives that could own it: nobody would
    /// answer until the asker's deadline.
    pub(super) fn check_writers(&self) -> Result<(), Rejection> {
        let view = self.members.get().map(watch::Receiver::borrow);
        match view.is_some_and(|view| view.lacks_writer()) {
            false => Ok(()),
            true => Err(Rejection::retry(
                Reason::Unavailable,
                "no node that writes rooms is there now: try again later",
                5_000,
            )),
        }
    }

    /// Whether every node that may be alive reads batches.
    pub(super) fn all_read_batches(&self) -> bool {
        self.all_nodes(NodeRecord::reads_batches)
    }

    /// Refuses to ask for a policy, or to change a group, while a node is there that would not
    /// understand it if it came to own the room.
    pub(super) fn check_policies(&self) -> Result<(), Rejection> {
        self.check_nodes(NodeRecord::reads_policies, "rooms with a policy need")
    }

    /// The same of a list of devices.
    pub(super) fn check_lists(&self) -> Result<(), Rejection> {
        self.check_nodes(NodeRecord::reads_lists, "lists of devices need")
    }

    fn check_nodes(
        &self,
        reads: impl Fn(&NodeRecord) -> bool,
        what: &str,
    ) -> Result<(), Rejection> {
        match self.all_nodes(reads) {
            true => Ok(()),
            false => Err(Rejection::retry(
                Reason::Unavailable,
                format!(
                    "a node of an older version is there, or may be: {what} all nodes to be of \
                     this version"
                ),
                5_000,
            )),
        }
    }

    fn all_nodes(&self, reads: impl Fn(&NodeRecord) -> bool) -> bool {
        let Some(members) = self.members.get() else {
            return true;
        };
        let view = members.borrow();
        !view.nodes.is_empty() && view.nodes.iter().all(reads)
    }
}
