//! Tests the background jobs with a fixed clock.

use std::sync::{Arc, Mutex};

use concord_core::{caller::Caller, clock::Clock, ids};
use concord_db::{Database, DatabaseSettings};
use concord_server::{
    meter::Meter,
    security::{ClientTls, SecuritySettings},
};
use concord_testing::{TestDb, storage_tests};
use sea_orm::{ConnectionTrait as _, Statement};

use super::*;
use crate::{
    config::UploadSettings,
    migrations::Migrator,
    records_client::RecordsClient,
    store::{imports, lease},
};

storage_tests! {
    unreadable_import_does_not_block_other_work,
    many_unreadable_imports_do_not_fill_a_round,
    uploads_are_purged_in_parts,
}

async fn replica(settings: &DatabaseSettings, clock: &Clock) -> Imports {
    let db = Database::connect(settings).await.unwrap();
    db.migrate::<Migrator>().await.unwrap();
    let nowhere = "http://127.0.0.1:1";
    let client =
        RecordsClient::new(nowhere, &ClientTls::default(), &SecuritySettings::default()).unwrap();
    Imports::new(db, clock.clone(), client, UploadSettings::default(), Meter::new("imports"))
}

/// A time two months after all imports of these tests.
fn clock() -> Clock {
    Clock::fixed("2026-05-01T12:00:00Z".parse().unwrap())
}

async fn insert(imports: &Imports, practice: &str, state: State) -> ImportKey {
    let caller = Caller::system(practice.parse().unwrap());
    let at = imports.clock.now() - TimeDelta::days(60);
    let import = Import {
        state,
        batch_count: 1,
        sealed_at: (state != State::Receiving).then_some(at),
        ended_at: state.is_end().then_some(at),
        ..Import::new(&caller, ids::new_uuid(), at)
    };
    let key = import.key.clone();
    let written = imports.db.write(TenantScope::AllPractices, move |tx| {
        let import = import.clone();
        async move { imports::insert(&*tx, import).await }
    });
    written.await.unwrap();
    key
}

async fn execute(imports: &Imports, sql: &str, values: Vec<sea_orm::Value>) {
    let statement = Statement::from_sql_and_values(imports.db.engine(), sql, values);
    let written = imports.db.write(TenantScope::AllPractices, move |tx| {
        let statement = statement.clone();
        async move { tx.execute_raw(statement).await.map(drop) }
    });
    written.await.unwrap();
}

async fn count(imports: &Imports, of: &str) -> i64 {
    let sql = format!("SELECT COUNT(*) AS n FROM {of}");
    let statement = Statement::from_string(imports.db.engine(), sql);
    let row = imports.db.reader().query_one_raw(statement).await.unwrap().unwrap();
    row.try_get("", "n").unwrap()
}

async fn find(imports: &Imports, key: &ImportKey) -> Import {
    imports::find(imports.reader_of(key)).await.unwrap().unwrap()
}

/// The jobs that have failed, with their failure counters.
fn failed(imports: &Imports) -> Vec<String> {
    let text = imports.meter.text();
    let lines = text.lines().filter(|line| line.starts_with("concord_job_failures_total{"));
    // The records service is unreachable, so erase_records always fails.
    let lines = lines.filter(|line| !line.ends_with(" 0") && !line.contains("erase_records"));
    let mut failed: Vec<String> =
        lines.map(|line| line.split_once("job=\"").unwrap().1.replace("\"}", "")).collect();
    failed.sort();
    failed
}

async fn claim(imports: &Imports) -> Result<Option<lease::Lease>, ImportError> {
    let now = imports.clock.now();
    let claimed = imports.db.write(TenantScope::AllPractices, move |tx| async move {
        lease::claim(&*tx, ids::new_uuid(), now, now + TimeDelta::minutes(1)).await
    });
    claimed.await
}

async fn unreadable_import_does_not_block_other_work(t: TestDb) {
    let imports = replica(&t.settings(), &clock()).await;
    let mut keys = Vec::new();
    // The first practice in any order is the one with the damaged rows.
    for practice in ["p1", "p2"] {
        for state in [State::Receiving, State::Completed, State::Sealed] {
            keys.push(insert(&imports, practice, state).await);
        }
    }
    let damaged = "UPDATE import SET expected = 'damaged' WHERE practice_id = 'p1'";
    execute(&imports, damaged, Vec::new()).await;
    assert!(claim(&imports).await.is_err());

    let mut jobs = Jobs::new(imports.clone());
    while jobs.run_round().await {}
    assert_eq!(find(&imports, &keys[3]).await.state, State::Expired);
    assert!(find(&imports, &keys[4]).await.purged_at.is_some());
    let claimed = claim(&imports).await.unwrap().unwrap();
    assert_eq!(claimed.import.key, keys[5]);
    assert_eq!(failed(&imports), ["expire_imports 1", "purge_imports 1", "read_imports 1"]);
    // The failed imports are not retried before their backoff ends.
    while jobs.run_round().await {}
    assert_eq!(failed(&imports), ["expire_imports 1", "purge_imports 1", "read_imports 1"]);
    execute(&imports, "UPDATE import SET expected = NULL", Vec::new()).await;
    imports.clock.set(imports.clock.now() + TimeDelta::hours(1));
    while jobs.run_round().await {}
    assert_eq!(find(&imports, &keys[0]).await.state, State::Expired);
    assert!(find(&imports, &keys[1]).await.purged_at.is_some());
    assert_eq!(failed(&imports), ["expire_imports 1", "purge_imports 1", "read_imports 1"]);
}

