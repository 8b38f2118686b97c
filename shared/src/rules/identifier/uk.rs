//! The identifiers of the United Kingdom, and company numbers of both countries.

use super::{compact, digits, invalid, weighted};
use crate::{pb::records::ErrorReason, rules::violation::Problem};

/// A number at Companies House or the CRO: eight characters, the first two
/// letters, a letter and a digit, or digits; the rest digits, the last of which
/// may be a letter. Numbers and two letters with fewer digits are filled up with
/// zeros: `7687209` becomes `07687209`, `SC12345` becomes `SC012345`, and a CRO
/// number (one to seven digits) eight digits. All zeros are a placeholder.
pub fn company_number(text: &str) -> Result<Option<String>, Problem> {
    const LABEL: &str = "Company number";
    let Some(number) = compact(LABEL, text, &[])? else {
        return Ok(None);
    };
    let full = fill_up(&number);
    if is_company_number(&full) {
        return Ok(Some(full));
    }
    let hint = "it has eight characters, such as 07687209 or SC123456, or up to seven digits";
    Err(invalid(ErrorReason::InvalidCompanyNumber, LABEL, hint))
}

fn fill_up(number: &str) -> String {
    let prefix_ends = number.find(|c: char| c.is_ascii_digit()).unwrap_or(0);
    let (prefix, rest) = number.split_at(prefix_ends);
    let numeric = !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
    match prefix.len() {
        0 if numeric => format!("{rest:0>8}"),
        2 if numeric => format!("{prefix}{rest:0>6}"),
        _ => number.to_owned(),
    }
}

fn is_company_number(number: &str) -> bool {
    let [first, second, middle @ .., last] = number.as_bytes() else {
        return false;
    };
    let starts = match first {
        b'A'..=b'Z' => second.is_ascii_uppercase() || second.is_ascii_digit(),
        _ => first.is_ascii_digit() && second.is_ascii_digit(),
    };
    starts
        && middle.len() == 5
        && middle.iter().all(u8::is_ascii_digit)
        && (last.is_ascii_digit() || last.is_ascii_uppercase())
        && number.bytes().any(|byte| byte != b'0')
}

/// A Unique Taxpayer Reference: ten digits, the first of which checks the others
/// (modulus 11). The K that HMRC prints before or after it is dropped.
pub fn utr(text: &str) -> Result<Option<String>, Problem> {
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

/// An employer PAYE reference: the three digits of the tax office, a slash, and
/// one to ten letters and digits.
pub fn paye_reference(text: &str) -> Result<Option<String>, Problem> {
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

/// A National Insurance number: two letters that HMRC gives out, six digits, and
/// a suffix A to D, which may be missing.
pub fn nino(text: &str) -> Result<Option<String>, Problem> {
    const LABEL: &str = "National Insurance number";
    /// Letter pairs that are not given out.
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
