//! Company numbers in the form of their register.

use super::{compact, invalid};
use crate::rules::{terms::Term as _, text::plain_id, violation::ValueError};
use concord_proto::pb::records::{ErrorReason, Jurisdiction};

const LABEL: &str = "Company number";

/// Maximum number of characters of a number of another register.
const MAX_FOREIGN: usize = 40;

/// Maximum number of digits at the CRO, in Jersey and in Guernsey.
const MAX_DIGITS: usize = 7;

/// Parses a company number of a jurisdiction, in the form of its register.
///
/// - Companies House, and unknown jurisdictions: eight characters, padded with zeros; see
///   `is_companies_house`.
/// - Ireland (the CRO), Jersey and Guernsey: one to seven digits, without leading zeros.
/// - The Isle of Man: six digits and a letter, such as `012345V`. This form is also
///   accepted for an unknown jurisdiction, because no other register uses it.
/// - Any other jurisdiction: text with a digit in it, in upper case.
///
/// A number at Companies House is accepted for all of these islands. All zeros are a
/// placeholder and invalid.
pub fn company_number(
    text: &str,
    jurisdiction: Jurisdiction,
) -> Result<Option<String>, ValueError> {
    if jurisdiction == Jurisdiction::Other {
        return foreign(text);
    }
    let Some(number) = compact(LABEL, text, &[])? else {
        return Ok(None);
    };
    let own = match jurisdiction {
        Jurisdiction::Ireland | Jurisdiction::Jersey | Jurisdiction::Guernsey => plain(&number),
        Jurisdiction::IsleOfMan => manx(&number).or_else(|| plain(&number)),
        _ => None,
    };
    let companies_house = || Some(padded(&number)).filter(|full| is_companies_house(full));
    let of_any = || manx(&number).filter(|_| jurisdiction == Jurisdiction::Unspecified);
    own.or_else(companies_house)
        .or_else(of_any)
        .map(Some)
        .ok_or_else(|| invalid(ErrorReason::InvalidCompanyNumber, LABEL, &hint(jurisdiction)))
}

fn hint(jurisdiction: Jurisdiction) -> String {
    match jurisdiction {
        Jurisdiction::Ireland | Jurisdiction::Jersey | Jurisdiction::Guernsey => {
            let name = jurisdiction.label();
            format!("in {name} it has up to {MAX_DIGITS} digits, such as 123456")
        }
        Jurisdiction::IsleOfMan => {
            "in the Isle of Man it has six digits and a letter, such as 012345V".to_owned()
        }
        _ => "it has eight characters, such as 07687209 or SC123456, or up to seven digits; for a \
              number of another register give the jurisdiction too"
            .to_owned(),
    }
}

/// Digits only, without leading zeros.
fn plain(number: &str) -> Option<String> {
    let digits = number.trim_start_matches('0');
    let fits = (1..=MAX_DIGITS).contains(&digits.len()) && is_digits(digits);
    fits.then(|| digits.to_owned())
}

/// Six digits and a letter, padded with zeros.
fn manx(number: &str) -> Option<String> {
    let (digits, letter) = number.split_at_checked(number.len().checked_sub(1)?)?;
    let digits = digits.trim_start_matches('0');
    let fits = (1..=6).contains(&digits.len())
        && is_digits(digits)
        && letter.bytes().all(|byte| byte.is_ascii_uppercase());
    fits.then(|| format!("{digits:0>6}{letter}"))
}

/// A number of a register that Concord has no rules for.
fn foreign(text: &str) -> Result<Option<String>, ValueError> {
    let number = plain_id(LABEL, text, MAX_FOREIGN)?.to_ascii_uppercase();
    match number.as_str() {
        "" => Ok(None),
        number if number.contains(|c: char| c.is_ascii_digit() && c != '0') => {
            Ok(Some(number.to_owned()))
        }
        _ => Err(invalid(ErrorReason::InvalidCompanyNumber, LABEL, "it has at least one digit")),
    }
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Pads digits, and two letters with digits, to eight characters: `7687209` becomes
/// `07687209`, `SC12345` becomes `SC012345`.
fn padded(number: &str) -> String {
    let prefix_ends = number.find(|c: char| c.is_ascii_digit()).unwrap_or(0);
    let (prefix, rest) = number.split_at(prefix_ends);
    let numeric = !rest.is_empty() && is_digits(rest);
    match prefix.len() {
        0 if numeric => format!("{rest:0>8}"),
        2 if numeric => format!("{prefix}{rest:0>6}"),
        _ => number.to_owned(),
    }
}

/// True for a number at Companies House: eight characters. The first two are letters, a
/// letter and a digit, or digits. The others are digits; the last one may be a letter.
/// Numbers of societies (`IP`, `SP`, `NP`, `RS`) have any letters and digits after the
/// prefix, such as `IP000CUS` and `SP2345RS`.
fn is_companies_house(number: &str) -> bool {
    let [first, second, rest @ ..] = number.as_bytes() else {
        return false;
    };
    let [middle @ .., last] = rest else {
        return false;
    };
    let starts = match first {
        b'A'..=b'Z' => second.is_ascii_uppercase() || second.is_ascii_digit(),
        _ => first.is_ascii_digit() && second.is_ascii_digit(),
    };
    let is_letter_or_digit = |byte: &u8| byte.is_ascii_digit() || byte.is_ascii_uppercase();
    let is_society = [b"IP", b"SP", b"NP", b"RS"].contains(&&[*first, *second])
        && rest.iter().all(is_letter_or_digit)
        && rest.iter().any(u8::is_ascii_digit);
    let ends = middle.iter().all(u8::is_ascii_digit) && is_letter_or_digit(last);
    starts && middle.len() == 5 && (ends || is_society) && number.bytes().any(|byte| byte != b'0')
}

/// The register of a number in the form of [`company_number`]: the jurisdiction, or
/// `Unspecified` for Companies House. Equal numbers identify one company only if the
/// registers are equal.
pub fn register(number: &str, jurisdiction: Jurisdiction) -> Jurisdiction {
    match jurisdiction {
        Jurisdiction::Other => Jurisdiction::Other,
        _ if is_companies_house(number) => Jurisdiction::Unspecified,
        Jurisdiction::Ireland
        | Jurisdiction::Jersey
        | Jurisdiction::Guernsey
        | Jurisdiction::IsleOfMan => jurisdiction,
        _ => Jurisdiction::IsleOfMan,
    }
}

/// The numbers, each in the form of a register, that a number with an unknown register may
/// be. A number of eight characters is at Companies House or foreign.
pub fn possible_company_numbers(text: &str) -> Result<Vec<String>, ValueError> {
    let registers = [
        Jurisdiction::Unspecified,
        Jurisdiction::IsleOfMan,
        Jurisdiction::Ireland,
        Jurisdiction::Other,
    ];
    let is_full_length = compact(LABEL, text, &[])?.is_some_and(|number| number.len() >= 8);
    let mut numbers: Vec<String> = Vec::new();
    let mut first_error = None;
    for jurisdiction in registers {
        let is_plain = matches!(jurisdiction, Jurisdiction::Ireland | Jurisdiction::IsleOfMan);
        if is_full_length && is_plain {
            continue;
        }
        match company_number(text, jurisdiction) {
            Ok(number) => numbers.extend(number),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    numbers.sort();
    numbers.dedup();
    match first_error {
        Some(error) if numbers.is_empty() => Err(error),
        _ => Ok(numbers),
    }
}
