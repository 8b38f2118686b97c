//! Fencing tokens: late calls of an import are rejected, from a worker that lost its
//! lease or on an abandoned connection. `ingest_contract` tests the rules one by one.

use std::collections::BTreeSet;

use concord_proto::{
    pb::{
        imports::{CreateImportRequest, ImportState},
        internal::ApplyChunkRequest,
        records::{ClientFields, DisconnectProductRequest},
    },
    wire::ApplyRecord,
};
use concord_testing::{TestDb, storage_tests};
use tonic::{Code, Status};

use concord_testing::e2e::{
    caller::Caller,
    chunk, import_records,
    pair::Pair,
    records::{all_clients, assert_refused, client as get_client, company, create, update_request},
    servers,
};

storage_tests! {
    empty_chunk_advances_fence,
    concurrent_chunks_apply_in_fence_order,
    late_chunk_does_not_overwrite_corrected_record,
}

const IMPORT: &str = "imp_00000000000000000000000000000001";

/// The imports service, acting for `import` of `manager`.
async fn service(server: &servers::Running, import: &str) -> Caller {
    server.owner("p1", "manager").await.connect().await.for_import(import)
}

/// Applies records with a fencing token. Returns the number of outcomes.
async fn apply(caller: &Caller, records: Vec<ApplyRecord>, fence: i64) -> Result<usize, Status> {
    let request = ApplyChunkRequest { records, fence, ..ApplyChunkRequest::default() };
    Ok(caller.ingest().apply_chunk(request).await?.into_inner().outcomes.len())
}

fn client(source_id: &str) -> Vec<ApplyRecord> {
    vec![chunk::client(source_id, &format!("REF-{source_id}"), "Some Limited")]
}

fn assert_fenced<T: std::fmt::Debug>(outcome: Result<T, Status>) {
    assert_refused(outcome, Code::Aborted, "STALE_WORKER");
}

/// The references of the clients, in the order in which they were created.
async fn references(caller: &Caller) -> Vec<String> {
    let owner = caller.clone().with("x-concord-roles", "owner");
    let clients = all_clients(&owner).await.into_iter();
    clients.map(|client| client.client_reference).collect()
}

async fn empty_chunk_advances_fence(db: TestDb) {
    let server = servers::records(db.settings()).await;
    let manager = service(&server, IMPORT).await;
    // This also works for a disconnected product: an import can always be ended.
    let request = DisconnectProductRequest { product: "manager".into() };
    let owner = manager.clone().with("x-concord-roles", "owner");
    owner.connections().disconnect_product(request).await.unwrap();
    assert_eq!(apply(&manager, Vec::new(), 9).await.unwrap(), 0);
    let owner = owner.connect().await;
    assert_fenced(apply(&manager, client("C1"), 8).await);
    assert_fenced(apply(&manager, Vec::new(), 8).await);
    assert!(references(&owner).await.is_empty());
}

async fn concurrent_chunks_apply_in_fence_order(db: TestDb) {
    let (mut workers, mut replicas) = (Vec::new(), Vec::new());
    servers::add_replicas(&db, &mut replicas).await;
    for replica in &replicas {
        workers.push(service(replica, IMPORT).await);
    }
    // 7 and 40 are coprime: each fence occurs once, out of order.
    let calls = (0..40_usize).map(|n| n * 7 % 40).map(|fence| {
        let worker = workers[fence % workers.len()].clone();
        tokio::spawn(async move {
            let records = client(&fence.to_string());
            let applied = apply(&worker, records, fence.try_into().unwrap()).await;
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

/// A chunk of the first round is delayed until its record has failed, the conflict is
/// resolved, and a correction waits for the second round.
async fn late_chunk_does_not_overwrite_corrected_record(db: TestDb) {
    let pair = Pair::start(&db).await;
    let conflicting = create(&pair.manager, company("ACME", "In The Way Limited")).await;
    let acme = |name: &str| {
        import_records::client("C1", |client| {
            client.client_reference = "ACME".into();
            client.registered_name = name.into();
        })
    };
    let first = pair.import(CreateImportRequest::default(), &[acme("Acme Limited")]).await;
    assert_eq!(first.state(), ImportState::CompletedWithFailures);
    let id = first.id;

    let fields = ClientFields { client_reference: "OTHER".into(), ..ClientFields::default() };
    let update = update_request(&conflicting, &["client_reference"], fields);
    pair.manager.clients().update_client(update).await.unwrap();
    pair.begin_round(&id, true, 2).await.unwrap();

    let worker = service(&pair.records, &id).await;
    // The first lease of an import has number 1. Its second call ended the round.
    for fence in [0, 1, 1 << 20] {
        let late = vec![chunk::client("C1", "ACME", "Acme Limited")];
        assert_fenced(apply(&worker, late, fence).await);
    }
    pair.upload(&id, "two", &[acme("Acme & Co Limited")]).await;
    pair.seal(&id, 1, 1).await;
    let ended = pair.end(&id).await;
    assert_eq!((ended.state(), ended.counters.unwrap().imported), (ImportState::Completed, 1));
    let kept = get_client(&pair.manager, "ref:ACME").await;
    assert_eq!(kept.registered_name, "Acme & Co Limited");
}
