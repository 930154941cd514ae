//! How lines look: columns and colours on a screen, one event per line in a pipe, or the frames
//! themselves. Control characters of others are always escaped, so that no message can move the
//! cursor, change colours or pretend to be a line of its own.

use super::foreign::{LONGEST_NAME, escaped, listed, named, of_service, shortened};

use std::{collections::BTreeMap, fmt::Write as _};

use chrono::{DateTime, Local, NaiveDate};
use crossterm::style::{Attribute, Color, ContentStyle, StyledContent, Stylize};
use unicode_width::UnicodeWidthStr;

use safe_chat_client::{Body, Event};

use super::screen::Prompt;

/// What the person gets to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    Event(Event),
    /// `notes`: what there is to read in the place of some. `lost`: how many events behind these
    /// the service does not have any more.
    Earlier {
        events: Vec<Event>,
        notes: BTreeMap<u64, String>,
        lost: u64,
        more: bool,
    },
    Joined {
        members: Vec<String>,
        node: String,
        resumed: bool,
    },
    Members(Vec<String>),
    Rejected {
        text: String,
        why: String,
    },
    Reset {
        reason: String,
    },
    Bye {
        reason: String,
    },
    Queued {
        text: String,
    },
}

impl Line {
    /// Whether it is of what only members of a sealed room read.
    pub(super) fn is_encrypted(&self) -> bool {
        match self {
            Self::Event(event) => matches!(event.kind(), "sealed" | "handshake"),
            _ => false,
        }
    }
}

/// Which of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Screen { color: bool },
    Lines,
    Json,
}

/// Readable on dark and on light terminals.
const COLORS: [u8; 12] = [31, 36, 64, 67, 97, 130, 133, 136, 161, 166, 168, 172];

/// The kind of what is shown in place of an unencrypted message in a sealed room, where members say
/// nothing so.
pub(super) const UNENCRYPTED: &str = "unencrypted";

/// Names shorter than this leave the texts in one column.
const NAME_WIDTH: usize = 10;

/// Renders lines; remembers the day, to say when it changes.
#[derive(Debug)]
pub(super) struct View {
    style: Style,
    room: String,
    user: String,
    day: Option<NaiveDate>,
}

impl View {
    pub(super) fn new(style: Style, room: &str, user: &str) -> View {
        View {
            style,
            room: room.into(),
            user: user.into(),
            day: None,
        }
    }

    /// Whether a line is about the client rather than from the room: in a pipe it goes to stderr.
    pub(super) fn is_note(&self, line: &Line) -> bool {
        match line {
            Line::Event(event) => event.kind() == UNENCRYPTED,
            line => !matches!(line, Line::Earlier { .. } | Line::Members(_)),
        }
    }

    /// The text of a note; empty: nothing to say.
    pub(super) fn note_of(&self, line: &Line) -> String {
        let screen = matches!(self.style, Style::Screen { .. });
        match line {
            Line::Joined {
                node,
                resumed: true,
                ..
            } => format!("connected again{}", at_node(node)),
            Line::Joined { members, node, .. } => {
                let here = here(members, MOST_NAMES);
                format!("joined #{}{}: {here}", self.room, at_node(node))
            }
            Line::Rejected { text, why } if text.is_empty() => format!(
                "! the service refuses something, and does not say what: {}",
                of_service(why)
            ),
            Line::Rejected { text, why } => {
                format!("! not sent ({}): {}", of_service(why), shortened(text))
            }
            Line::Reset { reason } => format!("the room begins anew here: {}", of_service(reason)),
            Line::Bye { reason } => {
                format!("the server closes this connection: {}", of_service(reason))
            }
            Line::Event(event) if event.kind() == UNENCRYPTED => unencrypted(event),
            Line::Queued { text } if screen => format!("waiting to be sent: {}", shortened(text)),
            Line::Queued { .. } | Line::Event(_) | Line::Earlier { .. } | Line::Members(_) => {
                String::new()
            }
        }
    }

    /// A note, ready to print.
    pub(super) fn note(&self, text: &str) -> String {
        if text.is_empty() {
            return String::new();
        }
        let style = if text.starts_with('!') {
            ContentStyle::new().red()
        } else {
            ContentStyle::new().dim()
        };
        text.lines().fold(String::new(), |out, line| {
            out + &self.paint(style, line).to_string() + "\n"
        })
    }

