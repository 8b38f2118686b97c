//! Row-level security on PostgreSQL: a statement without a filter by practice neither
//! reads nor changes rows of another practice.

use concord_core::caller::PracticeId;
use concord_db::{Database, TenantScope};
use concord_testing::{TestDb, storage_tests, tables};
use sea_orm::{ConnectionTrait, DbErr, Statement};

use concord_testing::e2e::feed::{connect_all, create_all, references, server_with};

storage_tests! {
    unfiltered_write_is_confined_to_practice,
    row_cannot_move_to_another_practice,
    reader_connection_cannot_write,
    all_practices_scope_writes_every_practice,
}

/// Tables with rows in every practice of these tests.
const TABLES_WITH_ROWS: &[&str] =
    &["connection", "client", "entry", "link", "feed_change", "request", "audit", "search_word"];

/// A database with the same rows in `p1` and in `p2`. None on SQLite, which has no
/// row-level security.
async fn two_practices(db: &TestDb) -> Option<Database> {
    if !db.is_postgres() {
        return None;
    }
    let server = server_with(db, &["manager", "books"]).await;
    connect_all(&server, "p2", &["manager", "books"]).await;
    for practice in ["p1", "p2"] {
        let manager = server.owner(practice, "manager").await;
        create_all(&manager, references(3)).await;
    }
    server.stop().await;
    Some(db.database().await)
}

fn p1() -> TenantScope {
    TenantScope::from(&"p1".parse::<PracticeId>().unwrap())
}

async fn count(db: &impl ConnectionTrait, table: &str, practice: &str) -> Result<i64, DbErr> {
    let sql = format!("SELECT count(*) AS n FROM {table} WHERE practice_id = '{practice}'");
    let statement = Statement::from_string(db.get_database_backend(), sql);
    db.query_one_raw(statement).await?.unwrap().try_get("", "n")
}

/// Runs `sql` in a write transaction. Returns the number of changed rows.
async fn run(db: &Database, scope: TenantScope, sql: String) -> Result<u64, DbErr> {
    let written = db.write(scope, move |tx| {
        let sql = sql.clone();
        async move { tx.execute_unprepared(&sql).await.map(|done| done.rows_affected()) }
    });
    written.await
}

async fn unfiltered_write_is_confined_to_practice(t: TestDb) {
    let Some(db) = two_practices(&t).await else { return };
    for table in TABLES_WITH_ROWS {
        let others = count(db.reader(), table, "p2").await.unwrap();
        assert!(others > 0, "{table} has rows of p2 to protect");
    }
    let all = tables::names(&db).await.into_iter().filter(|table| table != "feed_product");
    for table in all {
        let (own, others) = (
            count(db.reader(), &table, "p1").await.unwrap(),
            count(db.reader(), &table, "p2").await.unwrap(),
        );
        let seen = db.write(p1(), {
            let table = table.clone();
            move |tx| {
                let table = table.clone();
                async move {
                    let seen = count(&*tx, &table, "p2").await?;
                    let locked =
                        format!("SELECT 1 FROM {table} WHERE practice_id = 'p2' FOR UPDATE");
                    let locked = tx.execute_unprepared(&locked).await?.rows_affected();
                    Ok::<_, DbErr>((seen, locked))
                }
            }
        });
        assert_eq!(seen.await.unwrap(), (0, 0), "{table}");
        let everything = format!("UPDATE {table} SET practice_id = practice_id");
        let updated = run(&db, p1(), everything).await.unwrap();
        assert_eq!(i64::try_from(updated).unwrap(), own, "{table}: own rows only");
        let deleted = run(&db, p1(), format!("DELETE FROM {table}")).await.unwrap();
        assert_eq!(i64::try_from(deleted).unwrap(), own, "{table}: own rows only");
        assert_eq!(count(db.reader(), &table, "p2").await.unwrap(), others, "{table}");
    }
}

async fn row_cannot_move_to_another_practice(t: TestDb) {
    let Some(db) = two_practices(&t).await else { return };
    for table in TABLES_WITH_ROWS {
        let update = format!("UPDATE {table} SET practice_id = 'p2'");
        let refused = run(&db, p1(), update).await.unwrap_err().to_string();
        assert!(refused.contains("row-level security"), "{table}: {refused}");
    }
    let insert = "INSERT INTO tombstone (practice_id, record_id, record_kind, purged_at) \
                  VALUES ('p2', gen_random_uuid(), 'CLIENT', now())";
    let refused = run(&db, p1(), insert.to_owned()).await.unwrap_err().to_string();
    assert!(refused.contains("row-level security"), "{refused}");
    let own = insert.replace("'p2'", "'p1'");
    assert_eq!(run(&db, p1(), own).await.unwrap(), 1);
}

async fn reader_connection_cannot_write(t: TestDb) {
    let Some(db) = two_practices(&t).await else { return };
    let written = |sql: &'static str| db.reader().execute_unprepared(sql);
    assert_eq!(written("UPDATE client SET version = 0").await.unwrap().rows_affected(), 0);
    assert_eq!(written("DELETE FROM client").await.unwrap().rows_affected(), 0);
    let insert = "INSERT INTO connection VALUES ('p1', 'ap', now(), '')";
    let refused = written(insert).await.unwrap_err().to_string();
    assert!(refused.contains("row-level security"), "{refused}");
    for practice in ["p1", "p2"] {
        assert_eq!(count(db.reader(), "client", practice).await.unwrap(), 3, "reads are allowed");
    }
}

async fn all_practices_scope_writes_every_practice(t: TestDb) {
    let Some(db) = two_practices(&t).await else { return };
    let everything = "UPDATE client SET version = version".to_owned();
    assert_eq!(run(&db, TenantScope::AllPractices, everything).await.unwrap(), 6);
    // The tenant scope of the connection was reset.
    assert_eq!(run(&db, p1(), "DELETE FROM client".to_owned()).await.unwrap(), 3);
}
