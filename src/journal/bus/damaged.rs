//! Pages of copies that cannot be read. Each is told once by a node, however often somebody asks
//! for what was in it.

use crate::room::RoomId;
use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

/// Pages that were told. Beyond so many it begins anew.
const TOLD: usize = 1024;

static PAGES: Mutex<BTreeSet<(RoomId, u64)>> = Mutex::new(BTreeSet::new());

/// Says that a page cannot be read.
pub(super) fn tell(room: &RoomId, page: u64, why: &str) {
    let mut pages = PAGES.lock().unwrap_or_else(PoisonError::into_inner);
    if pages.len() >= TOLD {
        pages.clear();
    }
    if pages.insert((room.clone(), page)) {
        tracing::warn!(
            %room, page, why,
            "a page of copies cannot be read; the room is read without it: put it back from a \
             backup of the bucket"
        );
    }
}
