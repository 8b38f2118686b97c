//! What a record is found by: lines of words, each with a rank.

use shared::{
    pb::records::RecordKind,
    rules::text::{fold, match_key},
};
use uuid::Uuid;

/// Why a line is found; the smaller comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// The client reference, or an identifier, whole.
    Reference,
    /// A name of today.
    CurrentName,
    /// A name of the past, or of the future.
    OtherName,
}

impl Rank {
    pub(crate) fn number(self) -> i64 {
        match self {
            Self::Reference => 1,
            Self::CurrentName => 2,
            Self::OtherName => 3,
        }
    }

    pub(crate) fn of_number(number: i64) -> Self {
        match number {
            1 => Self::Reference,
            2 => Self::CurrentName,
            _ => Self::OtherName,
        }
    }
}

/// Words that a record is found by, together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) rank: Rank,
    /// Folded, each once.
    pub(crate) words: Vec<String>,
}

/// Everything that one record is found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Findable {
    pub(crate) kind: RecordKind,
    pub(crate) id: Uuid,
    /// The name of today, folded: results of one rank come in its order.
    pub(crate) sort_name: String,
    pub(crate) lines: Vec<Line>,
}

/// Letters and digits that a query must have.
pub(crate) const MIN_QUERY: usize = 3;

/// Words of a query, or of a line, at most; further ones are not looked at.
const MAX_WORDS: usize = 20;

/// Marks a word that is a reference or an identifier: it is found whole, and a
/// prefix of a name never finds it.
const WHOLE: char = '=';

/// The words of a text, folded, each once.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> =
        fold(text).split(' ').filter(|word| !word.is_empty()).map(ToOwned::to_owned).collect();
    words.sort();
    words.dedup();
    words.truncate(MAX_WORDS);
    words
}

/// A reference or an identifier as the one word that it is found by: letters and
/// digits alone, so that `GB 123 4567 82` and `gb123456782` are the same.
pub(crate) fn whole(text: &str) -> Option<String> {
    let letters: String = match_key(text).chars().filter(|c| c.is_alphanumeric()).collect();
    (!letters.is_empty()).then(|| format!("{WHOLE}{letters}"))
}

impl Findable {
    /// A record without anything to find it by yet; `name` is that of today.
    pub(crate) fn new(kind: RecordKind, id: Uuid, name: &str) -> Self {
        Self { kind, id, sort_name: fold(name), lines: Vec::new() }
    }

    /// Adds a name.
    pub(crate) fn name(&mut self, name: &str, is_current: bool) {
        let rank = if is_current { Rank::CurrentName } else { Rank::OtherName };
        let line = Line { rank, words: words(name) };
        if !line.words.is_empty() && !self.lines.contains(&line) {
            self.lines.push(line);
        }
    }

    /// Adds a reference or an identifier.
    pub(crate) fn reference(&mut self, text: &str) {
        if let Some(word) = whole(text) {
            self.lines.push(Line { rank: Rank::Reference, words: vec![word] });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accents_case_and_apostrophes_do_not_matter() {
        assert_eq!(words("Ó Briain & Müller"), ["briain", "muller", "o"]);
        assert_eq!(words("O'BRIEN"), words("o’brien"));
    }

    #[test]
    fn a_reference_is_one_word_apart_from_names() {
        assert_eq!(whole("GB 123/45").as_deref(), Some("=gb12345"));
        assert_eq!(whole("acme-01"), whole("ACME 01"));
        assert!(!words("=acme01").contains(&"=acme01".to_owned()));
    }
}
