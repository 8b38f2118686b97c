//! Tests imports that cannot continue: they end, or can be cancelled.

use std::time::Duration;

use concord_proto::pb::imports::{Import, ImportState, ListImportsRequest};
use concord_testing::{
    TestDb,
    e2e::fake_records::{FakeRecords, InjectedFault},
};
use imports::WorkerSettings;

use crate::{
    restored_database::run,
    support::{Caller, Replica, client, pair, quick, reason},
    worker::{assert_created_once, many, retry_with_a_replacement, sealed},
};

concord_testing::storage_tests! {
    inconsistent_counters_fail_the_import_and_a_retry_completes_it,
    unreadable_position_fails_the_import,
    internally_failed_import_can_be_cancelled,
    persistent_records_service_error_fails_the_import,
    stalled_import_can_be_cancelled_during_an_outage,
    chunk_sent_before_an_unconfirmed_cancel_is_fenced,
}

async fn failed(owner: &mut Caller, import: &str) -> Import {
    owner.wait(import, &[ImportState::FailedInternally]).await
}

async fn retry(owner: &mut Caller, import: &str) -> Import {
    owner.retry(import, false, 2).await;
    owner.ended(import).await
}

async fn cancel(owner: &mut Caller, import: &str) -> Import {
    owner.cancel(import).await;
    owner.wait(import, &[ImportState::Cancelled]).await
}

/// Asserts that the counters add up to the received records.
fn assert_sums(import: &Import, received: i64) {
    let all = import.counters.unwrap();
    let sum = all.imported + all.linked + all.skipped + all.excluded + all.failed + all.unprocessed;
    assert_eq!((all.received, sum), (received, received), "{all:?}");
}

async fn inconsistent_counters_fail_the_import_and_a_retry_completes_it(t: TestDb) {
    let (replica, fake) = pair(&t).await;
    let db = t.database().await;
    fake.inject(&[InjectedFault::Paused]);
    let mut owner = replica.owner();
    let import = sealed(&mut owner, &many(5)).await;
    fake.wait_until_paused().await;
    run(&db, vec!["UPDATE import_tally SET n = n + 1 WHERE kind = 'client'".into()]).await;
    fake.resume().await.unwrap();
    let ended = failed(&mut owner, &import).await;
    assert!(ended.status_message.contains("incident ") && ended.end_time.is_some(), "{ended:?}");
    assert_sums(&ended, 15);
    assert_eq!(ended.counters.unwrap().imported, 15);
    let banner = ListImportsRequest { with_failures: true, ..ListImportsRequest::default() };
    let listed = owner.api.list_imports(banner).await.unwrap().into_inner().imports;
    assert_eq!(listed.iter().map(|import| &import.id).collect::<Vec<_>>(), [&import]);
    let ended = retry(&mut owner, &import).await;
    assert_eq!((ended.state(), ended.status_message.as_str()), (ImportState::Completed, ""));
    assert_sums(&ended, 15);
    assert_created_once(&fake, 15);
    replica.stop().await;
}

/// Starts a replica with an import whose position is invalid.
async fn broken(t: &TestDb, phase: &str) -> (Replica, FakeRecords, String) {
    let (fake, records) = FakeRecords::start(&["manager"]).await;
    let idle = WorkerSettings { imports_at_once: 0, ..quick() };
    let replica = Replica::start(t, records, idle).await;
    let import = sealed(&mut replica.owner(), &many(5)).await;
    let position = format!("UPDATE import SET phase = '{phase}', position = 'nowhere'");
    run(&t.database().await, vec![position]).await;
    replica.stop().await;
    (Replica::start(t, records, quick()).await, fake, import)
}

async fn unreadable_position_fails_the_import(t: TestDb) {
    let (replica, fake, import) = broken(&t, "index").await;
    let mut owner = replica.owner();
    let ended = failed(&mut owner, &import).await;
    assert_sums(&ended, 15);
    assert_eq!(ended.counters.unwrap().unprocessed, 15);
    // A retry that is cancelled before its seal leaves the import unchanged.
    owner.retry(&import, true, 2).await;
    owner.upload(&import, "two", &[client("K8", |_| ())]).await.unwrap();
    owner.cancel(&import).await;
    let same = failed(&mut owner, &import).await;
    assert_eq!(
        (same.counters, same.status_message, same.round),
        (ended.counters, ended.status_message, 1)
    );
    // The worker can process other imports of the practice meanwhile.
    let other = owner.import(&[vec![client("K9", |_| ())]]).await;
    assert_eq!(other.state(), ImportState::Completed);
    let ended = retry(&mut owner, &import).await;
    assert_eq!((ended.state(), ended.counters.unwrap().imported), (ImportState::Completed, 15));
    assert_sums(&ended, 15);
    assert_created_once(&fake, 16);
    replica.stop().await;
}

