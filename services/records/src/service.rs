//! The commands and queries of the service; each command runs in one transaction.
//!
//! A command gets the parsed request and its caller. It reads the records, decides by
//! the rules of [`domain`](crate::domain), writes the records with their images, and
//! appends the changes to the outbox last.

mod access_log;
pub(crate) mod connections;
pub(crate) mod contact_edits;
pub(crate) mod contacts;
pub(crate) mod create;
mod duplicates;
pub(crate) mod history;
pub(crate) mod ingest;
pub(crate) mod links;
mod new_records;
mod open;
mod purge;
pub(crate) mod reading;
pub(crate) mod request_context;
pub(crate) mod resolve;
mod search_document;
mod subject;
pub(crate) mod subscriptions;
pub(crate) mod support;
pub(crate) mod trace;
mod unit_of_work;
pub(crate) mod update;

use std::sync::Arc;

use concord_core::clock::Clock;
use concord_db::Database;

use crate::{feed::Feed, record_loader::RecordLoader};
use ingest::AnalyzeSchedule;

/// The dependencies of all commands and queries.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    pub(crate) db: Database,
    pub(crate) loader: RecordLoader,
    /// When imports have to refresh the planner statistics.
    pub(crate) analyze_schedule: Arc<AnalyzeSchedule>,
    pub(crate) clock: Clock,
    pub(crate) feed: Feed,
    /// Time between orphaning and purge of a record.
    pub(crate) purge_after: chrono::TimeDelta,
    /// Retention of changes in the feeds.
    pub(crate) feed_retention: chrono::TimeDelta,
}
