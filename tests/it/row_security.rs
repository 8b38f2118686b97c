//! The second fence around a practice, on PostgreSQL: a query that forgets its
//! practice finds and changes nothing of another.

use sea_orm::{ConnectionTrait, DbErr, Statement};
use shared::{
    caller::PracticeId,
    db::{Database, Scope},
    testing::{TestDb, storage_tests, tables},
};

use crate::support::{
    caller::Caller,
    feed::{connect_all, create_all, references, server_with},
};

storage_tests! {
    a_write_that_forgets_its_practice_touches_no_other,
    a_row_cannot_be_given_to_another_practice,
    outside_of_a_write_nothing_can_be_written,
    what_is_not_one_practices_is_written_by_saying_so,
}

/// A row of it is in every practice that these tests make.
const SOME: &[&str] =
    &["connection", "client", "entry", "link", "feed_change", "request", "audit", "search_word"];

/// A database with the same in `p1` and in `p2`; none on SQLite, which has no
/// second fence.
async fn two_practices(db: &TestDb) -> Option<Database> {
    if !db.is_postgres() {
        return None;
    }
    let server = server_with(db, &["manager", "books"]).await;
    connect_all(&server, "p2", &["manager", "books"]).await;
    for practice in ["p1", "p2"] {
        let manager = Caller::owner(server.channel().await, practice, "manager");
        create_all(&manager, references(3)).await;
    }
    server.stop().await;
    Some(db.database().await)
}

fn p1() -> Scope {
    Scope::from(&"p1".parse::<PracticeId>().unwrap())
}

async fn count(db: &impl ConnectionTrait, table: &str, practice: &str) -> Result<i64, DbErr> {
    let sql = format!("SELECT count(*) AS n FROM {table} WHERE practice_id = '{practice}'");
    let statement = Statement::from_string(db.get_database_backend(), sql);
    db.query_one_raw(statement).await?.unwrap().try_get("", "n")
}

/// Runs `sql` in a write; how many rows it changed.
async fn run(db: &Database, scope: Scope, sql: String) -> Result<u64, DbErr> {
    let written = db.write(scope, move |tx| {
        let sql = sql.clone();
        async move { tx.execute_unprepared(&sql).await.map(|done| done.rows_affected()) }
    });
    written.await
}

async fn a_write_that_forgets_its_practice_touches_no_other(t: TestDb) {
    let Some(db) = two_practices(&t).await else { return };
    for table in SOME {
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
        assert_eq!(i64::try_from(updated).unwrap(), own, "{table}: its own, and no others");
        let deleted = run(&db, p1(), format!("DELETE FROM {table}")).await.unwrap();
        assert_eq!(i64::try_from(deleted).unwrap(), own, "{table}: its own, and no others");
        assert_eq!(count(db.reader(), &table, "p2").await.unwrap(), others, "{table}");
    }
}

async fn a_row_cannot_be_given_to_another_practice(t: TestDb) {
    let Some(db) = two_practices(&t).await else { return };
    for table in SOME {
        let given = format!("UPDATE {table} SET practice_id = 'p2'");
        let refused = run(&db, p1(), given).await.unwrap_err().to_string();
        assert!(refused.contains("row-level security"), "{table}: {refused}");
    }
    let insert = "INSERT INTO tombstone (practice_id, record_id, record_kind, purged_at) \
                  VALUES ('p2', gen_random_uuid(), 'CLIENT', now())";
    let refused = run(&db, p1(), insert.to_owned()).await.unwrap_err().to_string();
    assert!(refused.contains("row-level security"), "{refused}");
    let own = insert.replace("'p2'", "'p1'");
    assert_eq!(run(&db, p1(), own).await.unwrap(), 1);
}

async fn outside_of_a_write_nothing_can_be_written(t: TestDb) {
    let Some(db) = two_practices(&t).await else { return };
    let written = |sql: &'static str| db.reader().execute_unprepared(sql);
    assert_eq!(written("UPDATE client SET version = 0").await.unwrap().rows_affected(), 0);
    assert_eq!(written("DELETE FROM client").await.unwrap().rows_affected(), 0);
    let insert = "INSERT INTO connection VALUES ('p1', 'ap', now(), '')";
    let refused = written(insert).await.unwrap_err().to_string();
    assert!(refused.contains("row-level security"), "{refused}");
    for practice in ["p1", "p2"] {
        assert_eq!(count(db.reader(), "client", practice).await.unwrap(), 3, "read it may");
    }
}

async fn what_is_not_one_practices_is_written_by_saying_so(t: TestDb) {
    let Some(db) = two_practices(&t).await else { return };
    let everything = "UPDATE client SET version = version".to_owned();
    assert_eq!(run(&db, Scope::AllPractices, everything).await.unwrap(), 6);
    // The connection was left as it was found.
    assert_eq!(run(&db, p1(), "DELETE FROM client".to_owned()).await.unwrap(), 3);
}
