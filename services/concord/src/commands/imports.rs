//! `concord imports`: lists, shows, watches, commits and cancels imports.

mod duplicates;
mod failures;
mod list;

use crate::{
    cli::{CommitOptions, ImportsCommand, OneImport},
    client::ServiceClient,
    importer::{
        rounds,
        summary::{self, FailuresFile},
        watch::watch_to_end,
    },
    render::{import_page::ImportPage, output, progress::Progress},
};

pub(super) async fn run(command: ImportsCommand) -> anyhow::Result<u8> {
    match command {
        ImportsCommand::List(options) => list::run(options).await,
        ImportsCommand::Show(options) => show(options).await,
        ImportsCommand::Failures(options) => failures::run(options).await,
        ImportsCommand::Duplicates(options) => duplicates::run(options).await,
        ImportsCommand::Watch(options) => watch(options).await,
        ImportsCommand::Commit(options) => commit(options).await,
        ImportsCommand::Cancel(options) => cancel(options).await,
    }
}

async fn show(options: OneImport) -> anyhow::Result<u8> {
    let OneImport { import, call } = options;
    let server = ServiceClient::imports(&call).await?;
    let page = ImportPage(rounds::get(&server, &import, &Progress::hidden()).await?);
    page.write(call.json)?;
    Ok(output::EXIT_OK)
}

async fn watch(options: OneImport) -> anyhow::Result<u8> {
    let OneImport { import, call } = options;
    let server = ServiceClient::imports(&call).await?;
    let progress = Progress::new(0);
    let ended = watch_to_end(&server, &import, &progress).await?;
    let report = summary::of(&server, ended, FailuresFile::None, &call, &progress).await;
    drop(progress);
    report.write(call.json)
}

async fn commit(options: CommitOptions) -> anyhow::Result<u8> {
    let CommitOptions { import, failures, call } = options;
    let server = ServiceClient::imports(&call).await?;
    let progress = Progress::new(0);
    rounds::commit(&server, &import, &progress).await?;
    let ended = watch_to_end(&server, &import, &progress).await?;
    let file = FailuresFile::of(failures);
    let report = summary::of(&server, ended, file, &call, &progress).await;
    drop(progress);
    report.write(call.json)
}

/// Requests the cancellation of the import, and waits for its end.
async fn cancel(options: OneImport) -> anyhow::Result<u8> {
    let OneImport { import, call } = options;
    let server = ServiceClient::imports(&call).await?;
    let progress = Progress::hidden();
    let updated = rounds::cancel(&server, &import, &progress).await?;
    if updated.cancel_requested && !updated.validate_only && updated.end_time.is_none() {
        output::note("the import stops after the chunk that is being applied");
    }
    let ended = watch_to_end(&server, &import, &progress).await?;
    ImportPage(ended).write(call.json)?;
    Ok(output::EXIT_OK)
}