async fn internally_failed_import_can_be_cancelled(t: TestDb) {
    let (replica, _, import) = broken(&t, "index").await;
    let mut owner = replica.owner();
    failed(&mut owner, &import).await;
    let ended = cancel(&mut owner, &import).await;
    assert_eq!((ended.status_message.as_str(), ended.cancel_requested), ("", true));
    assert_sums(&ended, 15);
    assert_eq!(cancel(&mut owner, &import).await.state(), ImportState::Cancelled, "again");
    let ended = retry(&mut owner, &import).await;
    assert_eq!((ended.state(), ended.counters.unwrap().imported), (ImportState::Completed, 15));
    replica.stop().await;
}

/// A replica whose imports stall soon.
async fn stalling(t: &TestDb, stalled_backoff: Duration) -> (Replica, FakeRecords) {
    let (fake, records) = FakeRecords::start(&["manager"]).await;
    let stall_after = Duration::from_millis(300);
    let settings = WorkerSettings { stall_after, stalled_backoff, ..quick() };
    (Replica::start(t, records, settings).await, fake)
}

async fn persistent_records_service_error_fails_the_import(t: TestDb) {
    let (replica, fake) = stalling(&t, Duration::from_millis(300)).await;
    // More records than the limit on rejected records of a chunk.
    for number in 0..40 {
        fake.reject_chunks_with(&format!("K{number:04}"));
    }
    let mut owner = replica.owner();
    let import = sealed(&mut owner, &many(40)).await;
    let ended = failed(&mut owner, &import).await;
    assert_sums(&ended, 120);
    assert_eq!(ended.counters.unwrap().unprocessed, 120);
    replica.stop().await;
}

async fn stalled_import_can_be_cancelled_during_an_outage(t: TestDb) {
    let (replica, fake) = stalling(&t, Duration::from_mins(10)).await;
    fake.inject(&[InjectedFault::Paused]);
    let mut owner = replica.owner();
    let import = sealed(&mut owner, &many(5)).await;
    fake.wait_until_paused().await;
    fake.set_unavailable(true);
    fake.resume().await.unwrap();
    let stalled = owner.wait(&import, &[ImportState::Stalled]).await;
    assert!(!stalled.status_message.is_empty());
    let ended = cancel(&mut owner, &import).await;
    assert!(ended.status_message.contains("did not answer"), "{}", ended.status_message);
    assert_sums(&ended, 15);
    assert_eq!((ended.counters.unwrap().imported, ended.counters.unwrap().unprocessed), (5, 10));
    fake.set_unavailable(false);
    let ended = retry(&mut owner, &import).await;
    assert_eq!((ended.state(), ended.counters.unwrap().imported), (ImportState::Completed, 15));
    assert_created_once(&fake, 15);
    replica.stop().await;
}

async fn chunk_sent_before_an_unconfirmed_cancel_is_fenced(t: TestDb) {
    let (replica, fake) = stalling(&t, Duration::from_millis(300)).await;
    fake.inject(&[InjectedFault::PausedUnavailable]);
    let mut owner = replica.owner();
    let import = sealed(&mut owner, &[client("K1", |_| ())]).await;
    fake.wait_until_paused().await;
    fake.set_unavailable(true);
    cancel(&mut owner, &import).await;
    fake.set_unavailable(false);
    retry_with_a_replacement(&mut owner, &import).await;
    owner.seal(&import, 1, 1).await.unwrap();
    assert_eq!(owner.ended(&import).await.counters.unwrap().imported, 1);
    let late = fake.resume().await.unwrap_err();
    assert_eq!(reason(&late), "STALE_WORKER");
    assert_eq!(fake.name_of_client("K1").unwrap(), "Corrected Limited");
    assert_created_once(&fake, 1);
    replica.stop().await;
}