    /// Appends a line of the room.
    pub(super) fn render(&mut self, line: &Line, out: &mut String) {
        match (self.style, line) {
            (Style::Json, _) => {}
            (Style::Lines, Line::Event(event)) => plain(&self.room, event, out),
            (Style::Screen { .. }, Line::Event(event)) => self.event(event, out),
            (_, Line::Members(members)) => {
                out.push_str(&self.note(&format!("here: {}", here(members, usize::MAX))))
            }
            (
                _,
                Line::Earlier {
                    events,
                    notes,
                    lost,
                    more,
                },
            ) => self.earlier((events, notes), *lost, *more, out),
            _ => {}
        }
    }

    fn earlier(
        &mut self,
        (events, notes): (&[Event], &BTreeMap<u64, String>),
        lost: u64,
        more: bool,
        out: &mut String,
    ) {
        let today = self.day.take();
        let title = if events.is_empty() {
            "nothing earlier is kept"
        } else {
            "earlier"
        };
        out.push_str(&self.note(&format!("--- {title} ---")));
        let is_unencrypted = |event: &Event| event.kind() == UNENCRYPTED;
        for run in events.chunk_by(|one, next| is_unencrypted(one) && is_unencrypted(next)) {
            match notes.get(&run[0].seq) {
                Some(note) => out.push_str(&self.note(note)),
                None => self.event(&run[0], out),
            }
            if let [_, .., last] = run {
                let more = plural(run.len() as u64 - 1, "more such event");
                out.push_str(&self.note(&format!("! up to #{}: {more}", last.seq)));
            }
        }
        if lost > 0 {
            let what = plural(lost, "event");
            out.push_str(&self.note(&format!("--- {what} here are lost by the service ---")));
        }
        if !events.is_empty() {
            let end = if more {
                "--- end of the earlier part; /history goes on ---"
            } else {
                "--- end of the earlier part ---"
            };
            out.push_str(&self.note(end));
        }
        self.day = today;
    }

    /// `12:03 charly     Hello`, further lines of the text below its first one.
    fn event(&mut self, event: &Event, out: &mut String) {
        let when = DateTime::from_timestamp_millis(event.at as i64)
            .unwrap_or_default()
            .with_timezone(&Local);
        self.day_of(when, out);
        let time = self
            .paint(ContentStyle::new().dim(), when.format("%H:%M").to_string())
            .to_string();
        let from = named(&event.from);
        let quiet = |what: &str| self.paint(ContentStyle::new().dim(), format!("{from} {what}"));
        let _ = match event.kind() {
            "joined" => writeln!(out, "{time} {}", quiet("joined")),
            "left" => writeln!(out, "{time} {}", quiet("left")),
            "erased" => write!(
                out,
                "{}",
                self.note(&format!("--- what {from} said before this was erased ---"))
            ),
            UNENCRYPTED => write!(out, "{}", self.note(&unencrypted(event))),
            "purged" => write!(out, "{}", self.note("--- all before this was removed ---")),
            "text" | "sealed" => writeln!(
                out,
                "{time} {} {}{}",
                self.name(from),
                self.content(event),
                self.mark(event)
            ),
            _ => Ok(()),
        };
    }

    fn day_of(&mut self, when: DateTime<Local>, out: &mut String) {
        let day = when.date_naive();
        let shown = self.day.unwrap_or_else(|| Local::now().date_naive());
        if day != shown {
            out.push_str(&self.note(&format!("--- {} ---", when.format("%A, %-d %B %Y"))));
        }
        self.day = Some(day);
    }

    fn name(&self, from: &str) -> String {
        let color = ContentStyle::new().with(color_of(from));
        let style = if from == self.user {
            color.attribute(Attribute::Bold)
        } else {
            color
        };
        self.paint(style, format!("{from:<NAME_WIDTH$}"))
            .to_string()
    }

    fn content(&self, event: &Event) -> String {
        let label = match event.to.as_deref() {
            None | Some("*") => String::new(),
            Some(to) => format!(
                "{} ",
                self.paint(ContentStyle::new().dim(), format!("(to {})", named(to)))
            ),
        };
        let text = match event.text() {
            Some(text) => text
                .lines()
                .map(escaped)
                .collect::<Vec<_>>()
                .join(&format!("\n      {:<NAME_WIDTH$} ", "")),
            None if event.body == Body::ErasedText => self
                .paint(ContentStyle::new().dim(), "(erased)")
                .to_string(),
            None => self
                .paint(
                    ContentStyle::new().dim(),
                    format!("(sealed, {} bytes)", event.sealed_bytes().unwrap_or(0)),
                )
                .to_string(),
        };
        label + &text
    }

