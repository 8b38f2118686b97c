//! Erased rows, looked for in the files of the database.

use sea_orm::{
    ConnectionTrait as _, Statement, TransactionTrait as _,
    sqlx::{Connection as _, SqliteConnection, query},
};

use crate::{
    db::{Database, Scope},
    testing::TestDb,
};

const MARK: &str = "Zyxwvut-erased";

async fn run(db: &Database, sql: &str) {
    let sql = sql.to_owned();
    let written = db.write(Scope::AllPractices, move |tx| {
        let sql = sql.clone();
        async move { tx.execute_unprepared(&sql).await.map(drop) }
    });
    written.await.unwrap();
}

async fn number(db: &Database, sql: &str) -> i64 {
    let row = db.reader().query_one_raw(Statement::from_string(db.engine(), sql));
    row.await.unwrap().unwrap().try_get_by_index(0).unwrap()
}

/// Rows of which some fill pages of their own, so that pages become free too.
fn filled() -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS item(n INTEGER PRIMARY KEY, text TEXT); \
         INSERT INTO item WITH RECURSIVE numbers(n) AS ( \
           SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 200) \
         SELECT n, '{MARK}' || printf('%.*c', n * 60, 'x') FROM numbers"
    )
}

#[tokio::test]
async fn deleted_rows_leave_the_file_and_then_its_log() {
    let t = TestDb::sqlite();
    let db = t.database().await;
    assert!(db.finish_erasure().await.unwrap());
    run(&db, &filled()).await;
    // A reader that sees the rows for as long as it reads.
    #[expect(clippy::disallowed_methods, reason = "a long read")]
    let reading = db.reader().begin().await.unwrap();
    reading.execute_unprepared("SELECT count(*) FROM item").await.unwrap();
    run(&db, "DELETE FROM item WHERE n <> 7; UPDATE item SET text = 'left'").await;
    assert!(db.finish_erasure().await.unwrap(), "nobody asked for it");
    db.erased();
    assert!(!db.finish_erasure().await.unwrap(), "a reader is in the way");
    assert!(!t.holding(MARK).await.is_empty());
    run(&db, "INSERT INTO item VALUES (1, 'writers work on')").await;
    reading.rollback().await.unwrap();
    assert!(db.finish_erasure().await.unwrap());
    assert_eq!(t.holding(MARK).await, [""; 0]);
    assert_eq!(number(&db, "SELECT count(*) FROM item").await, 2);
}

#[tokio::test]
async fn a_new_process_truncates_the_log_of_an_earlier_one() {
    let t = TestDb::sqlite();
    let db = t.database().await;
    run(&db, &filled()).await;
    run(&db, "DELETE FROM item").await;
    // The first one was killed: another connection finds its log.
    let next = t.database().await;
    assert!(!t.holding(MARK).await.is_empty());
    assert!(next.finish_erasure().await.unwrap());
    assert_eq!(t.holding(MARK).await, [""; 0]);
}

#[tokio::test]
async fn a_file_with_erased_rows_in_free_pages_is_rewritten_once() {
    let t = TestDb::sqlite();
    // As earlier versions wrote it.
    let url = t.url().replace("sqlite:", "sqlite://") + "?mode=rwc";
    let mut earlier = SqliteConnection::connect(&url).await.unwrap();
    for sql in ["PRAGMA journal_mode = WAL", &filled(), "DELETE FROM item WHERE n > 3"] {
        query(sea_orm::sqlx::AssertSqlSafe(sql)).execute(&mut earlier).await.unwrap();
    }
    earlier.close().await.unwrap();

    let db = t.database().await;
    assert!(db.finish_erasure().await.unwrap());
    run(&db, "DELETE FROM item").await;
    assert!(!t.holding(MARK).await.is_empty());
    // It cannot be rewritten while another process writes. The service works all the same.
    let mut other = SqliteConnection::connect(&url).await.unwrap();
    query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    db.rewrite_once().await;
    assert_eq!(number(&db, "PRAGMA user_version").await, 0);
    other.close().await.unwrap();
    run(&db, "INSERT INTO item VALUES (1, 'a')").await;

    db.rewrite_once().await;
    db.erased();
    assert!(db.finish_erasure().await.unwrap());
    assert_eq!(t.holding(MARK).await, [""; 0]);
    assert_eq!(number(&db, "SELECT count(*) FROM item").await, 1);
    // Free pages stay: it is not rewritten again.
    run(&db, "DELETE FROM item").await;
    run(&db, &filled()).await;
    run(&db, "DELETE FROM item").await;
    let free = number(&db, "PRAGMA freelist_count").await;
    assert!(free > 0);
    db.rewrite_once().await;
    assert_eq!(number(&db, "PRAGMA freelist_count").await, free);
}
