//! What happens by itself: imports that nobody finishes expire, and what was
//! uploaded is removed a while after the end.
//!
//! Every replica goes round. What is due is looked for without a lock, and looked
//! at again under it.

use std::time::Duration;

use chrono::TimeDelta;
use shared::{
    db::Scope,
    ids::{self, IdKind},
};
use tokio_util::sync::CancellationToken;

use crate::{
    domain::{import::Import, words::State},
    error::ImportError,
    service::{Imports, rounds},
    store,
};

/// How often a replica goes round.
const ROUND: Duration = Duration::from_mins(1);

/// Imports that one round deals with.
const BATCH: u64 = 50;

/// How long an import waits for its next batch, or its seal.
pub(crate) const IDLE: TimeDelta = TimeDelta::hours(24);

/// How long what was uploaded is kept after the end.
pub(crate) const KEPT: TimeDelta = TimeDelta::days(30);

/// Goes round until the service stops.
pub(crate) async fn run(imports: Imports, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(error) = step(&imports).await {
            tracing::warn!(%error, "imports could not be looked over; trying again");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(ROUND) => {}
        }
    }
}

/// One round.
pub(crate) async fn step(imports: &Imports) -> Result<(), ImportError> {
    let (db, now) = (imports.db.reader(), imports.clock.now());
    for import in store::imports::idle(db, now - IDLE, BATCH).await? {
        tracing::info!(
            import = ids::text(IdKind::Import, import.key.id),
            "an import that nobody finished has expired"
        );
        expire(imports, import).await?;
    }
    for import in store::imports::to_purge(db, now - KEPT, BATCH).await? {
        tracing::info!(
            import = ids::text(IdKind::Import, import.key.id),
            "the records of an import are removed"
        );
        purge(imports, import).await?;
    }
    Ok(())
}

async fn expire(imports: &Imports, found: Import) -> Result<(), ImportError> {
    let now = imports.clock.now();
    let written = imports.db.write(Scope::from(&found.key.practice), move |tx| {
        let key = found.key.clone();
        async move {
            let import = store::imports::lock(&*tx, &key).await?;
            let idle = |import: &Import| {
                import.state == State::Receiving && import.touched_at < now - IDLE
            };
            match import.filter(idle) {
                Some(import) => rounds::close(&tx, import, State::Expired, now).await,
                None => Ok(()),
            }
        }
    });
    written.await
}

async fn purge(imports: &Imports, found: Import) -> Result<(), ImportError> {
    let now = imports.clock.now();
    let written = imports.db.write(Scope::from(&found.key.practice), move |tx| {
        let key = found.key.clone();
        async move {
            let import = store::imports::lock(&*tx, &key).await?;
            let due = |import: &Import| {
                import.purged_at.is_none() && import.ended_at.is_some_and(|at| at < now - KEPT)
            };
            let Some(import) = import.filter(due) else { return Ok(()) };
            store::purge::remove_content(&*tx, &key).await?;
            Ok::<_, ImportError>(
                store::imports::turn(&*tx, &Import { purged_at: Some(now), ..import }).await?,
            )
        }
    });
    written.await
}
