//! Chunks of an import: records with their parents, and their outcomes.

use concord_proto::{
    pb::{
        imports::{
            ContactClient, ImportAddress, ImportClient, ImportContact, ImportRecord, RecordStatus,
            import_record::Record,
        },
        internal::{ApplyOutcome, ApplyParent},
    },
    wire::ApplyRecord,
};
use prost::Message as _;

/// A record with its parents: their source ids and record ids.
pub fn apply_record(record: Record, parents: &[(&str, &str)]) -> ApplyRecord {
    let parent = |(source_id, record_id): &(&str, &str)| ApplyParent {
        source_id: (*source_id).into(),
        record_id: (*record_id).into(),
    };
    ApplyRecord {
        record: ImportRecord { record: Some(record), ..Default::default() }.encode_to_vec().into(),
        parents: parents.iter().map(parent).collect(),
        ..ApplyRecord::default()
    }
}

/// A company.
pub fn client(source_id: &str, reference: &str, name: &str) -> ApplyRecord {
    let client = ImportClient {
        source_id: source_id.into(),
        client_reference: reference.into(),
        client_type: "PRIVATE_LIMITED_COMPANY".into(),
        registered_name: name.into(),
        ..ImportClient::default()
    };
    apply_record(Record::Client(client), &[])
}

/// A director of the parents, called Ann, born on 29 February 1980.
pub fn contact(source_id: &str, surname: &str, parents: &[(&str, &str)]) -> ApplyRecord {
    let contact_client = |(source_id, _): &(&str, &str)| ContactClient {
        client_source_id: (*source_id).into(),
        roles: vec!["DIRECTOR".into()],
    };
    let contact = ImportContact {
        source_id: source_id.into(),
        clients: parents.iter().map(contact_client).collect(),
        forename: "Ann".into(),
        surname: surname.into(),
        birth_date: "1980-02-29".into(),
        ..ImportContact::default()
    };
    apply_record(Record::Contact(contact), parents)
}

/// A trading address of a client, without an end.
pub fn address(source_id: &str, line_1: &str, from: &str, parent: (&str, &str)) -> ApplyRecord {
    let address = ImportAddress {
        source_id: source_id.into(),
        owner_kind: "client".into(),
        owner_source_id: parent.0.into(),
        r#type: "TRADING".into(),
        line_1: line_1.into(),
        active_from: from.into(),
        ..ImportAddress::default()
    };
    let record = apply_record(Record::Address(address), &[parent]);
    ApplyRecord { active_from: from.into(), ..record }
}

/// The statuses of the outcomes.
pub fn statuses(outcomes: &[ApplyOutcome]) -> Vec<RecordStatus> {
    outcomes.iter().map(ApplyOutcome::status).collect()
}

/// The reasons of the violations of an outcome.
pub fn reasons(outcome: &ApplyOutcome) -> Vec<&str> {
    outcome.violations.iter().map(|violation| violation.reason.as_str()).collect()
}
