//! A list of imports, as a table or as JSON.

use std::fmt;

use concord_proto::pb::imports::{Import, ImportState};
use serde_json::{Value, json};

use super::{
    json::list_json,
    names::{seconds, words},
    output::Table,
};

const HEADINGS: [&str; 11] = [
    "id",
    "label",
    "product",
    "state",
    "#received",
    "#imported",
    "#linked",
    "#skipped",
    "#excluded",
    "#failed",
    "opened",
];

/// Imports, the newest first.
#[derive(Debug)]
pub(crate) struct ImportTable {
    pub(crate) imports: Vec<Import>,
    /// Whether there are more than the limit.
    pub(crate) more: bool,
}

impl ImportTable {
    /// As a JSON object.
    pub(crate) fn json(&self) -> anyhow::Result<Value> {
        let imports = list_json("concord.imports.v1.Import", &self.imports)?;
        Ok(json!({ "imports": imports, "more": self.more }))
    }
}

impl fmt::Display for ImportTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Table::new(HEADINGS, self.imports.iter().map(row)).fmt(f)
    }
}

fn row(import: &Import) -> [String; HEADINGS.len()] {
    let counters = import.counters.unwrap_or_default();
    [
        import.id.clone(),
        import.label.clone(),
        format!("{}/{}", import.product, import.account),
        words::<ImportState>(import.state),
        counters.received.to_string(),
        counters.imported.to_string(),
        counters.linked.to_string(),
        counters.skipped.to_string(),
        counters.excluded.to_string(),
        counters.failed.to_string(),
        import.create_time.as_ref().map(seconds).unwrap_or_default(),
    ]
}
