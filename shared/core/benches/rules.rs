//! Benchmarks of the code that every record of an import runs: decoding, validation of the
//! fields, and the digest.

use std::hint::black_box;

use concord_core::rules::import::parse_bytes;
use concord_proto::pb::imports::{
    ContactClient, ImportAddress, ImportClient, ImportContact, ImportRecord, import_record::Record,
};
use criterion::Criterion;
use prost::Message as _;

// The modules that digest.rs imports from `crate`.
use concord_core::rules;
use concord_proto::pb;

/// The digest module, which is private, compiled from its file.
#[path = "../src/rules/import"]
mod import {
    #[expect(dead_code, reason = "the benchmark uses the digest of decodable records only")]
    mod digest;

    /// The digest of a client with these fields.
    pub(super) fn digest(fields: &[&str]) -> [u8; 32] {
        let mut canonical = digest::Canonical::new(super::pb::imports::ImportRecordKind::Client);
        for (number, text) in (1..).zip(fields) {
            canonical.field(number, text);
        }
        canonical.finish()
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for (name, record) in [("client", client()), ("contact", contact()), ("address", address())] {
        let bytes = ImportRecord { record: Some(record), ..Default::default() }.encode_to_vec();
        assert!(parse_bytes(&bytes).outcome.is_ok(), "{name}");
        criterion.bench_function(&format!("decode and validate/{name}"), |b| {
            b.iter(|| parse_bytes(black_box(&bytes)));
        });
    }
    let fields = FIELDS.map(|(_, text)| text);
    criterion.bench_function("digest/client", |b| b.iter(|| import::digest(black_box(&fields))));
    criterion.final_summary();
}

/// A typical client, in the order of the fields of the protocol.
const FIELDS: [(&str, &str); 10] = [
    ("source_id", "C00017"),
    ("client_reference", "HARB001"),
    ("client_type", "PRIVATE_LIMITED_COMPANY"),
    ("registered_name", "Harbour Street Café Limited"),
    ("trading_name", "The Harbour Café"),
    ("company_number", "07687209"),
    ("utr", ""),
    ("vat_number", ""),
    ("email", "office@harbour.example"),
    ("phone", "020 7946 0018"),
];

fn client() -> Record {
    let field = |name: &str| {
        let field = FIELDS.iter().find(|(field, _)| *field == name);
        field.map(|(_, text)| (*text).to_owned()).unwrap_or_default()
    };
    Record::Client(ImportClient {
        source_id: field("source_id"),
        client_reference: field("client_reference"),
        client_type: field("client_type"),
        registered_name: field("registered_name"),
        trading_name: field("trading_name"),
        company_number: field("company_number"),
        email: field("email"),
        phone: field("phone"),
        ..ImportClient::default()
    })
}

fn contact() -> Record {
    let roles_at = |client: &str| ContactClient {
        client_source_id: client.to_owned(),
        roles: vec!["DIRECTOR".to_owned(), "SHAREHOLDER".to_owned()],
    };
    Record::Contact(ImportContact {
        source_id: "P00031".to_owned(),
        clients: vec![roles_at("C00017"), roles_at("C00018")],
        title: "Ms".to_owned(),
        forename: "Zoë".to_owned(),
        surname: "O'Brien".to_owned(),
        birth_date: "1975-05-05".to_owned(),
        email: "zoe@harbour.example".to_owned(),
        ..ImportContact::default()
    })
}

fn address() -> Record {
    Record::Address(ImportAddress {
        source_id: "A00017".to_owned(),
        owner_kind: "client".to_owned(),
        owner_source_id: "C00017".to_owned(),
        r#type: "REGISTERED_OFFICE".to_owned(),
        line_1: "12 Quay Street".to_owned(),
        town: "Bristol".to_owned(),
        postcode: "BS1 4DJ".to_owned(),
        country: "GB".to_owned(),
        active_from: "2019-04-01".to_owned(),
        ..ImportAddress::default()
    })
}
