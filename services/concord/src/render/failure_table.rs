//! The failures and warnings of an import, as a table or as JSON.

use std::fmt;

use concord_proto::pb::imports::{Failure, RecordStatus, Severity};
use serde_json::{Value, json};

use super::{import_counts::singular, json::list_json, names::words, output::Table};

const HEADINGS: [&str; 7] =
    ["status", "kind", "source id", "record", "reference", "field", "reason"];

/// The violations of an import, in the order of the service.
#[derive(Debug)]
pub(crate) struct FailureTable {
    pub(crate) failures: Vec<Failure>,
    /// Whether there are more than the limit.
    pub(crate) more: bool,
}

impl FailureTable {
    /// As a JSON object.
    pub(crate) fn json(&self) -> anyhow::Result<Value> {
        let failures = list_json("concord.imports.v1.Failure", &self.failures)?;
        Ok(json!({ "failures": failures, "more": self.more }))
    }
}

impl fmt::Display for FailureTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Table::new(HEADINGS, self.failures.iter().map(row)).fmt(f)
    }
}

fn row(failure: &Failure) -> [String; HEADINGS.len()] {
    let is_warning = failure.severity() == Severity::Warning;
    let warning = if is_warning { ", warning" } else { "" };
    let cause = match failure.root_cause.as_str() {
        "" => String::new(),
        cause => format!("; because of {cause}"),
    };
    [
        format!("{}{warning}", words::<RecordStatus>(failure.status)),
        singular(failure.kind()).to_owned(),
        failure.source_id.clone(),
        failure.record_name.clone(),
        failure.client_reference.clone(),
        failure.field.clone(),
        format!("{}{cause}", failure.reason_text),
    ]
}
