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

/// One device of a user in a room, as long as somebody holds it: when the last of its connections
/// came that was let in.
pub(super) struct Device(Mutex<Arrival>);

/// A connection that is being let in; until it is dropped no other one of its device is.
pub(super) struct Entering<'a> {
    last: MutexGuard<'a, Arrival>,
    arrival: Arrival,
}

impl Entering<'_> {
    /// It is in. One that was refused counts for nothing: it may be a stranger's.
    pub(super) fn entered(mut self) {
        *self.last = self.arrival;
    }
}

impl Idle for Device {
    fn is_idle(&self) -> bool {
        true
    }
}

impl Devices {
    /// Forgets those that are gone.
    pub(super) fn tidy(&self) {
        self.0.tidy();
    }

    pub(super) fn get(&self, room: &RoomId, user: &UserId, device: &DeviceId) -> Arc<Device> {
        let key = (room.clone(), user.clone(), device.clone());
        self.0.get(key, || Device(Mutex::new(Arrival::FIRST)))
    }
}

impl Device {
    /// Waits until no other connection of the device is being let in. Refused when one that came
    /// later is in already.
    pub(super) async fn enter(&self, arrival: Arrival) -> Result<Entering<'_>, Rejection> {
        let last = self.0.lock().await;
        if *last > arrival {
            return Err(unavailable(
                "a connection of this device that came later is in already",
            ));
        }
        Ok(Entering { last, arrival })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_one_that_is_in_keeps_earlier_ones_out() {
        let device = Device(Mutex::new(Arrival::FIRST));
        let (first, second, third) = (Arrival::next(), Arrival::next(), Arrival::next());
        drop(device.enter(third).await.expect("it may try"));
        let entering = device.enter(second).await;
        entering.expect("the later one was refused").entered();
        assert!(device.enter(first).await.is_err());
        assert!(device.enter(third).await.is_ok());
    }
}
