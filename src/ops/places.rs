//! How many connections the internal port takes. Whoever holds many open must keep neither health
//! checks and scrapers out nor operators: at a limit a connection that has not logged in and asked
//! nothing for the longest time gives its place to the new one.

use crate::listener::Origin;
use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};
use tokio_util::sync::CancellationToken;

/// Open connections, from all addresses. Health checks, a scraper or two and an operator need a
/// few.
const MOST: usize = 256;
/// Open connections from one address; of IPv6, from one network.
const MOST_OF_ONE: usize = 64;

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Full {
    /// By all together.
    #[error("the internal port has the {MOST} connections that it takes: try again later")]
    Port,
    /// By the address that wants one more.
    #[error(
        "the internal port has the {MOST_OF_ONE} connections that it takes from one address: close one, or try again later"
    )]
    Address,
}

/// The connections of a port.
pub(super) struct Places {
    /// Cancelled: all connections end.
    stop: CancellationToken,
    taken: Mutex<Vec<Arc<Connection>>>,
    /// Orders what connections do.
    clock: AtomicU64,
}

/// An open connection.
struct Connection {
    origin: Origin,
    /// When it last asked something, by the clock of its places.
    asked: AtomicU64,
    logged_in: AtomicBool,
    evicted: CancellationToken,
}

/// The place of a connection; free again when it is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    connection: Arc<Connection>,
}

impl Places {
    /// None is taken. `stop` ends all connections.
    pub(super) fn new(stop: CancellationToken) -> Self {
        Self {
            stop,
            taken: Mutex::default(),
            clock: AtomicU64::default(),
        }
    }

    /// A place for a connection from an address.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Result<Arc<Place>, Full> {
        let origin = Origin::of(address);
        let mut taken = self.taken();
        let of_one = taken.iter().filter(|other| other.origin == origin).count();
        if of_one >= MOST_OF_ONE {
            evict(&mut taken, |other| other.origin == origin).ok_or(Full::Address)?;
        } else if taken.len() >= MOST {
            evict(&mut taken, |_| true).ok_or(Full::Port)?;
        }
        let connection = Arc::new(Connection {
            origin,
            asked: AtomicU64::new(self.now()),
            logged_in: AtomicBool::new(false),
            evicted: self.stop.child_token(),
        });
        taken.push(connection.clone());
        Ok(Arc::new(Place {
            places: self.clone(),
            connection,
        }))
    }

    fn now(&self) -> u64 {
        self.clock.fetch_add(1, Relaxed)
    }

    fn taken(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the connection of those that asked nothing for the longest time.
fn evict(taken: &mut Vec<Arc<Connection>>, of: impl Fn(&Connection) -> bool) -> Option<()> {
    let all = taken.iter().enumerate();
    let may_go = all.filter(|(_, it)| of(it) && !it.logged_in.load(Relaxed));
    let (index, _) = may_go.min_by_key(|(_, it)| it.asked.load(Relaxed))?;
    taken.swap_remove(index).evicted.cancel();
    Some(())
}

impl Place {
    /// The connection asks something.
    pub(super) fn note_request(&self) {
        self.connection.asked.store(self.places.now(), Relaxed);
    }

    /// Somebody logged in on the connection, so it stays.
    pub(super) fn note_login(&self) {
        self.connection.logged_in.store(true, Relaxed);
    }

    /// Cancelled when the place goes to another connection.
    pub(super) fn evicted(&self) -> CancellationToken {
        self.connection.evicted.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.retain(|other| !Arc::ptr_eq(other, &self.connection));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: usize) -> IpAddr {
        [192, 0, 2, u8::try_from(n).unwrap()].into()
    }

    /// The places of all addresses that have as many as they may.
    fn full(places: &Arc<Places>) -> Vec<Arc<Place>> {
        let places = (0..MOST).map(|n| places.take(address(n / MOST_OF_ONE)));
        places.collect::<Result<_, _>>().unwrap()
    }

    fn gone(taken: &[Arc<Place>]) -> Vec<usize> {
        let all = taken.iter().enumerate();
        let evicted = all.filter(|(_, place)| place.evicted().is_cancelled());
        evicted.map(|(n, _)| n).collect()
    }

    #[test]
    fn connections_that_ask_nothing_make_room_for_a_new_one() {
        let places = Arc::new(Places::new(CancellationToken::new()));
        let taken = full(&places);
        taken[0].note_request();
        let _probe = places.take(address(9)).unwrap();
        assert_eq!(gone(&taken), [1], "the longest without a request");
        // One address pushes out its own.
        let _more = places.take(address(2)).unwrap();
        assert_eq!(gone(&taken), [1, 2 * MOST_OF_ONE]);
    }

    #[test]
    fn who_has_logged_in_stays() {
        let places = Arc::new(Places::new(CancellationToken::new()));
        let taken = full(&places);
        let (last, operators) = taken.split_last().unwrap();
        operators.iter().for_each(|place| place.note_login());
        assert_eq!(places.take(address(0)).err(), Some(Full::Address));
        let probe = places.take(address(9)).unwrap();
        assert!(last.evicted().is_cancelled() && gone(operators).is_empty());
        probe.note_login();
        assert_eq!(places.take(address(10)).err(), Some(Full::Port));
    }

    #[test]
    fn a_network_counts_as_one_address_and_nothing_is_kept_of_who_is_gone() {
        let places = Arc::new(Places::new(CancellationToken::new()));
        let of = |n| places.take(format!("2001:db8::{n:x}").parse().unwrap());
        let taken: Vec<_> = (1..=MOST_OF_ONE).map(|n| of(n).unwrap()).collect();
        let one_more = of(1000).unwrap();
        assert_eq!(gone(&taken), [0]);
        drop((taken, one_more));
        assert!(places.taken().is_empty());
    }
}
