//! Tests of writes on both engines: commit, rollback, group commit, retries.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use sea_orm::{ConnectionTrait as _, DbErr};

use super::*;
use concord_testing::{TestDb, storage_tests};

storage_tests! {
    write_returns_after_commit,
    failed_write_is_rolled_back_alone,
    failed_writes_of_group_are_rolled_back_alone,
    panic_rolls_back_one_write_only,
    write_of_dropped_caller_is_committed,
    write_after_failed_commit_is_committed,
    full_disk_loses_no_acknowledged_write,
    statements_after_implicit_rollback_are_not_committed,
    redacted_error_quotes_no_value,
    probe_succeeds_while_pool_is_exhausted,
    read_only_sessions_are_renewed,
    read_only_database_serves_reads_and_keeps_sessions,
    read_only_connection_is_replaced,
    timeouts_abort_statement_transaction_and_lock,
    exhausted_pool_is_unavailable,
    new_file_is_private,
}

async fn table(t: &TestDb) -> Database {
    let db = test_database::connect(t).await;
    db.write(TenantScope::AllPractices, |tx| async move {
        tx.execute_unprepared("CREATE TABLE item(n BIGINT PRIMARY KEY)").await.map(drop)
    })
    .await
    .unwrap();
    db
}

async fn insert(db: &Database, n: u32) -> Result<(), DbErr> {
    db.write(TenantScope::AllPractices, move |tx| async move {
        tx.execute_unprepared(&format!("INSERT INTO item VALUES ({n})")).await.map(drop)
    })
    .await
}

async fn count(db: &Database) -> i64 {
    let statement = sea_orm::Statement::from_string(db.engine(), "SELECT count(*) AS n FROM item");
    let row = db.reader().query_one_raw(statement).await.unwrap().unwrap();
    row.try_get("", "n").unwrap()
}

