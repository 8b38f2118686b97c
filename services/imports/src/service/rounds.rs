//! `RetryImport`, `CommitImport`, `CancelImport`: an import goes on after its end,
//! or ends before it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use shared::{caller::Caller, db::WriteTx};
use uuid::Uuid;

use super::{Imports, check_owner, key};
use crate::{
    domain::{
        import::{Import, ImportKey, ImportView},
        tally::Tally,
        words::{Kind, Phase, State, Status},
    },
    error::{ImportError, import_not_found, purged, wrong_round, wrong_state},
    store,
    worker::reset,
};

/// What an import must be to be tried again.
const RETRIED: &str =
    "one that has ended with records that failed or are unprocessed, or FAILED_INTERNALLY";

/// Which round is begun, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retry {
    /// Whether batches of replacements come first.
    pub(crate) replacements: bool,
    /// The round to begin; the next one when the caller does not say.
    pub(crate) round: Option<i64>,
}

impl Imports {
    /// Begins the next round: at once, or with batches of replacements. A round
    /// that has begun is not begun again.
    pub(crate) async fn retry(
        &self,
        caller: &Caller,
        id: Uuid,
        retry: Retry,
    ) -> Result<ImportView, ImportError> {
        let now = self.clock.now();
        let Retry { replacements, round } = retry;
        self.turn(caller, id, move |import, tally| {
            match round {
                Some(round) if round <= import.round => return Ok(None),
                Some(round) if round > import.round + 1 => {
                    return Err(wrong_round(id, import.round, round).into());
                }
                Some(_) | None => {}
            }
            let left = tally.failed(None) + tally.of(None, Status::Unprocessed);
            let something = left > 0 || import.state == State::FailedInternally;
            // One that was cancelled before its seal has never been read.
            if !import.state.is_end() || import.sealed_at.is_none() || !something {
                return Err(wrong_state(id, import.state, RETRIED).into());
            }
            if import.is_removed() {
                return Err(purged(id).into());
            }
            let (round, sealed) = (import.round + 1, (!replacements).then_some(now));
            let state = if replacements { State::Receiving } else { State::Sealed };
            // Until the round starts, it may be given up.
            let note = if replacements { import.note.clone() } else { String::new() };
            let all = import.validate_only;
            let next = begun_again(import, all);
            Ok(Some(Import { state, round, sealed_at: sealed, touched_at: now, note, ..next }))
        })
        .await
    }

    /// Applies an import that was only checked.
    pub(crate) async fn commit(
        &self,
        caller: &Caller,
        id: Uuid,
    ) -> Result<ImportView, ImportError> {
        let now = self.clock.now();
        self.turn(caller, id, move |import, _| {
            if !import.validate_only && import.ended_before == Some(State::Validated) {
                // It was committed before: the call has come again.
                return Ok(None);
            }
            if import.state != State::Validated {
                return Err(wrong_state(id, import.state, "VALIDATED").into());
            }
            if import.is_removed() {
                return Err(purged(id).into());
            }
            let next = begun_again(import, true);
            Ok(Some(Import { validate_only: false, sealed_at: Some(now), ..next }))
        })
        .await
    }

    /// Ends an import before its time.
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
                let import = owned(&tx, &owner, &key).await?;
                cancel(&tx, import, now).await
            }
        });
        cancelled.await?;
        self.wake.notify_one();
        self.get(caller, id).await
    }

    /// Moves an import on, when `next` says how.
    async fn turn<F>(&self, caller: &Caller, id: Uuid, next: F) -> Result<ImportView, ImportError>
    where
        F: Fn(Import, &Tally) -> Result<Option<Import>, ImportError> + Send + Sync + 'static,
    {
        let (key, owner, next) = (key(caller, id), caller.clone(), Arc::new(next));
        let turned = self.db.write(&caller.practice, move |tx| {
            let (key, owner, next) = (key.clone(), owner.clone(), Arc::clone(&next));
            async move {
                let import = owned(&tx, &owner, &key).await?;
                let tally = store::tally::read(&*tx, &key).await?;
                let before = import.state;
                if let Some(next) = next(import, &tally)? {
                    if matches!(before, State::FailedInternally | State::Cancelled) {
                        // It may have ended before every record was read.
                        store::tally::recount(&*tx, &key, Status::Staged).await?;
                    }
                    store::parents::forget_known(&*tx, &key).await?;
                    store::imports::turn(&*tx, &next).await?;
                }
                Ok::<_, ImportError>(())
            }
        });
        turned.await?;
        self.wake.notify_one();
        self.get(caller, id).await
    }
}

