//! Leases of imports: which worker processes which import.
//!
//! A lease has an owner id, a token that increases with every claim, and an expiry.
//! Every write of a worker first calls [`advance`] or another function of this module,
//! which changes nothing and returns false if another worker has claimed the import.
//! [`advance`] also compares the expected checkpoint (optimistic concurrency): a page
//! that is already written, or whose checkpoint the database no longer has, is not
//! written.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult};
use uuid::Uuid;

use super::{ImportDb, import_db::ImportBinds, imports};
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
    let raised = concord_db::execute(db, |sql| {
        format!(
            "UPDATE import SET lease_owner = NULL, lease_expires_at = NULL,
             lease_token = lease_token + {}",
            sql.bind(MAX_LEASES_SINCE_BACKUP)
        )
    });
    raised.await?;
    // A running import is claimed when its lease expires, and a revoked lease has no
    // expiry: stall it, so that it can be claimed.
    let free = "UPDATE import SET state = 'STALLED' WHERE state IN ('RESOLVING', 'APPLYING')";
    concord_db::execute(db, |_| free.to_owned()).await?;
    let left = "SELECT count(*) AS n FROM import WHERE state IN ('SEALED', 'STALLED')";
    let row = concord_db::query_one(db, |_| left.to_owned()).await?;
    let left: i64 = row.map_or(Ok(0), |row| row.try_get("", "n"))?;
    Ok(u64::try_from(left).unwrap_or_default())
}

/// The condition that the worker still holds the lease.
fn held(sql: &mut ImportBinds<'_>, lease: &Lease) -> String {
    format!(
        "WHERE {} AND lease_owner = {} AND lease_token = {}",
        sql.is_import(),
        sql.bind(lease.owner),
        sql.bind(lease.token)
    )
}

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
    let next = concord_db::query_one(db, |sql| {
        format!(
            "SELECT i.practice_id, i.id, i.lease_token, i.applied_fence,
               (SELECT max(p.claimed_at) FROM import p WHERE p.practice_id = i.practice_id) AS turn
             FROM import i
             WHERE i.state IN ('SEALED', 'RESOLVING', 'APPLYING', 'STALLED')
               AND ((i.state IN ('RESOLVING', 'APPLYING') AND i.lease_expires_at <= {})
                 OR (i.state IN ('SEALED', 'STALLED')
                    AND (i.lease_expires_at IS NULL OR i.lease_expires_at <= {})
                    AND NOT EXISTS (SELECT 1 FROM import a WHERE a.practice_id = i.practice_id
                      AND a.state IN ('RESOLVING', 'APPLYING'))))
             ORDER BY turn NULLS FIRST, coalesce(i.claimed_at, i.sealed_at), i.sealed_at
             LIMIT 1 {lock}",
            sql.bind_shared("now", now),
            sql.bind_shared("now", now)
        )
    });
    let Some(row) = next.await? else { return Ok(None) };
    let practice = row.try_get::<String>("", "practice_id")?.parse();
    let practice = practice.map_err(|_| ImportError::Corrupt("practice id"))?;
    let key = ImportKey { practice, id: row.try_get("", "id")? };
    let db = ImportDb::new(db, &key);
    let token = row.try_get::<i64>("", "lease_token")? + 1;
    let Some(import) = imports::find(db).await? else { return Ok(None) };
    let was_stalled = import.state == State::Stalled;
    let import = Import { state: import.phase.state(), note: String::new(), ..import };
    let applied_fence = row.try_get("", "applied_fence")?;
    let claimed = db.execute(|sql| {
        format!(
            "UPDATE import SET state = {}, note = '', lease_owner = {}, lease_token = {},
             lease_expires_at = {}, claimed_at = {} WHERE {}",
            sql.bind(import.state.as_str()),
            sql.bind(owner),
            sql.bind(token),
            sql.bind(until),
            sql.bind(now),
            sql.is_import()
        )
    });
    claimed.await?;
    Ok(Some(Lease { import, owner, token, applied_fence, was_stalled }))
}

