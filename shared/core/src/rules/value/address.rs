//! A postal address.

use serde::{Deserialize, Serialize};

use crate::rules::{
    identifier,
    text::{MAX_ADDRESS_LINE, joined, normalise, plain},
    violation::{FieldViolations, ValueError},
};
use concord_proto::pb::records::{self, ErrorReason};

/// A postal address in its normal form. Only the first line is required.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Address {
    /// The first line.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub line_1: String,
    /// The second line.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub line_2: String,
    /// The third line.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub line_3: String,
    /// The town or city.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub town: String,
    /// The county or region.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub county: String,
    /// The postcode, not canonicalised.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub postcode: String,
    /// The ISO 3166 alpha-2 code.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub country: String,
}

impl Address {
    /// Parses an address: the first line is required, every line has at most
    /// [`MAX_ADDRESS_LINE`] characters, the country is a known code. `path` is the path of
    /// the message and prefixes the fields of violations.
    pub fn parse(address: &records::Address, path: &str) -> Result<Self, FieldViolations> {
        let records::Address { line_1, line_2, line_3, town, county, postcode, country } = address;
        let mut violations = FieldViolations::new();
        let first = plain("Address Line 1", line_1, MAX_ADDRESS_LINE).and_then(not_missing);
        let line_1 = violations.field("line_1", first).unwrap_or_default();
        let mut line = |field: &str, label: &str, text: &str| {
            violations.field(field, plain(label, text, MAX_ADDRESS_LINE)).unwrap_or_default()
        };
        let address = Self {
            line_1,
            line_2: line("line_2", "Address Line 2", line_2),
            line_3: line("line_3", "Address Line 3", line_3),
            town: line("town", "Town", town),
            county: line("county", "County", county),
            postcode: line("postcode", "Postcode", postcode),
            country: violations
                .field("country", identifier::country(country))
                .flatten()
                .unwrap_or_default(),
        };
        violations.under(path).finish(Some(address))
    }

    /// The address on one line, for display.
    pub fn display(&self) -> String {
        let Self { line_1, line_2, line_3, town, county, postcode, country } = self;
        joined([line_1, line_2, line_3, town, county, postcode, country], ", ")
    }
}

fn not_missing(line_1: String) -> Result<String, ValueError> {
    if line_1.is_empty() {
        Err(ValueError::new(ErrorReason::AddressLine1Missing, "Address Line 1 is missing"))
    } else {
        Ok(line_1)
    }
}

/// Normalises without validation; [`Address::parse`] also validates.
impl From<&records::Address> for Address {
    fn from(address: &records::Address) -> Self {
        let records::Address { line_1, line_2, line_3, town, county, postcode, country } = address;
        Self {
            line_1: normalise(line_1),
            line_2: normalise(line_2),
            line_3: normalise(line_3),
            town: normalise(town),
            county: normalise(county),
            postcode: normalise(postcode),
            country: normalise(country).to_ascii_uppercase(),
        }
    }
}

impl From<Address> for records::Address {
    fn from(address: Address) -> Self {
        let Address { line_1, line_2, line_3, town, county, postcode, country } = address;
        Self { line_1, line_2, line_3, town, county, postcode, country }
    }
}

impl From<&Address> for records::Address {
    fn from(address: &Address) -> Self {
        address.clone().into()
    }
}
