//! Output of the program: results to standard output, remarks to standard error.
//!
//! Values may come from other users. A terminal executes control characters, and Unicode
//! direction marks reorder the displayed text: [`escaped`] escapes both.

use std::{
    fmt::{Display, Write as _},
    io::{self, Write as _},
};

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
}
