//! `concord imports failures`.

use std::path::Path;

use concord_proto::pb::imports::{RecordStatus, Severity};
use serde_json::json;

use crate::{
    cli::FailuresOptions,
    client::ServiceClient,
    importer::{failures, rounds},
    render::{failure_table::FailureTable, output, progress::Progress, report::what_is_in_file},
};

pub(super) async fn run(options: FailuresOptions) -> anyhow::Result<u8> {
    let FailuresOptions { import, file, results, call } = options;
    let server = ServiceClient::imports(&call).await?;
    match file {
        Some(file) => write(&server, &import, &file, call.json).await?,
        None => list(&server, &import, results.limit(), call.json).await?,
    }
    Ok(output::EXIT_OK)
}

async fn write(
    server: &ServiceClient,
    import: &str,
    file: &Path,
    as_json: bool,
) -> anyhow::Result<()> {
    let progress = Progress::hidden();
    let written = failures::download(server, import, file, &progress).await?;
    if as_json {
        let file = written.then(|| file.to_string_lossy());
        output::line(json!({ "import_id": import, "failures_file": file }))?;
    } else if written {
        let counters = rounds::get(server, import, &progress).await?.counters.unwrap_or_default();
        output::line(format_args!("{} in {}", what_is_in_file(&counters), file.display()))?;
    } else {
        output::note("there are no failures, and no file was written");
    }
    Ok(())
}

async fn list(
    server: &ServiceClient,
    import: &str,
    limit: usize,
    as_json: bool,
) -> anyhow::Result<()> {
    let any = (RecordStatus::Unspecified, Severity::Unspecified);
    let progress = Progress::hidden();
    let mut failures = failures::list(server, import, any, limit + 1, &progress).await?;
    let more = failures.len() > limit;
    failures.truncate(limit);
    let table = FailureTable { failures, more };
    if as_json {
        output::line(table.json()?)?;
    } else if table.failures.is_empty() {
        output::note("there are no failures");
    } else {
        output::line(&table)?;
    }
    if more {
        output::note("there are more: --limit N shows up to N, --file FILE writes all");
    }
    Ok(())
}
