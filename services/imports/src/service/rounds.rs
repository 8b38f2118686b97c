//! `RetryImport`, `CommitImport` and `CancelImport`: start another round of an ended
//! import, or end an import early.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use concord_core::caller::Caller;
use concord_db::WriteTx;
use uuid::Uuid;

use super::{Imports, key, lock_owned};
use crate::{
    domain::{
        counters::Counters,
        enums::{Kind, Phase, State, Status},
        import::{Import, ImportView, ResetPosition},
    },
    error::{ImportError, purged, wrong_round, wrong_state},
    store::{self, ImportDb},
};

/// The states from which an import can be retried.
const RETRYABLE: &str =
    "one that has ended with records that failed or are unprocessed, or FAILED_INTERNALLY";

/// The arguments of `RetryImport`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retry {
    /// Whether batches of replacements are uploaded first.
    pub(crate) replacements: bool,
    /// The round to start; `None` for the next one. It makes the call idempotent.
    pub(crate) round: Option<i64>,
}

impl Imports {
    /// Starts the next round: at once, or after batches of replacements. Idempotent: a
    /// round that has started is not started again.
    pub(crate) async fn retry(
        &self,
        caller: &Caller,
        id: Uuid,
        retry: Retry,
    ) -> Result<ImportView, ImportError> {
        let now = self.clock.now();
        let Retry { replacements, round } = retry;
        self.transition(caller, id, move |import, counters| {
            match round {
                Some(round) if round <= import.round => return Ok(None),
                Some(round) if round > import.round + 1 => {
                    return Err(wrong_round(id, import.round, round).into());
                }
                Some(_) | None => {}
            }
            let left = counters.failed(None) + counters.of(None, Status::Unprocessed);
            let is_retryable = left > 0 || import.state == State::FailedInternally;
            // An import that was cancelled before its seal was never read.
            if !import.state.is_end() || import.sealed_at.is_none() || !is_retryable {
                return Err(wrong_state(id, import.state, RETRYABLE).into());
            }
            if import.is_removed() {
                return Err(purged(id).into());
            }
            let (round, sealed) = (import.round + 1, (!replacements).then_some(now));
            let state = if replacements { State::Receiving } else { State::Sealed };
            // The note stays until the round is sealed, because the round may be
            // abandoned.
            let note = if replacements { import.note.clone() } else { String::new() };
            let all = import.validate_only;
            let next = next_round(import, all);
            Ok(Some(Import { state, round, sealed_at: sealed, touched_at: now, note, ..next }))
        })
        .await
    }

    /// Applies a dry run. Idempotent.
    pub(crate) async fn commit(
        &self,
        caller: &Caller,
        id: Uuid,
    ) -> Result<ImportView, ImportError> {
        let now = self.clock.now();
        self.transition(caller, id, move |import, _| {
            if !import.validate_only && import.ended_before == Some(State::Validated) {
                // A repeated call: the import was committed before.
                return Ok(None);
            }
            if import.state != State::Validated {
                return Err(wrong_state(id, import.state, "VALIDATED").into());
            }
            if import.is_removed() {
                return Err(purged(id).into());
            }
            let next = next_round(import, true);
            Ok(Some(Import { validate_only: false, sealed_at: Some(now), ..next }))
        })
        .await
    }

    /// Cancels an import. Idempotent.
    pub(crate) async fn cancel(
        &self,
        caller: &Caller,
        id: Uuid,
    ) -> Result<ImportView, ImportError> {
        let now = self.clock.now();
        let (key, owner) = (key(caller, id), caller.clone());
        let cancelled = self.db.write(&caller.practice, move |tx| {
            let (key, owner) = (key.clone(), owner.clone());
            async move {
                let import = lock_owned(ImportDb::of(&tx, &key), &owner).await?;
                cancel(&tx, import, now).await
            }
        });
        cancelled.await?;
        self.wake.notify_one();
        self.get(caller, id).await
    }

