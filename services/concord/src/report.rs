//! The summary of an import, for people and for programs.

use std::{
    fmt::{self, Write as _},
    path::Path,
};

use serde_json::{Value, json};
use shared::pb::imports::{Import, ImportCounters, ImportRecordKind, ImportState};

/// So many reasons are listed.
const MOST_REASONS: usize = 12;

/// How an import ended.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) import: Import,
    /// Why records failed, the most frequent first.
    pub(crate) reasons: Vec<(String, usize)>,
    /// Where the failures were written.
    pub(crate) failures_file: Option<std::path::PathBuf>,
}

impl Report {
    /// Whether any record failed, or was blocked by one that did.
    pub(crate) fn has_failures(&self) -> bool {
        self.counters().failed > 0
    }

    fn counters(&self) -> ImportCounters {
        self.import.counters.unwrap_or_default()
    }

    /// As one JSON object.
    pub(crate) fn json(&self) -> Value {
        let by_kind = self.import.counters_by_kind.iter().map(|of| {
            (kind_name(of.kind()).to_owned(), counters_json(&of.counters.unwrap_or_default()))
        });
        let mut report = json!({
            "import_id": self.import.id,
            "state": state_name(self.import.state()),
            "by_kind": by_kind.collect::<serde_json::Map<_, _>>(),
            "failures_file": self.failures_file.as_deref().map(Path::to_string_lossy),
        });
        if let (Value::Object(report), Value::Object(counters)) =
            (&mut report, counters_json(&self.counters()))
        {
            report.extend(counters);
        }
        report
    }
}

fn counters_json(counters: &ImportCounters) -> Value {
    let ImportCounters {
        received,
        imported,
        linked,
        skipped,
        excluded,
        failed,
        blocked,
        unprocessed,
    } = counters;
    json!({
        "received": received,
        "imported": imported,
        "linked": linked,
        "skipped": skipped,
        "excluded": excluded,
        "failed": failed,
        "blocked": blocked,
        "unprocessed": unprocessed,
    })
}

/// A table of the counts, then the reasons of the failures.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", heading(self.import.state()))?;
        f.write_str(&table(&self.import))?;
        if !self.reasons.is_empty() {
            write!(f, "\n\nWhy records failed:")?;
        }
        for (reason, count) in self.reasons.iter().take(MOST_REASONS) {
            write!(f, "\n{count:>10}  {reason}")?;
        }
        if self.reasons.len() > MOST_REASONS {
            write!(f, "\n            and {} more reasons", self.reasons.len() - MOST_REASONS)?;
        }
        if let Some(file) = &self.failures_file {
            write!(f, "\n\nThe records that were not imported are in {}", file.display())?;
        }
        Ok(())
    }
}

fn heading(state: ImportState) -> &'static str {
    match state {
        ImportState::Completed => "The import is complete.",
        ImportState::CompletedWithFailures => "The import is complete, and some records failed.",
        _ => "The import has not ended.",
    }
}

fn table(import: &Import) -> String {
    let mut table = format!(
        "{:<12}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
        "", "received", "imported", "linked", "skipped", "excluded", "failed"
    );
    let kinds = import.counters_by_kind.iter();
    let kinds = kinds.map(|of| (plural(of.kind()), of.counters.unwrap_or_default()));
    let all = [("all", import.counters.unwrap_or_default())];
    for (name, counters) in kinds.chain(all) {
        let ImportCounters { received, imported, linked, skipped, excluded, failed, .. } = counters;
        // Writing to a string cannot fail.
        let _ = write!(
            table,
            "\n  {name:<10}{received:>10}{imported:>10}{linked:>10}{skipped:>10}{excluded:>10}{failed:>10}"
        );
    }
    table
}

fn plural(kind: ImportRecordKind) -> &'static str {
    match kind {
        ImportRecordKind::Unspecified => "unreadable",
        ImportRecordKind::Client => "clients",
        ImportRecordKind::Contact => "contacts",
        ImportRecordKind::Address => "addresses",
    }
}

fn kind_name(kind: ImportRecordKind) -> &'static str {
    match kind {
        ImportRecordKind::Unspecified => "unreadable",
        ImportRecordKind::Client => "client",
        ImportRecordKind::Contact => "contact",
        ImportRecordKind::Address => "address",
    }
}

/// `COMPLETED_WITH_FAILURES` and its like.
fn state_name(state: ImportState) -> &'static str {
    state.as_str_name().trim_start_matches("IMPORT_STATE_")
}

#[cfg(test)]
mod tests {
    use shared::pb::imports::KindCounters;

    use super::*;

    fn report() -> Report {
        let counters = ImportCounters {
            received: 12,
            imported: 9,
            failed: 3,
            blocked: 1,
            ..Default::default()
        };
        Report {
            import: Import {
                id: "imp_1".to_owned(),
                state: ImportState::CompletedWithFailures.into(),
                counters: Some(counters),
                counters_by_kind: vec![KindCounters {
                    kind: ImportRecordKind::Client.into(),
                    counters: Some(counters),
                }],
                ..Import::default()
            },
            reasons: vec![("Address Line 1 is missing".to_owned(), 2)],
            failures_file: Some("failures.csv".into()),
        }
    }

    #[test]
    fn programs_get_one_object_with_every_counter() {
        let json = report().json();
        assert_eq!(json["state"], "COMPLETED_WITH_FAILURES");
        assert_eq!(
            (&json["imported"], &json["failed"], &json["linked"]),
            (&9.into(), &3.into(), &0.into())
        );
        assert_eq!(json["by_kind"]["client"]["blocked"], 1);
        assert_eq!(json["failures_file"], "failures.csv");
    }

    #[test]
    fn people_get_a_table_and_the_reasons() {
        let text = report().to_string();
        assert!(
            text.contains(
                "  clients           12         9         0         0         0         3"
            ),
            "{text}"
        );
        assert!(text.contains("         2  Address Line 1 is missing"), "{text}");
    }
}
