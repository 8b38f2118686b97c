//! The behaviour of `IngestService` that the imports service relies on: one suite for the
//! real records service and for [`FakeRecords`](super::fake_records::FakeRecords), so that
//! the fake behaves as the real service does.
//!
//! [`ingest_behaviours!`](crate::ingest_behaviours) lists the behaviours.

use concord_core::key_digest::KeyDigest;
use concord_proto::{
    pb::{
        imports::{ImportRecordKind, RecordStatus},
        internal::{
            ApplyChunkRequest, ApplyChunkResponse, ApplyOutcome, KeepSupportReadRequest,
            ListErasuresRequest, ResolveLinksRequest, ResolvedLink, SourceKey, erasure::Erased,
        },
        records::ListConnectionsRequest,
    },
    wire::ApplyRecord,
};
use tonic::{Code, Response, Status, transport::Channel};

use super::{
    caller::Caller,
    chunk::{address, client, contact, reasons, statuses},
    records::assert_refused,
};

/// Calls a macro with the names of all behaviours.
#[macro_export]
macro_rules! ingest_behaviours {
    ($tests:ident) => {
        $tests! {
            new_records_are_imported,
            repeated_chunk_gets_the_same_outcomes,
            linked_records_are_skipped_by_another_import,
            stale_chunk_is_rejected,
            chunk_after_lost_changes_is_not_applied,
            empty_chunk_raises_the_fence,
            invalid_record_fails_alone,
            source_id_is_used_once_in_a_chunk,
            child_of_an_unknown_parent_fails,
            dry_run_answers_as_the_chunk_and_leaves_nothing,
            dry_run_accepts_parents_that_do_not_exist,
            equal_records_of_another_product_are_linked,
            equal_records_of_one_account_stay_separate,
            links_are_resolved_within_the_account,
            linked_product_resolves_the_name_of_the_record,
            erasures_are_listed_after_a_position,
            record_erased_after_its_upload_fails,
            unconnected_product_is_rejected,
            connections_are_listed_by_name,
            caller_without_service_role_is_rejected,
        }
    };
}

/// A running records service without records. The products `manager` and `books` are
/// connected to the practices `p1` and `p2`, and no other product is.
pub trait RecordsService {
    /// Opens a connection to it.
    fn channel(&self) -> impl Future<Output = Channel>;

    /// Erases a client of the practice. Only `manager` has imported it.
    fn erase_client(
        &self,
        practice: &str,
        source_id: &str,
        record_id: &str,
    ) -> impl Future<Output = ()>;
}

const FIRST: &str = "imp_00000000000000000000000000000001";
const SECOND: &str = "imp_00000000000000000000000000000002";
const UNKNOWN: &str = "cli_00000000000000000000000000000007";

/// The imports service, acting for an import of the product.
async fn import(
    service: &impl RecordsService,
    practice: &str,
    product: &str,
    import: &str,
) -> Caller {
    Caller::owner(service.channel().await, practice, product).for_import(import)
}

/// The imports service, acting for an import of `manager` in `p1`.
async fn manager(service: &impl RecordsService) -> Caller {
    import(service, "p1", "manager", FIRST).await
}

fn chunk(records: &[ApplyRecord]) -> ApplyChunkRequest {
    ApplyChunkRequest { records: records.to_vec(), ..ApplyChunkRequest::default() }
}

async fn send(caller: &Caller, request: ApplyChunkRequest) -> Result<ApplyChunkResponse, Status> {
    caller.ingest().apply_chunk(request).await.map(Response::into_inner)
}

async fn apply(caller: &Caller, records: &[ApplyRecord]) -> Vec<ApplyOutcome> {
    send(caller, chunk(records)).await.unwrap().outcomes
}

/// Applies one record that must get a record id. Returns the id.
async fn applied(caller: &Caller, record: ApplyRecord) -> String {
    let outcome = apply(caller, &[record]).await.remove(0);
    assert!(!outcome.record_id.is_empty(), "{outcome:?}");
    outcome.record_id
}

fn source_key(kind: ImportRecordKind, source_id: &str) -> SourceKey {
    SourceKey { kind: kind.into(), source_id: source_id.into() }
}

