mod addresses;
mod any_kind;
mod clients;
mod contacts;

use super::*;
use crate::rules::{MAX_VIOLATIONS, reason_code, text::forbidden};
use concord_proto::pb::imports::{ContactClient, ImportAddress, ImportClient, ImportContact};

fn client() -> ImportClient {
    ImportClient {
        source_id: "C1".into(),
        client_reference: "Acme01".into(),
        client_type: "PRIVATE_LIMITED_COMPANY".into(),
        registered_name: "Acme Limited".into(),
        ..Default::default()
    }
}

fn individual() -> ImportClient {
    ImportClient {
        client_type: "individual".into(),
        registered_name: String::new(),
        title: "Dr".into(),
        forename: "Grace".into(),
        surname: "Okafor".into(),
        birth_date: "1975-05-05".into(),
        email: "grace@example.com".into(),
        ..client()
    }
}

fn at(client: &str, roles: &[&str]) -> ContactClient {
    let roles = roles.iter().map(|role| (*role).to_owned()).collect();
    ContactClient { client_source_id: client.to_owned(), roles }
}

fn contact(clients: Vec<ContactClient>) -> ImportContact {
    ImportContact {
        source_id: "P1".into(),
        clients,
        forename: "Ann".into(),
        surname: "Smith".into(),
        ..Default::default()
    }
}

fn address() -> ImportAddress {
    ImportAddress {
        source_id: "A1".into(),
        owner_kind: "client".into(),
        owner_source_id: "C1".into(),
        r#type: "TRADING".into(),
        line_1: "1 High Street".into(),
        active_from: "2001-01-01".into(),
        active_to: "2010-06-30".into(),
        ..Default::default()
    }
}

fn parsed(record: impl IntoRecord) -> ParsedRecord {
    parse(&ImportRecord { record: Some(record.into_record()), ..Default::default() })
}

fn digest_of(record: impl IntoRecord) -> [u8; 32] {
    digest(&ImportRecord { record: Some(record.into_record()), ..Default::default() })
}

/// `From` cannot be implemented here: the messages belong to another crate.
trait IntoRecord {
    fn into_record(self) -> Record;
}

macro_rules! into_record {
    ($($type:ident => $kind:ident),+) => { $(
        impl IntoRecord for $type {
            fn into_record(self) -> Record { Record::$kind(self) }
        }
    )+ };
}
into_record! { ImportClient => Client, ImportContact => Contact, ImportAddress => Address }

fn reported(record: &ParsedRecord) -> Vec<(String, &'static str)> {
    let violations = record.outcome.clone().err().unwrap_or_default();
    violations.into_iter().map(|one| (one.field, reason_code(one.reason))).collect()
}

fn warned(record: &ParsedRecord) -> Vec<(&str, &'static str)> {
    record.warnings.iter().map(|one| (one.field.as_str(), reason_code(one.reason))).collect()
}

fn expect<const N: usize>(
    record: impl IntoRecord,
    violations: [(&str, &'static str); N],
) -> ParsedRecord {
    let record = parsed(record);
    assert_eq!(reported(&record), violations.map(|(field, code)| (field.to_owned(), code)));
    record
}

fn text(record: &ParsedRecord) -> String {
    let violations = record.outcome.as_ref().unwrap_err();
    violations.iter().next().unwrap().text.clone()
}
