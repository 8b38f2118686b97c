//! Fencing tokens: late calls of an import are rejected, from a worker that lost its
//! lease or on an abandoned connection.

use std::{collections::BTreeSet, time::Duration};

use concord_proto::{
    pb::{
        imports::{
            BatchCommit, BatchHeader, CreateImportRequest, Import, ImportClient, ImportRecord,
            ImportState, RecordStatus, RetryImportRequest, SealImportRequest, UploadBatchRequest,
            WatchImportRequest, import_record::Record, upload_batch_request::Part,
        },
        internal::{ApplyChunkRequest, ApplyOutcome},
        records::{
            ClientFields, DisconnectProductRequest, ListClientsRequest, UpdateClientRequest,
        },
    },
    wire::{ApplyRecord, BatchFrame},
};
use concord_testing::{TestDb, storage_tests};
use prost::Message as _;
use tonic::{Code, Status};

use concord_testing::e2e::{
    caller::{Caller, request_id},
    records::{assert_refused, client as get_client, company, create},
    servers,
};

storage_tests! {
    chunk_with_stale_fence_changes_nothing,
    empty_chunk_advances_fence,
    dry_run_chunk_does_not_advance_fence,
    chunk_with_applied_fence_ahead_of_database_is_not_applied,
    concurrent_chunks_apply_in_fence_order,
    late_chunk_does_not_overwrite_corrected_record,
}

const IMPORT: &str = "imp_00000000000000000000000000000001";

/// The imports service, acting for `import` of `manager`.
async fn service(server: &servers::Running, import: &str) -> Caller {
    Caller::owner(server.channel().await, "p1", "manager")
        .connect()
        .await
        .with("x-concord-roles", "service")
        .with("x-concord-import", import)
}

fn encoded(source_id: &str, reference: &str, name: &str) -> Vec<u8> {
    let client = ImportClient {
        source_id: source_id.into(),
        client_reference: reference.into(),
        client_type: "PRIVATE_LIMITED_COMPANY".into(),
        registered_name: name.into(),
        ..ImportClient::default()
    };
    ImportRecord { record: Some(Record::Client(client)), ..Default::default() }.encode_to_vec()
}

fn client(source_id: &str) -> ApplyRecord {
    let record = encoded(source_id, &format!("REF-{source_id}"), "Some Limited").into();
    ApplyRecord { record, ..ApplyRecord::default() }
}

async fn send(caller: &Caller, request: ApplyChunkRequest) -> Result<Vec<ApplyOutcome>, Status> {
    Ok(caller.ingest().apply_chunk(request).await?.into_inner().outcomes)
}

/// Applies one client, or an empty chunk, with a fencing token.
async fn apply(caller: &Caller, client: Option<&str>, fence: i64) -> Result<usize, Status> {
    let records = client.map(self::client).into_iter().collect();
    let request = ApplyChunkRequest { records, fence, ..ApplyChunkRequest::default() };
    Ok(send(caller, request).await?.len())
}

fn assert_fenced<T: std::fmt::Debug>(outcome: Result<T, Status>) {
    assert_refused(outcome, Code::Aborted, "STALE_WORKER");
}

/// The references of the clients, in the order in which they were created.
async fn references(caller: &Caller) -> Vec<String> {
    let owner = caller.clone().with("x-concord-roles", "owner");
    let request = ListClientsRequest { page_size: 1_000, ..ListClientsRequest::default() };
    let listed = owner.clients().list_clients(request).await.unwrap().into_inner();
    listed.clients.into_iter().map(|client| client.client_reference).collect()
}

async fn chunk_with_stale_fence_changes_nothing(db: TestDb) {
    let server = servers::records(db.settings()).await;
    let manager = service(&server, IMPORT).await;
    apply(&manager, Some("C1"), 7).await.unwrap();
    assert_fenced(apply(&manager, Some("C2"), 6).await);
    assert_fenced(apply(&manager, Some("C1"), 6).await);
    apply(&manager, Some("C3"), 7).await.unwrap();
    apply(&manager, Some("C4"), 8).await.unwrap();
    assert_eq!(references(&manager).await, ["REF-C1", "REF-C3", "REF-C4"]);
    // Each import of each practice has its own fence.
    let other = manager.clone().with("x-concord-import", "imp_00000000000000000000000000000002");
    apply(&other, Some("C5"), 1).await.unwrap();
    let elsewhere = manager.with("x-concord-practice", "p2").with("x-concord-roles", "owner");
    let elsewhere = elsewhere.connect().await.with("x-concord-roles", "service");
    apply(&elsewhere, Some("C6"), 1).await.unwrap();
}

