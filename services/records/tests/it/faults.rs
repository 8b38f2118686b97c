//! Concurrency in the feed: no change is lost, duplicated, reordered or delayed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use concord_core::ids;
use concord_db::{Database, TenantScope, Timeouts};
use concord_proto::{
    pb::records::{Client, ClientFields, CreateClientRequest, GetClientRequest},
    wire::Event,
};
use concord_testing::{TestDb, storage_tests};
use sea_orm::{ConnectionTrait as _, DbErr, Statement};
use tokio_util::sync::CancellationToken;
use tonic::Code;

use concord_testing::e2e::{
    caller::{Caller, request_id},
    feed::{
        EventStream, connect_all, create_all, from_earliest, positions, references, server_with,
        two_products,
    },
    records::{company, create, update_request},
    servers,
};

storage_tests! {
    open_transaction_does_not_block_feed,
    rolled_back_changes_leave_no_position_gap,
    concurrent_sequencers_build_one_feed_per_product,
    connect_waits_for_transactions_in_flight,
}

/// How long the slow writer keeps its transaction open.
const OPEN_TIME: Duration = Duration::from_mins(1);

async fn open_transaction_does_not_block_feed(db: TestDb) {
    if !db.is_postgres() {
        // SQLite has one writer at a time. The writes of the service take turns, and
        // each has a time limit.
        return;
    }
    let (_server, manager, books) = two_products(&db).await;
    let held = create(&manager, company("HELD", "Held Limited")).await;
    let mut live = EventStream::open(&books, from_earliest()).await;
    live.take(1).await;
    let (begun, ended) = (CancellationToken::new(), Arc::new(AtomicBool::new(false)));
    let timeouts = Timeouts { idle_in_transaction: OPEN_TIME * 2, ..Timeouts::default() };
    let database = Database::connect(&db.settings().timeouts(timeouts)).await.unwrap();
    let slow = tokio::spawn(slow_writer(database, held, begun.clone(), ended.clone()));
    begun.cancelled().await;
    create_all(&manager, references(100)).await;
    let events = live.take(100).await;
    assert_eq!(positions(&events), (2..=101).collect::<Vec<_>>());
    assert!(!ended.load(Ordering::SeqCst), "events are delivered while the transaction is open");
    slow.await.unwrap();
    let last = live.take(1).await.remove(0);
    assert_eq!(
        (last.position, last.record_version),
        (102, 2),
        "the change of the slow transaction is last"
    );
}

/// Writes a change with raw SQL, as a replica does, and commits after [`OPEN_TIME`].
async fn slow_writer(db: Database, held: Client, begun: CancellationToken, ended: Arc<AtomicBool>) {
    let id = ids::parse(ids::IdKind::Client, &held.id).unwrap();
    let written = db.write(TenantScope::AllPractices, move |tx| {
        let (begun, ended) = (begun.clone(), Arc::clone(&ended));
        async move {
            let engine = tx.get_database_backend();
            let change = ids::new_uuid();
            let values = [id.into(), change.into()];
            for sql in [
                "SELECT id FROM client WHERE practice_id = 'p1' AND id = $1 AND $2 = $2 FOR UPDATE",
                "INSERT INTO feed_change (id, practice_id, record_kind, record_id, record_version, \
                 kind, changed_fields, companions, origin_product, origin_account, origin_user, \
                 transaction_id, transaction_index, transaction_count, changed_at) \
                 VALUES ($2, 'p1', 'CLIENT', $1, 2, 'UPDATED', '[]', '[]', 'manager', 'main', '', \
                 $2, 0, 1, now())",
                "INSERT INTO feed_pending (product, practice_id, seq, linked) \
                 SELECT 'books', 'p1', seq, false FROM feed_change WHERE id = $2 AND $1 = $1",
            ] {
                let values = values.clone();
                tx.execute_raw(Statement::from_sql_and_values(engine, sql, values)).await?;
            }
            begun.cancel();
            tokio::time::sleep(OPEN_TIME).await;
            ended.store(true, Ordering::SeqCst);
            Ok::<_, DbErr>(())
        }
    });
    written.await.unwrap();
}

async fn rolled_back_changes_leave_no_position_gap(db: TestDb) {
    let (_server, manager, books) = two_products(&db).await;
    let mut live = EventStream::open(&books, from_earliest()).await;
    let mut tasks = Vec::new();
    for n in 0..8 {
        let manager = manager.clone();
        tasks.push(tokio::spawn(async move {
            let mut made = Vec::new();
            for m in 0..15 {
                let request = company(&format!("R{n}-{m}"), "Acme Limited");
                // Written, and rolled back.
                let check = CreateClientRequest { validate_only: true, ..request.clone() };
                manager.clients().create_client(check).await.unwrap();
                let created = manager.clients().create_client(request).await.unwrap().into_inner();
                made.extend(created.change_ids);
                // Refused within its transaction.
                let twice = company(&format!("R{n}-{m}"), "Acme Limited");
                let refused = manager.clients().create_client(twice).await.unwrap_err();
                assert_eq!(refused.code(), Code::AlreadyExists);
            }
            made
        }));
    }
    let mut made = Vec::new();
    for task in tasks {
        made.extend(task.await.unwrap());
    }
    let events = live.take(120).await;
    assert_eq!(positions(&events), (1..=120).collect::<Vec<_>>());
    let mut delivered: Vec<String> = events.into_iter().map(|event| event.change_id).collect();
    made.sort();
    delivered.sort();
    assert_eq!(delivered, made);
}

