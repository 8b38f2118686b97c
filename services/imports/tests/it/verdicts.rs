//! Tests the verdicts on the records of an import, independent of their order.

use bytes::Bytes;
use concord_proto::pb::imports::{Failure, Import, ImportRecordKind, ImportState, RecordStatus};
use concord_testing::TestDb;

use crate::support::{Caller, address, client, contact, pair};

concord_testing::storage_tests! {
    verdicts_are_independent_of_order_and_batching,
    second_import_skips_imported_records_and_fails_equally,
    import_by_another_product_links_existing_records,
    parents_may_come_from_an_earlier_import,
    blank_end_extends_to_the_next_address,
    record_rejected_by_the_records_service_fails_with_its_reason,
}

/// One case per rule.
fn cases() -> Vec<Bytes> {
    let none = ("", "");
    vec![
        client("K01", |c| c.registered_name.clear()),
        contact("K01P", &["K01"], |_| ()),
        address("K01PA", ("contact", "K01P"), none, |_| ()),
        client("K02", |c| {
            c.client_reference.clear();
            c.utr = "1234567890".into();
        }),
        client("K03", |_| ()),
        client("K06", |c| c.client_reference = "TWICE".into()),
        client("K07", |c| c.client_reference = "twice".into()),
        client("K08", |_| ()),
        client("K08", |_| ()),
        client("K09", |_| ()),
        client("K09", |c| c.registered_name = "Another Limited".into()),
        client("K12", |c| c.client_type = "SELF_ASSESSMENT".into()),
        contact("K13", &["K03", "K08"], |_| ()),
        contact("K14", &["K03", "K12"], |_| ()),
        contact("K15", &["K12"], |_| ()),
        address("K15A", ("contact", "K15"), none, |_| ()),
        contact("K16", &["K03", "K01"], |_| ()),
        contact("K17", &["K03"], |c| c.clients[0].roles = vec!["WIZARD".into()]),
        contact("K18", &["K99", "K01"], |_| ()),
        address("K19A", ("client", "K08"), ("2001-01-01", "2010-06-30"), |_| ()),
        address("K19B", ("client", "K08"), ("2010-01-01", ""), |_| ()),
        address("K22", ("client", "K99"), none, |_| ()),
        address("K23", ("client", "K03"), none, |a| a.line_1 = " ".into()),
        address("K24", ("client", "K12"), none, |_| ()),
        client("", |c| c.client_reference = "NOKEY".into()),
        client("K25", |c| c.registered_name = "A\0B".into()),
        Bytes::new(),
        Bytes::from_static(&[0x0a, 0xff]),
    ]
}

/// (kind, source id, status, reason, field, reason text, root cause)
#[rustfmt::skip]
const EXPECTED: [[&str; 7]; 25] = [
    ["client", "", "FAILED", "REQUIRED_FIELD_BLANK", "source_id", "Required field is blank: Source id", ""],
    ["client", "K01", "FAILED", "REQUIRED_FIELD_BLANK", "registered_name", "Required field is blank: Registered name", ""],
    ["client", "K02", "FAILED", "REQUIRED_FIELD_BLANK", "client_reference", "Required field is blank: Client reference", ""],
    ["client", "K02", "FAILED", "INVALID_UTR", "utr", "", ""],
    ["client", "K06", "FAILED", "DUPLICATE_REFERENCE", "client_reference", "Client reference TWICE is already used by K07", ""],
    ["client", "K07", "FAILED", "DUPLICATE_REFERENCE", "client_reference", "Client reference twice is already used by K06", ""],
    ["client", "K08", "SKIPPED", "DUPLICATE_IN_IMPORT", "source_id", "Source id K08 came more than once with the same values", ""],
    ["client", "K09", "FAILED", "DUPLICATE_KEY", "source_id", "Source id K09 is used by 2 records with different values", ""],
    ["client", "K09", "FAILED", "DUPLICATE_KEY", "source_id", "Source id K09 is used by 2 records with different values", ""],
    ["client", "K12", "EXCLUDED", "CLIENT_TYPE_EXCLUDED", "client_type", "Client type is Self-Assessment", ""],
    ["client", "K25", "FAILED", "INVALID_CHARACTER", "registered_name", "", ""],
    ["contact", "K01P", "BLOCKED", "PARENT_FAILED", "client_source_id", "Parent record could not be imported: XK01", "client K01: Required field is blank: Registered name"],
    ["contact", "K15", "EXCLUDED", "CLIENT_TYPE_EXCLUDED", "client_source_id", "Client type is Self-Assessment", ""],
    ["contact", "K16", "BLOCKED", "PARENT_FAILED", "client_source_id", "Parent record could not be imported: XK01", "client K01: Required field is blank: Registered name"],
    ["contact", "K17", "FAILED", "UNKNOWN_VALUE", "roles", "", ""],
    ["contact", "K18", "FAILED", "PARENT_FAILED", "client_source_id", "Parent record could not be imported: XK01", "client K01: Required field is blank: Registered name"],
    ["contact", "K18", "FAILED", "PARENT_NOT_FOUND", "client_source_id", "Parent record was not found: K99", ""],
    ["address", "K01PA", "BLOCKED", "PARENT_FAILED", "owner_source_id", "Parent record could not be imported: K01P", "client K01: Required field is blank: Registered name"],
    ["address", "K15A", "EXCLUDED", "CLIENT_TYPE_EXCLUDED", "owner_source_id", "Client type is Self-Assessment", ""],
    ["address", "K19A", "FAILED", "PERIOD_OVERLAP", "active_from", "Period overlaps the one of K19B", ""],
    ["address", "K19B", "FAILED", "PERIOD_OVERLAP", "active_from", "Period overlaps the one of K19A", ""],
    ["address", "K22", "FAILED", "PARENT_NOT_FOUND", "owner_source_id", "Parent record was not found: K99", ""],
    ["address", "K23", "FAILED", "ADDRESS_LINE_1_MISSING", "line_1", "Address Line 1 is missing", ""],
    ["address", "K24", "EXCLUDED", "CLIENT_TYPE_EXCLUDED", "owner_source_id", "Client type is Self-Assessment", ""],
    ["", "", "FAILED", "UNREADABLE_RECORD", "", "", ""],
];