async fn empty_chunk_advances_fence(db: TestDb) {
    let server = servers::records(db.settings()).await;
    let manager = service(&server, IMPORT).await;
    // This also works for a disconnected product: an import can always be ended.
    let request = DisconnectProductRequest { product: "manager".into() };
    let owner = manager.clone().with("x-concord-roles", "owner");
    owner.connections().disconnect_product(request).await.unwrap();
    assert_eq!(apply(&manager, None, 9).await.unwrap(), 0);
    let owner = owner.connect().await;
    assert_fenced(apply(&manager, Some("C1"), 8).await);
    assert_fenced(apply(&manager, None, 8).await);
    assert!(references(&owner).await.is_empty());
}

async fn chunk_with_applied_fence_ahead_of_database_is_not_applied(db: TestDb) {
    let server = servers::records(db.settings()).await;
    let manager = service(&server, IMPORT).await;
    let call = async |records: &[&str], fence, applied_fence| {
        let records = records.iter().map(|id| client(id)).collect();
        let request =
            ApplyChunkRequest { records, fence, applied_fence, ..ApplyChunkRequest::default() };
        let answer = manager.ingest().apply_chunk(request).await.unwrap().into_inner();
        (answer.outcomes.len(), answer.fence_before)
    };
    assert_eq!(call(&["C1"], 5, 0).await, (1, Some(0)));
    // The effects of the answered call with fence 6 are lost. Retries get the same answer.
    for _ in 0..2 {
        assert_eq!(call(&["C2"], 7, 6).await, (0, Some(5)));
        assert_eq!(call(&[], 7, 6).await, (0, Some(5)));
    }
    assert_eq!(references(&manager).await, ["REF-C1"]);
    assert_eq!(call(&["C1", "C2"], 6, 5).await, (2, Some(5)));
    assert_eq!(references(&manager).await, ["REF-C1", "REF-C2"]);
}

async fn dry_run_chunk_does_not_advance_fence(db: TestDb) {
    let server = servers::records(db.settings()).await;
    let manager = service(&server, IMPORT).await;
    let check = |fence| {
        let records = vec![client("C1")];
        let request =
            ApplyChunkRequest { records, fence, validate_only: true, ..Default::default() };
        send(&manager, request)
    };
    assert_eq!(check(9).await.unwrap()[0].status(), RecordStatus::Imported);
    apply(&manager, Some("C2"), 3).await.unwrap();
    assert_eq!(check(3).await.unwrap()[0].status(), RecordStatus::Imported);
    assert_fenced(check(2).await);
    assert_eq!(references(&manager).await, ["REF-C2"]);
}

async fn concurrent_chunks_apply_in_fence_order(db: TestDb) {
    let mut workers = Vec::new();
    let mut replicas = Vec::new();
    for _ in 0..servers::replicas(&db) {
        let server = servers::records(db.settings()).await;
        workers.push(service(&server, IMPORT).await);
        replicas.push(server);
    }
    // 7 and 40 are coprime: each fence occurs once, out of order.
    let calls = (0..40_usize).map(|n| n * 7 % 40).map(|fence| {
        let worker = workers[fence % workers.len()].clone();
        tokio::spawn(async move {
            let applied = apply(&worker, Some(&fence.to_string()), fence.try_into().unwrap()).await;
            applied.map(|_| fence).map_err(|late| assert_fenced(Err::<(), _>(late)))
        })
    });
    let mut landed = BTreeSet::new();
    for call in calls.collect::<Vec<_>>() {
        landed.extend(call.await.unwrap());
    }
    assert!(landed.contains(&39));
    let fences = landed.iter().map(|fence| format!("REF-{fence}")).collect::<BTreeSet<_>>();
    let created = references(&workers[0]).await;
    assert_eq!(
        created.iter().cloned().collect::<BTreeSet<_>>(),
        fences,
        "the answered chunks are applied"
    );
    if !db.is_postgres() {
        // The ids of one process rise with time.
        let rising = landed.iter().map(|fence| format!("REF-{fence}")).collect::<Vec<_>>();
        assert_eq!(created, rising);
    }
}