async fn concurrent_sequencers_build_one_feed_per_product(db: TestDb) {
    let mut replicas = vec![server_with(&db, &["manager", "books", "ap"]).await];
    while db.is_postgres() && replicas.len() < 3 {
        replicas.push(servers::records(db.settings()).await);
    }
    connect_all(&replicas[0], "p2", &["manager", "books"]).await;
    let mut streams = Vec::new();
    for (n, product) in ["books", "ap"].into_iter().enumerate() {
        let replica = &replicas[n % replicas.len()];
        let caller = replica.owner("p1", product).await;
        let caller = caller.without("x-concord-practice");
        streams.push(EventStream::open(&caller, from_earliest()).await);
    }
    let mut writers = Vec::new();
    for (n, practice) in ["p1", "p2", "p1", "p2", "p1", "p2"].into_iter().enumerate() {
        let replica = &replicas[n % replicas.len()];
        let manager = replica.owner(practice, "manager").await;
        writers.push(tokio::spawn(update_together(manager, n < 2)));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    for (mut stream, practices) in streams.into_iter().zip([2, 1]) {
        let events = stream.take(practices * (RECORDS + 3 * UPDATES)).await;
        assert_eq!(positions(&events), (1..=stream.last).collect::<Vec<_>>());
        check_each_record(&events);
    }
    servers::stop_all(replicas).await;
}

/// The number of clients that the writers of a practice change, and of updates by each
/// writer.
const RECORDS: usize = 4;
const UPDATES: usize = 20;

/// Creates the clients, if it is the first writer of its practice, and updates them
/// while other writers do the same.
async fn update_together(manager: Caller, is_first: bool) {
    if is_first {
        create_all(&manager, references(RECORDS)).await;
    }
    for n in 0..UPDATES {
        update(&manager, &format!("ref:R{}", n % RECORDS)).await;
    }
}

async fn update(manager: &Caller, name: &str) {
    loop {
        let get = GetClientRequest { client: name.to_owned() };
        // The first writer of the practice has not created it yet.
        let Ok(found) = manager.clients().get_client(get).await else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let found = found.into_inner().client.unwrap();
        let phones = vec![format!("+44 20 7946 {:04}", digits_of(&request_id()))];
        let fields = ClientFields { phones, ..ClientFields::default() };
        let request = update_request(&found, &["phones"], fields);
        match manager.clients().update_client(request).await {
            Ok(_) => return,
            Err(status) => assert_eq!(status.code(), Code::Aborted, "{status}"),
        }
    }
}

/// Four digits that differ from call to call.
fn digits_of(request_id: &str) -> u32 {
    request_id.bytes().rev().fold(0_u32, |sum, byte| sum.wrapping_mul(31) + u32::from(byte))
        % 10_000
}

/// Checks that the versions of each record are delivered in order, each once.
fn check_each_record(events: &[Event]) {
    let mut versions: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    let mut changes: HashMap<&str, i64> = HashMap::new();
    for event in events {
        versions.entry(&event.record_id).or_default().push(event.record_version);
        let before = changes.insert(&event.change_id, event.position);
        assert_eq!(before, None, "delivered twice: {}", event.change_id);
    }
    for (record, versions) in versions {
        let expected: Vec<i64> = (1..=i64::try_from(versions.len()).unwrap()).collect();
        assert_eq!(versions, expected, "{record}");
    }
}

async fn connect_waits_for_transactions_in_flight(db: TestDb) {
    if !db.is_postgres() {
        // Transactions are serial: a change has committed before, or starts after.
        return;
    }
    let server = server_with(&db, &["manager"]).await;
    let owner = server.owner("p1", "manager").await;
    let (begun, end) = (CancellationToken::new(), CancellationToken::new());
    let writer = {
        let (db, begun, end) = (db.database().await, begun.clone(), end.clone());
        tokio::spawn(async move {
            let written = db.write(TenantScope::AllPractices, move |tx| {
                let (begun, end) = (begun.clone(), end.clone());
                async move {
                    // Every change reads the connected products first.
                    let query = "SELECT product FROM connection WHERE practice_id = 'p1'";
                    let query = Statement::from_string(tx.get_database_backend(), query);
                    tx.query_all_raw(query).await?;
                    begun.cancel();
                    end.cancelled().await;
                    Ok::<_, DbErr>(())
                }
            });
            written.await.unwrap();
        })
    };
    begun.cancelled().await;
    let request = concord_proto::pb::records::ConnectProductRequest { product: "books".into() };
    let mut connecting = tokio::spawn({
        let owner = owner.clone();
        async move { owner.connections().connect_product(request).await }
    });
    let answer = tokio::time::timeout(Duration::from_secs(2), &mut connecting).await;
    assert!(
        answer.is_err(),
        "answered while a change was in flight that is not delivered to the product"
    );
    // Changes that start meanwhile are delivered to the product.
    create_all(&owner, references(3)).await;
    end.cancel();
    connecting.await.unwrap().unwrap();
    writer.await.unwrap();
    let books = server.owner("p1", "books").await;
    assert_eq!(EventStream::open(&books, from_earliest()).await.take(3).await.len(), 3);
}
