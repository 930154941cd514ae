//! What a terminal would show after frames of a server, without a connection or a terminal: fuzzing
//! comes in here.

use super::{
    frame::ServerFrame,
    session::{Effect, Session},
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
    let (mut session, mut view) = (Session::new("harry", 50), View::new(style, "aaa", "harry"));
    let mut effects = session.say("m1".into(), "Hello".into(), None);
    let mut printed = String::new();
    let frames = frames
        .split('\n')
        .filter_map(|frame| serde_json::from_str::<ServerFrame>(frame).ok());
    for frame in frames {
        if !session.is_repeat(&frame) {
            effects.extend(session.take(frame));
        }
        for effect in effects.drain(..) {
            match effect {
                Effect::Show(line) if view.is_note(&line) => {
                    printed += &view.note(&view.note_of(&line))
                }
                Effect::Show(line) => view.render(&line, &mut printed),
                Effect::Send(_) | Effect::Rejoin | Effect::RetryIn(_) => {}
            }
        }
        effects.extend(session.tick());
    }
    printed
}
