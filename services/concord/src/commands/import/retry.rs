//! `concord import --retry`: retries failed records, unchanged or corrected.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use concord_proto::pb::imports::Import;

use crate::{
    cli::ImportOptions,
    client::ServiceClient,
    importer::{
        batches::Layout,
        corrections::{self, Corrections},
        csv_source::{FailedRow, Replacement, Source, downloaded_rows, failed_rows},
        failures, rounds,
        summary::{self, FailuresFile},
        transfer,
        watch::watch_to_end,
    },
    render::{progress::Progress, report::Report},
};

/// The maximum number of omitted records that are named.
const MAX_NAMED: usize = 5;

/// Starts the next round of the import, and watches it until it ends.
pub(super) async fn retry(import_id: &str, options: ImportOptions) -> anyhow::Result<Report> {
    let ImportOptions { corrected, batches, failures, call, .. } = options;
    check_not_overwritten(failures.as_deref(), &corrected)?;
    let rows = read(corrected).await?;
    let server = ServiceClient::imports(&call).await?;
    let progress = Progress::new(0);
    let before = rounds::get(&server, import_id, &progress).await?;
    let changed = match rows {
        Some(rows) => changed(&server, &before.id, &rows, &progress).await?,
        None => Vec::new(),
    };
    let import = rounds::retry(&server, &before, !changed.is_empty(), &progress).await?;
    progress.note(format_args!("import {import_id}, round {}", import.round));
    if !changed.is_empty() {
        progress.note(format_args!("{} corrected records", changed.len()));
        upload(&server, &import, changed, batches, &progress).await?;
    }
    let ended = watch_to_end(&server, import_id, &progress).await?;
    Ok(summary::of(&server, ended, FailuresFile::of(failures), &call, &progress).await)
}

/// Fails when the new failures file would overwrite a corrected file.
fn check_not_overwritten(failures: Option<&Path>, corrected: &[PathBuf]) -> anyhow::Result<()> {
    let Some(failures) = failures else { return Ok(()) };
    let absolute = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let is_same = corrected.iter().any(|file| absolute(file) == absolute(failures));
    ensure!(!is_same, "--failures names the corrected file, and would overwrite it");
    Ok(())
}

/// Reads the rows of the corrected files; none when there are no files.
async fn read(files: Vec<PathBuf>) -> anyhow::Result<Option<Vec<FailedRow>>> {
    if files.is_empty() {
        return Ok(None);
    }
    let rows = tokio::task::spawn_blocking(move || {
        let mut all = Vec::new();
        for file in &files {
            all.extend(failed_rows(file)?);
        }
        anyhow::Ok(all)
    });
    Ok(Some(rows.await??))
}

/// The records that differ from the failures file of the service.
async fn changed(
    server: &ServiceClient,
    import_id: &str,
    rows: &[FailedRow],
    progress: &Progress,
) -> anyhow::Result<Vec<Replacement>> {
    corrections::check_import(import_id, rows)?;
    let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
    let file = folder.path().join("failures.csv");
    let original = if failures::download(server, import_id, &file, progress).await? {
        tokio::task::spawn_blocking(move || downloaded_rows(&file)).await??
    } else {
        Vec::new()
    };
    let Corrections { changed, unknown, not_failed, rewritten } =
        corrections::compare(import_id, &original, rows)?;
    if let Some(remark) = corrections::remarks(&rewritten) {
        progress.note(remark);
    }
    let reason = "they are not, or no longer, among the failures of this import";
    report_omitted(progress, reason, &unknown);
    report_omitted(progress, "they did not fail", &not_failed);
    if changed.is_empty() {
        progress.note("nothing was changed in the file: the records are retried as they are");
    }
    Ok(changed)
}

/// Reports records that are not sent.
fn report_omitted(progress: &Progress, reason: &str, records: &[String]) {
    if records.is_empty() {
        return;
    }
    let names: Vec<_> = records.iter().take(MAX_NAMED).map(String::as_str).collect();
    let more = if records.len() > MAX_NAMED { ", …" } else { "" };
    progress.note(format_args!(
        "omitted, because {reason}: {} records: {}{more}",
        records.len(),
        names.join(", ")
    ));
}

/// Uploads the corrected records, and starts the round.
async fn upload(
    server: &ServiceClient,
    import: &Import,
    changed: Vec<Replacement>,
    batches: Option<u32>,
    progress: &Progress,
) -> anyhow::Result<()> {
    let source = Source::of_replacements(changed);
    let layout = Layout::of(source.counts().all(), batches);
    progress.set_total(source.counts().all());
    let sent = transfer::transfer(server, &import.id, import.round, source, layout, progress).await;
    sent.with_context(|| {
        format!(
            "round {} waits for its records; repeat this command to resume it, or cancel it by \
             `concord imports cancel {}`",
            import.round, import.id
        )
    })
}
