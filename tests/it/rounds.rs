//! Rounds of imports after the first: retries, replacements, dry runs, cancellation and
//! expiry.

use std::{collections::BTreeMap, time::Duration};

use chrono::TimeDelta;
use concord_core::clock::Clock;
use concord_proto::pb::{
    imports::{
        CancelImportRequest, CreateImportRequest, ExpectedContent, Failure, GetBatchRequest,
        Import, ImportCounters, ImportState, ListImportsRequest, ListPossibleDuplicatesRequest,
        RecordStatus,
    },
    records::{CreateClientRequest, ListContactsRequest, Timeline, list_contacts_request::Of},
};
use concord_testing::{TestDb, storage_tests};
use tonic::Code;

use concord_testing::e2e::{
    import_records::{self, address},
    pair::Pair,
    records::{
        assert_refused, client as get_client, company, create as create_client, entries,
        line as entry_line, violations,
    },
    sample::{self, COUNTS, VIOLATIONS},
    servers::{self, Running},
};

storage_tests! {
    retry_skips_saved_records_and_imports_children,
    replacement_record_supersedes_failed_record,
    retry_without_change_ends_as_before,
    repeated_calls_are_idempotent,
    retry_with_wrong_round_is_refused,
    second_product_links_existing_and_imports_new,
    dry_run_reports_same_results_and_writes_nothing,
    cancelled_import_can_be_retried,
    declared_import_seals_automatically,
    declared_import_with_other_counts_has_status_message,
    imports_are_listed_newest_first,
    unsealed_import_expires,
    uploaded_data_is_purged_after_a_month,
    calls_in_wrong_state_or_role_are_refused,
}

/// A client. It fails without a name.
fn client(source_id: &str, name: &str) -> Vec<u8> {
    import_records::client(source_id, |client| client.registered_name = name.into())
}

fn contact(source_id: &str, client: &str) -> Vec<u8> {
    import_records::contact(source_id, &[client], |contact| contact.forename = "Grace".into())
}

/// A contact that is a possible duplicate of every other such contact.
fn duplicate_contact(source_id: &str, client: &str) -> Vec<u8> {
    import_records::contact(source_id, &[client], |contact| {
        contact.surname = "Twin".into();
        contact.birth_date = "1980-02-29".into();
    })
}

/// The residential address of a contact.
fn home(source_id: &str, contact: &str) -> Vec<u8> {
    address(source_id, ("CONTACT", contact), |_| ())
}

/// The trading address of a client.
fn office(source_id: &str, client: &str, line_1: &str) -> Vec<u8> {
    address(source_id, ("CLIENT", client), |address| address.line_1 = line_1.into())
}

/// A valid client, and an invalid one with a contact and its residential address.
fn three_levels() -> Vec<Vec<u8>> {
    vec![client("C1", "Acme Limited"), home("A2", "P2"), contact("P2", "C2"), client("C2", "")]
}

fn dry() -> CreateImportRequest {
    CreateImportRequest { validate_only: true, ..CreateImportRequest::default() }
}

fn counters(import: &Import) -> ImportCounters {
    import.counters.unwrap()
}

/// Source id, status, reason and root cause of each failure.
fn lines(failures: &[Failure]) -> Vec<(&str, RecordStatus, &str, &str)> {
    failures.iter().map(line).collect()
}

fn line(failure: &Failure) -> (&str, RecordStatus, &str, &str) {
    let Failure { source_id, reason, root_cause, .. } = failure;
    (source_id, failure.status(), reason, root_cause)
}

const ROOT: &str = "client C2: Required field is blank: Registered name";

