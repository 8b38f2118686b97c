//! The generated clients: companies with three words in the name. One word is unique, one is
//! shared by a thousand clients, and one by all.

use concord_proto::{pb::imports::ImportClient, wire::ApplyRecord};

use crate::chunks;

/// A word in every name. It is longer than the rare words, so that a query with it and a
/// unique word begins with the less selective one.
pub(super) const COMMON_WORD: &str = "consultancy";

/// Number of clients that share a word.
const GROUP: usize = 1_000;

const CONSONANTS: &str = "bdgklmnr";
const VOWELS: &str = "aeiou";
/// Number of consonants times vowels.
const SYLLABLES: usize = 40;
/// Number of words of four syllables.
const WORDS: usize = SYLLABLES.pow(4);
/// A multiplier without a common factor with [`WORDS`]. It permutes the numbers, and moves
/// neighbours far apart, as the names of consecutive clients are.
const SCATTER: usize = 1_000_003;

/// The unique word of a client.
pub(super) fn own(number: usize) -> String {
    word(scattered(number), 4)
}

/// The word that a client shares with a thousand others, in a practice of `clients` clients.
/// Clients that are added later share other words.
pub(super) fn shared(number: usize, clients: usize) -> String {
    let groups = (clients / GROUP).max(1);
    let group =
        if number < clients { number % groups } else { groups + (number - clients) / GROUP };
    // The suffix excludes a common prefix with a unique word.
    format!("{}stead", word(group, 3))
}

/// The name of a client.
pub(super) fn name(number: usize, clients: usize) -> String {
    format!("{} {} {COMMON_WORD} Limited", own(number), shared(number, clients))
}

/// The client as a record of an import.
pub(super) fn record(number: usize, clients: usize) -> ApplyRecord {
    chunks::record(ImportClient {
        source_id: format!("C{number}"),
        client_reference: format!("R{:07}", scattered(number)),
        client_type: "PRIVATE_LIMITED_COMPANY".to_owned(),
        registered_name: name(number, clients),
        company_number: format!("{:08}", 1 + scattered(number)),
        email: "office@harbour.example".to_owned(),
        phone: "020 7946 0018".to_owned(),
        ..ImportClient::default()
    })
}

const fn scattered(number: usize) -> usize {
    number * SCATTER % WORDS
}

fn word(mut number: usize, syllables: usize) -> String {
    let mut word = String::new();
    for _ in 0..syllables {
        let (consonant, vowel) = (number / VOWELS.len() % CONSONANTS.len(), number % VOWELS.len());
        word.extend(CONSONANTS.chars().nth(consonant));
        word.extend(VOWELS.chars().nth(vowel));
        number /= SYLLABLES;
    }
    word
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    #[test]
    fn own_words_are_unique() {
        assert_eq!(SYLLABLES, CONSONANTS.len() * VOWELS.len());
        let words: HashSet<String> = (0..100_000).map(own).collect();
        assert_eq!(words.len(), 100_000);
        assert!(words.iter().all(|word| word.len() == 8));
    }

    #[test]
    fn shared_word_has_a_thousand_clients() {
        let mut sharing = HashMap::<String, usize>::new();
        for number in 0..12_000 {
            *sharing.entry(shared(number, 10_000)).or_default() += 1;
        }
        assert_eq!(sharing.len(), 12);
        assert!(sharing.values().all(|count| *count == 1_000));
    }
}
