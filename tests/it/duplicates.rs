//! Possible duplicates: detected, counted, listed, and never merged.

use concord_proto::{
    pb::{
        imports::{
            CreateImportRequest, Import, ImportClient, ImportRecordKind, ImportState,
            ListPossibleDuplicatesRequest, PossibleDuplicate,
        },
        internal::{ApplyChunkRequest, ApplyOutcome},
        records::{ClientIdentifiers, CreateClientRequest, NewPerson, correct_entry_request},
    },
    wire::ApplyRecord,
};
use concord_testing::{TestDb, storage_tests};
use tonic::Code;

use concord_testing::e2e::{
    caller::Caller,
    import_records::{client, contact},
    pair::Pair,
    records::{
        assert_refused, company, correction, create as create_client, new_person, person_name,
        person_request,
    },
    servers,
};

storage_tests! {
    possible_duplicates_are_listed_and_not_merged,
    dry_run_lists_same_duplicates,
    dry_run_with_one_record_chunks_lists_same_duplicates,
    resent_chunk_reports_same_duplicates,
    retry_keeps_each_duplicate_once,
    cancelled_dry_run_lists_no_duplicates,
    duplicates_are_paginated_and_isolated_by_practice,
    renamed_person_matches_by_new_name,
}

const UTR: &str = "1955839661";
const VAT: &str = "GB980780684";
const COMPANY: &str = "07687209";

/// Ann O'Brien as a client with this birth date.
fn individual(source_id: &str, birth_date: &str) -> Vec<u8> {
    client(source_id, |client| {
        client.client_type = "INDIVIDUAL".into();
        client.registered_name.clear();
        client.forename = "Ann".into();
        client.surname = "O'Brien".into();
        client.birth_date = birth_date.into();
    })
}

/// Ann Ó Brien as a director of a client.
fn director(source_id: &str, client: &str, birth_date: &str) -> Vec<u8> {
    contact(source_id, &[client], |contact| {
        contact.title = "Dr".into();
        contact.forename = "ANN".into();
        contact.surname = "Ó’Brien".into();
        contact.birth_date = birth_date.into();
    })
}

/// Clients and contacts that are possible duplicates of each other.
fn duplicate_records() -> Vec<Vec<u8>> {
    vec![
        client("C1", |client| client.vat_number = VAT.into()),
        client("C2", |client| {
            client.vat_number = "GB 980 7806 84".into();
            client.company_number = COMPANY.into();
        }),
        client("C3", |client| client.utr = UTR.into()),
        client("C4", |client| client.company_number = "7687209".into()),
        individual("C5", "1975-05-05"),
        director("P1", "C1", "1975-05-05"),
        director("P2", "C2", "1975-05-05"),
        director("P3", "C2", "1980-02-29"),
        director("P4", "C3", ""),
        director("P5", "C3", ""),
    ]
}

/// The possible duplicates of [`duplicate_records`] when the practice has a client with
/// the UTR: source id, matching field, source id of the other record.
const EXPECTED: [(&str, &str, &str); 5] = [
    ("C2", "vat_number", "C1"),
    ("C3", "utr", "saved"),
    ("C4", "company_number", "C2"),
    ("P1", "name and birth_date", "C5"),
    ("P2", "name and birth_date", "C5"),
];

/// Saves a client with the UTR.
async fn save(caller: &Caller) -> String {
    let request = CreateClientRequest {
        external_id: "saved".into(),
        identifiers: Some(ClientIdentifiers { utr: UTR.into(), ..ClientIdentifiers::default() }),
        ..company("OLD", "Saved Before Limited")
    };
    create_client(caller, request).await.id
}

fn dry() -> CreateImportRequest {
    CreateImportRequest { validate_only: true, ..CreateImportRequest::default() }
}

async fn list(pair: &Pair, id: &str) -> Vec<PossibleDuplicate> {
    let request = ListPossibleDuplicatesRequest { import_id: id.into(), ..Default::default() };
    let listed = pair.caller.imports().list_possible_duplicates(request).await.unwrap();
    listed.into_inner().possible_duplicates
}

/// Source id, matching field, source id of the other record.
fn lines(duplicates: &[PossibleDuplicate]) -> Vec<(&str, &str, &str)> {
    duplicates.iter().map(line).collect()
}

