//! Several texts in one cell of a table, so that each of them, whatever it holds,
//! reads back as it was.
//!
//! Between two texts stands a separator, `;` or `|`. In a text a backslash is
//! written before a separator, before a backslash, and before white space at its
//! ends; other white space at the ends of a text is not read, so that people may
//! write `DIRECTOR; PSC`. A text without characters is written as `\-`, and a cell
//! without characters holds no text. A backslash before anything else is itself.
//!
//! A cell with control characters, which act on a terminal, is written with `\u{1b}` for
//! them by [`visible`], and read by [`raw`].

/// What stands between texts; each is taken for text inside of another.
pub const SEPARATORS: [char; 2] = [';', '|'];

/// Before a character that is text.
const ESCAPE: char = '\\';

/// A text without characters.
const EMPTY: &str = "\\-";

/// Writes one text.
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

/// Reads one text; any separator that stands in it belongs to it.
pub fn unescape(cell: &str) -> String {
    let cell = trimmed(cell);
    if cell == EMPTY {
        return String::new();
    }
    let mut text = String::with_capacity(cell.len());
    let mut chars = cell.chars().peekable();
    while let Some(c) = chars.next() {
        let escaped = chars.peek().copied().filter(|next| c == ESCAPE && is_escaped(*next));
        text.push(escaped.unwrap_or(c));
        if escaped.is_some() {
            chars.next();
        }
    }
    text
}

/// Writes texts into one cell.
pub fn join<T: AsRef<str>>(texts: impl IntoIterator<Item = T>, separator: char) -> String {
    let texts: Vec<_> = texts.into_iter().map(|text| escape(text.as_ref())).collect();
    texts.join(separator.encode_utf8(&mut [0; 4]))
}

/// Reads the texts of a cell; what has no characters is none.
pub fn words(cell: &str, separator: char) -> Vec<String> {
    let parts = parts(cell, separator).into_iter().map(trimmed);
    parts.filter(|part| !part.is_empty()).map(unescape).collect()
}

/// Writes control characters as `\u{1b}`, and a backslash as `\\`; none of a text without
/// control characters. Tabs and line ends stay.
pub fn visible(text: &str) -> Option<String> {
    let acts = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r');
    text.contains(acts).then(|| {
        let written = text.chars().map(|c| match c {
            ESCAPE => "\\\\".to_owned(),
            c if acts(c) => c.escape_unicode().to_string(),
            c => c.to_string(),
        });
        written.collect()
    })
}

/// Reads what [`visible`] has written. A backslash before anything else is itself.
pub fn raw(cell: &str) -> String {
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

/// The character that is written behind a backslash, and what follows it.
fn escaped_char(text: &str) -> Option<(char, &str)> {
    if let Some(rest) = text.strip_prefix(ESCAPE) {
        return Some((ESCAPE, rest));
    }
    let (digits, rest) = text.strip_prefix("u{")?.split_once('}')?;
    let c = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32)?;
    Some((c, rest))
}

/// The parts of a cell between separators, as they are written; one when there is
/// no separator.
pub fn parts(cell: &str, separator: char) -> Vec<&str> {
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

/// Without white space at the ends, but with what a backslash keeps there.
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

fn is_escaped(c: char) -> bool {
    c == ESCAPE || SEPARATORS.contains(&c) || c.is_whitespace()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_words_are_written_as_people_write_them() {
        assert_eq!(join(["DIRECTOR", "PSC"], ';'), "DIRECTOR;PSC");
        assert_eq!(words(" DIRECTOR ; PSC;;", ';'), ["DIRECTOR", "PSC"]);
        assert_eq!(words("", ';'), Vec::<String>::new());
    }

    #[test]
    fn what_would_be_taken_for_something_else_has_a_backslash() {
        assert_eq!(join(["A;1", "B|2", "C\\3", " D ", ""], ';'), r"A\;1;B\|2;C\\3;\ D\ ;\-");
        assert_eq!(words(r"A\B;\x", ';'), [r"A\B", r"\x"], "a backslash of an older file");
    }

    #[test]
    fn a_text_alone_may_hold_separators() {
        assert_eq!(unescape("A;1|2"), "A;1|2");
    }

    #[test]
    fn control_characters_are_written_as_text() {
        let title = visible("a\\\u{1b}]0;x\u{7}\u{9b}2J\t\r\n").unwrap();
        assert_eq!(title, "a\\\\\\u{1b}]0;x\\u{7}\\u{9b}2J\t\r\n");
        assert_eq!(visible("C:\\u{1b}\n"), None);
        assert_eq!(raw(r"\x \u{zz} \u{110000} \"), r"\x \u{zz} \u{110000} \", "typed by people");
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof!["[;|\\\\ \t\\-aé\u{3000}\n]{0,6}", any::<String>()]
    }

    proptest! {
        #[test]
        fn texts_read_back_as_they_were(texts in prop::collection::vec(text(), 0..5)) {
            for separator in SEPARATORS {
                prop_assert_eq!(&words(&join(&texts, separator), separator), &texts);
            }
            for text in &texts {
                prop_assert_eq!(&unescape(&escape(text)), text);
            }
        }

        #[test]
        fn what_is_made_visible_reads_back(text in "[a\\\\u{}1b\u{1b}\u{0}\u{7f}\u{85}\n]{0,8}|.*") {
            match visible(&text) {
                Some(cell) => {
                    prop_assert!(cell.chars().all(|c| !c.is_control() || "\t\r\n".contains(c)));
                    prop_assert_eq!(raw(&cell), text);
                }
                None => prop_assert!(text.chars().all(|c| !c.is_control() || "\t\r\n".contains(c))),
            }
        }

        #[test]
        fn groups_of_texts_read_back_as_they_were(
            groups in prop::collection::vec(prop::collection::vec(text(), 0..4), 1..4)
        ) {
            let written: Vec<_> = groups.iter().map(|group| join(group, ';')).collect();
            let cell = written.join("|");
            let read: Vec<_> = parts(&cell, '|').into_iter().map(|part| words(part, ';')).collect();
            prop_assert_eq!(read, groups);
        }

        #[test]
        fn any_cell_can_be_read(cell in any::<String>()) {
            words(&cell, ';');
            unescape(&cell);
            raw(&cell);
        }
    }
}
