//! The summary of an import, as text or as JSON.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use concord_proto::pb::imports::{Import, ImportCounters, ImportState};
use serde_json::Value;

use super::{import_counts, json::message_json, output};
use crate::cli::quoted;

/// The maximum number of listed reasons.
const MAX_REASONS: usize = 12;

/// The result of an import.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) import: Import,
    /// The reasons of failed records with their counts, the most frequent first.
    pub(crate) reasons: Vec<(String, usize)>,
    /// The warnings of imported records with their counts, the most frequent first.
    pub(crate) warnings: Vec<(String, usize)>,
    /// The failures file that was written, if any.
    pub(crate) failures_file: Option<PathBuf>,
    /// The options that the next commands need to call as the same caller.
    pub(crate) arguments: String,
}

impl Report {
    /// Whether any record failed, was blocked by a failed one, or was not processed; or the
    /// import failed internally.
    fn has_failures(&self) -> bool {
        let counters = self.counters();
        counters.failed + counters.unprocessed > 0 || self.failed_internally()
    }

    fn failed_internally(&self) -> bool {
        self.import.state() == ImportState::FailedInternally
    }

    fn counters(&self) -> ImportCounters {
        self.import.counters.unwrap_or_default()
    }

    /// Writes it to standard output, as JSON or as text. Returns the exit status of the program.
    pub(crate) fn write(&self, as_json: bool) -> anyhow::Result<u8> {
        if as_json {
            output::line(self.json()?)?;
        } else {
            output::line(self)?;
        }
        Ok(if self.has_failures() { output::EXIT_RECORDS_FAILED } else { output::EXIT_OK })
    }

    /// The import as a JSON object, with the failures file.
    fn json(&self) -> anyhow::Result<Value> {
        let mut report = message_json("concord.imports.v1.Import", &self.import)?;
        let file = self.failures_file.as_deref().map(Path::to_string_lossy);
        report.insert("failures_file".to_owned(), file.into());
        Ok(report.into())
    }

    /// The next steps: a purpose, and the command for it.
    fn next_steps(&self) -> Vec<(String, String)> {
        let Import { id, seal_time, possible_duplicates, .. } = &self.import;
        let counters = self.counters();
        let mut steps = Vec::new();
        if self.import.state() == ImportState::Validated {
            steps.push(("To import them".to_owned(), format!("concord imports commit {id}")));
        }
        if let Some(file) = self.failures_file.as_deref().filter(|_| counters.failed > 0) {
            let file = quoted(&file.to_string_lossy());
            let command = format!("concord import --retry {id} --corrected {file}");
            steps.push(("After correcting them in the file".to_owned(), command));
        }
        if (counters.unprocessed > 0 && seal_time.is_some()) || self.failed_internally() {
            let command = format!("concord import --retry {id}");
            steps.push(("To continue with the others".to_owned(), command));
        }
        if *possible_duplicates > 0 {
            let noun = if *possible_duplicates == 1 { "duplicate" } else { "duplicates" };
            let aim = format!("To list {possible_duplicates} possible {noun}; nothing is merged");
            steps.push((aim, format!("concord imports duplicates {id}")));
        }
        steps
    }
}

/// Formats the heading, a table of the counters, the reasons, and the next steps.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", heading(&self.import))?;
        if !self.import.status_message.is_empty() {
            writeln!(f, "{}", self.import.status_message)?;
        }
        f.write_str("\n")?;
        f.write_str(&import_counts::table(&self.import))?;
        write_reasons(f, "Why records failed:", &self.reasons)?;
        let warned = self.counters().warnings;
        let records = if warned == 1 { "1 record has" } else { &format!("{warned} records have") };
        write_reasons(f, &format!("{records} a warning:"), &self.warnings)?;
        if let Some(file) = &self.failures_file {
            write!(f, "\n\n{} in {}", what_is_in_file(&self.counters()), file.display())?;
        }
        let steps = self.next_steps();
        if self.failures_file.is_none() && !steps.is_empty() {
            f.write_str("\n")?;
        }
        for (aim, command) in steps {
            write!(f, "\n{aim}:\n  {command} {}", self.arguments)?;
        }
        Ok(())
    }
}

/// Describes the content of the failures file of an import.
pub(crate) fn what_is_in_file(counters: &ImportCounters) -> &'static str {
    let ImportCounters { failed, excluded, skipped, warnings, .. } = counters;
    match (failed + excluded + skipped, warnings) {
        (_, 0) => "The records that were not imported are",
        (0, _) => "The warnings are",
        _ => "The records that were not imported, and the warnings, are",
    }
}