/// The links of these keys, in the order of kinds and source ids.
async fn resolve(caller: &Caller, keys: &[(ImportRecordKind, &str)]) -> Vec<ResolvedLink> {
    let keys = keys.iter().map(|(kind, source_id)| source_key(*kind, source_id)).collect();
    let request = ResolveLinksRequest { keys };
    let mut links = caller.ingest().resolve_links(request).await.unwrap().into_inner().links;
    links.sort_by_key(|link| link.key.clone().map(|key| (key.kind, key.source_id)));
    links
}

/// The clients among these source ids that are linked.
async fn linked(caller: &Caller, source_ids: &[&str]) -> Vec<String> {
    let keys: Vec<_> = source_ids.iter().map(|id| (ImportRecordKind::Client, *id)).collect();
    let links = resolve(caller, &keys).await;
    links.into_iter().filter_map(|link| link.key).map(|key| key.source_id).collect()
}

/// Status and reasons of each outcome.
fn verdicts(outcomes: &[ApplyOutcome]) -> Vec<(RecordStatus, Vec<&str>)> {
    outcomes.iter().map(|outcome| (outcome.status(), reasons(outcome))).collect()
}

#[track_caller]
fn assert_failed(outcome: &ApplyOutcome, field: &str, reason: &str) {
    let violations = outcome.violations.iter();
    let reported: Vec<_> =
        violations.map(|one| (one.field.as_str(), one.reason.as_str())).collect();
    assert_eq!(reported, [(field, reason)], "{outcome:?}");
    assert_eq!((outcome.status(), outcome.record_id.as_str()), (RecordStatus::Failed, ""));
}

pub async fn new_records_are_imported(service: &impl RecordsService) {
    let manager = manager(service).await;
    let clients = [client("C1", "ONE", "One Limited"), client("C2", "TWO", "Two Limited")];
    let clients = apply(&manager, &clients).await;
    assert_eq!(statuses(&clients), [RecordStatus::Imported; 2]);
    assert_ne!(clients[0].record_id, clients[1].record_id);
    let parent = ("C1", clients[0].record_id.as_str());
    let persons = apply(&manager, &[contact("P1", "Smith", &[parent])]).await;
    let entries = apply(&manager, &[address("A1", "1 High Street", "", parent)]).await;
    assert_eq!(statuses(&persons), [RecordStatus::Imported]);
    assert_eq!(statuses(&entries), [RecordStatus::Imported]);
    for (outcome, prefix) in [(&clients[0], "cli_"), (&persons[0], "per_"), (&entries[0], "ent_")] {
        assert!(outcome.record_id.starts_with(prefix), "{outcome:?}");
        assert!(outcome.violations.is_empty());
    }
}

pub async fn repeated_chunk_gets_the_same_outcomes(service: &impl RecordsService) {
    let manager = manager(service).await;
    let request = |records: &[ApplyRecord], fence| ApplyChunkRequest { fence, ..chunk(records) };
    let clients = [client("C1", "ONE", "One Limited"), client("C2", "TWO", "Two Limited")];
    let first = send(&manager, request(&clients, 3)).await.unwrap();
    assert_eq!(first.fence_before, Some(0));
    // With the same fence, and by another worker with a higher one.
    for fence in [3, 8] {
        let again = send(&manager, request(&clients, fence)).await.unwrap();
        assert_eq!((again.outcomes, again.fence_before), (first.outcomes.clone(), Some(3)));
    }
    let parent = ("C1", first.outcomes[0].record_id.as_str());
    for records in [
        [contact("P1", "Smith", &[parent])],
        [address("A1", "1 High Street", "2019-07-01", parent)],
    ] {
        let first = send(&manager, request(&records, 8)).await.unwrap();
        assert_eq!(send(&manager, request(&records, 8)).await.unwrap(), first);
    }
    // The outcome of a link is repeated too.
    let books = import(service, "p1", "books", SECOND).await;
    let first = apply(&books, &[client("B1", "ONE", "One Limited")]).await;
    assert_eq!(statuses(&first), [RecordStatus::Linked]);
    assert_eq!(apply(&books, &[client("B1", "ONE", "One Limited")]).await, first);
}

