//! The options of `concord imports`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{CallOptions, ResultOptions};

#[derive(Args, Debug)]
pub(crate) struct ImportsOptions {
    #[command(subcommand)]
    pub(crate) command: ImportsCommand,
}

/// A subcommand of `concord imports`.
#[derive(Debug, Subcommand)]
pub(crate) enum ImportsCommand {
    /// List the imports of the practice, the newest first
    List(ListOptions),
    /// Show one import: state, counts by kind, times
    Show(OneImport),
    /// List the records that were not imported, or write them to a file
    Failures(FailuresOptions),
    /// List imported records that may be duplicates; nothing is merged
    Duplicates(DuplicatesOptions),
    /// Watch an import until it ends
    Watch(OneImport),
    /// Apply a dry run, and watch it until it ends
    Commit(CommitOptions),
    /// Cancel an import: records that were applied stay
    Cancel(OneImport),
}

#[derive(Args, Debug)]
pub(crate) struct ListOptions {
    /// Only imports with failed records that can be retried
    #[arg(long)]
    pub(crate) failed: bool,
    #[command(flatten)]
    pub(crate) results: ResultOptions,
    #[command(flatten)]
    pub(crate) call: CallOptions,
}

#[derive(Args, Debug)]
pub(crate) struct OneImport {
    /// The import, `imp_…`
    #[arg(value_name = "IMPORT")]
    pub(crate) import: String,
    #[command(flatten)]
    pub(crate) call: CallOptions,
}

#[derive(Args, Debug)]
pub(crate) struct FailuresOptions {
    /// The import, `imp_…`
    #[arg(value_name = "IMPORT")]
    pub(crate) import: String,
    /// Write all failures to this CSV file, with the fields of the records, for correction
    #[arg(long, value_name = "FILE", conflicts_with = "limit")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) results: ResultOptions,
    #[command(flatten)]
    pub(crate) call: CallOptions,
}

#[derive(Args, Debug)]
pub(crate) struct DuplicatesOptions {
    /// The import, `imp_…`
    #[arg(value_name = "IMPORT")]
    pub(crate) import: String,
    #[command(flatten)]
    pub(crate) results: ResultOptions,
    #[command(flatten)]
    pub(crate) call: CallOptions,
}

#[derive(Args, Debug)]
pub(crate) struct CommitOptions {
    /// The import, `imp_…`: a dry run that has ended
    #[arg(value_name = "IMPORT")]
    pub(crate) import: String,
    /// The file for the records that were not imported; by default failures-IMPORT.csv,
    /// or, when it exists, failures-IMPORT-2.csv and so on
    #[arg(long, value_name = "FILE")]
    pub(crate) failures: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) call: CallOptions,
}
