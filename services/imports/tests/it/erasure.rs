//! Tests the erasure of uploads.

use std::time::Duration;

use bytes::Bytes;
use concord_proto::pb::imports::{
    CreateImportRequest, FailuresFormat, Import, ImportRecordKind, ImportState, RecordStatus,
};
use concord_testing::{
    TestDb,
    e2e::fake_records::{FakeRecords, InjectedFault},
};

use crate::support::{Caller, Replica, address, client, contact, pair, quick};

concord_testing::storage_tests! {
    uploads_of_an_erased_record_are_removed,
    upload_before_an_erasure_is_not_applied,
    upload_after_an_erasure_is_applied,
    record_erased_while_its_chunk_is_in_flight_is_not_applied,
    records_service_outage_delays_an_erasure,
}

/// A marker in every field of the records that are erased.
const MARK: &str = "Zyxmark";

/// A replica that scans for erasures every 100 ms.
async fn start(t: &TestDb) -> (Replica, FakeRecords) {
    let (fake, records) = FakeRecords::start(&["manager", "books"]).await;
    let replica = Replica::start_with(t, records, |config| {
        config.worker = quick();
        config.jobs_every = Duration::from_millis(100);
    });
    (replica.await, fake)
}

fn marked(source_id: &str) -> Bytes {
    client(source_id, |client| {
        client.registered_name = format!("{MARK} {source_id}");
        client.client_reference = format!("{MARK}{source_id}");
        client.email = format!("{MARK}@example.com");
    })
}

fn marked_contact(source_id: &str, clients: &[&str]) -> Bytes {
    contact(source_id, clients, |contact| contact.surname = format!("{MARK} {source_id}"))
}

fn marked_address(
    source_id: &str,
    owner: (&str, &str),
    dates: (&str, &str),
    line_1: &str,
) -> Bytes {
    address(source_id, owner, dates, |address| {
        line_1.clone_into(&mut address.line_1);
        address.town = format!("{MARK} {source_id}");
    })
}