async fn retry_skips_saved_records_and_imports_children(db: TestDb) {
    let pair = Pair::start(&db).await;
    let records = [three_levels(), vec![office("A1", "C2", "2 Quay Street")]].concat();
    let first = pair.import(CreateImportRequest::default(), &records).await;
    assert_eq!((first.state(), first.round), (ImportState::CompletedWithFailures, 1));
    let failures = pair.failures(&first.id).await;
    let expected = [
        ("C2", RecordStatus::Failed, "REQUIRED_FIELD_BLANK", ""),
        ("P2", RecordStatus::Blocked, "PARENT_FAILED", ROOT),
        ("A1", RecordStatus::Blocked, "PARENT_FAILED", ROOT),
        ("A2", RecordStatus::Blocked, "PARENT_FAILED", ROOT),
    ];
    assert_eq!(lines(&failures), expected);
    // The user corrects the client in the product, and the product saves it.
    let saved =
        CreateClientRequest { external_id: "C2".into(), ..company("REF-C2", "Beta Limited") };
    let saved = create_client(&pair.manager, saved).await;
    pair.retry(&first.id, false).await.unwrap();
    let second = pair.end(&first.id).await;
    assert_eq!((second.state(), second.round), (ImportState::Completed, 2));
    let expected = ImportCounters { received: 5, imported: 4, skipped: 1, ..Default::default() };
    assert_eq!(counters(&second), expected);
    assert!(pair.failures(&first.id).await.is_empty());
    let offices = entries(&pair.manager, &saved.id, Timeline::Address).await;
    assert_eq!(offices.len(), 1, "the address of the client");
    let of = Some(Of::Client(saved.id));
    let contacts = ListContactsRequest { of, ..ListContactsRequest::default() };
    let contacts = pair.manager.contacts().list_contacts(contacts).await.unwrap().into_inner();
    let person = contacts.contacts[0].person.clone().unwrap();
    assert_eq!(person.name.unwrap().surname, "P2");
    assert_eq!(person.entries.len(), 2, "a name and a home");
}

async fn replacement_record_supersedes_failed_record(db: TestDb) {
    let pair = Pair::start(&db).await;
    let first = pair.import(CreateImportRequest::default(), &three_levels()).await;
    let opened = pair.retry(&first.id, true).await.unwrap();
    assert_eq!((opened.state(), opened.round), (ImportState::Receiving, 2));
    let replacements = [
        client("C2", "Beta Limited"),
        client("C1", "Changed Limited"),
        client("C9", "New Limited"),
        client("", "No Id Limited"),
    ];
    pair.upload(&first.id, "corrected", &replacements).await;
    pair.seal(&first.id, 1, replacements.len()).await;
    let second = pair.end(&first.id).await;
    assert_eq!(second.state(), ImportState::Completed);
    let expected = ImportCounters { received: 7, imported: 4, skipped: 3, ..Default::default() };
    assert_eq!(counters(&second), expected);
    let failures = pair.failures(&first.id).await;
    let reported: BTreeMap<&str, &str> = failures
        .iter()
        .map(|failure| (failure.source_id.as_str(), failure.reason.as_str()))
        .collect();
    let expected = [("", "NOT_IN_IMPORT"), ("C1", "NOT_FAILED"), ("C9", "NOT_IN_IMPORT")];
    assert_eq!(reported, BTreeMap::from(expected));
    assert_eq!(get_client(&pair.manager, "ref:REF-C1").await.registered_name, "Acme Limited");
    assert_eq!(get_client(&pair.manager, "ref:REF-C2").await.registered_name, "Beta Limited");
    assert_eq!(pair.client_count().await, 2);
}

async fn retry_without_change_ends_as_before(db: TestDb) {
    let pair = Pair::start(&db).await;
    let first = pair.import(CreateImportRequest::default(), &sample::records()).await;
    let before = pair.failures(&first.id).await;
    pair.retry(&first.id, false).await.unwrap();
    let second = pair.end(&first.id).await;
    assert_eq!(counters(&second), counters(&first));
    let plain = |failures: Vec<Failure>| -> Vec<Failure> {
        failures.into_iter().map(|failure| Failure { round: 0, ..failure }).collect()
    };
    assert_eq!(plain(pair.failures(&first.id).await), plain(before));
    assert_eq!(second.round, 2);
}

