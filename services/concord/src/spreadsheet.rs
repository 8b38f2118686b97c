//! The changes that a spreadsheet makes to a cell that it interprets as a number, a
//! date or a time, or reads in another code page. A user who corrects a record in a
//! spreadsheet does not intend these changes.

mod code_page;
mod date;
mod number;

use shared::rules::text::normalise;

/// Characters of a cell that a spreadsheet keeps, at most.
const CELL: usize = 32_767;

/// How spreadsheets of several languages write what is true and what is not.
const BOOLEANS: [&[&str]; 2] = [
    &["true", "wahr", "vrai", "vero", "verdadero", "waar", "prawda"],
    &["false", "falsch", "faux", "falso", "onwaar", "fałsz"],
];

/// The texts of a cell whose formula has failed.
const ERRORS: [&str; 7] = ["#NAME?", "#VALUE!", "#REF!", "#N/A", "#NUM!", "#DIV/0!", "#NULL!"];

/// What a spreadsheet puts in the place of characters that were typed, the longer
/// ones first.
const TYPOGRAPHIC: [(char, &str); 11] = [
    ('‘', "'"),
    ('’', "'"),
    ('“', "\""),
    ('”', "\""),
    ('–', "--"),
    ('–', "-"),
    ('—', "--"),
    ('…', "..."),
    ('©', "(c)"),
    ('®', "(r)"),
    ('™', "(tm)"),
];

/// What became of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rewriting {
    /// It was taken for a number: its zeros are gone, or its last digits, or it is
    /// written another way.
    Number,
    /// It was taken for a date or a time, and is written another way.
    Date,
    /// Its characters were read in another code page than they were written in, or
    /// saved in one that lacks them.
    CodePage,
    /// Anything else that is not typed on purpose.
    Other,
}

/// Whether both are the same value, white space aside.
pub(crate) fn is_same(was: &str, is: &str) -> bool {
    was == is || normalise(was) == normalise(is)
}

/// Whether both are the same number, `5` and `5.0`.
pub(crate) fn is_same_number(was: &str, is: &str) -> bool {
    number::is_equal(was.trim(), is.trim())
}

/// Whether a cell shows nothing of its number or date, because its column is too narrow.
pub(crate) fn is_hidden(is: &str) -> bool {
    is.len() > 1 && is.bytes().all(|byte| byte == b'#')
}

/// Whether a spreadsheet takes the text for a number, a date or a time.
pub(crate) fn is_number_or_date(text: &str) -> bool {
    number::is_number(text.trim()) || date::is_date(text.trim())
}

/// What a spreadsheet has done to a cell, when it has.
pub(crate) fn rewriting(was: &str, is: &str) -> Option<Rewriting> {
    let (was, is) = (was.trim(), is.trim());
    if is_same(was, is) || was.is_empty() || is.is_empty() {
        None
    } else if number::is_rewritten(was, is) {
        Some(Rewriting::Number)
    } else if date::is_rewritten(was, is) {
        Some(Rewriting::Date)
    } else if code_page::is_rewritten(was, is) {
        Some(Rewriting::CodePage)
    } else {
        is_other(was, is).then_some(Rewriting::Other)
    }
}

fn is_other(was: &str, is: &str) -> bool {
    is_boolean(was, is)
        || ERRORS.contains(&is)
        || is_too_wide(was, is)
        || is_cut(was, is)
        || is.strip_prefix('\'') == Some(was)
        || was.strip_prefix('\'') == Some(is)
        || is_typographic(was, is)
}

fn is_boolean(was: &str, is: &str) -> bool {
    let (was, is) = (was.to_lowercase(), is.to_lowercase());
    BOOLEANS.iter().any(|words| words.contains(&&*was) && words.contains(&&*is))
}

/// A column that is too narrow for a number or a date shows `####`.
fn is_too_wide(was: &str, is: &str) -> bool {
    is_hidden(is) && is_number_or_date(was)
}

fn is_cut(was: &str, is: &str) -> bool {
    is.encode_utf16().count() == CELL && was.starts_with(is)
}

/// Whether some characters were replaced as they are while somebody types.
fn is_typographic(was: &str, is: &str) -> bool {
    let (mut was, mut is) = (was, is);
    while let Some(shown) = is.chars().next() {
        let rest = is.get(shown.len_utf8()..).unwrap_or_default();
        let mut typed = TYPOGRAPHIC.iter().filter(|(sign, _)| *sign == shown);
        let behind = |typed: &str| {
            let head = was.get(..typed.len()).filter(|head| head.eq_ignore_ascii_case(typed))?;
            was.get(head.len()..)
        };
        let replaced = typed.find_map(|(_, typed)| behind(typed));
        let Some(next) = was.strip_prefix(shown).or(replaced) else { return false };
        (was, is) = (next, rest);
    }
    was.is_empty()
}

#[cfg(test)]
mod tests;
