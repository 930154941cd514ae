//! What changes the group of a sealed room, as a stranger may send it: read and written it is the
//! same, and whatever it is, an owner that has no group yet decides about it.

use super::shown;
use seal::{Delivery, Handshake, Identity, Name, delivery::Proven};

pub fn check(bytes: &[u8]) {
    let handshake = match Handshake::decode(bytes) {
        Ok(handshake) => handshake,
        Err(why) => return shown::is_one_line(&why.to_string()),
    };
    assert_eq!(handshake.encode(), bytes);
    let Handshake::Founding(founding) = handshake else {
        return;
    };
    let stranger = Proven {
        user: Name::parse("harry").expect("a name"),
        identity: Identity::from_seed(&[1; 32]).public(),
    };
    let room = founding.room();
    let found = |room| Delivery::found(room, &founding, &stranger, 1_795_465_200);
    match room.and_then(found) {
        Ok(delivery) => assert_eq!((delivery.epoch(), delivery.members().count()), (0, 1)),
        Err(why) => shown::is_one_line(&why.to_string()),
    }
}
