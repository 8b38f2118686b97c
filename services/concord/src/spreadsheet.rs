//! What a spreadsheet makes of a cell that it takes for a number or a date. A
//! person who corrects a record in it has not asked for that.

use chrono::NaiveDate;

/// A spreadsheet keeps so many digits of a number.
const DIGITS: usize = 15;

/// How a spreadsheet writes a day, or reads one that was typed.
const DATES: [&str; 14] = [
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%-d-%-m-%Y",
    "%-m-%-d-%Y",
    "%d-%m-%y",
    "%m-%d-%y",
    "%-d-%-m-%y",
    "%-m-%-d-%y",
    "%Y-%-m-%-d",
    "%d-%b-%y",
    "%-d-%b-%y",
    "%d-%b-%Y",
    "%-d-%b-%Y",
    "%d-%B-%Y",
];

/// What became of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rewriting {
    /// It was taken for a number: its leading zeros are gone, or its last digits.
    Number,
    /// It was taken for a date, and is written another way.
    Date,
}

/// What a spreadsheet has done to a cell, when it has.
pub(crate) fn rewriting(was: &str, is: &str) -> Option<Rewriting> {
    let (was, is) = (was.trim(), is.trim());
    if was == is {
        None
    } else if is_number_of(was, is) {
        Some(Rewriting::Number)
    } else if is_date_of(was, is) {
        Some(Rewriting::Date)
    } else {
        None
    }
}

/// Digits without leading zeros; none when there is anything else, or nothing.
pub(crate) fn digits(text: &str) -> Option<&str> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let digits = is_number.then(|| text.trim_start_matches('0'))?;
    Some(if digits.is_empty() { "0" } else { digits })
}

/// Whether the text is a number such as `1.23457E+11`.
pub(crate) fn is_scientific(text: &str) -> bool {
    scientific(text).is_some()
}

/// `007` as `7`, `123456789012` as `1.23457E+11`, `1234567890123456` as
/// `1234567890123450`.
fn is_number_of(was: &str, is: &str) -> bool {
    let Some(digits) = digits(was) else { return false };
    if is == digits {
        return true;
    }
    if let Some((mantissa, exponent)) = scientific(is) {
        let decimals = mantissa.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        let written = digits.parse::<f64>().map(|number| format!("{number:.decimals$e}"));
        return written.is_ok_and(|written| written == format!("{mantissa}e{exponent}"));
    }
    let (kept, lost) = (digits.get(..DIGITS), digits.get(DIGITS..));
    let begins = kept.zip(lost).filter(|(kept, _)| is.starts_with(kept));
    let zeros = begins.map(|(kept, lost)| (is.get(kept.len()..), "0".repeat(lost.len())));
    zeros.is_some_and(|(tail, zeros)| tail == Some(&*zeros))
}

/// The two parts of `1.23457E+11`.
fn scientific(text: &str) -> Option<(&str, u32)> {
    let (mantissa, exponent) = text.split_once(['E', 'e'])?;
    let exponent = exponent.strip_prefix('+')?.parse().ok()?;
    let is_digit = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    let is_number = !mantissa.is_empty() && mantissa.bytes().all(is_digit);
    is_number.then_some((mantissa, exponent))
}

/// `2021-03-01` as `01/03/2021`, `3/1/21`, `1-Mar-21` and the like.
fn is_date_of(was: &str, is: &str) -> bool {
    let Ok(day) = was.parse::<NaiveDate>() else { return false };
    // A time of midnight comes with some of them.
    let is = is.strip_suffix(" 00:00:00").or_else(|| is.strip_suffix(" 00:00")).unwrap_or(is);
    let is = is.replace(['/', '.', ' '], "-");
    DATES.iter().any(|form| day.format(form).to_string().eq_ignore_ascii_case(&is))
        || day.to_string() == is
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_loses_its_zeros_or_its_last_digits() {
        for (was, is) in [
            ("0123456789", "123456789"),
            ("007", "7"),
            ("000", "0"),
            (" 07687209", "7687209 "),
            ("123457000000", "1.23457E+11"),
            ("1234567890123", "1.23457E+12"),
            ("100000000000", "1E+11"),
            ("1234567890123456", "1234567890123450"),
            ("1234567890123456", "1.23456789012346e+15"),
        ] {
            assert_eq!(rewriting(was, is), Some(Rewriting::Number), "{was} {is}");
        }
    }

    #[test]
    fn a_date_is_written_another_way() {
        for is in [
            "01/03/2021",
            "03/01/2021",
            "1/3/2021",
            "3/1/21",
            "01.03.2021",
            "1-Mar-21",
            "01 Mar 2021",
            "01-mar-2021",
            "01 March 2021",
            "2021/03/01",
            "2021-03-01 00:00:00",
        ] {
            assert_eq!(rewriting("2021-03-01", is), Some(Rewriting::Date), "{is}");
        }
    }

    #[test]
    fn what_a_person_has_changed_is_a_change() {
        for (was, is) in [
            ("0123456789", "123456788"),
            ("0123456789", "0123456789"),
            ("7", "007"),
            ("007", ""),
            ("A07", "A7"),
            ("123457000000", "1.23458E+11"),
            ("1234567890123456", "1234567890123460"),
            ("1234567890123456", "12345678901234500"),
            ("", "7"),
            ("2021-03-01", "2021-03-02"),
            ("2021-03-01", "02/03/2021"),
            ("1 March", "01/03/2021"),
            ("É", "E+1"),
        ] {
            assert_eq!(rewriting(was, is), None, "{was} {is}");
        }
    }
}
