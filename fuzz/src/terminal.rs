//! What a server says, in a terminal: whatever it is, only line ends and text are printed. One
//! frame in each line.

use super::shown::is_one_line;
use safe_chat::chat::heard;

pub fn check(bytes: &[u8]) {
    let Ok(frames) = std::str::from_utf8(bytes) else {
        return;
    };
    for screen in [false, true] {
        heard(frames, screen).split('\n').for_each(is_one_line);
    }
}
