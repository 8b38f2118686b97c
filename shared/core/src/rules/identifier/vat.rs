//! VAT registration numbers of the United Kingdom and of Ireland.

use super::{compact, digits, invalid, ireland, weighted};
use crate::rules::violation::ValueError;
use concord_proto::pb::records::ErrorReason;

/// Parses a VAT registration number. The canonical form has no prefix for the United
/// Kingdom and the prefix `IE` for Ireland.
///
/// - United Kingdom, with `GB`, `XI` or no prefix: nine digits (modulus 97, or
///   the newer modulus 9755), twelve for a branch, `GD` with three digits below
///   500 for a government department, `HA` with three from 500 on for a health
///   authority; both also in their long form: `GD8888`, the three digits, and two check
///   digits (modulus 97).
/// - Ireland, with `IE` or no prefix: seven digits with one or two letters, or
///   the older form with a letter in second place (modulus 23).
pub fn vat_number(text: &str) -> Result<Option<String>, ValueError> {
    const LABEL: &str = "VAT number";
    let Some(number) = compact(LABEL, text, &['-', '.'])? else {
        return Ok(None);
    };
    let british = number.strip_prefix("GB").or_else(|| number.strip_prefix("XI"));
    let irish = number.strip_prefix("IE");
    let canonical = match (british, irish) {
        (Some(rest), _) => is_british(rest).then(|| rest.to_owned()),
        (None, Some(rest)) => ireland::is_vat_number(rest).then(|| number.clone()),
        (None, None) if is_british(&number) => Some(number),
        (None, None) => ireland::is_vat_number(&number).then(|| format!("IE{number}")),
    };
    canonical.map(Some).ok_or_else(|| {
        let hint = "it has nine digits for the UK, such as 123 4567 82, or IE with seven digits \
                    and one or two letters, with check digits or letters that fit";
        invalid(ErrorReason::InvalidVat, LABEL, hint)
    })
}

fn is_british(number: &str) -> bool {
    let special = number.strip_prefix("GD").map(|rest| (rest, 0..=499));
    let special = special.or_else(|| number.strip_prefix("HA").map(|rest| (rest, 500..=999)));
    if let Some((rest, range)) = special {
        let (serial, check) = match rest.strip_prefix("8888").and_then(|r| r.split_at_checked(3)) {
            Some((serial, check)) => (serial, Some(check)),
            None => (rest, None),
        };
        let number = |text: &str, length: usize| {
            digits(text).filter(|digits| digits.len() == length)?;
            text.parse::<u32>().ok()
        };
        let Some(serial) = number(serial, 3).filter(|serial| range.contains(serial)) else {
            return false;
        };
        return check.is_none_or(|check| number(check, 2) == Some(serial % 97));
    }
    digits(number).is_some_and(|digits| is_registration(&digits))
}

/// Nine digits, of which the last two are check digits, and three more for a branch. The
/// newer check (remainder 42 or 55) applies to numbers from 100.
fn is_registration(digits: &[u32]) -> bool {
    if !matches!(digits.len(), 9 | 12) || digits.iter().take(9).all(|digit| *digit == 0) {
        return false;
    }
    let newer = digits.first().is_some_and(|first| *first != 0);
    match weighted(digits, &[8, 7, 6, 5, 4, 3, 2, 10, 1]) % 97 {
        0 => true,
        42 | 55 => newer,
        _ => false,
    }
}
