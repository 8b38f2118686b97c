//! The query plans of the jobs.

use super::*;

/// Tables that a plan of SQLite, which has no statistics, may scan: the feeds of the
/// products, and the common tables of the statement itself.
const SCAN_ALLOWED: [&str; 12] = [
    "f",
    "feed_product",
    "json_each",
    "later",
    "earlier",
    "either",
    "served",
    "bounded",
    "taken",
    "CONSTANT",
    "v",
    "n",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_scan_no_growing_table() {
    let (t, clock) = (TestDb::sqlite(), clock());
    let log = Arc::new(Mutex::new(Vec::<Statement>::new()));
    let sink = Arc::clone(&log);
    let observe = move |statement: &Statement| sink.lock().unwrap().push(statement.clone());
    let db = Database::connect(&t.settings().observed(observe)).await.unwrap();
    let records = replica_of(db, &clock).await;
    let (orphaned, scheduled) =
        (with_client(&records).await, create_client(&records, "p1", "ACME02").await);
    schedule(&records, &scheduled).await;
    records.unlink_client(caller("manager"), context(), orphaned).await.unwrap();
    log.lock().unwrap().clear();
    let now = clock.now();
    let sequenced = records.db.write(TenantScope::AllPractices, move |tx| async move {
        sequence(&*tx, "books", now).await
    });
    assert!(sequenced.await.unwrap() > 0);
    clock.set("2026-05-15T10:00:00Z".parse().unwrap());
    run_jobs(&records).await;
    let statements = log.lock().unwrap().clone();
    assert_eq!(count(&records, "feed_entry").await, 0, "purged");

    let (mut plans, mut scans) = (0, Vec::new());
    for statement in statements {
        // One text may contain several statements.
        for sql in statement.sql.split(';').map(str::trim) {
            if ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"].iter().all(|w| !sql.starts_with(w))
            {
                continue;
            }
            let plan = Statement { sql: format!("EXPLAIN QUERY PLAN {sql}"), ..statement.clone() };
            for line in records.db.reader().query_all_raw(plan).await.unwrap() {
                let line: String = line.try_get("", "detail").unwrap();
                let table = line.strip_prefix("SCAN ").and_then(|of| of.split(' ').next());
                let is_list = |of: &str| of.starts_with(|c: char| c == '(' || c.is_ascii_digit());
                let is_table = |of: &str| !is_list(of) && !SCAN_ALLOWED.contains(&of);
                // A practice has few products, and many rows of all other tables.
                let is_of_practice =
                    line.ends_with("(practice_id=?)") && !line.contains(" connection ");
                // A batch of a feed is found by its positions or its changes, not by
                // practice.
                let by_practice = line.contains("feed_entry_practice");
                if table.is_some_and(is_table) || is_of_practice || by_practice {
                    scans.push(format!("{line}: {sql}"));
                }
                plans += 1;
            }
        }
    }
    assert!(scans.is_empty(), "{scans:#?}");
    assert!(plans > 50, "{plans}");
}
