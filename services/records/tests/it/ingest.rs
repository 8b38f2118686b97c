//! `ApplyChunk` is idempotent: resent chunks are applied once.

use concord_proto::{
    pb::{
        imports::{ImportClient, ImportRecordKind, RecordStatus, import_record::Record},
        internal::{ApplyChunkRequest, ApplyOutcome, ResolveLinksRequest, SourceKey},
        records::{
            GetClientRequest, ListClientsRequest, ListContactsRequest, list_contacts_request::Of,
        },
    },
    wire::ApplyRecord,
};
use concord_testing::{TestDb, storage_tests};
use tonic::Code;

use concord_testing::e2e::{
    caller::Caller,
    chunk::{address, apply_record, client, contact, reasons, statuses},
    servers,
    texts::assert_user_facing,
};

storage_tests! {
    resent_chunk_gets_first_answer,
    second_import_skips_linked_records,
    second_product_links_to_existing_records,
    invalid_record_fails_alone,
    client_with_equal_identifier_links_despite_name,
    overlapping_address_is_refused,
    failure_texts_name_no_calls_or_bare_ids,
    equal_persons_of_one_import_stay_separate,
    missing_parent_fails_child,
    concurrent_workers_create_no_duplicates,
    concurrent_resend_of_chunk_gets_same_answer,
    apply_without_service_role_is_refused,
}

const FIRST: &str = "imp_00000000000000000000000000000001";
const SECOND: &str = "imp_00000000000000000000000000000002";

/// The imports service, acting for an import of `product`.
async fn service(server: &servers::Running, product: &str, import: &str) -> Caller {
    Caller::owner(server.channel().await, "p1", product)
        .connect()
        .await
        .with("x-concord-roles", "service")
        .with("x-concord-import", import)
}

async fn apply(caller: &Caller, records: &[ApplyRecord]) -> Vec<ApplyOutcome> {
    let request = ApplyChunkRequest { records: records.to_vec(), ..Default::default() };
    caller.ingest().apply_chunk(request).await.unwrap().into_inner().outcomes
}

async fn client_count(caller: &Caller) -> usize {
    let owner = caller.clone().with("x-concord-roles", "owner");
    let listed = owner.clients().list_clients(ListClientsRequest::default()).await.unwrap();
    listed.into_inner().clients.len()
}

async fn resent_chunk_gets_first_answer(db: TestDb) {
    let server = servers::records(db.settings()).await;
    let manager = service(&server, "manager", FIRST).await;
    let chunk = [client("C1", "ONE", "One Limited"), client("C2", "TWO", "Two Limited")];
    let first = apply(&manager, &chunk).await;
    assert_eq!(statuses(&first), [RecordStatus::Imported; 2]);
    assert_eq!(apply(&manager, &chunk).await, first);
    let parent = [("C1", first[0].record_id.as_str())];
    let contacts = [contact("P1", "Smith", &parent)];
    let contact = apply(&manager, &contacts).await;
    assert_eq!(apply(&manager, &contacts).await, contact);
    let addresses = [address("A1", "1 High Street", "", parent[0])];
    let added = apply(&manager, &addresses).await;
    assert_eq!(apply(&manager, &addresses).await, added);
    assert!(added[0].record_id.starts_with("ent_") && contact[0].record_id.starts_with("per_"));
    assert_eq!(client_count(&manager).await, 2);
    let request = GetClientRequest { client: "ref:ONE".into() };
    let owner = manager.with("x-concord-roles", "owner");
    let got = owner.clients().get_client(request).await.unwrap().into_inner().client.unwrap();
    assert_eq!((got.version, got.entries.len()), (2, 2), "a name and one address");
}

async fn second_import_skips_linked_records(db: TestDb) {
    let server = servers::records(db.settings()).await;
    let first = service(&server, "manager", FIRST).await;
    let done = apply(&first, &[client("C1", "ONE", "One Limited")]).await;
    let second = first.with("x-concord-import", SECOND);
    let again = apply(&second, &[client("C1", "ONE", "Renamed Limited")]).await;
    assert_eq!(statuses(&again), [RecordStatus::Skipped]);
    assert_eq!(again[0].record_id, done[0].record_id);
    let keys = ["C1", "C9"].map(|source_id| SourceKey {
        kind: ImportRecordKind::Client.into(),
        source_id: source_id.into(),
    });
    let request = ResolveLinksRequest { keys: keys.to_vec() };
    let links = second.ingest().resolve_links(request).await.unwrap().into_inner().links;
    assert_eq!(links.len(), 1);
    let reported = (links[0].name.as_str(), links[0].client_reference.as_str());
    assert_eq!(reported, ("One Limited", "ONE"));
    assert_eq!(links[0].import_id, FIRST);
}