pub async fn linked_records_are_skipped_by_another_import(service: &impl RecordsService) {
    let first = manager(service).await;
    let id = applied(&first, client("C1", "ONE", "One Limited")).await;
    let person = applied(&first, contact("P1", "Smith", &[("C1", &id)])).await;
    let second = import(service, "p1", "manager", SECOND).await;
    // With other values, which are ignored, and an invalid record.
    for record in [client("C1", "ONE", "Renamed Limited"), client("C1", "", "")] {
        let again = apply(&second, &[record]).await;
        assert_eq!(verdicts(&again), [(RecordStatus::Skipped, vec![])]);
        assert_eq!(again[0].record_id, id);
    }
    let again = apply(&second, &[contact("P1", "Jones", &[("C1", &id)])]).await;
    assert_eq!((again[0].status(), &again[0].record_id), (RecordStatus::Skipped, &person));
    let link = resolve(&second, &[(ImportRecordKind::Client, "C1")]).await.remove(0);
    assert_eq!((link.name.as_str(), link.import_id.as_str()), ("One Limited", FIRST));
}

pub async fn stale_chunk_is_rejected(service: &impl RecordsService) {
    let manager = manager(service).await;
    let records = [client("C1", "ONE", "One Limited")];
    let current = ApplyChunkRequest { fence: 5, ..chunk(&records) };
    send(&manager, current).await.unwrap();
    let late = [client("C2", "TWO", "Two Limited")];
    // A new record, and a record that is linked already.
    for (records, validate_only) in [(&late, false), (&late, true), (&records, false)] {
        let stale = ApplyChunkRequest { fence: 4, validate_only, ..chunk(records) };
        assert_refused(send(&manager, stale).await, Code::Aborted, "STALE_WORKER");
    }
    let empty = ApplyChunkRequest { fence: 4, ..ApplyChunkRequest::default() };
    assert_refused(send(&manager, empty).await, Code::Aborted, "STALE_WORKER");
    assert_eq!(linked(&manager, &["C1", "C2"]).await, ["C1"]);
    // Another import, and an import of another practice, have fences of their own.
    let others =
        [import(service, "p1", "manager", SECOND), import(service, "p2", "manager", FIRST)];
    for other in others {
        let other = other.await;
        let first = ApplyChunkRequest { fence: 1, ..chunk(&records) };
        assert_eq!(send(&other, first).await.unwrap().fence_before, Some(0));
    }
}

pub async fn chunk_after_lost_changes_is_not_applied(service: &impl RecordsService) {
    let manager = manager(service).await;
    let records = [client("C1", "ONE", "One Limited")];
    let request = |fence, applied_fence| ApplyChunkRequest {
        fence,
        applied_fence,
        ..chunk(&[client("C2", "TWO", "Two Limited")])
    };
    send(&manager, ApplyChunkRequest { fence: 5, ..chunk(&records) }).await.unwrap();
    // The caller has received the answer to a call with fence 7. A retry and an empty chunk
    // are answered in the same way.
    let empty = ApplyChunkRequest { records: Vec::new(), ..request(9, 7) };
    for lost in [request(9, 7), request(3, 7), request(9, 7), empty] {
        let lost = send(&manager, lost).await.unwrap();
        assert_eq!((lost.outcomes.len(), lost.fence_before), (0, Some(5)));
    }
    assert_eq!(linked(&manager, &["C1", "C2"]).await, ["C1"]);
    // The fence was not raised.
    let applied = send(&manager, request(6, 5)).await.unwrap();
    assert_eq!(statuses(&applied.outcomes), [RecordStatus::Imported]);
    assert_eq!(applied.fence_before, Some(5));
}

pub async fn empty_chunk_raises_the_fence(service: &impl RecordsService) {
    let manager = manager(service).await;
    for before in [0, 6] {
        let empty = ApplyChunkRequest { fence: 6, ..ApplyChunkRequest::default() };
        let answer = send(&manager, empty).await.unwrap();
        assert_eq!((answer.outcomes.len(), answer.fence_before), (0, Some(before)));
    }
    let late = ApplyChunkRequest { fence: 5, ..chunk(&[client("C1", "ONE", "One Limited")]) };
    assert_refused(send(&manager, late).await, Code::Aborted, "STALE_WORKER");
    assert!(linked(&manager, &["C1"]).await.is_empty());
}

