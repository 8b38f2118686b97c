//! Detects rows whose token was exchanged for that of another row, by the batch, row and
//! name columns.

use std::collections::HashMap;

use concord_core::rules::text::{fold, normalise};

use crate::importer::{csv_source::FailedRow, spreadsheet};

const NAME_COLUMN: &str = "record_name";

/// An index of the rows by the name of their record, by keys that survive the conversions
/// of a spreadsheet.
#[derive(Debug, Default)]
pub(super) struct Names<'r>(HashMap<Key, Vec<&'r FailedRow>>);

/// A key of a name: two forms of one name share at least one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Whole(String),
    /// The letters, without accents.
    Plain(String),
    /// The letters that are in all code pages.
    Ascii(String),
    NumberOrDate,
}

impl<'r> Names<'r> {
    pub(super) fn of(original: &'r [FailedRow]) -> Self {
        let mut names = Self::default();
        for row in original {
            let name = row.cell(NAME_COLUMN);
            if name.trim().is_empty() {
                continue;
            }
            for key in keys(&name, spreadsheet::is_number_or_date(&name)) {
                let rows = names.0.entry(key).or_default();
                // A name of many records is indexed once.
                if rows.last().is_none_or(|last| last.cell(NAME_COLUMN) != name) {
                    rows.push(row);
                }
            }
        }
        names
    }

    /// A row whose record has this name, or a form of it.
    fn row_of(&self, name: &str) -> Option<&'r FailedRow> {
        let has_digit = name.contains(|c: char| c.is_ascii_digit());
        let keys = keys(name, has_digit);
        let mut rows = keys.iter().filter_map(|key| self.0.get(key)).flatten();
        rows.find(|row| is_form(&row.cell(NAME_COLUMN), name)).copied()
    }
}

fn keys(name: &str, may_be_number: bool) -> Vec<Key> {
    let is_kept = |c: &char| c.is_ascii_graphic() && *c != '?';
    let (plain, ascii) = (fold(name), name.chars().filter(is_kept).collect::<String>());
    let mut keys = vec![Key::Whole(normalise(name))];
    keys.extend((!plain.is_empty()).then_some(Key::Plain(plain)));
    keys.extend((!ascii.is_empty()).then_some(Key::Ascii(ascii)));
    keys.extend(may_be_number.then_some(Key::NumberOrDate));
    keys
}

/// Whether the cell is the original value, or a conversion of it by a spreadsheet.
fn is_form(was: &str, is: &str) -> bool {
    spreadsheet::is_same(was, is) || spreadsheet::detect_conversion(was, is).is_some()
}

/// Describes the mismatch between a row and the original row of its token; none when they
/// match. Blank cells and missing columns are ignored.
pub(super) fn mismatch(original: &FailedRow, row: &FailedRow, names: &Names<'_>) -> Option<String> {
    let cells = |column| {
        let (was, is) = (original.cell(column), row.cell(column));
        (!was.trim().is_empty() && !is.trim().is_empty()).then_some((was, is))
    };
    let position = |row: &FailedRow| {
        format!("batch {}, row {}", row.cell("batch").trim(), row.cell("row").trim())
    };
    let is_of_another_row = cells("row").is_some_and(|(was, is)| {
        !spreadsheet::is_hidden(is.trim()) && !spreadsheet::is_same_number(&was, &is)
    }) || cells("batch").is_some_and(|(was, is)| !is_form(&was, &is));
    let exchanged = format!("the token is that of another row ({})", position(original));
    if is_of_another_row {
        return Some(format!(
            "{exchanged}, and this row is {}: restore the token, or write the file again",
            position(row)
        ));
    }
    let (was, is) = cells(NAME_COLUMN).filter(|(was, is)| !is_form(was, is))?;
    let other = names.row_of(&is)?;
    Some(format!(
        "{exchanged}, and the {NAME_COLUMN} `{is}` is that of {}: restore the token, or write \
         the file again; if you changed the name, restore `{was}`",
        position(other)
    ))
}