async fn second_product_links_to_existing_records(db: TestDb) {
    let server = servers::records(db.settings()).await;
    let manager = service(&server, "manager", FIRST).await;
    let books = service(&server, "books", SECOND).await;
    let one = apply(&manager, &[client("C1", "ONE", "Ó Briain Limited")]).await;
    let parent = [("C1", one[0].record_id.as_str())];
    let person = apply(&manager, &[contact("P1", "Smith", &parent)]).await;
    let entry = apply(&manager, &[address("A1", "1 High Street", "2019-07-01", parent[0])]).await;

    let linked = apply(&books, &[client("B1", "one", "O BRIAIN LIMITED")]).await;
    assert_eq!(statuses(&linked), [RecordStatus::Linked]);
    assert_eq!(linked[0].record_id, one[0].record_id);
    let parent = [("B1", linked[0].record_id.as_str())];
    let same = apply(&books, &[contact("Q1", "SMITH", &parent)]).await;
    assert_eq!(
        (same[0].status(), &same[0].record_id),
        (RecordStatus::Linked, &person[0].record_id)
    );
    let same = apply(&books, &[address("D1", "1 High Street", "2019-07-01", parent[0])]).await;
    assert_eq!((same[0].status(), &same[0].record_id), (RecordStatus::Linked, &entry[0].record_id));

    let other = apply(&books, &[client("B2", "ONE", "Other Limited")]).await;
    assert_eq!(reasons(&other[0]), ["DUPLICATE_REFERENCE"]);
    assert!(other[0].violations[0].text.contains(&one[0].record_id));
    assert_eq!(client_count(&books).await, 1);
    let request = ListContactsRequest {
        of: Some(Of::Client("ref:ONE".into())),
        ..ListContactsRequest::default()
    };
    let owner = books.with("x-concord-roles", "owner");
    let contacts = owner.contacts().list_contacts(request).await.unwrap().into_inner().contacts;
    assert_eq!(contacts.len(), 1);
}

/// Sets an identifier of a client.
type Set = fn(&mut ImportClient, &str);

async fn client_with_equal_identifier_links_despite_name(db: TestDb) {
    let server = servers::records(db.settings()).await;
    let manager = service(&server, "manager", FIRST).await;
    let books = service(&server, "books", SECOND).await;
    let identifiers: [(&str, &str, Set); 4] = [
        ("CRN", "07687209", |client, value| client.company_number = value.into()),
        ("UTR", "1955839661", |client, value| client.utr = value.into()),
        ("VAT", "980780684", |client, value| client.vat_number = value.into()),
        ("PAYE", "123/AB456", |client, value| client.paye_reference = value.into()),
    ];
    let with = |reference: &str, name: &str, set: Set, value: &str| {
        let mut client = ImportClient {
            source_id: reference.into(),
            client_reference: reference.into(),
            client_type: "PRIVATE_LIMITED_COMPANY".into(),
            registered_name: name.into(),
            ..ImportClient::default()
        };
        set(&mut client, value);
        apply_record(Record::Client(client), &[])
    };
    for (reference, value, set) in identifiers {
        let first = apply(&manager, &[with(reference, "Acme Limited", set, value)]).await;
        assert_eq!(statuses(&first), [RecordStatus::Imported], "{first:?}");
        let differs = apply(&books, &[with(reference, "Bolt Limited", set, "")]).await;
        assert_eq!(reasons(&differs[0]), ["DUPLICATE_REFERENCE"], "{reference}");
        let same = apply(&books, &[with(reference, "Bolt Limited", set, value)]).await;
        let linked = (same[0].status(), &same[0].record_id);
        assert_eq!(linked, (RecordStatus::Linked, &first[0].record_id), "{reference}");
    }
}