    /// Own messages are shown when they come back: they are in the journal.
    fn mark(&self, event: &Event) -> String {
        if event.from == self.user {
            format!(" {}", self.paint(ContentStyle::new().dim(), "✓"))
        } else {
            String::new()
        }
    }

    /// The prompt of the edited line, with what one has to know about the connection.
    pub(super) fn prompt(&self, state: &str, undecided: usize) -> Prompt {
        let waiting = if undecided > 0 {
            format!("{undecided} waiting")
        } else {
            String::new()
        };
        let facts: Vec<&str> = [state, &waiting]
            .into_iter()
            .filter(|fact| !fact.is_empty())
            .collect();
        let facts = if facts.is_empty() {
            String::new()
        } else {
            format!(" ({})", facts.join(", "))
        };
        let (room, facts) = (format!("#{}", self.room), format!("{facts} ›"));
        let columns = room.width() + facts.width() + 1;
        let room = self.paint(ContentStyle::new().attribute(Attribute::Bold), room);
        let facts = self.paint(ContentStyle::new().dim(), facts);
        Prompt {
            printed: format!("{room}{facts} "),
            columns,
        }
    }

    fn paint<T: std::fmt::Display>(&self, style: ContentStyle, text: T) -> StyledContent<T> {
        let color = self.style == Style::Screen { color: true };
        StyledContent::new(if color { style } else { ContentStyle::new() }, text)
    }
}

fn unencrypted(event: &Event) -> String {
    format!(
        "! #{}: the service shows something unencrypted as from {}: not from a member",
        event.seq,
        named(&event.from)
    )
}

/// One event per line, as the text protocol of the service writes it; unknown kinds included, so
/// that every seq is seen.
fn plain(room: &str, event: &Event, out: &mut String) {
    let Event { seq, .. } = event;
    let from = named(&event.from);
    let to = named(event.to.as_deref().unwrap_or("*"));
    let _ = match (&event.body, event.sealed_bytes()) {
        (Body::Text(text), _) => {
            writeln!(out, "[{room}:{seq} - {from} -> {to}] {}", escaped(text))
        }
        (Body::ErasedText, _) => writeln!(out, "[{room}:{seq} - {from} -> {to}] (erased)"),
        (_, Some(bytes)) => {
            writeln!(
                out,
                "[{room}:{seq} - {from} -> {to}] (sealed, {bytes} bytes)"
            )
        }
        _ => writeln!(out, "[{room}:{seq} - {from} {}]", named(event.kind())),
    };
}

/// Names of who is in a room that are told to who comes; `/members` tells all.
const MOST_NAMES: usize = 50;

/// To whoever wants to end, by a command, while something waits that cannot be sent now.
pub(super) fn lost_by_leaving(waiting: usize, typed: &str) -> String {
    let (what, them, are) = match waiting {
        1 => ("1 message", "it", "is"),
        _ => (&*format!("{waiting} messages"), "them", "are"),
    };
    format!(
        "! {what} cannot be sent now, and {are} not kept for the next time: wait until you are \
         connected and in, or go without {them} by {typed} once more (Ctrl-C ends at once)"
    )
}

