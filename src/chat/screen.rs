//! Draws the edited line below what the room said. Nothing is assumed of the terminal but its
//! width: a drawing is a few whole rows, and is taken away before anything else is printed.

use crossterm::QueueableCommand;
use crossterm::cursor::{MoveToColumn, MoveUp};
use crossterm::terminal::{Clear, ClearType};
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Rows of a long text that are shown, around the cursor.
const ROWS: usize = 8;

/// Columns that a text needs beside a prompt; a longer prompt is left out.
const TEXT_COLUMNS: usize = 12;

/// The prompt as it is printed, and how many columns that takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prompt {
    pub(super) printed: String,
    pub(super) columns: usize,
}

/// What is on the terminal below the last printed line.
#[derive(Debug, Default)]
pub(super) struct Screen {
    columns: usize,
    lines: usize,
    /// Columns of each drawn row above the cursor's one.
    above: Vec<usize>,
    /// Where the cursor is in its row.
    cursor: usize,
}

impl Screen {
    /// A size of zero means that the terminal does not know it.
    pub(super) fn new((columns, lines): (u16, u16)) -> Screen {
        let mut screen = Screen::default();
        screen.resize(columns, lines);
        screen
    }

    pub(super) fn resize(&mut self, columns: u16, lines: u16) {
        self.columns = if columns == 0 {
            80
        } else {
            usize::from(columns)
        };
        self.lines = if lines == 0 { 24 } else { usize::from(lines) };
    }

    /// Takes the drawing away. After a resize the terminal has wrapped its rows anew.
    pub(super) fn erase(&mut self, out: &mut Vec<u8>) -> std::io::Result<()> {
        let wrapped = |columns: usize| columns.saturating_sub(1) / self.columns;
        let rows = self.above.iter().map(|columns| wrapped(*columns) + 1);
        let up = rows.sum::<usize>() + self.cursor / self.columns;
        self.above.clear();
        self.cursor = 0;
        out.queue(MoveToColumn(0))?;
        if up > 0 {
            out.queue(MoveUp(u16::try_from(up).unwrap_or(u16::MAX)))?;
        }
        out.queue(Clear(ClearType::FromCursorDown))?;
        Ok(())
    }

