//! What the copy of a device's state is worth to a thief that only listens.

use crate::world::{Client, Entry, room, room_of, said};
use seal::member::{Event, Shown};

/// Somebody with a copy of all that charly's phone has stored.
fn thief_of(charly: &Client) -> Client {
    let mut thief = Client::new("charly", "phone", 2);
    thief.restore(&charly.shelf.encode(), charly.cursor);
    thief
}

#[test]
fn a_copy_of_a_device_reads_until_the_device_renews_its_keys() {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    let mut thief = thief_of(&clients[1]);
    clients[0].send("one").unwrap();
    clients[0].flush(&mut server);
    assert_eq!(said(&thief.read(&server)), ["harry: one"]);
    clients[1].read(&server);
    clients[1].renew().unwrap();
    clients[1].flush(&mut server);
    for client in &mut clients {
        client.read(&server);
    }
    clients[0].send("two").unwrap();
    clients[0].flush(&mut server);
    assert_eq!(said(&clients[1].read(&server)), ["harry: two"]);
    assert_eq!(said(&thief.read(&server)), [""; 0]);
    assert!(!thief.member.is_in(&room()));
}

#[test]
fn a_copy_of_a_device_does_not_read_again_what_the_device_has_read() {
    let (mut server, mut clients) = room_of(&["harry", "charly"]);
    clients[0].send("read and forgotten").unwrap();
    clients[0].flush(&mut server);
    let recorded = server.journal.last().cloned();
    let Some(Entry::Message { bytes, .. }) = recorded else {
        panic!("a message")
    };
    assert_eq!(said(&clients[1].read(&server)).len(), 1);
    let mut thief = thief_of(&clients[1]);
    let step = thief.member.receive(&room(), Event::Message(&bytes));
    let shown = step.unwrap().shown;
    assert!(matches!(shown[..], [Shown::Unreadable(_)]), "{shown:?}");
}