pub async fn invalid_record_fails_alone(service: &impl RecordsService) {
    use RecordStatus::{Failed, Imported};

    let manager = manager(service).await;
    let records = [
        client("C1", "ONE", "One Limited"),
        client("C2", "", ""),
        client("C3", "one", "Three Limited"),
        client("C4", "FOUR", "Four\0Limited"),
        client("C5", "FIVE", "Five Limited"),
    ];
    let outcomes = apply(&manager, &records).await;
    assert_eq!(statuses(&outcomes), [Imported, Failed, Failed, Failed, Imported]);
    let violations = outcomes[1].violations.iter();
    let reported: Vec<_> =
        violations.map(|one| (one.field.as_str(), one.reason.as_str())).collect();
    let blank = "REQUIRED_FIELD_BLANK";
    assert_eq!(reported, [("client_reference", blank), ("registered_name", blank)]);
    assert_eq!(outcomes[1].violations[0].text, "Required field is blank: Client reference");
    assert_failed(&outcomes[2], "client_reference", "DUPLICATE_REFERENCE");
    assert_failed(&outcomes[3], "registered_name", "INVALID_CHARACTER");
    assert_eq!(linked(&manager, &["C1", "C2", "C3", "C4", "C5"]).await, ["C1", "C5"]);
}

pub async fn source_id_is_used_once_in_a_chunk(service: &impl RecordsService) {
    let manager = manager(service).await;
    let records = [client("C1", "ONE", "One Limited"), client("C1", "TWO", "Two Limited")];
    let outcomes = apply(&manager, &records).await;
    assert_eq!(outcomes[0].status(), RecordStatus::Imported);
    assert_failed(&outcomes[1], "source_id", "DUPLICATE_KEY");
}

pub async fn child_of_an_unknown_parent_fails(service: &impl RecordsService) {
    let manager = manager(service).await;
    let id = applied(&manager, client("C1", "ONE", "One Limited")).await;
    // A client of another practice does not exist either.
    let other = import(service, "p2", "manager", FIRST).await;
    let other = applied(&other, client("C2", "TWO", "Two Limited")).await;
    for gone in [UNKNOWN, other.as_str()] {
        let contacts =
            [contact("P1", "Smith", &[("C2", gone)]), contact("P2", "Jones", &[("C1", &id)])];
        let outcomes = apply(&manager, &contacts).await;
        assert_failed(&outcomes[0], "client_source_id", "PARENT_NOT_FOUND");
        assert_eq!(outcomes[0].violations[0].text, "Parent record was not found: C2");
        assert_eq!(outcomes[1].status(), RecordStatus::Imported, "the others are applied");
        let both = contact("P3", "Brown", &[("C1", &id), ("C2", gone)]);
        let outcomes = apply(&manager, &[both]).await;
        assert_failed(&outcomes[0], "client_source_id", "PARENT_NOT_FOUND");
        let outcomes = apply(&manager, &[address("A1", "1 High Street", "", ("C2", gone))]).await;
        assert_failed(&outcomes[0], "owner_source_id", "PARENT_NOT_FOUND");
        assert_eq!(outcomes[0].violations[0].text, "Parent record was not found: C2");
    }
}

pub async fn dry_run_answers_as_the_chunk_and_leaves_nothing(service: &impl RecordsService) {
    use RecordStatus::{Failed, Imported, Linked, Skipped};

    applied(&manager(service).await, client("C1", "ONE", "One Limited")).await;
    let books = import(service, "p1", "books", FIRST).await;
    applied(&books, client("B2", "TWO", "Two Limited")).await;
    let manager = import(service, "p1", "manager", SECOND).await;
    let records = [
        client("C1", "ONE", "One Limited"),
        client("C2", "TWO", "Two Limited"),
        client("C3", "THREE", "Three Limited"),
        client("C4", "THREE", "Four Limited"),
        client("C5", "", "Five Limited"),
    ];
    let dry = ApplyChunkRequest { fence: 5, validate_only: true, ..chunk(&records) };
    for _ in 0..2 {
        let dry = send(&manager, dry.clone()).await.unwrap();
        assert_eq!(statuses(&dry.outcomes), [Skipped, Linked, Imported, Failed, Failed]);
        assert_eq!(dry.fence_before, None);
        assert_eq!(linked(&manager, &["C1", "C2", "C3", "C4", "C5"]).await, ["C1"]);
    }
    // Neither is the fence raised.
    let real = ApplyChunkRequest { fence: 1, ..chunk(&records) };
    let real = send(&manager, real).await.unwrap();
    assert_eq!(real.fence_before, Some(0));
    let dry = ApplyChunkRequest { fence: 1, validate_only: true, ..chunk(&records[3..]) };
    let dry = send(&manager, dry).await.unwrap();
    assert_eq!(verdicts(&dry.outcomes), verdicts(&real.outcomes)[3..]);
    assert_eq!(statuses(&real.outcomes), [Skipped, Linked, Imported, Failed, Failed]);
}

