//! Detects unknown columns, and suggests known ones.

use std::{collections::BTreeSet, path::Path};

use concord_core::rules::text::is_blank;
use csv::StringRecord;

/// The minimum similarity, from 0 to 1, of a suggested name.
const MIN_SIMILARITY: f64 = 0.85;

/// The unknown columns of a file.
#[derive(Debug)]
pub(super) struct UnknownColumns<'t> {
    path: &'t Path,
    kind: &'static str,
    known: &'static [&'static str],
    headings: &'t [String],
    /// The indexes of columns without a heading that have values. Spreadsheets also write empty
    /// ones, which are ignored.
    unnamed: BTreeSet<usize>,
}

impl<'t> UnknownColumns<'t> {
    /// The unknown columns of a file with these headings, before its rows are added. Files of
    /// the `kind` have the columns `known`.
    pub(super) fn new(
        path: &'t Path,
        kind: &'static str,
        known: &'static [&'static str],
        headings: &'t [String],
    ) -> Self {
        Self { path, kind, known, headings, unnamed: BTreeSet::new() }
    }

    /// Adds a row, for its columns without a heading.
    pub(super) fn add_row(&mut self, cells: &StringRecord) {
        let cells = self.headings.iter().zip(cells).enumerate();
        let unnamed = cells.filter(|(_, (name, cell))| name.is_empty() && !is_blank(cell));
        self.unnamed.extend(unnamed.map(|(index, _)| index));
    }

    /// The message about them; none when all columns are known.
    pub(super) fn message(&self) -> Option<String> {
        let has = |column: &&&str| self.headings.iter().any(|heading| heading == **column);
        let missing: Vec<&str> = self.known.iter().filter(|known| !has(known)).copied().collect();
        let unknown = self
            .headings
            .iter()
            .filter(|heading| !heading.is_empty() && !self.known.contains(&heading.as_str()));
        let named = unknown.map(|heading| with_suggestion(heading, &missing));
        let unnamed =
            self.unnamed.iter().map(|index| format!("no. {} (without a heading)", index + 1));
        let all: Vec<String> = named.chain(unnamed).collect();
        let (columns, its) = if all.len() == 1 { ("column", "its") } else { ("columns", "their") };
        (!all.is_empty()).then(|| {
            format!(
                "{}: unknown {columns} {}: files of {} have no such {columns}, and {its} values \
                 are not imported",
                self.path.display(),
                all.join(", "),
                self.kind
            )
        })
    }
}

/// The name of a column, with the most similar of the other names as a suggestion.
pub(super) fn with_suggestion(name: &str, others: &[&str]) -> String {
    match nearest(name, others) {
        Some(other) => format!("`{name}` (is it `{other}`?)"),
        None => format!("`{name}`"),
    }
}

/// The most similar name. A name that contains the other one counts as similar.
fn nearest<'o>(name: &str, others: &[&'o str]) -> Option<&'o str> {
    let key = |name: &str| -> String {
        name.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect()
    };
    let name = key(name);
    let similarity = |other: &str| {
        let is_part = is_within(&name, other) || is_within(other, &name);
        let similarity = strsim::jaro_winkler(&name, other);
        (is_part || similarity >= MIN_SIMILARITY).then_some(similarity)
    };
    let similar = others.iter().filter_map(|other| Some((similarity(&key(other))?, *other)));
    similar.max_by(|one, next| one.0.total_cmp(&next.0)).map(|best| best.1)
}

/// Whether a name is part of another one; a name of up to three letters as a whole word of it.
fn is_within(part: &str, whole: &str) -> bool {
    if part.len() > 3 { whole.contains(part) } else { whole.split('_').any(|word| word == part) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_similar_name_is_suggested() {
        let clients = ["source_id", "client_reference", "registered_name", "vat_number", "phone"];
        let addresses = ["line_1", "line_2", "postcode", "active_from"];
        for (name, guess) in [
            ("id", Some("source_id")),
            ("phone number", Some("phone")),
            ("telephone", Some("phone")),
            ("vat no", Some("vat_number")),
            ("registerd_name", Some("registered_name")),
            ("mood", None),
            ("notes", None),
        ] {
            assert_eq!(nearest(name, &clients), guess, "{name}");
        }
        assert_eq!(nearest("postal code", &addresses), Some("postcode"));
        assert_eq!(nearest("address line 2", &addresses), Some("line_2"));
        assert_eq!(nearest("colour", &addresses), None);
        assert_eq!(nearest("x", &[]), None);
    }
}