/// Writes the reasons below a heading; nothing when there are no reasons.
fn write_reasons(
    f: &mut fmt::Formatter<'_>,
    heading: &str,
    reasons: &[(String, usize)],
) -> fmt::Result {
    if !reasons.is_empty() {
        write!(f, "\n\n{heading}")?;
    }
    for (reason, count) in reasons.iter().take(MAX_REASONS) {
        write!(f, "\n{count:>10}  {reason}")?;
    }
    match reasons.len().saturating_sub(MAX_REASONS) {
        0 => Ok(()),
        more => write!(f, "\n            and {more} more reasons"),
    }
}

fn heading(import: &Import) -> &'static str {
    match import.state() {
        ImportState::Completed => "The import is complete.",
        ImportState::CompletedWithFailures => "The import is complete, and some records failed.",
        ImportState::Validated => {
            "This was a dry run: nothing was written. The outcomes that an import would have:"
        }
        ImportState::Cancelled if import.validate_only => {
            "The dry run was cancelled, and nothing was written."
        }
        ImportState::Cancelled => {
            "The import was cancelled. Records that were applied before stay."
        }
        ImportState::Expired => {
            "The import has expired before it was completed. Nothing was applied."
        }
        ImportState::FailedInternally => {
            "The import was ended by an internal error of the service. Applied records stay."
        }
        ImportState::Unspecified
        | ImportState::Receiving
        | ImportState::Sealed
        | ImportState::Resolving
        | ImportState::Applying
        | ImportState::Stalled => "The import has not ended.",
    }
}

#[cfg(test)]
mod tests {
    use concord_proto::pb::imports::{ImportRecordKind, KindCounters};

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
            warnings: Vec::new(),
            failures_file: Some("failures.csv".into()),
            arguments: "--practice p1".to_owned(),
        }
    }

    #[test]
    fn json_has_every_counter() {
        let json = report().json().unwrap();
        assert_eq!(json["state"], "completed_with_failures");
        let counters = &json["counters"];
        assert_eq!(
            (&counters["imported"], &counters["failed"], &counters["linked"]),
            (&9.into(), &3.into(), &0.into())
        );
        let clients = &json["counters_by_kind"][0];
        assert_eq!((&clients["kind"], &clients["counters"]), (&"client".into(), counters));
        assert_eq!(json["failures_file"], "failures.csv");
    }

    #[test]
    fn text_has_a_table_and_the_reasons() {
        let text = report().to_string();
        assert!(text.contains("\n  clients        12         9       0"), "{text}");
        assert!(text.contains("         2  Address Line 1 is missing"), "{text}");
    }

    #[test]
    fn text_ends_with_the_next_command() {
        let failed = report().to_string();
        let retry = "\n  concord import --retry imp_1 --corrected failures.csv --practice p1";
        assert!(failed.ends_with(retry), "{failed}");
        let mut dry = report();
        dry.import.state = ImportState::Validated.into();
        let dry = dry.to_string();
        assert!(dry.starts_with("This was a dry run: nothing was written."), "{dry}");
        assert!(dry.contains("\n  concord imports commit imp_1 --practice p1\n"), "{dry}");
    }

    #[test]
    fn possible_duplicates_are_counted_with_their_command() {
        let mut report = report();
        report.import.possible_duplicates = 12;
        assert_eq!(report.json().unwrap()["possible_duplicates"], 12);
        let text = report.to_string();
        let command = "\n  concord imports duplicates imp_1 --practice p1";
        assert!(text.contains("To list 12 possible duplicates; nothing is merged:"));
        assert!(text.ends_with(command), "{text}");
        report.import.possible_duplicates = 1;
        assert!(report.to_string().contains("To list 1 possible duplicate; "));
    }

    #[test]
    fn warnings_are_listed_and_are_not_failures() {
        let mut warned = report();
        let counters =
            ImportCounters { received: 9, imported: 9, warnings: 2, ..Default::default() };
        warned.import.counters = Some(counters);
        warned.reasons.clear();
        warned.warnings = vec![("Postcode does not look like one".to_owned(), 2)];
        assert!(!warned.has_failures());
        assert_eq!(warned.json().unwrap()["counters"]["warnings"], 2);
        let text = warned.to_string();
        let expected = "\n\n2 records have a warning:\n         2  Postcode does not look like one";
        assert!(text.contains(expected), "{text}");
        assert!(text.ends_with("\n\nThe warnings are in failures.csv"), "{text}");
    }

    #[test]
    fn unprocessed_records_count_as_failures() {
        let mut cancelled = report();
        let counters = ImportCounters { received: 2, unprocessed: 2, ..Default::default() };
        cancelled.import.counters = Some(counters);
        assert!(cancelled.has_failures());
    }
}