pub async fn dry_run_accepts_parents_that_do_not_exist(service: &impl RecordsService) {
    let manager = manager(service).await;
    let parent = ("C1", UNKNOWN);
    for record in [contact("P1", "Smith", &[parent]), address("A1", "1 High Street", "", parent)] {
        let dry = ApplyChunkRequest { validate_only: true, ..chunk(&[record]) };
        let outcomes = send(&manager, dry).await.unwrap().outcomes;
        assert_eq!(verdicts(&outcomes), [(RecordStatus::Imported, vec![])]);
        assert!(!outcomes[0].record_id.is_empty());
    }
}

pub async fn equal_records_of_another_product_are_linked(service: &impl RecordsService) {
    let manager = manager(service).await;
    let one = applied(&manager, client("C1", "ONE", "Ó Briain Limited")).await;
    let person = applied(&manager, contact("P1", "Smith", &[("C1", &one)])).await;
    let line_1 = "1 High Street";
    let entry = applied(&manager, address("A1", line_1, "2019-07-01", ("C1", &one))).await;

    let books = import(service, "p1", "books", SECOND).await;
    let parent = ("B1", one.as_str());
    for (record, expected) in [
        (client("B1", "one", "O BRIAIN LIMITED"), &one),
        (contact("Q1", "SMITH", &[parent]), &person),
        (address("D1", line_1, "2019-07-01", parent), &entry),
    ] {
        let same = apply(&books, &[record]).await;
        assert_eq!((same[0].status(), &same[0].record_id), (RecordStatus::Linked, expected));
    }
    let other = apply(&books, &[client("B2", "ONE", "Other Limited")]).await;
    assert_failed(&other[0], "client_reference", "DUPLICATE_REFERENCE");
    assert!(other[0].violations[0].text.contains(&one), "{other:?}");
    // In another practice they are other records.
    let elsewhere = import(service, "p2", "books", SECOND).await;
    let new = apply(&elsewhere, &[client("B1", "ONE", "Ó Briain Limited")]).await;
    assert_eq!(statuses(&new), [RecordStatus::Imported]);
    assert_ne!(new[0].record_id, one);
}

pub async fn equal_records_of_one_account_stay_separate(service: &impl RecordsService) {
    let manager = manager(service).await;
    let one = applied(&manager, client("C1", "ONE", "One Limited")).await;
    let same = apply(&manager, &[client("C2", "ONE", "One Limited")]).await;
    assert_failed(&same[0], "client_reference", "DUPLICATE_REFERENCE");
    let parent = ("C1", one.as_str());
    let persons = [contact("P1", "Smith", &[parent]), contact("P2", "Smith", &[parent])];
    let persons = apply(&manager, &persons).await;
    assert_eq!(statuses(&persons), [RecordStatus::Imported; 2]);
    assert_ne!(persons[0].record_id, persons[1].record_id);
    applied(&manager, address("A1", "1 High Street", "2019-07-01", parent)).await;
    let same = address("A2", "1 High Street", "2019-07-01", parent);
    assert_failed(&apply(&manager, &[same]).await[0], "active_from", "PERIOD_OVERLAP");

    // Another product links to each of them.
    let books = import(service, "p1", "books", SECOND).await;
    let parent = ("B1", one.as_str());
    applied(&books, client("B1", "ONE", "One Limited")).await;
    let linked = [contact("Q1", "Smith", &[parent]), contact("Q2", "Smith", &[parent])];
    let linked = apply(&books, &linked).await;
    assert_eq!(statuses(&linked), [RecordStatus::Linked; 2]);
    assert_ne!(linked[0].record_id, linked[1].record_id);
}

