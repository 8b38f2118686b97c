//! Resolves the display names of imported records from the uploaded records, on
//! request.

use std::collections::{BTreeSet, HashMap};

use concord_core::rules::import::{ParsedRecord, parse_bytes};
use concord_proto::pb::imports::ImportRecordKind;
use sea_orm::DatabaseConnection;

use crate::{
    domain::enums::kind_of,
    error::ImportError,
    store::{self, ImportDb, parents::SourceKey},
};

/// Parents looked up in one query; each has 64 KiB at most.
const LOOKUP_CHUNK: usize = 100;

/// Clients of a contact that are searched for the first with a reference.
const MAX_CLIENTS: usize = 20;

/// The display name and reference of a record, and its parents.
#[derive(Clone, Debug, Default)]
struct RecordNames {
    name: String,
    reference: String,
    parents: Vec<SourceKey>,
}

/// The display names of the parents of some records, and of the parents of those.
#[derive(Debug, Default)]
pub(super) struct DisplayNames(HashMap<SourceKey, RecordNames>);

impl DisplayNames {
    /// The display name of `record`.
    pub(super) fn record_name(&self, record: &ParsedRecord) -> String {
        let owner = parents(record).into_iter().next();
        match owner.filter(|_| record.kind == ImportRecordKind::Address) {
            None => record.record_name.clone(),
            Some(owner) => {
                let name = self.0.get(&owner).map(|owner| owner.name.as_str());
                let name = name.filter(|name| !name.is_empty()).unwrap_or(&owner.1);
                format!("{} of {name}", record.record_name)
            }
        }
    }

    /// The reference of the client that `record` is or belongs to; empty if it is
    /// unknown.
    pub(super) fn client_reference(&self, record: &ParsedRecord) -> String {
        if record.kind == ImportRecordKind::Client {
            return record.own_reference.clone();
        }
        let parents = parents(record);
        let of_parent = |parent: &SourceKey| {
            let parent = self.0.get(parent)?;
            let own = Some(&parent.reference).filter(|reference| !reference.is_empty());
            own.or_else(|| parent.parents.iter().find_map(|client| self.reference(client)))
        };
        parents.iter().find_map(of_parent).cloned().unwrap_or_default()
    }

    fn reference(&self, client: &SourceKey) -> Option<&String> {
        let client = self.0.get(client)?;
        Some(&client.reference).filter(|reference| !reference.is_empty())
    }
}

/// Looks up the parents of `records`, and the clients of those.
pub(super) async fn display_names<'r>(
    db: ImportDb<'_, DatabaseConnection>,
    records: impl Iterator<Item = &'r ParsedRecord>,
) -> Result<DisplayNames, ImportError> {
    let mut names = DisplayNames::default();
    let wanted: BTreeSet<SourceKey> = records.flat_map(parents).collect();
    look_up(db, wanted, &mut names).await?;
    let clients = names.0.values().flat_map(|parent| parent.parents.iter().cloned());
    let clients = clients.filter(|client| !names.0.contains_key(client)).collect();
    look_up(db, clients, &mut names).await?;
    Ok(names)
}

async fn look_up(
    db: ImportDb<'_, DatabaseConnection>,
    wanted: BTreeSet<SourceKey>,
    names: &mut DisplayNames,
) -> Result<(), ImportError> {
    let wanted: Vec<SourceKey> = wanted.into_iter().collect();
    for part in wanted.chunks(LOOKUP_CHUNK) {
        let rows_by_key = store::records::rows_of_keys(db, part.to_vec()).await?;
        let payloads = store::staged::payloads(db, rows_by_key.values().copied()).await?;
        for (parent, at) in &rows_by_key {
            if let Some(payload) = payloads.get(at) {
                names.0.insert(parent.clone(), record_names(&parse_bytes(payload)));
            }
        }
        let external = part.iter().filter(|parent| !rows_by_key.contains_key(*parent)).cloned();
        let known = store::parents::external_names(db, external.collect()).await?;
        names.0.extend(known.into_iter().map(|(parent, known)| {
            let store::parents::ExternalNames { name, reference } = known;
            (parent, RecordNames { name, reference, parents: Vec::new() })
        }));
    }
    Ok(())
}

fn record_names(record: &ParsedRecord) -> RecordNames {
    RecordNames {
        name: record.record_name.clone(),
        reference: record.own_reference.clone(),
        parents: parents(record),
    }
}

/// The parents of a record: kind and source id.
fn parents(record: &ParsedRecord) -> Vec<SourceKey> {
    let parents = record.parents.iter().take(MAX_CLIENTS);
    parents.map(|(kind, source_id)| (kind_of(*kind), source_id.clone())).collect()
}

#[cfg(test)]
mod tests {
    use concord_proto::pb::imports::{
        ContactClient, ImportAddress, ImportContact, ImportRecord, import_record,
    };
    use prost::Message as _;

    use super::*;
    use crate::domain::enums::Kind;

    fn parsed(record: import_record::Record) -> ParsedRecord {
        parse_bytes(&ImportRecord { record: Some(record), ..Default::default() }.encode_to_vec())
    }

    fn client(id: &str) -> SourceKey {
        (Kind::Client, id.to_owned())
    }

    #[test]
    fn address_has_name_of_owner_and_reference_of_client() {
        let address = parsed(import_record::Record::Address(ImportAddress {
            source_id: "A1".into(),
            owner_kind: "contact".into(),
            owner_source_id: "P1".into(),
            r#type: "RESIDENTIAL".into(),
            ..ImportAddress::default()
        }));
        let mut names = DisplayNames::default();
        assert_eq!(names.record_name(&address), "Residential address of P1");
        let parents = vec![client("C1"), client("C2")];
        let record_names =
            RecordNames { name: "Ann Smith".into(), parents, ..RecordNames::default() };
        names.0.insert((Kind::Contact, "P1".into()), record_names);
        names.0.insert(client("C1"), RecordNames::default());
        let reference = "REF2".to_owned();
        names.0.insert(client("C2"), RecordNames { reference, ..RecordNames::default() });
        assert_eq!(names.record_name(&address), "Residential address of Ann Smith");
        assert_eq!(names.client_reference(&address), "REF2");
    }

    #[test]
    fn contact_has_first_known_client_reference() {
        let clients = ["C2", "C1"].map(|id| ContactClient {
            client_source_id: id.into(),
            roles: vec!["DIRECTOR".into()],
        });
        let contact = parsed(import_record::Record::Contact(ImportContact {
            source_id: "P1".into(),
            surname: "Smith".into(),
            clients: clients.into(),
            ..ImportContact::default()
        }));
        let mut names = DisplayNames::default();
        assert_eq!(names.client_reference(&contact), "");
        for (id, reference) in [("C1", "REF1"), ("C2", "REF2")] {
            let reference = reference.to_owned();
            names.0.insert(client(id), RecordNames { reference, ..RecordNames::default() });
        }
        assert_eq!(names.client_reference(&contact), "REF1");
        assert_eq!(names.record_name(&contact), "Smith");
    }
}
