//! The order of one device's connections at this gateway. Each replaces the one before, so the one
//! that came last must be the one that stays, whichever is served first.

use super::{
    core::unavailable,
    limits::keyed::{Idle, Keyed},
};
use crate::{
    listener::Arrival,
    room::{DeviceId, Rejection, RoomId, UserId},
};
use std::sync::Arc;
use tokio::sync::{Mutex, MutexGuard};

/// The devices that are here or about to be.
#[derive(Default)]
pub(super) struct Devices(Keyed<(RoomId, UserId, DeviceId), Device>);

/// One device of a user in a room, as long as somebody holds it.
pub(super) struct Device(Mutex<Arrival>);

impl Idle for Device {
    fn is_idle(&self) -> bool {
        true
    }
}

impl Devices {
    pub(super) fn get(&self, room: &RoomId, user: &UserId, device: &DeviceId) -> Arc<Device> {
        let key = (room.clone(), user.clone(), device.clone());
        self.0.get(key, || Device(Mutex::new(Arrival::FIRST)))
    }
}

impl Device {
    /// Waits until no other connection of the device is being let in; until the guard is dropped
    /// none is. Refused when one that came later is in already.
    pub(super) async fn enter(
        &self,
        arrival: Arrival,
    ) -> Result<MutexGuard<'_, Arrival>, Rejection> {
        let mut latest = self.0.lock().await;
        if *latest > arrival {
            return Err(unavailable(
                "a connection of this device that came later is in already",
            ));
        }
        *latest = arrival;
        Ok(latest)
    }
}