fn line(duplicate: &PossibleDuplicate) -> (&str, &str, &str) {
    let PossibleDuplicate { source_id, field, other_source_id, .. } = duplicate;
    (source_id, field, other_source_id)
}

fn counts(import: &Import) -> (i64, i64) {
    (import.counters.unwrap().imported, import.possible_duplicates)
}

async fn possible_duplicates_are_listed_and_not_merged(db: TestDb) {
    let pair = Pair::start(&db).await;
    let saved = save(&pair.manager).await;
    let ended = pair.import(CreateImportRequest::default(), &duplicate_records()).await;
    assert_eq!((ended.state(), counts(&ended)), (ImportState::Completed, (10, 5)));
    assert_eq!(pair.client_count().await, 6, "nothing was merged");
    let listed = list(&pair, &ended.id).await;
    assert_eq!(lines(&listed), EXPECTED);
    let utr = &listed[1];
    assert_eq!(
        (utr.kind(), utr.other_kind()),
        (ImportRecordKind::Client, ImportRecordKind::Client)
    );
    assert!(utr.record_id.starts_with("cli_") && utr.record_id != saved);
    assert_eq!((&utr.record_name, &utr.client_reference), (&"C3 Limited".into(), &"REF-C3".into()));
    assert_eq!((&utr.other_record_id, utr.other_name.as_str()), (&saved, "Saved Before Limited"));
    assert_eq!((utr.other_client_reference.as_str(), utr.batch_key.as_str()), ("OLD", "one"));
    assert_eq!(utr.row, 3);
    let person = &listed[4];
    assert_eq!(
        (person.kind(), person.other_kind()),
        (ImportRecordKind::Contact, ImportRecordKind::Client)
    );
    assert!(person.record_id.starts_with("per_") && person.other_record_id.starts_with("cli_"));
    assert_eq!(
        (person.record_name.as_str(), person.client_reference.as_str()),
        ("Dr ANN Ó’Brien", "REF-C2")
    );
    assert_eq!(
        (person.other_name.as_str(), person.other_client_reference.as_str()),
        ("Ann O'Brien", "REF-C5")
    );
    // Records of another product match clients of the practice, and its person a person.
    let books = pair.of_books().await;
    let other = |client: &mut ImportClient| {
        client.client_reference = "OTHER".into();
        client.utr = UTR.into();
        client.vat_number = VAT.into();
    };
    let records = [client("B1", other), director("Q1", "B1", "1980-02-29")];
    let ended = books.import(CreateImportRequest::default(), &records).await;
    assert_eq!(counts(&ended), (2, 2), "counts records, not matching fields");
    let listed = list(&books, &ended.id).await;
    let expected = [("B1", "utr", ""), ("B1", "vat_number", ""), ("Q1", "name and birth_date", "")];
    assert_eq!(lines(&listed), expected);
    assert_eq!(listed[0].other_record_id, saved);
    assert_eq!(listed[1].other_name, "C1 Limited");
    assert!(listed[2].other_record_id.starts_with("per_"));
    assert_eq!(listed[2].other_client_reference, "REF-C2");
}

async fn dry_run_lists_same_duplicates(db: TestDb) {
    dry_run_in_chunks(&db, 1_000).await;
}

/// The records service gets one record at a time and does not see earlier ones.
async fn dry_run_with_one_record_chunks_lists_same_duplicates(db: TestDb) {
    dry_run_in_chunks(&db, 1).await;
}

async fn dry_run_in_chunks(db: &TestDb, records: u64) {
    let pair = Pair::start_with(db, |config| config.worker.chunk_records = records).await;
    let saved = save(&pair.manager).await;
    let checked = pair.import(dry(), &duplicate_records()).await;
    assert_eq!((checked.state(), counts(&checked)), (ImportState::Validated, (10, 5)));
    let listed = list(&pair, &checked.id).await;
    assert_eq!(lines(&listed), EXPECTED);
    assert!(listed.iter().all(|one| one.record_id.is_empty()), "a dry run assigns no id");
    let others: Vec<&str> = listed.iter().map(|one| one.other_record_id.as_str()).collect();
    assert_eq!(others, ["", saved.as_str(), "", "", ""]);
    assert_eq!(pair.client_count().await, 1);
    pair.commit(&checked.id).await.unwrap();
    let applied = pair.end(&checked.id).await;
    assert_eq!((applied.state(), counts(&applied)), (ImportState::Completed, (10, 5)));
    let listed = list(&pair, &checked.id).await;
    assert_eq!(lines(&listed), EXPECTED);
    assert!(listed.iter().all(|one| !one.other_record_id.is_empty()));
}

