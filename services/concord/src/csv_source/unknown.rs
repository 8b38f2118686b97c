//! The columns of a file that files of its kind do not have.

use std::{collections::BTreeSet, path::Path};

use shared::rules::text::is_blank;

use super::read::Row;

/// How alike two names are, from 0 to 1, when one may be meant by the other.
const ALIKE: f64 = 0.85;

/// The columns of a file that are not known.
#[derive(Debug)]
pub(super) struct UnknownColumns<'t> {
    path: &'t Path,
    kind: &'static str,
    known: &'static [&'static str],
    headings: &'t [String],
    /// The places of columns without a heading that have values. A spreadsheet leaves
    /// empty ones behind.
    nameless: BTreeSet<usize>,
}

impl<'t> UnknownColumns<'t> {
    /// Of a file with these headings, before its rows are read. `kind` is what is in such
    /// files, which have the columns `known`.
    pub(super) fn new(
        path: &'t Path,
        kind: &'static str,
        known: &'static [&'static str],
        headings: &'t [String],
    ) -> Self {
        Self { path, kind, known, headings, nameless: BTreeSet::new() }
    }

    /// Looks at a row.
    pub(super) fn see(&mut self, row: Row<'_>) {
        let cells = self.headings.iter().zip(row.cells).enumerate();
        let nameless = cells.filter(|(_, (name, cell))| name.is_empty() && !is_blank(cell));
        self.nameless.extend(nameless.map(|(place, _)| place));
    }

    /// What to say about them; none when all columns are known.
    pub(super) fn told(&self) -> Option<String> {
        let has = |column: &&&str| self.headings.iter().any(|heading| heading == **column);
        let missing: Vec<&str> = self.known.iter().filter(|known| !has(known)).copied().collect();
        let unknown = self
            .headings
            .iter()
            .filter(|heading| !heading.is_empty() && !self.known.contains(&heading.as_str()));
        let named = unknown.map(|heading| with_guess(heading, &missing));
        let nameless =
            self.nameless.iter().map(|place| format!("no. {} (without a heading)", place + 1));
        let all: Vec<String> = named.chain(nameless).collect();
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

/// The name of a column, and the one of some others that may be meant.
pub(super) fn with_guess(name: &str, others: &[&str]) -> String {
    match nearest(name, others) {
        Some(other) => format!("`{name}` (is it `{other}`?)"),
        None => format!("`{name}`"),
    }
}

/// The name that is most like this one: one of which it is a part, or which is part of
/// it, too.
fn nearest<'o>(name: &str, others: &[&'o str]) -> Option<&'o str> {
    let key = |name: &str| -> String {
        name.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect()
    };
    let name = key(name);
    let likeness = |other: &str| {
        let is_part = is_within(&name, other) || is_within(other, &name);
        let likeness = strsim::jaro_winkler(&name, other);
        (is_part || likeness >= ALIKE).then_some(likeness)
    };
    let alike = others.iter().filter_map(|other| Some((likeness(&key(other))?, *other)));
    alike.max_by(|one, next| one.0.total_cmp(&next.0)).map(|best| best.1)
}

/// Whether a name is part of another: a short one as one of its words.
fn is_within(part: &str, whole: &str) -> bool {
    if part.len() > 3 { whole.contains(part) } else { whole.split('_').any(|word| word == part) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_guessed_and_no_other() {
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
