//! Encoding of a list of texts in one cell of a CSV file. Every list round-trips,
//! whatever its texts contain.
//!
//! The separator is `;` or `|`. In a text, a backslash escapes a separator, a backslash
//! and white space at the ends. Other white space at the ends is ignored, so that people
//! may write `DIRECTOR; PSC`. An empty text is written as `\-`; an empty cell is an empty
//! list. A backslash before any other character is literal.
//!
//! [`escape_control`] writes control characters, which act on a terminal, as `\u{1b}`;
//! [`unescape_control`] reads them.

/// The separators. Each of them is escaped in every text.
pub const SEPARATORS: [char; 2] = [';', '|'];

/// The escape character.
const ESCAPE: char = '\\';

/// The encoding of an empty text.
const EMPTY: &str = "\\-";

/// Encodes one text.
pub fn escape(text: &str) -> String {
    if text.is_empty() {
        return EMPTY.to_owned();
    }
    let inner = text.trim();
    let begin = text.len() - text.trim_start().len();
    let inside = begin..begin + inner.len();
    let mut written = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        if c == ESCAPE || SEPARATORS.contains(&c) || !inside.contains(&at) {
            written.push(ESCAPE);
        }
        written.push(c);
    }
    written
}

/// Decodes one text. Separators in it are literal.
pub fn unescape(cell: &str) -> String {
    let cell = trimmed(cell);
    if cell == EMPTY {
        return String::new();
    }
    let mut text = String::with_capacity(cell.len());
    let mut chars = cell.chars().peekable();
    while let Some(c) = chars.next() {
        let escaped = chars.peek().copied().filter(|next| c == ESCAPE && can_be_escaped(*next));
        text.push(escaped.unwrap_or(c));
        if escaped.is_some() {
            chars.next();
        }
    }
    text
}

/// Encodes texts as one cell.
pub fn join<T: AsRef<str>>(texts: impl IntoIterator<Item = T>, separator: char) -> String {
    let texts: Vec<_> = texts.into_iter().map(|text| escape(text.as_ref())).collect();
    texts.join(separator.encode_utf8(&mut [0; 4]))
}

/// Decodes the texts of a cell. Empty parts are ignored.
pub fn split(cell: &str, separator: char) -> Vec<String> {
    let parts = split_raw(cell, separator).into_iter().map(trimmed);
    parts.filter(|part| !part.is_empty()).map(unescape).collect()
}

/// Escapes control characters as `\u{1b}` and a backslash as `\\`. Tabs and line ends
/// stay. `None` for a text without control characters.
pub fn escape_control(text: &str) -> Option<String> {
    let is_escaped = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r');
    text.contains(is_escaped).then(|| {
        let written = text.chars().map(|c| match c {
            ESCAPE => "\\\\".to_owned(),
            c if is_escaped(c) => c.escape_unicode().to_string(),
            c => c.to_string(),
        });
        written.collect()
    })
}

/// Decodes the text of [`escape_control`]. A backslash before any other character is
/// literal.
pub fn unescape_control(cell: &str) -> String {
    let (mut text, mut rest) = (String::with_capacity(cell.len()), cell);
    while let Some((before, after)) = rest.split_once(ESCAPE) {
        text.push_str(before);
        let (c, after) = escaped_char(after).unwrap_or((ESCAPE, after));
        text.push(c);
        rest = after;
    }
    text.push_str(rest);
    text
}

/// The character of the escape sequence after a backslash, and the rest of the text.
fn escaped_char(text: &str) -> Option<(char, &str)> {
    if let Some(rest) = text.strip_prefix(ESCAPE) {
        return Some((ESCAPE, rest));
    }
    let (digits, rest) = text.strip_prefix("u{")?.split_once('}')?;
    let c = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32)?;
    Some((c, rest))
}

