//! The normalised values of timelines: a name, the name of a person, an address. Equal
//! values are one value in the history.

mod address;
mod person_name;

pub use address::Address;
pub use person_name::PersonName;
use serde::{Deserialize, Serialize};

use concord_proto::pb::records::entry;

/// The value of one entry. As JSON: `{"name": "Acme Limited"}`,
/// `{"person_name": {…}}` or `{"address": {…}}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// The registered or trading name of a client.
    Name(String),
    /// The name of a person.
    PersonName(PersonName),
    /// An address.
    Address(Address),
}

impl Value {
    /// The value on one line, for display.
    pub fn display(&self) -> String {
        match self {
            Self::Name(name) => name.clone(),
            Self::PersonName(name) => name.display(),
            Self::Address(address) => address.display(),
        }
    }
}

impl From<Value> for entry::Value {
    fn from(value: Value) -> Self {
        match value {
            Value::Name(name) => Self::Name(name),
            Value::PersonName(name) => Self::PersonName(name.into()),
            Value::Address(address) => Self::Address(address.into()),
        }
    }
}

#[cfg(test)]
mod tests;