async fn invalid_record_fails_alone(db: TestDb) {
    use RecordStatus::{Failed, Imported};

    let server = servers::records(db.settings()).await;
    let manager = service(&server, "manager", FIRST).await;
    let outcomes = apply(
        &manager,
        &[
            client("C1", "ONE", "One Limited"),
            client("C2", "", ""),
            client("C3", "one", "Three Limited"),
            client("C4", "FOUR", "Four\0Limited"),
            client("C5", "FIVE", "Five Limited"),
        ],
    )
    .await;
    assert_eq!(statuses(&outcomes), [Imported, Failed, Failed, Failed, Imported]);
    assert_eq!(reasons(&outcomes[1]), ["REQUIRED_FIELD_BLANK"; 2]);
    assert_eq!(reasons(&outcomes[2]), ["DUPLICATE_REFERENCE"]);
    assert_eq!(reasons(&outcomes[3]), ["INVALID_CHARACTER"]);
    assert_eq!(client_count(&manager).await, 2);
}

async fn overlapping_address_is_refused(db: TestDb) {
    let server = servers::records(db.settings()).await;
    let manager = service(&server, "manager", FIRST).await;
    let one = apply(&manager, &[client("C1", "ONE", "One Limited")]).await;
    let parent = ("C1", one[0].record_id.as_str());
    apply(&manager, &[address("A1", "1 High Street", "2019-07-01", parent)]).await;
    let outcomes = apply(
        &manager,
        &[
            address("A2", "2 High Street", "2020-01-01", parent),
            // Equal to A1, which is linked to this product under another source id.
            address("A3", "1 High Street", "2019-07-01", parent),
        ],
    )
    .await;
    for outcome in &outcomes {
        assert_eq!(reasons(outcome), ["PERIOD_OVERLAP"]);
        let text = "Period overlaps what is kept already: 1 High Street from 2019-07-01";
        assert_eq!(outcome.violations[0].text, text);
    }
}

async fn failure_texts_name_no_calls_or_bare_ids(db: TestDb) {
    let server = servers::records(db.settings()).await;
    let manager = service(&server, "manager", FIRST).await;
    let one = apply(&manager, &[client("C1", "One", "One Limited")]).await;
    let (id, parent) = (one[0].record_id.as_str(), ("C1", one[0].record_id.as_str()));
    let books = service(&server, "books", SECOND).await;
    let chunk = [client("B1", "ONE", "Other Limited"), client("B2", "TWO", "Two Limited")];
    let again = client("B3", "two", "Two Limited");
    let outcomes = apply(&books, &[&chunk[..], &[again]].concat()).await;
    let text = &outcomes[0].violations[0].text;
    let expected = format!(
        "Client reference ONE is already used by One Limited (One), kept by manager ({id})"
    );
    assert_eq!(text, &expected);
    let two = &outcomes[1].record_id;
    let expected =
        format!("Client reference two is already used by Two Limited (TWO), kept by books ({two})");
    assert_eq!(outcomes[2].violations[0].text, expected);
    let today = concord_core::clock::Clock::system(chrono_tz::UTC).today();
    let ahead = |days: i64| (today + chrono::TimeDelta::days(days)).to_string();
    let addresses = [
        ApplyRecord { active_to: ahead(40), ..address("A1", "1 High Street", &ahead(30), parent) },
        address("A2", "2 High Street", &ahead(400), parent),
        ApplyRecord { active_to: ahead(10), ..address("A3", "3 High Street", &ahead(5), parent) },
        address("A4", "4 High Street", &ahead(35), parent),
    ];
    let failed = apply(&manager, &addresses).await;
    let reported: Vec<_> = failed.iter().flat_map(reasons).collect();
    assert_eq!(reported, ["EFFECTIVE_DATE_TOO_FAR", "SCHEDULED_ENTRY_EXISTS", "PERIOD_OVERLAP"]);
    for outcome in outcomes.iter().chain(&failed) {
        outcome.violations.iter().for_each(|violation| assert_user_facing(&violation.text));
    }
}

