//! Databases that go back to an earlier state under an import: after a standby that
//! lacks the last commits was promoted.

use imports::WorkerSettings;
use sea_orm::ConnectionTrait as _;
use shared::{
    db::{Database, Scope},
    pb::imports::ImportState,
    testing::TestDb,
};

use crate::{
    double::{Double, Mishap},
    support::{Caller, Replica, client, quick},
    work::{assert_created_once, many, sealed},
};

shared::storage_tests! {
    an_import_goes_on_from_what_its_database_holds_after_it_went_back,
    an_import_goes_on_after_its_lease_was_lost_with_the_database,
    what_the_records_service_has_lost_is_applied_again,
    what_was_lost_without_a_trace_is_noticed_at_the_end,
}

/// The tables that a worker changes.
const TABLES: [&str; 7] = [
    "import",
    "import_record",
    "import_parent",
    "import_known",
    "import_failure",
    "import_tally",
    "import_duplicate",
];

/// Runs statements on the database of the imports service.
pub(crate) async fn run(db: &Database, statements: Vec<String>) {
    let written = db.write(Scope::AllPractices, move |tx| {
        let statements = statements.clone();
        async move {
            for statement in statements {
                tx.execute_unprepared(&statement).await?;
            }
            Ok::<_, sea_orm::DbErr>(())
        }
    });
    written.await.unwrap();
}

async fn keep_state(db: &Database) {
    let copy = |table| format!("CREATE TABLE kept_{table} AS SELECT * FROM {table}");
    run(db, TABLES.map(copy).to_vec()).await;
}

async fn set_back(db: &Database) {
    let back = |table| {
        [format!("DELETE FROM {table}"), format!("INSERT INTO {table} SELECT * FROM kept_{table}")]
    };
    run(db, TABLES.map(back).concat()).await;
}

/// A replica whose chunks are of ten records.
async fn small_chunks(t: &TestDb) -> (Replica, Double) {
    let (double, records) = Double::start(&["manager"]).await;
    let settings = WorkerSettings { chunk_records: 10, ..quick() };
    (Replica::start(t, records, settings).await, double)
}

async fn assert_all_imported(owner: &mut Caller, import: &str, double: &Double, records: usize) {
    let ended = owner.ended(import).await;
    let counters = ended.counters.unwrap();
    assert_eq!(ended.state(), ImportState::Completed, "{counters:?}");
    let all = i64::try_from(records).unwrap();
    assert_eq!((counters.imported, counters.received), (all, all));
    assert_created_once(double, records);
}

async fn an_import_goes_on_from_what_its_database_holds_after_it_went_back(t: TestDb) {
    let (replica, double) = small_chunks(&t).await;
    let db = t.database().await;
    // At the first chunk, and at one of the contacts.
    double.will(&[Mishap::Frozen]);
    double.will(&[Mishap::Well; 4]);
    double.will(&[Mishap::Frozen]);
    let mut owner = replica.owner();
    let import = sealed(&mut owner, &many(40)).await;
    double.wait_for_frost().await;
    keep_state(&db).await;
    double.thaw().await.unwrap();
    double.wait_for_frost().await;
    set_back(&db).await;
    double.thaw().await.unwrap();
    assert_all_imported(&mut owner, &import, &double, 120).await;
    replica.stop().await;
}

async fn an_import_goes_on_after_its_lease_was_lost_with_the_database(t: TestDb) {
    let (replica, double) = small_chunks(&t).await;
    let db = t.database().await;
    double.will(&[Mishap::Frozen]);
    double.will(&[Mishap::Well; 5]);
    double.will(&[Mishap::Frozen]);
    let mut owner = replica.owner();
    let import = sealed(&mut owner, &many(40)).await;
    double.wait_for_frost().await;
    keep_state(&db).await;
    double.thaw().await.unwrap();
    double.wait_for_frost().await;
    set_back(&db).await;
    // As it was before it was claimed, and read.
    let before = [
        "UPDATE import SET state = 'SEALED', phase = 'index', position = '', applied_fence = 0,
           lease_owner = NULL, lease_expires_at = NULL, lease_token = lease_token - 1"
            .to_owned(),
        "DELETE FROM import_tally".to_owned(),
        "INSERT INTO import_tally (practice_id, import_id, kind, status, n)
           SELECT practice_id, import_id, kind, 'STAGED', count(*) FROM import_record
           GROUP BY practice_id, import_id, kind"
            .to_owned(),
        "DELETE FROM import_record".to_owned(),
        "DELETE FROM import_parent".to_owned(),
    ];
    run(&db, before.to_vec()).await;
    double.thaw().await.unwrap();
    assert_all_imported(&mut owner, &import, &double, 120).await;
    replica.stop().await;
}

async fn what_the_records_service_has_lost_is_applied_again(t: TestDb) {
    let (replica, double) = small_chunks(&t).await;
    // At the second chunk, and at one of the contacts.
    double.will(&[Mishap::Well, Mishap::Frozen]);
    double.will(&[Mishap::Well; 3]);
    double.will(&[Mishap::Frozen]);
    let mut owner = replica.owner();
    let import = sealed(&mut owner, &many(40)).await;
    double.wait_for_frost().await;
    let kept = double.kept();
    double.thaw().await.unwrap();
    double.wait_for_frost().await;
    double.goes_back_to(kept);
    double.thaw().await.unwrap();
    assert_all_imported(&mut owner, &import, &double, 120).await;
    replica.stop().await;
}

async fn what_was_lost_without_a_trace_is_noticed_at_the_end(t: TestDb) {
    let (replica, double) = small_chunks(&t).await;
    double.will(&[Mishap::Well, Mishap::Frozen]);
    let clients: Vec<_> = (0..40).map(|n| client(&format!("K{n}"), |_| ())).collect();
    let mut owner = replica.owner();
    let import = sealed(&mut owner, &clients).await;
    double.wait_for_frost().await;
    double.goes_back_at_the_fence_to(double.kept());
    double.thaw().await.unwrap();
    assert_all_imported(&mut owner, &import, &double, 40).await;
    replica.stop().await;
}
