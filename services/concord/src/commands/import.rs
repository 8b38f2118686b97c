//! `concord import`: brings a practice over from CSV files.

use std::path::PathBuf;

use anyhow::ensure;

use crate::{
    DONE, SOME_FAILED, batches::Layout, cli::ImportOptions, client::Server, csv_source::Source,
    failures, output, progress::Progress, report::Report, transfer::transfer,
};

pub(super) async fn run(options: ImportOptions) -> anyhow::Result<u8> {
    options.call.practice()?;
    options.call.product()?;
    let json = options.call.json;
    let report = import(options).await?;
    if json {
        output::line(report.json())?;
    } else {
        output::line(&report)?;
    }
    Ok(if report.has_failures() { SOME_FAILED } else { DONE })
}

/// Imports the files, and writes the failures file when anything failed.
pub(super) async fn import(options: ImportOptions) -> anyhow::Result<Report> {
    let ImportOptions { inputs, label, batches, failures, call } = options;
    let source = scan(inputs).await?;
    let server = Server::imports(&call).await?;
    let records = source.counts().all();
    let layout = batches.map_or(Layout::Full, |batches| Layout::Even { records, batches });
    let progress = Progress::new(records);
    let import = transfer(&server, source, &label, layout, &progress).await?;
    let path = failures.unwrap_or_else(|| format!("failures-{}.csv", import.id).into());
    let counters = import.counters.unwrap_or_default();
    let mut report = Report { import, reasons: Vec::new(), failures_file: None };
    // What is imported is imported: the summary comes whatever becomes of these.
    if counters.failed + counters.excluded + counters.skipped > 0 {
        let import = &report.import.id;
        match failures::download(&server, import, &path, &progress).await {
            Ok(written) => report.failures_file = written.then_some(path),
            Err(error) => progress.note(format_args!("{error:#}")),
        }
    }
    if counters.failed > 0 {
        match failures::reasons(&server, &report.import.id, &progress).await {
            Ok(reasons) => report.reasons = reasons,
            Err(error) => progress.note(format_args!("the reasons could not be read: {error}")),
        }
    }
    Ok(report)
}

async fn scan(inputs: Vec<PathBuf>) -> anyhow::Result<Source> {
    let source = tokio::task::spawn_blocking(move || Source::scan(&inputs)).await??;
    for remark in source.remarks() {
        output::note(remark);
    }
    ensure!(source.counts().all() > 0, "the files have headings, and no records below them");
    Ok(source)
}
