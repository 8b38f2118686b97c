//! Tests of leases on both databases: claims, and fencing of writes.

use chrono::{DateTime, TimeDelta, Utc};
use concord_core::{caller::Caller, ids};
use concord_db::{Database, DbErrorKind, TenantScope, error_kind};
use concord_testing::TestDb;
use uuid::Uuid;

use super::{ImportDb, imports, lease};
use crate::{
    domain::{
        enums::{Phase, State},
        import::{Import, ImportKey},
    },
    error::ImportError,
    migrations::Migrator,
};

concord_testing::storage_tests! {
    write_with_lost_lease_changes_nothing,
    page_is_written_only_from_its_checkpoint,
    claims_rotate_between_practices,
    failing_import_moves_behind_the_others,
    one_import_per_practice_is_claimed,
    stalled_import_backs_off_and_others_are_claimed,
    replicas_migrate_concurrently,
}

/// A time relative to the start of the tests.
fn at(seconds: i64) -> DateTime<Utc> {
    "2026-03-01T12:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::seconds(seconds)
}

async fn migrated(t: &TestDb) -> Database {
    let db = t.database().await;
    db.migrate::<Migrator>().await.unwrap();
    db
}

/// Inserts an import that was sealed at this time.
async fn sealed(db: &Database, practice: &str, seconds: i64) -> ImportKey {
    let caller = Caller::system(practice.parse().unwrap());
    let import = Import {
        state: State::Sealed,
        batch_count: 1,
        sealed_at: Some(at(seconds)),
        ..Import::new(&caller, ids::new_uuid(), at(0))
    };
    let key = import.key.clone();
    let insert = db.write(TenantScope::AllPractices, move |tx| {
        let import = import.clone();
        async move { imports::insert(&*tx, import).await }
    });
    insert.await.unwrap();
    key
}

/// Claims an import for a minute; `None` too if another worker was first.
async fn claim(db: &Database, worker: Uuid, seconds: i64) -> Option<lease::Lease> {
    let (now, until) = (at(seconds), at(seconds + 60));
    let claimed = db.write(TenantScope::AllPractices, move |tx| async move {
        lease::claim(&*tx, worker, now, until).await
    });
    match claimed.await {
        Err(ImportError::Database(error)) if error_kind(&error) == DbErrorKind::Duplicate => None,
        claimed => claimed.unwrap(),
    }
}

async fn advance(db: &Database, lease: &lease::Lease, phase: Phase, seconds: i64) -> bool {
    let (lease, until) = (lease.clone(), at(seconds));
    let advanced = db.write(TenantScope::AllPractices, move |tx| {
        let lease = lease.clone();
        async move {
            let Some(from) = lease::checkpoint(&*tx, &lease).await? else { return Ok(false) };
            let to = lease::Checkpoint { phase, position: "here".into(), applied_fence: 7 };
            Ok::<_, ImportError>(lease::advance(&*tx, &lease, until, &from, &to).await?)
        }
    });
    advanced.await.unwrap()
}

/// Advances from one checkpoint to another; true if the import was at the first.
async fn advance_from(
    db: &Database,
    lease: &lease::Lease,
    from: (Phase, &str),
    to: (Phase, &str),
) -> bool {
    let checkpoint = |(phase, position): (Phase, &str)| lease::Checkpoint {
        phase,
        position: position.to_owned(),
        applied_fence: 0,
    };
    let work = (lease.clone(), checkpoint(from), checkpoint(to));
    let advanced = db.write(TenantScope::AllPractices, move |tx| {
        let (lease, from, to) = work.clone();
        async move { lease::advance(&*tx, &lease, at(500), &from, &to).await }
    });
    advanced.await.unwrap()
}

async fn write_with_lost_lease_changes_nothing(t: TestDb) {
    let db = migrated(&t).await;
    let key = sealed(&db, "p1", 0).await;
    let (first, second) = (ids::new_uuid(), ids::new_uuid());
    let old = claim(&db, first, 0).await.unwrap();
    assert!(advance(&db, &old, Phase::Keys, 60).await);
    assert!(claim(&db, second, 59).await.is_none());
    let new = claim(&db, second, 60).await.unwrap();
    assert_eq!((new.import.phase, new.import.position.as_str()), (Phase::Keys, "here"));
    assert!(!advance(&db, &old, Phase::Periods, 200).await);
    assert!(old.fence(i64::MAX) < new.fence(0) && new.fence(0) < new.fence(1));
    // A new lease of the same worker does not revive its old one.
    let newer = claim(&db, second, 120).await.unwrap();
    assert!(!advance(&db, &new, Phase::Periods, 200).await);
    assert!(new.fence(7) < newer.fence(0));
    assert!(advance(&db, &newer, Phase::Clients, 200).await);
    let import = imports::find(ImportDb::reader_of(&db, &key)).await.unwrap().unwrap();
    assert_eq!((import.phase, import.state), (Phase::Clients, State::Applying));
}

async fn page_is_written_only_from_its_checkpoint(t: TestDb) {
    let db = migrated(&t).await;
    sealed(&db, "p1", 0).await;
    let lease = claim(&db, ids::new_uuid(), 0).await.unwrap();
    let (begin, first, second) = ((Phase::Index, ""), (Phase::Index, "1"), (Phase::Index, "2"));
    assert!(advance_from(&db, &lease, begin, first).await);
    // The page is written again after a lost response.
    assert!(!advance_from(&db, &lease, begin, first).await);
    assert!(!advance_from(&db, &lease, (Phase::Keys, "1"), second).await);
    assert!(advance_from(&db, &lease, first, second).await);
    let checkpoint = lease::checkpoint(db.reader(), &lease).await.unwrap().unwrap();
    assert_eq!((checkpoint.phase, checkpoint.position.as_str()), second);
}

