//! `concord import`: imports a practice from CSV files, or retries failed records.

mod retry;

use std::path::PathBuf;

use anyhow::{Context as _, ensure};

use crate::{
    cli::ImportOptions,
    client::ServiceClient,
    importer::{
        batches::Layout,
        csv_source::Source,
        summary::{self, FailuresFile},
        transfer,
        watch::watch_to_end,
    },
    render::{output, progress::Progress, report::Report},
};

pub(super) async fn run(options: ImportOptions) -> anyhow::Result<u8> {
    options.call.practice()?;
    options.call.product()?;
    let json = options.call.json;
    let report = match options.retry.clone() {
        Some(import) => retry::retry(&import, options).await?,
        None => import(options).await?,
    };
    report.write(json)
}

/// Imports the files, and writes the failures file when there are failures.
pub(super) async fn import(options: ImportOptions) -> anyhow::Result<Report> {
    let ImportOptions { inputs, label, dry_run, ignore_unknown_columns, .. } = options;
    let ImportOptions { batches, failures, call, .. } = options;
    let source = scan(inputs).await?;
    check_unknown_columns(source.unknown_columns(), dry_run, ignore_unknown_columns)?;
    let server = ServiceClient::imports(&call).await?;
    let layout = Layout::of(source.counts().all(), batches);
    let progress = Progress::new(source.counts().all());
    let opened = transfer::open(&server, &label, dry_run, &progress).await;
    let import_id = opened.context("the import was not created")?;
    let what = if dry_run { "dry run" } else { "import" };
    progress.note(format_args!("{what} {import_id}: {} records", source.counts().all()));
    transfer::transfer(&server, &import_id, 1, source, layout, &progress).await?;
    let ended = watch_to_end(&server, &import_id, &progress).await?;
    Ok(summary::of(&server, ended, FailuresFile::of(failures), &call, &progress).await)
}

async fn scan(inputs: Vec<PathBuf>) -> anyhow::Result<Source> {
    let source = tokio::task::spawn_blocking(move || Source::scan(&inputs)).await??;
    for remark in source.remarks() {
        output::note(remark);
    }
    ensure!(source.counts().all() > 0, "the files have headings, and no records below them");
    Ok(source)
}

/// Reports the columns that are not read. A real import needs an option to ignore them: a
/// later import skips the records that exist, so that the values stay lost.
fn check_unknown_columns(unknown: &[String], dry_run: bool, ignore: bool) -> anyhow::Result<()> {
    ensure!(
        unknown.is_empty() || dry_run || ignore,
        "{}\nnothing was imported: correct the headings, or pass --ignore-unknown-columns to \
         import without these columns",
        unknown.join("\n")
    );
    unknown.iter().for_each(output::note);
    if dry_run && !ignore && !unknown.is_empty() {
        output::note(
            "the dry run ignores these columns, and committing it imports without them; an \
             import of the files needs --ignore-unknown-columns",
        );
    }
    Ok(())
}
