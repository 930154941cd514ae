//! What the largest group needs fits into what rooms take.

mod world;

use seal::rules::{MOST_KEY_PACKAGE, MOST_MEMBERS};
use seal::{Handshake, MOST_HANDSHAKE};
use world::room_of;

/// Bytes of a change in a group where nobody but its maker has ever made one: its path is encrypted
/// to each of the others.
fn change_of(devices: usize) -> usize {
    let names: Vec<_> = (0..devices).map(|n| format!("user-{n:04}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let (_, mut clients) = room_of(&names);
    clients[0].renew().unwrap();
    let frame = clients[0].outbox.front().unwrap();
    let (_, handshake) = Handshake::of(frame).unwrap();
    handshake.encode().len()
}

#[test]
fn a_change_of_the_largest_group_is_one_handshake() {
    let (few, many) = (change_of(20), change_of(80));
    let each = (many - few).div_ceil(60);
    let largest = many + each * (MOST_MEMBERS - 80);
    println!("{few} bytes of 20 devices, {many} of 80, {each} each, {largest} of {MOST_MEMBERS}");
    // Beside it somebody is added, with the largest key package.
    assert!(largest + MOST_KEY_PACKAGE < MOST_HANDSHAKE, "{largest}");
}