    /// Prints lines where the drawing was. `erase` comes before, `draw` after.
    pub(super) fn print(&self, lines: &str, out: &mut Vec<u8>) {
        for line in lines.lines() {
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }

    pub(super) fn draw(
        &mut self,
        prompt: &Prompt,
        text: &str,
        cursor: usize,
        out: &mut Vec<u8>,
    ) -> std::io::Result<()> {
        let narrow = prompt.columns + TEXT_COLUMNS > self.columns;
        let (printed, indent) = if narrow {
            ("› ", 2)
        } else {
            (prompt.printed.as_str(), prompt.columns)
        };
        let (rows, at) = layout(text, cursor, indent, self.columns.saturating_sub(1));
        let most = ROWS.min(self.lines.saturating_sub(1)).max(1);
        let first = at
            .row
            .saturating_sub(most / 2)
            .min(rows.len().saturating_sub(most));
        let shown = &rows[first..rows.len().min(first + most)];
        for (i, row) in shown.iter().enumerate() {
            if first + i == 0 {
                out.extend_from_slice(printed.as_bytes());
            }
            out.extend_from_slice(row.text.as_bytes());
            if i + 1 < shown.len() {
                out.extend_from_slice(b"\r\n");
            }
        }
        let below = shown.len() - 1 - (at.row - first);
        if below > 0 {
            out.queue(MoveUp(u16::try_from(below).unwrap_or(u16::MAX)))?;
        }
        out.queue(MoveToColumn(u16::try_from(at.column).unwrap_or(u16::MAX)))?;
        self.above = shown[..at.row - first]
            .iter()
            .map(|row| row.columns)
            .collect();
        self.cursor = at.column;
        Ok(())
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Row {
    text: String,
    columns: usize,
}

#[derive(Debug, PartialEq, Eq)]
struct Place {
    row: usize,
    column: usize,
}

/// The rows of a text, wrapped at `width`, and where the cursor (in bytes) is. The first row begins
/// behind `indent` columns. No row is full, so that the terminal never wraps one itself.
fn layout(text: &str, cursor: usize, indent: usize, width: usize) -> (Vec<Row>, Place) {
    let mut row = Row {
        text: String::new(),
        columns: indent,
    };
    let mut rows = Vec::new();
    let mut place = None;
    for (start, grapheme) in text.grapheme_indices(true) {
        let newline = grapheme.ends_with('\n');
        let shown = if grapheme == "\t" { " " } else { grapheme };
        let columns = if newline { 0 } else { shown.width() };
        if row.columns + columns > width && row.columns > 0 {
            rows.push(std::mem::take(&mut row));
        }
        if start >= cursor {
            place.get_or_insert(Place {
                row: rows.len(),
                column: row.columns,
            });
        }
        if newline {
            rows.push(std::mem::take(&mut row));
        } else {
            row.text.push_str(shown);
            row.columns += columns;
        }
    }
    let end = Place {
        row: rows.len(),
        column: row.columns,
    };
    rows.push(row);
    (rows, place.unwrap_or(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str, cursor: usize, width: usize) -> (Vec<String>, (usize, usize)) {
        let (rows, at) = layout(text, cursor, 2, width);
        (
            rows.into_iter().map(|row| row.text).collect(),
            (at.row, at.column),
        )
    }

    #[test]
    fn a_text_is_wrapped_behind_its_prompt() {
        assert_eq!(
            rows("abcdef", 6, 5),
            (vec!["abc".into(), "def".into()], (1, 3))
        );
        assert_eq!(rows("abcdef", 3, 5).1, (1, 0));
        assert_eq!(rows("", 0, 5), (vec![String::new()], (0, 2)));
    }

    #[test]
    fn newlines_begin_rows_and_wide_characters_take_two_columns() {
        assert_eq!(
            rows("a\n\nb", 2, 9),
            (vec!["a".into(), String::new(), "b".into()], (1, 0))
        );
        assert_eq!(
            rows("漢字漢", 9, 6),
            (vec!["漢字".into(), "漢".into()], (1, 2))
        );
    }

    #[test]
    fn no_width_is_too_small() {
        for width in 0..4 {
            let (rows, at) = layout("a漢\tb\nc", 9, 2, width);
            assert!(at.row < rows.len(), "{width}");
        }
    }

    /// What a terminal of this width shows after the bytes: enough of one for what is drawn here.
    fn terminal(bytes: &[u8], columns: usize) -> Vec<String> {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let (mut grid, mut row, mut column) = (vec![vec![' '; columns]], 0, 0);
        let mut rest = text.chars().peekable();
        while let Some(c) = rest.next() {
            match c {
                '\r' => column = 0,
                '\n' => row += 1,
                '\u{1b}' => {
                    rest.next();
                    let mut number = String::new();
                    while let Some(digit) = rest.next_if(char::is_ascii_digit) {
                        number.push(digit);
                    }
                    let number: usize = number.parse().unwrap_or(0);
                    match rest.next() {
                        Some('A') => row -= number,
                        Some('G') => column = number - 1,
                        Some('J') => {
                            grid[row][column..].fill(' ');
                            grid.truncate(row + 1);
                        }
                        other => panic!("{other:?}"),
                    }
                }
                c => {
                    if column == columns {
                        (row, column) = (row + 1, 0);
                    }
                    while grid.len() <= row {
                        grid.push(vec![' '; columns]);
                    }
                    grid[row][column] = c;
                    column += 1;
                }
            }
            while grid.len() <= row {
                grid.push(vec![' '; columns]);
            }
        }
        grid.iter()
            .map(|row| row.iter().collect::<String>().trim_end().to_owned())
            .collect()
    }

    #[test]
    fn what_is_printed_stays_above_and_nothing_of_the_drawing_is_left() {
        let prompt = Prompt {
            printed: "#aaa › ".into(),
            columns: 7,
        };
        for columns in [10, 20, 21, 40] {
            let (mut screen, mut out) = (Screen::new((columns, 12)), Vec::new());
            let text = "one\ntwo words that are long\n\nfour";
            for (line, cursor) in [("first\n", 0), ("second\n", 9), ("third\n", text.len())] {
                screen.erase(&mut out).unwrap();
                screen.print(line, &mut out);
                screen.draw(&prompt, text, cursor, &mut out).unwrap();
            }
            screen.erase(&mut out).unwrap();
            let shown = terminal(&out, usize::from(columns));
            assert_eq!(shown, ["first", "second", "third", ""], "{columns}");
        }
    }

    #[test]
    fn a_long_text_shows_the_rows_around_the_cursor() {
        let prompt = Prompt {
            printed: "> ".into(),
            columns: 2,
        };
        let lines: Vec<_> = (0..100).map(|i| format!("line {i}")).collect();
        let (mut screen, mut out) = (Screen::new((40, 6)), Vec::new());
        screen
            .draw(&prompt, &lines.join("\n"), lines.join("\n").len(), &mut out)
            .unwrap();
        let shown = terminal(&out, 40);
        assert_eq!(
            shown,
            ["line 95", "line 96", "line 97", "line 98", "line 99"]
        );
    }
}