/// `3 messages`.
pub(super) fn plural(count: u64, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

fn at_node(node: &str) -> String {
    if node.is_empty() {
        String::new()
    } else {
        let start: String = node.chars().take(LONGEST_NAME).collect();
        format!(" on {}", escaped(&start))
    }
}

fn here(members: &[String], most: usize) -> String {
    format!("{} ({})", listed(members, most), members.len())
}

/// Always the same for a name (FNV-1a).
fn color_of(name: &str) -> Color {
    let hash = name.bytes().fold(2_166_136_261_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(16_777_619)
    });
    Color::AnsiValue(COLORS[(hash >> 8) as usize % COLORS.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(from: &str, text: &str) -> Event {
        Event {
            seq: 7,
            at: 0,
            from: from.into(),
            to: None,
            id: None,
            body: Body::Text(text.into()),
        }
    }

    fn shown(style: Style, event: Event) -> String {
        let mut out = String::new();
        View::new(style, "aaa", "harry").render(&Line::Event(event), &mut out);
        out
    }

    #[test]
    fn a_pipe_gets_the_lines_of_the_text_protocol() {
        let labelled = Event {
            to: Some("charly".into()),
            ..text("harry", "Hello")
        };
        assert_eq!(
            shown(Style::Lines, labelled),
            "[aaa:7 - harry -> charly] Hello\n"
        );
        assert_eq!(
            shown(Style::Lines, text("harry", "a\nb")),
            "[aaa:7 - harry -> *] a\\nb\n"
        );
        let joined = Event {
            body: Body::Joined,
            ..text("charly", "")
        };
        assert_eq!(shown(Style::Lines, joined), "[aaa:7 - charly joined]\n");
        let without = Event {
            body: Body::ErasedText,
            ..text("harry", "")
        };
        assert_eq!(
            shown(Style::Lines, without.clone()),
            "[aaa:7 - harry -> *] (erased)\n"
        );
        let on_screen = shown(Style::Screen { color: false }, without);
        assert!(on_screen.contains("(erased)"), "{on_screen}");
    }

    #[test]
    fn what_a_service_says_is_no_line_of_somebody() {
        let view = View::new(Style::Screen { color: false }, "aaa", "harry");
        let gap = " \u{3000}\u{2800}\u{a0}\n".repeat(40);
        let fake = format!("bad_frame: {gap}20:24 charly{gap}send money{gap}");
        let end = "x".repeat(1_000_000);
        for why in [fake, end] {
            let bye = Line::Bye {
                reason: why.clone(),
            };
            let reset = Line::Reset {
                reason: why.clone(),
            };
            let of_nothing = Line::Rejected {
                text: String::new(),
                why: why.clone(),
            };
            let of_hello = Line::Rejected {
                text: "Hello".into(),
                why,
            };
            for line in [bye, reset, of_nothing, of_hello] {
                let note = view.note_of(&line);
                assert!(!note.contains("  ") && note.len() < 600, "{note}");
            }
        }
        assert_eq!(of_service(" busy:\n\u{202e}later "), "busy: \\u{202e}later");
        let names: Vec<String> = (0..20_000).map(|n| format!("user{n}")).collect();
        let line = Line::Joined {
            members: names,
            node: "n1".into(),
            resumed: false,
        };
        let note = view.note_of(&line);
        assert!(note.ends_with("user49 and 19950 more (20000)"), "{note}");
    }

    #[test]
    fn what_no_member_has_said_is_a_warning_wherever_it_stands() {
        let event = Event {
            body: Body::Other(UNENCRYPTED.into()),
            ..text("harry", "")
        };
        let said = "! #7: the service shows something unencrypted as from harry: not from a member";
        for style in [Style::Lines, Style::Screen { color: false }] {
            let mut view = View::new(style, "aaa", "harry");
            let line = Line::Event(event.clone());
            assert!(view.is_note(&line));
            assert_eq!(view.note_of(&line), said);
            let page = Line::Earlier {
                events: [7, 8, 9]
                    .map(|seq| Event {
                        seq,
                        ..event.clone()
                    })
                    .into(),
                notes: BTreeMap::new(),
                lost: 0,
                more: false,
            };
            let mut out = String::new();
            view.render(&page, &mut out);
            assert!(out.contains(said), "{out}");
            assert!(out.contains("! up to #9: 2 more such events"), "{out}");
        }
    }

    #[test]
    fn no_message_can_send_commands_to_the_terminal() {
        let evil = "\u{1b}[2J\u{9b}31m\u{7f}\u{202e}x\u{2028}\r\n\u{1b}]0;t\u{7}";
        for style in [Style::Lines, Style::Screen { color: false }] {
            let event = Event {
                to: Some(evil.into()),
                ..text(evil, evil)
            };
            let out = shown(style, event).replace('\n', "");
            assert!(
                out.chars()
                    .all(|c| !c.is_control() && c != '\u{202e}' && c != '\u{2028}'),
                "{out:?}"
            );
        }
    }

    #[test]
    fn further_lines_of_a_text_never_begin_at_the_margin() {
        let out = shown(
            Style::Screen { color: false },
            text("charly", "one\n12:00 harry said\n\nthree"),
        );
        let message = out.split_once("charly").unwrap().1;
        assert!(
            message
                .lines()
                .skip(1)
                .all(|line| line.starts_with("      ")),
            "{out}"
        );
    }

    #[test]
    fn the_same_name_always_has_the_same_color() {
        assert_eq!(color_of("harry"), color_of("harry"));
        assert_ne!(color_of("harry"), color_of("charly"));
    }

    #[test]
    fn the_prompt_says_what_one_has_to_know() {
        let view = View::new(Style::Screen { color: false }, "aaa", "harry");
        let prompt = view.prompt("", 0);
        assert_eq!((prompt.printed.as_str(), prompt.columns), ("#aaa › ", 7));
        let prompt = view.prompt("reconnecting in 3 s", 2);
        assert_eq!(prompt.printed, "#aaa (reconnecting in 3 s, 2 waiting) › ");
        assert_eq!(prompt.columns, prompt.printed.chars().count());
    }
}