    /// Applies a state transition to a locked import; `next` returns the new state, or
    /// `None` for no change.
    async fn transition<F>(
        &self,
        caller: &Caller,
        id: Uuid,
        next: F,
    ) -> Result<ImportView, ImportError>
    where
        F: Fn(Import, &Counters) -> Result<Option<Import>, ImportError> + Send + Sync + 'static,
    {
        let (key, owner, next) = (key(caller, id), caller.clone(), Arc::new(next));
        let written = self.db.write(&caller.practice, move |tx| {
            let (key, owner, next) = (key.clone(), owner.clone(), Arc::clone(&next));
            async move {
                let db = ImportDb::of(&tx, &key);
                let import = lock_owned(db, &owner).await?;
                let counters = store::counters::read(db).await?;
                let before = import.state;
                if let Some(next) = next(import, &counters)? {
                    if matches!(before, State::FailedInternally | State::Cancelled) {
                        // The import may have ended before every record was read.
                        store::counters::recount(db, Status::Staged).await?;
                    }
                    store::parents::remove_external(db).await?;
                    store::imports::update_state(&*tx, &next).await?;
                }
                Ok::<_, ImportError>(())
            }
        });
        written.await?;
        self.wake.notify_one();
        self.get(caller, id).await
    }
}

/// The import at the start of its next round, which processes the records that were not
/// imported, or all of them.
fn next_round(import: Import, all: bool) -> Import {
    Import {
        ended_before: Some(import.state),
        state: State::Sealed,
        cancel_requested: false,
        phase: Phase::Reset,
        position: ResetPosition::beginning(all).to_json(),
        note: String::new(),
        ended_at: None,
        ..import
    }
}

async fn cancel(tx: &WriteTx, import: Import, now: DateTime<Utc>) -> Result<(), ImportError> {
    match import.state {
        State::Receiving => close(tx, import, State::Cancelled, now).await,
        State::Sealed | State::Resolving | State::Applying | State::Stalled => {
            let db = ImportDb::of(tx, &import.key);
            Ok(store::imports::request_cancel(db, import.state).await?)
        }
        State::Cancelled => Ok(()),
        State::FailedInternally => {
            // The waiting records are marked as unprocessed already.
            let (state, note) = (State::Cancelled, String::new());
            let updated = Import { state, note, cancel_requested: true, ..import };
            Ok(store::imports::update_state(&**tx, &updated).await?)
        }
        // A repeated call: the import ended before it could stop, or one of its rounds
        // was abandoned.
        _ if import.cancel_requested => Ok(()),
        State::Validated => {
            // The worker ends it, as it does for all imports.
            let state = State::Sealed;
            let updated = Import { state, cancel_requested: true, ended_at: None, ..import };
            Ok(store::imports::update_state(&**tx, &updated).await?)
        }
        State::Completed | State::CompletedWithFailures | State::Expired => {
            Err(wrong_state(import.key.id, import.state, "one that has not ended").into())
        }
    }
}

/// Closes an import that accepts batches. A later round is rolled back to the end of
/// the previous round; the first round ends in `state`, with nothing applied.
pub(crate) async fn close(
    tx: &WriteTx,
    import: Import,
    state: State,
    now: DateTime<Utc>,
) -> Result<(), ImportError> {
    let db = ImportDb::of(tx, &import.key);
    let ended = match import.ended_before {
        None => {
            let counters = store::counters::read(db).await?;
            let mut change = Counters::default();
            for kind in Kind::ALL {
                let staged = counters.of(Some(*kind), Status::Staged);
                change.add(*kind, Status::Staged, -staged);
                change.add(*kind, Status::Unprocessed, staged);
            }
            store::counters::add(db, &change).await?;
            Import { state, ended_at: Some(now), ..import }
        }
        Some(before) => {
            let batches = store::batches::of_round(db, import.round).await?;
            store::batches::remove_round(db, import.round).await?;
            // Records that an earlier round did not read are unprocessed again.
            store::counters::recount(db, Status::Unprocessed).await?;
            let removed = i64::try_from(batches.len()).unwrap_or_default();
            Import {
                state: before,
                round: import.round - 1,
                batch_count: import.batch_count - removed,
                cancel_requested: state == State::Cancelled,
                sealed_at: Some(import.touched_at),
                ended_at: Some(now),
                ..import
            }
        }
    };
    Ok(store::imports::update_state(&**tx, &ended).await?)
}
