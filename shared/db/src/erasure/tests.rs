//! Tests that search the files of the database for erased rows.

use sea_orm::{
    ConnectionTrait as _, Statement, TransactionTrait as _,
    sqlx::{Connection as _, SqliteConnection, query},
};

use crate::{Database, TenantScope, test_database};
use concord_testing::TestDb;

const MARK: &str = "Zyxwvut-erased";

async fn run(db: &Database, sql: &str) {
    let sql = sql.to_owned();
    let written = db.write(TenantScope::AllPractices, move |tx| {
        let sql = sql.clone();
        async move { tx.execute_unprepared(&sql).await.map(drop) }
    });
    written.await.unwrap();
}

async fn number(db: &Database, sql: &str) -> i64 {
    let row = db.reader().query_one_raw(Statement::from_string(db.engine(), sql));
    row.await.unwrap().unwrap().try_get_by_index(0).unwrap()
}

/// Inserts rows, some of which fill whole pages, so that pages become free too.
fn filled() -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS item(n INTEGER PRIMARY KEY, text TEXT); \
         INSERT INTO item WITH RECURSIVE numbers(n) AS ( \
           SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 200) \
         SELECT n, '{MARK}' || printf('%.*c', n * 60, 'x') FROM numbers"
    )
}

#[tokio::test]
async fn deleted_rows_are_erased_from_file_and_log() {
    let t = TestDb::sqlite();
    let db = test_database::connect(&t).await;
    assert!(db.finish_erasure().await.unwrap());
    run(&db, &filled()).await;
    // A reader whose snapshot holds the rows.
    #[expect(clippy::disallowed_methods, reason = "a long read")]
    let reading = db.reader().begin().await.unwrap();
    reading.execute_unprepared("SELECT count(*) FROM item").await.unwrap();
    run(&db, "DELETE FROM item WHERE n <> 7; UPDATE item SET text = 'left'").await;
    assert!(db.finish_erasure().await.unwrap(), "no erasure was requested");
    db.request_erasure();
    assert!(!db.finish_erasure().await.unwrap(), "a reader blocks it");
    assert!(!t.containing(MARK).await.is_empty());
    run(&db, "INSERT INTO item VALUES (1, 'writers continue')").await;
    reading.rollback().await.unwrap();
    assert!(db.finish_erasure().await.unwrap());
    assert_eq!(t.containing(MARK).await, [""; 0]);
    assert_eq!(number(&db, "SELECT count(*) FROM item").await, 2);
}

#[tokio::test]
async fn new_process_truncates_log_of_earlier_one() {
    let t = TestDb::sqlite();
    let db = test_database::connect(&t).await;
    run(&db, &filled()).await;
    run(&db, "DELETE FROM item").await;
    // As after a kill of the first process: the next one finds its log.
    let next = test_database::connect(&t).await;
    assert!(!t.containing(MARK).await.is_empty());
    assert!(next.finish_erasure().await.unwrap());
    assert_eq!(t.containing(MARK).await, [""; 0]);
}

#[tokio::test]
async fn file_with_erased_rows_in_free_pages_is_rewritten_once() {
    let t = TestDb::sqlite();
    // As earlier versions wrote it.
    let url = t.url().replace("sqlite:", "sqlite://") + "?mode=rwc";
    let mut earlier = SqliteConnection::connect(&url).await.unwrap();
    for sql in ["PRAGMA journal_mode = WAL", &filled(), "DELETE FROM item WHERE n > 3"] {
        query(sea_orm::sqlx::AssertSqlSafe(sql)).execute(&mut earlier).await.unwrap();
    }
    earlier.close().await.unwrap();

    let db = test_database::connect(&t).await;
    assert!(db.finish_erasure().await.unwrap());
    run(&db, "DELETE FROM item").await;
    assert!(!t.containing(MARK).await.is_empty());
    // The rewrite fails while another process writes. The service works nevertheless.
    let mut other = SqliteConnection::connect(&url).await.unwrap();
    query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    db.rewrite_once().await;
    assert_eq!(number(&db, "PRAGMA user_version").await, 0);
    other.close().await.unwrap();
    run(&db, "INSERT INTO item VALUES (1, 'a')").await;

    db.rewrite_once().await;
    db.request_erasure();
    assert!(db.finish_erasure().await.unwrap());
    assert_eq!(t.containing(MARK).await, [""; 0]);
    assert_eq!(number(&db, "SELECT count(*) FROM item").await, 1);
    // It is not rewritten again: free pages stay.
    run(&db, "DELETE FROM item").await;
    run(&db, &filled()).await;
    run(&db, "DELETE FROM item").await;
    let free = number(&db, "PRAGMA freelist_count").await;
    assert!(free > 0);
    db.rewrite_once().await;
    assert_eq!(number(&db, "PRAGMA freelist_count").await, free);
}