/// Claims the next import, and stalls it until `until`; returns its key.
async fn claim_and_stall(db: &Database, seconds: i64, until: i64) -> Option<ImportKey> {
    let lease = claim(db, ids::new_uuid(), seconds).await?;
    let key = lease.import.key.clone();
    let stall = db.write(TenantScope::AllPractices, move |tx| {
        let lease = lease.clone();
        async move { lease::stall(&*tx, &lease, at(until), "fails").await }
    });
    assert!(stall.await.unwrap());
    Some(key)
}

async fn claims_rotate_between_practices(t: TestDb) {
    let db = migrated(&t).await;
    // One practice has many imports, all older than the import of the other.
    let mut many = Vec::new();
    for seconds in 0..4 {
        many.push(sealed(&db, "p1", seconds).await);
    }
    let other = sealed(&db, "p2", 9).await;
    let mut claimed = Vec::new();
    // Each import fails at once and can be claimed again at once.
    for seconds in 10..17 {
        claimed.extend(claim_and_stall(&db, seconds, seconds).await);
    }
    let expected = [&many[0], &other, &many[1], &other, &many[2], &other, &many[3]];
    assert_eq!(claimed.iter().collect::<Vec<_>>(), expected);
}

async fn failing_import_moves_behind_the_others(t: TestDb) {
    let db = migrated(&t).await;
    let (failing, later) = (sealed(&db, "p1", 1).await, sealed(&db, "p1", 2).await);
    assert_eq!(claim_and_stall(&db, 10, 10).await.unwrap(), failing);
    assert_eq!(claim_and_stall(&db, 11, 11).await.unwrap(), later);
    let newest = sealed(&db, "p1", 12).await;
    let mut claimed = Vec::new();
    for seconds in 13..16 {
        claimed.extend(claim_and_stall(&db, seconds, seconds).await);
    }
    assert_eq!(claimed, [failing, later, newest]);
}

async fn one_import_per_practice_is_claimed(t: TestDb) {
    let db = migrated(&t).await;
    for seconds in [3, 1, 2] {
        sealed(&db, "p1", seconds).await;
    }
    sealed(&db, "p2", 9).await;
    let claims = (0..8).map(|_| {
        let db = db.clone();
        tokio::spawn(async move { claim(&db, ids::new_uuid(), 10).await })
    });
    let mut leases = Vec::new();
    for claimed in claims.collect::<Vec<_>>() {
        leases.extend(claimed.await.unwrap());
    }
    // A claim that lost a race is retried.
    while let Some(lease) = claim(&db, ids::new_uuid(), 10).await {
        leases.push(lease);
    }
    leases.sort_by_key(|lease| lease.import.sealed_at);
    let practices: Vec<_> = leases.iter().map(|l| l.import.key.practice.as_str()).collect();
    assert_eq!(practices, ["p1", "p2"]);
    let first = leases.swap_remove(0);
    let finish = db.write(TenantScope::AllPractices, move |tx| {
        let first = first.clone();
        async move { lease::finish(&*tx, &first, State::Completed, at(20), "").await }
    });
    assert!(finish.await.unwrap());
    let next = claim(&db, ids::new_uuid(), 21).await.unwrap();
    assert_eq!(next.import.key.practice.as_str(), "p1");
}

async fn stalled_import_backs_off_and_others_are_claimed(t: TestDb) {
    let db = migrated(&t).await;
    let (first, second) = (sealed(&db, "p1", 1).await, sealed(&db, "p1", 2).await);
    let worker = ids::new_uuid();
    let lease = claim(&db, worker, 10).await.unwrap();
    assert_eq!(lease.import.key, first);
    let stall = db.write(TenantScope::AllPractices, move |tx| {
        let lease = lease.clone();
        async move { lease::stall(&*tx, &lease, at(100), "away").await }
    });
    assert!(stall.await.unwrap());
    let import = imports::find(ImportDb::reader_of(&db, &first)).await.unwrap().unwrap();
    assert_eq!((import.state, import.note.as_str()), (State::Stalled, "away"));
    let lease = claim(&db, worker, 11).await.unwrap();
    assert_eq!(lease.import.key, second);
    assert!(advance(&db, &lease, Phase::Keys, 300).await);
    assert!(claim(&db, worker, 100).await.is_none(), "one at a time");
    let release = db.write(TenantScope::AllPractices, move |tx| {
        let lease = lease.clone();
        async move { lease::finish(&*tx, &lease, State::Completed, at(120), "").await }
    });
    assert!(release.await.unwrap());
    let again = claim(&db, worker, 121).await.unwrap();
    assert_eq!((again.import.key, again.import.note.as_str()), (first, ""));
}

async fn replicas_migrate_concurrently(t: TestDb) {
    let start = async || migrated(&t).await;
    let (one, two, three) = tokio::join!(start(), start(), start());
    sealed(&one, "p1", 0).await;
    assert!(claim(&two, ids::new_uuid(), 1).await.is_some());
    assert!(claim(&three, ids::new_uuid(), 1).await.is_none());
}
