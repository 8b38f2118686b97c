//! `concord restored`: after backups were restored, and before the services are
//! started on them.

use anyhow::Context as _;
use shared::db::DatabaseSettings;

use crate::{
    DONE,
    cli::{RestoredOptions, ServiceName},
    output,
};

pub(super) async fn run(options: RestoredOptions) -> anyhow::Result<u8> {
    for service in ServiceName::chosen(options.service) {
        let database = options.databases.of(*service)?;
        let told = match service {
            ServiceName::Records => records(database).await,
            ServiceName::Imports => imports(database).await,
        };
        let told =
            told.with_context(|| format!("the database of the {} service", service.as_str()));
        output::line(format_args!("{}: {}", service.as_str(), told?))?;
    }
    Ok(DONE)
}

async fn records(database: DatabaseSettings) -> anyhow::Result<String> {
    let begun = records::restored(database).await?;
    Ok(format!(
        "{} feeds begin a new epoch, and {} subscriptions have lost their place: every subscriber \
         is refused its old cursor, and takes a snapshot",
        begun.feeds, begun.subscriptions
    ))
}

async fn imports(database: DatabaseSettings) -> anyhow::Result<String> {
    let count = imports::restored(database).await?;
    Ok(format!("{count} imports that have not ended are free, and go on with new leases"))
}