/// Waits until no table contains the marker.
async fn assert_erased(t: &TestDb) {
    for _ in 0..600 {
        if t.containing(MARK).await.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{:?} hold {MARK}", t.containing(MARK).await);
}

/// Status, reason and source id of each failure.
async fn failures(owner: &mut Caller, import: &str) -> Vec<(RecordStatus, String, String)> {
    let failures = owner.failures(import).await.into_iter();
    failures.map(|one| (one.status(), one.reason, one.source_id)).collect()
}

fn erased(status: RecordStatus) -> (RecordStatus, String, String) {
    (status, "RECORD_ERASED".to_owned(), String::new())
}

async fn retried(owner: &mut Caller, import: &str) -> Import {
    owner.retry(import, false, 0).await;
    owner.ended(import).await
}

async fn uploads_of_an_erased_record_are_removed(t: TestDb) {
    let (replica, fake) = start(&t).await;
    let mut owner = replica.owner();
    // The record fails first, in an import of its own.
    let nameless = client("C1", |client| {
        client.registered_name.clear();
        MARK.clone_into(&mut client.client_reference);
    });
    let failed = owner.import(&[vec![nameless]]).await;
    assert_eq!(failed.counters.unwrap().failed, 1);
    // The dependent records come before the client, and some of them are invalid.
    let first = owner
        .import(&[
            vec![
                marked_address("A1", ("client", "C1"), ("2010-01-01", ""), MARK),
                marked_address("A2", ("contact", "P1"), ("", ""), MARK),
                marked_address("A3", ("contact", "P2"), ("", ""), MARK),
                marked_address("A4", ("client", "C1"), ("2000-01-01", "2005-01-01"), ""),
                marked_contact("P1", &["C1"]),
                contact("P2", &["C1"], |contact| {
                    contact.surname = String::new();
                    MARK.clone_into(&mut contact.forename);
                }),
                contact("P3", &["C1", "C2"], |_| {}),
            ],
            vec![marked("C1"), client("C2", |_| {}), client("C3", |c| c.registered_name.clear())],
        ])
        .await;
    let counters = first.counters.unwrap();
    assert_eq!((counters.imported, counters.failed), (6, 4));
    // A dry run contains it twice.
    let request = CreateImportRequest { validate_only: true, ..CreateImportRequest::default() };
    let dry = owner.api.create_import(request).await.unwrap().into_inner().import_job.unwrap().id;
    owner.upload(&dry, "one", &[marked("C1"), marked("C1")]).await.unwrap();
    owner.seal(&dry, 1, 2).await.unwrap();
    owner.wait(&dry, &[ImportState::Validated]).await;
    assert!(!t.containing(MARK).await.is_empty());

    fake.erase("p1", ImportRecordKind::Contact, "P1");
    fake.erase("p1", ImportRecordKind::Client, "C1");
    assert_erased(&t).await;
    // Other records remain, and the counters are unchanged.
    assert!(!t.containing("Case P3").await.is_empty());
    assert!(!t.containing("Case C2 Limited").await.is_empty());
    let now = owner.get(&first.id).await;
    assert_eq!((now.state(), now.counters.unwrap()), (first.state(), counters));
    let listed = failures(&mut owner, &first.id).await;
    let of_erased = [RecordStatus::Failed, RecordStatus::Blocked, RecordStatus::Failed].map(erased);
    for status in &of_erased {
        assert!(listed.contains(status), "{listed:?}");
    }
    assert_eq!(listed.len(), 4, "{listed:?}");
    let file = owner.download(&first.id, FailuresFormat::Csv).await;
    assert!(String::from_utf8(file).unwrap().contains("RECORD_ERASED"));

    // A retry does not import the erased records again.
    let created = fake.created();
    let second = retried(&mut owner, &first.id).await;
    assert_eq!(second.counters.unwrap().imported, counters.imported);
    assert_eq!(second.counters.unwrap().failed, counters.failed);
    let listed = failures(&mut owner, &first.id).await;
    let listed = listed.iter().filter(|one| **one == erased(RecordStatus::Failed)).count();
    assert_eq!(listed, 3);
    let again = retried(&mut owner, &failed.id).await;
    assert_eq!(again.counters.unwrap().imported, 0);
    assert_eq!(fake.created(), created);
    replica.stop().await;
}

async fn upload_before_an_erasure_is_not_applied(t: TestDb) {
    // Only the worker scans this import: the interval of the jobs is longer than the test.
    let (replica, fake) = pair(&t).await;
    let mut owner = replica.owner();
    owner.import(&[vec![marked("C1")]]).await;
    let import = owner.create().await;
    let records = [
        marked("C1"),
        client("C2", |_| {}),
        marked_contact("P1", &["C1"]),
        contact("P2", &["C1", "C2"], |_| {}),
        marked_address("A1", ("client", "C1"), ("", ""), MARK),
    ];
    owner.upload(&import, "one", &records).await.unwrap();
    fake.erase("p1", ImportRecordKind::Client, "C1");
    owner.seal(&import, 1, records.len()).await.unwrap();
    let ended = owner.ended(&import).await;
    let counters = ended.counters.unwrap();
    assert_eq!((counters.imported, counters.failed, counters.received), (1, 4, 5));
    let listed = failures(&mut owner, &import).await;
    let of_erased = listed.iter().filter(|one| **one == erased(RecordStatus::Failed)).count();
    assert_eq!(of_erased, 3, "{listed:?}");
    assert_eq!(fake.created(), ["p1 client C1", "p1 client C2"]);
    assert_eq!(fake.known_erasures(), [0, 2]);
    replica.stop().await;
}

async fn upload_after_an_erasure_is_applied(t: TestDb) {
    let (replica, fake) = start(&t).await;
    let mut owner = replica.owner();
    let blank = client("C2", |client| client.registered_name.clear());
    let first = owner.import(&[vec![marked("C1"), blank]]).await;
    fake.erase("p1", ImportRecordKind::Client, "C1");
    assert_erased(&t).await;
    // The client is created again.
    let second = owner.import(&[vec![client("C1", |_| {})]]).await;
    assert_eq!((second.state(), second.counters.unwrap().imported), (ImportState::Completed, 1));
    assert_eq!(fake.created(), ["p1 client C1"; 2]);
    // A retry of the first import processes its other records.
    let third = retried(&mut owner, &first.id).await;
    assert_eq!(third.counters.unwrap().imported, 1);
    assert!(!t.containing("Case C1 Limited").await.is_empty());
    replica.stop().await;
}

async fn record_erased_while_its_chunk_is_in_flight_is_not_applied(t: TestDb) {
    let (replica, fake) = start(&t).await;
    let mut owner = replica.owner();
    owner.import(&[vec![marked("C1")]]).await;
    let import = owner.create().await;
    let records = [
        marked("C1"),
        client("C2", |_| {}),
        marked_address("A1", ("client", "C1"), ("", ""), MARK),
        marked_address("A2", ("client", "C2"), ("", ""), "left"),
    ];
    // C1 is unlinked, so it is not skipped, and it is erased while the clients are in
    // flight.
    fake.unlink("p1", ImportRecordKind::Client, "C1");
    fake.inject(&[InjectedFault::Paused]);
    owner.upload(&import, "one", &records).await.unwrap();
    owner.seal(&import, 1, records.len()).await.unwrap();
    fake.wait_until_paused().await;
    fake.erase("p1", ImportRecordKind::Client, "C1");
    let outcomes = fake.resume().await.unwrap();
    assert_eq!(outcomes[0].violations[0].reason, "RECORD_ERASED");
    let counters = owner.ended(&import).await.counters.unwrap();
    assert_eq!((counters.imported, counters.failed), (2, 2));
    assert_eq!(fake.created(), ["p1 client C1", "p1 client C2", "p1 address A2"]);
    // Only the failures of other records remain.
    for _ in 0..600 {
        let listed = failures(&mut owner, &import).await;
        if listed.iter().all(|(_, reason, _)| reason == "RECORD_ERASED") && listed.len() == 2 {
            replica.stop().await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{:?}", failures(&mut owner, &import).await);
}

async fn records_service_outage_delays_an_erasure(t: TestDb) {
    let (replica, fake) = start(&t).await;
    let mut owner = replica.owner();
    owner.import(&[vec![marked("C1")]]).await;
    fake.set_unavailable(true);
    fake.erase("p1", ImportRecordKind::Client, "C1");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!t.containing(MARK).await.is_empty());
    fake.set_unavailable(false);
    assert_erased(&t).await;
    replica.stop().await;
}
