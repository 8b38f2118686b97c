//! End-to-end imports of a practice over both services and all replicas.

use std::time::Duration;

use concord_proto::{
    pb::{
        imports::{
            BatchCommit, BatchHeader, CreateImportRequest, Failure, GetImportRequest, Import,
            ImportCounters, ImportRecordKind, ImportState, ListFailuresRequest, SealImportRequest,
            UploadBatchRequest, WatchImportRequest, upload_batch_request::Part,
        },
        records::{StartFrom, SubscribeRequest, subscribe_response::Message},
    },
    wire::BatchFrame,
};
use concord_testing::{TestDb, storage_tests};
use tonic_types::StatusExt as _;

use concord_testing::e2e::{
    caller::Caller,
    sample::{self, COUNTS, VIOLATIONS},
    servers::{self, Running},
    texts::assert_user_facing,
};

storage_tests! {
    sample_imports_fully_in_any_order_over_replicas,
    second_import_skips_and_other_product_links,
    imported_records_are_delivered_once_in_one_order,
    concurrent_imports_of_practice_create_records_once,
    stopped_replica_hands_over_import,
    import_without_connection_or_role_is_refused,
}

/// Both services over the databases of a test, each with as many replicas as the
/// database allows. Each imports replica calls another records replica.
struct Services {
    records: Vec<Running>,
    imports: Vec<Running>,
}

impl Services {
    async fn start(db: &TestDb) -> Self {
        let (mut records, mut imports) = (Vec::new(), Vec::new());
        for _ in 0..servers::replicas(db) {
            let replica = servers::records(db.settings()).await;
            imports.push(servers::imports(db.sibling("imports"), &replica.url).await);
            records.push(replica);
        }
        Self { records, imports }
    }

    async fn records(&self, n: usize, product: &str) -> Caller {
        let replica = &self.records[n % self.records.len()];
        Caller::owner(replica.channel().await, "p1", product)
    }

    async fn imports(&self, n: usize, product: &str) -> Caller {
        let replica = &self.imports[n % self.imports.len()];
        Caller::owner(replica.channel().await, "p1", product)
    }

    async fn connect(&self, products: &[&str]) {
        for product in products {
            self.records(0, product).await.connect().await;
        }
    }
}

/// Shuffles `records` by `seed` and splits them into batches of `size`.
fn batches(mut records: Vec<Vec<u8>>, size: usize, seed: u64) -> Vec<Vec<Vec<u8>>> {
    let mut state = seed;
    for n in (1..records.len()).rev() {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        records.swap(n, usize::try_from(state >> 33).unwrap() % (n + 1));
    }
    records.chunks(size).map(<[_]>::to_vec).collect()
}

async fn create(caller: &Caller) -> String {
    let created = caller.imports().create_import(CreateImportRequest::default()).await.unwrap();
    created.into_inner().import_job.unwrap().id
}

async fn upload(caller: &Caller, import_id: &str, key: &str, records: &[Vec<u8>]) {
    let header = BatchHeader {
        import_id: import_id.into(),
        batch_key: key.into(),
        record_count: i32::try_from(records.len()).unwrap(),
        ..BatchHeader::default()
    };
    let mut parts = vec![Part::Header(header)];
    for chunk in records.chunks(100) {
        let records = chunk.iter().map(|record| record.clone().into()).collect();
        parts.push(Part::Frame(BatchFrame { records }));
    }
    parts.push(Part::Commit(BatchCommit::default()));
    let requests = parts.into_iter().map(|part| UploadBatchRequest { part: Some(part) });
    let uploaded = caller.imports().upload_batch(futures::stream::iter(requests)).await.unwrap();
    let counts = uploaded.into_inner().receipt.unwrap().counts.unwrap();
    assert_eq!(counts.records, i64::try_from(records.len()).unwrap());
}

