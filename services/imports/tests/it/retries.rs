//! Tests rounds after the first: which record replaces which.

use bytes::Bytes;
use concord_proto::pb::imports::{Import, ImportState, RecordStatus};
use concord_testing::{TestDb, e2e::fake_records::InjectedFault};

use crate::{
    support::{Caller, client, pair},
    worker::assert_created_once,
};

concord_testing::storage_tests! {
    repeated_replacement_counts_once,
    conflicting_replacements_fail,
    replacement_of_an_imported_record_is_skipped,
    replacements_of_a_cancelled_round_are_applied,
}

fn named(source_id: &str, name: &str) -> Bytes {
    client(source_id, |client| name.clone_into(&mut client.registered_name))
}

/// Starts a round with these batches of replacements.
async fn begin(owner: &mut Caller, import: &str, round: i32, batches: &[&[Bytes]]) {
    owner.retry(import, true, round).await;
    for (number, records) in batches.iter().enumerate() {
        owner.upload(import, &format!("round-{round}-{number}"), records).await.unwrap();
    }
    let records = batches.iter().map(|records| records.len()).sum();
    owner.seal(import, batches.len(), records).await.unwrap();
}

async fn retried(owner: &mut Caller, import: &str, round: i32, batches: &[&[Bytes]]) -> Import {
    begin(owner, import, round, batches).await;
    owner.ended(import).await
}

/// Source id, status and reason of each failure.
async fn failures(owner: &mut Caller, import: &str) -> Vec<(String, RecordStatus, String)> {
    let failures = owner.failures(import).await.into_iter();
    failures.map(|one| (one.source_id.clone(), one.status(), one.reason)).collect()
}

async fn repeated_replacement_counts_once(t: TestDb) {
    let (replica, fake) = pair(&t).await;
    let mut owner = replica.owner();
    let first = owner.import(&[vec![named("K1", ""), named("K2", ""), named("K3", "")]]).await;
    assert_eq!(first.counters.unwrap().failed, 3);
    // Duplicates within a batch, and across batches.
    let one = [named("K1", "One"), named("K1", "One"), named("K2", "Two")];
    let second = retried(&mut owner, &first.id, 2, &[&one, &[named("K2", "Two")]]).await;
    let counters = second.counters.unwrap();
    assert_eq!((counters.imported, counters.skipped, counters.failed), (2, 2, 1));
    let skipped = RecordStatus::Skipped;
    let expected = [
        ("K1".to_owned(), skipped, "DUPLICATE_IN_IMPORT".to_owned()),
        ("K2".to_owned(), skipped, "DUPLICATE_IN_IMPORT".to_owned()),
        ("K3".to_owned(), RecordStatus::Failed, "REQUIRED_FIELD_BLANK".to_owned()),
    ];
    assert_eq!(failures(&mut owner, &first.id).await, expected);
    assert_created_once(&fake, 2);
    replica.stop().await;
}

async fn conflicting_replacements_fail(t: TestDb) {
    let (replica, fake) = pair(&t).await;
    let mut owner = replica.owner();
    let first = owner.import(&[vec![named("K1", "")]]).await;
    let batches: [&[Bytes]; 2] = [&[named("K1", "One")], &[named("K1", "Other")]];
    let second = retried(&mut owner, &first.id, 2, &batches).await;
    assert_eq!((second.counters.unwrap().failed, second.counters.unwrap().received), (2, 2));
    let reasons = failures(&mut owner, &first.id).await;
    assert!(reasons.iter().all(|(_, _, reason)| reason == "DUPLICATE_KEY"), "{reasons:?}");
    let third = retried(&mut owner, &first.id, 3, &[&[named("K1", "One")]]).await;
    assert_eq!((third.state(), third.counters.unwrap().imported), (ImportState::Completed, 1));
    assert_created_once(&fake, 1);
    replica.stop().await;
}

async fn replacement_of_an_imported_record_is_skipped(t: TestDb) {
    let (replica, fake) = pair(&t).await;
    let mut owner = replica.owner();
    let first = owner.import(&[vec![named("K1", ""), named("K2", "")]]).await;
    retried(&mut owner, &first.id, 2, &[&[named("K1", "One")]]).await;
    // K1 failed in the first round, and was imported in the second.
    let both = [named("K1", "Other"), named("K2", "Two")];
    let third = retried(&mut owner, &first.id, 3, &[&both]).await;
    let counters = third.counters.unwrap();
    assert_eq!((counters.imported, counters.skipped, counters.received), (2, 1, 3));
    let expected = [("K1".to_owned(), RecordStatus::Skipped, "NOT_FAILED".to_owned())];
    assert_eq!(failures(&mut owner, &first.id).await, expected);
    assert_eq!(fake.name_of_client("K1").unwrap(), "One");
    replica.stop().await;
}

async fn replacements_of_a_cancelled_round_are_applied(t: TestDb) {
    let (replica, fake) = pair(&t).await;
    let mut owner = replica.owner();
    let first = owner.import(&[vec![named("K1", ""), named("K2", "")]]).await;
    fake.set_unavailable(true);
    begin(&mut owner, &first.id, 2, &[&[named("K1", "One"), named("K2", "Two")]]).await;
    owner.cancel(&first.id).await;
    owner.wait(&first.id, &[ImportState::Cancelled]).await;
    fake.set_unavailable(false);
    fake.inject(&[InjectedFault::ResponseLost]);
    let third = retried(&mut owner, &first.id, 3, &[&[named("K2", "Second")]]).await;
    assert_eq!((third.state(), third.counters.unwrap().imported), (ImportState::Completed, 2));
    let names = ["K1", "K2"].map(|id| fake.name_of_client(id).unwrap());
    assert_eq!(names, ["One", "Second"]);
    replica.stop().await;
}
