//! Postcodes. A malformed one is stored, with a warning.

use super::{text::quote, value::Address};

/// The warning for a malformed postcode: not in the form of GB or IE, or for an unknown
/// country in neither form. Ignores spaces and letter case. Other countries are not checked.
pub fn postcode_warning(address: &Address) -> Option<String> {
    let code: String = address.postcode.chars().filter(|c| !c.is_whitespace()).collect();
    let code = code.to_ascii_uppercase();
    let fits = match address.country.as_str() {
        _ if code.is_empty() => true,
        "GB" => is_british(&code),
        "IE" => is_eircode(&code),
        "" => is_british(&code) || is_eircode(&code),
        _ => true,
    };
    (!fits).then(|| format!("Postcode does not look like one: {}", quote(&address.postcode)))
}

/// `A9`, `A99`, `AA9`, `AA99`, `A9A` or `AA9A`, then a digit and two letters;
/// and `GIR 0AA`, the one exception.
fn is_british(code: &str) -> bool {
    if code == "GIR0AA" {
        return true;
    }
    let Some((outward, [sector, unit @ ..])) = code.as_bytes().split_last_chunk::<3>() else {
        return false;
    };
    let area = outward.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    let district = outward.get(area..).unwrap_or_default();
    let district_fits = match district {
        [digit] => digit.is_ascii_digit(),
        [digit, last] => digit.is_ascii_digit() && last.is_ascii_alphanumeric(),
        _ => false,
    };
    matches!(area, 1 | 2)
        && district_fits
        && sector.is_ascii_digit()
        && unit.iter().all(|byte| byte.is_ascii_uppercase() && !b"CIKMOV".contains(byte))
}

/// A routing key, such as `A65` or `D6W`, and four letters or digits.
fn is_eircode(code: &str) -> bool {
    let [letter, digit, last, unique @ ..] = code.as_bytes() else {
        return false;
    };
    let key_fits = letter.is_ascii_uppercase()
        && digit.is_ascii_digit()
        && (last.is_ascii_digit() || code.starts_with("D6W"));
    key_fits && unique.len() == 4 && unique.iter().all(u8::is_ascii_alphanumeric)
}

#[cfg(test)]
mod tests;
