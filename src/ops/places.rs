//! How many connections the internal port takes: so few from one address that it cannot keep the others' health checks and scrapers out.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Open connections, from all addresses. Health checks, a scraper or two and an operator need a few.
const MOST: usize = 256;
/// Open connections from one address.
const MOST_OF_ONE: usize = 64;

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Full {
    /// By all together.
    #[error("the internal port has the {MOST} connections that it takes: try again later")]
    Port,
    /// By the address that wants one more.
    #[error("the internal port has the {MOST_OF_ONE} connections that it takes from one address: close one, or try again later")]
    Address,
}

/// The open connections by address.
#[derive(Default)]
pub(super) struct Places(Mutex<HashMap<IpAddr, usize>>);

impl Places {
    /// A place for a connection from an address.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Result<Place, Full> {
        let mut open = self.open();
        let all: usize = open.values().sum();
        if all >= MOST {
            return Err(Full::Port);
        }
        let of_one = open.entry(address).or_default();
        if *of_one >= MOST_OF_ONE {
            return Err(Full::Address);
        }
        *of_one += 1;
        Ok(Place { places: self.clone(), address })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place; free again when it is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.places.open();
        if let Some(of_one) = open.get_mut(&self.address) {
            *of_one -= 1;
            if *of_one == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u8) -> IpAddr {
        [192, 0, 2, n].into()
    }

    #[test]
    fn one_address_leaves_places_for_others_and_all_have_an_end() {
        let places = Arc::new(Places::default());
        let mut taken: Vec<_> = (0..MOST_OF_ONE).map(|_| places.take(address(1)).unwrap()).collect();
        assert_eq!(places.take(address(1)).err(), Some(Full::Address));
        taken.extend((MOST_OF_ONE..MOST).map(|n| places.take(address((n / MOST_OF_ONE) as u8 + 1)).unwrap()));
        assert_eq!(places.take(address(9)).err(), Some(Full::Port));
        taken.pop();
        assert!(places.take(address(9)).is_ok());
        drop(taken);
        assert!(places.open().is_empty(), "nothing is kept of who is gone");
    }
}
