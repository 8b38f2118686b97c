//! Parsers for the numbers of registers and tax offices, e-mail addresses and countries.
//! Each accepts the forms that people write and returns one canonical form.
//!
//! Blank text is `None`. An invalid value is a [`ValueError`] with a hint.

mod country;
mod email;
mod ireland;
mod register;
mod uk;
mod vat;

pub use country::country;
pub use email::email;
pub use ireland::ppsn;
pub use register::{company_number, possible_company_numbers, register};
pub use uk::{nino, paye_reference, utr};
pub use vat::vat_number;

pub use super::postcode::postcode_warning;
use super::{
    text::{check_characters, is_blank, is_invisible},
    violation::ValueError,
};
use concord_proto::pb::records::ErrorReason;

/// `text` in upper case, without white space, invisible characters and `separators`; `None`
/// for blank text.
fn compact(label: &str, text: &str, separators: &[char]) -> Result<Option<String>, ValueError> {
    check_characters(label, text)?;
    let is_seen = |c: char| !c.is_whitespace() && !is_invisible(c);
    let kept = text.chars().filter(|c| is_seen(*c) && !separators.contains(c));
    let compact: String = kept.map(|c| c.to_ascii_uppercase()).collect();
    // Separators alone are an invalid value and not blank.
    Ok(Some(compact).filter(|compact| !compact.is_empty() || !is_blank(text)))
}

/// The digits of `text`; `None` if it contains anything else.
fn digits(text: &str) -> Option<Vec<u32>> {
    text.chars().map(|c| c.to_digit(10)).collect()
}

/// The sum of each digit times its weight.
fn weighted(digits: &[u32], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(digit, weight)| digit * weight).sum()
}

/// The error for an invalid value; `hint` describes a valid one.
fn invalid(reason: ErrorReason, label: &str, hint: &str) -> ValueError {
    ValueError::new(reason, format!("{label} is not valid: {hint}"))
}

#[cfg(test)]
mod tests;
