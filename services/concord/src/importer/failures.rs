//! The failures of an import: downloads the failures file, and summarises the reasons.

use std::{
    collections::HashMap,
    io::{self, BufWriter, Write as _},
    path::Path,
};

use anyhow::Context as _;
use concord_proto::pb::imports::{
    DownloadFailuresRequest, Failure, FailuresFormat, ListFailuresRequest, RecordStatus, Severity,
};
use tempfile::NamedTempFile;
use tonic::Status;

use crate::{
    client::{CallError, ServiceClient, with_retries},
    render::progress::Progress,
};

const PAGE_SIZE: i32 = 1_000;

/// The maximum number of violations that are read for the summary. The file has all of them.
const MAX_VIOLATIONS: usize = 50_000;

/// Downloads the failures file of the import to `path`. Returns false, and writes no file,
/// when it would have no rows.
pub(crate) async fn download(
    server: &ServiceClient,
    import_id: &str,
    path: &Path,
    progress: &Progress,
) -> anyhow::Result<bool> {
    let written = with_retries(progress, async || write_file(server, import_id, path).await);
    let (written, file) = (written.await, path.display());
    let outcome = match written.context("cannot download the failures")? {
        Written::Rows(temp_file) => persist(temp_file, path).map(|()| true),
        Written::HeadingOnly => Ok(false),
        Written::Failed(error) => Err(error),
    };
    outcome.with_context(|| format!("cannot write the failures file {file}"))
}

/// Creates a temporary file in the folder of `path`, which only its owner can access: it holds
/// personal data. Its random name prevents writing to an existing file or symbolic link. It
/// is removed on drop.
fn create_temp_file(path: &Path) -> io::Result<NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    let mut new = tempfile::Builder::new();
    new.prefix(&name).suffix(".part").tempfile_in(folder.unwrap_or(Path::new(".")))
}

/// Renames the complete file to `path`, and replaces what is there. A symbolic link is
/// replaced itself, and not its target.
fn persist(temp_file: NamedTempFile, path: &Path) -> io::Result<()> {
    temp_file.persist(path).map(drop).map_err(|error| error.error)
}

enum Written {
    Rows(NamedTempFile),
    HeadingOnly,
    /// A local error, which is not retried.
    Failed(io::Error),
}

async fn write_file(
    server: &ServiceClient,
    import_id: &str,
    path: &Path,
) -> Result<Written, Status> {
    let request = DownloadFailuresRequest {
        import_id: import_id.to_owned(),
        format: FailuresFormat::Csv.into(),
    };
    let mut pieces = server.import_calls().download_failures(request).await?.into_inner();
    let mut file = match create_temp_file(path) {
        Ok(file) => BufWriter::new(file),
        Err(error) => return Ok(Written::Failed(error)),
    };
    // The heading is one line; anything after it is rows.
    let (mut heading_over, mut rows) = (false, false);
    while let Some(piece) = pieces.message().await? {
        for byte in &piece.data {
            rows |= heading_over;
            heading_over |= *byte == b'\n';
        }
        if let Err(error) = file.write_all(&piece.data) {
            return Ok(Written::Failed(error));
        }
    }
    Ok(match file.into_inner() {
        Ok(file) if rows => Written::Rows(file),
        Ok(_) => Written::HeadingOnly,
        Err(error) => Written::Failed(error.into_error()),
    })
}

/// The violations of the import with this status and severity, at most `max` of them.
pub(crate) async fn list(
    server: &ServiceClient,
    import_id: &str,
    (status, severity): (RecordStatus, Severity),
    max: usize,
    progress: &Progress,
) -> Result<Vec<Failure>, CallError> {
    let mut failures = Vec::new();
    let mut request = ListFailuresRequest {
        import_id: import_id.to_owned(),
        page_size: PAGE_SIZE,
        status: status.into(),
        severity: severity.into(),
        ..ListFailuresRequest::default()
    };
    loop {
        let page = with_retries(progress, async || {
            server.import_calls().list_failures(request.clone()).await
        });
        let page = page.await?.into_inner();
        failures.extend(page.failures);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() || failures.len() >= max {
            failures.truncate(max);
            return Ok(failures);
        }
    }
}