fn kind(failure: &Failure) -> &'static str {
    match failure.kind() {
        ImportRecordKind::Client => "client",
        ImportRecordKind::Contact => "contact",
        ImportRecordKind::Address => "address",
        ImportRecordKind::Unspecified => "",
    }
}

fn status(failure: &Failure) -> &'static str {
    failure.status().as_str_name().strip_prefix("RECORD_STATUS_").unwrap()
}

/// Compares the failures with the expected ones, except texts of the shared rules.
fn assert_expected(failures: &[Failure]) {
    // The two unreadable records come last.
    assert_eq!(failures.len(), EXPECTED.len() + 1);
    let mut expected: Vec<[&str; 7]> = EXPECTED.to_vec();
    expected.push(EXPECTED[EXPECTED.len() - 1]);
    for (failure, expected) in failures.iter().zip(expected) {
        let reported =
            [kind(failure), &failure.source_id, status(failure), &failure.reason, &failure.field];
        assert_eq!(reported, expected[..5], "{failure:?}");
        assert_eq!(failure.root_cause, expected[6]);
        if !expected[5].is_empty() {
            assert_eq!(failure.reason_text, expected[5]);
        }
    }
}

/// A permutation that depends on `seed`.
fn shuffled<T: Clone>(items: &[T], seed: u64) -> Vec<T> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut items = items.to_vec();
    for at in (1..items.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        items.swap(at, usize::try_from(state % (at as u64 + 1)).unwrap());
    }
    items
}

async fn import(owner: &mut Caller, batches: &[Vec<Bytes>]) -> (Import, Vec<Failure>) {
    let import = owner.import(batches).await;
    let failures = owner.failures(&import.id).await;
    (import, failures)
}

async fn verdicts_are_independent_of_order_and_batching(t: TestDb) {
    let (replica, fake) = pair(&t).await;
    for (round, size) in [28, 1, 3, 7, 28].into_iter().enumerate() {
        let records = if round == 0 { cases() } else { shuffled(&cases(), round as u64) };
        let batches: Vec<_> = records.chunks(size).map(<[Bytes]>::to_vec).collect();
        let practice = format!("p{round}");
        let mut owner = replica.caller(&practice, "manager", "owner");
        let (ended, failures) = import(&mut owner, &batches).await;
        assert_expected(&failures);
        let counters = ended.counters.unwrap();
        assert_eq!(ended.state(), ImportState::CompletedWithFailures);
        assert_eq!(counters.received, 28);
        assert_eq!((counters.imported, counters.linked, counters.skipped), (4, 0, 1));
        assert_eq!((counters.excluded, counters.blocked), (4, 3));
        assert_eq!((counters.failed, counters.unprocessed), (19, 0));
        let created = fake.created();
        let created: Vec<_> = created.iter().filter(|made| made.starts_with(&practice)).collect();
        let expected = ["client K03", "client K08", "contact K13", "contact K14"];
        assert_eq!(
            created,
            expected.map(|made| format!("{practice} {made}")).iter().collect::<Vec<_>>()
        );
    }
    assert_eq!(fake.invalid_records(), 0, "only valid records are applied");
    replica.stop().await;
}