/// The stored checkpoint; `None` if another worker holds the lease.
pub(crate) async fn checkpoint(
    db: &impl ConnectionTrait,
    lease: &Lease,
) -> Result<Option<Checkpoint>, ImportError> {
    let db = ImportDb::new(db, &lease.import.key);
    let rows = db.query(|sql| {
        format!("SELECT phase, position, applied_fence FROM import {}", held(sql, lease))
    });
    let row = rows.await?.into_iter().next();
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
    let advanced = ImportDb::new(db, &lease.import.key).execute(|sql| {
        format!(
            "UPDATE import SET state = {}, phase = {}, position = {}, applied_fence = {},
               lease_expires_at = {}, note = '' {} AND phase = {} AND position = {}",
            sql.bind(to.phase.state().as_str()),
            sql.bind(to.phase.as_str()),
            sql.bind(to.position.as_str()),
            sql.bind(to.applied_fence),
            sql.bind(until),
            held(sql, lease),
            sql.bind(from.phase.as_str()),
            sql.bind(from.position.as_str())
        )
    });
    Ok(advanced.await? == 1)
}

/// Extends the lease until `until`. A note says what the worker waits for.
pub(crate) async fn renew(
    db: &impl ConnectionTrait,
    lease: &Lease,
    until: DateTime<Utc>,
    note: Option<&str>,
) -> Result<bool, DbErr> {
    let set = |sql: &mut ImportBinds<'_>| {
        let expiry = format!("lease_expires_at = {}", sql.bind(until));
        match note {
            None => expiry,
            Some(note) => format!("{expiry}, note = {}", sql.bind(note)),
        }
    };
    change(db, lease, set).await
}

/// Releases the lease, so that another worker can claim the import at once.
pub(crate) async fn release(
    db: &impl ConnectionTrait,
    lease: &Lease,
    now: DateTime<Utc>,
) -> Result<bool, DbErr> {
    let set = |sql: &mut ImportBinds<'_>| {
        format!("lease_owner = NULL, lease_expires_at = {}", sql.bind(now))
    };
    change(db, lease, set).await
}

/// Releases the lease and blocks claims until `until`. Raises the lease token above
/// those that the records service may have seen, for a database that was restored to an
/// earlier state.
pub(crate) async fn release_with_raised_token(
    db: &impl ConnectionTrait,
    lease: &Lease,
    until: DateTime<Utc>,
) -> Result<bool, DbErr> {
    let set = |sql: &mut ImportBinds<'_>| {
        format!(
            "lease_owner = NULL, lease_expires_at = {}, lease_token = lease_token + {}",
            sql.bind(until),
            sql.bind(MAX_LEASES_SINCE_BACKUP)
        )
    };
    change(db, lease, set).await
}

/// Stalls the import until `until`.
pub(crate) async fn stall(
    db: &impl ConnectionTrait,
    lease: &Lease,
    until: DateTime<Utc>,
    note: &str,
) -> Result<bool, DbErr> {
    let set = |sql: &mut ImportBinds<'_>| {
        format!(
            "state = {}, lease_owner = NULL, lease_expires_at = {}, note = {}",
            sql.bind(State::Stalled.as_str()),
            sql.bind(until),
            sql.bind(note)
        )
    };
    change(db, lease, set).await
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
    let set = |sql: &mut ImportBinds<'_>| {
        format!(
            "state = {}, ended_at = {}, position = '', note = {}, lease_owner = NULL,
             lease_expires_at = NULL, cancel_requested = cancel_requested
               AND {} NOT IN ('VALIDATED', 'FAILED_INTERNALLY')",
            sql.bind_shared("state", state.as_str()),
            sql.bind(at),
            sql.bind(note),
            sql.bind_shared("state", state.as_str())
        )
    };
    change(db, lease, set).await
}

async fn change(
    db: &impl ConnectionTrait,
    lease: &Lease,
    set: impl FnOnce(&mut ImportBinds<'_>) -> String,
) -> Result<bool, DbErr> {
    let changed = ImportDb::new(db, &lease.import.key).execute(|sql| {
        let set = set(sql);
        format!("UPDATE import SET {set} {}", held(sql, lease))
    });
    Ok(changed.await? == 1)
}