async fn many_unreadable_imports_do_not_fill_a_round(t: TestDb) {
    let imports = replica(&t.settings(), &clock()).await;
    for _ in 0..BATCH * 2 {
        insert(&imports, "p1", State::Completed).await;
    }
    let damaged = "UPDATE import SET expected = 'damaged'";
    execute(&imports, damaged, Vec::new()).await;
    let good = insert(&imports, "p2", State::Completed).await;
    let later = "UPDATE import SET ended_at = $1 WHERE practice_id = 'p2'";
    let yesterday = imports.clock.now() - UPLOAD_RETENTION - TimeDelta::days(1);
    execute(&imports, later, vec![yesterday.into()]).await;

    let mut jobs = Jobs::new(imports.clone());
    while jobs.run_round().await {}
    assert!(find(&imports, &good).await.purged_at.is_some());
    assert_eq!(failed(&imports), ["purge_imports 100"]);
}

/// Stages indexed records, half of which failed.
async fn stage(imports: &Imports, key: &ImportKey, records: i64) {
    let values = || vec![key.practice.as_str().into(), key.id.into(), records.into()];
    let numbers = "WITH RECURSIVE numbers(n) AS ( \
                   SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < $3)";
    for rows in [
        "import_staged (practice_id, import_id, batch, row_no, payload) {n} \
         SELECT $1, $2, 1 + n / 1000, n, 'x' FROM numbers",
        "import_record (practice_id, import_id, batch, row_no, source_id, reference, \
         reference_key) {n} SELECT $1, $2, 1 + n / 1000, n, 'c' || n, 'R' || n, 'r' || n \
         FROM numbers",
        "import_failure (practice_id, import_id, batch, row_no, ordinal, kind, source_id, status, \
         field, reason, reason_text, root_cause) {n} SELECT $1, $2, 1 + n / 1000, n, 0, 'client', \
         'c' || n, 'FAILED', '', '', 'a name', '' FROM numbers WHERE n % 2 = 0",
    ] {
        let rows = rows.replace("{n}", numbers);
        let rows = if imports.db.engine() == sea_orm::DbBackend::Postgres {
            rows.replace("'x'", "'x'::bytea").replace("$3", "$3::bigint")
        } else {
            rows
        };
        execute(imports, &format!("INSERT INTO {rows}"), values()).await;
    }
}

async fn uploads_are_purged_in_parts(t: TestDb) {
    let imports = replica(&t.settings(), &clock()).await;
    let key = insert(&imports, "p1", State::CompletedWithFailures).await;
    let other = insert(&imports, "p1", State::Sealed).await;
    let records = i64::try_from(ROWS_PER_TX).unwrap() * 2 + 10;
    stage(&imports, &key, records).await;
    stage(&imports, &other, 10).await;
    let left = async || {
        let mut left = count(&imports, "import_record WHERE reference_key IS NOT NULL").await;
        for table in ["import_staged", "import_failure"] {
            left += count(&imports, table).await;
        }
        left
    };
    let (mut before, mut parts) = (left().await, 0);
    while purge_some(&imports, &key).await.unwrap() {
        let now = left().await;
        assert!(before - now <= i64::try_from(ROWS_PER_TX).unwrap(), "{before}, {now}");
        let import = find(&imports, &key).await;
        assert!(
            import.is_removed() && import.purged_at.is_none(),
            "a partly purged import cannot be retried"
        );
        (before, parts) = (now, parts + 1);
    }
    assert_eq!(parts, 5, "of {records} records, half of them with a failure");
    let import = find(&imports, &key).await;
    assert!(import.purged_at.is_some() && import.position.is_empty());
    assert_eq!(left().await, 10 + 10 + 5, "of the other import");
    let kept = "import_record WHERE source_id <> '' AND reference = ''";
    assert_eq!(count(&imports, kept).await, records);
}

#[tokio::test]
async fn jobs_use_an_index_for_growing_tables() {
    let (t, clock) = (TestDb::sqlite(), clock());
    let seen = Arc::new(Mutex::new(Vec::<Statement>::new()));
    let notes = Arc::clone(&seen);
    let observe = move |statement: &Statement| notes.lock().unwrap().push(statement.clone());
    let imports = replica(&t.settings().observed(observe), &clock).await;
    let purged = insert(&imports, "p1", State::Completed).await;
    insert(&imports, "p1", State::Receiving).await;
    insert(&imports, "p2", State::Sealed).await;
    stage(&imports, &purged, i64::try_from(ROWS_PER_TX).unwrap()).await;
    seen.lock().unwrap().clear();
    let mut jobs = Jobs::new(imports.clone());
    while jobs.run_round().await {}
    assert_eq!(failed(&imports), [""; 0]);
    assert_eq!(count(&imports, "import_staged").await, 0);

    let statements = seen.lock().unwrap().clone();
    let mut plans = 0;
    for statement in statements.into_iter().filter(|statement| !statement.sql.contains("COUNT")) {
        let sql = format!("EXPLAIN QUERY PLAN {}", statement.sql);
        if !["SELECT", "UPDATE", "DELETE", "INSERT"].iter().any(|w| statement.sql.starts_with(w)) {
            continue;
        }
        let plan = Statement { sql, ..statement.clone() };
        for line in imports.db.reader().query_all_raw(plan).await.unwrap() {
            let line: String = line.try_get("", "detail").unwrap();
            let scans = line.starts_with("SCAN ") && !line.contains("json_each");
            // Small sets with their own partial indexes: waiting imports, and imports
            // with uploads.
            let own = ["import_waiting", "import_holding"];
            let own = own.iter().any(|i| line == format!("SCAN import USING INDEX {i}"));
            assert!(!scans || own, "{line}: {}", statement.sql);
            plans += 1;
        }
    }
    assert!(plans > 20, "{plans}");
}
