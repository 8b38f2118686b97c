//! One module for each command.

mod connect;
mod demo;
mod find;
mod import;
mod imports;
mod keys;
mod migrate;
mod restored;
mod serve;
mod show;
mod subscriptions;
mod token;
mod trace;
mod watch;

use anyhow::anyhow;
use shared::db::{Outage, TablesError, outage, plainly};

use crate::cli::{Command, ServiceName};

/// Runs the command, and says how the program ends.
pub(crate) async fn run(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Demo(options) => demo::run(options).await,
        Command::Serve(options) => serve::run(options).await,
        Command::Keys(options) => keys::run(&options),
        Command::Token(options) => token::run(&options),
        Command::Migrate(options) => migrate::run(options).await,
        Command::Restored(options) => restored::run(options).await,
        Command::Connect(options) => connect::run(options).await,
        Command::Import(options) => import::run(options).await,
        Command::Imports(options) => imports::run(options.command).await,
        Command::Watch(options) => watch::run(options).await,
        Command::Subscriptions(options) => subscriptions::run(options).await,
        Command::Trace(options) => trace::run(options).await,
        Command::Find(options) => find::run(options).await,
        Command::Show(options) => show::run(options).await,
    }
}

/// The error of a service whose database cannot be reached, in one sentence; any other
/// error as it is.
fn explained(service: ServiceName, error: anyhow::Error) -> anyhow::Error {
    let service = service.as_str();
    let tables = error.chain().find_map(|cause| cause.downcast_ref::<TablesError>());
    let cause = match tables {
        Some(TablesError::Database(error)) if outage(error) == Some(Outage::NoConnection) => {
            plainly(error).to_string()
        }
        _ => return error,
    };
    // It may hold the URL, and that a password.
    let cause = if cause.contains("://") { String::new() } else { format!(": {cause}") };
    anyhow!(
        "the database of the {service} service cannot be reached{cause}: does it run, and is \
         --{service}-db right?"
    )
}
