//! The name of a person.

use serde::{Deserialize, Serialize};

use crate::rules::{
    text::{self, MAX_NAME_PART, MAX_TITLE, joined, normalise, plain, required},
    violation::FieldViolations,
};
use concord_proto::pb::records;

/// The name of a person in its normal form. Only the surname is required.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct PersonName {
    /// The title, such as `Dr`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// The first name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub forename: String,
    /// All names between the first and the last.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub middle_names: String,
    /// The last name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub surname: String,
}

impl PersonName {
    /// Parses a name: the surname is required, the title has at most [`MAX_TITLE`] characters
    /// and every other part [`MAX_NAME_PART`]. `path` is the path of the message and prefixes
    /// the fields of violations.
    pub fn parse(name: &records::PersonName, path: &str) -> Result<Self, FieldViolations> {
        let records::PersonName { title, forename, middle_names, surname } = name;
        let mut violations = FieldViolations::new();
        let title = violations.field("title", plain("Title", title, MAX_TITLE));
        let forename = violations.field("forename", plain("Forename", forename, MAX_NAME_PART));
        let middle_names =
            violations.field("middle_names", plain("Middle names", middle_names, MAX_NAME_PART));
        let surname = violations.field("surname", required("Surname", surname, MAX_NAME_PART));
        violations.under(path).finish(Some(Self {
            title: title.unwrap_or_default(),
            forename: forename.unwrap_or_default(),
            middle_names: middle_names.unwrap_or_default(),
            surname: surname.unwrap_or_default(),
        }))
    }

    /// The full name, such as `Dr Ann Mary Smith`.
    pub fn display(&self) -> String {
        let Self { title, forename, middle_names, surname } = self;
        joined([title, forename, middle_names, surname], " ")
    }

    /// The comparison key: [`text::match_key`] of the name without the title. The boundary
    /// between forename and middle names does not matter.
    pub fn match_key(&self) -> String {
        let Self { title: _, forename, middle_names, surname } = self;
        text::match_key(&joined([forename, middle_names, surname], " "))
    }
}

/// Normalises without validation; [`PersonName::parse`] also validates.
impl From<&records::PersonName> for PersonName {
    fn from(name: &records::PersonName) -> Self {
        let records::PersonName { title, forename, middle_names, surname } = name;
        Self {
            title: normalise(title),
            forename: normalise(forename),
            middle_names: normalise(middle_names),
            surname: normalise(surname),
        }
    }
}

impl From<PersonName> for records::PersonName {
    fn from(name: PersonName) -> Self {
        let PersonName { title, forename, middle_names, surname } = name;
        Self { title, forename, middle_names, surname }
    }
}

impl From<&PersonName> for records::PersonName {
    fn from(name: &PersonName) -> Self {
        name.clone().into()
    }
}
