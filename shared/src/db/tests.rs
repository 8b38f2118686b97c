//! The writer of both engines: commits, undoes, groups, retries.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use sea_orm::{ConnectionTrait as _, DbErr};

use super::*;
use crate::testing::{TestDb, storage_tests};

storage_tests! {
    an_answer_is_given_after_the_commit,
    a_write_that_fails_leaves_nothing_and_harms_no_other,
    writes_that_fail_among_others_are_undone_alone,
    a_panic_is_the_fault_of_one_write_alone,
    a_dropped_caller_does_not_undo_its_write,
    a_write_after_a_failed_commit_is_committed,
    a_full_disk_loses_nothing_that_was_answered,
    a_write_that_goes_on_after_its_transaction_is_lost_keeps_nothing,
    an_error_for_the_log_quotes_no_value,
    a_probe_tells_whether_the_database_answers,
    sessions_that_are_read_only_are_replaced,
    a_database_that_is_read_only_is_read_and_keeps_its_sessions,
    a_connection_that_cannot_write_is_replaced,
    what_takes_too_long_is_given_up,
    who_finds_no_free_connection_is_told_to_come_back,
    a_new_file_is_its_owners_alone,
}

async fn table(t: &TestDb) -> Database {
    let db = t.database().await;
    db.write(Scope::AllPractices, |tx| async move {
        tx.execute_unprepared("CREATE TABLE item(n BIGINT PRIMARY KEY)").await.map(drop)
    })
    .await
    .unwrap();
    db
}

async fn insert(db: &Database, n: u32) -> Result<(), DbErr> {
    db.write(Scope::AllPractices, move |tx| async move {
        tx.execute_unprepared(&format!("INSERT INTO item VALUES ({n})")).await.map(drop)
    })
    .await
}

async fn count(db: &Database) -> i64 {
    let statement = sea_orm::Statement::from_string(db.engine(), "SELECT count(*) AS n FROM item");
    let row = db.reader().query_one_raw(statement).await.unwrap().unwrap();
    row.try_get("", "n").unwrap()
}

