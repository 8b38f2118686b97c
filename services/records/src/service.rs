//! One transaction script for each command.
//!
//! A script is given what a caller asks for, parsed, and who asks; it reads,
//! decides by the rules of [`domain`](crate::domain), writes the records with
//! their images, and appends the changes last.

pub(crate) mod connections;
pub(crate) mod contacts;
pub(crate) mod create;
mod duplicates;
mod findable;
pub(crate) mod history;
pub(crate) mod ingest;
pub(crate) mod intent;
pub(crate) mod links;
pub(crate) mod names;
mod new_records;
mod open;
pub(crate) mod places;
mod purge;
pub(crate) mod reading;
mod save;
mod script;
pub(crate) mod subscriptions;
pub(crate) mod support;
mod support_reads;
pub(crate) mod trace;
pub(crate) mod update;

use std::sync::Arc;

use shared::{clock::Clock, db::Database};

use crate::{feed::Feed, reads::Reads};
use ingest::Growth;

/// What every script needs.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    pub(crate) db: Database,
    pub(crate) reads: Reads,
    /// What imports have brought.
    pub(crate) growth: Arc<Growth>,
    pub(crate) clock: Clock,
    pub(crate) feed: Feed,
    /// How long an orphaned record waits for its removal.
    pub(crate) purge_after: chrono::TimeDelta,
    /// How long the feeds keep a change.
    pub(crate) feed_retention: chrono::TimeDelta,
}
