//! Benchmarks of the code that every record of an import runs: decoding, validation of the
//! fields, and the digest.

use std::hint::black_box;

use concord_core::rules::import::{digest, parse_bytes};
use concord_proto::pb::imports::{
    ContactClient, ImportAddress, ImportClient, ImportContact, ImportRecord, import_record::Record,
};
use criterion::Criterion;
use prost::Message as _;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for (name, record) in [("client", client()), ("contact", contact()), ("address", address())] {
        let record = ImportRecord { record: Some(record), ..Default::default() };
        let bytes = record.encode_to_vec();
        assert!(parse_bytes(&bytes).outcome.is_ok(), "{name}");
        criterion.bench_function(&format!("decode and validate/{name}"), |b| {
            b.iter(|| parse_bytes(black_box(&bytes)));
        });
        criterion.bench_function(&format!("digest/{name}"), |b| {
            b.iter(|| digest(black_box(&record)));
        });
    }
    criterion.final_summary();
}

fn client() -> Record {
    Record::Client(ImportClient {
        source_id: "C00017".to_owned(),
        client_reference: "HARB001".to_owned(),
        client_type: "PRIVATE_LIMITED_COMPANY".to_owned(),
        registered_name: "Harbour Street Café Limited".to_owned(),
        trading_name: "The Harbour Café".to_owned(),
        company_number: "07687209".to_owned(),
        email: "office@harbour.example".to_owned(),
        phone: "020 7946 0018".to_owned(),
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
