use proptest::prelude::*;
use prost::Message as _;
use shared::pb::imports::{ImportAddress, ImportClient, ImportRecord};

use super::*;

fn read(rows: &[&[(&str, &str)]]) -> anyhow::Result<(Vec<FailedRow>, usize)> {
    rows_of(false, rows)
}

fn only(row: &[(&str, &str)]) -> Record {
    record(&read(&[row]).unwrap().0[0])
}

fn record(row: &FailedRow) -> Record {
    ImportRecord::decode(row.record.clone()).unwrap().record.unwrap()
}

#[test]
fn a_guard_is_taken_away_once_and_only_where_it_was_put() {
    let record = only(&[
        ("kind", "client"),
        ("source_id", "C1"),
        ("registered_name", "''=1"),
        ("trading_name", "'Ndrangheta"),
        ("phone", "+44"),
        ("guarded", "record_name;registered_name;phone"),
    ]);
    let Record::Client(client) = record else { panic!("{record:?}") };
    assert_eq!(
        [client.registered_name, client.trading_name, client.phone],
        ["'=1", "'Ndrangheta", "+44"]
    );
}

#[test]
fn a_contact_has_all_of_its_clients() {
    let person = [("kind", "Contact"), ("source_id", "P1"), ("client_source_id", "C1;C2")];
    let record = only(&[&person[..], &[("roles", "DIRECTOR;PSC|")]].concat());
    let Record::Contact(contact) = record else { panic!("{record:?}") };
    let clients = contact.clients.iter().map(|at| (at.client_source_id.as_str(), at.roles.len()));
    assert_eq!(clients.collect::<Vec<_>>(), [("C1", 2), ("C2", 0)]);
    let uneven = read(&[&[&person[..], &[("roles", "A|B|C")]].concat()]).unwrap_err();
    assert!(uneven.to_string().contains("line 2: 2 clients, and roles of 3"), "{uneven}");
    let forgotten = read(&[&[&person[..], &[("roles", "A")]].concat()]).unwrap_err();
    assert!(forgotten.to_string().contains("2 clients, and roles of 1"), "{forgotten}");
}

#[test]
fn an_older_file_has_the_id_of_a_single_client_as_it_is() {
    let row = [
        ("kind", "contact"),
        ("source_id", "P1"),
        ("client_source_id", "C;1"),
        ("roles", "DIRECTOR"),
    ];
    let (rows, _) = rows_of(true, &[&row]).unwrap();
    let Record::Contact(contact) = record(&rows[0]) else { panic!("{rows:?}") };
    assert_eq!(contact.clients[0].client_source_id, "C;1");
    assert_eq!(rows[0].import(), "");
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![3 => "[ab;|'=+@\\\\,\"\t\r\n 0-]{0,5}", 1 => any::<String>()]
}

fn person() -> impl Strategy<Value = Record> {
    let roles = prop::collection::vec(text(), 0..3);
    let place = (text(), roles)
        .prop_map(|(client_source_id, roles)| ContactClient { client_source_id, roles });
    let clients = prop::collection::vec(place, 0..4);
    (source_id(), clients, prop::array::uniform7(text())).prop_map(|(source_id, clients, texts)| {
        let mut texts = texts.into_iter();
        let mut next = || texts.next().unwrap();
        Record::Contact(ImportContact {
            source_id,
            clients,
            title: next(),
            forename: next(),
            middle_names: next(),
            surname: next(),
            birth_date: next(),
            email: next(),
            phone: next(),
        })
    })
}

fn business() -> impl Strategy<Value = Record> {
    (source_id(), prop::array::uniform15(text())).prop_map(|(source_id, texts)| {
        let mut texts = texts.into_iter();
        let mut next = || texts.next().unwrap();
        Record::Client(ImportClient {
            source_id,
            client_reference: next(),
            client_type: next(),
            registered_name: next(),
            trading_name: next(),
            company_number: next(),
            utr: next(),
            vat_number: next(),
            paye_reference: next(),
            title: next(),
            forename: next(),
            surname: next(),
            birth_date: next(),
            email: next(),
            phone: next(),
            jurisdiction: next(),
        })
    })
}

fn home() -> impl Strategy<Value = Record> {
    (source_id(), prop::array::uniform12(text())).prop_map(|(source_id, texts)| {
        let mut texts = texts.into_iter();
        let mut next = || texts.next().unwrap();
        Record::Address(ImportAddress {
            source_id,
            owner_kind: next(),
            owner_source_id: next(),
            r#type: next(),
            line_1: next(),
            line_2: next(),
            line_3: next(),
            town: next(),
            county: next(),
            postcode: next(),
            country: next(),
            active_from: next(),
            active_to: next(),
        })
    })
}

/// One that is not blank: nothing can stand in for a record without a key.
fn source_id() -> impl Strategy<Value = String> {
    text().prop_map(|text| if text.trim().is_empty() { format!("{text}7") } else { text })
}

proptest! {
    #[test]
    fn a_record_reads_back_from_the_file_of_the_service(
        records in prop::collection::vec(prop_oneof![business(), person(), home()], 1..4)
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("failures.csv");
        let wrap = |record: &Record| ImportRecord { record: Some(record.clone()) };
        let file = imports::testing::failures_file("imp_1", records.iter().map(wrap));
        std::fs::write(&path, file).unwrap();
        let (rows, without_key) = failed_rows(&path).unwrap();
        prop_assert_eq!(without_key, 0);
        prop_assert!(rows.iter().all(|row| row.import() == "imp_1" && row.failed));
        let read: Vec<_> = rows.iter().map(record).collect();
        prop_assert_eq!(read, records);
    }
}

#[test]
fn rows_without_a_key_are_counted() {
    let (rows, without) = read(&[
        &[("kind", "client"), ("status", "failed")],
        &[("status", "failed"), ("source_id", "x")],
        &[("kind", "client"), ("source_id", "C2"), ("status", "Failed")],
        &[("kind", "client"), ("source_id", "C3"), ("status", "skipped")],
    ])
    .unwrap();
    assert_eq!(without, 2);
    assert_eq!(rows.iter().map(|row| row.failed).collect::<Vec<_>>(), [true, false]);
    assert_eq!(rows[0].key.to_string(), "client C2");
}

#[test]
fn another_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clients.csv");
    std::fs::write(&path, "source_id,client_reference,client_type\nC1,R1,TRUST\n").unwrap();
    let refused = failed_rows(&path).unwrap_err().to_string();
    assert!(refused.contains("more columns: `kind`, `status`, `guarded`"), "{refused}");
    let kind = read(&[&[("kind", "person"), ("source_id", "P1")]]).unwrap_err();
    assert!(kind.to_string().contains("not person"), "{kind}");
}
