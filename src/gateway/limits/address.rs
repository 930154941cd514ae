//! What one client address may do at a time and per second. It is shared by all connections of the
//! address, and outlives them for as long as a new one would otherwise begin with a full bucket.

use super::{Limit, Settings, TokenBuckets, bucket::Bucket, keyed::Idle};
use crate::{
    listener::{Slot, SlotCounter},
    room::{Rejection, RoomId},
};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// Before a client whose address has as many connections or rooms as it may have should try again,
/// in milliseconds.
const AGAIN_MS: u64 = 5_000;

/// What one address has and may have.
pub(super) struct Address {
    pub(super) allowance: TokenBuckets,
    pub(super) joins: Bucket,
    /// Rooms that its clients make.
    pub(super) made: Bucket,
    /// Names that they bring to rooms.
    pub(super) names: Bucket,
    /// Key packages that they ask for, and publish.
    pub(super) key_claims: Bucket,
    pub(super) key_publishes: Bucket,
    connections: AtomicUsize,
    most_connections: usize,
    rooms: Arc<SlotCounter<RoomId>>,
    most_rooms: usize,
}

impl Address {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            allowance: TokenBuckets::address(settings),
            joins: Bucket::new(settings.joins),
            made: Bucket::new(settings.made),
            names: Bucket::new(settings.names),
            key_claims: Bucket::new(settings.keys.address_claims),
            key_publishes: Bucket::new(settings.keys.publishes),
            connections: AtomicUsize::new(0),
            most_connections: settings.connections,
            rooms: Arc::default(),
            most_rooms: settings.rooms,
        }
    }

    /// A connection more.
    pub(super) fn connect(self: &Arc<Self>) -> Result<Connection, Rejection> {
        let connection = Connection(self.clone());
        if self.connections.fetch_add(1, Relaxed) >= self.most_connections {
            return Err(Limit::Connections.reached(
                "this address has as many connections as it may have: close one, or try later",
                AGAIN_MS,
            ));
        }
        Ok(connection)
    }

    /// A client more in a room.
    pub(super) fn enter(self: &Arc<Self>, room: &RoomId) -> Result<Entered, Rejection> {
        let place = self.rooms.take(room, |rooms| {
            if rooms.len() >= self.most_rooms && !rooms.contains_key(room) {
                return Err(Limit::Rooms.reached(
                    "this address is in as many rooms as it may be: leave one, or try later",
                    AGAIN_MS,
                ));
            }
            Ok(())
        })?;
        Ok(Entered {
            _place: place,
            _address: self.clone(),
        })
    }
}

impl Idle for Address {
    fn is_idle(&self) -> bool {
        // Connections and clients in rooms hold it.
        let of_rooms = self.joins.is_full() && self.made.is_full() && self.names.is_full();
        let of_keys = self.key_claims.is_full() && self.key_publishes.is_full();
        self.allowance.is_idle() && of_rooms && of_keys
    }
}

/// An open connection of an address; counts until it is dropped.
pub(in crate::gateway) struct Connection(Arc<Address>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}

/// A client of an address in a room; counts until it is dropped.
pub(in crate::gateway) struct Entered {
    _place: Slot<RoomId>,
    /// Held: an address that nobody holds may be forgotten.
    _address: Arc<Address>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Config;

    #[tokio::test]
    async fn connections_and_rooms_count_until_they_are_dropped() {
        let config = Config {
            connections_per_address: 2,
            rooms_per_address: 2,
            ..Config::default()
        };
        let address = Arc::new(Address::new(&Settings::of(&config)));
        let (first, _second) = (address.connect().ok(), address.connect().ok());
        assert!(address.connect().is_err() && address.connect().is_err());
        drop(first);
        assert!(address.connect().is_ok());

        let room = |name: &str| RoomId::parse(name).unwrap();
        let entered = [
            address.enter(&room("a")),
            address.enter(&room("b")),
            address.enter(&room("a")),
        ];
        assert!(entered.iter().all(Result::is_ok) && address.enter(&room("c")).is_err());
        drop(entered);
        assert!(address.enter(&room("c")).is_ok());
        assert!(address.rooms.are_free());
    }
}
