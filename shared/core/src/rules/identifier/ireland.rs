//! Identifiers of Ireland: PPS numbers, and the check letter of PPS and VAT numbers.

use super::{compact, digits, invalid, weighted};
use crate::rules::violation::ValueError;
use concord_proto::pb::records::ErrorReason;

/// The check letter for each remainder. The value of a second letter is its index.
const LETTERS: &str = "WABCDEFGHIJKLMNOPQRSTUV";

/// Parses a Personal Public Service number: seven digits, a check letter (modulus 23) and
/// optionally a second letter. The check letter covers A, B and H; it does not cover W, T
/// and X of older numbers.
pub fn ppsn(text: &str) -> Result<Option<String>, ValueError> {
    const LABEL: &str = "PPS number";
    let Some(number) = compact(LABEL, text, &['-', '.'])? else {
        return Ok(None);
    };
    let valid = split(&number).is_some_and(|(digits, check, last)| match last {
        None | Some('W' | 'T' | 'X') => check_letter(digits, None) == Some(check),
        Some('A' | 'B' | 'H') => check_letter(digits, last) == Some(check),
        Some(_) => false,
    });
    if valid {
        return Ok(Some(number));
    }
    let hint =
        "it has seven digits, a check letter, and sometimes one letter more, such as 1234567T";
    Err(invalid(ErrorReason::InvalidPpsn, LABEL, hint))
}

/// True if `number` is an Irish VAT number without its prefix: seven digits, a check letter
/// and optionally a second letter; or in the older form a digit, a letter or `+` or `*`,
/// five digits and the check letter.
pub(super) fn is_vat_number(number: &str) -> bool {
    let Some((body, check, last)) = split(number) else {
        return false;
    };
    if digits(body).is_some() {
        return check_letter(body, last) == Some(check);
    }
    let mut chars = body.chars();
    let (Some(first), Some(second)) = (chars.next(), chars.next()) else {
        return false;
    };
    let old = second.is_ascii_uppercase() || second == '+' || second == '*';
    // The check of the older form covers 0, its five digits, and its first digit.
    let reordered = format!("0{}{first}", chars.as_str());
    old && last.is_none() && check_letter(&reordered, None) == Some(check)
}

/// Splits a number into its first seven characters, the check letter, and the
/// letter after it.
fn split(number: &str) -> Option<(&str, char, Option<char>)> {
    let (body, letters) = number.split_at_checked(7)?;
    let mut letters = letters.chars();
    let parts = (body, letters.next()?, letters.next());
    letters.next().is_none().then_some(parts)
}

/// The check letter of seven digits and an optional second letter; `None` for other input.
fn check_letter(body: &str, second: Option<char>) -> Option<char> {
    let digits = digits(body).filter(|digits| digits.len() == 7)?;
    let index = match second {
        None => 0,
        Some(letter) => LETTERS.chars().zip(0..).find(|(other, _)| *other == letter)?.1,
    };
    let remainder = (weighted(&digits, &[8, 7, 6, 5, 4, 3, 2]) + 9 * index) % 23;
    LETTERS.chars().zip(0..).find(|(_, at)| *at == remainder).map(|(letter, _)| letter)
}
