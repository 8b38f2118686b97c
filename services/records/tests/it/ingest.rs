//! `ApplyChunk`, beyond the suite of `ingest_contract`: what is stored, equal identifiers,
//! texts, and concurrent chunks.

use concord_proto::{
    pb::{
        imports::{ImportClient, RecordStatus, import_record::Record},
        internal::{ApplyChunkRequest, ApplyOutcome},
        records::{ListContactsRequest, list_contacts_request::Of},
    },
    wire::ApplyRecord,
};
use concord_testing::{TestDb, storage_tests};

use concord_testing::e2e::{
    caller::{Caller, at_once},
    chunk::{address, apply_record, client, contact, reasons, statuses},
    import_records::company,
    records::{Acme, all_clients, client as get_client},
    servers,
    texts::assert_user_facing,
};

storage_tests! {
    resent_and_linked_records_are_stored_once,
    client_with_equal_identifier_links_despite_name,
    overlapping_address_is_refused,
    failure_texts_name_no_calls_or_bare_ids,
    concurrent_workers_create_no_duplicates,
    concurrent_resend_of_chunk_gets_same_answer,
}

const FIRST: &str = "imp_00000000000000000000000000000001";
const SECOND: &str = "imp_00000000000000000000000000000002";

/// The imports service, acting for an import of `product`.
async fn service(server: &servers::Running, product: &str, import: &str) -> Caller {
    server.owner("p1", product).await.connect().await.for_import(import)
}

async fn apply(caller: &Caller, records: &[ApplyRecord]) -> Vec<ApplyOutcome> {
    let request = ApplyChunkRequest { records: records.to_vec(), ..Default::default() };
    caller.ingest().apply_chunk(request).await.unwrap().into_inner().outcomes
}

async fn resent_and_linked_records_are_stored_once(db: TestDb) {
    let server = servers::records(db.settings()).await;
    for product in ["manager", "books"] {
        let service = service(&server, product, FIRST).await;
        for _ in 0..2 {
            let one = apply(&service, &[client("C1", "ONE", "One Limited")]).await;
            let parent = ("C1", one[0].record_id.as_str());
            apply(&service, &[contact("P1", "Smith", &[parent])]).await;
            apply(&service, &[address("A1", "1 High Street", "2019-07-01", parent)]).await;
        }
        let owner = server.owner("p1", product).await;
        assert_eq!(all_clients(&owner).await.len(), 1, "{product}");
        let got = get_client(&owner, "ref:ONE").await;
        assert_eq!(got.entries.len(), 2, "a name and one address");
        assert!(got.version == 2 || product == "books", "{got:?}");
        let of = Some(Of::Client("ref:ONE".into()));
        let request = ListContactsRequest { of, ..ListContactsRequest::default() };
        let contacts = owner.contacts().list_contacts(request).await.unwrap().into_inner();
        assert_eq!(contacts.contacts.len(), 1, "{product}");
    }
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
            client_reference: reference.into(),
            registered_name: name.into(),
            ..company(reference)
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

async fn concurrent_workers_create_no_duplicates(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let (callers, running) = acme.on_replicas(&db, "manager").await;
    let chunk: Vec<_> =
        (0..300).map(|n| client(&format!("C{n}"), &format!("R{n}"), "Some Limited")).collect();
    let answers = at_once(&callers, 4, |caller, _| {
        let (worker, chunk) = (caller.for_import(FIRST), chunk.clone());
        async move { apply(&worker, &chunk).await }
    })
    .await;
    assert_eq!(statuses(&answers[0]), vec![RecordStatus::Imported; 300]);
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    servers::stop_all(running).await;
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