async fn equal_persons_of_one_import_stay_separate(db: TestDb) {
    let server = servers::records(db.settings()).await;
    let manager = service(&server, "manager", FIRST).await;
    let one = apply(&manager, &[client("C1", "ONE", "One Limited")]).await;
    let parent = [("C1", one[0].record_id.as_str())];
    let chunk = [contact("P1", "Smith", &parent), contact("P2", "Smith", &parent)];
    let persons = apply(&manager, &chunk).await;
    assert_eq!(statuses(&persons), [RecordStatus::Imported; 2]);
    assert_ne!(persons[0].record_id, persons[1].record_id);
    let books = service(&server, "books", SECOND).await;
    let one = apply(&books, &[client("B1", "ONE", "One Limited")]).await;
    let parent = [("B1", one[0].record_id.as_str())];
    let chunk = [contact("Q1", "Smith", &parent), contact("Q2", "Smith", &parent)];
    let linked = apply(&books, &chunk).await;
    assert_eq!(statuses(&linked), [RecordStatus::Linked; 2]);
    assert_ne!(linked[0].record_id, linked[1].record_id);
}

async fn missing_parent_fails_child(db: TestDb) {
    let server = servers::records(db.settings()).await;
    let manager = service(&server, "manager", FIRST).await;
    let gone = [("C1", "cli_00000000000000000000000000000007")];
    let outcomes = apply(&manager, &[contact("P1", "Smith", &gone)]).await;
    assert_eq!(reasons(&outcomes[0]), ["PARENT_NOT_FOUND"]);
    assert_eq!(outcomes[0].violations[0].text, "Parent record was not found: C1");
    let outcomes = apply(&manager, &[address("A1", "1 High Street", "", gone[0])]).await;
    assert_eq!(reasons(&outcomes[0]), ["PARENT_NOT_FOUND"]);
}

async fn concurrent_workers_create_no_duplicates(db: TestDb) {
    let mut replicas = Vec::new();
    let mut workers = Vec::new();
    for _ in 0..servers::replicas(&db) {
        let server = servers::records(db.settings()).await;
        workers.push(service(&server, "manager", FIRST).await);
        replicas.push(server);
    }
    let chunk: Vec<_> =
        (0..300).map(|n| client(&format!("C{n}"), &format!("R{n}"), "Some Limited")).collect();
    let applied = (0..4).map(|n| {
        let (worker, chunk) = (workers[n % workers.len()].clone(), chunk.clone());
        tokio::spawn(async move { apply(&worker, &chunk).await })
    });
    let mut answers = Vec::new();
    for applied in applied.collect::<Vec<_>>() {
        answers.push(applied.await.unwrap());
    }
    assert_eq!(statuses(&answers[0]), vec![RecordStatus::Imported; 300]);
    assert!(answers.iter().all(|answer| *answer == answers[0]));
}

/// The first sender has disconnected, and the service is still applying the chunk.
async fn concurrent_resend_of_chunk_gets_same_answer(db: TestDb) {
    let server = servers::records(db.settings()).await;
    let manager = service(&server, "manager", FIRST).await;
    for round in 0..20 {
        let id = |kind: char, n: usize| format!("{kind}{round}-{n}");
        let one = |n| client(&id('C', n), &id('R', n), "One Limited");
        let clients = apply_at_once(&manager, (0..30).map(one).collect()).await;
        let parent = |n: usize| (id('C', n), clients[n].record_id.clone());
        let one = |n| {
            let (source_id, record_id) = parent(n);
            contact(&id('P', n), "Smith", &[(&source_id, &record_id)])
        };
        apply_at_once(&manager, (0..30).map(one).collect()).await;
        let one = |n| {
            let (source_id, record_id) = parent(n);
            address(&id('A', n), "1 High Street", "", (&source_id, &record_id))
        };
        apply_at_once(&manager, (0..30).map(one).collect()).await;
    }
}

/// Sends a chunk twice concurrently and asserts equal answers.
async fn apply_at_once(caller: &Caller, chunk: Vec<ApplyRecord>) -> Vec<ApplyOutcome> {
    let (one, other) = tokio::join!(apply(caller, &chunk), apply(caller, &chunk));
    assert_eq!(one, other);
    assert_eq!(statuses(&one), vec![RecordStatus::Imported; chunk.len()]);
    one
}

async fn apply_without_service_role_is_refused(db: TestDb) {
    let server = servers::records(db.settings()).await;
    let manager = service(&server, "manager", FIRST).await;
    for role in ["owner", "admin", "staff", "support", "auditor"] {
        let caller = manager.clone().with("x-concord-roles", role);
        let records = vec![client("C1", "ONE", "One Limited")];
        let request = ApplyChunkRequest { records, ..ApplyChunkRequest::default() };
        let refused = caller.ingest().apply_chunk(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{role}");
    }
    assert_eq!(client_count(&manager).await, 0);
}
