//! The sequencer's statements assign dense, ordered positions fairly, on both engines.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use concord_core::clock::Clock;
use concord_db::{Database, TenantScope};
use concord_testing::{TestDb, storage_tests};
use sea_orm::{
    ConnectionTrait as _, DbBackend, DbErr, SqlxSqliteConnector, Statement,
    sqlx::sqlite::SqlitePoolOptions,
};

use super::{
    sequence::{BATCH_OF_PRACTICE, products_with_pending, sequence},
    *,
};
use crate::migrations::Migrator;

storage_tests! {
    positions_are_dense_and_follow_write_order,
    practices_are_served_round_robin,
    concurrent_sequencers_assign_each_position_once,
    rollback_assigns_no_positions,
    read_of_some_practices_uses_merge_append,
}

async fn database(t: &TestDb) -> Database {
    let db = t.database().await;
    db.migrate::<Migrator>().await.unwrap();
    execute(
        &db,
        "INSERT INTO feed_product(product, epoch, head, floor, last_practice) \
         VALUES ('books', $1, 0, 1, '')",
        vec![Uuid::nil().into()],
    )
    .await;
    db
}

async fn execute(db: &Database, sql: &'static str, values: Vec<sea_orm::Value>) {
    let engine = db.engine();
    let written = db.write(TenantScope::AllPractices, move |tx| {
        let values = values.clone();
        async move {
            tx.execute_raw(Statement::from_sql_and_values(engine, sql, values)).await?;
            Ok::<_, DbErr>(())
        }
    });
    written.await.unwrap();
}

async fn insert_pending(db: &Database, practice: &str, seq: i64) {
    let values = vec![practice.into(), seq.into()];
    execute(db, "INSERT INTO feed_pending VALUES ('books', $1, $2, true)", values).await;
}

/// Inserts `count` pending changes of a practice from `first` on, in one statement.
async fn insert_pending_many(db: &Database, practice: &str, first: i64, count: i64) {
    let sql = "INSERT INTO feed_pending WITH RECURSIVE n(seq) AS (SELECT $2 + 0 UNION ALL \
               SELECT seq + 1 FROM n WHERE seq + 1 < $2 + $3) \
               SELECT 'books', $1, seq, true FROM n";
    execute(db, sql, vec![practice.into(), first.into(), count.into()]).await;
}

async fn step(db: &Database) -> i64 {
    let now = Clock::fixed("2026-03-01T10:00:00Z".parse().unwrap()).now();
    let stepped =
        db.write(
            TenantScope::AllPractices,
            move |tx| async move { sequence(&*tx, "books", now).await },
        );
    stepped.await.unwrap()
}

/// The practice and number at each position, in order.
async fn entries(db: &Database) -> Vec<(i64, String, i64)> {
    let sql = "SELECT pos, practice_id, seq FROM feed_entry WHERE product = 'books' ORDER BY pos";
    let rows = db.reader().query_all_raw(Statement::from_string(db.engine(), sql)).await.unwrap();
    let read = |row: &sea_orm::QueryResult| {
        let get = |column: &str| row.try_get::<i64>("", column).unwrap();
        (get("pos"), row.try_get("", "practice_id").unwrap(), get("seq"))
    };
    rows.iter().map(read).collect()
}

fn per_practice(entries: &[(i64, String, i64)]) -> HashMap<&str, usize> {
    entries.iter().fold(HashMap::new(), |mut counts, (_, practice, _)| {
        *counts.entry(practice.as_str()).or_default() += 1;
        counts
    })
}

