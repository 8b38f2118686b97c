//! The numbers that registers and tax offices give, e-mail addresses, and
//! countries: each is read in the forms that people write, and kept in one.
//!
//! Every function takes text as it was given: blank is `None`, a valid one its
//! canonical form, anything else a [`Problem`] with a hint.

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
    violation::Problem,
};
use crate::pb::records::ErrorReason;

/// `text` in upper case, without invisible characters and without `separators`; `None`
/// when nothing is left.
fn compact(label: &str, text: &str, separators: &[char]) -> Result<Option<String>, Problem> {
    check_characters(label, text)?;
    let is_seen = |c: char| !c.is_whitespace() && !is_invisible(c);
    let kept = text.chars().filter(|c| is_seen(*c) && !separators.contains(c));
    let compact: String = kept.map(|c| c.to_ascii_uppercase()).collect();
    // Separators alone are not blank: whoever wrote them meant something.
    Ok(Some(compact).filter(|compact| !compact.is_empty() || !is_blank(text)))
}

/// The digits of `text`; `None` when anything else is in it.
fn digits(text: &str) -> Option<Vec<u32>> {
    text.chars().map(|c| c.to_digit(10)).collect()
}

/// The sum of each digit times its weight.
fn weighted(digits: &[u32], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(digit, weight)| digit * weight).sum()
}

/// That a value is not valid; `hint` says what a valid one looks like.
fn invalid(reason: ErrorReason, label: &str, hint: &str) -> Problem {
    Problem::new(reason, format!("{label} is not valid: {hint}"))
}

#[cfg(test)]
mod tests;
