//! What was not imported: the file, and the reasons in words.

use std::{
    collections::HashMap,
    io::{self, BufWriter, Write as _},
    path::Path,
};

use anyhow::Context as _;
use shared::pb::imports::{
    DownloadFailuresRequest, Failure, FailuresFormat, ListFailuresRequest, RecordStatus, Severity,
};
use tempfile::NamedTempFile;
use tonic::Status;

use crate::{client::Server, progress::Progress, refused::Refused, retry::until_answered};

const PAGE_SIZE: i32 = 1_000;

/// So many violations are read for the summary; the file has them all.
const MOST_VIOLATIONS: usize = 50_000;

/// Writes the failures file of the import to `path`; nothing when it would have
/// no rows.
pub(crate) async fn download(
    server: &Server,
    import_id: &str,
    path: &Path,
    progress: &Progress,
) -> anyhow::Result<bool> {
    let written = until_answered(progress, async || write_file(server, import_id, path).await);
    let (written, file) = (written.await, path.display());
    let outcome = match written.context("the failures could not be downloaded")? {
        Written::Rows(partial) => put_in_place(partial, path).map(|()| true),
        Written::HeadingOnly => Ok(false),
        Written::Failed(error) => Err(error),
    };
    outcome.with_context(|| format!("the failures file {file} could not be written"))
}

/// A new file beside `path`, for its owner only: it holds people's data. Its name is
/// random, so that nothing that is there already, a link for one, is written to. It is
/// removed when it is dropped.
fn partial(path: &Path) -> io::Result<NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    let mut new = tempfile::Builder::new();
    new.prefix(&name).suffix(".part").tempfile_in(folder.unwrap_or(Path::new(".")))
}

/// Gives a file that is whole its name. What has this name is replaced: a link, and not
/// what it leads to.
fn put_in_place(partial: NamedTempFile, path: &Path) -> io::Result<()> {
    partial.persist(path).map(drop).map_err(|error| error.error)
}

enum Written {
    Rows(NamedTempFile),
    HeadingOnly,
    /// The disk is the trouble: to call the server again does not help.
    Failed(io::Error),
}

async fn write_file(server: &Server, import_id: &str, path: &Path) -> Result<Written, Status> {
    let request = DownloadFailuresRequest {
        import_id: import_id.to_owned(),
        format: FailuresFormat::Csv.into(),
    };
    let mut pieces = server.import_calls().download_failures(request).await?.into_inner();
    let mut file = match partial(path) {
        Ok(file) => BufWriter::new(file),
        Err(error) => return Ok(Written::Failed(error)),
    };
    // The heading is one line, and rows are what follows it.
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

/// Violations of the import with this status and severity, `most` of them at the
/// most.
pub(crate) async fn list(
    server: &Server,
    import_id: &str,
    (status, severity): (RecordStatus, Severity),
    most: usize,
    progress: &Progress,
) -> Result<Vec<Failure>, Refused> {
    let mut failures = Vec::new();
    let mut request = ListFailuresRequest {
        import_id: import_id.to_owned(),
        page_size: PAGE_SIZE,
        status: status.into(),
        severity: severity.into(),
        ..ListFailuresRequest::default()
    };
    loop {
        let page = until_answered(progress, async || {
            server.import_calls().list_failures(request.clone()).await
        });
        let page = page.await?.into_inner();
        failures.extend(page.failures);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() || failures.len() >= most {
            failures.truncate(most);
            return Ok(failures);
        }
    }
}

/// Why records failed, and how many violations of each sort there are; the most
/// frequent first.
pub(crate) async fn reasons(
    server: &Server,
    import_id: &str,
    progress: &Progress,
) -> Result<Vec<(String, usize)>, Refused> {
    let mut failures = Vec::new();
    for status in [RecordStatus::Failed, RecordStatus::Blocked] {
        let which = (status, Severity::Error);
        failures.extend(list(server, import_id, which, MOST_VIOLATIONS, progress).await?);
    }
    Ok(counted(&failures))
}

/// What was wrong with records that were taken all the same, in the same way.
pub(crate) async fn warnings(
    server: &Server,
    import_id: &str,
    progress: &Progress,
) -> Result<Vec<(String, usize)>, Refused> {
    let which = (RecordStatus::Unspecified, Severity::Warning);
    Ok(counted(&list(server, import_id, which, MOST_VIOLATIONS, progress).await?))
}

/// How often each sort is there, the most frequent first.
fn counted(failures: &[Failure]) -> Vec<(String, usize)> {
    let mut counted: HashMap<String, usize> = HashMap::new();
    for failure in failures {
        *counted.entry(in_words(failure)).or_default() += 1;
    }
    let mut reasons: Vec<_> = counted.into_iter().collect();
    reasons.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    reasons
}

/// What is wrong, without what is particular to one record.
fn in_words(failure: &Failure) -> String {
    let field = &failure.field;
    let words = match failure.reason.as_str() {
        "INVALID_POSTCODE" => "Postcode does not look like one",
        "DAMAGED_TEXT" => return format!("Text was damaged before it came: {field}"),
        "INVISIBLE_CHARACTER" => {
            return format!("Characters that nobody sees were left out: {field}");
        }
        "INVALID_EMAIL" | "VALUE_TOO_LONG" if failure.severity() == Severity::Warning => {
            return format!("Value is not valid, and was left out: {field}");
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
    fn a_file_is_made_new_for_its_owner_only_and_follows_no_link() {
        use std::{fs, os::unix::fs::PermissionsExt as _};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("failures.csv");
        let other = folder.path().join("other");
        fs::write(&other, "other").unwrap();
        for link in [&path, &folder.path().join("failures.csv.part")] {
            std::os::unix::fs::symlink(&other, link).unwrap();
        }
        let mut file = partial(&path).unwrap();
        assert_eq!(file.path().parent(), Some(folder.path()));
        file.write_all(b"failures").unwrap();
        put_in_place(file, &path).unwrap();
        assert_eq!(fs::read_to_string(&other).unwrap(), "other");
        let written = fs::symlink_metadata(&path).unwrap();
        assert!(written.is_file());
        assert_eq!(written.permissions().mode() & 0o777, 0o600);
        drop(partial(&path).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "one that is dropped is gone");
    }

    #[test]
    fn reasons_that_name_a_record_are_counted_together() {
        let failure = |reason: &str, text: &str| Failure {
            reason: reason.to_owned(),
            reason_text: text.to_owned(),
            ..Failure::default()
        };
        let one = failure("PARENT_NOT_FOUND", "Parent record was not found: C00017");
        let other = failure("PARENT_NOT_FOUND", "Parent record was not found: C00018");
        assert_eq!(in_words(&one), in_words(&other));
        let blank = failure("REQUIRED_FIELD_BLANK", "Required field is blank: Surname");
        assert_eq!(in_words(&blank), "Required field is blank: Surname");
    }
}
