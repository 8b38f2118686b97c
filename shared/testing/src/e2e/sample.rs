//! The sample practice of the project as import records, with the expected results,
//! which were worked out by hand.

use std::{collections::BTreeMap, path::Path};

use concord_proto::pb::imports::{
    ContactClient, ImportAddress, ImportClient, ImportContact, import_record::Record,
};

use super::import_records::encoded;

type Row = BTreeMap<String, String>;

/// Every record of the sample, encoded: clients, contacts, addresses.
pub fn records() -> Vec<Vec<u8>> {
    let mut records: Vec<Record> = rows("clients").iter().map(client).collect();
    records.extend(contacts(&rows("contacts")));
    records.extend(rows("addresses").iter().map(address));
    records.into_iter().map(encoded).collect()
}

/// Received, imported, skipped, excluded and failed records.
pub const COUNTS: [i64; 5] = [371, 349, 1, 4, 17];

/// Kind, source id and reason of every violation, in the order of the list.
pub const VIOLATIONS: [(&str, &str, &str); 22] = [
    ("client", "C003", "DUPLICATE_IN_IMPORT"),
    ("client", "C058", "REQUIRED_FIELD_BLANK"),
    ("client", "C059", "CLIENT_TYPE_EXCLUDED"),
    ("client", "C060", "DUPLICATE_REFERENCE"),
    ("client", "C061", "DUPLICATE_REFERENCE"),
    ("client", "C062", "INVALID_UTR"),
    ("contact", "P901", "CONTACT_ROLE_MISSING"),
    ("contact", "P902", "REQUIRED_FIELD_BLANK"),
    ("contact", "P903", "PARENT_FAILED"),
    ("contact", "P904", "CLIENT_TYPE_EXCLUDED"),
    ("contact", "P905", "PARENT_NOT_FOUND"),
    ("address", "A184", "ADDRESS_LINE_1_MISSING"),
    ("address", "A185", "ADDRESS_LINE_1_MISSING"),
    ("address", "A186", "PARENT_FAILED"),
    ("address", "A187", "PARENT_FAILED"),
    ("address", "A188", "CLIENT_TYPE_EXCLUDED"),
    ("address", "A189", "CLIENT_TYPE_EXCLUDED"),
    ("address", "A190", "PARENT_FAILED"),
    ("address", "A191", "PARENT_NOT_FOUND"),
    ("address", "A192", "INVALID_DATE"),
    ("address", "A193", "PERIOD_OVERLAP"),
    ("address", "A194", "PERIOD_OVERLAP"),
];

fn rows(name: &str) -> Vec<Row> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../services/concord/sample");
    let mut reader = csv::Reader::from_path(folder.join(format!("{name}.csv"))).unwrap();
    reader.deserialize().map(|row| row.unwrap()).collect()
}

fn client(row: &Row) -> Record {
    let get = |column: &str| row[column].clone();
    Record::Client(ImportClient {
        source_id: get("source_id"),
        client_reference: get("client_reference"),
        client_type: get("client_type"),
        registered_name: get("registered_name"),
        trading_name: get("trading_name"),
        company_number: get("company_number"),
        utr: get("utr"),
        vat_number: get("vat_number"),
        paye_reference: get("paye_reference"),
        title: get("title"),
        forename: get("forename"),
        surname: get("surname"),
        birth_date: get("birth_date"),
        email: get("email"),
        phone: get("phone"),
        ..ImportClient::default()
    })
}

/// One record for each source id. Its rows are the clients of the contact.
fn contacts(rows: &[Row]) -> Vec<Record> {
    let mut contacts: BTreeMap<String, ImportContact> = BTreeMap::new();
    for row in rows {
        let get = |column: &str| row[column].clone();
        let contact = contacts.entry(get("source_id")).or_insert_with(|| ImportContact {
            source_id: get("source_id"),
            clients: Vec::new(),
            title: get("title"),
            forename: get("forename"),
            middle_names: get("middle_names"),
            surname: get("surname"),
            birth_date: get("birth_date"),
            email: get("email"),
            phone: get("phone"),
        });
        let roles = row["roles"].split(';').filter(|role| !role.is_empty());
        contact.clients.push(ContactClient {
            client_source_id: get("client_source_id"),
            roles: roles.map(ToOwned::to_owned).collect(),
        });
    }
    contacts.into_values().map(Record::Contact).collect()
}

fn address(row: &Row) -> Record {
    let get = |column: &str| row[column].clone();
    Record::Address(ImportAddress {
        source_id: get("source_id"),
        owner_kind: get("owner_kind"),
        owner_source_id: get("owner_source_id"),
        r#type: get("type"),
        line_1: get("line_1"),
        line_2: get("line_2"),
        line_3: get("line_3"),
        town: get("town"),
        county: get("county"),
        postcode: get("postcode"),
        country: get("country"),
        active_from: get("active_from"),
        active_to: get("active_to"),
    })
}
