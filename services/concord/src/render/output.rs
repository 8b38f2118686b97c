//! Output of the program: results to standard output, remarks to standard error, text
//! tables, and the exit status.
//!
//! Values may come from other users. A terminal executes control characters, and Unicode
//! direction marks reorder the displayed text: [`escaped`] escapes both.

use std::{
    fmt::{self, Display, Write as _},
    io::{self, Write as _},
};

/// Exit status: success; for an import, no record failed.
pub(crate) const EXIT_OK: u8 = 0;
/// Exit status: the command failed.
pub(crate) const EXIT_ERROR: u8 = 1;
/// Exit status: the import ended, and some records failed.
pub(crate) const EXIT_RECORDS_FAILED: u8 = 2;

/// Writes one or more lines of the result to standard output.
pub(crate) fn line(text: impl Display) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{}", escaped_lines(&text.to_string()))
}

/// Flushes standard output.
pub(crate) fn flush() -> io::Result<()> {
    io::stdout().lock().flush()
}

/// Writes a remark to standard error. Ignores write errors.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{}", escaped_lines(&text.to_string()));
}

/// Escapes every control character, line break and direction mark as in JSON, such as
/// `\u001b`. JSON text keeps its meaning.
pub(crate) fn escaped(value: &str) -> String {
    let mut shown = String::with_capacity(value.len());
    for c in value.chars() {
        if needs_escape(c) {
            // Writing to a string never fails.
            let _ = write!(shown, "\\u{:04x}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Escapes text, but keeps its line feeds.
fn escaped_lines(text: &str) -> String {
    text.split('\n').map(escaped).collect::<Vec<_>>().join("\n")
}

/// Whether a terminal interprets the character instead of displaying it: control characters,
/// line and paragraph separators, and direction marks (Unicode, annex 9).
fn needs_escape(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{200e}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
        )
}

/// A text table with aligned columns: rows of the same number of cells; the first one holds
/// the headings.
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
    fn control_characters_are_escaped() {
        let user = "eve\u{1b}]0;OWNED\u{7}\u{9b}2J\n\u{85}\u{202e}\u{2069}\u{7f}Müller 東京";
        let shown = escaped(user);
        let expected =
            "eve\\u001b]0;OWNED\\u0007\\u009b2J\\u000a\\u0085\\u202e\\u2069\\u007fMüller 東京";
        assert_eq!(shown, expected);
        assert_eq!(escaped_lines("one\ntwo\r"), "one\ntwo\\u000d");
    }

    #[test]
    fn escaped_json_parses_to_the_same_value() {
        let value = serde_json::json!({ "name": "a\u{202e}b\u{85}\u{1b}\n" });
        let written = escaped_lines(&value.to_string());
        assert!(written.is_ascii(), "{written}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&written).unwrap(), value);
    }

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
