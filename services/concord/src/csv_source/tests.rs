//! Files as people have them, in a temporary folder.

use std::collections::BTreeMap;

use proptest::prelude::*;
use shared::pb::imports::{ContactClient, ImportContact};
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

/// The records of files, and what is remarked about them.
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

/// What is wrong with the files.
fn refused(files: &[(&str, &[u8])]) -> String {
    format!("{:#}", scan(files).unwrap_err())
}

fn joined(parts: &[&str]) -> Vec<u8> {
    parts.concat().into_bytes()
}

#[test]
fn every_column_arrives_in_its_field() {
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

#[test]
fn a_contact_with_very_many_clients_is_sent_and_left_to_the_service_to_judge() {
    let rows = (0..5_000).map(|n| format!("P1,CLIENT-{n:030},DIRECTOR,Moss\n"));
    let rows = rows.collect::<String>();
    let contacts = contacts(&[("contacts.csv", &joined(&[CONTACTS, &rows]))]);
    assert_eq!((contacts.len(), contacts[0].clients.len()), (1, 5_000));
    assert!(contacts[0].encoded_len() > 65_536);
}

#[test]
fn byte_order_marks_line_ends_and_moved_columns_do_not_matter() {
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
fn files_are_known_by_their_headings_and_others_are_left_alone() {
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
fn unknown_columns_are_named_and_empty_ones_without_a_heading_are_not() {
    let file = b"source_id,client_reference,client_type,mood,tel phone,,\nC1,R1,TRUST,,,,\n";
    let source = scan(&[("a.csv", file)]).unwrap();
    let [told] = source.unknown_columns() else { panic!("{source:?}") };
    assert!(
        told.contains("a.csv: unknown columns `mood`, `tel phone` (is it `phone`?): "),
        "{told}"
    );
    let file = b"source_id,client_reference,client_type,,\nC1,R1,TRUST,,\nC2,R2,TRUST,,x\n";
    let source = scan(&[("a.csv", file)]).unwrap();
    let [told] = source.unknown_columns() else { panic!("{source:?}") };
    assert!(
        told.contains("unknown column no. 5 (without a heading): files of clients have no such"),
        "{told}"
    );
    let known = joined(&[CLIENTS, "C1,R1,TRUST\n"]);
    assert!(scan(&[("a.csv", &known)]).unwrap().unknown_columns().is_empty());
}

#[test]
fn a_missing_column_is_named_with_its_file() {
    let error = refused(&[("a.csv", b"client_reference,client_type\nR1,TRUST\n")]);
    assert!(error.contains("a.csv") && error.contains("`source_id`"), "{error}");
    let misnamed = refused(&[("clients.csv", b"id,name\n1,Acme\n")]);
    let told = "`source_id` (is it `id`?), `client_reference`, `client_type`";
    assert!(misnamed.contains(told), "{misnamed}");
}

#[test]
fn a_column_that_stands_there_twice_is_refused() {
    let error =
        refused(&[("a.csv", b"source_id,client_reference,client_type,source_id\n1,2,3,4\n")]);
    assert!(error.contains("`source_id` stands there twice"), "{error}");
}

#[test]
fn a_broken_row_is_named_by_file_and_line() {
    let short = refused(&[("a.csv", &joined(&[CLIENTS, "C1,R1,TRUST\nC2,R2\n"]))]);
    assert!(short.contains("a.csv, line 3: 2 values, and the heading has 3"), "{short}");
    let heading = CLIENTS.trim_end();
    let carriage = refused(&[("a.csv", &joined(&[heading, "\r\nC1,R1,TRUST\r\nC2,R2\r\n"]))]);
    assert!(carriage.contains("a.csv, line 3: 2 values"), "{carriage}");
}

#[test]
fn a_quote_that_is_never_closed_does_not_swallow_rows() {
    // In the last column, where the number of values stays right.
    let open = refused(&[("a.csv", &joined(&[CLIENTS, "C1,R1,\"TRUST\nC2,R2,TRUST\n"]))]);
    assert!(open.contains("a.csv, line 2: a quote is opened"), "{open}");
}

#[test]
fn a_file_that_is_not_utf_8_is_refused_with_the_remedy() {
    let error = refused(&[("a.csv", &[CLIENTS.as_bytes(), b"C1,\xe9,TRUST\n"].concat())]);
    assert!(error.contains("a.csv, line 2: not in UTF-8"), "{error}");
}

#[test]
fn a_row_that_makes_too_large_a_record_is_named() {
    let long = "x".repeat(70_000);
    let error = refused(&[("a.csv", &joined(&[CLIENTS, "C1,", &long, ",TRUST\n"]))]);
    assert!(error.contains("a.csv, line 2"), "{error}");
}

#[test]
fn a_folder_without_records_is_refused() {
    assert!(refused(&[]).contains("there are no .csv files"));
    assert!(refused(&[("x.csv", b"a,b\n1,2\n")]).contains("none of the files"));
    let missing = Source::scan(&["/nowhere/at-all.csv".into()]).unwrap_err();
    assert!(format!("{missing:#}").contains("cannot read /nowhere/at-all.csv"));
}

#[test]
fn values_keep_quotes_line_ends_and_zeros() {
    let file =
        joined(&[ADDRESSES, "A1,client,C1,TRADING,\"1 \"\"High\"\" Street\nFlat 2\0\"\n,,,,\n"]);
    let (records, _) = records(&[("a.csv", &file)]);
    let [import_record::Record::Address(address)] = records.as_slice() else {
        panic!("{records:?}")
    };
    assert_eq!(address.line_1, "1 \"High\" Street\nFlat 2\0");
}

#[test]
fn a_person_at_two_clients_is_one_contact_across_files() {
    let one = joined(&[CONTACTS, "P1,C2,SHAREHOLDER; DIRECTOR,Okafor\nP2,C1,,Brook\n"]);
    let two = joined(&[CONTACTS, "P1,C1,DIRECTOR,Okafor\nP1,C1,DIRECTOR,Okafor\n"]);
    let contacts = contacts(&[("one.csv", &one), ("two.csv", &two)]);
    let place = |client: &str, roles: &[&str]| ContactClient {
        client_source_id: client.to_owned(),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
    };
    assert_eq!(contacts.len(), 2);
    assert_eq!(
        contacts[0].clients,
        [place("C1", &["DIRECTOR"]), place("C2", &["DIRECTOR", "SHAREHOLDER"])]
    );
    assert_eq!(contacts[1].clients, [place("C1", &[])]);
}

#[test]
fn rows_that_differ_in_the_person_or_have_no_id_stay_apart() {
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
    fn contacts_do_not_depend_on_the_order_of_rows(
        (rows, shuffled) in prop::collection::vec(row(), 0..40)
            .prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle()))
    ) {
        prop_assert_eq!(grouped(&rows), grouped(&shuffled));
    }

    #[test]
    fn every_place_of_every_row_is_in_one_contact(rows in prop::collection::vec(row(), 0..40)) {
        let contacts = grouped(&rows);
        let mut places: BTreeMap<(String, String, String), Vec<String>> = BTreeMap::new();
        for contact in &contacts {
            for client in &contact.clients {
                let key = (contact.source_id.clone(), contact.surname.clone(), client.client_source_id.clone());
                let earlier = places.insert(key, client.roles.clone());
                // Only rows without an id may repeat one.
                prop_assert!(earlier.is_none() || contact.source_id.is_empty());
            }
        }
        for row in rows.iter().filter(|row| !row.person.source_id.is_empty()) {
            let person = &row.person;
            let key = (person.source_id.clone(), person.surname.clone(), row.client_source_id.clone());
            let roles = places.get(&key);
            prop_assert!(roles.is_some_and(|roles| row.roles.iter().all(|role| roles.contains(role))));
        }
    }
}