/// Uploads records as one batch, seals the import and waits for its end.
async fn import(caller: &Caller, id: &str, key: &str, records: &[Vec<u8>]) -> Import {
    let (import_id, batch_key) = (id.to_owned(), key.to_owned());
    let header = BatchHeader { import_id, batch_key, ..BatchHeader::default() };
    let frame = BatchFrame { records: records.iter().cloned().map(Into::into).collect() };
    let parts = [Part::Header(header), Part::Frame(frame), Part::Commit(BatchCommit::default())];
    let parts = parts.map(|part| UploadBatchRequest { part: Some(part) });
    caller.imports().upload_batch(futures::stream::iter(parts)).await.unwrap();
    let request = SealImportRequest {
        import_id: id.into(),
        batch_count: 1,
        record_count: i64::try_from(records.len()).unwrap(),
        ..SealImportRequest::default()
    };
    caller.imports().seal_import(request).await.unwrap();
    let request = WatchImportRequest { import_id: id.into() };
    let mut stream = caller.imports().watch_import(request).await.unwrap().into_inner();
    let (mut last, wait) = (None, Duration::from_mins(1));
    while let Some(update) = tokio::time::timeout(wait, stream.message()).await.unwrap().unwrap() {
        last = update.import_job;
    }
    last.unwrap()
}

/// A chunk of the first round is delayed until its record has failed, the conflict is
/// resolved, and a correction waits for the second round.
async fn late_chunk_does_not_overwrite_corrected_record(db: TestDb) {
    let records = servers::records(db.settings()).await;
    let imports = servers::imports(db.sibling("imports"), &records.url).await;
    let manager = Caller::owner(records.channel().await, "p1", "manager").connect().await;
    let conflicting = create(&manager, company("ACME", "In The Way Limited")).await;
    let caller = Caller::owner(imports.channel().await, "p1", "manager");
    let created = caller.imports().create_import(CreateImportRequest::default()).await.unwrap();
    let id = created.into_inner().import_job.unwrap().id;
    let ended = import(&caller, &id, "one", &[encoded("C1", "ACME", "Acme Limited")]).await;
    assert_eq!(ended.state(), ImportState::CompletedWithFailures);

    let fields = ClientFields { client_reference: "OTHER".into(), ..ClientFields::default() };
    let update = UpdateClientRequest {
        client: conflicting.id,
        fields: Some(fields),
        update_mask: Some(prost_types::FieldMask { paths: vec!["client_reference".into()] }),
        etag: conflicting.etag,
        request_id: request_id(),
        ..UpdateClientRequest::default()
    };
    manager.clients().update_client(update).await.unwrap();
    let retry = RetryImportRequest { import_id: id.clone(), replacements: true, round: 2 };
    caller.imports().retry_import(retry).await.unwrap();

    let worker = service(&records, &id).await;
    let record = encoded("C1", "ACME", "Acme Limited").into();
    let chunk = vec![ApplyRecord { record, ..ApplyRecord::default() }];
    // The first lease of an import has number 1. Its second call ended the round.
    for fence in [0, 1, 1 << 20] {
        let records = chunk.clone();
        assert_fenced(
            send(&worker, ApplyChunkRequest { records, fence, ..Default::default() }).await,
        );
    }
    let ended = import(&caller, &id, "two", &[encoded("C1", "ACME", "Acme & Co Limited")]).await;
    assert_eq!((ended.state(), ended.counters.unwrap().imported), (ImportState::Completed, 1));
    assert_eq!(get_client(&manager, "ref:ACME").await.registered_name, "Acme & Co Limited");
}
