//! Tests with files in a temporary folder.

use std::collections::{BTreeMap, BTreeSet};

use concord_proto::pb::{
    FILE_DESCRIPTOR_SET,
    imports::{ContactClient, ImportContact, ImportRecord, import_record},
};
use proptest::prelude::*;
use prost::Message as _;
use prost_reflect::{DescriptorPool, Kind, MessageDescriptor};
use tempfile::TempDir;

use super::{group::ContactRow, *};

const CLIENTS: &str = "source_id,client_reference,client_type\n";
const CONTACTS: &str = "source_id,client_source_id,roles,surname\n";
const ADDRESSES: &str = "source_id,owner_kind,owner_source_id,type,line_1\n";

/// A folder with files.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

fn scan(files: &[(&str, &[u8])]) -> anyhow::Result<Source> {
    Source::scan(&[folder(files).path().to_owned()])
}

/// The records of files, and the remarks about them.
fn records(files: &[(&str, &[u8])]) -> (Vec<import_record::Record>, Vec<String>) {
    let folder = folder(files);
    let source = Source::scan(&[folder.path().to_owned()]).unwrap();
    let mut records = Vec::new();
    source
        .read(|record| {
            records.extend(ImportRecord::decode(record)?.record);
            Ok(())
        })
        .unwrap();
    assert_eq!(records.len() as u64, source.counts().all());
    (records, source.remarks().to_vec())
}

fn contacts(files: &[(&str, &[u8])]) -> Vec<ImportContact> {
    let of_contacts = |record| match record {
        import_record::Record::Contact(contact) => Some(contact),
        _ => None,
    };
    let mut contacts: Vec<_> = records(files).0.into_iter().filter_map(of_contacts).collect();
    contacts.sort_by(|a, b| a.source_id.cmp(&b.source_id));
    contacts
}

/// The error of the files.
fn scan_error(files: &[(&str, &[u8])]) -> String {
    format!("{:#}", scan(files).unwrap_err())
}

fn joined(parts: &[&str]) -> Vec<u8> {
    parts.concat().into_bytes()
}

#[test]
fn columns_map_to_fields() {
    let header = "source_id,client_reference,client_type,registered_name,trading_name,\
                  company_number,utr,vat_number,paye_reference,title,forename,surname,\
                  birth_date,email,phone,jurisdiction";
    let row = (0..16).map(|n| format!("v{n}")).collect::<Vec<_>>().join(",");
    let (records, remarks) = records(&[("a.csv", format!("{header}\n{row}\n").as_bytes())]);
    let [import_record::Record::Client(client)] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!((client.source_id.as_str(), client.phone.as_str()), ("v0", "v14"));
    assert_eq!(client.jurisdiction, "v15");
    assert!(
        ImportRecord { record: Some(records[0].clone()), ..Default::default() }.encoded_len()
            > 15 * 4
    );
    assert!(remarks.is_empty());
}

/// The names of the fields of a message, and of those of its parts.
fn fields_of(message: &MessageDescriptor) -> BTreeSet<String> {
    let fields = message.fields().flat_map(|field| match field.kind() {
        Kind::Message(part) => fields_of(&part),
        _ => BTreeSet::from([field.name().to_owned()]),
    });
    fields.collect()
}

#[test]
fn every_field_of_a_record_has_a_column() {
    let messages = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    for (message, kind) in [
        ("ImportClient", TableKind::Clients),
        ("ImportContact", TableKind::Contacts),
        ("ImportAddress", TableKind::Addresses),
    ] {
        let message = messages.get_message_by_name(&format!("concord.imports.v1.{message}"));
        let columns = read::columns(kind).iter().map(|column| (*column).to_owned());
        let columns: BTreeSet<String> = columns.collect();
        assert_eq!(fields_of(&message.unwrap()), columns, "{kind:?}");
    }
}

#[test]
fn contact_with_very_many_clients_is_sent() {
    let rows = (0..5_000).map(|n| format!("P1,CLIENT-{n:030},DIRECTOR,Moss\n"));
    let rows = rows.collect::<String>();
    let contacts = contacts(&[("contacts.csv", &joined(&[CONTACTS, &rows]))]);
    assert_eq!((contacts.len(), contacts[0].clients.len()), (1, 5_000));
    assert!(contacts[0].encoded_len() > 65_536);
}