async fn write_returns_after_commit(t: TestDb) {
    let db = table(&t).await;
    let writes = (0..200).map(|n| {
        let db = db.clone();
        tokio::spawn(async move { insert(&db, n).await })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.unwrap().unwrap();
    }
    assert_eq!(count(&db).await, 200);
}

async fn failed_write_is_rolled_back_alone(t: TestDb) {
    let db = table(&t).await;
    let failing = db.write(TenantScope::AllPractices, |tx| async move {
        tx.execute_unprepared("INSERT INTO item VALUES (1)").await?;
        tx.execute_unprepared("INSERT INTO item VALUES (1)").await.map(drop)
    });
    let (failed, kept) = tokio::join!(failing, insert(&db, 2));
    assert_eq!(error_kind(&failed.unwrap_err()), DbErrorKind::Duplicate);
    kept.unwrap();
    assert_eq!(count(&db).await, 1);
}

async fn failed_writes_of_group_are_rolled_back_alone(t: TestDb) {
    let db = table(&t).await;
    // Long enough that the other writes are queued together.
    let first = db.write(TenantScope::AllPractices, |tx| async move {
        tokio::time::sleep(Duration::from_millis(10)).await;
        tx.execute_unprepared("INSERT INTO item VALUES (1)").await.map(drop)
    });
    let failing = |n: u32| {
        db.write(TenantScope::AllPractices, move |tx| async move {
            let insert = format!("INSERT INTO item VALUES ({n})");
            tx.execute_unprepared(&insert).await?;
            tx.execute_unprepared(&insert).await.map(drop)
        })
    };
    let outcomes = tokio::join!(
        first,
        failing(2),
        insert(&db, 3),
        insert(&db, 4),
        failing(5),
        failing(6),
        insert(&db, 7)
    );
    for failed in [outcomes.1, outcomes.4, outcomes.5] {
        assert_eq!(error_kind(&failed.unwrap_err()), DbErrorKind::Duplicate);
    }
    for kept in [outcomes.0, outcomes.2, outcomes.3, outcomes.6] {
        kept.unwrap();
    }
    assert_eq!(count(&db).await, 4);
    // Rolled back rows can be inserted again.
    for n in [2, 5, 6] {
        insert(&db, n).await.unwrap();
    }
}

async fn panic_rolls_back_one_write_only(t: TestDb) {
    let db = table(&t).await;
    let panicking = db.write(TenantScope::AllPractices, |tx| async move {
        tx.execute_unprepared("INSERT INTO item VALUES (1)").await?;
        assert!(tx.get_database_backend() == sea_orm::DbBackend::MySql, "on purpose");
        Ok::<_, DbErr>(())
    });
    let (failed, kept) = tokio::join!(panicking, insert(&db, 2));
    assert!(failed.is_err());
    kept.unwrap();
    assert_eq!(count(&db).await, 1);
}

async fn write_of_dropped_caller_is_committed(t: TestDb) {
    let db = table(&t).await;
    let started = Arc::new(tokio::sync::Notify::new());
    let runs = Arc::new(AtomicU32::new(0));
    let write = {
        let (started, runs) = (Arc::clone(&started), Arc::clone(&runs));
        db.write(TenantScope::AllPractices, move |tx| {
            let (started, runs) = (Arc::clone(&started), Arc::clone(&runs));
            async move {
                started.notify_one();
                tokio::time::sleep(Duration::from_millis(50)).await;
                tx.execute_unprepared("INSERT INTO item VALUES (1)").await?;
                runs.fetch_add(1, Ordering::SeqCst);
                Ok::<_, DbErr>(())
            }
        })
    };
    tokio::select! {
        _ = write => unreachable!("the write takes longer"),
        () = started.notified() => {}
    }
    // On SQLite the next write is queued behind it; on PostgreSQL it is not.
    insert(&db, 2).await.unwrap();
    while runs.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    insert(&db, 3).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(count(&db).await, 3);
}

async fn run(db: &Database, sql: &'static str) -> Result<(), DbErr> {
    db.write(TenantScope::AllPractices, move |tx| async move {
        tx.execute_unprepared(sql).await.map(drop)
    })
    .await
}

/// The numbers in the table, read on another connection.
async fn numbers(db: &Database) -> Vec<i64> {
    let statement = sea_orm::Statement::from_string(db.engine(), "SELECT n FROM item ORDER BY n");
    let rows = db.reader().query_all_raw(statement).await.unwrap();
    rows.iter().map(|row| row.try_get("", "n").unwrap()).collect()
}

async fn write_after_failed_commit_is_committed(t: TestDb) {
    if t.is_postgres() {
        // On PostgreSQL a failed commit ends the transaction.
        return;
    }
    let db = table(&t).await;
    run(&db, "CREATE TABLE child(n REFERENCES item DEFERRABLE INITIALLY DEFERRED)").await.unwrap();
    for n in [1, 2, 3] {
        // SQLite has rolled back already, so the rollback of the driver fails.
        run(&db, "INSERT INTO item VALUES (0); ROLLBACK; SELECT nothing").await.unwrap_err();
        // The commit fails, and leaves the transaction open.
        run(&db, "INSERT INTO child VALUES (99)").await.unwrap_err();
        insert(&db, n).await.unwrap();
    }
    assert_eq!(numbers(&db).await, [1, 2, 3]);
    db.close().await.unwrap();
    assert_eq!(numbers(&test_database::connect(&t).await).await, [1, 2, 3]);
}

/// Simulates a full disk on its connection: the file cannot grow.
const FULL: &str = "PRAGMA max_page_count = 1";

/// Needs more pages than the file has.
const LARGE: &str = "INSERT INTO large VALUES (zeroblob(100000))";

async fn full_disk_loses_no_acknowledged_write(t: TestDb) {
    if t.is_postgres() {
        return;
    }
    let db = table(&t).await;
    run(&db, "CREATE TABLE large(b)").await.unwrap();
    let mut expected = Vec::new();
    for round in 0..5_u32 {
        // Long enough that the other writes are queued together.
        let first = db.write(TenantScope::AllPractices, move |tx| async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let insert = format!("INSERT INTO item VALUES ({})", round * 10);
            tx.execute_unprepared(&insert).await.map(drop)
        });
        let full = db.write(TenantScope::AllPractices, |tx| async move {
            tx.execute_unprepared(FULL).await?;
            tx.execute_unprepared(LARGE).await.map(drop)
        });
        let (one, two, three) =
            (insert(&db, round * 10 + 1), insert(&db, round * 10 + 2), insert(&db, round * 10 + 3));
        let (first, one, full, two, three) = tokio::join!(first, one, full, two, three);
        assert_eq!(outage(&full.unwrap_err()), Some(Outage::DiskFull));
        for (n, outcome) in (round * 10..).zip([first, one, two, three]) {
            match outcome {
                Ok(()) => expected.push(i64::from(n)),
                // Rolled back with the write that found the disk full.
                Err(error) => assert_eq!(outage(&error), Some(Outage::DiskFull), "{error}"),
            }
        }
        // The disk has free space again.
        insert(&db, round * 10 + 4).await.unwrap();
        expected.push(i64::from(round * 10 + 4));
    }
    assert_eq!(numbers(&db).await, expected);
}

