//! One import, as a page of text or as JSON.

use std::fmt;

use concord_proto::pb::imports::{Import, ImportState};
use serde_json::{Value, json};

use crate::{
    event_names::{seconds, time, words},
    import_counts,
    output::{self, escaped},
};

/// The fields of one import.
#[derive(Debug)]
pub(crate) struct ImportPage(pub(crate) Import);

impl ImportPage {
    /// Writes it to standard output, as JSON or as text.
    pub(crate) fn write(&self, as_json: bool) -> std::io::Result<()> {
        if as_json { output::line(json(&self.0)) } else { output::line(self) }
    }
}

/// An import as a JSON object.
pub(crate) fn json(import: &Import) -> Value {
    let times = [
        ("create_time", &import.create_time),
        ("seal_time", &import.seal_time),
        ("end_time", &import.end_time),
        ("expire_time", &import.expire_time),
        ("purge_time", &import.purge_time),
    ];
    let mut object = import_counts::json(import);
    object.extend([
        ("import_id".to_owned(), json!(import.id)),
        ("label".to_owned(), json!(import.label)),
        ("product".to_owned(), json!(import.product)),
        ("account".to_owned(), json!(import.account)),
        ("created_by".to_owned(), json!(import.created_by)),
        ("state".to_owned(), json!(import_counts::state_name(import.state()))),
        ("round".to_owned(), json!(import.round)),
        ("dry_run".to_owned(), json!(import.validate_only)),
        ("cancel_requested".to_owned(), json!(import.cancel_requested)),
        ("batch_count".to_owned(), json!(import.batch_count)),
        ("status_message".to_owned(), json!(import.status_message)),
    ]);
    object.extend(times.map(|(name, at)| (name.to_owned(), json!(at.as_ref().map(time)))));
    object.into()
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
        assert!(json(&import)["end_time"].is_null());
        assert_eq!(json(&import)["state"], "VALIDATED");
        let page = ImportPage(import).to_string();
        assert!(page.contains("  state     validated, round 2, a dry run\n"), "{page}");
        assert!(!page.contains("ended") && !page.contains("note"), "{page}");
    }
}
