//! The clients that a practice is filled with: companies, each with a word of its
//! own in its name, one that it shares with a thousand, and one that all have.

use shared::{pb::imports::ImportClient, wire::ApplyRecord};

use crate::chunks;

/// In every name, and longer than the words that few have: whoever looks a client
/// up by this and its own word gives the less telling one first.
pub(super) const EVERYBODYS: &str = "consultancy";

/// How many clients share a word.
const GROUP: usize = 1_000;

const CONSONANTS: &str = "bdgklmnr";
const VOWELS: &str = "aeiou";
/// Consonants by vowels.
const SYLLABLES: usize = 40;
/// Words of four syllables.
const WORDS: usize = SYLLABLES.pow(4);
/// Shares no factor with [`WORDS`]: multiplied by it, each number becomes another
/// one, and neighbours come to lie far apart, as names do in the order in which
/// clients come.
const SCATTER: usize = 1_000_003;

/// The word that is in the name of this client alone.
pub(super) fn own(number: usize) -> String {
    word(scattered(number), 4)
}

/// The word that this client of a practice of so many shares with a thousand.
/// Those that come later share others.
pub(super) fn shared(number: usize, clients: usize) -> String {
    let groups = (clients / GROUP).max(1);
    let group =
        if number < clients { number % groups } else { groups + (number - clients) / GROUP };
    // No word of syllables alone begins like it, nor it like one.
    format!("{}stead", word(group, 3))
}

/// The name of a client.
pub(super) fn name(number: usize, clients: usize) -> String {
    format!("{} {} {EVERYBODYS} Limited", own(number), shared(number, clients))
}

/// The client as an import brings it.
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
    fn every_client_has_a_word_of_its_own() {
        assert_eq!(SYLLABLES, CONSONANTS.len() * VOWELS.len());
        let words: HashSet<String> = (0..100_000).map(own).collect();
        assert_eq!(words.len(), 100_000);
        assert!(words.iter().all(|word| word.len() == 8));
    }

    #[test]
    fn a_thousand_share_a_word_and_later_ones_others() {
        let mut sharing = HashMap::<String, usize>::new();
        for number in 0..12_000 {
            *sharing.entry(shared(number, 10_000)).or_default() += 1;
        }
        assert_eq!(sharing.len(), 12);
        assert!(sharing.values().all(|count| *count == 1_000));
    }
}
