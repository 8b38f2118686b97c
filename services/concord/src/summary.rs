//! Collects the summary of an import that has ended, and writes its failures file.

use std::path::{Path, PathBuf};

use shared::pb::imports::Import;

use crate::{
    DONE, SOME_FAILED, cli::CallOptions, client::Server, failures, output, progress::Progress,
    report::Report,
};

/// What becomes of the failures file.
#[derive(Clone, Debug)]
pub(crate) enum FailuresFile {
    /// It is written here.
    At(PathBuf),
    /// It is written where nothing is yet.
    AtFreeName,
    /// There is none.
    None,
}

impl FailuresFile {
    /// What the option says.
    pub(crate) fn of(option: Option<PathBuf>) -> Self {
        option.map_or(Self::AtFreeName, Self::At)
    }

    fn path(self, import_id: &str) -> Option<PathBuf> {
        match self {
            Self::At(path) => Some(path),
            // An earlier one may have been corrected by now.
            Self::AtFreeName => Some(free_name(import_id, Path::exists)),
            Self::None => None,
        }
    }
}

/// Summarises an import that has ended.
pub(crate) async fn of(
    server: &Server,
    import: Import,
    file: FailuresFile,
    call: &CallOptions,
    progress: &Progress,
) -> Report {
    let counters = import.counters.unwrap_or_default();
    let arguments = call.to_arguments();
    let (reasons, warnings) = (Vec::new(), Vec::new());
    let mut report = Report { import, reasons, warnings, failures_file: None, arguments };
    let import_id = &report.import.id;
    // What is imported is imported: the summary comes whatever becomes of these.
    let listed = counters.failed + counters.excluded + counters.skipped + counters.warnings > 0;
    if let Some(path) = file.path(import_id).filter(|_| listed) {
        match failures::download(server, import_id, &path, progress).await {
            Ok(written) => report.failures_file = written.then_some(path),
            Err(error) => progress.note(format_args!("{error:#}")),
        }
    }
    if counters.failed > 0 {
        match failures::reasons(server, &report.import.id, progress).await {
            Ok(reasons) => report.reasons = reasons,
            Err(error) => progress.note(format_args!("the reasons could not be read: {error}")),
        }
    }
    if counters.warnings > 0 {
        match failures::warnings(server, &report.import.id, progress).await {
            Ok(warnings) => report.warnings = warnings,
            Err(error) => progress.note(format_args!("the warnings could not be read: {error}")),
        }
    }
    report
}

/// Shows the summary, and says how the program ends.
pub(crate) fn show(report: &Report, json: bool) -> anyhow::Result<u8> {
    if json {
        output::line(report.json())?;
    } else {
        output::line(report)?;
    }
    Ok(if report.has_failures() { SOME_FAILED } else { DONE })
}

/// `failures-IMPORT.csv`, or with the first number that is not taken.
fn free_name(import_id: &str, is_taken: impl Fn(&Path) -> bool) -> PathBuf {
    let mut name = PathBuf::from(format!("failures-{import_id}.csv"));
    let mut number = 2;
    while is_taken(&name) {
        name = format!("failures-{import_id}-{number}.csv").into();
        number += 1;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_may_have_been_corrected_is_not_written_over() {
        let taken = ["failures-imp_1.csv", "failures-imp_1-2.csv"];
        let name = free_name("imp_1", |name| taken.iter().any(|taken| name == Path::new(taken)));
        assert_eq!(name, Path::new("failures-imp_1-3.csv"));
    }
}
