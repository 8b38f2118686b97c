//! The queries of the gauges, and their plans, on both engines.

use concord_core::caller::Product;
use concord_db::{Database, TenantScope};
use concord_testing::{TestDb, storage_tests};
use sea_orm::{ConnectionTrait as _, Statement};

use super::*;
use crate::{
    migrations::Migrator,
    store::{connections, feed::gauges::feed_stats_sql},
};

storage_tests! {
    feed_stats_count_pending_changes,
    feed_stats_use_the_primary_key_of_pending,
}

async fn database(t: &TestDb) -> Database {
    let db = t.database().await;
    db.migrate::<Migrator>().await.unwrap();
    db
}

async fn run(db: &Database, statements: Vec<String>) {
    db.write(TenantScope::AllPractices, move |tx| {
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

/// Statements for a change at a second of the first minute of 2026, pending for `product`.
fn pending(product: &str, practice: &str, second: u32) -> [String; 2] {
    let id = concord_core::ids::new_uuid();
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

/// Translates the literals of SQLite for PostgreSQL.
fn in_dialect(t: &TestDb, statements: Vec<String>) -> Vec<String> {
    if !t.is_postgres() {
        return statements;
    }
    let uuid = |text: String| text.replace("x'", "'");
    statements.into_iter().map(uuid).collect()
}

async fn feed(db: &Database, product: &str) {
    let product: Product = product.parse().unwrap();
    db.write(TenantScope::AllPractices, move |tx| {
        let product = product.clone();
        async move {
            let (practice, now) = ("p1".parse().unwrap(), "2026-01-01T00:00:00Z".parse().unwrap());
            connections::connect(tx.of(&practice), &product, "", now).await
        }
    })
    .await
    .unwrap();
}

async fn feed_stats_count_pending_changes(t: TestDb) {
    let db = database(&t).await;
    feed(&db, "ap").await;
    feed(&db, "books").await;
    // The first by practice is not the oldest.
    let changes = [("books", "p2", 7), ("books", "p1", 9), ("books", "p2", 30)];
    let changes = changes.map(|(product, practice, at)| pending(product, practice, at));
    run(&db, in_dialect(&t, changes.concat())).await;
    let found = feed_stats(db.reader()).await.unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|feed| (feed.product.as_str(), feed.head, feed.pending, feed.oldest))
        .collect();
    let oldest = Some("2026-01-01T00:00:07Z".parse().unwrap());
    assert_eq!(found, [("ap", 0, 0, None), ("books", 0, 3, oldest)]);
    assert_eq!(
        subscription_stats(db.reader(), "2026-01-01T00:00:00Z".parse().unwrap()).await.unwrap(),
        []
    );
}

async fn feed_stats_use_the_primary_key_of_pending(t: TestDb) {
    let db = database(&t).await;
    feed(&db, "books").await;
    let many = (0..40).flat_map(|n| pending("books", &format!("p{}", n % 4), n));
    run(&db, in_dialect(&t, many.collect())).await;
    let sql = feed_stats_sql();
    let (explain, whole) = if t.is_postgres() {
        run(&db, vec!["ANALYZE feed_pending".to_owned()]).await;
        // PostgreSQL scans so small a table sequentially, whatever the statement.
        (format!("EXPLAIN {sql}"), "Seq Scan on feed_pending")
    } else {
        (format!("EXPLAIN QUERY PLAN {sql}"), "SCAN p")
    };
    let plan = db.write(TenantScope::AllPractices, move |tx| {
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
