//! What is looked up, on both databases, and how.

use sea_orm::{ConnectionTrait as _, Statement};
use shared::{
    caller::Product,
    db::{Database, Scope},
    testing::{TestDb, storage_tests},
};

use super::*;
use crate::{
    migrations::Migrator,
    store::{connections, feed::gauges::standings_sql},
};

storage_tests! {
    the_feeds_are_counted_as_they_stand,
    the_pending_changes_are_found_by_their_key,
}

async fn database(t: &TestDb) -> Database {
    let db = t.database().await;
    db.migrate::<Migrator>().await.unwrap();
    db
}

async fn run(db: &Database, statements: Vec<String>) {
    db.write(Scope::AllPractices, move |tx| {
        let statements = statements.clone();
        async move {
            for statement in statements {
                tx.execute_unprepared(&statement).await?;
            }
            Ok::<_, sea_orm::DbErr>(())
        }
    })
    .await
    .unwrap();
}

/// A change made at that second of the first minute of 2026, pending for `product`.
fn pending(product: &str, practice: &str, second: u32) -> [String; 2] {
    let id = shared::ids::new_uuid();
    let id = format!("x'{}'", id.as_simple());
    let time = format!("'2026-01-01 00:00:{second:02}.000000+00:00'");
    [
        format!(
            "INSERT INTO feed_change (id, practice_id, record_kind, record_id, record_version, \
             kind, changed_fields, companions, origin_product, origin_account, origin_user, \
             transaction_id, transaction_index, transaction_count, changed_at) \
             VALUES ({id}, '{practice}', 'CLIENT', {id}, 1, 'CREATED', '[]', '[]', 'manager', \
             'main', '', {id}, 0, 1, {time})"
        ),
        format!(
            "INSERT INTO feed_pending (product, practice_id, seq, linked) \
             SELECT '{product}', '{practice}', MAX(seq), false FROM feed_change"
        ),
    ]
}

/// Literals of SQLite in the words of PostgreSQL.
fn words(t: &TestDb, statements: Vec<String>) -> Vec<String> {
    if !t.is_postgres() {
        return statements;
    }
    let uuid = |text: String| text.replace("x'", "'");
    statements.into_iter().map(uuid).collect()
}

async fn feed(db: &Database, product: &str) {
    let product: Product = product.parse().unwrap();
    db.write(Scope::AllPractices, move |tx| {
        let product = product.clone();
        async move {
            let (practice, now) = ("p1".parse().unwrap(), "2026-01-01T00:00:00Z".parse().unwrap());
            connections::connect(&*tx, &practice, &product, "", now).await
        }
    })
    .await
    .unwrap();
}

async fn the_feeds_are_counted_as_they_stand(t: TestDb) {
    let db = database(&t).await;
    feed(&db, "ap").await;
    feed(&db, "books").await;
    // The first by practice is not the oldest.
    let changes = [("books", "p2", 7), ("books", "p1", 9), ("books", "p2", 30)];
    let changes = changes.map(|(product, practice, at)| pending(product, practice, at));
    run(&db, words(&t, changes.concat())).await;
    let found = standings(db.reader()).await.unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|feed| (feed.product.as_str(), feed.head, feed.pending, feed.oldest))
        .collect();
    let oldest = Some("2026-01-01T00:00:07Z".parse().unwrap());
    assert_eq!(found, [("ap", 0, 0, None), ("books", 0, 3, oldest)]);
    assert_eq!(subscribed(db.reader(), "2026-01-01T00:00:00Z".parse().unwrap()).await.unwrap(), []);
}

async fn the_pending_changes_are_found_by_their_key(t: TestDb) {
    let db = database(&t).await;
    feed(&db, "books").await;
    let many = (0..40).flat_map(|n| pending("books", &format!("p{}", n % 4), n));
    run(&db, words(&t, many.collect())).await;
    let sql = standings_sql();
    let (explain, whole) = if t.is_postgres() {
        run(&db, vec!["ANALYZE feed_pending".to_owned()]).await;
        // So few rows would be read whole, whatever the statement says.
        (format!("EXPLAIN {sql}"), "Seq Scan on feed_pending")
    } else {
        (format!("EXPLAIN QUERY PLAN {sql}"), "SCAN p")
    };
    let plan = db.write(Scope::AllPractices, move |tx| {
        let explain = explain.clone();
        async move {
            let engine = tx.get_database_backend();
            if engine == sea_orm::DbBackend::Postgres {
                tx.execute_unprepared("SET LOCAL enable_seqscan = off").await?;
            }
            let rows = tx.query_all_raw(Statement::from_string(engine, explain)).await?;
            let column =
                if engine == sea_orm::DbBackend::Postgres { "QUERY PLAN" } else { "detail" };
            rows.iter().map(|row| row.try_get::<String>("", column)).collect::<Result<Vec<_>, _>>()
        }
    });
    let plan = plan.await.unwrap().join("\n");
    assert!(plan.contains("feed_pending") || plan.contains("SEARCH p"), "{plan}");
    assert!(!plan.contains(whole), "{plan}");
}