pub async fn links_are_resolved_within_the_account(service: &impl RecordsService) {
    use ImportRecordKind::{Address, Client, Contact};

    let manager = manager(service).await;
    let one = applied(&manager, client("C1", "ONE", "One Limited")).await;
    let person = applied(&manager, contact("P1", "Smith", &[("C1", &one)])).await;
    let entry = applied(&manager, address("A1", "1 High Street", "", ("C1", &one))).await;
    let keys = [(Client, "C1"), (Contact, "P1"), (Address, "A1"), (Client, "C9"), (Contact, "C1")];
    let link = |kind, source_id: &str, record_id: &str, name: &str, reference: &str| ResolvedLink {
        key: Some(source_key(kind, source_id)),
        record_id: record_id.into(),
        import_id: FIRST.into(),
        name: name.into(),
        client_reference: reference.into(),
    };
    let expected = [
        link(Client, "C1", &one, "One Limited", "ONE"),
        link(Contact, "P1", &person, "Ann Smith", "ONE"),
        // An address has no name.
        link(Address, "A1", &entry, "", ""),
    ];
    assert_eq!(resolve(&manager, &keys).await, expected);
    let second = import(service, "p1", "manager", SECOND).await;
    assert_eq!(resolve(&second, &keys).await, expected);
    for other in [
        import(service, "p1", "books", FIRST).await,
        import(service, "p2", "manager", FIRST).await,
        manager.with("x-concord-account", "second"),
    ] {
        assert!(resolve(&other, &keys).await.is_empty());
    }
}

pub async fn linked_product_resolves_the_name_of_the_record(service: &impl RecordsService) {
    applied(&manager(service).await, client("C1", "ONE", "One Limited")).await;
    let books = import(service, "p1", "books", SECOND).await;
    applied(&books, client("B1", "one", "ONE LIMITED")).await;
    let links = resolve(&books, &[(ImportRecordKind::Client, "B1")]).await;
    let reported = (links[0].name.as_str(), links[0].client_reference.as_str());
    assert_eq!(reported, ("One Limited", "ONE"));
    assert_eq!(links[0].import_id, SECOND);
}

/// All erasures after a position, and the last position. Checks the positions.
async fn erasures(caller: &Caller, after: i64) -> (Vec<Erased>, i64) {
    let (mut erased, mut last) = (Vec::new(), after);
    loop {
        let request = ListErasuresRequest { after: last };
        let page = caller.ingest().list_erasures(request).await.unwrap().into_inner();
        if page.erasures.is_empty() {
            assert_eq!(last, page.head, "all erasures up to the head are listed");
            return (erased, last);
        }
        for one in page.erasures {
            last += 1;
            assert_eq!(one.position, last);
            assert!(one.erase_time.is_some());
            erased.push(one.erased.unwrap());
        }
    }
}

pub async fn erasures_are_listed_after_a_position(service: &impl RecordsService) {
    let manager = manager(service).await;
    let clients = [client("C1", "ONE", "One Limited"), client("C2", "TWO", "Two Limited")];
    let clients = apply(&manager, &clients).await;
    assert_eq!(erasures(&manager, 0).await, (Vec::new(), 0));
    let digest = |source_id| {
        let practice = "p1".parse().unwrap();
        KeyDigest::of(&practice, ("manager", "main"), ImportRecordKind::Client, source_id)
    };
    let mut head = 0;
    for (outcome, source_id) in clients.iter().zip(["C1", "C2"]) {
        service.erase_client("p1", source_id, &outcome.record_id).await;
        // The record and its key.
        let expected = [
            Erased::RecordId(outcome.record_id.clone()),
            Erased::KeyDigest(digest(source_id).to_vec().into()),
        ];
        let (listed, last) = erasures(&manager, head).await;
        assert_eq!((listed.as_slice(), last), (expected.as_slice(), head + 2));
        head = last;
    }
    assert_eq!(erasures(&manager, 0).await.0.len(), 4);
    assert_eq!(erasures(&manager, head).await, (Vec::new(), head));
    // Every product of the practice gets them, and no other practice does.
    let books = import(service, "p1", "books", SECOND).await;
    assert_eq!(erasures(&books, 0).await.1, head);
    let elsewhere = import(service, "p2", "manager", FIRST).await;
    assert_eq!(erasures(&elsewhere, 0).await, (Vec::new(), 0));
}

