//! The name of a person.

use serde::{Deserialize, Serialize};

use super::joined;
use crate::{
    pb::records,
    rules::{
        text::{self, MAX_NAME_PART, MAX_TITLE, normalise, plain, required},
        violation::Violations,
    },
};

/// The name of a person in its normal form. Only the surname is always there.
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
    /// Reads a name: the surname is required, the title has at most
    /// [`MAX_TITLE`] characters and every other part [`MAX_NAME_PART`]. `path`
    /// is that of the message, and goes before the names of its fields.
    pub fn parse(name: &records::PersonName, path: &str) -> Result<Self, Violations> {
        let records::PersonName { title, forename, middle_names, surname } = name;
        let mut wrong = Violations::new();
        let title = wrong.field("title", plain("Title", title, MAX_TITLE));
        let forename = wrong.field("forename", plain("Forename", forename, MAX_NAME_PART));
        let middle_names =
            wrong.field("middle_names", plain("Middle names", middle_names, MAX_NAME_PART));
        let surname = wrong.field("surname", required("Surname", surname, MAX_NAME_PART));
        wrong.under(path).finish(Some(Self {
            title: title.unwrap_or_default(),
            forename: forename.unwrap_or_default(),
            middle_names: middle_names.unwrap_or_default(),
            surname: surname.unwrap_or_default(),
        }))
    }

    /// The whole name: `Dr Ann Mary Smith`.
    pub fn display(&self) -> String {
        let Self { title, forename, middle_names, surname } = self;
        joined([title, forename, middle_names, surname], " ")
    }

    /// The form in which names of persons are compared: without the title, by
    /// [`text::match_key`]. Where the forename ends and the middle names begin
    /// makes no difference.
    pub fn match_key(&self) -> String {
        let Self { title: _, forename, middle_names, surname } = self;
        text::match_key(&joined([forename, middle_names, surname], " "))
    }
}

/// Normalises only; [`PersonName::parse`] also checks.
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
