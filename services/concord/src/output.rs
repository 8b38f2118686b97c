//! Where the program writes: answers to standard output, remarks for the person
//! at the terminal to standard error.
//!
//! What is written may come from others. A terminal obeys control characters, and marks of
//! direction rearrange what people read: [`visible`] shows them instead.

use std::{
    fmt::{Display, Write as _},
    io::{self, Write as _},
};

/// Writes a line of the answer, or several.
pub(crate) fn line(text: impl Display) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{}", visible_lines(&text.to_string()))
}

/// Sees to it that the answer has left the program as far as it goes.
pub(crate) fn flush() -> io::Result<()> {
    io::stdout().lock().flush()
}

/// Writes a remark. One that cannot be written is not worth failing for.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{}", visible_lines(&text.to_string()));
}

/// A value in which every control character, line break and mark of direction is written as
/// JSON does, such as `\u001b`. JSON stays the same JSON.
pub(crate) fn visible(value: &str) -> String {
    let mut shown = String::with_capacity(value.len());
    for c in value.chars() {
        if acts(c) {
            // To a string, which never fails.
            let _ = write!(shown, "\\u{:04x}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    shown
}

/// The same of text whose line feeds are the program's own.
fn visible_lines(text: &str) -> String {
    text.split('\n').map(visible).collect::<Vec<_>>().join("\n")
}

/// Whether a terminal does something else with the character than to show it: controls,
/// breaks of lines and paragraphs, and marks of direction (Unicode, annex 9).
fn acts(c: char) -> bool {
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
    fn what_a_terminal_obeys_is_shown() {
        let user = "eve\u{1b}]0;OWNED\u{7}\u{9b}2J\n\u{85}\u{202e}\u{2069}\u{7f}Müller 東京";
        let shown = visible(user);
        let expected =
            "eve\\u001b]0;OWNED\\u0007\\u009b2J\\u000a\\u0085\\u202e\\u2069\\u007fMüller 東京";
        assert_eq!(shown, expected);
        assert_eq!(visible_lines("one\ntwo\r"), "one\ntwo\\u000d");
    }

    #[test]
    fn json_stays_the_same_json() {
        let value = serde_json::json!({ "name": "a\u{202e}b\u{85}\u{1b}\n" });
        let written = visible_lines(&value.to_string());
        assert!(written.is_ascii(), "{written}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&written).unwrap(), value);
    }
}
