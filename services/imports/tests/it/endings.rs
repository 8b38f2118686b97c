//! Imports that cannot continue: they end, or can be ended.

use imports::WorkerSettings;
use shared::{
    pb::imports::{
        CancelImportRequest, Import, ImportState, ListImportsRequest, RetryImportRequest,
    },
    testing::TestDb,
};

use crate::{
    double::{Double, Mishap},
    set_back::run,
    support::{Caller, Replica, client, pair, quick},
    work::{assert_created_once, many, sealed},
};

shared::storage_tests! {
    numbers_that_do_not_add_up_fail_the_import_and_a_retry_ends_it,
    a_position_that_cannot_be_read_fails_the_import_wherever_it_is,
    an_import_that_failed_internally_can_be_cancelled,
    an_error_of_the_records_service_that_stays_fails_the_import,
    a_stalled_import_can_be_cancelled_while_the_records_service_is_away,
    what_was_sent_before_a_cancellation_without_an_answer_is_not_applied_later,
}

async fn failed(owner: &mut Caller, import: &str) -> Import {
    owner.wait(import, &[ImportState::FailedInternally]).await
}

async fn retry(owner: &mut Caller, import: &str) -> Import {
    let request = RetryImportRequest { import_id: import.into(), replacements: false, round: 2 };
    owner.api.retry_import(request).await.unwrap();
    owner.ended(import).await
}

async fn cancel(owner: &mut Caller, import: &str) -> Import {
    let request = CancelImportRequest { import_id: import.into() };
    owner.api.cancel_import(request).await.unwrap();
    owner.wait(import, &[ImportState::Cancelled]).await
}

/// The numbers of all states add up to the records that came.
fn assert_sums(import: &Import, received: i64) {
    let all = import.counters.unwrap();
    let sum = all.imported + all.linked + all.skipped + all.excluded + all.failed + all.unprocessed;
    assert_eq!((all.received, sum), (received, received), "{all:?}");
}

async fn numbers_that_do_not_add_up_fail_the_import_and_a_retry_ends_it(t: TestDb) {
    let (replica, double) = pair(&t).await;
    let db = t.database().await;
    double.will(&[Mishap::Frozen]);
    let mut owner = replica.owner();
    let import = sealed(&mut owner, &many(5)).await;
    double.wait_for_frost().await;
    run(&db, vec!["UPDATE import_tally SET n = n + 1 WHERE kind = 'client'".into()]).await;
    double.thaw().await.unwrap();
    let ended = failed(&mut owner, &import).await;
    assert!(ended.note.contains("incident ") && ended.end_time.is_some(), "{ended:?}");
    assert_sums(&ended, 15);
    assert_eq!(ended.counters.unwrap().imported, 15);
    let banner = ListImportsRequest { with_failures: true, ..ListImportsRequest::default() };
    let listed = owner.api.list_imports(banner).await.unwrap().into_inner().imports;
    assert_eq!(listed.iter().map(|import| &import.id).collect::<Vec<_>>(), [&import]);
    let ended = retry(&mut owner, &import).await;
    assert_eq!((ended.state(), ended.note.as_str()), (ImportState::Completed, ""));
    assert_sums(&ended, 15);
    assert_created_once(&double, 15);
    replica.stop().await;
}

/// Breaks the position of an import that waits to be worked on.
async fn broken(t: &TestDb, phase: &str) -> (Replica, Double, String) {
    let (double, records) = Double::start(&["manager"]).await;
    let idle = WorkerSettings { imports_at_once: 0, ..quick() };
    let replica = Replica::start(t, records, idle).await;
    let import = sealed(&mut replica.owner(), &many(5)).await;
    let position = format!("UPDATE import SET phase = '{phase}', position = 'nowhere'");
    run(&t.database().await, vec![position]).await;
    replica.stop().await;
    (Replica::start(t, records, quick()).await, double, import)
}

async fn a_position_that_cannot_be_read_fails_the_import_wherever_it_is(t: TestDb) {
    let (replica, double, import) = broken(&t, "index").await;
    let mut owner = replica.owner();
    let ended = failed(&mut owner, &import).await;
    assert_sums(&ended, 15);
    assert_eq!(ended.counters.unwrap().unprocessed, 15);
    // A retry that is given up leaves it as it was.
    let request = RetryImportRequest { import_id: import.clone(), replacements: true, round: 2 };
    owner.api.retry_import(request).await.unwrap();
    owner.upload(&import, "two", &[client("K8", |_| ())]).await.unwrap();
    let request = CancelImportRequest { import_id: import.clone() };
    owner.api.cancel_import(request).await.unwrap();
    let same = failed(&mut owner, &import).await;
    assert_eq!((same.counters, same.note, same.round), (ended.counters, ended.note, 1));
    // Its worker is free for others of the practice meanwhile.
    let other = owner.import(&[vec![client("K9", |_| ())]]).await;
    assert_eq!(other.state(), ImportState::Completed);
    let ended = retry(&mut owner, &import).await;
    assert_eq!((ended.state(), ended.counters.unwrap().imported), (ImportState::Completed, 15));
    assert_sums(&ended, 15);
    assert_created_once(&double, 16);
    replica.stop().await;
}

