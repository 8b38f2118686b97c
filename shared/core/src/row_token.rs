//! The token of a row of a failures file. It identifies the record and its import, even if
//! a spreadsheet changes the other cells.
//!
//! A token has fourteen consonants. A spreadsheet converts text with digits to numbers,
//! dates, times, exponents and cell references, and words to months and booleans; no token
//! can be one of these. Letter case and surrounding blanks are ignored. The last letter is
//! a check letter: it detects one changed letter and two exchanged letters.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// The alphabet. Its size is a prime number; see [`check_letter`].
const LETTERS: &[u8; 19] = b"BCDFGHJKLMNPQRSTVWX";
const BASE: u64 = 19;

/// Number of letters that identify the import.
const TAG: usize = 4;

/// Number of letters of the position in the import.
const POSITION: usize = 9;

/// Bits of the row in the position. A batch has at most 50,000 records.
const ROW_BITS: u32 = 16;

/// A position in an import: the batch and the row in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowPosition {
    /// The number of the batch in the import, from 1.
    pub batch: i64,
    /// The number of the record in the batch, from 1.
    pub row: i64,
}

/// A well-formed token.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowToken(String);

impl RowToken {
    /// The token of a record of an import, `imp_…`.
    pub fn of(import: &str, position: RowPosition) -> Self {
        let mut values = digits::<TAG>(tag(import, position)).to_vec();
        let batch = u64::try_from(position.batch).unwrap_or_default();
        let row = u64::try_from(position.row).unwrap_or_default() & ((1 << ROW_BITS) - 1);
        values.extend(digits::<POSITION>(batch << ROW_BITS | row));
        values.push(check_letter(&values));
        Self(values.into_iter().filter_map(letter).collect())
    }

    /// Parses a token; `None` if it is malformed or its check letter does not match.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_uppercase();
        let values: Option<Vec<u64>> = text.bytes().map(value).collect();
        let values = values.filter(|values| values.len() == TAG + POSITION + 1)?;
        let (check, others) = values.split_last()?;
        (*check == check_letter(others)).then_some(Self(text))
    }

    /// The position of the record; `None` if the token is of another import.
    pub fn position_in(&self, import: &str) -> Option<RowPosition> {
        let letters = self.0.bytes().skip(TAG).take(POSITION);
        let number = letters.filter_map(value).fold(0, |number, value| number * BASE + value);
        let batch = i64::try_from(number >> ROW_BITS).ok()?;
        let row = i64::try_from(number & ((1 << ROW_BITS) - 1)).ok()?;
        let position = RowPosition { batch, row };
        (Self::of(import, position) == *self).then_some(position)
    }

    /// The text of the token.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RowToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A digest of the import and the position.
fn tag(import: &str, RowPosition { batch, row }: RowPosition) -> u64 {
    let digest: [u8; 32] = Sha256::digest(format!("{import} {batch} {row}")).into();
    digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The last `N` digits of a number in base 19.
fn digits<const N: usize>(mut number: u64) -> [u64; N] {
    let mut digits = [0; N];
    for digit in digits.iter_mut().rev() {
        *digit = number % BASE;
        number /= BASE;
    }
    digits
}

/// The letter that makes the weighted sum of all letters a multiple of the base. The weight
/// of a letter is its position. The base is a prime number greater than every weight, so
/// one changed letter and two exchanged letters change the sum.
fn check_letter(values: &[u64]) -> u64 {
    let sum = (1..).zip(values).map(|(weight, value)| weight * value).sum::<u64>() % BASE;
    let weight = values.len() as u64 + 1;
    (0..BASE).find(|check| (sum + weight * check).is_multiple_of(BASE)).unwrap_or_default()
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

    fn position() -> impl Strategy<Value = RowPosition> {
        (1..4_000_000_i64, 1..=50_000_i64).prop_map(|(batch, row)| RowPosition { batch, row })
    }

    #[test]
    fn tokens_of_an_import_are_unique() {
        let positions =
            (1..=40).flat_map(|batch| (1..=2_000).map(move |row| RowPosition { batch, row }));
        let tokens: HashSet<_> =
            positions.map(|position| RowToken::of("imp_1", position)).collect();
        assert_eq!(tokens.len(), 80_000);
    }

    proptest! {
        #[test]
        fn token_parses_in_any_letter_case_and_with_blanks(position in position()) {
            let token = RowToken::of("imp_1", position);
            prop_assert_eq!(token.as_str().len(), TAG + POSITION + 1);
            let typed = format!(" {}\t", token.as_str().to_lowercase());
            let read = RowToken::parse(&typed);
            prop_assert_eq!(read.as_ref(), Some(&token));
            prop_assert_eq!(token.position_in("imp_1"), Some(position));
        }

        #[test]
        fn token_has_consonants_only(position in position()) {
            let token = RowToken::of("imp_1", position);
            prop_assert!(token.as_str().bytes().all(|byte| byte.is_ascii_uppercase()));
            prop_assert!(!token.as_str().contains(['A', 'E', 'I', 'O', 'U', 'Y']));
        }

        #[test]
        fn changed_or_exchanged_letters_are_detected(position in position()) {
            let token = RowToken::of("imp_1", position);
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
        fn token_of_another_import_is_rejected(position in position()) {
            // One of 130,321 matches by chance.
            let imports = (0..4).map(|import| format!("imp_{import}"));
            let token = RowToken::of("imp_1", position);
            prop_assert!(imports.filter(|import| token.position_in(import).is_some()).count() <= 2);
        }

        #[test]
        fn any_text_parses_without_a_panic(text in any::<String>()) {
            if let Some(token) = RowToken::parse(&text) {
                token.position_in("imp_1");
            }
        }
    }
}
