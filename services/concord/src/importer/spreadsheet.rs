//! The changes that a spreadsheet makes to a cell that it interprets as a number, a
//! date or a time, or reads in another code page. A user who corrects a record in a
//! spreadsheet does not intend these changes.

mod code_page;
mod date;
mod number;

use concord_core::rules::text::normalise;

/// The maximum length of a cell in a spreadsheet, in UTF-16 code units.
const MAX_CELL: usize = 32_767;

/// The words for true and for false in spreadsheets of several languages.
const BOOLEANS: [&[&str]; 2] = [
    &["true", "wahr", "vrai", "vero", "verdadero", "waar", "prawda"],
    &["false", "falsch", "faux", "falso", "onwaar", "fałsz"],
];

/// The texts of a cell with a failed formula.
const ERRORS: [&str; 7] = ["#NAME?", "#VALUE!", "#REF!", "#N/A", "#NUM!", "#DIV/0!", "#NULL!"];

/// The characters that autocorrection inserts, with the typed text that each replaces, the
/// longer ones first.
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

/// How a spreadsheet converted a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CellConversion {
    /// It was interpreted as a number: its zeros or its last digits are missing, or its format
    /// is different.
    Number,
    /// It was interpreted as a date or a time, and its format is different.
    Date,
    /// It was decoded in the wrong code page, or saved in one that lacks its characters.
    CodePage,
    /// Any other conversion, such as autocorrection or truncation.
    Other,
}

/// Whether both are the same value, except for white space.
pub(crate) fn is_same(was: &str, is: &str) -> bool {
    was == is || normalise(was) == normalise(is)
}

/// Whether both are the same number, `5` and `5.0`.
pub(crate) fn is_same_number(was: &str, is: &str) -> bool {
    number::is_equal(was.trim(), is.trim())
}

/// Whether a cell shows `####` instead of its number or date, because its column is too narrow.
pub(crate) fn is_hidden(is: &str) -> bool {
    is.len() > 1 && is.bytes().all(|byte| byte == b'#')
}

/// Whether a spreadsheet interprets the text as a number, a date or a time.
pub(crate) fn is_number_or_date(text: &str) -> bool {
    number::is_number(text.trim()) || date::is_date(text.trim())
}

/// The conversion by a spreadsheet that turns `was` into `is`, if there is one.
pub(crate) fn detect_conversion(was: &str, is: &str) -> Option<CellConversion> {
    let (was, is) = (was.trim(), is.trim());
    if is_same(was, is) || was.is_empty() || is.is_empty() {
        None
    } else if number::is_converted(was, is) {
        Some(CellConversion::Number)
    } else if date::is_converted(was, is) {
        Some(CellConversion::Date)
    } else if code_page::is_converted(was, is) {
        Some(CellConversion::CodePage)
    } else {
        is_other(was, is).then_some(CellConversion::Other)
    }
}

fn is_other(was: &str, is: &str) -> bool {
    is_boolean(was, is)
        || ERRORS.contains(&is)
        || is_too_wide(was, is)
        || is_truncated(was, is)
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

fn is_truncated(was: &str, is: &str) -> bool {
    is.encode_utf16().count() == MAX_CELL && was.starts_with(is)
}

/// Whether the texts differ only by autocorrected characters.
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
