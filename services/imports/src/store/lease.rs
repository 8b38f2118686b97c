//! Who works on which import.
//!
//! A worker holds a lease: an id of its own, a token that rises with every claim,
//! and an end. Every write of a worker goes through [`hold`] or one of its kin first,
//! which change nothing, and say so, once another worker has claimed the import.
//! [`hold`] also asks for the place that the worker comes from: a page that is
//! written already, or whose place the database does not have any more, is not
//! written.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement, Value};
use uuid::Uuid;

use super::{imports, sql};
use crate::{
    domain::{
        import::{Import, ImportKey},
        words::{Phase, State},
    },
    error::ImportError,
};

/// The right to work on an import, until another worker claims it.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    /// The import, as it was when it was claimed.
    pub(crate) import: Import,
    /// New with every lease.
    owner: Uuid,
    token: i64,
    /// The fence of the last call whose outcome was written down by then.
    pub(crate) applied_fence: i64,
    /// Whether the import had been set aside.
    pub(crate) was_stalled: bool,
}

/// Where the work on an import is, as its row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) phase: Phase,
    pub(crate) position: String,
    /// The fence of the last call whose outcome is written down; 0 for none.
    pub(crate) applied_fence: i64,
}

/// Calls that one lease tells apart; those beyond them share the last fence.
const CALLS: i64 = 1 << 20;

impl Lease {
    /// What the records service tells late calls by: it rises with every lease of
    /// the import, and within one with the number of the call.
    pub(crate) fn fence(&self, call: i64) -> i64 {
        self.token.saturating_mul(CALLS).saturating_add(call.min(CALLS - 1))
    }
}

/// More leases than an import has between two states of its database, such as a
/// backup and its restoration.
const LEASES_SINCE_BACKUP: i64 = 1_000_000;

/// Ends all leases, and has the next ones of every import begin far above those
/// that it may have had since a backup; how many imports have not ended.
pub(crate) async fn begin_anew(db: &impl ConnectionTrait) -> Result<u64, DbErr> {
    let engine = db.get_database_backend();
    let raise = "UPDATE import SET lease_owner = NULL, lease_expires_at = NULL,
        lease_token = lease_token + $1";
    let raise = Statement::from_sql_and_values(engine, raise, [LEASES_SINCE_BACKUP.into()]);
    db.execute_raw(raise).await?;
    // At work it is found by the end of its lease: let it wait as one that was set
    // aside.
    let free = "UPDATE import SET state = 'STALLED' WHERE state IN ('RESOLVING', 'APPLYING')";
    db.execute_raw(Statement::from_string(engine, free)).await?;
    let left = "SELECT count(*) AS n FROM import WHERE state IN ('SEALED', 'STALLED')";
    let row = db.query_one_raw(Statement::from_string(engine, left)).await?;
    let left: i64 = row.map_or(Ok(0), |row| row.try_get("", "n"))?;
    Ok(u64::try_from(left).unwrap_or_default())
}

/// The conditions under which a worker's write counts, on `$1` to `$4`.
const HELD: &str = "WHERE practice_id = $1 AND id = $2 AND lease_owner = $3 AND lease_token = $4";

/// Claims the next import: one whose practice has none at work, or one whose worker
/// has not renewed its lease. The practices take turns: first comes the one whose
/// last claim is the oldest; and of its imports the one that has waited longest since
/// its last claim, or its seal. So neither a practice with many imports nor an import
/// that fails again and again holds up the others.
///
/// # Errors
///
/// Two workers that claim two imports of one practice at once: one of them fails
/// on the unique index `import_at_work`, and should look again later.
pub(crate) async fn claim(
    db: &impl ConnectionTrait,
    owner: Uuid,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Option<Lease>, ImportError> {
    let lock = match db.get_database_backend() {
        DbBackend::Postgres => "FOR UPDATE OF i SKIP LOCKED",
        // SQLite has one writer.
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
    let practice = practice.map_err(|_| ImportError::Corrupt("the name of a practice"))?;
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
    sql::execute(db, text, sql::scoped(&key, values)).await?;
    Ok(Some(Lease { import, owner, token, applied_fence, was_stalled }))
}

/// Where the import is; `None` when the lease is another's.
pub(crate) async fn place(
    db: &impl ConnectionTrait,
    lease: &Lease,
) -> Result<Option<Place>, ImportError> {
    let text = format!("SELECT phase, position, applied_fence FROM import {HELD}");
    let held = sql::scoped(&lease.import.key, [lease.owner.into(), lease.token.into()]);
    let row = sql::query(db, &text, held).await?.into_iter().next();
    let read = |row: QueryResult| {
        Ok(Place {
            phase: row.try_get::<String>("", "phase")?.parse()?,
            position: row.try_get("", "position")?,
            applied_fence: row.try_get("", "applied_fence")?,
        })
    };
    row.map(read).transpose()
}

/// Moves the import from a place to the next one, and keeps the lease until `until`.
/// `false` when the import is not at the place, or the lease is another's.
pub(crate) async fn hold(
    db: &impl ConnectionTrait,
    lease: &Lease,
    until: DateTime<Utc>,
    from: &Place,
    to: &Place,
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
           lease_expires_at = $9, note = '' {HELD} AND phase = $10 AND position = $11"
    );
    Ok(sql::execute(db, &text, sql::scoped(&lease.import.key, values)).await? == 1)
}

/// Keeps the lease until `until`, whatever the worker waits for. A note says
/// what that is.
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

/// Gives the lease back, so that another worker goes on at once.
pub(crate) async fn release(
    db: &impl ConnectionTrait,
    lease: &Lease,
    now: DateTime<Utc>,
) -> Result<bool, DbErr> {
    change(db, lease, "lease_owner = NULL, lease_expires_at = $5", [now.into()]).await
}

/// Gives the lease back until `until`, and has the next one begin with a token above
/// those that the records service may have seen: for a database that has gone back
/// to an earlier state.
pub(crate) async fn release_above(
    db: &impl ConnectionTrait,
    lease: &Lease,
    until: DateTime<Utc>,
) -> Result<bool, DbErr> {
    let set = "lease_owner = NULL, lease_expires_at = $5, lease_token = lease_token + $6";
    change(db, lease, set, [until.into(), LEASES_SINCE_BACKUP.into()]).await
}

/// Sets the import aside until `until`.
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

/// Ends the import in `state`, with a note. The request to cancel stays stored, for a
/// retry of that call; a check that ended before the request can still be cancelled.
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
    let values = sql::scoped(&lease.import.key, held.into_iter().chain(values));
    let changed = sql::execute(db, &format!("UPDATE import SET {set} {HELD}"), values).await?;
    Ok(changed == 1)
}
