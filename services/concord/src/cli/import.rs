//! The options of `concord import`.

use std::path::PathBuf;

use clap::Args;

use super::CallOptions;

#[derive(Args, Debug)]
pub(crate) struct ImportOptions {
    /// CSV files of clients, contacts and addresses, recognised by their headings;
    /// for a folder, all such files in it
    #[arg(required_unless_present = "retry", value_name = "FOLDER|FILE")]
    pub(crate) inputs: Vec<PathBuf>,
    /// A label for the import
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) label: String,
    /// Only validate the records, and write the failures file; `concord imports commit
    /// IMPORT` then applies them
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Import files with unknown columns, and ignore the values in those columns
    #[arg(long)]
    pub(crate) ignore_unknown_columns: bool,
    /// Retry the records of this import that failed, were blocked, or were not processed
    #[arg(
        long,
        value_name = "IMPORT",
        conflicts_with_all = ["inputs", "label", "dry_run", "ignore_unknown_columns"]
    )]
    pub(crate) retry: Option<String>,
    /// The failures file of the import, with corrected records. Unchanged rows are
    /// retried as they are
    #[arg(long, value_name = "FILE", requires = "retry", num_args = 1..)]
    pub(crate) corrected: Vec<PathBuf>,
    /// Spread the records evenly over this many batches
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batches: Option<u32>,
    /// The file for the records that were not imported; by default failures-IMPORT.csv,
    /// or, when it exists, failures-IMPORT-2.csv and so on
    #[arg(long, value_name = "FILE")]
    pub(crate) failures: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) call: CallOptions,
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::cli::Cli;

    fn parse(args: &[&str]) -> Result<Cli, String> {
        let command = ["concord", "import"].iter().chain(args);
        Cli::try_parse_from(command).map_err(|error| error.to_string())
    }

    #[test]
    fn import_requires_files_or_retry() {
        assert!(parse(&["folder", "--dry-run", "--label", "x"]).is_ok());
        assert!(parse(&["--retry", "imp_1"]).is_ok());
        assert!(parse(&["--retry", "imp_1", "--corrected", "a.csv", "b.csv"]).is_ok());
        assert!(parse(&[]).unwrap_err().contains("FOLDER|FILE"));
        assert!(parse(&["--corrected", "a.csv"]).is_err());
        let ignore = &["--ignore-unknown-columns"][..];
        for more in [&["folder"][..], &["--dry-run"], &["--label", "x"], ignore] {
            let args = [&["--retry", "imp_1"], more].concat();
            assert!(parse(&args).unwrap_err().contains("cannot be used with"), "{args:?}");
        }
    }
}
