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
    an_error_for_the_log_quotes_no_value,
    a_probe_tells_whether_the_database_answers,
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
    assert_eq!(fault(&slow), Fault::Unavailable, "{slow}");
    let idle = run("SELECT 1", 3).await.unwrap_err();
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
    assert_eq!(fault(&locked), Fault::Unavailable, "{locked}");
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
