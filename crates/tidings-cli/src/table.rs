//! Tables that fit the terminal. Each row is one line, and cells that do not fit are
//! cut.

use comfy_table::{ContentArrangement, Row, presets};

use crate::{Failure, clean, print};

/// Rows under a header.
#[derive(Debug)]
pub(crate) struct Table(comfy_table::Table);

impl Table {
    pub(crate) fn new(header: &[&str]) -> Self {
        let mut table = comfy_table::Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_truncation_indicator("…")
            .set_header(header);
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        Self(table)
    }

    /// Adds a row. Text in it cannot control the terminal.
    pub(crate) fn row<T: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = T>) {
        let cells = cells.into_iter();
        let mut row = Row::from(cells.map(|cell| clean(cell.as_ref()).into_owned()));
        row.max_height(1);
        self.0.add_row(row);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.row_count() == 0
    }

    /// Prints the table. The table is as wide as the terminal if standard output is
    /// one, and as wide as its text otherwise.
    pub(crate) fn print(mut self) -> Result<(), Failure> {
        if let Some(width) = width() {
            self.0.set_width(width);
        }
        self.lines().try_for_each(|line| print(&line))
    }

    fn lines(&self) -> impl Iterator<Item = String> {
        self.0.lines().map(|line| line.trim_end().to_owned())
    }
}

/// Returns the number of columns of the terminal. Returns `None` if standard output is
/// not a terminal.
fn width() -> Option<u16> {
    let terminal = console::Term::stdout();
    let (_, columns) = terminal.is_term().then(|| terminal.size_checked())??;
    (columns > 0).then_some(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(width: Option<u16>) -> Vec<String> {
        let mut table = Table::new(&["TASK", "STATUS", "DOING"]);
        table.row(["build-1", "running", &"linking the whole world ".repeat(9)]);
        table.row(["漢字", "failed", "a\u{1b}[2J\nb"]);
        if let Some(width) = width {
            table.0.set_width(width);
        }
        table.lines().collect()
    }

    #[test]
    fn a_row_is_a_line_within_the_width() {
        for width in [30, 40, 80] {
            let lines = table(Some(width));
            assert_eq!(lines.len(), 3, "{lines:#?}");
            for line in &lines {
                let columns = console::measure_text_width(line);
                assert!(columns <= usize::from(width), "{columns} {line}");
            }
            assert!(lines[1].contains('…'), "{lines:#?}");
        }
    }

    #[test]
    fn nothing_is_cut_for_a_pipe_and_nothing_controls_the_terminal() {
        let lines = table(None);
        assert!(lines[1].ends_with("linking the whole world"), "{lines:#?}");
        assert!(!lines[1].contains('…'));
        assert_eq!(lines[2], "漢字     failed   a·[2J⏎b");
    }
}
