//! Text tables with aligned columns.

use std::fmt;

use crate::output::escaped;

/// Rows of the same number of cells; the first one holds the headings.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    rows: Vec<[String; N]>,
    /// Whether each column is right-aligned.
    numbers: [bool; N],
}

impl<const N: usize> Table<N> {
    /// A table with these headings. A column whose heading begins with `#` has numbers, and
    /// is right-aligned; the `#` is not shown.
    pub(crate) fn new(headings: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> Self {
        let numbers = headings.map(|heading| heading.starts_with('#'));
        let headings = headings.map(|heading| heading.trim_start_matches('#').to_owned());
        let rows = rows.into_iter().map(|row| row.map(|cell| escaped(&cell)));
        Self { rows: [headings].into_iter().chain(rows).collect(), numbers }
    }

    /// The lines, the headings first.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        let mut widths = [0; N];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        self.rows.iter().map(move |row| self.line(row, widths))
    }

    fn line(&self, row: &[String; N], widths: [usize; N]) -> String {
        let cells = row.iter().zip(widths).zip(self.numbers);
        let cells = cells.map(|((cell, width), is_number)| {
            if is_number { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().collect::<Vec<_>>().join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_breaks_in_cells_are_escaped() {
        let rows = [["a\nb", "\u{1b}[2J"], ["x", "y"]].map(|row| row.map(str::to_owned));
        let table = Table::new(["name", "more"], rows);
        assert_eq!(table.to_string(), "name      more\na\\u000ab  \\u001b[2J\nx         y");
    }

    #[test]
    fn numbers_are_right_aligned_without_trailing_space() {
        let rows = [["Ó Briain", "7", ""], ["x", "1234", "y"]].map(|row| row.map(str::to_owned));
        let table = Table::new(["name", "#no", "more"], rows);
        assert_eq!(table.to_string(), "name        no  more\nÓ Briain     7\nx         1234  y");
    }
}
