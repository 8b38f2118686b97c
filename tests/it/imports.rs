//! End-to-end imports of a practice over both services and all replicas.

use concord_proto::pb::imports::{
    CreateImportRequest, Failure, Import, ImportCounters, ImportRecordKind, ImportState,
};
use concord_testing::{TestDb, storage_tests};
use tonic::Code;

use concord_testing::e2e::{
    caller::Caller,
    feed::{EventStream, connect_all, from_earliest},
    importing,
    records::assert_refused,
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
        servers::add_replicas(db, &mut records).await;
        for replica in &records {
            imports.push(servers::imports(db.sibling("imports"), &replica.url).await);
        }
        Self { records, imports }
    }

    async fn records(&self, n: usize, product: &str) -> Caller {
        self.records[n % self.records.len()].owner("p1", product).await
    }

    async fn imports(&self, n: usize, product: &str) -> Caller {
        self.imports[n % self.imports.len()].owner("p1", product).await
    }

    async fn connect(&self, products: &[&str]) {
        connect_all(&self.records[0], "p1", products).await;
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

/// Uploads the sample over all replicas and seals the import.
async fn start(services: &Services, product: &str, size: usize, seed: u64) -> String {
    let caller = services.imports(0, product).await;
    let id = importing::create(&caller, CreateImportRequest::default()).await;
    let batches = batches(sample::records(), size, seed);
    for (n, batch) in batches.iter().enumerate() {
        let caller = services.imports(n, product).await;
        let uploaded = importing::upload(&caller, &id, &format!("b{n}"), batch).await.unwrap();
        let counts = uploaded.receipt.unwrap().counts.unwrap();
        assert_eq!(counts.records, i64::try_from(batch.len()).unwrap());
    }
    let (caller, all) = (services.imports(1, product).await, sample::records().len());
    importing::seal(&caller, &id, batches.len(), all).await.unwrap();
    id
}

/// Watches an import on the other replica until it ends.
async fn finish(services: &Services, product: &str, import_id: &str) -> Import {
    let import = importing::end(&services.imports(1, product).await, import_id).await;
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
    importing::failures(&services.imports(1, "manager").await, import_id).await
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
    let mut stream = EventStream::open(&caller, from_earliest()).await;
    let events = stream.take(usize::try_from(COUNTS[1]).unwrap()).await;
    events.into_iter().map(|event| (event.position, event.change_id)).collect()
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
    servers::stop_all(imports).await;
    let imports = vec![servers::imports(db.sibling("imports"), &records[0].url).await];
    let services = Services { records, imports };
    let import = finish(&services, "manager", &id).await;
    let [received, imported, skipped, excluded, failed] = COUNTS;
    assert_eq!(counts(&import), [received, imported, 0, skipped, excluded, failed]);
    let got = importing::get(&services.imports(0, "manager").await, &id).await;
    assert_eq!(got.counters, import.counters);
}

async fn import_without_connection_or_role_is_refused(db: TestDb) {
    let services = Services::start(&db).await;
    let manager = services.imports(0, "manager").await;
    let refused = manager.imports().create_import(CreateImportRequest::default()).await;
    assert_refused(refused, Code::FailedPrecondition, "PRODUCT_NOT_CONNECTED");
    services.connect(&["manager"]).await;
    let staff = manager.with("x-concord-roles", "staff");
    let refused = staff.imports().create_import(CreateImportRequest::default()).await;
    assert_refused(refused, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
}
