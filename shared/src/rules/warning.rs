//! Warnings about values that are accepted although something is wrong with them: text
//! that was damaged before it came, invisible characters, a malformed postcode; and in
//! an import an e-mail address or a telephone number that is left out.
//!
//! A warning is a [`Violation`] that refuses nothing.

use super::{
    postcode::postcode_warning,
    text::{REPLACEMENT, quote, removed},
    value::Address,
    violation::{Problem, Violation, Violations},
};
use crate::pb::records::{self, ErrorReason};

/// Warns of text that was damaged before it came.
pub fn damaged(warnings: &mut Violations, field: &str, label: &str, text: &str) {
    if text.contains(REPLACEMENT) {
        let text = format!(
            "{label} was damaged before it came, a character of it is lost: {}",
            quote(text)
        );
        warnings.push(field, ErrorReason::DamagedText, text);
    }
}

/// Warns of a name or a line of an address that was damaged, or that contains
/// invisible characters.
pub fn of_text(warnings: &mut Violations, field: &str, label: &str, text: &str) {
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
pub fn of_person_name(name: &records::PersonName) -> Violations {
    let records::PersonName { title, forename, middle_names, surname } = name;
    let mut warnings = Violations::new();
    of_text(&mut warnings, "title", "Title", title);
    of_text(&mut warnings, "forename", "Forename", forename);
    of_text(&mut warnings, "middle_names", "Middle names", middle_names);
    of_text(&mut warnings, "surname", "Surname", surname);
    warnings
}

/// Warns of the lines of an address, and of a postcode that does not look like
/// one.
pub fn of_address(address: &records::Address) -> Violations {
    let records::Address { line_1, line_2, line_3, town, county, postcode, country: _ } = address;
    let mut warnings = Violations::new();
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

/// The value of an optional field of an import, or none after warning of what is
/// wrong with it: it is left out, and the record is taken without it. Text with a
/// character that cannot be kept fails the record, as in every field.
pub fn or_left_out<T>(
    wrong: &mut Violations,
    warnings: &mut Violations,
    (field, text): (&str, &str),
    read: impl FnOnce(&str) -> Result<Option<T>, Problem>,
) -> Option<T> {
    match read(text) {
        Ok(value) => value,
        Err(problem) if problem.reason == ErrorReason::InvalidCharacter => {
            wrong.add(problem.at(field));
            None
        }
        Err(problem) => {
            let text = format!("{}; left out: {}", problem.text, quote(text));
            warnings.add(Violation::new(field, problem.reason, text));
            None
        }
    }
}

#[cfg(test)]
mod tests;
