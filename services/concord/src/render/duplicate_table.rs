//! The possible duplicates of an import, as a table or as JSON.

use std::fmt;

use concord_proto::pb::imports::PossibleDuplicate;
use serde_json::{Value, json};

use super::{import_counts::singular, json::list_json, output::Table};

const HEADINGS: [&str; 9] = [
    "kind",
    "source id",
    "record",
    "reference",
    "has the same",
    "as",
    "named",
    "its reference",
    "its source id",
];

/// Possible duplicates, in the order of the service.
#[derive(Debug)]
pub(crate) struct DuplicateTable {
    pub(crate) duplicates: Vec<PossibleDuplicate>,
    /// Whether there are more than the limit.
    pub(crate) more: bool,
}

impl DuplicateTable {
    /// As a JSON object.
    pub(crate) fn json(&self) -> anyhow::Result<Value> {
        let duplicates = list_json("concord.imports.v1.PossibleDuplicate", &self.duplicates)?;
        Ok(json!({ "possible_duplicates": duplicates, "more": self.more }))
    }
}

impl fmt::Display for DuplicateTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Table::new(HEADINGS, self.duplicates.iter().map(row)).fmt(f)
    }
}

fn row(duplicate: &PossibleDuplicate) -> [String; HEADINGS.len()] {
    let other = match duplicate.other_record_id.as_str() {
        // A record of a dry run has no id.
        "" => format!("a {} of this import", singular(duplicate.other_kind())),
        id => id.to_owned(),
    };
    [
        singular(duplicate.kind()).to_owned(),
        duplicate.source_id.clone(),
        duplicate.record_name.clone(),
        duplicate.client_reference.clone(),
        duplicate.field.clone(),
        other,
        duplicate.other_name.clone(),
        duplicate.other_client_reference.clone(),
        duplicate.other_source_id.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use concord_proto::pb::imports::ImportRecordKind;

    use super::*;

    #[test]
    fn dry_run_duplicate_is_shown_by_kind_and_source_id() {
        let duplicate = PossibleDuplicate {
            kind: ImportRecordKind::Contact.into(),
            source_id: "P2".to_owned(),
            field: "name and birth_date".to_owned(),
            other_kind: ImportRecordKind::Client.into(),
            other_source_id: "C1".to_owned(),
            ..PossibleDuplicate::default()
        };
        let table = DuplicateTable { duplicates: vec![duplicate], more: false };
        let json = table.json().unwrap();
        assert_eq!(json["possible_duplicates"][0]["other_kind"], "client");
        let text = table.to_string();
        assert!(text.contains("name and birth_date  a client of this import "), "{text}");
        assert!(text.ends_with(" C1"), "{text}");
    }
}
