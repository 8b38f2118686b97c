//! The options of `concord import`.

use std::path::PathBuf;

use clap::Args;

use super::CallOptions;

#[derive(Args, Debug)]
pub(crate) struct ImportOptions {
    /// CSV files of clients, contacts and addresses, known by their headings;
    /// of a folder, all that are such files
    #[arg(required_unless_present = "retry", value_name = "FOLDER|FILE")]
    pub(crate) inputs: Vec<PathBuf>,
    /// What to call the import
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) label: String,
    /// Only check the records, with the same failures file; nothing is written
    /// until `concord imports commit IMPORT`
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Import files with unknown columns, without the values in these
    #[arg(long)]
    pub(crate) ignore_unknown_columns: bool,
    /// Try the records of this import again that failed, were blocked, or were
    /// not reached
    #[arg(
        long,
        value_name = "IMPORT",
        conflicts_with_all = ["inputs", "label", "dry_run", "ignore_unknown_columns"]
    )]
    pub(crate) retry: Option<String>,
    /// The failures file of the import, with the records corrected in it. Rows
    /// that were not changed are tried again as they are
    #[arg(long, value_name = "FILE", requires = "retry", num_args = 1..)]
    pub(crate) corrected: Vec<PathBuf>,
    /// Spread the records evenly over this many batches
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batches: Option<u32>,
    /// Where to write the records that were not imported;
    /// failures-IMPORT.csv without it, or, when that is there already,
    /// failures-IMPORT-2.csv and so on
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
    fn an_import_has_files_or_is_a_retry() {
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
