//! The subcommands, one module each.

mod connect;
mod demo;
mod find;
mod import;
mod imports;
mod keys;
mod migrate;
mod post_restore;
mod serve;
mod show;
mod subscriptions;
mod token;
mod trace;
mod watch;

use crate::cli::Command;

/// Runs the command. Returns the exit status of the program.
pub(crate) async fn run(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Demo(options) => demo::run(options).await,
        Command::Serve(options) => serve::run(options).await,
        Command::Keys(options) => keys::run(&options),
        Command::Token(options) => token::run(&options),
        Command::Migrate(options) => migrate::run(options).await,
        Command::PostRestore(options) => post_restore::run(options).await,
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
