//! Collects the summary of an import that has ended, and writes its failures file.

use std::path::{Path, PathBuf};

use concord_proto::pb::imports::Import;

use super::failures;
use crate::{
    cli::CallOptions,
    client::ServiceClient,
    render::{progress::Progress, report::Report},
};

/// The destination of the failures file.
#[derive(Clone, Debug)]
pub(crate) enum FailuresFile {
    /// This path.
    At(PathBuf),
    /// The default name, with a number if a file of that name exists.
    DefaultName,
    /// No failures file.
    None,
}

impl FailuresFile {
    /// The destination from the option `--failures`.
    pub(crate) fn of(option: Option<PathBuf>) -> Self {
        option.map_or(Self::DefaultName, Self::At)
    }

    fn path(self, import_id: &str) -> Option<PathBuf> {
        match self {
            Self::At(path) => Some(path),
            // An existing file may contain corrections.
            Self::DefaultName => Some(unused_name(import_id, Path::exists)),
            Self::None => None,
        }
    }
}

/// Downloads the failures file and the reasons of an import that has ended.
pub(crate) async fn of(
    server: &ServiceClient,
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
    // The import has ended: errors below are reported, and do not prevent the summary.
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
            Err(error) => progress.note(format_args!("cannot read the reasons: {error}")),
        }
    }
    if counters.warnings > 0 {
        match failures::warnings(server, &report.import.id, progress).await {
            Ok(warnings) => report.warnings = warnings,
            Err(error) => progress.note(format_args!("cannot read the warnings: {error}")),
        }
    }
    report
}

/// `failures-IMPORT.csv`, or the first numbered name that does not exist.
fn unused_name(import_id: &str, exists: impl Fn(&Path) -> bool) -> PathBuf {
    let mut name = PathBuf::from(format!("failures-{import_id}.csv"));
    let mut number = 2;
    while exists(&name) {
        name = format!("failures-{import_id}-{number}.csv").into();
        number += 1;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_name_does_not_overwrite_existing_files() {
        let existing = ["failures-imp_1.csv", "failures-imp_1-2.csv"];
        let name =
            unused_name("imp_1", |name| existing.iter().any(|other| name == Path::new(other)));
        assert_eq!(name, Path::new("failures-imp_1-3.csv"));
    }
}
