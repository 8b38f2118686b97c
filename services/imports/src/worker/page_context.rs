//! What a phase gets to process a page, and the page that it returns.

use std::sync::atomic::{AtomicI64, Ordering};

use concord_core::ids::{self, IdKind};
use concord_proto::wire::ApplyRecord;
use concord_server::identity::OnBehalf;
use sea_orm::DatabaseConnection;
use serde::{Serialize, de::DeserializeOwned};

use super::retry_policy::PageError;
use crate::{
    config::WorkerSettings,
    domain::{enums::State, import::ImportKey},
    error::ImportError,
    records_client::{Applied, ApplyOptions, Fences, Outcome, behalf_of},
    service::Imports,
    store::{ImportDb, edits::Edits, lease::Lease},
};

/// The result of one page.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) edits: Edits,
    /// The position of the next page of the phase; `None` if this is the last.
    pub(super) next: Option<String>,
}

impl Page {
    /// A page that is followed by one at `position`.
    pub(super) fn more(edits: Edits, position: &impl Serialize) -> Result<Self, ImportError> {
        let position = serde_json::to_string(position);
        let position = position.map_err(|_| ImportError::Corrupt("position"))?;
        Ok(Self { edits, next: Some(position) })
    }

    /// The last page of the phase.
    pub(super) fn last(edits: Edits) -> Self {
        Self { edits, next: None }
    }
}

/// What a phase gets to process a page of a claimed import.
#[derive(Debug)]
pub(super) struct PageContext {
    pub(super) imports: Imports,
    pub(super) settings: WorkerSettings,
    pub(super) behalf: OnBehalf,
    pub(super) lease: Lease,
    /// The last erasure of the practice for which the import was scanned.
    pub(super) known_erasure: Option<i64>,
    /// The position of the current page, in the JSON of its phase; empty at the start of
    /// the phase. The job sets it before each page; a phase reads it by
    /// [`position`](Self::position).
    pub(super) position_json: String,
    /// How often the current page has failed. The job sets it before each page.
    pub(super) attempts: u32,
    /// The number of calls with a fence that were made under the lease: by
    /// [`apply`](Self::apply) and by [`fence_off`](Self::fence_off).
    calls: AtomicI64,
    /// The fence of the last answered call.
    pub(super) last_answered_fence: AtomicI64,
}

impl PageContext {
    pub(super) fn new(imports: Imports, settings: WorkerSettings, lease: Lease) -> Self {
        Self {
            imports,
            settings,
            behalf: behalf_of(&lease.import),
            known_erasure: None,
            position_json: String::new(),
            attempts: 0,
            calls: AtomicI64::new(0),
            last_answered_fence: AtomicI64::new(lease.applied_fence),
            lease,
        }
    }

    /// The key of the import.
    pub(super) fn key(&self) -> &ImportKey {
        &self.lease.import.key
    }

    /// The connections for reads of the import.
    pub(super) fn reader(&self) -> ImportDb<'_, DatabaseConnection> {
        self.imports.reader_of(self.key())
    }

    /// The id of the import, as callers see it.
    pub(super) fn name(&self) -> String {
        ids::text(IdKind::Import, self.key().id)
    }

    /// The number of the round; the first is 1.
    pub(super) fn round(&self) -> i64 {
        self.lease.import.round
    }

    /// Whether an earlier round may have applied records.
    pub(super) fn has_applied_before(&self) -> bool {
        self.lease.import.ended_before.is_some_and(|state| state != State::Validated)
    }

    /// Whether an earlier round may have read records.
    pub(super) fn was_read_before(&self) -> bool {
        self.lease.import.ended_before.is_some()
    }

    /// Whether this is a dry run.
    pub(super) fn validate_only(&self) -> bool {
        self.lease.import.validate_only
    }

    /// The position of the current page, parsed; `None` at the start of the phase.
    pub(super) fn position<T: DeserializeOwned>(&self) -> Result<Option<T>, ImportError> {
        if self.position_json.is_empty() {
            return Ok(None);
        }
        let position = serde_json::from_str(&self.position_json);
        position.map(Some).map_err(|_| ImportError::Corrupt("position"))
    }

    /// The fencing tokens of the next call. The fence is higher than those of all
    /// earlier calls, including calls of this worker that timed out and may still be in
    /// flight.
    fn next_fences(&self) -> Fences {
        let fence = self.lease.fence(self.calls.fetch_add(1, Ordering::Relaxed));
        Fences { fence, applied_fence: self.last_answered_fence.load(Ordering::Relaxed) }
    }

    /// Applies records with one call; returns the outcomes in order.
    pub(super) async fn apply(&self, records: Vec<ApplyRecord>) -> Result<Vec<Outcome>, PageError> {
        let fences = self.next_fences();
        let options = ApplyOptions {
            validate_only: self.validate_only(),
            known_erasure: self.known_erasure.unwrap_or_default(),
        };
        let applied = self.imports.records.apply(&self.behalf, records, fences, options).await?;
        self.record_answer(fences, applied)
    }

    /// Processes the answer of a call with a fence.
    fn record_answer(&self, fences: Fences, applied: Applied) -> Result<Vec<Outcome>, PageError> {
        match applied {
            Applied::Lost { fence } => Err(PageError::RecordsLost { fence }),
            Applied::Outcomes(outcomes) => {
                // A dry-run call stores neither changes nor its fence.
                if !self.validate_only() {
                    self.last_answered_fence.store(fences.fence, Ordering::Relaxed);
                }
                Ok(outcomes)
            }
        }
    }

    /// Fences off all chunks that were sent before. A delayed chunk, of this worker or
    /// of an earlier one, must not be applied to a record that is reported as failed,
    /// or that another record then replaces.
    pub(super) async fn fence_off(&self) -> Result<(), PageError> {
        let fences = self.next_fences();
        let raised = self.imports.records.raise_fence(&self.behalf, fences).await?;
        self.record_answer(fences, raised).map(drop)
    }
}
