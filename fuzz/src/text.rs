//! A line of the text protocol: what is understood is written again as the same line.

use super::shown::{self, harry};
use safe_chat::{
    room::{Body, Reason, UserId},
    wire::{ClientFrame, Incoming, Message, Protocol},
};

pub fn check(bytes: &[u8]) {
    // A text message that is not UTF-8 never gets here: the connection is closed.
    let Ok(line) = std::str::from_utf8(bytes) else {
        let refused = Protocol::Text
            .decode(Incoming::Binary(bytes), &harry())
            .expect_err("a binary message was understood");
        return shown::refused(&refused, &[Reason::BadFrame]);
    };
    match Protocol::Text.decode(Incoming::Text(line), &harry()) {
        Ok(ClientFrame::Send(message)) => {
            let Message {
                id: None,
                to,
                body: Body::Text(said),
            } = &message
            else {
                panic!("{message:?} cannot be said in a line")
            };
            assert_eq!(
                format!("harry:{}:{said}", to.as_ref().map_or("*", UserId::as_str)),
                line
            );
            shown::accepted(&message);
        }
        Ok(other) => panic!("a line cannot be {other:?}"),
        Err(refused) => {
            assert_eq!(refused.id, None, "a line has no id");
            shown::refused(
                &refused,
                &[Reason::BadFrame, Reason::BadField, Reason::TooLarge],
            );
        }
    }
}
