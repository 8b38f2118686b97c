//! Warnings about values that are accepted with a defect: text that was damaged before
//! Concord received it, invisible characters, a malformed postcode. An import also warns
//! of an invalid e-mail address or telephone number, which it leaves out.
//!
//! A warning is a [`FieldViolation`] that does not reject the record.

use super::{
    postcode::postcode_warning,
    text::{REPLACEMENT, quote, removed},
    value::Address,
    violation::{FieldViolation, FieldViolations, ValueError},
};
use concord_proto::pb::records::{self, ErrorReason};

/// Warns of text that was damaged before Concord received it.
pub fn damaged(warnings: &mut FieldViolations, field: &str, label: &str, text: &str) {
    if text.contains(REPLACEMENT) {
        let text = format!(
            "{label} was damaged before it came, a character of it is lost: {}",
            quote(text)
        );
        warnings.push(field, ErrorReason::DamagedText, text);
    }
}

/// Warns of a name or an address line that is damaged or contains invisible characters.
pub fn of_text(warnings: &mut FieldViolations, field: &str, label: &str, text: &str) {
    damaged(warnings, field, label, text);
    if let Some(c) = removed(text) {
        let code = u32::from(c);
        let text = format!(
            "{label} came with a character that nobody sees, which was left out: U+{code:04X}"
        );
        warnings.push(field, ErrorReason::InvisibleCharacter, text);
    }
}

/// Warns of the parts of a person's name.
pub fn of_person_name(name: &records::PersonName) -> FieldViolations {
    let records::PersonName { title, forename, middle_names, surname } = name;
    let mut warnings = FieldViolations::new();
    of_text(&mut warnings, "title", "Title", title);
    of_text(&mut warnings, "forename", "Forename", forename);
    of_text(&mut warnings, "middle_names", "Middle names", middle_names);
    of_text(&mut warnings, "surname", "Surname", surname);
    warnings
}

/// Warns of the lines of an address, and of a malformed postcode.
pub fn of_address(address: &records::Address) -> FieldViolations {
    let records::Address { line_1, line_2, line_3, town, county, postcode, country: _ } = address;
    let mut warnings = FieldViolations::new();
    of_text(&mut warnings, "line_1", "Address Line 1", line_1);
    of_text(&mut warnings, "line_2", "Address Line 2", line_2);
    of_text(&mut warnings, "line_3", "Address Line 3", line_3);
    of_text(&mut warnings, "town", "Town", town);
    of_text(&mut warnings, "county", "County", county);
    of_text(&mut warnings, "postcode", "Postcode", postcode);
    if let Some(text) = postcode_warning(&Address::from(address)) {
        warnings.push("postcode", ErrorReason::InvalidPostcode, text);
    }
    warnings
}

/// The value of an optional field of an import. An invalid value becomes a warning and
/// `None`: the record is imported without it. Text with a character that cannot be stored
/// fails the record, as in every field.
pub fn value_or_warning<T>(
    violations: &mut FieldViolations,
    warnings: &mut FieldViolations,
    (field, text): (&str, &str),
    read: impl FnOnce(&str) -> Result<Option<T>, ValueError>,
) -> Option<T> {
    match read(text) {
        Ok(value) => value,
        Err(error) if error.reason == ErrorReason::InvalidCharacter => {
            violations.add(error.at(field));
            None
        }
        Err(error) => {
            let text = format!("{}; left out: {}", error.text, quote(text));
            warnings.add(FieldViolation::new(field, error.reason, text));
            None
        }
    }
}

#[cfg(test)]
mod tests;
