//! Erases uploads before they are applied, if their records were erased after the
//! upload.

use std::sync::Arc;

use super::Job;
use crate::{
    erasure::{Erasures, ROWS_PER_TX},
    store::{self, ImportDb},
    worker::{page_context::PageContext, retry_policy::PageError},
};

impl Job {
    /// Erases the uploads of erased records. Runs before anything is applied under the
    /// lease, with no page in memory.
    pub(super) async fn erase(&mut self) -> Result<(), PageError> {
        let PageContext { imports, behalf, lease, .. } = &self.context;
        // From the first erasure on: records may have been uploaded after the last
        // scan.
        let (mut after, created) = (0, lease.import.created_at);
        loop {
            let erasures = Erasures::fetch(&imports.records, behalf, after, created).await?;
            let more = erasures.more;
            after = erasures.known;
            if !erasures.is_empty() {
                self.erase_page(erasures).await?;
            }
            if !more {
                break;
            }
        }
        self.context.known_erasure = Some(after);
        Ok(())
    }

    async fn erase_page(&self, erasures: Erasures) -> Result<(), PageError> {
        let record_ids = erasures.record_ids();
        let PageContext { imports, lease, .. } = &self.context;
        let rows = erasures.find(imports, &lease.import).await?;
        let count = rows.len();
        for rows in rows.chunks(ROWS_PER_TX) {
            let (at, rows) = (self.checkpoint.clone(), rows.to_vec());
            let written = self.advance(at, rows, |tx, work| async move {
                let (lease, rows) = &*work;
                let db = ImportDb::of(&tx, &lease.import.key);
                Ok::<_, PageError>(store::erasure::erase(db, rows).await?)
            });
            written.await?;
        }
        let key = &lease.import.key;
        let work = Arc::new((key.clone(), record_ids));
        let written = imports.db.write(&key.practice, move |tx| {
            let work = Arc::clone(&work);
            async move {
                let (key, record_ids) = &*work;
                let db = ImportDb::of(&tx, key);
                Ok::<_, PageError>(store::erasure::erase_external(db, record_ids).await?)
            }
        });
        written.await?;
        if count > 0 {
            imports.db.request_erasure();
            tracing::info!(import = self.context.name(), count, "erased uploaded records");
        }
        Ok(())
    }
}
