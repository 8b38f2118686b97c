//! The sample practice, and its personal data.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// The folder of the sample practice.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sample")
}

/// Columns without personal data: ids of the importing product, enum values, and the dates of
/// addresses.
const NOT_PERSONAL: [&str; 11] = [
    "source_id",
    "client_source_id",
    "owner_source_id",
    "owner_kind",
    "client_type",
    "roles",
    "type",
    "title",
    "country",
    "active_from",
    "active_to",
];

/// The personal values of the sample: names, references, identifiers, addresses, emails,
/// telephone numbers, birth dates.
pub(crate) fn personal() -> BTreeSet<String> {
    let mut values = BTreeSet::new();
    for file in ["clients.csv", "contacts.csv", "addresses.csv"] {
        let mut reader = csv::Reader::from_path(folder().join(file)).unwrap();
        let columns: Vec<_> = reader.headers().unwrap().iter().map(ToOwned::to_owned).collect();
        for row in reader.records() {
            let row = row.unwrap();
            let cells = columns.iter().zip(row.iter());
            let cells = cells.filter(|(column, _)| !NOT_PERSONAL.contains(&column.as_str()));
            values.extend(cells.map(|(_, value)| value.to_owned()));
        }
    }
    values.retain(|value| value.len() > 2);
    values
}

/// The values that occur in `text` as whole words, each with its line.
pub(crate) fn found(values: &BTreeSet<String>, text: &str) -> Vec<String> {
    let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let mut found = Vec::new();
    for value in values {
        let whole = text.match_indices(value.as_str()).find(|(at, value)| {
            let (before, after) =
                (text[..*at].chars().last(), text[at + value.len()..].chars().next());
            !is_word(before) && !is_word(after)
        });
        if let Some((at, _)) = whole {
            let line = text[..at].lines().last().unwrap_or_default();
            let rest = text[at..].lines().next().unwrap_or_default();
            found.push(format!("{value:?} in: {line}{rest}"));
        }
    }
    found
}

#[test]
fn personal_values_are_found_as_whole_words() {
    let values = personal();
    for value in ["Brindle & Moss Limited", "BRI001", "Kestrelton", "1948-04-01", "ZZ4 2EL"] {
        assert!(values.contains(value), "{value}");
        assert!(
            !found(&values, &format!("a line\nwith x={value}, and more")).is_empty(),
            "{value}"
        );
    }
    assert!(found(&values, "x=Kestreltons").is_empty());
}