pub async fn record_erased_after_its_upload_fails(service: &impl RecordsService) {
    let manager = manager(service).await;
    let record = || client("C1", "ONE", "One Limited");
    let erased = applied(&manager, record()).await;
    service.erase_client("p1", "C1", &erased).await;
    assert!(linked(&manager, &["C1"]).await.is_empty());
    let head = erasures(&manager, 0).await.1;
    let request = |known| ApplyChunkRequest {
        known_erasure: known,
        ..chunk(&[record(), client("C2", "TWO", "Two Limited")])
    };
    let outcomes = send(&manager, request(Some(0))).await.unwrap().outcomes;
    assert_failed(&outcomes[0], "", "RECORD_ERASED");
    assert_eq!(outcomes[0].violations[0].text, "Record was erased after it was uploaded");
    assert_eq!(outcomes[1].status(), RecordStatus::Imported, "the others are applied");
    // Uploaded after the erasure: it is another client.
    let outcomes = send(&manager, request(Some(head))).await.unwrap().outcomes;
    assert_eq!(statuses(&outcomes), [RecordStatus::Imported; 2]);
    assert_ne!(outcomes[0].record_id, erased);
    // A linked record is not compared.
    for known in [Some(0), None] {
        let again = send(&manager, request(known)).await.unwrap().outcomes;
        assert_eq!(again, outcomes);
    }
}

pub async fn unconnected_product_is_rejected(service: &impl RecordsService) {
    let stray = import(service, "p1", "stray", FIRST).await;
    let records = [client("C1", "ONE", "One Limited")];
    for validate_only in [false, true] {
        let request = ApplyChunkRequest { fence: 9, validate_only, ..chunk(&records) };
        let refused = send(&stray, request).await;
        assert_refused(refused, Code::FailedPrecondition, "PRODUCT_NOT_CONNECTED");
    }
    assert!(linked(&stray, &["C1"]).await.is_empty());
    // Neither is the fence raised.
    let request = ApplyChunkRequest { fence: 1, ..chunk(&records) };
    let answer = send(&manager(service).await, request).await.unwrap();
    assert_eq!(answer.fence_before, Some(0));
    assert_eq!(statuses(&answer.outcomes), [RecordStatus::Imported]);
}

pub async fn connections_are_listed_by_name(service: &impl RecordsService) {
    for practice in ["p1", "p2"] {
        let manager = import(service, practice, "manager", FIRST).await;
        let listed = manager.connections().list_connections(ListConnectionsRequest {}).await;
        let connections = listed.unwrap().into_inner().connections;
        let products: Vec<_> = connections.iter().map(|one| one.product.as_str()).collect();
        assert_eq!(products, ["books", "manager"]);
    }
}

pub async fn caller_without_service_role_is_rejected(service: &impl RecordsService) {
    let manager = manager(service).await;
    let read = KeepSupportReadRequest {
        rpc: "concord.imports.v1.ImportService/ListFailures".into(),
        reason: "Ticket 7".into(),
        record_ids: vec![FIRST.into()],
    };
    manager.ingest().keep_support_read(read.clone()).await.unwrap();
    for role in ["owner", "admin", "staff", "support", "auditor"] {
        let caller = manager.clone().with("x-concord-roles", role);
        let mut ingest = caller.ingest();
        let request = chunk(&[client("C1", "ONE", "One Limited")]);
        let resolve = ResolveLinksRequest { keys: Vec::new() };
        let refused = [
            ingest.apply_chunk(request).await.unwrap_err(),
            ingest.resolve_links(resolve).await.unwrap_err(),
            ingest.list_erasures(ListErasuresRequest { after: 0 }).await.unwrap_err(),
            ingest.keep_support_read(read.clone()).await.unwrap_err(),
        ];
        for refused in refused {
            assert_eq!(refused.code(), Code::PermissionDenied, "{role}: {refused:?}");
        }
    }
    assert!(linked(&manager, &["C1"]).await.is_empty());
}
