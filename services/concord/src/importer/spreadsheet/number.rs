//! Detects cells that a spreadsheet converted to a number.

use std::cmp::Ordering;

/// The maximum number of significant digits in a spreadsheet.
const MAX_DIGITS: usize = 15;

/// The minimum number of displayed digits of a number with decimals.
const MIN_SHOWN_DIGITS: usize = 9;

/// The maximum number of digits before the decimal point.
const MAX_EXPONENT: i64 = 308;

const CURRENCIES: [char; 4] = ['£', '€', '$', '¥'];

/// Whether a spreadsheet interprets the text as a number.
pub(super) fn is_number(text: &str) -> bool {
    !Decimal::typed(text).is_empty()
}

/// Whether `is` is a converted form of `was`.
///
/// `007` as `7`, `1.10` as `1.1`, `+441` as `441`, `5E2` as `500` or `5.00E+02`,
/// `123456789012` as `1.23457E+11`, `1234567890123456` as `1234567890123450`, `5-` as
/// `-5`, `1/2` as `0.5`.
pub(super) fn is_converted(was: &str, is: &str) -> bool {
    let shown = Decimal::shown(is);
    let typed = Decimal::typed(was);
    let stored = typed.iter().filter_map(Decimal::as_stored);
    let mut values = typed.iter().cloned().chain(stored);
    values.any(|was| shown.iter().any(|is| is.is_display_of(&was)))
        || fraction(was).is_some_and(|(above, below)| is_quotient(above, below, is))
}

/// Whether both are exactly the same number.
pub(super) fn is_equal(was: &str, is: &str) -> bool {
    let is = Decimal::typed(is);
    Decimal::typed(was).iter().any(|was| is.iter().any(|is| is.is_equal(was)))
}

/// Whether a cell in number format displays this quotient: exactly, or rounded to at least two
/// decimals.
pub(super) fn is_quotient(above: u32, below: u32, is: &str) -> bool {
    let value = f64::from(above) / f64::from(below);
    Decimal::shown(is).iter().any(|is| is.is_close_to(value))
}

/// Parses a fraction, `1/2` or `1 1/2`; none for a whole number.
fn fraction(text: &str) -> Option<(u32, u32)> {
    let number = |text: &str| {
        let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
        ((1..=4).contains(&text.len()) && is_digits).then(|| text.parse::<u32>().ok()).flatten()
    };
    let (whole, parts) = text.split_once(' ').unwrap_or(("0", text));
    let (above, below) = parts.split_once('/')?;
    let (whole, above, below) = (number(whole)?, number(above.trim())?, number(below.trim())?);
    let is_part = above.checked_rem(below)? != 0;
    is_part.then_some((whole * below + above, below))
}

/// An exact decimal number.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    /// The digits without leading and trailing zeros; empty for 0.
    digits: Vec<u8>,
    /// The position of the decimal point, in digits from the first digit.
    point: i64,
    /// The number of written digits without leading zeros.
    written: usize,
    has_exponent: bool,
}

impl Decimal {
    /// The numbers that a spreadsheet may read from the text, with a decimal point or a decimal
    /// comma.
    fn typed(text: &str) -> Vec<Self> {
        let read = |(point, group)| Self::read(text, point, group);
        [('.', ','), (',', '.')].into_iter().filter_map(read).collect()
    }

    /// The numbers that a spreadsheet may display as the text.
    fn shown(text: &str) -> Vec<Self> {
        let digits = text.trim_start_matches(['-', '(']).trim_start_matches(CURRENCIES);
        let begins_as_shown = match digits.strip_prefix('0') {
            Some(rest) => !rest.starts_with(|c: char| c.is_ascii_digit()),
            None => digits.starts_with(|c: char| c.is_ascii_digit()),
        };
        let ends_as_shown = !text.ends_with('-');
        if begins_as_shown && ends_as_shown { Self::typed(text) } else { Vec::new() }
    }