async fn an_answer_is_given_after_the_commit(t: TestDb) {
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

async fn a_write_that_fails_leaves_nothing_and_harms_no_other(t: TestDb) {
    let db = table(&t).await;
    let failing = db.write(Scope::AllPractices, |tx| async move {
        tx.execute_unprepared("INSERT INTO item VALUES (1)").await?;
        tx.execute_unprepared("INSERT INTO item VALUES (1)").await.map(drop)
    });
    let (failed, kept) = tokio::join!(failing, insert(&db, 2));
    assert_eq!(fault(&failed.unwrap_err()), Fault::Duplicate);
    kept.unwrap();
    assert_eq!(count(&db).await, 1);
}

async fn writes_that_fail_among_others_are_undone_alone(t: TestDb) {
    let db = table(&t).await;
    // Long enough that the others wait together.
    let first = db.write(Scope::AllPractices, |tx| async move {
        tokio::time::sleep(Duration::from_millis(10)).await;
        tx.execute_unprepared("INSERT INTO item VALUES (1)").await.map(drop)
    });
    let failing = |n: u32| {
        db.write(Scope::AllPractices, move |tx| async move {
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
        assert_eq!(fault(&failed.unwrap_err()), Fault::Duplicate);
    }
    for kept in [outcomes.0, outcomes.2, outcomes.3, outcomes.6] {
        kept.unwrap();
    }
    assert_eq!(count(&db).await, 4);
    // What was undone can be written again.
    for n in [2, 5, 6] {
        insert(&db, n).await.unwrap();
    }
}

async fn a_panic_is_the_fault_of_one_write_alone(t: TestDb) {
    let db = table(&t).await;
    let panicking = db.write(Scope::AllPractices, |tx| async move {
        tx.execute_unprepared("INSERT INTO item VALUES (1)").await?;
        assert!(tx.get_database_backend() == sea_orm::DbBackend::MySql, "on purpose");
        Ok::<_, DbErr>(())
    });
    let (failed, kept) = tokio::join!(panicking, insert(&db, 2));
    assert!(failed.is_err());
    kept.unwrap();
    assert_eq!(count(&db).await, 1);
}

async fn a_dropped_caller_does_not_undo_its_write(t: TestDb) {
    let db = table(&t).await;
    let started = Arc::new(tokio::sync::Notify::new());
    let runs = Arc::new(AtomicU32::new(0));
    let write = {
        let (started, runs) = (Arc::clone(&started), Arc::clone(&runs));
        db.write(Scope::AllPractices, move |tx| {
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
    // The next write waits for its turn on SQLite; on PostgreSQL it does not.
    insert(&db, 2).await.unwrap();
    while runs.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    insert(&db, 3).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(count(&db).await, 3);
}

async fn run(db: &Database, sql: &'static str) -> Result<(), DbErr> {
    db.write(
        Scope::AllPractices,
        move |tx| async move { tx.execute_unprepared(sql).await.map(drop) },
    )
    .await
}

/// The numbers that are there, as others see them.
async fn there(db: &Database) -> Vec<i64> {
    let statement = sea_orm::Statement::from_string(db.engine(), "SELECT n FROM item ORDER BY n");
    let rows = db.reader().query_all_raw(statement).await.unwrap();
    rows.iter().map(|row| row.try_get("", "n").unwrap()).collect()
}

async fn a_write_after_a_failed_commit_is_committed(t: TestDb) {
    if t.is_postgres() {
        // A failed commit ends the transaction there.
        return;
    }
    let db = table(&t).await;
    run(&db, "CREATE TABLE child(n REFERENCES item DEFERRABLE INITIALLY DEFERRED)").await.unwrap();
    for n in [1, 2, 3] {
        // SQLite rolls back by itself, so the rollback of the driver fails.
        run(&db, "INSERT INTO item VALUES (0); ROLLBACK; SELECT nothing").await.unwrap_err();
        // The commit fails, and leaves the transaction open.
        run(&db, "INSERT INTO child VALUES (99)").await.unwrap_err();
        insert(&db, n).await.unwrap();
    }
    assert_eq!(there(&db).await, [1, 2, 3]);
    db.close().await.unwrap();
    assert_eq!(there(&t.database().await).await, [1, 2, 3]);
}

/// From now on the file may not grow; for the connection that says so.
const FULL: &str = "PRAGMA max_page_count = 1";

/// More than fits the pages that there are.
const LARGE: &str = "INSERT INTO large VALUES (zeroblob(100000))";

async fn a_full_disk_loses_nothing_that_was_answered(t: TestDb) {
    if t.is_postgres() {
        return;
    }
    let db = table(&t).await;
    run(&db, "CREATE TABLE large(b)").await.unwrap();
    let mut expected = Vec::new();
    for round in 0..5_u32 {
        // Long enough that the others wait together.
        let first = db.write(Scope::AllPractices, move |tx| async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let insert = format!("INSERT INTO item VALUES ({})", round * 10);
            tx.execute_unprepared(&insert).await.map(drop)
        });
        let full = db.write(Scope::AllPractices, |tx| async move {
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
                // They are undone with the one that finds the disk full.
                Err(error) => assert_eq!(outage(&error), Some(Outage::DiskFull), "{error}"),
            }
        }
        // There is room again.
        insert(&db, round * 10 + 4).await.unwrap();
        expected.push(i64::from(round * 10 + 4));
    }
    assert_eq!(there(&db).await, expected);
}

async fn a_write_that_goes_on_after_its_transaction_is_lost_keeps_nothing(t: TestDb) {
    if t.is_postgres() {
        return;
    }
    let db = table(&t).await;
    run(&db, "CREATE TABLE large(b)").await.unwrap();
    let first = db.write(Scope::AllPractices, |tx| async move {
        tokio::time::sleep(Duration::from_millis(10)).await;
        tx.execute_unprepared("INSERT INTO item VALUES (1)").await.map(drop)
    });
    let careless = |n: u32| {
        db.write(Scope::AllPractices, move |tx| async move {
            tx.execute_unprepared(FULL).await?;
            let _ = tx.execute_unprepared(LARGE).await;
            let _ = tx.execute_unprepared(&format!("INSERT INTO item VALUES ({n})")).await;
            Ok::<_, DbErr>(())
        })
    };
    // One among others, and one alone.
    let (first, lost, next) = tokio::join!(first, careless(2), insert(&db, 3));
    assert_eq!(fault(&lost.unwrap_err()), Fault::Unavailable);
    careless(4).await.unwrap_err();
    let answered = [(1, first), (3, next)].into_iter().filter(|(_, outcome)| outcome.is_ok());
    assert_eq!(there(&db).await, answered.map(|(n, _)| n).collect::<Vec<i64>>());
    insert(&db, 5).await.unwrap();
}

async fn an_error_for_the_log_quotes_no_value(t: TestDb) {
    let db = table(&t).await;
    insert(&db, 1).await.unwrap();
    let twice = insert(&db, 1).await.unwrap_err();
    let code = if t.is_postgres() { "23505" } else { "1555" };
    assert!(plainly(&twice).to_string().starts_with(&format!("the database answered {code}")));

    // SQLite makes a number of any text.
    if t.is_postgres() {
        let statement = "SELECT CAST('Kestrelton' AS bigint)";
        let error = db.reader().execute_unprepared(statement).await.unwrap_err();
        assert!(error.to_string().contains("Kestrelton"), "PostgreSQL quotes it");
        assert_eq!(plainly(&error).to_string(), "the database answered 22P02");
    }
    let statement = sea_orm::Statement::from_string(db.engine(), "SELECT 'Kestrelton' AS n");
    let row = db.reader().query_one_raw(statement).await.unwrap().unwrap();
    let error = row.try_get::<i64>("", "n").unwrap_err();
    assert!(!plainly(&error).to_string().contains("Kestrelton"));
    let error = DbErr::Json("invalid type: string \"Kestrelton\"".to_owned());
    assert_eq!(plainly(&error).to_string(), "a value cannot be read or written");
}

async fn a_probe_tells_whether_the_database_answers(t: TestDb) {
    let db = table(&t).await;
    let mut probe = db.probe();
    probe.ask().await.unwrap();
    // Also while all connections of the pool are at work, and after an answer that
    // was not waited for.
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
    probe.ask().await.unwrap();
    let _ = futures::FutureExt::now_or_never(probe.ask());
    probe.ask().await.unwrap();
}

/// Does something on each session of a pool, and gives each one's answer.
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

async fn sessions_that_are_read_only_are_replaced(t: TestDb) {
    if !t.is_postgres() {
        return;
    }
    let db = table(&t).await;
    let mut renewals = db.renewals();
    for round in 0..3_u32 {
        // As those are that a failover left with the old primary.
        on_each_session(&db, READ_ONLY).await;
        // More writes at once than sessions.
        let writes = (0..24).map(|n| insert(&db, round * 100 + n));
        for outcome in futures::future::join_all(writes).await {
            outcome.unwrap();
        }
        assert!(renewals.has_changed().unwrap(), "whoever holds a session is told");
        renewals.mark_unchanged();
        // Not one of them is given out again.
        let max = usize::try_from(db.pool_use().max).unwrap();
        assert_eq!(on_each_session(&db, IS_READ_ONLY).await, vec!["off"; max]);
    }
    assert_eq!(count(&db).await, 72);
    assert_eq!(db.takes_no_writes(), None);
    assert!(db.failed_writes().all(|(_, count)| count == 0));
}

async fn a_database_that_is_read_only_is_read_and_keeps_its_sessions(t: TestDb) {
    if !t.is_postgres() {
        return;
    }
    insert(&table(&t).await, 1).await.unwrap();
    // As all sessions of a standby are.
    let url = format!("{}&options[default_transaction_read_only]=on", t.url());
    let standby = Database::connect(&DatabaseSettings::new(url).max_connections(3)).await.unwrap();
    assert_eq!(standby.takes_no_writes(), None);
    let (sessions, renewals) = (on_each_session(&standby, PID).await, standby.renewals());
    for _ in 0..5 {
        let refused = insert(&standby, 2).await.unwrap_err();
        assert_eq!(outage(&refused), Some(Outage::ReadOnly), "{refused}");
        assert_eq!(count(&standby).await, 1);
    }
    assert_eq!(standby.takes_no_writes(), Some(Outage::ReadOnly));
    let failed = standby.failed_writes().find(|(outage, _)| *outage == Outage::ReadOnly);
    assert_eq!(failed, Some((Outage::ReadOnly, 5)));
    // The probe finds it without a write.
    let idle = Database::connect(&DatabaseSettings::new(format!(
        "{}&options[default_transaction_read_only]=on",
        t.url()
    )))
    .await
    .unwrap();
    let mut probe = idle.probe();
    for _ in 0..2 {
        probe.ask().await.unwrap();
        assert_eq!(idle.takes_no_writes(), Some(Outage::ReadOnly));
    }
    // Those that read are not thrown away for a write that cannot be done anyway.
    let mut after = on_each_session(&standby, PID).await;
    let mut before = sessions;
    before.sort();
    after.sort();
    assert_eq!(before, after);
    assert!(!renewals.has_changed().unwrap());
}

async fn a_connection_that_cannot_write_is_replaced(t: TestDb) {
    if t.is_postgres() {
        return;
    }
    let db = table(&t).await;
    // As that of a file which could not be written when it was opened.
    let refused = run(&db, "PRAGMA query_only = ON; INSERT INTO item VALUES (1)").await;
    assert_eq!(outage(&refused.unwrap_err()), Some(Outage::ReadOnly));
    assert_eq!(db.takes_no_writes(), Some(Outage::ReadOnly));
    insert(&db, 2).await.unwrap();
    assert_eq!(there(&db).await, [2]);
}

/// Connected with a second for everything.
async fn impatient(t: &TestDb) -> Database {
    let second = Duration::from_secs(1);
    let timeouts =
        Timeouts { acquire: second, statement: second, lock: second, idle_in_transaction: second };
    Database::connect(&t.settings().timeouts(timeouts).max_connections(2)).await.unwrap()
}

async fn what_takes_too_long_is_given_up(t: TestDb) {
    if !t.is_postgres() {
        // One writer at a time, and no statement that sleeps.
        return;
    }
    let (patient, db) = (table(&t).await, impatient(&t).await);
    let run = |sql: &'static str, pause: u64| {
        db.write(Scope::AllPractices, move |tx| async move {
            tokio::time::sleep(Duration::from_secs(pause)).await;
            tx.execute_unprepared(sql).await.map(drop)
        })
    };
    let slow = run("SELECT pg_sleep(5)", 0).await.unwrap_err();
    assert_eq!(outage(&slow), Some(Outage::Slow), "{slow}");
    let idle = run("SELECT 1", 3).await.unwrap_err();
    // The server ends the session; that it says why may not be read any more.
    assert_eq!(fault(&idle), Fault::Unavailable, "{idle}");

    insert(&patient, 1).await.unwrap();
    let held = Arc::new(tokio::sync::Notify::new());
    let holder = {
        let (patient, held) = (patient.clone(), Arc::clone(&held));
        tokio::spawn(async move {
            let locked = patient.write(Scope::AllPractices, move |tx| {
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
    // As long as it likes, but for the lock.
    let locked = run("SET LOCAL statement_timeout = 0; DELETE FROM item WHERE n = 1", 0).await;
    let locked = locked.unwrap_err();
    assert_eq!(outage(&locked), Some(Outage::Locked), "{locked}");
    holder.await.unwrap();
    assert_eq!(count(&patient).await, 1);
}

async fn who_finds_no_free_connection_is_told_to_come_back(t: TestDb) {
    if !t.is_postgres() {
        // Writes wait in a queue there.
        return;
    }
    let db = impatient(&t).await;
    let busy: Vec<_> = (0..2)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move {
                let write = db.write(Scope::AllPractices, |tx| async move {
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
    let waited = db.ping().await.unwrap_err();
    assert_eq!(fault(&waited), Fault::Unavailable, "{waited}");
    assert_eq!(outage(&waited), Some(Outage::NoConnection), "{waited}");
    for write in busy {
        write.await.unwrap();
    }
    db.ping().await.unwrap();
}

async fn a_new_file_is_its_owners_alone(t: TestDb) {
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
