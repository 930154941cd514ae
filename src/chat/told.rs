//! What a person is told: lines of the room, and notes between them or, beside a pipe, on stderr.

use super::{
    Chat,
    repeats::Repeats,
    sealed::members::Whose,
    view::{Line, UNENCRYPTED},
};
use anyhow::Result;
use safe_chat_client::Event;

impl Chat {
    pub(super) fn show(&mut self, line: &Line) -> Result<()> {
        self.refused += u64::from(matches!(line, Line::Rejected { .. }));
        if !self.is_told(line) {
            return Ok(());
        }
        if self.view.is_note(line) {
            return self.note(&self.view.note_of(line));
        }
        let mut output = String::new();
        self.view.render(line, &mut output);
        self.console.print(&output)
    }

    /// Whether a line is shown, of those that a service could give without end.
    fn is_told(&mut self, line: &Line) -> bool {
        match line {
            Line::Rejected { text, .. } if text.is_empty() => self.unasked.is_told(None),
            Line::Event(event) => match event.kind() {
                UNENCRYPTED => self.unencrypted.is_told(Some(event.seq)),
                // In a pipe every seq is seen.
                "joined" | "left" if self.console.is_terminal() => match self.whose_name(event) {
                    Whose::Others => self.comings.is_told(Some(event.seq)),
                    Whose::News | Whose::Members => {
                        self.comings_of_members.is_told(Some(event.seq))
                    }
                },
                "erased" | "purged" if self.console.is_terminal() => {
                    self.removals.is_told(Some(event.seq))
                }
                "unpinned" if self.console.is_terminal() => match self.whose_name(event) {
                    Whose::News => true,
                    Whose::Members => self.of_members.is_told(Some(event.seq)),
                    Whose::Others => self.of_names.is_told(Some(event.seq)),
                },
                _ => true,
            },
            _ => true,
        }
    }

    /// What strangers do uses up none of what is told of members.
    fn whose_name(&self, event: &Event) -> Whose {
        let sealed = self.sealed.as_ref();
        sealed.map_or(Whose::Others, |sealed| sealed.whose_name(event))
    }

    pub(super) fn counted(&mut self) -> [&mut Repeats; 7] {
        [
            &mut self.unencrypted,
            &mut self.unasked,
            &mut self.comings_of_members,
            &mut self.comings,
            &mut self.of_members,
            &mut self.of_names,
            &mut self.removals,
        ]
    }

    /// Something about the connection or the client: between the messages on a screen, on stderr
    /// beside a pipe.
    pub(super) fn note(&mut self, text: &str) -> Result<()> {
        let text = self.view.note(text);
        self.console.note(&text)
    }
}
