//! The search document of a record: lines of words, each with a rank.

use concord_core::rules::text::{fold, match_key};
use concord_proto::pb::records::RecordKind;
use uuid::Uuid;

/// The rank of a match; the smaller comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// The client reference or an identifier, matched exactly.
    Reference,
    /// A current name.
    CurrentName,
    /// A past or a scheduled name.
    FormerName,
}

impl Rank {
    pub(crate) fn number(self) -> i64 {
        match self {
            Self::Reference => 1,
            Self::CurrentName => 2,
            Self::FormerName => 3,
        }
    }

    pub(crate) fn of_number(number: i64) -> Self {
        match number {
            1 => Self::Reference,
            2 => Self::CurrentName,
            _ => Self::FormerName,
        }
    }
}

/// A line of the search document: words that a query can match together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) rank: Rank,
    /// Folded to lower case without accents, each once.
    pub(crate) words: Vec<String>,
}

/// The search document of one record: all its searchable names and identifiers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SearchDocument {
    pub(crate) kind: RecordKind,
    pub(crate) id: Uuid,
    /// The current name, folded. Results of the same rank are sorted by it.
    pub(crate) sort_name: String,
    pub(crate) lines: Vec<Line>,
}

/// Minimum number of letters and digits of a query.
pub(crate) const MIN_QUERY: usize = 3;

/// Maximum number of words of a query or a line; further words are ignored.
const MAX_WORDS: usize = 20;

/// Marks an exact term: a reference or an identifier that matches as a whole. A prefix of
/// a name never matches it.
const EXACT_MARK: char = '=';

/// The words of a text, folded, each once.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> =
        fold(text).split(' ').filter(|word| !word.is_empty()).map(ToOwned::to_owned).collect();
    words.sort();
    words.dedup();
    words.truncate(MAX_WORDS);
    words
}

/// The exact term of a reference or an identifier: its letters and digits alone, so that
/// `GB 123 4567 82` and `gb123456782` are equal.
pub(crate) fn exact_term(text: &str) -> Option<String> {
    let letters: String = match_key(text).chars().filter(|c| c.is_alphanumeric()).collect();
    (!letters.is_empty()).then(|| format!("{EXACT_MARK}{letters}"))
}

impl SearchDocument {
    /// A document without lines; `name` is the current name.
    pub(crate) fn new(kind: RecordKind, id: Uuid, name: &str) -> Self {
        Self { kind, id, sort_name: fold(name), lines: Vec::new() }
    }

    /// Adds a name.
    pub(crate) fn name(&mut self, name: &str, is_current: bool) {
        let rank = if is_current { Rank::CurrentName } else { Rank::FormerName };
        let line = Line { rank, words: words(name) };
        if !line.words.is_empty() && !self.lines.contains(&line) {
            self.lines.push(line);
        }
    }

    /// Adds a reference or an identifier.
    pub(crate) fn reference(&mut self, text: &str) {
        if let Some(word) = exact_term(text) {
            self.lines.push(Line { rank: Rank::Reference, words: vec![word] });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_ignore_accents_case_and_apostrophes() {
        assert_eq!(words("Ó Briain & Müller"), ["briain", "muller", "o"]);
        assert_eq!(words("O'BRIEN"), words("o’brien"));
    }

    #[test]
    fn exact_term_of_reference_is_no_word_of_a_name() {
        assert_eq!(exact_term("GB 123/45").as_deref(), Some("=gb12345"));
        assert_eq!(exact_term("acme-01"), exact_term("ACME 01"));
        assert!(!words("=acme01").contains(&"=acme01".to_owned()));
    }
}