async fn repeated_calls_are_idempotent(db: TestDb) {
    let pair = Pair::start(&db).await;
    let first = pair.import(CreateImportRequest::default(), &three_levels()).await;
    assert_eq!(pair.try_seal(&first.id, 1, 4).await.unwrap().state(), first.state());
    // A retry: while the round receives batches, while it runs, and after its end.
    pair.begin_round(&first.id, true, 2).await.unwrap();
    let again = pair.begin_round(&first.id, true, 2).await.unwrap();
    assert_eq!((again.state(), again.round), (ImportState::Receiving, 2));
    pair.upload(&first.id, "corrected", &[client("C9", "Unknown Limited")]).await;
    pair.seal(&first.id, 1, 1).await;
    pair.begin_round(&first.id, true, 2).await.unwrap();
    let second = pair.end(&first.id).await;
    let again = pair.begin_round(&first.id, true, 2).await.unwrap();
    assert_eq!((again.state(), again.round), (second.state(), 2));
    assert_eq!(counters(&again), counters(&second));
    assert_eq!(pair.try_seal(&first.id, 1, 1).await.unwrap().state(), second.state());
    // A cancelled retry: the import is as before, also for a repeated call.
    pair.begin_round(&first.id, true, 3).await.unwrap();
    for _ in 0..2 {
        let closed = pair.cancel(&first.id).await.unwrap();
        assert_eq!((closed.state(), closed.round), (second.state(), 2));
    }
    // The round is started again. The earlier cancel call does not cancel it.
    pair.begin_round(&first.id, false, 3).await.unwrap();
    let third = pair.end(&first.id).await;
    assert_eq!((third.state(), third.round), (ImportState::CompletedWithFailures, 3));
    let late = pair.cancel(&first.id).await;
    assert_refused(late, Code::FailedPrecondition, "IMPORT_STATE");
    // A seal after the import has ended.
    let id = pair.create(CreateImportRequest::default()).await;
    pair.upload(&id, "one", &three_levels()).await;
    pair.cancel(&id).await.unwrap();
    let refused = pair.try_seal(&id, 1, 4).await;
    assert_refused(refused, Code::FailedPrecondition, "IMPORT_STATE");
}

async fn retry_with_wrong_round_is_refused(db: TestDb) {
    let pair = Pair::start(&db).await;
    let first = pair.import(CreateImportRequest::default(), &three_levels()).await;
    let refused = pair.begin_round(&first.id, false, 4).await.unwrap_err();
    assert_eq!(refused.message(), "the import is in round 1: the next one is 2, and not 4");
    assert_refused::<Import>(Err(refused), Code::FailedPrecondition, "IMPORT_STATE");
    for round in [1, -1] {
        let refused = pair.begin_round(&first.id, false, round).await.unwrap_err();
        assert!(violations(&refused).iter().any(|(field, _)| field == "round"), "{refused:?}");
    }
    assert_eq!(pair.get(&first.id).await.round, 1);
    // An import without failures cannot be retried with any round.
    let good = pair.import(CreateImportRequest::default(), &[client("C3", "Three")]).await;
    let refused = pair.begin_round(&good.id, false, 2).await;
    assert_refused(refused, Code::FailedPrecondition, "IMPORT_STATE");
}

async fn second_product_links_existing_and_imports_new(db: TestDb) {
    let pair = Pair::start(&db).await;
    let both = [client("C1", "Acme Limited"), contact("P1", "C1"), home("H1", "P1")];
    let own = [&both[..], &[office("A1", "C1", "1 High Street")]].concat();
    pair.import(CreateImportRequest::default(), &own).await;
    let acme = get_client(&pair.manager, "ref:REF-C1").await;
    let books = pair.of_books().await;
    // The same client, contact and residential address; an address that overlaps an
    // existing one, and one that does not; and a new client with a contact.
    let other = address("A3", ("CLIENT", "C1"), |address| {
        address.r#type = "POSTAL".into();
        address.line_1 = "PO Box 7".into();
    });
    let more = [
        office("A2", "C1", "99 Other Street"),
        other,
        client("C2", "Beta Limited"),
        contact("P2", "C2"),
    ];
    let ended = books.import(CreateImportRequest::default(), &[&both[..], &more].concat()).await;
    let expected =
        ImportCounters { received: 7, linked: 3, imported: 3, failed: 1, ..Default::default() };
    let failures = books.failures(&ended.id).await;
    assert_eq!(counters(&ended), expected, "{failures:#?}");
    assert_eq!(lines(&failures), [("A2", RecordStatus::Failed, "PERIOD_OVERLAP", "")]);
    assert_eq!(books.client_count().await, 2);
    let now = get_client(&books.manager, &acme.id).await;
    assert_eq!(now.registered_name, acme.registered_name);
    let addresses = entries(&books.manager, &acme.id, Timeline::Address).await;
    let mut addresses: Vec<_> = addresses.iter().map(entry_line).collect();
    addresses.sort();
    assert_eq!(addresses, ["1 High Street .. current", "PO Box 7 .. current"]);
}