async fn positions_are_dense_and_follow_write_order(t: TestDb) {
    let db = database(&t).await;
    for (practice, seq) in [("p2", 1), ("p1", 2), ("p2", 5), ("p3", 9), ("p1", 12)] {
        insert_pending(&db, practice, seq).await;
    }
    assert_eq!(step(&db).await, 5);
    insert_pending(&db, "p1", 13).await;
    assert_eq!(step(&db).await, 1);
    assert_eq!(step(&db).await, 0);
    let entries = entries(&db).await;
    assert_eq!(entries.iter().map(|e| e.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(entries.iter().map(|e| e.2).collect::<Vec<_>>(), [1, 2, 5, 9, 12, 13]);
    assert!(products_with_pending(db.reader()).await.unwrap().is_empty());
}

async fn practices_are_served_round_robin(t: TestDb) {
    let db = database(&t).await;
    // One practice imports. Thirty others, more than a batch serves, write once.
    insert_pending_many(&db, "p15", 1, 1_000).await;
    for n in 10..40 {
        if n != 15 {
            insert_pending(&db, &format!("p{n}"), 2_000 + n).await;
        }
    }
    assert_eq!(step(&db).await, BATCH_OF_PRACTICE + 24, "25 practices, from the first on");
    let served = entries(&db).await;
    assert_eq!(per_practice(&served)["p15"], 200);
    assert!(per_practice(&served).contains_key("p34"));
    assert!(!per_practice(&served).contains_key("p35"));
    assert_eq!(step(&db).await, 5 + BATCH_OF_PRACTICE, "the rest, then the next round");
    assert!(per_practice(&entries(&db).await).contains_key("p39"));
    while step(&db).await > 0 {}
    let all = entries(&db).await;
    assert_eq!(all.len(), 1_029);
    assert!(all.iter().map(|e| e.0).eq(1..=1_029));
    let import: Vec<i64> = all.iter().filter(|e| e.1 == "p15").map(|e| e.2).collect();
    assert!(import.is_sorted(), "a practice's changes stay in their order");
}

async fn concurrent_sequencers_assign_each_position_once(t: TestDb) {
    let db = database(&t).await;
    let other = t.database().await;
    let run = |db: Database| tokio::spawn(async move { while step(&db).await > 0 {} });
    insert_pending_many(&db, "p1", 1, 2_000).await;
    let (one, two) = (run(db.clone()), run(other));
    for n in 0..50 {
        insert_pending(&db, "p2", 3_000 + n).await;
    }
    one.await.unwrap();
    two.await.unwrap();
    while step(&db).await > 0 {}
    let entries = entries(&db).await;
    assert!(entries.iter().map(|e| e.0).eq(1..=2_050));
    let mut seqs: Vec<i64> = entries.iter().map(|e| e.2).collect();
    seqs.sort_unstable();
    seqs.dedup();
    assert_eq!(seqs.len(), 2_050);
}

/// On PostgreSQL; `store::tests` covers SQLite. The tables are empty, so settings disable
/// sequential scans, which PostgreSQL does not use for large tables.
async fn read_of_some_practices_uses_merge_append(t: TestDb) {
    let db = database(&t).await;
    if !t.is_postgres() {
        return;
    }
    let explained = db.write(TenantScope::AllPractices, |tx| async move {
        tx.execute_unprepared("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
            .await?;
        let product = "books".parse().unwrap();
        let practices = ["p1", "p2", "p3"].map(|name| name.parse::<PracticeId>().unwrap());
        let explain = |sql: &mut Binds| {
            format!("EXPLAIN (COSTS OFF) {}", read_sql(sql, &product, 0, 500, &practices))
        };
        let rows = concord_db::query(&*tx, explain).await?;
        let lines = rows.iter().map(|row| row.try_get_by_index::<String>(0));
        Ok::<_, DbErr>(lines.collect::<Result<Vec<_>, _>>()?.join("\n"))
    });
    let plan = explained.await.unwrap();
    assert_eq!(plan.matches("Merge Append").count(), 1, "{plan}");
    assert_eq!(plan.matches("Index Scan using feed_entry_practice").count(), 3, "{plan}");
    // One sort: of the batch.
    assert!(plan.matches("Sort  ").count() + plan.matches("Sort\n").count() <= 1, "{plan}");
}

async fn rollback_assigns_no_positions(t: TestDb) {
    let db = database(&t).await;
    insert_pending(&db, "p1", 1).await;
    let failed = db.write(TenantScope::AllPractices, |tx| async move {
        let now = Clock::fixed("2026-03-01T10:00:00Z".parse().unwrap()).now();
        sequence(&*tx, "books", now).await?;
        Err::<(), RecordError>(RecordError::Corrupt("on purpose"))
    });
    failed.await.unwrap_err();
    assert!(entries(&db).await.is_empty());
    assert_eq!(step(&db).await, 1);
    assert_eq!(entries(&db).await[0].0, 1);
}

/// The number of SQLite instructions of one purge batch, in the feeds of two products with
/// `positions` positions each.
async fn purge_instructions(positions: i64) -> u64 {
    let t = TestDb::sqlite();
    let db = database(&t).await;
    for (sql, values) in [
        (
            "INSERT INTO feed_product(product, epoch, head, floor, last_practice) \
             SELECT 'ap', epoch, head, floor, last_practice FROM feed_product",
            vec![],
        ),
        (
            "INSERT INTO feed_change (seq, id, practice_id, record_kind, record_id, \
               record_version, kind, changed_fields, companions, origin_product, origin_account, \
               origin_user, transaction_id, transaction_index, transaction_count, changed_at) \
             WITH RECURSIVE numbers(n) AS ( \
               SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < $1) \
             SELECT n, randomblob(16), 'p' || (n % 7), 'CLIENT', randomblob(16), 1, 'CREATED', \
               '[]', '[]', 'manager', 'main', '', randomblob(16), 0, 1, \
               '2026-01-01T00:00:00+00:00' FROM numbers",
            vec![positions.into()],
        ),
        (
            "INSERT INTO feed_entry (product, pos, seq, practice_id, linked, sequenced_at) \
             SELECT f.product, c.seq, c.seq, c.practice_id, true, c.changed_at \
             FROM feed_product f CROSS JOIN feed_change c",
            vec![],
        ),
    ] {
        execute(&db, sql, values).await;
    }
    let head = "UPDATE feed_product SET head = (SELECT MAX(pos) FROM feed_entry)";
    execute(&db, head, vec![]).await;
    db.close().await.unwrap();

    let steps = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&steps);
    let pool = SqlitePoolOptions::new().max_connections(1).after_connect(move |connection, _| {
        let counted = Arc::clone(&counted);
        Box::pin(async move {
            connection.lock_handle().await?.set_progress_handler(100, move || {
                counted.fetch_add(100, Ordering::Relaxed);
                true
            });
            Ok(())
        })
    });
    let pool = pool.connect(&t.url().replace("sqlite:", "sqlite://")).await.unwrap();
    let db = SqlxSqliteConnector::from_sqlx_sqlite_pool(pool);
    let before = "2026-02-01T00:00:00Z".parse().unwrap();
    for product in ["ap", "books"] {
        assert_eq!(retention::purge(&db, product, before).await.unwrap(), retention::BATCH);
    }
    let steps = steps.load(Ordering::Relaxed);
    let left = "SELECT COUNT(*) AS n FROM feed_change";
    let left = db.query_one_raw(Statement::from_string(DbBackend::Sqlite, left)).await.unwrap();
    assert_eq!(left.unwrap().try_get::<i64>("", "n").unwrap(), positions - retention::BATCH);
    steps
}

/// The statement takes 100 instructions for each position. A scan for each change took
/// 100,000,000 in the smaller feed, and ten times as many in the larger one.
#[tokio::test]
async fn purge_cost_is_independent_of_feed_length() {
    let (small, large) = (purge_instructions(5_000).await, purge_instructions(50_000).await);
    assert!(large < 2 * small, "{small} in a feed of 5,000, {large} in 50,000");
}