/// Uploads the sample over all replicas and seals the import.
async fn start(services: &Services, product: &str, size: usize, seed: u64) -> String {
    let id = create(&services.imports(0, product).await).await;
    let batches = batches(sample::records(), size, seed);
    for (n, batch) in batches.iter().enumerate() {
        upload(&services.imports(n, product).await, &id, &format!("b{n}"), batch).await;
    }
    let seal = SealImportRequest {
        import_id: id.clone(),
        batch_count: i32::try_from(batches.len()).unwrap(),
        record_count: COUNTS[0],
        ..SealImportRequest::default()
    };
    services.imports(1, product).await.imports().seal_import(seal).await.unwrap();
    id
}

/// Watches an import on the other replica until it ends.
async fn finish(services: &Services, product: &str, import_id: &str) -> Import {
    let watcher = services.imports(1, product).await;
    let request = WatchImportRequest { import_id: import_id.into() };
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

async fn import(services: &Services, product: &str, size: usize, seed: u64) -> Import {
    let id = start(services, product, size, seed).await;
    finish(services, product, &id).await
}

/// Received, imported, linked, skipped, excluded and failed records. Asserts that no
/// record is unprocessed.
fn counts(import: &Import) -> [i64; 6] {
    let counters = import.counters.unwrap();
    let ImportCounters { received, imported, linked, skipped, excluded, failed, .. } = counters;
    assert_eq!(counters.unprocessed, 0);
    assert_eq!(received, imported + linked + skipped + excluded + failed);
    [received, imported, linked, skipped, excluded, failed]
}

async fn failures(services: &Services, import_id: &str) -> Vec<Failure> {
    let caller = services.imports(1, "manager").await;
    let mut request = ListFailuresRequest {
        import_id: import_id.into(),
        page_size: 5,
        ..ListFailuresRequest::default()
    };
    let mut failures = Vec::new();
    loop {
        let page = caller.imports().list_failures(request.clone()).await.unwrap().into_inner();
        failures.extend(page.failures);
        if page.next_page_token.is_empty() {
            return failures;
        }
        request.page_token = page.next_page_token;
    }
}

fn reported(failures: &[Failure]) -> Vec<(&str, &str, &str)> {
    let kind = |failure: &Failure| match failure.kind() {
        ImportRecordKind::Client => "client",
        ImportRecordKind::Contact => "contact",
        ImportRecordKind::Address => "address",
        ImportRecordKind::Unspecified => "",
    };
    failures.iter().map(|f| (kind(f), f.source_id.as_str(), f.reason.as_str())).collect()
}

async fn sample_imports_fully_in_any_order_over_replicas(db: TestDb) {
    let services = Services::start(&db).await;
    services.connect(&["manager", "books"]).await;
    let [received, imported, skipped, excluded, failed] = COUNTS;
    let first = import(&services, "manager", 3, 7).await;
    assert_eq!(counts(&first), [received, imported, 0, skipped, excluded, failed]);
    let listed = failures(&services, &first.id).await;
    assert_eq!(reported(&listed), VIOLATIONS);
    let of = |source_id: &str| listed.iter().find(|f| f.source_id == source_id).unwrap();
    assert_eq!(of("A187").record_name, "Residential address of Mr Cora Wilf Oakapple");
    assert_eq!(of("A187").root_cause, "client C058: Required field is blank: Registered name");
    assert_eq!(of("A193").reason_text, "Period overlaps the one of A194");
    for failure in &listed {
        assert_user_facing(&failure.reason_text);
        assert_user_facing(&failure.root_cause);
    }
}

async fn second_import_skips_and_other_product_links(db: TestDb) {
    let services = Services::start(&db).await;
    services.connect(&["manager", "books"]).await;
    let [received, imported, skipped, excluded, failed] = COUNTS;
    let first = import(&services, "manager", 1_000, 1).await;
    assert_eq!(counts(&first), [received, imported, 0, skipped, excluded, failed]);
    let again = import(&services, "manager", 40, 2).await;
    assert_eq!(counts(&again), [received, 0, 0, imported + skipped, excluded, failed]);
    assert_eq!(reported(&failures(&services, &again.id).await), VIOLATIONS);
    let books = import(&services, "books", 40, 3).await;
    assert_eq!(counts(&books), [received, 0, imported, skipped, excluded, failed]);
    assert_eq!(reported(&failures(&services, &books.id).await), VIOLATIONS);
}

async fn imported_records_are_delivered_once_in_one_order(db: TestDb) {
    let services = Services::start(&db).await;
    services.connect(&["manager", "books"]).await;
    let early = tokio::spawn(receive_changes(services.records(0, "books").await));
    import(&services, "manager", 50, 5).await;
    let early = early.await.unwrap();
    let late = receive_changes(services.records(1, "books").await).await;
    assert_eq!(early, late);
    assert_eq!(
        early.iter().map(|(position, _)| *position).collect::<Vec<_>>(),
        (1..=COUNTS[1]).collect::<Vec<_>>()
    );
    let mut changes: Vec<_> = early.into_iter().map(|(_, change)| change).collect();
    changes.sort();
    changes.dedup();
    assert_eq!(i64::try_from(changes.len()).unwrap(), COUNTS[1]);
}

/// The positions and ids of all changes of the sample, from the earliest.
async fn receive_changes(caller: Caller) -> Vec<(i64, String)> {
    let request =
        SubscribeRequest { start_from: StartFrom::Earliest.into(), ..SubscribeRequest::default() };
    let mut stream = caller.changes().subscribe(request).await.unwrap().into_inner();
    let mut changes = Vec::new();
    while i64::try_from(changes.len()).unwrap() < COUNTS[1] {
        let message = tokio::time::timeout(Duration::from_mins(1), stream.message()).await;
        if let Some(Message::Events(batch)) = message.unwrap().unwrap().unwrap().message {
            changes.extend(batch.events.into_iter().map(|event| (event.position, event.change_id)));
        }
    }
    changes
}

async fn concurrent_imports_of_practice_create_records_once(db: TestDb) {
    let services = Services::start(&db).await;
    services.connect(&["manager", "books"]).await;
    let one = start(&services, "manager", 50, 8).await;
    let two = start(&services, "books", 50, 9).await;
    let one = finish(&services, "manager", &one).await;
    let two = finish(&services, "books", &two).await;
    let (one, two) = (counts(&one), counts(&two));
    // In either order, each record is created once and linked once.
    assert_eq!([one[1] + two[1], one[2] + two[2]], [COUNTS[1]; 2]);
}

async fn stopped_replica_hands_over_import(db: TestDb) {
    let services = Services::start(&db).await;
    services.connect(&["manager"]).await;
    let id = start(&services, "manager", 50, 4).await;
    let Services { records, imports } = services;
    for replica in imports {
        replica.stop().await;
    }
    let imports = vec![servers::imports(db.sibling("imports"), &records[0].url).await];
    let services = Services { records, imports };
    let import = finish(&services, "manager", &id).await;
    let [received, imported, skipped, excluded, failed] = COUNTS;
    assert_eq!(counts(&import), [received, imported, 0, skipped, excluded, failed]);
    let get = GetImportRequest { import_id: id };
    let got = services.imports(0, "manager").await.imports().get_import(get).await.unwrap();
    assert_eq!(got.into_inner().import_job.unwrap().counters, import.counters);
}

async fn import_without_connection_or_role_is_refused(db: TestDb) {
    let services = Services::start(&db).await;
    let manager = services.imports(0, "manager").await;
    let reason =
        |status: tonic::Status| status.get_error_details().error_info().unwrap().reason.clone();
    let refused = manager.imports().create_import(CreateImportRequest::default()).await;
    assert_eq!(reason(refused.unwrap_err()), "PRODUCT_NOT_CONNECTED");
    services.connect(&["manager"]).await;
    let staff = manager.with("x-concord-roles", "staff");
    let refused = staff.imports().create_import(CreateImportRequest::default()).await;
    assert_eq!(reason(refused.unwrap_err()), "ROLE_NOT_ALLOWED");
}
