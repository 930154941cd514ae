//! The line that a person edits: keys and pastes come in, a message comes out. Pure: `screen` draws
//! it. A pasted block stays one text with its newlines, and Enter sends it as one message.

use std::collections::VecDeque;

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation};

use safe_chat_client::TEXT_BYTES;

/// Texts that the arrow keys bring back.
const HISTORY: usize = 100;

/// What a key meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The text or the cursor may have changed.
    Edited,
    Line(String),
    /// Ctrl-D on an empty line.
    End,
    Interrupt,
    /// Ctrl-L.
    Redraw,
    /// Nothing was taken, for this reason.
    Refused(String),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Editor {
    text: String,
    /// In bytes, between two graphemes.
    cursor: usize,
    history: VecDeque<String>,
    /// Which text of the history is shown; `None`: what was written last.
    recalled: Option<usize>,
    /// What was written before the history was looked at.
    draft: String,
}

impl Editor {
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn cursor(&self) -> usize {
        self.cursor
    }

    pub(super) fn key(&mut self, key: KeyEvent) -> Outcome {
        if key.kind == KeyEventKind::Release {
            return Outcome::Edited;
        }
        // Ctrl and Alt together write characters on some keyboards.
        if key.modifiers == KeyModifiers::CONTROL {
            return self.control(key.code);
        }
        match key.code {
            KeyCode::Enter if key.modifiers.is_empty() => return self.enter(),
            KeyCode::Enter => return self.insert("\n"),
            KeyCode::Char(c) => return self.insert(c.encode_utf8(&mut [0; 4])),
            KeyCode::Backspace => self.erase(self.before()..self.cursor),
            KeyCode::Delete => self.erase(self.cursor..self.behind()),
            KeyCode::Left => self.cursor = self.before(),
            KeyCode::Right => self.cursor = self.behind(),
            KeyCode::Home => self.cursor = 0,
            KeyCode::End => self.cursor = self.text.len(),
            KeyCode::Up => self.recall(-1),
            KeyCode::Down => self.recall(1),
            _ => {}
        }
        Outcome::Edited
    }

    fn control(&mut self, code: KeyCode) -> Outcome {
        match code {
            KeyCode::Char('c') => return Outcome::Interrupt,
            KeyCode::Char('d') if self.text.is_empty() => return Outcome::End,
            KeyCode::Char('d') => self.erase(self.cursor..self.behind()),
            KeyCode::Char('l') => return Outcome::Redraw,
            // What a newline is to a terminal in raw mode; some programs type it for Enter.
            KeyCode::Char('j') => return self.enter(),
            KeyCode::Char('a') => self.cursor = 0,
            KeyCode::Char('e') => self.cursor = self.text.len(),
            KeyCode::Char('u') => self.erase(0..self.cursor),
            KeyCode::Char('k') => self.erase(self.cursor..self.text.len()),
            KeyCode::Char('w') => self.erase(self.word_before()..self.cursor),
            KeyCode::Left => self.cursor = self.word_before(),
            KeyCode::Right => self.cursor = self.word_behind(),
            _ => {}
        }
        Outcome::Edited
    }

    /// A block that the terminal marks as pasted. Newlines at its end are of the selection, not of
    /// the text; other control characters than newlines and tabs cannot be seen, and are left out.
    pub(super) fn paste(&mut self, block: &str) -> Outcome {
        let block = block.replace("\r\n", "\n").replace('\r', "\n");
        let block = block.trim_end_matches('\n');
        let seen = |c: &char| !c.is_control() || matches!(c, '\n' | '\t');
        self.insert(&block.chars().filter(seen).collect::<String>())
    }

    fn insert(&mut self, new: &str) -> Outcome {
        let bytes = self.text.len() + new.len();
        if bytes > TEXT_BYTES {
            return Outcome::Refused(format!(
                "! too long: with this the message has {bytes} bytes, \
                 at most {TEXT_BYTES} are possible"
            ));
        }
        self.text.insert_str(self.cursor, new);
        self.cursor += new.len();
        // What was inserted may have become one grapheme with what follows.
        self.cursor = self.boundary_from(self.cursor);
        Outcome::Edited
    }

    fn enter(&mut self) -> Outcome {
        let line = std::mem::take(&mut self.text);
        self.cursor = 0;
        self.recalled = None;
        self.draft.clear();
        if !line.trim().is_empty() && self.history.back() != Some(&line) {
            self.history.push_back(line.clone());
            if self.history.len() > HISTORY {
                self.history.pop_front();
            }
        }
        Outcome::Line(line)
    }

    fn erase(&mut self, range: std::ops::Range<usize>) {
        self.cursor = range.start;
        self.text.replace_range(range, "");
    }

    fn recall(&mut self, step: isize) {
        let now = self.recalled.unwrap_or(self.history.len());
        let Some(next) = now
            .checked_add_signed(step)
            .filter(|next| *next <= self.history.len())
        else {
            return;
        };
        if self.recalled.is_none() {
            self.draft = std::mem::take(&mut self.text);
        }
        self.text = self.history.get(next).unwrap_or(&self.draft).clone();
        self.recalled = (next < self.history.len()).then_some(next);
        self.cursor = self.text.len();
    }

    fn before(&self) -> usize {
        let mut at = GraphemeCursor::new(self.cursor, self.text.len(), true);
        at.prev_boundary(&self.text, 0).ok().flatten().unwrap_or(0)
    }

    fn behind(&self) -> usize {
        let mut at = GraphemeCursor::new(self.cursor, self.text.len(), true);
        let next = at.next_boundary(&self.text, 0).ok().flatten();
        next.unwrap_or(self.text.len())
    }

