//! `concord import --retry`: tries again what failed, as it is or corrected.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use shared::pb::imports::Import;

use super::layout;
use crate::{
    cli::ImportOptions,
    client::Server,
    corrections::{self, Corrections},
    csv_source::{FailedRow, Replacement, Source, downloaded_rows, failed_rows},
    failures,
    progress::Progress,
    report::Report,
    rounds,
    summary::{self, FailuresFile},
    transfer, watching,
};

/// So many records that are left out are named.
const NAMED: usize = 5;

/// Begins the next round of the import, and watches it to its end.
pub(super) async fn retry(import_id: &str, options: ImportOptions) -> anyhow::Result<Report> {
    let ImportOptions { corrected, batches, failures, call, .. } = options;
    check_is_kept(failures.as_deref(), &corrected)?;
    let rows = read(corrected).await?;
    let server = Server::imports(&call).await?;
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
    let ended = watching::to_its_end(&server, import_id, &progress).await?;
    Ok(summary::of(&server, ended, FailuresFile::of(failures), &call, &progress).await)
}

/// Refuses to write the new failures over the corrections.
fn check_is_kept(failures: Option<&Path>, corrected: &[PathBuf]) -> anyhow::Result<()> {
    let Some(failures) = failures else { return Ok(()) };
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let is_same = corrected.iter().any(|file| whole(file) == whole(failures));
    ensure!(!is_same, "--failures names the corrected file: it would be written over");
    Ok(())
}

/// The rows of the corrected files; none when there are no files.
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

/// The records that differ from the failures as the service has them.
async fn changed(
    server: &Server,
    import_id: &str,
    rows: &[FailedRow],
    progress: &Progress,
) -> anyhow::Result<Vec<Replacement>> {
    corrections::check_import(import_id, rows)?;
    let folder = tempfile::tempdir().context("there is no room for temporary files")?;
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
    let reason = "they are not among the failures of this import (any longer)";
    tell_left_out(progress, reason, &unknown);
    tell_left_out(progress, "they did not fail", &not_failed);
    if changed.is_empty() {
        progress.note("nothing was changed in the file: the records are tried again as they are");
    }
    Ok(changed)
}

/// Names records that are not sent.
fn tell_left_out(progress: &Progress, reason: &str, records: &[String]) {
    if records.is_empty() {
        return;
    }
    let names: Vec<_> = records.iter().take(NAMED).map(String::as_str).collect();
    let more = if records.len() > NAMED { ", …" } else { "" };
    progress.note(format_args!(
        "left out, because {reason}: {} records: {}{more}",
        records.len(),
        names.join(", ")
    ));
}

/// Uploads the corrected records, and starts the round.
async fn upload(
    server: &Server,
    import: &Import,
    changed: Vec<Replacement>,
    batches: Option<u32>,
    progress: &Progress,
) -> anyhow::Result<()> {
    let source = Source::of_replacements(changed);
    let layout = layout(&source, batches);
    progress.expect(source.counts().all());
    let sent = transfer::transfer(server, &import.id, import.round, source, layout, progress).await;
    sent.with_context(|| {
        format!(
            "round {} waits for its records; the same command goes on with it, and `concord \
             imports cancel {}` gives it up",
            import.round, import.id
        )
    })
}
