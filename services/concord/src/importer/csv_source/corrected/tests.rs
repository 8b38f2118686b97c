use concord_core::row_token::RowPosition;
use concord_proto::pb::imports::{ImportAddress, ImportClient, ImportRecord};
use proptest::prelude::*;
use prost::Message as _;

use super::*;

fn token(row: i64) -> RowToken {
    RowToken::of("imp_1", RowPosition { batch: 1, row })
}

fn only(row: &[(&str, &str)]) -> anyhow::Result<Record> {
    record(&rows_of(&[row]).unwrap()[0])
}

fn record(row: &FailedRow) -> anyhow::Result<Record> {
    let record = row.replacement()?.unwrap().record;
    Ok(ImportRecord::decode(record).unwrap().record.unwrap())
}

#[test]
fn apostrophe_is_removed_once_from_guarded_cells() {
    let record = only(&[
        ("kind", "client"),
        ("source_id", "C1"),
        ("registered_name", "''=1"),
        ("trading_name", "'Ndrangheta"),
        ("phone", "+44"),
        ("guarded", "record_name;registered_name;phone"),
    ]);
    let Record::Client(client) = record.unwrap() else { panic!("a client") };
    assert_eq!(
        [client.registered_name, client.trading_name, client.phone],
        ["'=1", "'Ndrangheta", "+44"]
    );
}

#[test]
fn escaped_control_characters_are_restored() {
    let record = only(&[
        ("kind", "client"),
        ("source_id", r"C\u{1b}"),
        ("registered_name", r"'=\u{1b}[2J\\"),
        ("trading_name", r"\u{1b}"),
        ("guarded", "registered_name"),
        ("escaped", "registered_name; source_id"),
    ]);
    let Record::Client(client) = record.unwrap() else { panic!("a client") };
    assert_eq!(
        [client.source_id, client.registered_name, client.trading_name],
        ["C\u{1b}", "=\u{1b}[2J\\", r"\u{1b}"]
    );
}

#[test]
fn contact_has_all_its_clients() {
    let person = [("kind", "Contact"), ("source_id", "P1"), ("client_source_id", "C1;C2")];
    let record = only(&[&person[..], &[("roles", "DIRECTOR;PSC|")]].concat());
    let Record::Contact(contact) = record.unwrap() else { panic!("a contact") };
    let clients = contact.clients.iter().map(|at| (at.client_source_id.as_str(), at.roles.len()));
    assert_eq!(clients.collect::<Vec<_>>(), [("C1", 2), ("C2", 0)]);
    let uneven = only(&[&person[..], &[("roles", "A|B|C")]].concat()).unwrap_err();
    assert!(uneven.to_string().contains("2 clients, and roles of 3"), "{uneven}");
    let forgotten = only(&[&person[..], &[("roles", "A")]].concat()).unwrap_err();
    assert!(forgotten.to_string().contains("2 clients, and roles of 1"), "{forgotten}");
}

#[test]
fn replacement_has_the_token_of_its_row() {
    let token = token(7).to_string();
    let rows = rows_of(&[&[("kind", "client"), ("token", &format!(" {token} "))]]).unwrap();
    let replacement = rows[0].replacement().unwrap().unwrap();
    assert_eq!(ImportRecord::decode(replacement.record).unwrap().replaces, token);
    let unreadable = rows_of(&[&[("kind", ""), ("token", &token)]]).unwrap();
    assert!(unreadable[0].replacement().unwrap().is_none());
}

#[test]
fn marked_columns_are_parsed_from_the_changed_column() {
    let rows = rows_of(&[&[("changed", " Source_ID; client source id,phone ")]]).unwrap();
    assert_eq!(rows[0].marked(), ["source_id", "client_source_id", "phone"]);
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![3 => "[ab;|'=+@\\\\,\"\t\r\n\u{1b}＝ 0-]{0,5}", 1 => any::<String>()]
}

/// The values of a record: more than any kind has fields.
fn texts() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(text(), 24)
}