#[test]
fn byte_order_marks_line_ends_and_column_order_are_ignored() {
    let plain = joined(&[CLIENTS, "C1,R1,TRUST\nC2,R2,CHARITY\n"]);
    let other = "\u{feff}Client_Type , client_reference,source_id\r\nTRUST,R1,C1\r\nCHARITY,R2,C2";
    let quoted =
        "\u{feff}\"source_id\",\"client_reference\",\"client_type\"\nC1,R1,TRUST\nC2,R2,CHARITY";
    let expected = records(&[("a.csv", &plain)]);
    assert_eq!(records(&[("a.csv", other.as_bytes())]), expected);
    let misread = joined(&["ï»¿", CLIENTS, "C1,R1,TRUST\nC2,R2,CHARITY\n"]);
    assert_eq!(records(&[("a.csv", &misread)]), expected);
    let german = other.replace(',', ";");
    assert_eq!(records(&[("a.csv", german.as_bytes())]), expected);
    assert_eq!(records(&[("a.csv", quoted.as_bytes())]), expected);
}

#[test]
fn files_are_recognised_by_headings_and_others_are_ignored() {
    let clients = joined(&[CLIENTS, "C1,R1,TRUST\n"]);
    let addresses = joined(&[ADDRESSES, "A1,client,C1,TRADING,1 High Street\n"]);
    let (records, remarks) = records(&[
        ("part-2.CSV", &addresses),
        ("whatever.csv", &clients),
        ("verdicts.csv", b"kind,source_id,status,reason,field\nclient,C1,failed,X,y\n"),
        ("notes.txt", b"not even a table"),
    ]);
    assert_eq!(records.len(), 2);
    assert_eq!(remarks.len(), 1);
    assert!(remarks[0].contains("verdicts.csv: ignored"), "{remarks:?}");
}

#[test]
fn unknown_columns_are_reported_except_empty_ones() {
    let file = b"source_id,client_reference,client_type,mood,tel phone,,\nC1,R1,TRUST,,,,\n";
    let source = scan(&[("a.csv", file)]).unwrap();
    let [message] = source.unknown_columns() else { panic!("{source:?}") };
    assert!(
        message.contains("a.csv: unknown columns `mood`, `tel phone` (is it `phone`?): "),
        "{message}"
    );
    let file = b"source_id,client_reference,client_type,,\nC1,R1,TRUST,,\nC2,R2,TRUST,,x\n";
    let source = scan(&[("a.csv", file)]).unwrap();
    let [message] = source.unknown_columns() else { panic!("{source:?}") };
    assert!(
        message.contains("unknown column no. 5 (without a heading): files of clients have no such"),
        "{message}"
    );
    let known = joined(&[CLIENTS, "C1,R1,TRUST\n"]);
    assert!(scan(&[("a.csv", &known)]).unwrap().unknown_columns().is_empty());
}

#[test]
fn missing_column_error_has_the_file() {
    let error = scan_error(&[("a.csv", b"client_reference,client_type\nR1,TRUST\n")]);
    assert!(error.contains("a.csv") && error.contains("`source_id`"), "{error}");
    let misnamed = scan_error(&[("clients.csv", b"id,name\n1,Acme\n")]);
    let message = "`source_id` (is it `id`?), `client_reference`, `client_type`";
    assert!(misnamed.contains(message), "{misnamed}");
}

#[test]
fn duplicate_column_is_rejected() {
    let error =
        scan_error(&[("a.csv", b"source_id,client_reference,client_type,source_id\n1,2,3,4\n")]);
    assert!(error.contains("duplicate column `source_id`"), "{error}");
}

#[test]
fn row_error_has_file_and_line() {
    let short = scan_error(&[("a.csv", &joined(&[CLIENTS, "C1,R1,TRUST\nC2,R2\n"]))]);
    assert!(short.contains("a.csv, line 3: 2 values, and the heading has 3"), "{short}");
    let heading = CLIENTS.trim_end();
    let carriage = scan_error(&[("a.csv", &joined(&[heading, "\r\nC1,R1,TRUST\r\nC2,R2\r\n"]))]);
    assert!(carriage.contains("a.csv, line 3: 2 values"), "{carriage}");
}

#[test]
fn unclosed_quote_is_rejected() {
    // In the last column, where the number of values stays correct.
    let open = scan_error(&[("a.csv", &joined(&[CLIENTS, "C1,R1,\"TRUST\nC2,R2,TRUST\n"]))]);
    assert!(open.contains("a.csv, line 2: a quote is opened"), "{open}");
}

#[test]
fn file_not_in_utf_8_is_rejected() {
    let error = scan_error(&[("a.csv", &[CLIENTS.as_bytes(), b"C1,\xe9,TRUST\n"].concat())]);
    assert!(error.contains("a.csv, line 2: not in UTF-8"), "{error}");
}