/// The import, locked, when it is the caller's own.
async fn owned(tx: &WriteTx, caller: &Caller, key: &ImportKey) -> Result<Import, ImportError> {
    let import = store::imports::lock(&**tx, key).await?;
    let import = import.ok_or_else(|| import_not_found(key.id))?;
    check_owner(caller, &import)?;
    Ok(import)
}

/// An import that has ended, at the beginning of another pass over the records
/// without a good end, or over all of them.
fn begun_again(import: Import, all: bool) -> Import {
    Import {
        ended_before: Some(import.state),
        state: State::Sealed,
        cancel_requested: false,
        phase: Phase::Reset,
        position: reset::Position::beginning(all).to_json(),
        note: String::new(),
        ended_at: None,
        ..import
    }
}

async fn cancel(tx: &WriteTx, import: Import, now: DateTime<Utc>) -> Result<(), ImportError> {
    match import.state {
        State::Receiving => close(tx, import, State::Cancelled, now).await,
        State::Sealed | State::Resolving | State::Applying | State::Stalled => {
            Ok(store::imports::request_cancel(&**tx, &import.key, import.state).await?)
        }
        State::Cancelled => Ok(()),
        State::FailedInternally => {
            // What waited is unprocessed already.
            let (state, note) = (State::Cancelled, String::new());
            let turned = Import { state, note, cancel_requested: true, ..import };
            Ok(store::imports::turn(&**tx, &turned).await?)
        }
        // It ended before it could stop, or a round of it was given up: the call
        // has come again.
        _ if import.cancel_requested => Ok(()),
        State::Validated => {
            // A worker ends it, as it ends all others.
            let state = State::Sealed;
            let turned = Import { state, cancel_requested: true, ended_at: None, ..import };
            Ok(store::imports::turn(&**tx, &turned).await?)
        }
        State::Completed | State::CompletedWithFailures | State::Expired => {
            Err(wrong_state(import.key.id, import.state, "one that has not ended").into())
        }
    }
}

/// Closes an import that takes batches. Of a later round nothing is left but how
/// it had ended before; the first ends in `state`, and nothing of it was applied.
pub(crate) async fn close(
    tx: &WriteTx,
    import: Import,
    state: State,
    now: DateTime<Utc>,
) -> Result<(), ImportError> {
    let ended = match import.ended_before {
        None => {
            let tally = store::tally::read(&**tx, &import.key).await?;
            let mut change = Tally::default();
            for kind in Kind::ALL {
                let staged = tally.of(Some(*kind), Status::Staged);
                change.add(*kind, Status::Staged, -staged);
                change.add(*kind, Status::Unprocessed, staged);
            }
            store::tally::add(&**tx, &import.key, &change).await?;
            Import { state, ended_at: Some(now), ..import }
        }
        Some(before) => {
            let batches = store::batches::of_round(&**tx, &import.key, import.round).await?;
            store::batches::remove_round(&**tx, &import.key, import.round).await?;
            // What an earlier round did not come to read is unprocessed again.
            store::tally::recount(&**tx, &import.key, Status::Unprocessed).await?;
            let gone = i64::try_from(batches.len()).unwrap_or_default();
            Import {
                state: before,
                round: import.round - 1,
                batch_count: import.batch_count - gone,
                cancel_requested: state == State::Cancelled,
                sealed_at: Some(import.touched_at),
                ended_at: Some(now),
                ..import
            }
        }
    };
    Ok(store::imports::turn(&**tx, &ended).await?)
}