async fn statements_after_implicit_rollback_are_not_committed(t: TestDb) {
    if t.is_postgres() {
        return;
    }
    let db = table(&t).await;
    run(&db, "CREATE TABLE large(b)").await.unwrap();
    let first = db.write(TenantScope::AllPractices, |tx| async move {
        tokio::time::sleep(Duration::from_millis(10)).await;
        tx.execute_unprepared("INSERT INTO item VALUES (1)").await.map(drop)
    });
    let careless = |n: u32| {
        db.write(TenantScope::AllPractices, move |tx| async move {
            tx.execute_unprepared(FULL).await?;
            let _ = tx.execute_unprepared(LARGE).await;
            let _ = tx.execute_unprepared(&format!("INSERT INTO item VALUES ({n})")).await;
            Ok::<_, DbErr>(())
        })
    };
    // One in a group, and one alone.
    let (first, lost, next) = tokio::join!(first, careless(2), insert(&db, 3));
    assert_eq!(error_kind(&lost.unwrap_err()), DbErrorKind::Unavailable);
    careless(4).await.unwrap_err();
    let acknowledged = [(1, first), (3, next)].into_iter().filter(|(_, outcome)| outcome.is_ok());
    assert_eq!(numbers(&db).await, acknowledged.map(|(n, _)| n).collect::<Vec<i64>>());
    insert(&db, 5).await.unwrap();
}

async fn redacted_error_quotes_no_value(t: TestDb) {
    let db = table(&t).await;
    insert(&db, 1).await.unwrap();
    let duplicate = insert(&db, 1).await.unwrap_err();
    let code = if t.is_postgres() { "23505" } else { "1555" };
    assert!(redacted(&duplicate).to_string().starts_with(&format!("the database answered {code}")));

    // SQLite casts any text to a number.
    if t.is_postgres() {
        let statement = "SELECT CAST('Kestrelton' AS bigint)";
        let error = db.reader().execute_unprepared(statement).await.unwrap_err();
        assert!(error.to_string().contains("Kestrelton"), "PostgreSQL quotes it");
        assert_eq!(redacted(&error).to_string(), "the database answered 22P02");
    }
    let statement = sea_orm::Statement::from_string(db.engine(), "SELECT 'Kestrelton' AS n");
    let row = db.reader().query_one_raw(statement).await.unwrap().unwrap();
    let error = row.try_get::<i64>("", "n").unwrap_err();
    assert!(!redacted(&error).to_string().contains("Kestrelton"));
    let error = DbErr::Json("invalid type: string \"Kestrelton\"".to_owned());
    assert_eq!(redacted(&error).to_string(), "a value cannot be read or written");
}

async fn probe_succeeds_while_pool_is_exhausted(t: TestDb) {
    let db = table(&t).await;
    let mut probe = db.probe();
    probe.check().await.unwrap();
    // Also while all connections of the pool are in use, and after a dropped check.
    let max = db.pool_use().max;
    let mut busy = Vec::new();
    for _ in 0..max {
        let read = if t.is_postgres() { "SELECT 1" } else { "SELECT n FROM item" };
        #[expect(clippy::disallowed_methods, reason = "it holds a connection")]
        let tx = sea_orm::TransactionTrait::begin(db.reader()).await.unwrap();
        tx.execute_unprepared(read).await.unwrap();
        busy.push(tx);
    }
    assert_eq!(db.pool_use().in_use, max);
    probe.check().await.unwrap();
    let _ = futures::FutureExt::now_or_never(probe.check());
    probe.check().await.unwrap();
}

