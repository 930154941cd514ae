//! What one client address may do at a time and per second. It is shared by all connections of the
//! address, and outlives them for as long as a new one would otherwise begin with a full bucket.

use super::{Allowance, Limit, Settings, bucket::Bucket, keyed::Idle};
use crate::{
    listener::{Slot, SlotCounter},
    room::{Rejection, RoomId},
};
use std::{
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// Before a client whose address has as many connections or rooms as it may have should try again,
/// in milliseconds.
const AGAIN_MS: u64 = 5_000;

/// The address as far as it tells clients apart: of IPv6 the network of 64 bits, which is what one
/// customer gets and may choose addresses from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Origin(IpAddr);

impl Origin {
    pub(super) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
            v4 => v4,
        })
    }
}

/// What one address has and may have.
pub(super) struct Address {
    pub(super) allowance: Allowance,
    pub(super) joins: Bucket,
    connections: AtomicUsize,
    most_connections: usize,
    rooms: Arc<SlotCounter<RoomId>>,
    most_rooms: usize,
}

impl Address {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            allowance: Allowance::address(settings),
            joins: Bucket::new(settings.joins),
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
        self.allowance.is_idle() && self.joins.is_full()
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

    #[test]
    fn ipv6_is_told_apart_by_64_bits_and_a_mapped_address_is_the_ipv4_one() {
        let of = |text: &str| Origin::of(text.parse().unwrap());
        assert_eq!(
            of("2001:db8:1:2::1"),
            of("2001:db8:1:2:ffff:ffff:ffff:ffff")
        );
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

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
