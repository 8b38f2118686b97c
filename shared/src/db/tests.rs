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
    a_panic_is_the_fault_of_one_write_alone,
    a_dropped_caller_does_not_undo_its_write,
}

async fn table(t: &TestDb) -> Database {
    let db = t.database().await;
    db.write(|tx| async move {
        tx.execute_unprepared("CREATE TABLE item(n BIGINT PRIMARY KEY)").await.map(drop)
    })
    .await
    .unwrap();
    db
}

async fn insert(db: &Database, n: u32) -> Result<(), DbErr> {
    db.write(move |tx| async move {
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
    let failing = db.write(|tx| async move {
        tx.execute_unprepared("INSERT INTO item VALUES (1)").await?;
        tx.execute_unprepared("INSERT INTO item VALUES (1)").await.map(drop)
    });
    let (failed, kept) = tokio::join!(failing, insert(&db, 2));
    assert_eq!(fault(&failed.unwrap_err()), Fault::Duplicate);
    kept.unwrap();
    assert_eq!(count(&db).await, 1);
}

async fn a_panic_is_the_fault_of_one_write_alone(t: TestDb) {
    let db = table(&t).await;
    let panicking = db.write(|tx| async move {
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
        db.write(move |tx| {
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
