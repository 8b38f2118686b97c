//! What was erased since it was uploaded is not applied.

use std::sync::Arc;

use super::Job;
use crate::{
    erasure::{Erasures, ROWS},
    store,
    worker::trouble::WorkFault,
};

impl Job {
    /// Erases the uploaded records that the records service has erased. Before anything
    /// is applied under the lease: no page is in memory.
    pub(super) async fn erase(&mut self) -> Result<(), WorkFault> {
        let import = &self.lease.import;
        // From the first erasure on: records may have been uploaded after a look.
        let (mut after, created) = (0, import.created_at);
        loop {
            let erasures =
                Erasures::fetch(&self.imports.records, &self.behalf, after, created).await?;
            let more = erasures.more;
            after = erasures.known;
            if !erasures.is_empty() {
                self.erase_some(erasures).await?;
            }
            if !more {
                break;
            }
        }
        self.known_erasure = Some(after);
        Ok(())
    }

    async fn erase_some(&self, erasures: Erasures) -> Result<(), WorkFault> {
        let record_ids = erasures.record_ids();
        let rows = erasures.find(&self.imports, &self.lease.import).await?;
        let count = rows.len();
        for rows in rows.chunks(ROWS) {
            let work = Arc::new((self.lease.clone(), self.at.clone(), rows.to_vec()));
            let until = self.imports.clock.now() + self.settings.lease;
            let written = self.imports.db.write(&self.key().practice, move |tx| {
                let work = Arc::clone(&work);
                async move {
                    let (lease, at, rows) = &*work;
                    if !store::lease::hold(&*tx, lease, until, at, at).await? {
                        return Err(WorkFault::Moved);
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
                Ok::<_, WorkFault>(store::erasure::erase_others(&*tx, key, record_ids).await?)
            }
        });
        written.await?;
        if count > 0 {
            self.imports.db.erased();
            tracing::info!(import = self.name(), count, "uploaded records were erased");
        }
        Ok(())
    }
}
