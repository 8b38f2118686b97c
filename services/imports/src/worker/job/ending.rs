//! How an import ends: at its end, or before its time.

use std::sync::Arc;

use shared::meter::catalog;

use super::Job;
use crate::{
    domain::{
        import::Import,
        tally::Tally,
        words::{Kind, State, Status},
    },
    error::ImportError,
    store::{self, edits::Edits},
    worker::trouble::WorkFault,
};

impl Job {
    /// Ends the import, when every record has its verdict and the numbers add up.
    pub(super) async fn finish(&self, edits: Edits) -> Result<(), WorkFault> {
        self.end(edits, |import, tally| match tally.failed(None) {
            _ if import.validate_only => State::Validated,
            0 => State::Completed,
            _ => State::CompletedWithFailures,
        })
        .await
    }

    /// Ends the import before its time: what waits is left unprocessed.
    pub(super) async fn give_up(&self) -> Result<(), WorkFault> {
        let db = self.imports.db.reader();
        let tally = store::tally::read(db, self.key()).await?;
        // Of a dry run nothing was applied, whatever it says would have been.
        let given_up = if self.validate_only() {
            vec![Status::Ready, Status::Imported, Status::Linked]
        } else {
            vec![Status::Ready]
        };
        let mut edits = Edits::default();
        for kind in Kind::ALL {
            for status in &given_up {
                let count = tally.of(Some(*kind), *status);
                edits.tally.add(*kind, *status, -count);
                edits.tally.add(*kind, Status::Unprocessed, count);
            }
        }
        edits.given_up = given_up;
        self.end(edits, |_, _| State::Cancelled).await
    }

    /// Writes the last edits, and ends the import in the state that `state` gives.
    async fn end(
        &self,
        edits: Edits,
        state: fn(&Import, &Tally) -> State,
    ) -> Result<(), WorkFault> {
        self.fence_off().await?;
        let now = self.imports.clock.now();
        let work = Arc::new((self.lease.clone(), edits));
        let written = self.imports.db.write(&self.key().practice, move |tx| {
            let work = Arc::clone(&work);
            async move {
                let (lease, edits) = &*work;
                let key = &lease.import.key;
                store::edits::write(&*tx, key, edits).await?;
                store::tally::count_warned(&*tx, key).await?;
                store::likenesses::remove_all(&*tx, key).await?;
                let tally = store::tally::read(&*tx, key).await?;
                let counted = store::tally::count(&*tx, key).await?;
                if !tally.entries().eq(counted.entries()) || tally.waiting(None) != 0 {
                    return Err(ImportError::Corrupt("numbers that do not add up").into());
                }
                let state = state(&lease.import, &tally);
                let held = store::lease::finish(&*tx, lease, state, now).await?;
                if held { Ok(state) } else { Err(WorkFault::LeaseLost) }
            }
        });
        let state = written.await?;
        self.imports.meter.counter(&catalog::IMPORTS_ENDED, [state.as_str()]).increment(1);
        tracing::info!(import = self.name(), %state, "an import has ended");
        Ok(())
    }

    /// Sees to it that nothing is applied any more of what was sent: a chunk that is
    /// held up somewhere, of this worker or of one before it, must not come to a
    /// record that is told to have failed, or that another one stands in for then.
    async fn fence_off(&self) -> Result<(), WorkFault> {
        if self.validate_only() || self.phase.state() != State::Applying {
            return Ok(());
        }
        let fence = self.next_fence();
        Ok(self.imports.records.raise_fence(&self.behalf, fence).await?)
    }
}