    fn read(text: &str, point: char, group: char) -> Option<Self> {
        let (text, bracketed) = match text.strip_prefix('(').and_then(|text| text.strip_suffix(')'))
        {
            Some(inner) => (inner, true),
            None => (text, false),
        };
        let text = text.trim_start_matches(CURRENCIES);
        let (text, signed) = match text.strip_prefix('-') {
            Some(rest) => (rest, true),
            None => match (text.strip_prefix('+'), text.strip_suffix('-')) {
                (Some(rest), _) => (rest, false),
                (None, Some(rest)) => (rest, true),
                (None, None) => (text, false),
            },
        };
        let text = text.trim_start_matches(CURRENCIES).trim_end_matches(CURRENCIES).trim();
        let (text, percent) = match text.strip_suffix('%') {
            Some(rest) => (rest.trim_end(), 2),
            None => (text, 0),
        };
        let (mantissa, exponent) = match text.split_once(['E', 'e']) {
            Some((mantissa, exponent)) => {
                (mantissa, Some(i64::from(exponent.parse::<i32>().ok()?)))
            }
            None => (text, None),
        };
        let (whole, decimals) = mantissa.split_once(point).unwrap_or((mantissa, ""));
        let whole = ungrouped(whole, group)?;
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_digits(&whole) || !is_digits(decimals) || whole.len() + decimals.len() == 0 {
            return None;
        }
        let all: Vec<u8> = whole.bytes().chain(decimals.bytes()).collect();
        let zeros = all.iter().take_while(|digit| **digit == b'0').count();
        let written = all.len() - zeros;
        let mut digits: Vec<u8> = all.into_iter().skip(zeros).collect();
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        let point = i64::try_from(whole.len()).ok()? - i64::try_from(zeros).ok()?
            + exponent.unwrap_or_default().checked_sub(percent)?;
        let point = if digits.is_empty() { 0 } else { point };
        let number = Self {
            negative: (bracketed || signed) && !digits.is_empty(),
            digits,
            point,
            written,
            has_exponent: exponent.is_some(),
        };
        (number.point.abs() <= MAX_EXPONENT).then_some(number)
    }

    /// The double that a spreadsheet stores, when its significant digits may differ:
    /// 36029000000000549 is stored as 36029000000000552.
    fn as_stored(&self) -> Option<Self> {
        if self.digits.len() <= MAX_DIGITS {
            return None;
        }
        let digits = std::str::from_utf8(&self.digits).ok()?;
        let value: f64 = format!("0.{digits}E{}", self.point).parse().ok()?;
        let stored = Self::read(&format!("{value:.24e}"), '.', ',')?;
        Some(Self { negative: self.negative, has_exponent: false, ..stored })
    }

    fn is_equal(&self, other: &Self) -> bool {
        (self.negative, &self.digits, self.point) == (other.negative, &other.digits, other.point)
    }

    fn has_decimals(&self) -> bool {
        i64::try_from(self.digits.len()).is_ok_and(|digits| digits > self.point)
    }

    /// Whether a spreadsheet displays `was` as this number.
    fn is_display_of(&self, was: &Self) -> bool {
        if self.is_equal(was) {
            return true;
        }
        let digits = if self.has_exponent {
            self.written.max(1)..=self.written.max(1)
        } else if was.has_decimals() {
            MIN_SHOWN_DIGITS..=MAX_DIGITS
        } else {
            MAX_DIGITS..=MAX_DIGITS
        };
        let mut lengths = digits.filter(|digits| *digits < was.digits.len());
        lengths.any(|digits| {
            self.is_equal(&was.rounded(digits)) || self.is_equal(&was.truncated(digits))
        })
    }

    /// Whether it equals the value, either exactly, or rounded to its written decimals, at least
    /// two.
    fn is_close_to(&self, value: f64) -> bool {
        let power = |places: i64| i32::try_from(places).map_or(0.0, |places| 10_f64.powi(places));
        let mut number = 0.0;
        for (index, digit) in (1..).zip(&self.digits) {
            number += f64::from(digit.saturating_sub(b'0')) * power(self.point - index);
        }
        let written =
            i64::try_from(self.written).map_or(self.point, |written| self.point - written);
        let close = if written <= -2 { power(written) / 2.0 } else { 0.0 };
        !self.negative && (number - value).abs() <= close + value * 1e-12
    }

    /// Truncates to this number of digits.
    fn truncated(&self, digits: usize) -> Self {
        let mut truncated = self.clone();
        truncated.digits.truncate(digits);
        while truncated.digits.last() == Some(&b'0') {
            truncated.digits.pop();
        }
        truncated
    }

    /// Rounds to this number of digits.
    fn rounded(&self, digits: usize) -> Self {
        let up = self.digits.get(digits).is_some_and(|next| next.cmp(&b'5') != Ordering::Less);
        let mut kept: Vec<u8> = self.digits.iter().copied().take(digits).collect();
        let mut point = self.point;
        if up {
            while kept.last() == Some(&b'9') {
                kept.pop();
            }
            if let Some(last) = kept.last_mut() {
                *last += 1;
            } else {
                kept.push(b'1');
                point += 1;
            }
        }
        Self { digits: kept, point, ..self.clone() }.truncated(digits)
    }
}

/// Removes the separators between groups of three digits.
fn ungrouped(whole: &str, group: char) -> Option<String> {
    let mut groups = whole.split(group);
    let first = groups.next()?;
    let others: Vec<&str> = groups.collect();
    let is_grouped = others.is_empty() || (1..=3).contains(&first.len());
    let whole = others.iter().all(|group| group.len() == 3) && is_grouped;
    whole.then(|| [&[first], others.as_slice()].concat().concat())
}
