//! The token of a row of a failures file: says which record of which import a row
//! is of, whatever a spreadsheet does to the other cells.
//!
//! It has fourteen letters and nothing else. A spreadsheet takes text with digits for
//! numbers, dates, times, exponents and cells, and words for months and booleans; the
//! letters are consonants, so that no word of that kind can be made of them. Letter
//! case and blanks around the token do not matter. The last letter is a check letter:
//! no token with one letter changed, or with two letters exchanged, is a token.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// As many as a prime number: see [`check_letter`].
const LETTERS: &[u8; 19] = b"BCDFGHJKLMNPQRSTVWX";
const BASE: u64 = 19;

/// Letters that distinguish imports.
const TAG: usize = 4;

/// Letters of the place in the import.
const PLACE: usize = 9;

/// Bits of the row in the place: a batch has 50,000 records at most.
const ROW_BITS: u32 = 16;

/// A place in an import: the batch, and the row in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowPlace {
    /// The place of the batch in the import, from 1.
    pub batch: i64,
    /// The place of the record in the batch, from 1.
    pub row: i64,
}

/// A token that is well-formed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowToken(String);

impl RowToken {
    /// The token of a record of an import, `imp_…`.
    pub fn of(import: &str, place: RowPlace) -> Self {
        let mut values = digits::<TAG>(tag(import, place)).to_vec();
        let batch = u64::try_from(place.batch).unwrap_or_default();
        let row = u64::try_from(place.row).unwrap_or_default() & ((1 << ROW_BITS) - 1);
        values.extend(digits::<PLACE>(batch << ROW_BITS | row));
        values.push(check_letter(&values));
        Self(values.into_iter().filter_map(letter).collect())
    }

    /// Reads a token; none when it is not one, or one of its letters was changed.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_uppercase();
        let values: Option<Vec<u64>> = text.bytes().map(value).collect();
        let values = values.filter(|values| values.len() == TAG + PLACE + 1)?;
        let (check, others) = values.split_last()?;
        (*check == check_letter(others)).then_some(Self(text))
    }

    /// The place of the record; none when the token is that of another import.
    pub fn place_in(&self, import: &str) -> Option<RowPlace> {
        let letters = self.0.bytes().skip(TAG).take(PLACE);
        let number = letters.filter_map(value).fold(0, |number, value| number * BASE + value);
        let batch = i64::try_from(number >> ROW_BITS).ok()?;
        let row = i64::try_from(number & ((1 << ROW_BITS) - 1)).ok()?;
        let place = RowPlace { batch, row };
        (Self::of(import, place) == *self).then_some(place)
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RowToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What differs between imports.
fn tag(import: &str, RowPlace { batch, row }: RowPlace) -> u64 {
    let digest: [u8; 32] = Sha256::digest(format!("{import} {batch} {row}")).into();
    digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The last digits of a number.
fn digits<const N: usize>(mut number: u64) -> [u64; N] {
    let mut digits = [0; N];
    for digit in digits.iter_mut().rev() {
        *digit = number % BASE;
        number /= BASE;
    }
    digits
}

/// The letter with which the sum of all letters, each times its place, is a multiple
/// of the base. The base is a prime number, and greater than every place: so a letter
/// that changes, and two letters that change places, change the sum.
fn check_letter(values: &[u64]) -> u64 {
    let sum = (1..).zip(values).map(|(place, value)| place * value).sum::<u64>() % BASE;
    let place = values.len() as u64 + 1;
    (0..BASE).find(|check| (sum + place * check).is_multiple_of(BASE)).unwrap_or_default()
}

fn letter(value: u64) -> Option<char> {
    LETTERS.get(usize::try_from(value).ok()?).copied().map(char::from)
}

fn value(letter: u8) -> Option<u64> {
    LETTERS.iter().position(|known| *known == letter).map(|value| value as u64)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn place() -> impl Strategy<Value = RowPlace> {
        (1..4_000_000_i64, 1..=50_000_i64).prop_map(|(batch, row)| RowPlace { batch, row })
    }

    #[test]
    fn tokens_of_an_import_are_unique() {
        let places = (1..=40).flat_map(|batch| (1..=2_000).map(move |row| RowPlace { batch, row }));
        let tokens: HashSet<_> = places.map(|place| RowToken::of("imp_1", place)).collect();
        assert_eq!(tokens.len(), 80_000);
    }

    proptest! {
        #[test]
        fn a_token_is_read_back_in_any_letter_case_and_between_blanks(place in place()) {
            let token = RowToken::of("imp_1", place);
            prop_assert_eq!(token.as_str().len(), TAG + PLACE + 1);
            let typed = format!(" {}\t", token.as_str().to_lowercase());
            let read = RowToken::parse(&typed);
            prop_assert_eq!(read.as_ref(), Some(&token));
            prop_assert_eq!(token.place_in("imp_1"), Some(place));
        }

        #[test]
        fn a_token_is_letters_that_no_spreadsheet_makes_anything_of(place in place()) {
            let token = RowToken::of("imp_1", place);
            prop_assert!(token.as_str().bytes().all(|byte| byte.is_ascii_uppercase()));
            prop_assert!(!token.as_str().contains(['A', 'E', 'I', 'O', 'U', 'Y']));
        }

        #[test]
        fn no_changed_letter_and_no_exchange_makes_another_token(place in place()) {
            let token = RowToken::of("imp_1", place);
            let bytes = token.as_str().as_bytes();
            for at in 0..bytes.len() {
                for byte in 0x20..0x7f {
                    let mut changed = bytes.to_vec();
                    changed[at] = byte;
                    let changed = String::from_utf8(changed).unwrap();
                    if !changed.eq_ignore_ascii_case(token.as_str()) {
                        prop_assert_eq!(RowToken::parse(&changed), None);
                    }
                }
                for other in 0..at {
                    let mut changed = bytes.to_vec();
                    changed.swap(at, other);
                    if bytes[at] != bytes[other] {
                        prop_assert_eq!(RowToken::parse(std::str::from_utf8(&changed).unwrap()), None);
                    }
                }
            }
            prop_assert_eq!(RowToken::parse(&token.as_str()[1..]), None);
            prop_assert_eq!(RowToken::parse(""), None);
        }

        #[test]
        fn a_token_is_of_one_import(place in place()) {
            // One of 130,321 is by chance.
            let imports = (0..4).map(|import| format!("imp_{import}"));
            let token = RowToken::of("imp_1", place);
            prop_assert!(imports.filter(|import| token.place_in(import).is_some()).count() <= 2);
        }

        #[test]
        fn any_text_can_be_read(text in any::<String>()) {
            if let Some(token) = RowToken::parse(&text) {
                token.place_in("imp_1");
            }
        }
    }
}
