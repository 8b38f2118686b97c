//! The import of CSV files: reads, corrects and packs the records, uploads them, watches the
//! import, and collects its summary and its failures.

pub(crate) mod batches;
pub(crate) mod corrections;
pub(crate) mod csv_source;
pub(crate) mod failures;
pub(crate) mod rounds;
mod spreadsheet;
pub(crate) mod summary;
pub(crate) mod transfer;
pub(crate) mod watch;
