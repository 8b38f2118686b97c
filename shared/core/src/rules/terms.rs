//! Text forms of the protocol's enums: names for programs and files, labels for people.

mod tables;

use super::{
    text::{check_characters, normalise_id, quote},
    violation::ValueError,
};
use concord_proto::pb::records::ErrorReason;

/// One value of an enum with its name and label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<T> {
    /// The value.
    pub term: T,
    /// The name without the prefix, such as `PRIVATE_LIMITED_COMPANY`.
    pub name: &'static str,
    /// The label, such as `Private limited company`.
    pub label: &'static str,
}

/// An enum of the protocol that can be written as text.
pub trait Term: Copy + PartialEq + TryFrom<i32> + 'static {
    /// The name of the field, for users.
    const LABEL: &'static str;
    /// Every value except `UNSPECIFIED`, in the order of the protocol.
    const ROWS: &'static [Row<Self>];

    /// The name without the prefix; empty for `UNSPECIFIED`.
    fn name(self) -> &'static str {
        Self::ROWS.iter().find(|row| row.term == self).map_or("", |row| row.name)
    }

    /// The label; empty for `UNSPECIFIED`.
    fn label(self) -> &'static str {
        Self::ROWS.iter().find(|row| row.term == self).map_or("", |row| row.label)
    }

    /// Parses a name, in any letter case, with spaces or hyphens in place of underscores.
    /// `None` for blank text. `UNKNOWN_VALUE` for an unknown name.
    fn parse(text: &str) -> Result<Option<Self>, ValueError> {
        check_characters(Self::LABEL, text)?;
        let key = term_key(text);
        if key.is_empty() {
            return Ok(None);
        }
        let row = Self::ROWS.iter().find(|row| row.name == key);
        row.map(|row| Some(row.term)).ok_or_else(|| unknown::<Self>(text))
    }

    /// Parses the number of an enum field. `None` for 0. `UNKNOWN_VALUE` for a number that
    /// this version does not define.
    fn from_wire(number: i32) -> Result<Option<Self>, ValueError> {
        if number == 0 {
            return Ok(None);
        }
        let term = Self::try_from(number).ok();
        term.map(Some).ok_or_else(|| unknown::<Self>(&number.to_string()))
    }
}

/// The lookup key of a name: upper case, one underscore for each run of spaces, hyphens and
/// underscores.
pub fn term_key(text: &str) -> String {
    let words = normalise_id(text).to_uppercase();
    let words = words.split([' ', '-', '_']).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_")
}

fn unknown<T: Term>(given: &str) -> ValueError {
    let names = T::ROWS.iter().map(|row| row.name);
    unknown_value(T::LABEL, given, names)
}

/// `UNKNOWN_VALUE` for a field with the values `names`.
pub fn unknown_value<'a>(
    label: &str,
    given: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> ValueError {
    let names = names.into_iter().collect::<Vec<_>>().join(", ");
    let text = format!("{label} is not known: {}; use one of {names}", quote(given));
    ValueError::new(ErrorReason::UnknownValue, text)
}

#[cfg(test)]
mod tests;
