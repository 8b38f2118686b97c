//! The number of records of an import by outcome, as a table.

use concord_proto::pb::imports::{Import, ImportCounters, ImportRecordKind};

use super::output::Table;

const HEADINGS: [&str; 8] =
    ["", "#received", "#imported", "#linked", "#skipped", "#excluded", "#failed", "#unprocessed"];

/// The counters by kind, then the total.
pub(crate) fn table(import: &Import) -> String {
    let kinds = import.counters_by_kind.iter();
    let kinds = kinds.map(|of| (plural(of.kind()), of.counters.unwrap_or_default()));
    let all = ("all", import.counters.unwrap_or_default());
    Table::new(HEADINGS, kinds.chain([all]).map(|(name, counters)| row(name, &counters)))
        .to_string()
}

fn row(name: &str, counters: &ImportCounters) -> [String; HEADINGS.len()] {
    [
        format!("  {name}"),
        counters.received.to_string(),
        counters.imported.to_string(),
        counters.linked.to_string(),
        counters.skipped.to_string(),
        counters.excluded.to_string(),
        counters.failed.to_string(),
        counters.unprocessed.to_string(),
    ]
}

fn plural(kind: ImportRecordKind) -> &'static str {
    match kind {
        ImportRecordKind::Unspecified => "unreadable",
        ImportRecordKind::Client => "clients",
        ImportRecordKind::Contact => "contacts",
        ImportRecordKind::Address => "addresses",
    }
}

/// The kind of a record in the singular.
pub(crate) fn singular(kind: ImportRecordKind) -> &'static str {
    match kind {
        ImportRecordKind::Unspecified => "unreadable",
        ImportRecordKind::Client => "client",
        ImportRecordKind::Contact => "contact",
        ImportRecordKind::Address => "address",
    }
}
