//! What a terminal would show after frames of a server, without a connection or a terminal: fuzzing
//! comes in here.

use std::time::{Duration, Instant};

use safe_chat_client::{
    Message, Protocol, Resend,
    codec::json,
    session::{Effect, Options, Session},
};

use super::{
    room::Room,
    view::{Style, View},
};

/// Everything that is printed, notes too, for one frame in each line. `screen`: as in a terminal,
/// without colours; else as in a pipe.
pub fn heard(frames: &str, screen: bool) -> String {
    let style = if screen {
        Style::Screen { color: false }
    } else {
        Style::Lines
    };
    let mut session = Session::new(Options {
        user: "harry".into(),
        protocol: Protocol::Json,
        since: None,
        history: 50,
        resend: Resend::default(),
        retries: 30,
        answer_within: None,
    });
    let (mut room, mut view) = (Room::new(50), View::new(style, "aaa", "harry"));
    let (mut printed, mut now) = (String::new(), Instant::now());
    let hello = Message::text("Hello").with_id("m1");
    let mut effects = session.say(hello, now).unwrap_or_default();
    let frames = frames
        .split('\n')
        .filter_map(|frame| json::decode(frame).ok());
    for frame in frames {
        effects.extend(session.take(frame, false, now));
        for effect in effects.drain(..) {
            let line = match effect {
                Effect::Tell(notice) => room.take(notice),
                Effect::Reply {
                    reply: Some(safe_chat_client::session::Reply::History(page)),
                    ..
                } => Some(room.page(page, Default::default())),
                _ => None,
            };
            match line {
                Some(line) if view.is_note(&line) => printed += &view.note(&view.note_of(&line)),
                Some(line) => view.render(&line, &mut printed),
                None => {}
            }
        }
        now += Duration::from_secs(1);
        effects.extend(session.wake(now));
    }
    printed
}
