//! Restored backups: how subscribers are made to restart, and what happens to imports
//! when the backups of the two databases are of different times.

use std::time::Duration;

use concord_proto::{
    pb::{
        imports::{
            BatchCommit, BatchHeader, CreateImportRequest, Import, ImportState, SealImportRequest,
            UploadBatchRequest, WatchImportRequest, upload_batch_request::Part,
        },
        records::{ListClientsRequest, StartFrom, SubscribeRequest, SubscriptionState},
    },
    wire::BatchFrame,
};
use concord_testing::{TestDb, storage_tests};
use tonic::Code;

use concord_testing::e2e::{
    caller::Caller,
    feed::{
        EventStream, acknowledge, after, create_all, named, references, server_with, subscription,
    },
    records::reason,
    sample::{self, COUNTS},
    servers::{self, Running},
};

storage_tests! {
    restored_database_makes_subscribers_restart,
}

async fn restored_database_makes_subscribers_restart(db: TestDb) {
    let server = server_with(&db, &["manager", "books"]).await;
    let manager = Caller::owner(server.channel().await, "p1", "manager");
    let books = Caller::owner(server.channel().await, "p1", "books");
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
    let manager = Caller::owner(server.channel().await, "p1", "manager");
    let books = Caller::owner(server.channel().await, "p1", "books");
    let kept = subscription(&books, "ledger").await;
    assert_eq!(kept.state(), SubscriptionState::Expired);
    assert_eq!((kept.acknowledged_position, kept.acknowledged_cursor.as_str()), (0, ""));
    let both = SubscribeRequest { cursor: cursor.clone(), ..named("ledger") };
    for (request, why) in [
        (after(&cursor), "CURSOR_FOREIGN"),
        (both, "CURSOR_FOREIGN"),
        (named("ledger"), "CURSOR_TOO_OLD"),
    ] {
        let refused = EventStream::try_open(&books, request).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::OutOfRange, why));
    }
    assert_eq!(
        reason(&acknowledge(&books, "ledger", &cursor).await.unwrap_err()),
        "CURSOR_FOREIGN"
    );
    let restart = SubscribeRequest {
        restart: true,
        start_from: StartFrom::Snapshot.into(),
        ..named("ledger")
    };
    let mut stream = EventStream::open(&books, restart).await;
    assert_eq!(stream.snapshot().await.0.len(), 3);
    create_all(&manager, ["LATER".to_owned()]).await;
    assert_eq!(stream.take(1).await.len(), 1);
    assert_eq!(stream.acknowledge(&books).await, 4);
}

/// Both services, each on a database of its own.
struct Pair {
    records: Running,
    imports: Running,
}

impl Pair {
    async fn start(records: &TestDb, imports: &TestDb) -> Self {
        let records = servers::records(records.settings()).await;
        let imports = servers::imports(imports.settings(), &records.url).await;
        Self { records, imports }
    }

    async fn stop(self) {
        self.imports.stop().await;
        self.records.stop().await;
    }

    async fn owner(&self, service: &Running) -> Caller {
        Caller::owner(service.channel().await, "p1", "manager")
    }

    async fn clients(&self) -> usize {
        let owner = self.owner(&self.records).await;
        let request = ListClientsRequest { page_size: 1_000, ..ListClientsRequest::default() };
        owner.clients().list_clients(request).await.unwrap().into_inner().clients.len()
    }

    async fn finish(&self, import_id: &str) -> Import {
        let watcher = self.owner(&self.imports).await;
        let request = WatchImportRequest { import_id: import_id.to_owned() };
        let mut stream = watcher.imports().watch_import(request).await.unwrap().into_inner();
        let mut last = None;
        while let Some(message) =
            tokio::time::timeout(Duration::from_mins(1), stream.message()).await.unwrap().unwrap()
        {
            last = message.import_job;
        }
        let import = last.unwrap();
        assert_eq!(import.state(), ImportState::CompletedWithFailures);
        import
    }
}

/// Uploads the sample in one batch. Returns the id of the unsealed import.
async fn upload(caller: &Caller) -> String {
    let created = caller.imports().create_import(CreateImportRequest::default()).await.unwrap();
    let import_id = created.into_inner().import_job.unwrap().id;
    let header = BatchHeader {
        import_id: import_id.clone(),
        batch_key: "all".into(),
        record_count: i32::try_from(COUNTS[0]).unwrap(),
        ..BatchHeader::default()
    };
    let records = sample::records().into_iter().map(Into::into).collect();
    let parts = [
        Part::Header(header),
        Part::Frame(BatchFrame { records }),
        Part::Commit(BatchCommit::default()),
    ];
    let requests = parts.into_iter().map(|part| UploadBatchRequest { part: Some(part) });
    caller.imports().upload_batch(futures::stream::iter(requests)).await.unwrap();
    import_id
}

async fn seal(caller: &Caller, import_id: &str) {
    let seal = SealImportRequest {
        import_id: import_id.to_owned(),
        batch_count: 1,
        record_count: COUNTS[0],
        ..SealImportRequest::default()
    };
    caller.imports().seal_import(seal).await.unwrap();
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
    let pair = Pair::start(&records, &newer).await;
    pair.owner(&pair.records).await.connect().await;
    let owner = pair.owner(&pair.imports).await;
    let import_id = upload(&owner).await;
    // Without the records service it stops at its first call.
    pair.records.stop().await;
    seal(&owner, &import_id).await;
    pair.imports.stop().await;
    let backup = TestDb::copy_of(&newer);

    let pair = Pair::start(&records, &newer).await;
    assert_eq!(counts(&pair.finish(&import_id).await), expected());
    let clients = pair.clients().await;
    pair.stop().await;

    assert_eq!(imports::restored(backup.settings()).await.unwrap(), 1);
    let pair = Pair::start(&records, &backup).await;
    // The import reports the records that it has created as in its first run.
    assert_eq!(counts(&pair.finish(&import_id).await), expected());
    assert_eq!(pair.clients().await, clients, "no record is duplicated");
    pair.stop().await;
}

/// The imports database reports records as imported that the records database has lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn older_records_backup_accepts_same_files_again() {
    let (records, imports) = (TestDb::sqlite(), TestDb::sqlite());
    let pair = Pair::start(&records, &imports).await;
    pair.owner(&pair.records).await.connect().await;
    pair.stop().await;
    let backup = TestDb::copy_of(&records);
    let mut clients = Vec::new();
    for records in [&records, &backup, &backup] {
        let pair = Pair::start(records, &imports).await;
        let owner = pair.owner(&pair.imports).await;
        let import_id = upload(&owner).await;
        seal(&owner, &import_id).await;
        let import = pair.finish(&import_id).await;
        if clients.len() < 2 {
            assert_eq!(counts(&import), expected());
        } else {
            // In the third import every record exists.
            assert_eq!(counts(&import), expected_on_reimport());
        }
        clients.push(pair.clients().await);
        pair.stop().await;
    }
    assert!(clients.iter().all(|count| *count == clients[0] && *count > 0), "{clients:?}");
}