async fn resent_chunk_reports_same_duplicates(db: TestDb) {
    let server = servers::records(db.settings()).await;
    let owner = server.owner("p1", "manager").await.connect().await;
    save(&owner).await;
    let service = owner.for_import("imp_00000000000000000000000000000001");
    let apply = async |records: &[Vec<u8>], validate_only: bool| {
        let record = |record: &Vec<u8>| ApplyRecord {
            record: record.clone().into(),
            ..ApplyRecord::default()
        };
        let records = records.iter().map(record).collect();
        let request = ApplyChunkRequest { records, validate_only, ..Default::default() };
        service.ingest().apply_chunk(request).await.unwrap().into_inner().outcomes
    };
    let chunk = duplicate_records()[..5].to_vec();
    let duplicate_counts = |outcomes: &[ApplyOutcome]| -> Vec<usize> {
        outcomes.iter().map(|outcome| outcome.possible_duplicates.len()).collect()
    };
    assert_eq!(
        duplicate_counts(&apply(&chunk, true).await),
        [0, 0, 1, 0, 0],
        "existing records only"
    );
    let first = apply(&chunk, false).await;
    assert_eq!(duplicate_counts(&first), [0, 1, 1, 1, 0]);
    assert_eq!(first[3].possible_duplicates[0].record_id, first[1].record_id);
    // Later records do not change the outcomes of earlier ones.
    let second =
        [client("C6", |client| client.vat_number = VAT.into()), individual("C7", "1975-05-05")];
    let later = apply(&second, false).await;
    assert_eq!(duplicate_counts(&later), [1, 1]);
    assert_eq!(later[1].possible_duplicates[0].record_id, first[4].record_id);
    assert_eq!(apply(&chunk, false).await, first);
    assert_eq!(apply(&second, false).await, later);
}

async fn retry_keeps_each_duplicate_once(db: TestDb) {
    let pair = Pair::start(&db).await;
    save(&pair.manager).await;
    let mut records = duplicate_records();
    records[2] = client("C3", |client| {
        client.utr = UTR.into();
        client.registered_name.clear();
    });
    let first = pair.import(CreateImportRequest::default(), &records).await;
    assert_eq!((first.state(), counts(&first)), (ImportState::CompletedWithFailures, (7, 4)));
    let others = [EXPECTED[0], EXPECTED[2], EXPECTED[3], EXPECTED[4]];
    assert_eq!(lines(&list(&pair, &first.id).await), others);
    pair.retry(&first.id, false).await.unwrap();
    let second = pair.end(&first.id).await;
    assert_eq!(counts(&second), (7, 4));
    assert_eq!(lines(&list(&pair, &first.id).await), others);
    pair.retry(&first.id, true).await.unwrap();
    pair.upload(&first.id, "corrected", &[duplicate_records()[2].clone()]).await;
    pair.seal(&first.id, 1, 1).await;
    let third = pair.end(&first.id).await;
    assert_eq!((third.state(), counts(&third)), (ImportState::Completed, (10, 5)));
    let listed = list(&pair, &first.id).await;
    assert_eq!(lines(&listed), EXPECTED);
    assert_eq!((listed[1].batch_key.as_str(), listed[1].row), ("corrected", 1));
}

async fn cancelled_dry_run_lists_no_duplicates(db: TestDb) {
    let pair = Pair::start(&db).await;
    let checked = pair.import(dry(), &duplicate_records()).await;
    assert_eq!(counts(&checked), (10, 4), "no client has the UTR");
    pair.cancel(&checked.id).await.unwrap();
    let cancelled = pair.end(&checked.id).await;
    assert_eq!((cancelled.state(), counts(&cancelled)), (ImportState::Cancelled, (0, 0)));
    assert!(list(&pair, &checked.id).await.is_empty());
    pair.retry(&checked.id, false).await.unwrap();
    assert_eq!(counts(&pair.end(&checked.id).await), (10, 4));
    assert_eq!(list(&pair, &checked.id).await.len(), 4);
}

