//! `concord serve`: runs both services, or one of them, until it is asked to
//! end.

use std::{fs, io, path::Path};

use anyhow::Context as _;
use imports::ImportsConfig;
use records::RecordsConfig;
use shared::{clock::Clock, db::DatabaseSettings, telemetry};

use crate::{
    DONE,
    cli::{ServeOptions, ServiceName},
    output,
    pair::{self, Running},
    stop,
};

/// What the log shows unless `CONCORD_LOG` says otherwise.
const LOG_FILTER: &str = "info";

pub(super) async fn run(options: ServeOptions) -> anyhow::Result<u8> {
    telemetry::start(LOG_FILTER, options.log_format.into());
    // Before anything is started, so that no signal is missed.
    let asked_to_stop = tokio::spawn(stop::asked());
    let mut services = start(&options).await?;
    for service in &services {
        output::note(format_args!("{} listens on {}", service.name(), service.url()));
        output::line(format_args!("{} listening on {}", service.name(), service.address()))?;
    }
    let ended = tokio::select! {
        asked = asked_to_stop => {
            output::note("ending: calls under way are brought to their end");
            asked?.context("signals cannot be heard")
        }
        ended = pair::any_ended(&mut services) => {
            ended.and_then(|()| Err(anyhow::anyhow!("a service ended by itself")))
        }
    };
    ended.and(pair::stop(services).await)?;
    Ok(DONE)
}

async fn start(options: &ServeOptions) -> anyhow::Result<Vec<Running>> {
    let clock = Clock::system(options.time_zone);
    let mut services = Vec::new();
    if options.service != Some(ServiceName::Imports) {
        let database = database(options.records_db.as_deref(), &options.data_dir, "records.db")?;
        let config = RecordsConfig::new(options.records_listen, database, clock.clone());
        services.push(pair::start_records(config).await?);
    }
    if options.service != Some(ServiceName::Records) {
        let database = database(options.imports_db.as_deref(), &options.data_dir, "imports.db")?;
        let listening = services.first().map(Running::url);
        let records_url = options.records.clone().or(listening);
        let records_url =
            records_url.unwrap_or_else(|| format!("http://{}", options.records_listen));
        let config = ImportsConfig::new(options.imports_listen, database, records_url, clock);
        services.push(pair::start_imports(config).await?);
    }
    Ok(services)
}

/// The database that was named, or a file in the data folder.
fn database(url: Option<&str>, folder: &Path, file: &str) -> anyhow::Result<DatabaseSettings> {
    if let Some(url) = url {
        return Ok(DatabaseSettings::new(url));
    }
    create_private(folder)
        .with_context(|| format!("cannot create the folder {}", folder.display()))?;
    Ok(DatabaseSettings::new(format!("sqlite:{}", folder.join(file).display())))
}

/// The folder holds people's data: it is for its owner only.
fn create_private(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}
