//! Chunks of an import: records with their parents, and their outcomes.

use concord_proto::{
    pb::{
        imports::{
            ImportAddress, ImportClient, ImportContact, RecordStatus, import_record::Record,
        },
        internal::{ApplyOutcome, ApplyParent},
    },
    wire::ApplyRecord,
};

use super::import_records::{address_of, company, director, encoded};

/// A record with its parents: their source ids and record ids.
pub fn apply_record(record: Record, parents: &[(&str, &str)]) -> ApplyRecord {
    let parent = |(source_id, record_id): &(&str, &str)| ApplyParent {
        source_id: (*source_id).into(),
        record_id: (*record_id).into(),
    };
    let parents = parents.iter().map(parent).collect();
    ApplyRecord { record: encoded(record).into(), parents, ..ApplyRecord::default() }
}

/// A company.
pub fn client(source_id: &str, reference: &str, name: &str) -> ApplyRecord {
    let (client_reference, registered_name) = (reference.into(), name.into());
    let client = ImportClient { client_reference, registered_name, ..company(source_id) };
    apply_record(Record::Client(client), &[])
}

/// A director of the parents, called Ann, born on 29 February 1980.
pub fn contact(source_id: &str, surname: &str, parents: &[(&str, &str)]) -> ApplyRecord {
    let clients: Vec<_> = parents.iter().map(|(client, _)| *client).collect();
    let contact = ImportContact {
        forename: "Ann".into(),
        surname: surname.into(),
        birth_date: "1980-02-29".into(),
        ..director(source_id, &clients)
    };
    apply_record(Record::Contact(contact), parents)
}

/// A trading address of a client, without an end.
pub fn address(source_id: &str, line_1: &str, from: &str, parent: (&str, &str)) -> ApplyRecord {
    let address = ImportAddress {
        line_1: line_1.into(),
        active_from: from.into(),
        ..address_of(("client", parent.0), source_id)
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