async fn dry_run_reports_same_results_and_writes_nothing(db: TestDb) {
    let pair = Pair::start(&db).await;
    let checked = pair.import(dry(), &sample::records()).await;
    assert_eq!((checked.state(), checked.validate_only), (ImportState::Validated, true));
    assert_eq!(pair.client_count().await, 0, "nothing was written");
    let reported = |failures: &[Failure]| -> Vec<(String, String)> {
        failures.iter().map(|f| (f.source_id.clone(), f.reason.clone())).collect()
    };
    let expected: Vec<(String, String)> =
        VIOLATIONS.iter().map(|(_, id, reason)| ((*id).to_owned(), (*reason).to_owned())).collect();
    assert_eq!(reported(&pair.failures(&checked.id).await), expected);
    pair.commit(&checked.id).await.unwrap();
    let applied = pair.end(&checked.id).await;
    assert_eq!(applied.state(), ImportState::CompletedWithFailures);
    assert_eq!(counters(&applied), counters(&checked));
    assert_eq!(counters(&applied).imported, COUNTS[1]);
    assert_eq!(reported(&pair.failures(&checked.id).await), expected);
    assert_eq!(pair.commit(&checked.id).await.unwrap().state(), applied.state(), "again");
    // A dry run of a second product finds the existing records.
    let books = pair.of_books().await;
    let linked = books.import(dry(), &sample::records()).await;
    assert_eq!((counters(&linked).linked, counters(&linked).imported), (COUNTS[1], 0));
}

async fn cancelled_import_can_be_retried(db: TestDb) {
    let pair = Pair::start(&db).await;
    // Before the seal: the import cannot be retried.
    let id = pair.create(CreateImportRequest::default()).await;
    pair.upload(&id, "one", &three_levels()).await;
    let cancelled = pair.cancel(&id).await.unwrap();
    assert_eq!(cancelled.state(), ImportState::Cancelled);
    assert_eq!(counters(&cancelled).unprocessed, 4);
    assert_eq!(pair.cancel(&id).await.unwrap().state(), ImportState::Cancelled, "again");
    assert_refused(pair.retry(&id, false).await, Code::FailedPrecondition, "IMPORT_STATE");
    // A dry run.
    let checked = pair.import(dry(), &three_levels()).await;
    pair.cancel(&checked.id).await.unwrap();
    let cancelled = pair.end(&checked.id).await;
    assert_eq!(cancelled.state(), ImportState::Cancelled);
    assert_eq!((counters(&cancelled).imported, counters(&cancelled).unprocessed), (0, 1));
    assert_eq!(pair.client_count().await, 0);
    pair.retry(&checked.id, false).await.unwrap();
    let checked = pair.end(&checked.id).await;
    assert_eq!((checked.state(), counters(&checked).imported), (ImportState::Validated, 1));
    // While it runs.
    let id = pair.create(CreateImportRequest::default()).await;
    let records = sample::records();
    pair.upload(&id, "one", &records).await;
    pair.seal(&id, 1, records.len()).await;
    pair.cancel(&id).await.unwrap();
    let cancelled = pair.end(&id).await;
    assert_eq!(cancelled.state(), ImportState::Cancelled);
    let ImportCounters {
        received, imported, linked, skipped, excluded, failed, unprocessed, ..
    } = counters(&cancelled);
    assert_eq!(imported + linked + skipped + excluded + failed + unprocessed, received);
    assert!(unprocessed > 0, "it stopped before the end");
    pair.retry(&id, false).await.unwrap();
    let whole = pair.end(&id).await;
    assert_eq!(whole.state(), ImportState::CompletedWithFailures);
    assert_eq!(counters(&whole).imported, COUNTS[1]);
    // A round that receives replacements: the import is as before.
    pair.retry(&id, true).await.unwrap();
    pair.upload(&id, "corrected", &three_levels()).await;
    let closed = pair.cancel(&id).await.unwrap();
    assert_eq!((closed.state(), closed.round), (ImportState::CompletedWithFailures, 2));
    assert_eq!(counters(&closed), counters(&whole));
}

