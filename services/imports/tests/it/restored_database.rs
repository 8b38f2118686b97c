//! Tests databases that are restored to an earlier state during an import, as after the
//! promotion of a standby that lacked the last commits.

use concord_db::{Database, TenantScope};
use concord_proto::pb::imports::ImportState;
use concord_testing::{
    TestDb,
    e2e::fake_records::{FakeRecords, InjectedFault},
};
use imports::WorkerSettings;
use sea_orm::ConnectionTrait as _;

use crate::{
    support::{Caller, Replica, client, quick},
    worker::{assert_created_once, many, sealed},
};

concord_testing::storage_tests! {
    import_resumes_from_a_restored_database,
    import_resumes_after_its_lease_was_rolled_back,
    records_lost_by_the_records_service_are_reapplied,
    undetected_loss_is_found_at_the_final_fence,
}

/// The tables that a worker updates.
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
    let written = db.write(TenantScope::AllPractices, move |tx| {
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

/// A replica with chunks of ten records.
async fn small_chunks(t: &TestDb) -> (Replica, FakeRecords) {
    let (fake, records) = FakeRecords::start(&["manager"]).await;
    let settings = WorkerSettings { chunk_records: 10, ..quick() };
    (Replica::start(t, records, settings).await, fake)
}

async fn assert_all_imported(owner: &mut Caller, import: &str, fake: &FakeRecords, records: usize) {
    let ended = owner.ended(import).await;
    let counters = ended.counters.unwrap();
    assert_eq!(ended.state(), ImportState::Completed, "{counters:?}");
    let all = i64::try_from(records).unwrap();
    assert_eq!((counters.imported, counters.received), (all, all));
    assert_created_once(fake, records);
}

async fn import_resumes_from_a_restored_database(t: TestDb) {
    let (replica, fake) = small_chunks(&t).await;
    let db = t.database().await;
    // Pause at the first chunk, and at a chunk of contacts.
    fake.inject(&[InjectedFault::Paused]);
    fake.inject(&[InjectedFault::None; 4]);
    fake.inject(&[InjectedFault::Paused]);
    let mut owner = replica.owner();
    let import = sealed(&mut owner, &many(40)).await;
    fake.wait_until_paused().await;
    keep_state(&db).await;
    fake.resume().await.unwrap();
    fake.wait_until_paused().await;
    set_back(&db).await;
    fake.resume().await.unwrap();
    assert_all_imported(&mut owner, &import, &fake, 120).await;
    replica.stop().await;
}

async fn import_resumes_after_its_lease_was_rolled_back(t: TestDb) {
    let (replica, fake) = small_chunks(&t).await;
    let db = t.database().await;
    fake.inject(&[InjectedFault::Paused]);
    fake.inject(&[InjectedFault::None; 5]);
    fake.inject(&[InjectedFault::Paused]);
    let mut owner = replica.owner();
    let import = sealed(&mut owner, &many(40)).await;
    fake.wait_until_paused().await;
    keep_state(&db).await;
    fake.resume().await.unwrap();
    fake.wait_until_paused().await;
    set_back(&db).await;
    // The state before the import was claimed and read.
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
    fake.resume().await.unwrap();
    assert_all_imported(&mut owner, &import, &fake, 120).await;
    replica.stop().await;
}

async fn records_lost_by_the_records_service_are_reapplied(t: TestDb) {
    let (replica, fake) = small_chunks(&t).await;
    // Pause at the second chunk, and at a chunk of contacts.
    fake.inject(&[InjectedFault::None, InjectedFault::Paused]);
    fake.inject(&[InjectedFault::None; 3]);
    fake.inject(&[InjectedFault::Paused]);
    let mut owner = replica.owner();
    let import = sealed(&mut owner, &many(40)).await;
    fake.wait_until_paused().await;
    let kept = fake.stored();
    fake.resume().await.unwrap();
    fake.wait_until_paused().await;
    fake.restore(kept);
    fake.resume().await.unwrap();
    assert_all_imported(&mut owner, &import, &fake, 120).await;
    replica.stop().await;
}

async fn undetected_loss_is_found_at_the_final_fence(t: TestDb) {
    let (replica, fake) = small_chunks(&t).await;
    fake.inject(&[InjectedFault::None, InjectedFault::Paused]);
    let clients: Vec<_> = (0..40).map(|n| client(&format!("K{n}"), |_| ())).collect();
    let mut owner = replica.owner();
    let import = sealed(&mut owner, &clients).await;
    fake.wait_until_paused().await;
    fake.restore_on_next_fence(fake.stored());
    fake.resume().await.unwrap();
    assert_all_imported(&mut owner, &import, &fake, 40).await;
    replica.stop().await;
}
