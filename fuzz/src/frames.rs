//! The bytes of a client behind the upgrade: the first byte says in pieces of how many bytes they
//! come. The same messages are read as when all of them come at once.

use safe_chat::gateway::websocket_items;

pub fn check(bytes: &[u8]) {
    let Some((piece, bytes)) = bytes.split_first() else {
        return;
    };
    let pieces = websocket_items(bytes, usize::from(*piece).max(1));
    assert_eq!(pieces, websocket_items(bytes, usize::MAX));
}
