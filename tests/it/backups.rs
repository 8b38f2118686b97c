//! Restored backups: how subscribers are made to restart, and what happens to imports
//! when the backups of the two databases are of different times.

use concord_proto::pb::{
    imports::{CreateImportRequest, Import, ImportState},
    records::{SubscribeRequest, SubscriptionState},
};
use concord_testing::{TestDb, storage_tests};
use tonic::Code;

use concord_testing::e2e::{
    feed::{
        EventStream, acknowledge, after, create_all, named, owners, references, restart,
        subscription, two_products,
    },
    importing,
    pair::Pair,
    records::assert_refused,
    sample::{self, COUNTS},
    servers,
};

storage_tests! {
    restored_database_makes_subscribers_restart,
}

async fn restored_database_makes_subscribers_restart(db: TestDb) {
    let (server, manager, books) = two_products(&db).await;
    create_all(&manager, references(3)).await;
    let mut stream = EventStream::open(&books, named("ledger")).await;
    stream.take(3).await;
    // Every change is acknowledged: the stored position is valid in the restored feed.
    assert_eq!(stream.acknowledge(&books).await, 3);
    let cursor = stream.cursor.clone();
    drop(stream);
    server.stop().await;

    let restored = records::post_restore(db.settings()).await.unwrap();
    assert_eq!((restored.feeds, restored.subscriptions), (2, 1));

    let server = servers::records(db.settings()).await;
    let (manager, books) = owners(&server).await;
    let kept = subscription(&books, "ledger").await;
    assert_eq!(kept.state(), SubscriptionState::Expired);
    assert_eq!((kept.acknowledged_position, kept.acknowledged_cursor.as_str()), (0, ""));
    let both = SubscribeRequest { cursor: cursor.clone(), ..named("ledger") };
    for (request, why) in [
        (after(&cursor), "CURSOR_FOREIGN"),
        (both, "CURSOR_FOREIGN"),
        (named("ledger"), "CURSOR_TOO_OLD"),
    ] {
        let refused = EventStream::try_open(&books, request).await;
        assert_refused(refused, Code::OutOfRange, why);
    }
    let refused = acknowledge(&books, "ledger", &cursor).await;
    assert_refused(refused, Code::OutOfRange, "CURSOR_FOREIGN");
    let mut stream = EventStream::open(&books, restart("ledger")).await;
    assert_eq!(stream.snapshot().await.0.len(), 3);
    create_all(&manager, ["LATER".to_owned()]).await;
    assert_eq!(stream.take(1).await.len(), 1);
    assert_eq!(stream.acknowledge(&books).await, 4);
}

/// Both services, each on a database of its own.
async fn pair(records: &TestDb, imports: &TestDb) -> Pair {
    Pair::on(records.settings(), imports.settings(), |_| {}).await
}

/// Waits for the end of an import of the sample.
async fn finish(pair: &Pair, import_id: &str) -> Import {
    let import = pair.end(import_id).await;
    assert_eq!(import.state(), ImportState::CompletedWithFailures);
    import
}

/// Uploads the sample in one batch. Returns the id of the unsealed import.
async fn upload(pair: &Pair) -> String {
    let import_id = pair.create(CreateImportRequest::default()).await;
    pair.upload(&import_id, "all", &sample::records()).await;
    import_id
}

/// Imported, skipped, excluded and failed records.
fn counts(import: &Import) -> [i64; 4] {
    let counters = import.counters.unwrap();
    [counters.imported, counters.skipped, counters.excluded, counters.failed]
}

fn expected() -> [i64; 4] {
    let [_, rest @ ..] = COUNTS;
    rest
}

/// The counts when every record is linked already.
fn expected_on_reimport() -> [i64; 4] {
    let [imported, skipped, excluded, failed] = expected();
    [0, imported + skipped, excluded, failed]
}

/// The import was running when the backup was taken and has ended since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn older_imports_backup_creates_no_duplicates() {
    let (records, newer) = (TestDb::sqlite(), TestDb::sqlite());
    let both = pair(&records, &newer).await;
    let import_id = upload(&both).await;
    // Without the records service it stops at its first call.
    both.records.stop().await;
    importing::seal(&both.caller, &import_id, 1, sample::records().len()).await.unwrap();
    both.imports.stop().await;
    let backup = TestDb::copy_of(&newer);

    let both = pair(&records, &newer).await;
    assert_eq!(counts(&finish(&both, &import_id).await), expected());
    let clients = both.client_count().await;
    both.stop().await;

    assert_eq!(imports::post_restore(backup.settings()).await.unwrap(), 1);
    let both = pair(&records, &backup).await;
    // The import reports the records that it has created as in its first run.
    assert_eq!(counts(&finish(&both, &import_id).await), expected());
    assert_eq!(both.client_count().await, clients, "no record is duplicated");
    both.stop().await;
}

/// The imports database reports records as imported that the records database has lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn older_records_backup_accepts_same_files_again() {
    let (records, imports) = (TestDb::sqlite(), TestDb::sqlite());
    pair(&records, &imports).await.stop().await;
    let backup = TestDb::copy_of(&records);
    let mut clients = Vec::new();
    for records in [&records, &backup, &backup] {
        let both = pair(records, &imports).await;
        let import_id = upload(&both).await;
        both.seal(&import_id, 1, sample::records().len()).await;
        let import = finish(&both, &import_id).await;
        if clients.len() < 2 {
            assert_eq!(counts(&import), expected());
        } else {
            // In the third import every record exists.
            assert_eq!(counts(&import), expected_on_reimport());
        }
        clients.push(both.client_count().await);
        both.stop().await;
    }
    assert!(clients.iter().all(|count| *count == clients[0] && *count > 0), "{clients:?}");
}