/// The reasons of failed and blocked records, with the number of violations of each; the most
/// frequent first.
pub(crate) async fn reasons(
    server: &ServiceClient,
    import_id: &str,
    progress: &Progress,
) -> Result<Vec<(String, usize)>, CallError> {
    let mut failures = Vec::new();
    for status in [RecordStatus::Failed, RecordStatus::Blocked] {
        let which = (status, Severity::Error);
        failures.extend(list(server, import_id, which, MAX_VIOLATIONS, progress).await?);
    }
    Ok(count_by_text(&failures))
}

/// The warnings of imported records, with the number of each; the most frequent first.
pub(crate) async fn warnings(
    server: &ServiceClient,
    import_id: &str,
    progress: &Progress,
) -> Result<Vec<(String, usize)>, CallError> {
    let which = (RecordStatus::Unspecified, Severity::Warning);
    Ok(count_by_text(&list(server, import_id, which, MAX_VIOLATIONS, progress).await?))
}

/// Counts violations by their text; the most frequent first.
fn count_by_text(failures: &[Failure]) -> Vec<(String, usize)> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for failure in failures {
        *counts.entry(general_text(failure)).or_default() += 1;
    }
    let mut reasons: Vec<_> = counts.into_iter().collect();
    reasons.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    reasons
}

/// The text of a violation, without the details of one record.
fn general_text(failure: &Failure) -> String {
    let field = &failure.field;
    let words = match failure.reason.as_str() {
        "INVALID_POSTCODE" => "Postcode does not look like one",
        "DAMAGED_TEXT" => return format!("Text was damaged before the import: {field}"),
        "INVISIBLE_CHARACTER" => {
            return format!("Invisible characters were removed: {field}");
        }
        "INVALID_EMAIL" | "VALUE_TOO_LONG" if failure.severity() == Severity::Warning => {
            return format!("Value is not valid, and was omitted: {field}");
        }
        "PARENT_NOT_FOUND" => "Parent record was not found",
        "PARENT_FAILED" => "Parent record was not imported",
        "DUPLICATE_REFERENCE" => "Client reference is used more than once",
        "DUPLICATE_KEY" => "Source id is used by records with different values",
        "PERIOD_OVERLAP" => "Dates overlap with another address of the same type",
        "INVALID_DATE" => "Not a date, or not written as 2026-03-01",
        "UNKNOWN_VALUE" => return format!("Value is not known: {field}"),
        _ => return failure.reason_text.clone(),
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn failures_file_is_private_and_replaces_symbolic_links() {
        use std::{fs, os::unix::fs::PermissionsExt as _};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("failures.csv");
        let other = folder.path().join("other");
        fs::write(&other, "other").unwrap();
        for link in [&path, &folder.path().join("failures.csv.part")] {
            std::os::unix::fs::symlink(&other, link).unwrap();
        }
        let mut file = create_temp_file(&path).unwrap();
        assert_eq!(file.path().parent(), Some(folder.path()));
        file.write_all(b"failures").unwrap();
        persist(file, &path).unwrap();
        assert_eq!(fs::read_to_string(&other).unwrap(), "other");
        let written = fs::symlink_metadata(&path).unwrap();
        assert!(written.is_file());
        assert_eq!(written.permissions().mode() & 0o777, 0o600);
        drop(create_temp_file(&path).unwrap());
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            3,
            "a dropped temporary file is removed"
        );
    }

    #[test]
    fn reasons_are_counted_without_the_record() {
        let failure = |reason: &str, text: &str| Failure {
            reason: reason.to_owned(),
            reason_text: text.to_owned(),
            ..Failure::default()
        };
        let one = failure("PARENT_NOT_FOUND", "Parent record was not found: C00017");
        let other = failure("PARENT_NOT_FOUND", "Parent record was not found: C00018");
        assert_eq!(general_text(&one), general_text(&other));
        let blank = failure("REQUIRED_FIELD_BLANK", "Required field is blank: Surname");
        assert_eq!(general_text(&blank), "Required field is blank: Surname");
    }
}
