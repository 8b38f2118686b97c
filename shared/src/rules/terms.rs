//! The closed lists of the protocol as text: names for programs and files, and
//! labels for people.

mod tables;

use super::{
    text::{check_characters, normalise_id, quote},
    violation::Problem,
};
use crate::pb::records::ErrorReason;

/// One row of a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<T> {
    /// The value.
    pub term: T,
    /// Its name without the prefix, such as `PRIVATE_LIMITED_COMPANY`.
    pub name: &'static str,
    /// What people call it, such as `Private limited company`.
    pub label: &'static str,
}

/// A value of one of the protocol's closed lists.
pub trait Term: Copy + PartialEq + TryFrom<i32> + 'static {
    /// What people call the field that holds one.
    const LABEL: &'static str;
    /// Every value but the one for "not set", in the order of the protocol.
    const ROWS: &'static [Row<Self>];

    /// The name without its prefix; empty for "not set".
    fn name(self) -> &'static str {
        Self::ROWS.iter().find(|row| row.term == self).map_or("", |row| row.name)
    }

    /// What people call it; empty for "not set".
    fn label(self) -> &'static str {
        Self::ROWS.iter().find(|row| row.term == self).map_or("", |row| row.label)
    }

    /// Reads a name, in any letter case, with spaces or hyphens for its
    /// underscores. Blank text is none; an unknown one is `UNKNOWN_VALUE`.
    fn parse(text: &str) -> Result<Option<Self>, Problem> {
        check_characters(Self::LABEL, text)?;
        let key = term_key(text);
        if key.is_empty() {
            return Ok(None);
        }
        let row = Self::ROWS.iter().find(|row| row.name == key);
        row.map(|row| Some(row.term)).ok_or_else(|| unknown::<Self>(text))
    }

    /// Reads the number of an enum field. 0 is none; a number that this version
    /// does not know is `UNKNOWN_VALUE`.
    fn from_wire(number: i32) -> Result<Option<Self>, Problem> {
        if number == 0 {
            return Ok(None);
        }
        let term = Self::try_from(number).ok();
        term.map(Some).ok_or_else(|| unknown::<Self>(&number.to_string()))
    }
}

/// The form in which names are looked up: upper-case, one underscore for each
/// run of spaces, hyphens and underscores.
pub fn term_key(text: &str) -> String {
    let words = normalise_id(text).to_uppercase();
    let words = words.split([' ', '-', '_']).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_")
}

fn unknown<T: Term>(given: &str) -> Problem {
    let names = T::ROWS.iter().map(|row| row.name);
    unknown_value(T::LABEL, given, names)
}

/// `UNKNOWN_VALUE` for a field whose values are `names`.
pub fn unknown_value<'a>(
    label: &str,
    given: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Problem {
    let names = names.into_iter().collect::<Vec<_>>().join(", ");
    let text = format!("{label} is not known: {}; use one of {names}", quote(given));
    Problem::new(ErrorReason::UnknownValue, text)
}

#[cfg(test)]
mod tests;
