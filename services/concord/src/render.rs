//! Output: the results of commands as text, tables, pages and JSON, and the progress of an
//! import.

pub(crate) mod duplicate_table;
pub(crate) mod event_json;
pub(crate) mod event_text;
pub(crate) mod failure_table;
mod import_counts;
pub(crate) mod import_page;
pub(crate) mod import_table;
pub(crate) mod json;
pub(crate) mod lag;
pub(crate) mod names;
pub(crate) mod output;
pub(crate) mod progress;
pub(crate) mod record_page;
pub(crate) mod report;
pub(crate) mod search_results;
pub(crate) mod trace_page;