async fn declared_import_seals_automatically(db: TestDb) {
    let pair = Pair::start(&db).await;
    let expected = ExpectedContent {
        batch_keys: vec!["a".into(), "b".into()],
        record_count: 4,
        ..ExpectedContent::default()
    };
    let id = pair
        .create(CreateImportRequest { expected: Some(expected), ..CreateImportRequest::default() })
        .await;
    let records = three_levels();
    pair.upload(&id, "a", &records[..1]).await;
    let get = |key: &str| GetBatchRequest { import_id: id.clone(), batch_key: key.into() };
    let receipt = pair.caller.imports().get_batch(get("a")).await.unwrap().into_inner().receipt;
    assert_eq!(receipt.unwrap().counts.unwrap().clients, 1);
    let refused = pair.caller.imports().get_batch(get("b")).await;
    assert_refused(refused, Code::NotFound, "NOT_FOUND");
    assert_eq!(pair.get(&id).await.state(), ImportState::Receiving);
    let refused = pair.try_upload(&id, "c", &records[1..]).await.unwrap_err();
    assert!(refused.message().starts_with("batch c is none of those that were declared"));
    assert_refused::<()>(Err(refused), Code::FailedPrecondition, "BATCH_NOT_DECLARED");
    assert_eq!(pair.get(&id).await.batch_count, 1, "nothing is staged");
    pair.upload(&id, "b", &records[1..]).await;
    let ended = pair.end(&id).await;
    assert_eq!(ended.state(), ImportState::CompletedWithFailures);
    assert_eq!(counters(&ended).received, 4);
}

async fn declared_import_with_other_counts_has_status_message(db: TestDb) {
    let pair = Pair::start(&db).await;
    let expected = ExpectedContent { batch_count: 1, record_count: 9, ..Default::default() };
    let create = CreateImportRequest { expected: Some(expected), ..Default::default() };
    let id = pair.create(create).await;
    pair.upload(&id, "a", &three_levels()).await;
    let import = pair.get(&id).await;
    assert_eq!(import.state(), ImportState::Receiving);
    let status_message =
        "4 records have arrived, and 9 were declared: seal the import as it is, or cancel it";
    assert_eq!(import.status_message, status_message);
    let refused = pair.try_upload(&id, "b", &three_levels()).await.unwrap_err();
    assert_refused::<()>(Err(refused), Code::FailedPrecondition, "BATCH_NOT_DECLARED");
    // A repeated batch does not count as a new one.
    pair.upload(&id, "a", &three_levels()).await;
    pair.seal(&id, 1, 4).await;
    assert_eq!(pair.end(&id).await.status_message, "");
}

async fn imports_are_listed_newest_first(db: TestDb) {
    let pair = Pair::start(&db).await;
    let failed = pair.import(CreateImportRequest::default(), &three_levels()).await;
    let open = pair.create(CreateImportRequest::default()).await;
    let list = async |request: ListImportsRequest| {
        let listed = pair.caller.imports().list_imports(request).await.unwrap().into_inner();
        let ids: Vec<String> = listed.imports.into_iter().map(|import| import.id).collect();
        (ids, listed.next_page_token)
    };
    let all = ListImportsRequest::default;
    assert_eq!(list(all()).await.0, [open.clone(), failed.id.clone()]);
    let banner = ListImportsRequest { with_failures: true, ..all() };
    assert_eq!(list(banner).await.0, vec![failed.id.clone()]);
    let receiving = ListImportsRequest { states: vec![ImportState::Receiving.into()], ..all() };
    assert_eq!(list(receiving).await.0, vec![open.clone()]);
    let others = ListImportsRequest { product: "books".into(), ..all() };
    assert!(list(others).await.0.is_empty());
    let (page, token) = list(ListImportsRequest { page_size: 1, ..all() }).await;
    assert_eq!(page, [open]);
    let next = ListImportsRequest { page_size: 1, page_token: token, ..all() };
    assert_eq!(list(next).await, (vec![failed.id], String::new()));
    let elsewhere = pair.caller.clone().with("x-concord-practice", "p2");
    pair.manager.clone().with("x-concord-practice", "p2").connect().await;
    let listed = elsewhere.imports().list_imports(all()).await.unwrap().into_inner();
    assert!(listed.imports.is_empty());
}

