//! Tables for people at a terminal.

use unicode_width::UnicodeWidthStr;

/// A table: its columns, and rows of as many cells.
pub(super) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

#[derive(Clone, Copy)]
struct Column {
    name: &'static str,
    /// Numbers stand right.
    right: bool,
}

impl Table {
    /// A column whose name begins with `>` is for numbers.
    pub(super) fn new(columns: &[&'static str]) -> Self {
        let column = |name: &&'static str| Column {
            name: name.trim_start_matches('>'),
            right: name.starts_with('>'),
        };
        Self {
            columns: columns.iter().map(column).collect(),
            rows: Vec::new(),
        }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<_> = cells.into_iter().collect();
        assert_eq!(cells.len(), self.columns.len(), "a cell for each column");
        self.rows.push(cells);
    }

    /// The table, its columns two spaces apart; without rows only its head.
    pub(super) fn render(&self) -> String {
        let head: Vec<_> = self.columns.iter().map(|c| c.name.to_owned()).collect();
        let lines: Vec<_> = [&head].into_iter().chain(&self.rows).collect();
        let widest = |at: usize| lines.iter().map(|line| line[at].width()).max();
        let widths: Vec<_> = (0..head.len()).filter_map(widest).collect();
        let mut text = String::new();
        for line in lines {
            let cells = line.iter().zip(&self.columns).zip(&widths);
            let padded = cells.map(|((cell, column), width)| {
                let gap = " ".repeat(width - cell.width());
                match column.right {
                    true => gap + cell,
                    false => cell.clone() + &gap,
                }
            });
            text += padded.collect::<Vec<_>>().join("  ").trim_end();
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let mut table = Table::new(&["NAME", ">SHARDS", "STATUS"]);
        table.row(["node-1", "7", "Up"].map(str::to_owned));
        table.row(["ü", "1024", ""].map(str::to_owned));
        assert_eq!(
            table.render(),
            "NAME    SHARDS  STATUS\nnode-1       7  Up\nü         1024\n"
        );
    }
}
