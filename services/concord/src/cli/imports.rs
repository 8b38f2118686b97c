//! The options of `concord imports`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::CallOptions;

#[derive(Args, Debug)]
pub(crate) struct ImportsOptions {
    #[command(subcommand)]
    pub(crate) command: ImportsCommand,
}

/// What to do with imports.
#[derive(Debug, Subcommand)]
pub(crate) enum ImportsCommand {
    /// List the imports of the practice, the newest first
    List(ListOptions),
    /// Show one import: its state, its counts by kind, its times
    Show(OneImport),
    /// List the records that an import did not take, or write them to a file
    Failures(FailuresOptions),
    /// List the imported records that look like another one; nothing is merged
    Duplicates(DuplicatesOptions),
    /// Watch an import to its end
    Watch(OneImport),
    /// Apply an import that was only checked, and watch it to its end
    Commit(CommitOptions),
    /// End an import before its time: what was applied stays
    Cancel(OneImport),
}

#[derive(Args, Debug)]
pub(crate) struct ListOptions {
    /// Only those with records that failed and can be tried again
    #[arg(long)]
    pub(crate) failed: bool,
    /// Show at most this many
    #[arg(
        long,
        value_name = "N",
        default_value_t = 50,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(crate) limit: u32,
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
    /// Write all of them to this CSV file, with the fields of the records, to be
    /// corrected in it
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Show at most this many
    #[arg(
        long,
        value_name = "N",
        default_value_t = 50,
        conflicts_with = "file",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) call: CallOptions,
}

#[derive(Args, Debug)]
pub(crate) struct DuplicatesOptions {
    /// The import, `imp_…`
    #[arg(value_name = "IMPORT")]
    pub(crate) import: String,
    /// Show at most this many
    #[arg(
        long,
        value_name = "N",
        default_value_t = 50,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) call: CallOptions,
}

#[derive(Args, Debug)]
pub(crate) struct CommitOptions {
    /// The import, `imp_…`; a dry run that has ended
    #[arg(value_name = "IMPORT")]
    pub(crate) import: String,
    /// Where to write the records that were not imported;
    /// failures-IMPORT.csv without it, or, when that is there already,
    /// failures-IMPORT-2.csv and so on
    #[arg(long, value_name = "FILE")]
    pub(crate) failures: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) call: CallOptions,
}
