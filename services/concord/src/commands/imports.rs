//! `concord imports`: lists imports, shows one, and brings one to its end.

mod duplicates;
mod failures;
mod list;

use crate::{
    DONE,
    cli::{CommitOptions, ImportsCommand, OneImport},
    client::Server,
    import_page::ImportPage,
    output,
    progress::Progress,
    rounds,
    summary::{self, FailuresFile},
    watching,
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
    let server = Server::imports(&call).await?;
    let page = ImportPage(rounds::get(&server, &import, &Progress::hidden()).await?);
    page.write(call.json)?;
    Ok(DONE)
}

async fn watch(options: OneImport) -> anyhow::Result<u8> {
    let OneImport { import, call } = options;
    let server = Server::imports(&call).await?;
    let progress = Progress::new(0);
    let ended = watching::to_its_end(&server, &import, &progress).await?;
    let report = summary::of(&server, ended, FailuresFile::None, &call, &progress).await;
    drop(progress);
    summary::show(&report, call.json)
}

async fn commit(options: CommitOptions) -> anyhow::Result<u8> {
    let CommitOptions { import, failures, call } = options;
    let server = Server::imports(&call).await?;
    let progress = Progress::new(0);
    rounds::commit(&server, &import, &progress).await?;
    let ended = watching::to_its_end(&server, &import, &progress).await?;
    let file = FailuresFile::of(failures);
    let report = summary::of(&server, ended, file, &call, &progress).await;
    drop(progress);
    summary::show(&report, call.json)
}

/// Asks the import to end, and waits until it has.
async fn cancel(options: OneImport) -> anyhow::Result<u8> {
    let OneImport { import, call } = options;
    let server = Server::imports(&call).await?;
    let progress = Progress::hidden();
    let asked = rounds::cancel(&server, &import, &progress).await?;
    if asked.cancel_requested && !asked.validate_only && asked.end_time.is_none() {
        output::note("it stops after the records at hand");
    }
    let ended = watching::to_its_end(&server, &import, &progress).await?;
    ImportPage(ended).write(call.json)?;
    Ok(DONE)
}