    /// The first place between two graphemes from `at` on.
    fn boundary_from(&self, at: usize) -> usize {
        let starts = self.text.grapheme_indices(true).map(|(start, _)| start);
        starts
            .into_iter()
            .find(|start| *start >= at)
            .unwrap_or(self.text.len())
    }

    fn word_before(&self) -> usize {
        let left = self.text[..self.cursor].trim_end();
        left.rfind(char::is_whitespace).map_or(0, |space| {
            space + left[space..].chars().next().map_or(0, char::len_utf8)
        })
    }

    fn word_behind(&self) -> usize {
        let right = &self.text[self.cursor..];
        let word = right.len() - right.trim_start().len();
        let end = right[word..].find(char::is_whitespace);
        end.map_or(self.text.len(), |end| self.cursor + word + end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(editor: &mut Editor, code: KeyCode) -> Outcome {
        editor.key(KeyEvent::new(code, KeyModifiers::NONE))
    }

    fn control(editor: &mut Editor, c: char) -> Outcome {
        editor.key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL))
    }

    fn written(text: &str) -> Editor {
        let mut editor = Editor::default();
        for c in text.chars() {
            press(&mut editor, KeyCode::Char(c));
        }
        editor
    }

    fn entered(editor: &mut Editor) -> String {
        match press(editor, KeyCode::Enter) {
            Outcome::Line(line) => line,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_pasted_block_is_one_message_with_its_newlines() {
        for block in [
            "one\ntwo\n\nfour",
            "one\r\ntwo\r\n\r\nfour\r\n",
            "one\rtwo\r\rfour\r",
        ] {
            let mut editor = written("> ");
            assert_eq!(editor.paste(block), Outcome::Edited);
            assert_eq!(entered(&mut editor), "> one\ntwo\n\nfour");
            assert_eq!(editor.text(), "");
        }
    }

    #[test]
    fn a_block_is_inserted_where_the_cursor_is_and_may_be_edited() {
        let mut editor = written("ac");
        press(&mut editor, KeyCode::Left);
        editor.paste("1\n2");
        press(&mut editor, KeyCode::Backspace);
        press(&mut editor, KeyCode::Char('b'));
        assert_eq!(entered(&mut editor), "a1\nbc");
    }

    #[test]
    fn a_block_over_the_limit_is_refused_and_what_was_written_stays() {
        let mut editor = written("abc");
        let refused = editor.paste(&"ä".repeat(TEXT_BYTES / 2));
        let Outcome::Refused(why) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(
            why,
            "! too long: with this the message has 16387 bytes, at most 16384 are possible"
        );
        assert_eq!(editor.text(), "abc");
        assert_eq!(editor.paste(&"x".repeat(TEXT_BYTES - 3)), Outcome::Edited);
        assert!(matches!(
            press(&mut editor, KeyCode::Char('y')),
            Outcome::Refused(_)
        ));
        assert_eq!(entered(&mut editor).len(), TEXT_BYTES);
    }

    #[test]
    fn a_block_brings_no_control_characters() {
        let mut editor = Editor::default();
        editor.paste("a\u{1b}[2Jb\u{7}\u{9b}c\td");
        assert_eq!(editor.text(), "a[2Jbc\td");
    }

    #[test]
    fn keys_move_over_whole_graphemes() {
        let family = "👩\u{200d}👩\u{200d}👧";
        let mut editor = written(&format!("a{family}e\u{301}"));
        press(&mut editor, KeyCode::Left);
        press(&mut editor, KeyCode::Backspace);
        assert_eq!(editor.text(), "ae\u{301}");
        press(&mut editor, KeyCode::Delete);
        assert_eq!((editor.text(), editor.cursor()), ("a", 1));
        press(&mut editor, KeyCode::Delete);
        press(&mut editor, KeyCode::Right);
        assert_eq!((editor.text(), editor.cursor()), ("a", 1));
    }

    #[test]
    fn words_and_ends_of_the_line_are_one_key_away() {
        let mut editor = written("one two  three");
        control(&mut editor, 'w');
        assert_eq!(editor.text(), "one two  ");
        control(&mut editor, 'w');
        assert_eq!(editor.text(), "one ");
        control(&mut editor, 'a');
        control(&mut editor, 'k');
        assert_eq!(editor.text(), "");
        assert_eq!(control(&mut editor, 'd'), Outcome::End);
        assert_eq!(control(&mut editor, 'c'), Outcome::Interrupt);
    }

    #[test]
    fn the_arrows_bring_back_what_was_sent_and_then_what_was_being_written() {
        let mut editor = written("one");
        entered(&mut editor);
        editor.paste("two\nlines");
        entered(&mut editor);
        for c in "draft".chars() {
            press(&mut editor, KeyCode::Char(c));
        }
        press(&mut editor, KeyCode::Up);
        assert_eq!(editor.text(), "two\nlines");
        press(&mut editor, KeyCode::Up);
        press(&mut editor, KeyCode::Up);
        assert_eq!(editor.text(), "one");
        press(&mut editor, KeyCode::Down);
        press(&mut editor, KeyCode::Down);
        press(&mut editor, KeyCode::Down);
        assert_eq!(editor.text(), "draft");
    }

    #[test]
    fn alt_enter_makes_a_new_line_and_ctrl_j_is_enter() {
        let mut editor = written("a");
        editor.key(KeyEvent::new(KeyCode::Enter, KeyModifiers::ALT));
        press(&mut editor, KeyCode::Char('b'));
        assert_eq!(control(&mut editor, 'j'), Outcome::Line("a\nb".into()));
    }
}
