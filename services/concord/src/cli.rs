//! The command line: subcommands, options, and their environment variables.

mod call;
mod credential;
mod databases;
mod find;
mod import;
mod imports;
mod keys;
mod limits;
mod migrate;
mod operation;
mod products;
mod results;
mod security;
mod serve;
mod service_name;
mod watch;

use clap::{Parser, Subcommand};

pub(crate) use call::{CallOptions, quoted};
pub(crate) use credential::CredentialOptions;
pub(crate) use databases::{DatabaseLimits, Databases};
pub(crate) use find::{FindOptions, NamedKind, ShowOptions};
pub(crate) use import::ImportOptions;
pub(crate) use imports::{
    CommitOptions, DuplicatesOptions, FailuresOptions, ImportsCommand, ImportsOptions, ListOptions,
    OneImport,
};
pub(crate) use keys::{KeysOptions, TokenOptions};
pub(crate) use limits::LimitOptions;
pub(crate) use migrate::{MigrateOptions, PostRestoreOptions};
pub(crate) use operation::OperationOptions;
pub(crate) use products::{ConnectOptions, SubscriptionsOptions, TraceOptions};
pub(crate) use results::ResultOptions;
pub(crate) use security::SecurityOptions;
pub(crate) use serve::{DemoOptions, ServeOptions};
pub(crate) use service_name::ServiceName;
pub(crate) use watch::{Echo, Kind, Start, WatchOptions};

/// One client record for every product of an accountancy practice.
#[derive(Debug, Parser)]
#[command(name = "concord", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// A subcommand.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a demonstration: both services, two products, a sample practice
    Demo(DemoOptions),
    /// Run both services, or one of them
    Serve(ServeOptions),
    /// Migrate the database schemas of both services, or of one, to this version
    Migrate(MigrateOptions),
    /// Start new feed epochs and new leases after databases were restored from backups
    #[command(alias = "restored")]
    PostRestore(PostRestoreOptions),
    /// Generate keys, a secret, and certificates
    Keys(KeysOptions),
    /// Sign a token, for development or without a token issuer
    Token(TokenOptions),
    /// Connect a product to a practice
    Connect(ConnectOptions),
    /// Import a practice's clients, contacts and addresses from CSV files
    Import(ImportOptions),
    /// List, show, watch, commit and cancel imports
    Imports(ImportsOptions),
    /// Subscribe to the change events of a product, and print them
    Watch(WatchOptions),
    /// List the subscriptions of products, with their positions and their lag
    Subscriptions(SubscriptionsOptions),
    /// Show the delivery state of a change for every product
    Trace(TraceOptions),
    /// Find clients and persons by name, reference or identifier
    Find(FindOptions),
    /// Show one client or person: history, contacts, links, changes
    Show(ShowOptions),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn invalid_product_name_error_names_the_format() {
        let error = Cli::try_parse_from(["concord", "connect", "Manager"]).unwrap_err();
        assert!(error.to_string().contains("lower-case letters"));
    }

    #[test]
    fn missing_practice_error_names_the_option() {
        let cli = Cli::try_parse_from(["concord", "connect", "books"]).unwrap();
        let Command::Connect(options) = cli.command else { panic!("another command") };
        // CONCORD_PRACTICE may be set in the environment of the tests.
        if options.call.practice.is_none() {
            let error = options.call.practice().unwrap_err().to_string();
            assert!(error.contains("--practice"), "{error}");
        }
    }
}