/// Splits a cell at its separators without decoding the parts. One part without a
/// separator.
pub fn split_raw(cell: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut begin, mut escaped) = (Vec::new(), 0, false);
    for (at, c) in cell.char_indices() {
        if c == separator && !escaped {
            parts.extend(cell.get(begin..at));
            begin = at + separator.len_utf8();
        }
        escaped = c == ESCAPE && !escaped;
    }
    parts.extend(cell.get(begin..));
    parts
}

/// Trims white space at the ends, except an escaped character at the end.
fn trimmed(cell: &str) -> &str {
    let cell = cell.trim_start();
    let end = cell.trim_end();
    let escapes = end.chars().rev().take_while(|c| *c == ESCAPE).count();
    let kept = cell.get(end.len()..).and_then(|space| space.chars().next());
    match kept {
        Some(space) if escapes % 2 == 1 => cell.get(..end.len() + space.len_utf8()).unwrap_or(cell),
        _ => end,
    }
}

fn can_be_escaped(c: char) -> bool {
    c == ESCAPE || SEPARATORS.contains(&c) || c.is_whitespace()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_texts_are_written_without_escapes() {
        assert_eq!(join(["DIRECTOR", "PSC"], ';'), "DIRECTOR;PSC");
        assert_eq!(split(" DIRECTOR ; PSC;;", ';'), ["DIRECTOR", "PSC"]);
        assert_eq!(split("", ';'), Vec::<String>::new());
    }

    #[test]
    fn special_characters_are_escaped() {
        assert_eq!(join(["A;1", "B|2", "C\\3", " D ", ""], ';'), r"A\;1;B\|2;C\\3;\ D\ ;\-");
        assert_eq!(split(r"A\B;\x", ';'), [r"A\B", r"\x"], "a backslash without an escape");
    }

    #[test]
    fn separators_are_literal_in_a_single_text() {
        assert_eq!(unescape("A;1|2"), "A;1|2");
    }

    #[test]
    fn control_characters_are_escaped() {
        let title = escape_control("a\\\u{1b}]0;x\u{7}\u{9b}2J\t\r\n").unwrap();
        assert_eq!(title, "a\\\\\\u{1b}]0;x\\u{7}\\u{9b}2J\t\r\n");
        assert_eq!(escape_control("C:\\u{1b}\n"), None);
        assert_eq!(
            unescape_control(r"\x \u{zz} \u{110000} \"),
            r"\x \u{zz} \u{110000} \",
            "typed by people"
        );
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof!["[;|\\\\ \t\\-aé\u{3000}\n]{0,6}", any::<String>()]
    }

    proptest! {
        #[test]
        fn list_round_trips(texts in prop::collection::vec(text(), 0..5)) {
            for separator in SEPARATORS {
                prop_assert_eq!(&split(&join(&texts, separator), separator), &texts);
            }
            for text in &texts {
                prop_assert_eq!(&unescape(&escape(text)), text);
            }
        }

        #[test]
        fn escaped_control_characters_round_trip(text in "[a\\\\u{}1b\u{1b}\u{0}\u{7f}\u{85}\n]{0,8}|.*") {
            match escape_control(&text) {
                Some(cell) => {
                    prop_assert!(cell.chars().all(|c| !c.is_control() || "\t\r\n".contains(c)));
                    prop_assert_eq!(unescape_control(&cell), text);
                }
                None => prop_assert!(text.chars().all(|c| !c.is_control() || "\t\r\n".contains(c))),
            }
        }

        #[test]
        fn nested_lists_round_trip(
            groups in prop::collection::vec(prop::collection::vec(text(), 0..4), 1..4)
        ) {
            let written: Vec<_> = groups.iter().map(|group| join(group, ';')).collect();
            let cell = written.join("|");
            let read: Vec<_> =
                split_raw(&cell, '|').into_iter().map(|part| split(part, ';')).collect();
            prop_assert_eq!(read, groups);
        }

        #[test]
        fn any_cell_decodes_without_a_panic(cell in any::<String>()) {
            split(&cell, ';');
            unescape(&cell);
            unescape_control(&cell);
        }
    }
}