/// Runs a query on each session of a pool, and returns the results.
async fn on_each_session(db: &Database, sql: &str) -> Vec<String> {
    let (mut held, mut answers) = (Vec::new(), Vec::new());
    for _ in 0..db.pool_use().max {
        #[expect(clippy::disallowed_methods, reason = "it holds a session")]
        let tx = sea_orm::TransactionTrait::begin(db.reader()).await.unwrap();
        let statement = sea_orm::Statement::from_string(db.engine(), sql);
        let rows = tx.query_all_raw(statement).await.unwrap();
        answers.extend(rows.iter().map(|row| row.try_get::<String>("", "answer").unwrap()));
        held.push(tx);
    }
    for tx in held {
        tx.commit().await.unwrap();
    }
    answers
}

const READ_ONLY: &str = "SELECT set_config('default_transaction_read_only', 'on', false) AS answer";
const IS_READ_ONLY: &str = "SELECT current_setting('transaction_read_only') AS answer";
const PID: &str = "SELECT pg_backend_pid()::text AS answer";

async fn read_only_sessions_are_renewed(t: TestDb) {
    if !t.is_postgres() {
        return;
    }
    let db = table(&t).await;
    let mut renewals = db.renewals();
    for round in 0..3_u32 {
        // As after a failover, for sessions of the old primary.
        on_each_session(&db, READ_ONLY).await;
        // More concurrent writes than sessions.
        let writes = (0..24).map(|n| insert(&db, round * 100 + n));
        for outcome in futures::future::join_all(writes).await {
            outcome.unwrap();
        }
        assert!(renewals.has_changed().unwrap(), "holders of a session are notified");
        renewals.mark_unchanged();
        // None of the read-only sessions is reused.
        let max = usize::try_from(db.pool_use().max).unwrap();
        assert_eq!(on_each_session(&db, IS_READ_ONLY).await, vec!["off"; max]);
    }
    assert_eq!(count(&db).await, 72);
    assert_eq!(db.write_outage(), None);
    assert!(db.failed_writes().all(|(_, count)| count == 0));
}

async fn read_only_database_serves_reads_and_keeps_sessions(t: TestDb) {
    if !t.is_postgres() {
        return;
    }
    insert(&table(&t).await, 1).await.unwrap();
    // As all sessions of a standby.
    let url = format!("{}&options[default_transaction_read_only]=on", t.url());
    let standby = Database::connect(&DatabaseSettings::new(url).max_connections(3)).await.unwrap();
    assert_eq!(standby.write_outage(), None);
    let (sessions, renewals) = (on_each_session(&standby, PID).await, standby.renewals());
    for _ in 0..5 {
        let refused = insert(&standby, 2).await.unwrap_err();
        assert_eq!(outage(&refused), Some(Outage::ReadOnly), "{refused}");
        assert_eq!(count(&standby).await, 1);
    }
    assert_eq!(standby.write_outage(), Some(Outage::ReadOnly));
    let failed = standby.failed_writes().find(|(outage, _)| *outage == Outage::ReadOnly);
    assert_eq!(failed, Some((Outage::ReadOnly, 5)));
    // The probe detects it without a write.
    let idle = Database::connect(&DatabaseSettings::new(format!(
        "{}&options[default_transaction_read_only]=on",
        t.url()
    )))
    .await
    .unwrap();
    let mut probe = idle.probe();
    for _ in 0..2 {
        probe.check().await.unwrap();
        assert_eq!(idle.write_outage(), Some(Outage::ReadOnly));
    }
    // The sessions are kept for reads, because new ones could not write either.
    let mut after = on_each_session(&standby, PID).await;
    let mut before = sessions;
    before.sort();
    after.sort();
    assert_eq!(before, after);
    assert!(!renewals.has_changed().unwrap());
}

