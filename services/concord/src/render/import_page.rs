//! One import, as a page of text or as JSON.

use std::fmt;

use concord_proto::pb::imports::{Import, ImportState};
use serde_json::Value;

use super::{
    import_counts,
    json::message_json,
    names::{seconds, words},
    output::{self, escaped},
};

/// The fields of one import.
#[derive(Debug)]
pub(crate) struct ImportPage(pub(crate) Import);

impl ImportPage {
    /// Writes it to standard output, as JSON or as text.
    pub(crate) fn write(&self, as_json: bool) -> anyhow::Result<()> {
        if as_json {
            output::line(self.json()?)?;
        } else {
            output::line(self)?;
        }
        Ok(())
    }

    fn json(&self) -> anyhow::Result<Value> {
        message_json("concord.imports.v1.Import", &self.0).map(Value::from)
    }
}

/// The fields, then the counters by kind.
impl fmt::Display for ImportPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let import = &self.0;
        let heading = format!("{}  {}", import.id, import.label);
        writeln!(f, "{}", escaped(heading.trim_end()))?;
        for (name, value) in fields(import) {
            writeln!(f, "  {name:<8}  {}", escaped(&value))?;
        }
        write!(f, "\n{}", import_counts::table(import))
    }
}

/// The names and values of the fields that are set.
fn fields(import: &Import) -> Vec<(&'static str, String)> {
    let Import { product, account, created_by, .. } = import;
    let by = if created_by.is_empty() { String::new() } else { format!(", by {created_by}") };
    let at = |time: &Option<prost_types::Timestamp>| time.as_ref().map(seconds).unwrap_or_default();
    let fields = [
        ("product", format!("{product}/{account}{by}")),
        ("state", state(import)),
        ("note", import.status_message.clone()),
        ("batches", import.batch_count.to_string()),
        ("alike", duplicates(import.possible_duplicates)),
        ("warnings", warnings(import.counters.unwrap_or_default().warnings)),
        ("opened", at(&import.create_time)),
        ("sealed", at(&import.seal_time)),
        ("ended", at(&import.end_time)),
        ("expires", at(&import.expire_time)),
        ("removed", at(&import.purge_time)),
    ];
    fields.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

/// The number of possible duplicates; empty when there are none.
fn duplicates(possible_duplicates: i64) -> String {
    match possible_duplicates {
        0 => String::new(),
        1 => "1 possible duplicate".to_owned(),
        many => format!("{many} possible duplicates"),
    }
}

/// The number of records with warnings; empty when there are none.
fn warnings(records: i64) -> String {
    match records {
        0 => String::new(),
        1 => "1 record has a warning".to_owned(),
        many => format!("{many} records have a warning"),
    }
}

fn state(import: &Import) -> String {
    let state = words::<ImportState>(import.state);
    let dry = if import.validate_only { ", a dry run" } else { "" };
    let cancelling = import.cancel_requested && import.end_time.is_none();
    let cancelling = if cancelling { ", cancel requested" } else { "" };
    format!("{state}, round {}{dry}{cancelling}", import.round)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unset_fields_are_omitted_in_text_and_null_in_json() {
        let import = Import {
            id: "imp_1".to_owned(),
            product: "books".to_owned(),
            account: "main".to_owned(),
            round: 2,
            validate_only: true,
            state: ImportState::Validated.into(),
            ..Import::default()
        };
        let page = ImportPage(import);
        let json = page.json().unwrap();
        assert!(json["end_time"].is_null());
        assert_eq!(json["state"], "validated");
        let page = page.to_string();
        assert!(page.contains("  state     validated, round 2, a dry run\n"), "{page}");
        assert!(!page.contains("ended") && !page.contains("note"), "{page}");
    }
}
