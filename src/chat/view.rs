//! How lines look: columns and colours on a screen, one event per line in a pipe, or the frames
//! themselves. Control characters of others are always escaped, so that no message can move the
//! cursor, change colours or pretend to be a line of its own.

use super::foreign::{
    LONGEST_NAME, escaped, labelled, listed, named, of_service, shortened, time_of,
};

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
    /// The service begins at a place; up to where it was read before.
    Reset {
        reason: String,
        seq: u64,
        read: Option<u64>,
    },
    /// What came as earlier events is none.
    NoHistory,
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

    /// The room as it is shown, without the `#`.
    pub(super) fn room(&self) -> &str {
        &self.room
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
            Line::Reset { reason, seq, read } => reset(*seq, *read, &of_service(reason)),
            Line::NoHistory => "! the service gives as earlier events what cannot be: the places \
                                are not in order. Nothing of it is shown. Ask again by /history; \
                                if that comes again, ask whoever runs the service"
                .into(),
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
            "the service has nothing earlier"
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
            let (what, are) = (plural(lost, "event"), if lost == 1 { "is" } else { "are" });
            out.push_str(&self.note(&format!("--- {what} here {are} lost by the service ---")));
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
        let when = time_of(event.at);
        if let Some(when) = when {
            self.day_of(when, out);
        }
        let time = when.map_or_else(|| "--:--".into(), |when| when.format("%H:%M").to_string());
        let time = self.paint(ContentStyle::new().dim(), time).to_string();
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
            "unpinned" => write!(out, "{}", self.note(&other_key(event))),
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
        self.prompt_of(&self.room, state, undecided)
    }

    /// The same of another room, as it is shown.
    pub(super) fn prompt_of(&self, room: &str, state: &str, undecided: usize) -> Prompt {
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
        let (room, facts) = (format!("#{room}"), format!("{facts} ›"));
        let columns = room.width() + facts.width() + 1;
        let room = self.paint(ContentStyle::new().attribute(Attribute::Bold), room);
        let facts = self.paint(ContentStyle::new().dim(), facts);
        Prompt {
            printed: format!("{room}{facts} "),
            columns,
        }
    }

    /// To whoever says something after they wanted to go elsewhere, and did not.
    pub(super) fn misled(&self, text: &str) -> String {
        format!(
            "! not sent, for you are in #{} still, and it may be meant for where you wanted to go. \
             The same once more sends it here: {}",
            self.room,
            shortened(text)
        )
    }

    fn paint<T: std::fmt::Display>(&self, style: ContentStyle, text: T) -> StyledContent<T> {
        let color = self.style == Style::Screen { color: true };
        StyledContent::new(if color { style } else { ContentStyle::new() }, text)
    }
}

/// What is missing where a service begins anew.
fn reset(seq: u64, read: Option<u64>, why: &str) -> String {
    match read {
        None => format!("the service shows nothing from before #{seq}: {why}"),
        Some(read) if read + 1 == seq => String::new(),
        Some(read) if read < seq => {
            let missing = seq - read - 1;
            let (were, are) = if missing == 1 {
                ("was", "is")
            } else {
                ("were", "are")
            };
            // They are gone, or of another time: which, the service says.
            format!(
                "{} from before #{seq} {were} not read here, and {are} not shown: {why}",
                plural(missing, "event")
            )
        }
        Some(read) => format!(
            "! the service goes on from #{seq}, where this had read up to #{read}: {why}. It was \
             put back to an older state, or is not the one that it was: ask whoever runs it"
        ),
    }
}

/// The service says it: in a sealed room a new key is nobody's until it was compared.
fn other_key(event: &Event) -> String {
    let from = named(&event.from);
    match event.body {
        Body::KeyChanged => {
            format!(
                "--- {from} changed the key, and the service says that the former one signed it ---"
            )
        }
        _ => format!(
            "--- an operator freed the name {from}: who comes under it next may be somebody else ---"
        ),
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
    let to = labelled(event.to.as_deref());
    let from = match event.body {
        Body::Purged => labelled(Some(&event.from)),
        _ => named(&event.from),
    };
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
        (Body::KeyChanged, _) => writeln!(out, "[{room}:{seq} - {from} unpinned] (changed)"),
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

/// What waited, and does not any more.
pub(super) fn not_sent(text: &str) -> String {
    format!("! not sent, and not kept: {}", shortened(text))
}

/// What was on its way, and is not asked about any more.
pub(super) fn not_known(text: &str) -> String {
    format!(
        "! not known to be in the room, and not kept: {}",
        shortened(text)
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
mod tests;
