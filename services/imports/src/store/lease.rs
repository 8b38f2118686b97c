//! Leases of imports: which worker processes which import.
//!
//! A lease has an owner id, a token that increases with every claim, and an expiry.
//! Every write of a worker first calls [`advance`] or another function of this module,
//! which changes nothing and returns false if another worker has claimed the import.
//! [`advance`] also compares the expected checkpoint (optimistic concurrency): a page
//! that is already written, or whose checkpoint the database no longer has, is not
//! written.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement, Value};
use uuid::Uuid;

use super::{imports, sql};
use crate::{
    domain::{
        enums::{Phase, State},
        import::{Import, ImportKey},
    },
    error::ImportError,
};

/// A lease: the right to process an import until another worker claims it.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    /// The import at the time of the claim.
    pub(crate) import: Import,
    /// A new id for every lease.
    owner: Uuid,
    token: i64,
    /// The fence of the last call whose outcome was stored at the time of the claim.
    pub(crate) applied_fence: i64,
    /// Whether the import was stalled.
    pub(crate) was_stalled: bool,
}

/// The progress of an import, as stored in its row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) phase: Phase,
    pub(crate) position: String,
    /// The fence of the last call whose outcome is stored; 0 for none.
    pub(crate) applied_fence: i64,
}

/// Number of calls with distinct fences per lease; further calls share the last fence.
const MAX_CALLS_PER_LEASE: i64 = 1 << 20;

impl Lease {
    /// The fencing token of a call, by which the records service detects late calls. It
    /// increases with every lease of the import, and within a lease with the number of
    /// the call.
    pub(crate) fn fence(&self, call: i64) -> i64 {
        self.token
            .saturating_mul(MAX_CALLS_PER_LEASE)
            .saturating_add(call.min(MAX_CALLS_PER_LEASE - 1))
    }
}

/// Upper bound of the number of leases that an import gets between a backup and its
/// restore.
const MAX_LEASES_SINCE_BACKUP: i64 = 1_000_000;

/// Revokes all leases, and raises the lease tokens of every import above those that may
/// have been issued since a backup. Returns the number of imports that have not ended.
pub(crate) async fn revoke_all(db: &impl ConnectionTrait) -> Result<u64, DbErr> {
    let engine = db.get_database_backend();
    let raise = "UPDATE import SET lease_owner = NULL, lease_expires_at = NULL,
        lease_token = lease_token + $1";
    let raise = Statement::from_sql_and_values(engine, raise, [MAX_LEASES_SINCE_BACKUP.into()]);
    db.execute_raw(raise).await?;
    // A running import is claimed when its lease expires, and a revoked lease has no
    // expiry: stall it, so that it can be claimed.
    let free = "UPDATE import SET state = 'STALLED' WHERE state IN ('RESOLVING', 'APPLYING')";
    db.execute_raw(Statement::from_string(engine, free)).await?;
    let left = "SELECT count(*) AS n FROM import WHERE state IN ('SEALED', 'STALLED')";
    let row = db.query_one_raw(Statement::from_string(engine, left)).await?;
    let left: i64 = row.map_or(Ok(0), |row| row.try_get("", "n"))?;
    Ok(u64::try_from(left).unwrap_or_default())
}

/// The condition that the worker still holds the lease, with binds `$1` to `$4`.
const LEASE_HELD: &str =
    "WHERE practice_id = $1 AND id = $2 AND lease_owner = $3 AND lease_token = $4";