async fn an_import_that_failed_internally_can_be_cancelled(t: TestDb) {
    let (replica, _, import) = broken(&t, "index").await;
    let mut owner = replica.owner();
    failed(&mut owner, &import).await;
    let ended = cancel(&mut owner, &import).await;
    assert_eq!((ended.note.as_str(), ended.cancel_requested), ("", true));
    assert_sums(&ended, 15);
    assert_eq!(cancel(&mut owner, &import).await.state(), ImportState::Cancelled, "again");
    let ended = retry(&mut owner, &import).await;
    assert_eq!((ended.state(), ended.counters.unwrap().imported), (ImportState::Completed, 15));
    replica.stop().await;
}

async fn an_error_of_the_records_service_that_stays_fails_the_import(t: TestDb) {
    let (double, records) = Double::start(&["manager"]).await;
    let patience = std::time::Duration::from_millis(300);
    let settings = WorkerSettings { patience, ..quick() };
    let replica = Replica::start(&t, records, settings).await;
    // More records than can be to blame.
    for number in 0..40 {
        double.is_poisoned_by(&format!("K{number:04}"));
    }
    let mut owner = replica.owner();
    let import = sealed(&mut owner, &many(40)).await;
    let ended = failed(&mut owner, &import).await;
    assert_sums(&ended, 120);
    assert_eq!(ended.counters.unwrap().unprocessed, 120);
    replica.stop().await;
}

async fn a_stalled_import_can_be_cancelled_while_the_records_service_is_away(t: TestDb) {
    let (double, records) = Double::start(&["manager"]).await;
    let (patience, rest) =
        (std::time::Duration::from_millis(300), std::time::Duration::from_mins(10));
    let settings = WorkerSettings { patience, rest, ..quick() };
    let replica = Replica::start(&t, records, settings).await;
    double.will(&[Mishap::Frozen]);
    let mut owner = replica.owner();
    let import = sealed(&mut owner, &many(5)).await;
    double.wait_for_frost().await;
    double.is_away(true);
    double.thaw().await.unwrap();
    let stalled = owner.wait(&import, &[ImportState::Stalled]).await;
    assert!(!stalled.note.is_empty());
    let ended = cancel(&mut owner, &import).await;
    assert!(ended.note.contains("did not answer"), "{}", ended.note);
    assert_sums(&ended, 15);
    assert_eq!((ended.counters.unwrap().imported, ended.counters.unwrap().unprocessed), (5, 10));
    double.is_away(false);
    let ended = retry(&mut owner, &import).await;
    assert_eq!((ended.state(), ended.counters.unwrap().imported), (ImportState::Completed, 15));
    assert_created_once(&double, 15);
    replica.stop().await;
}

async fn what_was_sent_before_a_cancellation_without_an_answer_is_not_applied_later(t: TestDb) {
    let (double, records) = Double::start(&["manager"]).await;
    let patience = std::time::Duration::from_millis(300);
    let replica = Replica::start(&t, records, WorkerSettings { patience, ..quick() }).await;
    double.will(&[Mishap::FrozenAway]);
    let mut owner = replica.owner();
    let import = sealed(&mut owner, &[client("K1", |_| ())]).await;
    double.wait_for_frost().await;
    double.is_away(true);
    cancel(&mut owner, &import).await;
    double.is_away(false);
    let request = RetryImportRequest { import_id: import.clone(), replacements: true, round: 2 };
    owner.api.retry_import(request).await.unwrap();
    let corrected = client("K1", |client| client.registered_name = "Corrected Limited".into());
    owner.upload(&import, "corrected", &[corrected]).await.unwrap();
    owner.seal(&import, 1, 1).await.unwrap();
    assert_eq!(owner.ended(&import).await.counters.unwrap().imported, 1);
    let late = double.thaw().await.unwrap_err();
    assert_eq!(crate::support::reason(&late), "STALE_WORKER");
    assert_eq!(double.name_of_client("K1").unwrap(), "Corrected Limited");
    assert_created_once(&double, 1);
    replica.stop().await;
}