#[test]
fn too_large_record_error_has_the_line() {
    let long = "x".repeat(70_000);
    let error = scan_error(&[("a.csv", &joined(&[CLIENTS, "C1,", &long, ",TRUST\n"]))]);
    assert!(error.contains("a.csv, line 2"), "{error}");
}

#[test]
fn folder_without_records_is_rejected() {
    assert!(scan_error(&[]).contains("there are no .csv files"));
    assert!(scan_error(&[("x.csv", b"a,b\n1,2\n")]).contains("none of the files"));
    let missing = Source::scan(&["/nowhere/at-all.csv".into()]).unwrap_err();
    assert!(format!("{missing:#}").contains("cannot read /nowhere/at-all.csv"));
}

#[test]
fn values_keep_quotes_line_ends_and_nul() {
    let file =
        joined(&[ADDRESSES, "A1,client,C1,TRADING,\"1 \"\"High\"\" Street\nFlat 2\0\"\n,,,,\n"]);
    let (records, _) = records(&[("a.csv", &file)]);
    let [import_record::Record::Address(address)] = records.as_slice() else {
        panic!("{records:?}")
    };
    assert_eq!(address.line_1, "1 \"High\" Street\nFlat 2\0");
}

#[test]
fn person_at_two_clients_is_one_contact_across_files() {
    let one = joined(&[CONTACTS, "P1,C2,SHAREHOLDER; DIRECTOR,Okafor\nP2,C1,,Brook\n"]);
    let two = joined(&[CONTACTS, "P1,C1,DIRECTOR,Okafor\nP1,C1,DIRECTOR,Okafor\n"]);
    let contacts = contacts(&[("one.csv", &one), ("two.csv", &two)]);
    let client = |client: &str, roles: &[&str]| ContactClient {
        client_source_id: client.to_owned(),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
    };
    assert_eq!(contacts.len(), 2);
    assert_eq!(
        contacts[0].clients,
        [client("C1", &["DIRECTOR"]), client("C2", &["DIRECTOR", "SHAREHOLDER"])]
    );
    assert_eq!(contacts[1].clients, [client("C1", &[])]);
}

#[test]
fn rows_with_different_persons_or_without_id_are_not_grouped() {
    let file = joined(&[
        CONTACTS,
        "P1,C1,DIRECTOR,Okafor\nP1,C2,DIRECTOR,Oakford\n,C1,DIRECTOR,X\n,C1,DIRECTOR,X\n",
    ]);
    assert_eq!(contacts(&[("a.csv", &file)]).len(), 4);
}

fn row() -> impl Strategy<Value = ContactRow> {
    let roles =
        prop::collection::vec(prop::sample::select(vec!["DIRECTOR", "PARTNER", "PSC"]), 0..3);
    ("P?[0-3]?", "[ab]?", "C[0-3]", roles).prop_map(
        |(source_id, surname, client_source_id, roles)| ContactRow {
            person: ImportContact { source_id, surname, ..ImportContact::default() },
            client_source_id,
            roles: roles.into_iter().map(str::to_owned).collect(),
        },
    )
}

fn grouped(rows: &[ContactRow]) -> Vec<ImportContact> {
    let mut contacts = Contacts::default();
    for row in rows {
        contacts.add(row.clone());
    }
    let decoded = contacts.into_records().unwrap().into_iter().map(|record| {
        let record = ImportRecord::decode(record).unwrap().record;
        let Some(import_record::Record::Contact(contact)) = record else { panic!("{record:?}") };
        contact
    });
    decoded.collect()
}

proptest! {
    #[test]
    fn contacts_do_not_depend_on_row_order(
        (rows, shuffled) in prop::collection::vec(row(), 0..40)
            .prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle()))
    ) {
        prop_assert_eq!(grouped(&rows), grouped(&shuffled));
    }

    #[test]
    fn each_client_of_each_row_is_in_one_contact(rows in prop::collection::vec(row(), 0..40)) {
        let contacts = grouped(&rows);
        let mut clients_of: BTreeMap<(String, String, String), Vec<String>> = BTreeMap::new();
        for contact in &contacts {
            for client in &contact.clients {
                let key = (contact.source_id.clone(), contact.surname.clone(), client.client_source_id.clone());
                let earlier = clients_of.insert(key, client.roles.clone());
                // Only rows without an id may repeat a client.
                prop_assert!(earlier.is_none() || contact.source_id.is_empty());
            }
        }
        for row in rows.iter().filter(|row| !row.person.source_id.is_empty()) {
            let person = &row.person;
            let key = (person.source_id.clone(), person.surname.clone(), row.client_source_id.clone());
            let roles = clients_of.get(&key);
            prop_assert!(roles.is_some_and(|roles| row.roles.iter().all(|role| roles.contains(role))));
        }
    }
}