async fn duplicate_count(pair: &Pair, id: &str) -> usize {
    let request = ListPossibleDuplicatesRequest { import_id: id.into(), ..Default::default() };
    let listed = pair.caller.imports().list_possible_duplicates(request).await.unwrap();
    listed.into_inner().possible_duplicates.len()
}

/// Starts another replica whose clock is `by` ahead.
async fn start_later(pair: &Pair, db: &TestDb, by: TimeDelta) -> Running {
    let now = servers::clock().now() + by;
    servers::imports_with(db.sibling("imports"), &pair.records.url, |config| {
        config.clock = Clock::fixed(now);
    })
    .await
}

async fn wait_until(pair: &Pair, id: &str, condition: impl Fn(&Import) -> bool) -> Import {
    for _ in 0..200 {
        let import = pair.get(id).await;
        if condition(&import) {
            return import;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{:#?}", pair.get(id).await);
}

async fn unsealed_import_expires(db: TestDb) {
    let pair = Pair::start(&db).await;
    let id = pair.create(CreateImportRequest::default()).await;
    pair.upload(&id, "one", &three_levels()).await;
    let early = start_later(&pair, &db, TimeDelta::hours(23)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(pair.get(&id).await.state(), ImportState::Receiving);
    early.stop().await;
    let late = start_later(&pair, &db, TimeDelta::hours(25)).await;
    let expired = wait_until(&pair, &id, |import| import.state() == ImportState::Expired).await;
    assert_eq!(counters(&expired).unprocessed, 4);
    late.stop().await;
}

async fn uploaded_data_is_purged_after_a_month(db: TestDb) {
    let pair = Pair::start(&db).await;
    let mut records = three_levels();
    records.extend(["P3", "P4"].map(|id| duplicate_contact(id, "C1")));
    let ended = pair.import(CreateImportRequest::default(), &records).await;
    assert_eq!((ended.possible_duplicates, duplicate_count(&pair, &ended.id).await), (1, 1));
    let late = start_later(&pair, &db, TimeDelta::days(31)).await;
    for _ in 0..200 {
        if pair.failures(&ended.id).await.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(pair.failures(&ended.id).await.is_empty());
    assert_eq!(duplicate_count(&pair, &ended.id).await, 0);
    let purged = pair.get(&ended.id).await;
    assert_eq!(counters(&purged), counters(&ended), "the counters are kept");
    assert_eq!(purged.possible_duplicates, 1);
    let refused = pair.retry(&ended.id, false).await;
    assert_refused(refused, Code::FailedPrecondition, "IMPORT_STATE");
    late.stop().await;
}

async fn calls_in_wrong_state_or_role_are_refused(db: TestDb) {
    let pair = Pair::start(&db).await;
    let good = pair.import(CreateImportRequest::default(), &[client("C1", "Acme Limited")]).await;
    assert_eq!(good.state(), ImportState::Completed);
    for refused in [
        pair.retry(&good.id, false).await,
        pair.commit(&good.id).await,
        pair.cancel(&good.id).await,
    ] {
        assert_refused(refused, Code::FailedPrecondition, "IMPORT_STATE");
    }
    let open = pair.create(CreateImportRequest::default()).await;
    assert_refused(pair.retry(&open, true).await, Code::FailedPrecondition, "IMPORT_STATE");
    assert_refused(pair.commit(&open).await, Code::FailedPrecondition, "IMPORT_STATE");
    let unknown = "imp_00000000000000000000000000000009";
    assert_refused(pair.retry(unknown, true).await, Code::NotFound, "NOT_FOUND");
    let staff = pair.caller.clone().with("x-concord-roles", "staff");
    let request = CancelImportRequest { import_id: open.clone() };
    let refused = staff.imports().cancel_import(request.clone()).await;
    assert_refused(refused, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
    pair.manager.clone().with("x-concord-product", "books").connect().await;
    let books = pair.caller.clone().with("x-concord-product", "books");
    let refused = books.imports().cancel_import(request).await;
    assert_refused(refused, Code::PermissionDenied, "OTHER_PRODUCT");
    let many = ExpectedContent { batch_keys: vec!["k".into(); 10_001], ..Default::default() };
    let wrong = CreateImportRequest { expected: Some(many), ..CreateImportRequest::default() };
    let refused = pair.caller.imports().create_import(wrong).await;
    assert_refused(refused, Code::InvalidArgument, "VALUE_TOO_LONG");
}