async fn duplicates_are_paginated_and_isolated_by_practice(db: TestDb) {
    let pair = Pair::start(&db).await;
    save(&pair.manager).await;
    let import_id = pair.import(CreateImportRequest::default(), &duplicate_records()).await.id;
    let all = ListPossibleDuplicatesRequest { import_id, page_size: 2, ..Default::default() };
    let ask = async |caller: &Caller, request: &ListPossibleDuplicatesRequest| {
        let listed = caller.imports().list_possible_duplicates(request.clone()).await;
        listed.map(tonic::Response::into_inner)
    };
    let (mut request, mut listed) = (all.clone(), Vec::new());
    loop {
        let page = ask(&pair.caller, &request).await.unwrap();
        assert!(page.possible_duplicates.len() <= 2);
        listed.extend(page.possible_duplicates);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(lines(&listed), EXPECTED);
    let of = |kind: ImportRecordKind| ListPossibleDuplicatesRequest {
        kind: kind.into(),
        page_size: 3,
        ..all.clone()
    };
    let clients = ask(&pair.caller, &of(ImportRecordKind::Client)).await.unwrap();
    assert_eq!(lines(&clients.possible_duplicates), EXPECTED[..3]);
    let token = clients.next_page_token;
    let next = ListPossibleDuplicatesRequest { page_token: token, ..of(ImportRecordKind::Client) };
    assert!(ask(&pair.caller, &next).await.unwrap().possible_duplicates.is_empty());
    let elsewhere = ListPossibleDuplicatesRequest { kind: 0, ..next };
    assert_refused(
        ask(&pair.caller, &elsewhere).await,
        Code::InvalidArgument,
        "PAGE_TOKEN_INVALID",
    );
    let contacts = ask(&pair.caller, &of(ImportRecordKind::Contact)).await.unwrap();
    assert_eq!(lines(&contacts.possible_duplicates), EXPECTED[3..]);
    let refused = ask(&pair.caller, &of(ImportRecordKind::Address)).await;
    assert_refused(refused, Code::InvalidArgument, "UNKNOWN_VALUE");
    let staff = pair.caller.clone().with("x-concord-roles", "staff");
    assert_eq!(ask(&staff, &all).await.unwrap().possible_duplicates.len(), 2);
    drop(pair.manager.clone().with("x-concord-practice", "p2").connect().await);
    let other = pair.caller.clone().with("x-concord-practice", "p2");
    assert_refused(ask(&other, &all).await, Code::NotFound, "NOT_FOUND");
}

async fn renamed_person_matches_by_new_name(db: TestDb) {
    let server = servers::records(db.settings()).await;
    let manager = server.owner("p1", "manager").await.connect().await;
    let create = async |surname: &str| {
        let ann = NewPerson { birth_date: "1975-05-05".into(), ..new_person("Ann", surname) };
        manager.persons().create_person(person_request(ann)).await.unwrap().into_inner()
    };
    let ann = create("Smith").await.person.unwrap();
    let smith_duplicates = create("SMITH").await.possible_duplicates;
    assert_eq!((smith_duplicates.len(), &smith_duplicates[0].record_id), (1, &ann.id));
    assert_eq!(smith_duplicates[0].field, "name and birth_date");
    let mut married = correction(&ann.entries[0], &["value"]);
    married.value = Some(correct_entry_request::Value::PersonName(person_name("Ann", "O'Brien")));
    manager.history().correct_entry(married).await.unwrap();
    let brien_duplicates = create("Ó Brien").await.possible_duplicates;
    assert!(brien_duplicates.is_empty(), "two words are a different name");
    let brien_duplicates = create("OBrien").await.possible_duplicates;
    assert_eq!((brien_duplicates.len(), &brien_duplicates[0].record_id), (1, &ann.id));
    assert_eq!(create("Smith").await.possible_duplicates.len(), 1, "the second one");
}
