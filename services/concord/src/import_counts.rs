//! The number of records of an import by outcome, as a table or as JSON.

use concord_proto::pb::imports::{Import, ImportCounters, ImportRecordKind, ImportState};
use serde_json::{Map, Value, json};

use crate::output::Table;

const HEADINGS: [&str; 8] =
    ["", "#received", "#imported", "#linked", "#skipped", "#excluded", "#failed", "#unprocessed"];

/// The counters of an import, its counters by kind, and its possible duplicates.
pub(crate) fn json(import: &Import) -> Map<String, Value> {
    let by_kind = import.counters_by_kind.iter().map(|of| {
        (singular(of.kind()).to_owned(), counters(&of.counters.unwrap_or_default()).into())
    });
    let by_kind: Map<_, _> = by_kind.collect();
    let mut counts = counters(&import.counters.unwrap_or_default());
    counts.insert("by_kind".to_owned(), by_kind.into());
    counts.insert("possible_duplicates".to_owned(), json!(import.possible_duplicates));
    counts
}

fn counters(counters: &ImportCounters) -> Map<String, Value> {
    let ImportCounters {
        received,
        imported,
        linked,
        skipped,
        excluded,
        failed,
        blocked,
        unprocessed,
        warnings,
    } = counters;
    let named = [
        ("received", received),
        ("imported", imported),
        ("linked", linked),
        ("skipped", skipped),
        ("excluded", excluded),
        ("failed", failed),
        ("blocked", blocked),
        ("unprocessed", unprocessed),
        ("warnings", warnings),
    ];
    named.into_iter().map(|(name, count)| (name.to_owned(), json!(count))).collect()
}

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

/// The name of a state without its prefix, such as `COMPLETED_WITH_FAILURES`.
pub(crate) fn state_name(state: ImportState) -> &'static str {
    state.as_str_name().trim_start_matches("IMPORT_STATE_")
}
