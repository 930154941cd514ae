//! Text from elsewhere, as a person may see it: a service, or whoever speaks through it, can write
//! what it likes in the place of a name or a reason.

use chrono::{DateTime, Local, Utc};
use std::fmt::Write as _;
use unicode_width::UnicodeWidthChar as _;

/// Milliseconds since 1970 before which no room was.
const OLDEST: u64 = 1_577_836_800_000;
/// Milliseconds by which a clock may be ahead.
const AHEAD: u64 = 24 * 60 * 60 * 1000;

/// Letters of a name, at most; contract with clients.
pub(super) const LONGEST_NAME: usize = 64;
/// Letters of what a service says, at most.
const LONGEST_SAID: usize = 300;

/// The name of a user or a device. A service that is not honest could give text instead, that reads
/// like a message of somebody.
pub(super) fn named(name: &str) -> &str {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let is_name = (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(is_letter);
    match is_name {
        true => name,
        false => "(no name)",
    }
}

/// For whom a message is labelled: a name, or all.
pub(super) fn labelled(to: Option<&str>) -> &str {
    match to {
        None | Some("*") => "*",
        Some(to) => named(to),
    }
}

/// When something was said, unless a service gives a time that cannot be.
pub(super) fn time_of(at: u64) -> Option<DateTime<Local>> {
    let latest = u64::try_from(Utc::now().timestamp_millis()).ok()? + AHEAD;
    let at = i64::try_from(at)
        .ok()
        .filter(|_| (OLDEST..=latest).contains(&at))?;
    Some(DateTime::from_timestamp_millis(at)?.with_timezone(&Local))
}

/// Names, and how many more there are.
pub(super) fn listed(names: &[String], most: usize) -> String {
    let shown: Vec<&str> = names.iter().take(most).map(|name| named(name)).collect();
    match names.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

pub(super) fn shortened(text: &str) -> String {
    let start: String = text.chars().take(60).collect();
    let more = if start.len() < text.len() { "…" } else { "" };
    escaped(&start) + more
}

/// Marks that stand on one letter, at most: more of them hide lines above and below.
const MOST_MARKS: usize = 8;

/// C0, DEL, C1, the line separators, the marks that turn the direction of text and what shows as
/// nothing, written out.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut before, mut marks) = (' ', 0);
    for c in text.chars() {
        marks = match c.width() {
            Some(0) => marks + 1,
            _ => 0,
        };
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => written(&mut out, c),
            // They join letters of other scripts, and pictures.
            '\u{200c}' | '\u{200d}' if !(before.is_ascii() || is_nothing(before)) => {
                out.push(c);
            }
            c if c.is_control() || is_nothing(c) || marks > MOST_MARKS => written(&mut out, c),
            c => out.push(c),
        }
        before = c;
    }
    out
}

/// Letters without a width that are no marks of another one, also the tags, which nobody sees.
fn is_nothing(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

fn written(out: &mut String, c: char) {
    let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
}

/// Words of a service, within a line of this program. With the gaps in them, or at any length, they
/// could be made to go on in the next row of a screen as somebody's message.
pub(super) fn of_service(text: &str) -> String {
    let mut said = String::new();
    for c in text.chars() {
        if said.chars().count() == LONGEST_SAID {
            said.push('…');
            break;
        }
        match is_blank(c) {
            true if said.is_empty() || said.ends_with(' ') => {}
            true => said.push(' '),
            false => said.push(c),
        }
    }
    escaped(said.trim_end())
}

/// What shows as nothing, also the letters that do.
fn is_blank(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            '\u{2800}' | '\u{3164}' | '\u{115f}' | '\u{1160}' | '\u{ffa0}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_cannot_be_is_none() {
        let now = Utc::now().timestamp_millis() as u64;
        let year_50000 = 1_515_700_000_000_000;
        for at in [
            0,
            1,
            OLDEST - 1,
            now + 2 * AHEAD,
            year_50000,
            u64::MAX,
            -5_i64 as u64,
        ] {
            assert_eq!(time_of(at), None, "{at}");
        }
        assert!(
            [OLDEST, now, now + AHEAD / 2]
                .into_iter()
                .all(|at| time_of(at).is_some())
        );
    }

    #[test]
    fn what_nobody_sees_is_written_out_and_letters_of_all_scripts_are_not() {
        for (text, shown) in [
            ("ad\u{200b}min", "ad\\u{200b}min"),
            ("ad\u{200d}min", "ad\\u{200d}min"),
            ("\u{feff}a\u{2060}b\u{ad}c", "\\u{feff}a\\u{2060}b\\u{ad}c"),
            ("a\u{e0041}\u{e007f}", "a\\u{e0041}\\u{e007f}"),
            ("a\u{202e}b\u{7}", "a\\u{202e}b\\u{7}"),
        ] {
            assert_eq!(escaped(text), shown);
        }
        let letters = [
            "cafe\u{301}",
            "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
            "\u{2764}\u{fe0f}\u{200d}\u{1f525}",
            "\u{645}\u{6cc}\u{200c}\u{62e}\u{648}\u{627}\u{647}\u{645}",
            "\u{915}\u{94d}\u{200d}\u{937}",
            "\u{e19}\u{e49}\u{e33}",
        ];
        for text in letters {
            assert_eq!(escaped(text), text);
        }
        let many = format!("a{}b", "\u{301}".repeat(3000));
        let shown = escaped(&many);
        let marks = shown.chars().filter(|c| *c == '\u{301}').count();
        assert_eq!((marks, shown.ends_with("\\u{301}b")), (MOST_MARKS, true));
    }

    #[test]
    fn text_in_the_place_of_a_name_is_no_message() {
        let fake = format!("charly     send me money{}", " ".repeat(150));
        for name in [fake.as_str(), "", "*", "a\nb", &"x".repeat(65)] {
            assert_eq!(named(name), "(no name)");
        }
        for name in ["charly", "A-b_9", &"x".repeat(64)] {
            assert_eq!(named(name), name);
        }
    }
}