async fn second_import_skips_imported_records_and_fails_equally(t: TestDb) {
    let (replica, fake) = pair(&t).await;
    let mut owner = replica.owner();
    let (_, first) = import(&mut owner, &[cases()]).await;
    let created = fake.created().len();
    let (again, second) = import(&mut owner, &[shuffled(&cases(), 7)]).await;
    // Only the rows differ, and with them the order of records with the same key.
    let reported = |failures: &[Failure]| {
        let place = |failure: &Failure| {
            format!("{:?}", Failure { row: 0, row_token: String::new(), ..failure.clone() })
        };
        let mut reported: Vec<String> = failures.iter().map(place).collect();
        reported.sort();
        reported
    };
    assert_eq!(reported(&second), reported(&first));
    let counters = again.counters.unwrap();
    assert_eq!((counters.imported, counters.skipped, counters.failed), (0, 5, 19));
    assert_eq!(fake.created().len(), created);
    replica.stop().await;
}

async fn import_by_another_product_links_existing_records(t: TestDb) {
    let (replica, fake) = pair(&t).await;
    import(&mut replica.owner(), &[cases()]).await;
    let created = fake.created().len();
    let mut books = replica.caller("p1", "books", "owner");
    let (ended, failures) = import(&mut books, &[cases()]).await;
    let counters = ended.counters.unwrap();
    assert_eq!((counters.imported, counters.linked, counters.skipped), (0, 4, 1));
    assert_expected(&failures);
    assert_eq!(fake.created().len(), created);
    replica.stop().await;
}

async fn parents_may_come_from_an_earlier_import(t: TestDb) {
    let (replica, _fake) = pair(&t).await;
    let mut owner = replica.owner();
    owner.import(&[vec![client("K1", |_| ()), contact("P1", &["K1"], |_| ())]]).await;
    let later = vec![
        contact("P2", &["K1"], |_| ()),
        address("A1", ("client", "K1"), ("", ""), |_| ()),
        address("A2", ("contact", "P1"), ("", ""), |_| ()),
        address("A3", ("contact", "P1"), ("", ""), |a| {
            a.r#type = "POSTAL".into();
            a.line_1.clear();
        }),
    ];
    let (ended, failures) = import(&mut owner, std::slice::from_ref(&later)).await;
    assert_eq!(ended.counters.unwrap().imported, 3);
    assert_eq!(failures[0].record_name, "Postal address of Ann Case P1");
    assert_eq!(failures[0].client_reference, "XK1");
    // In another practice the parents do not exist.
    let (ended, _) = import(&mut replica.caller("p2", "manager", "owner"), &[later]).await;
    assert_eq!(ended.counters.unwrap().failed, 4);
    replica.stop().await;
}

async fn blank_end_extends_to_the_next_address(t: TestDb) {
    let (replica, fake) = pair(&t).await;
    let mut owner = replica.owner();
    let of = ("client", "K1");
    let records = vec![
        address("A2", of, ("2010-01-01", ""), |_| ()),
        address("A1", of, ("", ""), |_| ()),
        address("A3", of, ("2020-01-01", "2021-01-01"), |_| ()),
        address("B1", of, ("2015-01-01", ""), |a| a.r#type = "POSTAL".into()),
        client("K1", |_| ()),
    ];
    let (ended, failures) = import(&mut owner, &[records]).await;
    assert_eq!(ended.state(), ImportState::Completed, "{failures:?}");
    let period = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    assert_eq!(fake.period("A1"), period("", "2010-01-01"));
    assert_eq!(fake.period("A2"), period("2010-01-01", "2020-01-01"));
    assert_eq!(fake.period("A3"), period("2020-01-01", "2021-01-01"));
    assert_eq!(fake.period("B1"), period("2015-01-01", ""));
    replica.stop().await;
}

async fn record_rejected_by_the_records_service_fails_with_its_reason(t: TestDb) {
    let (replica, _fake) = pair(&t).await;
    let mut owner = replica.owner();
    owner.import(&[vec![client("K1", |c| c.client_reference = "SAME".into())]]).await;
    let other =
        vec![client("K2", |c| c.client_reference = "same".into()), contact("P2", &["K2"], |_| ())];
    let (_, failures) = import(&mut owner, &[other]).await;
    assert_eq!(failures[0].reason, "DUPLICATE_REFERENCE");
    assert_eq!(failures[1].status(), RecordStatus::Blocked);
    assert_eq!(failures[1].reason_text, "Parent record could not be imported: same");
    assert!(
        failures[1].root_cause.starts_with("client K2: Client reference is already used by cli_")
    );
    replica.stop().await;
}
