//! Tests the cost of a retry: linear in the number of failed records.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use concord_db::Database;
use concord_proto::pb::imports::ImportState;
use concord_testing::{TestDb, e2e::fake_records::FakeRecords};
use sea_orm::{ConnectionTrait as _, DbBackend, Statement};

use crate::support::{Caller, Replica, address, client, contact, quick};

concord_testing::storage_tests! { retry_time_grows_linearly }

/// Records that all fail, in each of the possible ways, `n` of each.
fn failing(n: usize) -> Vec<Bytes> {
    let of_one = |n: usize| {
        let (client_id, contact_id) = (format!("K{n:05}"), format!("P{n:05}"));
        let reference = format!("SHARED{}", n / 2);
        [
            client(&client_id, |client| client.registered_name.clear()),
            contact(&contact_id, &[&client_id], |_| ()),
            address(&format!("A{n:05}"), ("contact", &contact_id), ("", ""), |_| ()),
            client(&format!("R{n:05}"), |client| client.client_reference.clone_from(&reference)),
            client(&format!("D{:05}", n / 2), |client| {
                client.client_reference = format!("D{}", n / 2);
                client.registered_name = format!("Case {n} Limited");
            }),
        ]
    };
    (0..n).flat_map(of_one).collect()
}

/// Corrections of the first kind that are invalid again.
fn replacements(n: usize) -> Vec<Bytes> {
    let wrong = |n: usize| {
        client(&format!("K{n:05}"), |client| {
            client.registered_name.clear();
            client.trading_name = "Other".into();
        })
    };
    (0..n).map(wrong).collect()
}

async fn end(owner: &mut Caller, import: &str) {
    for _ in 0..6_000 {
        if owner.get(import).await.state() == ImportState::CompletedWithFailures {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?}", owner.get(import).await);
}

/// Imports records that fail, and retries them with corrections; returns the duration
/// of the second round.
async fn retry(owner: &mut Caller, n: usize) -> Duration {
    let (import, records) = (owner.create().await, failing(n));
    owner.upload(&import, "one", &records).await.unwrap();
    owner.seal(&import, 1, records.len()).await.unwrap();
    end(owner, &import).await;
    let failed = i64::try_from(records.len()).unwrap();
    assert_eq!(owner.get(&import).await.counters.unwrap().failed, failed);
    owner.retry(&import, true, 2).await;
    owner.upload(&import, "two", &replacements(n)).await.unwrap();
    let begun = Instant::now();
    owner.seal(&import, 1, n).await.unwrap();
    end(owner, &import).await;
    let took = begun.elapsed();
    let counters = owner.get(&import).await.counters.unwrap();
    assert_eq!((counters.failed, counters.received), (failed, failed));
    took
}

async fn retry_time_grows_linearly(t: TestDb) {
    let (_fake, records) = FakeRecords::start(&["manager"]).await;
    let replica = Replica::start(&t, records, quick()).await;
    let mut owner = replica.owner();
    let few = retry(&mut owner, 400).await;
    let many = retry(&mut owner, 3_200).await;
    // With quadratic cost, the ratio would be 64.
    assert!(many < few * 24, "400 of each: {few:?}, 3,200: {many:?}");
    replica.stop().await;
}

/// The tables with at least one row per record.
const LARGE: [&str; 7] = [
    "import_record",
    "import_staged",
    "import_parent",
    "import_known",
    "import_failure",
    "import_attempt",
    "import_duplicate",
];

/// Whether a step of a query plan reads the rows of a large table by the import alone.
fn reads_all(step: &str) -> bool {
    let mut words = step.split(' ');
    let (kind, table) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    // The table aliases of the statements.
    let large = LARGE.contains(&table) || ["r", "s", "d", "f", "t", "k"].contains(&table);
    large && (kind == "SCAN" || step.ends_with("(practice_id=? AND import_id=?)"))
}

/// Statements that read all records of an import, and run once per round.
const ONCE: [&str; 3] = [
    "DELETE FROM import_known WHERE practice_id",
    "SELECT kind, status, count(*) AS n, CAST(0 AS bigint) AS warned FROM import_record",
    "DELETE FROM import_likeness",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn page_statements_do_not_scan_the_whole_import() {
    let t = TestDb::sqlite();
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let (_fake, records) = FakeRecords::start(&["manager"]).await;
    let observer = Arc::clone(&seen);
    let settings = t.settings().observed(move |statement: &Statement| {
        observer.lock().unwrap().insert(statement.sql.clone());
    });
    let replica = Replica::on(settings, records, |config| config.worker = quick()).await;
    retry(&mut replica.owner(), 700).await;
    replica.stop().await;
    let db: Database = t.database().await;
    let (mut explained, mut wrong) = (0, Vec::new());
    let seen = seen.lock().unwrap().clone();
    for sql in seen {
        let is_ours = LARGE.iter().any(|table| sql.contains(table));
        if !is_ours || ONCE.iter().any(|once| sql.starts_with(once)) {
            continue;
        }
        let plan = Statement::from_string(DbBackend::Sqlite, format!("EXPLAIN QUERY PLAN {sql}"));
        for row in db.reader().query_all_raw(plan).await.unwrap() {
            let step: String = row.try_get("", "detail").unwrap();
            if reads_all(&step) {
                wrong.push(format!("{step}: {}", sql.chars().take(300).collect::<String>()));
            }
        }
        explained += 1;
    }
    assert!(explained > 20, "{explained} statements");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