/// Claims the next import: one whose practice has no running import, or one whose lease
/// has expired. Claims rotate between practices: the practice with the oldest last
/// claim comes first, and of its imports the one that has waited longest since its last
/// claim or its seal. So neither a practice with many imports nor an import that fails
/// repeatedly delays the others.
///
/// # Errors
///
/// If two workers claim two imports of one practice concurrently, one of them violates
/// the unique index `import_at_work`, and should retry later.
pub(crate) async fn claim(
    db: &impl ConnectionTrait,
    owner: Uuid,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Option<Lease>, ImportError> {
    let lock = match db.get_database_backend() {
        DbBackend::Postgres => "FOR UPDATE OF i SKIP LOCKED",
        // SQLite has a single writer.
        _ => "",
    };
    let text = format!(
        "SELECT i.practice_id, i.id, i.lease_token, i.applied_fence,
           (SELECT max(p.claimed_at) FROM import p WHERE p.practice_id = i.practice_id) AS turn
         FROM import i
         WHERE i.state IN ('SEALED', 'RESOLVING', 'APPLYING', 'STALLED')
           AND ((i.state IN ('RESOLVING', 'APPLYING') AND i.lease_expires_at <= $1)
             OR (i.state IN ('SEALED', 'STALLED')
                AND (i.lease_expires_at IS NULL OR i.lease_expires_at <= $1)
                AND NOT EXISTS (SELECT 1 FROM import a WHERE a.practice_id = i.practice_id
                  AND a.state IN ('RESOLVING', 'APPLYING'))))
         ORDER BY turn NULLS FIRST, coalesce(i.claimed_at, i.sealed_at), i.sealed_at
         LIMIT 1 {lock}"
    );
    let Some(row) = sql::query(db, &text, vec![now.into()]).await?.into_iter().next() else {
        return Ok(None);
    };
    let practice = row.try_get::<String>("", "practice_id")?.parse();
    let practice = practice.map_err(|_| ImportError::Corrupt("practice id"))?;
    let key = ImportKey { practice, id: row.try_get("", "id")? };
    let token = row.try_get::<i64>("", "lease_token")? + 1;
    let Some(import) = imports::find(db, &key).await? else { return Ok(None) };
    let was_stalled = import.state == State::Stalled;
    let import = Import { state: import.phase.state(), note: String::new(), ..import };
    let applied_fence = row.try_get("", "applied_fence")?;
    let text = "UPDATE import SET state = $3, note = '', lease_owner = $4, lease_token = $5,
        lease_expires_at = $6, claimed_at = $7 WHERE practice_id = $1 AND id = $2";
    let values: [Value; 5] =
        [import.state.as_str().into(), owner.into(), token.into(), until.into(), now.into()];
    sql::execute(db, text, sql::key_binds_with(&key, values)).await?;
    Ok(Some(Lease { import, owner, token, applied_fence, was_stalled }))
}

/// The stored checkpoint; `None` if another worker holds the lease.
pub(crate) async fn checkpoint(
    db: &impl ConnectionTrait,
    lease: &Lease,
) -> Result<Option<Checkpoint>, ImportError> {
    let text = format!("SELECT phase, position, applied_fence FROM import {LEASE_HELD}");
    let held = sql::key_binds_with(&lease.import.key, [lease.owner.into(), lease.token.into()]);
    let row = sql::query(db, &text, held).await?.into_iter().next();
    let read = |row: QueryResult| {
        Ok(Checkpoint {
            phase: row.try_get::<String>("", "phase")?.parse()?,
            position: row.try_get("", "position")?,
            applied_fence: row.try_get("", "applied_fence")?,
        })
    };
    row.map(read).transpose()
}

/// Moves the import from one checkpoint to the next, and extends the lease until
/// `until`. False if the stored checkpoint is not `from`, or another worker holds the
/// lease.
pub(crate) async fn advance(
    db: &impl ConnectionTrait,
    lease: &Lease,
    until: DateTime<Utc>,
    from: &Checkpoint,
    to: &Checkpoint,
) -> Result<bool, DbErr> {
    let values: [Value; 9] = [
        lease.owner.into(),
        lease.token.into(),
        to.phase.state().as_str().into(),
        to.phase.as_str().into(),
        to.position.as_str().into(),
        to.applied_fence.into(),
        until.into(),
        from.phase.as_str().into(),
        from.position.as_str().into(),
    ];
    let text = format!(
        "UPDATE import SET state = $5, phase = $6, position = $7, applied_fence = $8,
           lease_expires_at = $9, note = '' {LEASE_HELD} AND phase = $10 AND position = $11"
    );
    Ok(sql::execute(db, &text, sql::key_binds_with(&lease.import.key, values)).await? == 1)
}

/// Extends the lease until `until`. A note says what the worker waits for.
pub(crate) async fn renew(
    db: &impl ConnectionTrait,
    lease: &Lease,
    until: DateTime<Utc>,
    note: Option<&str>,
) -> Result<bool, DbErr> {
    match note {
        None => change(db, lease, "lease_expires_at = $5", [until.into()]).await,
        Some(note) => {
            let set = "lease_expires_at = $5, note = $6";
            change(db, lease, set, [until.into(), note.into()]).await
        }
    }
}

/// Releases the lease, so that another worker can claim the import at once.
pub(crate) async fn release(
    db: &impl ConnectionTrait,
    lease: &Lease,
    now: DateTime<Utc>,
) -> Result<bool, DbErr> {
    change(db, lease, "lease_owner = NULL, lease_expires_at = $5", [now.into()]).await
}

/// Releases the lease and blocks claims until `until`. Raises the lease token above
/// those that the records service may have seen, for a database that was restored to an
/// earlier state.
pub(crate) async fn release_with_raised_token(
    db: &impl ConnectionTrait,
    lease: &Lease,
    until: DateTime<Utc>,
) -> Result<bool, DbErr> {
    let set = "lease_owner = NULL, lease_expires_at = $5, lease_token = lease_token + $6";
    change(db, lease, set, [until.into(), MAX_LEASES_SINCE_BACKUP.into()]).await
}

/// Stalls the import until `until`.
pub(crate) async fn stall(
    db: &impl ConnectionTrait,
    lease: &Lease,
    until: DateTime<Utc>,
    note: &str,
) -> Result<bool, DbErr> {
    let set = "state = $5, lease_owner = NULL, lease_expires_at = $6, note = $7";
    let values: [Value; 3] = [State::Stalled.as_str().into(), until.into(), note.into()];
    change(db, lease, set, values).await
}

/// Ends the import in `state`, with a note. The cancellation request stays stored, so
/// that `CancelImport` is idempotent; a dry run that ended before the request can still
/// be cancelled.
pub(crate) async fn finish(
    db: &impl ConnectionTrait,
    lease: &Lease,
    state: State,
    at: DateTime<Utc>,
    note: &str,
) -> Result<bool, DbErr> {
    let set = "state = $5, ended_at = $6, position = '', note = $7, lease_owner = NULL,
        lease_expires_at = NULL, cancel_requested = cancel_requested
          AND $5 NOT IN ('VALIDATED', 'FAILED_INTERNALLY')";
    let values: [Value; 3] = [state.as_str().into(), at.into(), note.into()];
    change(db, lease, set, values).await
}

async fn change(
    db: &impl ConnectionTrait,
    lease: &Lease,
    set: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<bool, DbErr> {
    let held: [Value; 2] = [lease.owner.into(), lease.token.into()];
    let values = sql::key_binds_with(&lease.import.key, held.into_iter().chain(values));
    let changed =
        sql::execute(db, &format!("UPDATE import SET {set} {LEASE_HELD}"), values).await?;
    Ok(changed == 1)
}
