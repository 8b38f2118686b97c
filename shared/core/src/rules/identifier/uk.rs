//! Identifiers of the United Kingdom.

use super::{compact, digits, invalid, weighted};
use crate::rules::violation::ValueError;
use concord_proto::pb::records::ErrorReason;

/// Parses a Unique Taxpayer Reference: ten digits, the first of which is the check digit
/// (modulus 11). The K that HMRC prints before or after it is dropped.
pub fn utr(text: &str) -> Result<Option<String>, ValueError> {
    const LABEL: &str = "UTR";
    const WEIGHTS: [u32; 9] = [6, 7, 8, 9, 10, 5, 4, 3, 2];
    /// The check digit for each remainder.
    const CHECK: [u32; 11] = [2, 1, 9, 8, 7, 6, 5, 4, 3, 2, 1];

    let Some(number) = compact(LABEL, text, &['-', '.'])? else {
        return Ok(None);
    };
    let number = number.strip_prefix('K').unwrap_or(&number);
    let number = number.strip_suffix('K').unwrap_or(number);
    let digits = digits(number).filter(|digits| digits.len() == 10);
    let Some([check, rest @ ..]) = digits.as_deref() else {
        return Err(invalid(ErrorReason::InvalidUtr, LABEL, "it has ten digits"));
    };
    let remainder = weighted(rest, &WEIGHTS) % 11;
    let expected = CHECK.iter().zip(0..).find(|(_, at)| *at == remainder);
    if expected.is_some_and(|(expected, _)| expected == check) {
        Ok(Some(number.to_owned()))
    } else {
        let hint = "its check digit does not fit; a digit is wrong or two are swapped";
        Err(invalid(ErrorReason::InvalidUtr, LABEL, hint))
    }
}

/// Parses an employer PAYE reference: the three digits of the tax office, a slash, and one
/// to ten letters and digits.
pub fn paye_reference(text: &str) -> Result<Option<String>, ValueError> {
    const LABEL: &str = "PAYE reference";
    let Some(reference) = compact(LABEL, text, &[])? else {
        return Ok(None);
    };
    let valid = reference.split_once('/').is_some_and(|(office, employer)| {
        office.len() == 3
            && office.bytes().all(|byte| byte.is_ascii_digit())
            && (1..=10).contains(&employer.len())
            && employer.bytes().all(|byte| byte.is_ascii_alphanumeric())
    });
    if valid {
        return Ok(Some(reference));
    }
    let hint = "it has three digits, a slash, and up to ten letters and digits, such as 123/AB456";
    Err(invalid(ErrorReason::InvalidPaye, LABEL, hint))
}

/// Parses a National Insurance number: two letters that HMRC allocates, six digits, and an
/// optional suffix A to D.
pub fn nino(text: &str) -> Result<Option<String>, ValueError> {
    const LABEL: &str = "National Insurance number";
    /// Letter pairs that are not allocated.
    const NOT_USED: [&[u8; 2]; 7] = [b"BG", b"GB", b"KN", b"NK", b"NT", b"TN", b"ZZ"];

    let Some(number) = compact(LABEL, text, &['-', '.'])? else {
        return Ok(None);
    };
    let valid = match number.as_bytes() {
        [first, second, rest @ ..] => {
            let (digits, suffix) = rest.split_at(rest.len().min(6));
            first.is_ascii_uppercase()
                && second.is_ascii_uppercase()
                && !b"DFIQUV".contains(first)
                && !b"DFIOQUV".contains(second)
                && !NOT_USED.contains(&&[*first, *second])
                && digits.len() == 6
                && digits.iter().all(u8::is_ascii_digit)
                && matches!(suffix, [] | [b'A'..=b'D'])
        }
        _ => false,
    };
    if valid {
        return Ok(Some(number));
    }
    let hint = "it has two letters, six digits, and a letter A to D, such as AB123456C";
    Err(invalid(ErrorReason::InvalidNino, LABEL, hint))
}
