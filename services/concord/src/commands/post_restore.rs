//! `concord post-restore`: starts new feed epochs and releases the leases of imports,
//! after backups were restored and before the services are started on them.

use anyhow::Context as _;
use concord_db::DatabaseSettings;

use crate::{
    cli::{PostRestoreOptions, ServiceName},
    render::output,
};

pub(super) async fn run(options: PostRestoreOptions) -> anyhow::Result<u8> {
    for service in ServiceName::chosen(options.service) {
        let database = options.databases.of(*service)?;
        let result = match service {
            ServiceName::Records => records(database).await,
            ServiceName::Imports => imports(database).await,
        };
        let result =
            result.with_context(|| format!("the database of the {} service", service.as_str()));
        output::line(format_args!("{}: {}", service.as_str(), result?))?;
    }
    Ok(output::EXIT_OK)
}

async fn records(database: DatabaseSettings) -> anyhow::Result<String> {
    let renewed = records::post_restore(database).await?;
    Ok(format!(
        "{} feeds start a new epoch, and {} subscriptions lose their position: old cursors are \
         rejected, and every subscriber takes a snapshot",
        renewed.feeds, renewed.subscriptions
    ))
}

async fn imports(database: DatabaseSettings) -> anyhow::Result<String> {
    let count = imports::post_restore(database).await?;
    Ok(format!("{count} unfinished imports are released, and resume with new leases"))
}
