//! Company numbers, each in the form of its register.

use super::{compact, invalid};
use crate::{
    pb::records::{ErrorReason, Jurisdiction},
    rules::{terms::Term as _, text::plain_id, violation::Problem},
};

const LABEL: &str = "Company number";

/// Characters of a number of a foreign register.
const MAX_FOREIGN: usize = 40;

/// Digits of a number at the CRO, in Jersey and in Guernsey.
const MAX_DIGITS: usize = 7;

/// A company number under the law of `jurisdiction`, in the form of its register.
///
/// - Companies House, and when the jurisdiction is not known: eight characters,
///   filled up with zeros; see `is_companies_house`.
/// - Ireland (the CRO), Jersey and Guernsey: one to seven digits, without zeros
///   before them.
/// - The Isle of Man: six digits and a letter, such as `012345V`. This form is read
///   when the jurisdiction is not known, too: no other register has it.
/// - Any other jurisdiction: text with a digit in it, in upper case.
///
/// A company of these islands with a number at Companies House keeps that. All
/// zeros are a placeholder.
pub fn company_number(text: &str, jurisdiction: Jurisdiction) -> Result<Option<String>, Problem> {
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
    let companies_house = || Some(filled_up(&number)).filter(|full| is_companies_house(full));
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

/// Digits alone, without zeros before them.
fn plain(number: &str) -> Option<String> {
    let digits = number.trim_start_matches('0');
    let fits = (1..=MAX_DIGITS).contains(&digits.len()) && is_digits(digits);
    fits.then(|| digits.to_owned())
}

/// Six digits and a letter, filled up with zeros.
fn manx(number: &str) -> Option<String> {
    let (digits, letter) = number.split_at_checked(number.len().checked_sub(1)?)?;
    let digits = digits.trim_start_matches('0');
    let fits = (1..=6).contains(&digits.len())
        && is_digits(digits)
        && letter.bytes().all(|byte| byte.is_ascii_uppercase());
    fits.then(|| format!("{digits:0>6}{letter}"))
}

/// A number of a register that this version knows nothing of.
fn foreign(text: &str) -> Result<Option<String>, Problem> {
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

/// Digits, and two letters with digits, filled up to eight characters: `7687209`
/// becomes `07687209`, `SC12345` becomes `SC012345`.
fn filled_up(number: &str) -> String {
    let prefix_ends = number.find(|c: char| c.is_ascii_digit()).unwrap_or(0);
    let (prefix, rest) = number.split_at(prefix_ends);
    let numeric = !rest.is_empty() && is_digits(rest);
    match prefix.len() {
        0 if numeric => format!("{rest:0>8}"),
        2 if numeric => format!("{prefix}{rest:0>6}"),
        _ => number.to_owned(),
    }
}

/// Whether a number is one at Companies House: eight characters, the first two
/// letters, a letter and a digit, or digits; the rest digits, the last of which may
/// be a letter. Societies (`IP`, `SP`, `NP`, `RS`) have any letters and digits after
/// these two, such as `IP000CUS` and `SP2345RS`.
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

/// The register that a number, in the form of [`company_number`], is of: that of
/// the jurisdiction, or Companies House as `Unspecified`. Two numbers are of one
/// company only when their registers are the same.
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

/// The numbers, in the form of a register, that a number without its register may
/// be: one of eight characters is of Companies House, or foreign.
pub fn possible_company_numbers(text: &str) -> Result<Vec<String>, Problem> {
    let registers = [
        Jurisdiction::Unspecified,
        Jurisdiction::IsleOfMan,
        Jurisdiction::Ireland,
        Jurisdiction::Other,
    ];
    let is_whole = compact(LABEL, text, &[])?.is_some_and(|number| number.len() >= 8);
    let mut numbers: Vec<String> = Vec::new();
    let mut problem = None;
    for jurisdiction in registers {
        let is_plain = matches!(jurisdiction, Jurisdiction::Ireland | Jurisdiction::IsleOfMan);
        if is_whole && is_plain {
            continue;
        }
        match company_number(text, jurisdiction) {
            Ok(number) => numbers.extend(number),
            Err(wrong) => problem = problem.or(Some(wrong)),
        }
    }
    numbers.sort();
    numbers.dedup();
    match problem {
        Some(problem) if numbers.is_empty() => Err(problem),
        _ => Ok(numbers),
    }
}