fn person() -> impl Strategy<Value = Record> {
    let roles = prop::collection::vec(text(), 0..3);
    let place = (text(), roles)
        .prop_map(|(client_source_id, roles)| ContactClient { client_source_id, roles });
    let clients = prop::collection::vec(place, 0..4);
    (text(), clients, texts()).prop_map(|(source_id, clients, texts)| {
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
    (text(), texts()).prop_map(|(source_id, texts)| {
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
    (text(), texts()).prop_map(|(source_id, texts)| {
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

proptest! {
    #[test]
    fn record_reads_back_from_the_failures_file(
        records in prop::collection::vec(prop_oneof![business(), person(), home()], 1..4)
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("failures.csv");
        let wrap = |record: &Record| ImportRecord { record: Some(record.clone()), ..Default::default() };
        let file = imports::testing::failures_file("imp_1", records.iter().map(wrap));
        let has_mark = file.starts_with("\u{feff}".as_bytes());
        prop_assert!(has_mark);
        std::fs::write(&path, file).unwrap();
        let rows = downloaded_rows(&path).unwrap();
        prop_assert!(rows.iter().all(|row| row.import() == "imp_1" && row.has_failed()));
        let tokens: Vec<_> = rows.iter().map(|row| row.token().unwrap()).collect();
        prop_assert_eq!(tokens, (1..).map(token).take(rows.len()).collect::<Vec<_>>());
        let read: Vec<_> = rows.iter().map(|row| record(row).unwrap()).collect();
        prop_assert_eq!(read, records);
        prop_assert_eq!(failed_rows(&path).unwrap().len(), rows.len());
    }
}

#[test]
fn value_that_ends_like_the_start_of_a_row_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("failures.csv");
    for value in ["a\n,b,c,d", "a\r\nb,c,d,e,f", "1 Quay,Leeds\n2,b,c,d,e,f,g,h,i"] {
        let client = ImportClient { source_id: value.to_owned(), ..ImportClient::default() };
        let record = ImportRecord { record: Some(Record::Client(client)), ..Default::default() };
        std::fs::write(&path, imports::testing::failures_file("imp_1", [record])).unwrap();
        assert_eq!(failed_rows(&path).unwrap()[0].cell("source_id"), value);
    }
}

#[test]
fn quote_from_heading_into_row_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("failures.csv");
    let file = imports::testing::failures_file("imp_1", [ImportRecord::default()]);
    let file = String::from_utf8(file).unwrap();
    let (heading, row) = file.split_once("import\n").unwrap();
    let joined = format!("{heading}\"import\n{}\"\n", row.trim_end());
    std::fs::write(&path, joined).unwrap();
    let error = failed_rows(&path).unwrap_err().to_string();
    assert!(error.contains("line 1: a quote is opened in the heading"), "{error}");
}

#[test]
fn file_without_failure_columns_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clients.csv");
    std::fs::write(&path, "source_id,client_reference,client_type\nC1,R1,TRUST\n").unwrap();
    let error = failed_rows(&path).unwrap_err().to_string();
    assert!(
        error.contains("are missing: `kind`, `status`, `token`, `guarded`, `escaped`"),
        "{error}"
    );
}

#[test]
fn file_with_another_separator_is_read() {
    let heading = "token;status;kind;guarded;escaped;source_id;client_source_id;roles;changed;client_reference;\
        client_type;registered_name;trading_name;company_number;utr;vat_number;paye_reference;jurisdiction;title;\
        forename;surname;birth_date;email;phone;middle_names;owner_kind;owner_source_id;type;line_1;\
        line_2;line_3;town;county;postcode;country;active_from;active_to";
    for separator in [";", "\t"] {
        let row = format!("{};failed;contact;;;P1;\"C1;C2\";\"A;B|C\"{}", token(1), ";".repeat(29));
        let text = format!("{heading}\r\n{row}\r\n");
        // Separators in quotes are kept.
        let text = text.replace("C1;C2", "C1#C2").replace("A;B|C", "A#B|C").replace(';', separator);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("failures.csv");
        std::fs::write(&path, text.replace('#', ";")).unwrap();
        let rows = failed_rows(&path).unwrap();
        let Record::Contact(contact) = record(&rows[0]).unwrap() else { panic!("{rows:?}") };
        assert_eq!(contact.clients.len(), 2);
        assert_eq!(contact.clients[0].roles, ["A", "B"]);
    }
}

#[test]
fn file_in_utf_16_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("failures.csv");
    std::fs::write(&path, b"\xff\xfet\0o\0k\0e\0n\0").unwrap();
    let error = failed_rows(&path).unwrap_err().to_string();
    assert!(error.contains("in UTF-16") && error.contains("CSV UTF-8"), "{error}");
}
