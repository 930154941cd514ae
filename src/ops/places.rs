//! How many connections the internal port takes: so few from one address that it cannot keep the
//! others' health checks and scrapers out.

use crate::listener::{Slot, SlotCounter};
use std::{collections::HashMap, net::IpAddr, sync::Arc};

/// Open connections, from all addresses. Health checks, a scraper or two and an operator need a
/// few.
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
    #[error(
        "the internal port has the {MOST_OF_ONE} connections that it takes from one address: close one, or try again later"
    )]
    Address,
}

/// A place for a connection from an address.
pub(super) fn take(
    places: &Arc<SlotCounter<IpAddr>>,
    address: IpAddr,
) -> Result<Slot<IpAddr>, Full> {
    places.take(&address, |taken| room_for(address, taken))
}

fn room_for(address: IpAddr, taken: &HashMap<IpAddr, usize>) -> Result<(), Full> {
    if taken.values().sum::<usize>() >= MOST {
        return Err(Full::Port);
    }
    if taken
        .get(&address)
        .is_some_and(|of_one| *of_one >= MOST_OF_ONE)
    {
        return Err(Full::Address);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u8) -> IpAddr {
        [192, 0, 2, n].into()
    }

    #[test]
    fn one_address_leaves_places_for_others_and_all_have_an_end() {
        let places = Arc::new(SlotCounter::default());
        let mut taken: Vec<_> = (0..MOST_OF_ONE)
            .map(|_| take(&places, address(1)).unwrap())
            .collect();
        assert_eq!(take(&places, address(1)).err(), Some(Full::Address));
        taken.extend(
            (MOST_OF_ONE..MOST)
                .map(|n| take(&places, address((n / MOST_OF_ONE) as u8 + 1)).unwrap()),
        );
        assert_eq!(take(&places, address(9)).err(), Some(Full::Port));
        taken.pop();
        assert!(take(&places, address(9)).is_ok());
        drop(taken);
        assert!(places.are_free(), "nothing is kept of who is gone");
    }
}
