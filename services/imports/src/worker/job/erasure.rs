//! Erases uploads before they are applied, if their records were erased after the
//! upload.

use std::sync::Arc;

use super::Job;
use crate::{
    erasure::{Erasures, ROWS_PER_TX},
    store,
    worker::retry_policy::PageError,
};

impl Job {
    /// Erases the uploads of erased records. Runs before anything is applied under the
    /// lease, with no page in memory.
    pub(super) async fn erase(&mut self) -> Result<(), PageError> {
        let import = &self.lease.import;
        // From the first erasure on: records may have been uploaded after the last
        // scan.
        let (mut after, created) = (0, import.created_at);
        loop {
            let erasures =
                Erasures::fetch(&self.imports.records, &self.behalf, after, created).await?;
            let more = erasures.more;
            after = erasures.known;
            if !erasures.is_empty() {
                self.erase_page(erasures).await?;
            }
            if !more {
                break;
            }
        }
        self.known_erasure = Some(after);
        Ok(())
    }

    async fn erase_page(&self, erasures: Erasures) -> Result<(), PageError> {
        let record_ids = erasures.record_ids();
        let rows = erasures.find(&self.imports, &self.lease.import).await?;
        let count = rows.len();
        for rows in rows.chunks(ROWS_PER_TX) {
            let work = Arc::new((self.lease.clone(), self.checkpoint.clone(), rows.to_vec()));
            let until = self.imports.clock.now() + self.settings.lease;
            let written = self.imports.db.write(&self.key().practice, move |tx| {
                let work = Arc::clone(&work);
                async move {
                    let (lease, at, rows) = &*work;
                    if !store::lease::advance(&*tx, lease, until, at, at).await? {
                        return Err(PageError::CheckpointMoved);
                    }
                    Ok(store::erasure::erase(&*tx, &lease.import.key, rows).await?)
                }
            });
            written.await?;
        }
        let work = Arc::new((self.key().clone(), record_ids));
        let written = self.imports.db.write(&self.key().practice, move |tx| {
            let work = Arc::clone(&work);
            async move {
                let (key, record_ids) = &*work;
                Ok::<_, PageError>(store::erasure::erase_external(&*tx, key, record_ids).await?)
            }
        });
        written.await?;
        if count > 0 {
            self.imports.db.request_erasure();
            tracing::info!(import = self.name(), count, "erased uploaded records");
        }
        Ok(())
    }
}