async fn read_only_connection_is_replaced(t: TestDb) {
    if t.is_postgres() {
        return;
    }
    let db = table(&t).await;
    // As a connection whose file was read-only when it was opened.
    let refused = run(&db, "PRAGMA query_only = ON; INSERT INTO item VALUES (1)").await;
    assert_eq!(outage(&refused.unwrap_err()), Some(Outage::ReadOnly));
    assert_eq!(db.write_outage(), Some(Outage::ReadOnly));
    insert(&db, 2).await.unwrap();
    assert_eq!(numbers(&db).await, [2]);
}

/// A database with timeouts of one second.
async fn with_short_timeouts(t: &TestDb) -> Database {
    let second = Duration::from_secs(1);
    let timeouts =
        Timeouts { acquire: second, statement: second, lock: second, idle_in_transaction: second };
    Database::connect(&test_database::settings(t).timeouts(timeouts).max_connections(2))
        .await
        .unwrap()
}

async fn timeouts_abort_statement_transaction_and_lock(t: TestDb) {
    if !t.is_postgres() {
        // SQLite has a single writer, and no statement that sleeps.
        return;
    }
    let (default_db, db) = (table(&t).await, with_short_timeouts(&t).await);
    let run = |sql: &'static str, pause: u64| {
        db.write(TenantScope::AllPractices, move |tx| async move {
            tokio::time::sleep(Duration::from_secs(pause)).await;
            tx.execute_unprepared(sql).await.map(drop)
        })
    };
    let slow = run("SELECT pg_sleep(5)", 0).await.unwrap_err();
    assert_eq!(outage(&slow), Some(Outage::StatementTimeout), "{slow}");
    let idle = run("SELECT 1", 3).await.unwrap_err();
    // The server ends the session; its message may be lost.
    assert_eq!(error_kind(&idle), DbErrorKind::Unavailable, "{idle}");

    insert(&default_db, 1).await.unwrap();
    let held = Arc::new(tokio::sync::Notify::new());
    let holder = {
        let (default_db, held) = (default_db.clone(), Arc::clone(&held));
        tokio::spawn(async move {
            let locked = default_db.write(TenantScope::AllPractices, move |tx| {
                let held = Arc::clone(&held);
                async move {
                    tx.execute_unprepared("SELECT n FROM item WHERE n = 1 FOR UPDATE").await?;
                    held.notify_one();
                    tokio::time::sleep(Duration::from_secs(3)).await;
                    Ok::<_, DbErr>(())
                }
            });
            locked.await.unwrap();
        })
    };
    held.notified().await;
    // Without a statement timeout, so that only the lock timeout applies.
    let locked = run("SET LOCAL statement_timeout = 0; DELETE FROM item WHERE n = 1", 0).await;
    let locked = locked.unwrap_err();
    assert_eq!(outage(&locked), Some(Outage::LockTimeout), "{locked}");
    holder.await.unwrap();
    assert_eq!(count(&default_db).await, 1);
}

async fn exhausted_pool_is_unavailable(t: TestDb) {
    if !t.is_postgres() {
        // On SQLite writes are queued.
        return;
    }
    let db = with_short_timeouts(&t).await;
    let busy: Vec<_> = (0..2)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move {
                let write = db.write(TenantScope::AllPractices, |tx| async move {
                    for _ in 0..30 {
                        tx.execute_unprepared("SELECT pg_sleep(0.1)").await?;
                    }
                    Ok::<_, DbErr>(())
                });
                write.await.unwrap();
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let waited = db.reader().ping().await.unwrap_err();
    assert_eq!(error_kind(&waited), DbErrorKind::Unavailable, "{waited}");
    assert_eq!(outage(&waited), Some(Outage::NoConnection), "{waited}");
    for write in busy {
        write.await.unwrap();
    }
    db.reader().ping().await.unwrap();
}

async fn new_file_is_private(t: TestDb) {
    use std::os::unix::fs::PermissionsExt as _;
    if t.is_postgres() {
        return;
    }
    let db = table(&t).await;
    insert(&db, 1).await.unwrap();
    let file = t.url().strip_prefix("sqlite:").unwrap();
    for end in ["", "-wal", "-shm"] {
        let mode = std::fs::metadata(format!("{file}{end}")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{end}");
    }
}
