//! One transaction script for each command.
//!
//! A script is given what a caller asks for, parsed, and who asks; it reads,
//! decides by the rules of [`domain`](crate::domain), writes the records with
//! their images, and appends the changes last.

pub(crate) mod connections;
pub(crate) mod contacts;
pub(crate) mod create;
pub(crate) mod ingest;
pub(crate) mod names;
mod new_records;
pub(crate) mod reading;

use std::{future::Future, sync::Arc};

use shared::{
    clock::Clock,
    db::{Database, WriteTx},
};

use crate::{error::RecordError, feed::Feed};

/// What every script needs.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    pub(crate) db: Database,
    pub(crate) clock: Clock,
    pub(crate) feed: Feed,
}

impl Records {
    /// Runs a script in a transaction, and wakes the sequencer after it.
    ///
    /// `input` is handed to every run of the script: it may run more than once.
    async fn write<I, T, F, Fut>(&self, input: I, script: F) -> Result<T, RecordError>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        F: Fn(WriteTx, Arc<I>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, RecordError>> + Send + 'static,
    {
        let input = Arc::new(input);
        let answer = self.db.write(move |tx| script(tx, Arc::clone(&input))).await?;
        self.feed.changes_were_committed();
        Ok(answer)
    }
}
