//! Rows whose token was exchanged for that of another row: the columns that say where
//! the record stands, and what it is called, show it.

use std::collections::HashMap;

use shared::rules::text::{fold, normalise};

use crate::{csv_source::FailedRow, spreadsheet};

const NAME: &str = "record_name";

/// The names of the records, by what a spreadsheet leaves of them.
#[derive(Debug, Default)]
pub(super) struct Names<'r>(HashMap<Key, Vec<&'r FailedRow>>);

/// What two names may have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Whole(String),
    /// The letters without accents.
    Plain(String),
    /// The letters that all code pages have.
    Ascii(String),
    NumberOrDate,
}

impl<'r> Names<'r> {
    pub(super) fn of(original: &'r [FailedRow]) -> Self {
        let mut names = Self::default();
        for row in original {
            let name = row.cell(NAME);
            if name.trim().is_empty() {
                continue;
            }
            for key in keys(&name, spreadsheet::is_number_or_date(&name)) {
                let rows = names.0.entry(key).or_default();
                // A name that many records have counts once.
                if rows.last().is_none_or(|last| last.cell(NAME) != name) {
                    rows.push(row);
                }
            }
        }
        names
    }

    /// A row whose record has the name.
    fn row_of(&self, name: &str) -> Option<&'r FailedRow> {
        let has_digit = name.contains(|c: char| c.is_ascii_digit());
        let keys = keys(name, has_digit);
        let mut rows = keys.iter().filter_map(|key| self.0.get(key)).flatten();
        rows.find(|row| is_form(&row.cell(NAME), name)).copied()
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

/// Whether the cell is the original one, or what a spreadsheet makes of it.
fn is_form(was: &str, is: &str) -> bool {
    spreadsheet::is_same(was, is) || spreadsheet::rewriting(was, is).is_some()
}

/// Why the row is not the original one, which its token names; none when nothing in the
/// row says so. What is blank says nothing, nor does a column that is not there.
pub(super) fn contradiction(
    original: &FailedRow,
    row: &FailedRow,
    names: &Names<'_>,
) -> Option<String> {
    let cells = |column| {
        let (was, is) = (original.cell(column), row.cell(column));
        (!was.trim().is_empty() && !is.trim().is_empty()).then_some((was, is))
    };
    let place = |row: &FailedRow| {
        format!("batch {}, row {}", row.cell("batch").trim(), row.cell("row").trim())
    };
    let is_of_another_place = cells("row").is_some_and(|(was, is)| {
        !spreadsheet::is_hidden(is.trim()) && !spreadsheet::is_same_number(&was, &is)
    }) || cells("batch").is_some_and(|(was, is)| !is_form(&was, &is));
    let exchanged = format!("the token is that of another row ({})", place(original));
    if is_of_another_place {
        return Some(format!(
            "{exchanged}, and this row is {}: put the token back, or write the file anew",
            place(row)
        ));
    }
    let (was, is) = cells(NAME).filter(|(was, is)| !is_form(was, is))?;
    let other = names.row_of(&is)?;
    Some(format!(
        "{exchanged}, and the {NAME} `{is}` is that of {}: put the token back, or write the file \
         anew; if you have changed the name, write `{was}` back",
        place(other)
    ))
}
