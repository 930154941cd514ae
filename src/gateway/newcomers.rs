//! How many names an address may bring to rooms that do not know them: a room keeps the key of each
//! name for good, and has no more than `writer.max_names_per_room`, so that whoever invents names
//! would lock out everybody who is new to it.
//!
//! Only the owner knows whose name is new, and is asked only once the address has brought as many
//! names as it may: then those that the room knows are let in still.

use super::{
    core::{Core, lock},
    limits::Client,
    owner::owner,
};
use crate::{
    bus::{Admission, Ask, RoomView},
    room::{Rejection, RoomId, UserId},
};
use std::{collections::HashSet, sync::Mutex};

/// Names in rooms that are remembered as paid for; then all are forgotten.
const REMEMBERED: usize = 65_536;

/// Names that came lately.
#[derive(Default)]
pub(super) struct Newcomers(Mutex<HashSet<(RoomId, UserId)>>);

impl Newcomers {
    /// Takes what it costs to come to a room under a name. What else may keep somebody out is not
    /// told here.
    pub(super) async fn pay(
        core: &Core,
        room: &RoomId,
        who: Admission,
        client: Option<&Client>,
    ) -> Result<(), Rejection> {
        let name = (room.clone(), who.user.clone());
        let Some(client) = client.filter(|_| !core.newcomers.is_known(&name)) else {
            return Ok(());
        };
        if let Err(refuse) = client.bring_name() {
            let view = owner(core, &Ask::admission(room.clone(), who)).await;
            if view.is_ok_and(|view| view.is_new_name) {
                return Err(refuse());
            }
        }
        core.newcomers.note(name);
        Ok(())
    }

    /// Whether coming to a room would be let through now, as its owner answered; takes nothing.
    pub(super) fn check(
        core: &Core,
        room: &RoomId,
        user: &UserId,
        view: &RoomView,
        client: &Client,
    ) -> Result<(), Rejection> {
        let is_known = !view.is_new_name || core.newcomers.is_known(&(room.clone(), user.clone()));
        match is_known {
            true => Ok(()),
            false => client.may_bring_name(),
        }
    }

    fn is_known(&self, name: &(RoomId, UserId)) -> bool {
        lock(&self.0).contains(name)
    }

    fn note(&self, name: (RoomId, UserId)) {
        let mut known = lock(&self.0);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(name);
    }
}
