//! What people call the records of an import: read from the records as they
//! arrived, when somebody asks.

use std::collections::{BTreeSet, HashMap};

use shared::{
    pb::imports::ImportRecordKind,
    rules::import::{ParsedRecord, parse_bytes},
};

use super::Imports;
use crate::{
    domain::{import::ImportKey, words::kind_of},
    error::ImportError,
    store::{self, parents::SourceKey},
};

/// Parents that are looked up together: they are 64 KiB at most each.
const LOOK_UP: usize = 100;

/// Clients of a contact among which the first with a reference is looked for.
const MAX_CLIENTS: usize = 20;

/// What is known of a record, for people.
#[derive(Clone, Debug, Default)]
struct Person {
    name: String,
    reference: String,
    parents: Vec<SourceKey>,
}

/// The names of the parents of some records, and of their parents.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<SourceKey, Person>);

impl Names {
    /// What people call `record`.
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

    /// The reference of the client that `record` is or belongs to; empty when it
    /// is not known.
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

impl Imports {
    /// Looks up the parents of `records`, and the clients of those.
    pub(super) async fn names<'r>(
        &self,
        key: &ImportKey,
        records: impl Iterator<Item = &'r ParsedRecord>,
    ) -> Result<Names, ImportError> {
        let mut names = Names::default();
        let wanted: BTreeSet<SourceKey> = records.flat_map(parents).collect();
        self.look_up(key, wanted, &mut names).await?;
        let clients = names.0.values().flat_map(|parent| parent.parents.iter().cloned());
        let clients = clients.filter(|client| !names.0.contains_key(client)).collect();
        self.look_up(key, clients, &mut names).await?;
        Ok(names)
    }

    async fn look_up(
        &self,
        key: &ImportKey,
        wanted: BTreeSet<SourceKey>,
        names: &mut Names,
    ) -> Result<(), ImportError> {
        let wanted: Vec<SourceKey> = wanted.into_iter().collect();
        for part in wanted.chunks(LOOK_UP) {
            let reader = self.db.reader();
            let places = store::records::places_of_keys(reader, key, part.to_vec()).await?;
            let payloads = store::staged::payloads(reader, key, places.values().copied()).await?;
            for (parent, at) in &places {
                if let Some(payload) = payloads.get(at) {
                    names.0.insert(parent.clone(), person(&parse_bytes(payload)));
                }
            }
            let outside = part.iter().filter(|parent| !places.contains_key(*parent)).cloned();
            let known = store::parents::known_names(reader, key, outside.collect()).await?;
            names.0.extend(known.into_iter().map(|(parent, known)| {
                let store::parents::KnownNames { name, reference } = known;
                (parent, Person { name, reference, parents: Vec::new() })
            }));
        }
        Ok(())
    }
}

fn person(record: &ParsedRecord) -> Person {
    Person {
        name: record.record_name.clone(),
        reference: record.own_reference.clone(),
        parents: parents(record),
    }
}

/// The parents of a record, by source id.
fn parents(record: &ParsedRecord) -> Vec<SourceKey> {
    let parents = record.parents.iter().take(MAX_CLIENTS);
    parents.map(|(kind, source_id)| (kind_of(*kind), source_id.clone())).collect()
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use shared::pb::imports::{
        ContactClient, ImportAddress, ImportContact, ImportRecord, import_record,
    };

    use super::*;
    use crate::domain::words::Kind;

    fn parsed(record: import_record::Record) -> ParsedRecord {
        parse_bytes(&ImportRecord { record: Some(record), ..Default::default() }.encode_to_vec())
    }

    fn client(id: &str) -> SourceKey {
        (Kind::Client, id.to_owned())
    }

    #[test]
    fn an_address_is_called_after_its_owner_and_has_the_reference_of_its_client() {
        let address = parsed(import_record::Record::Address(ImportAddress {
            source_id: "A1".into(),
            owner_kind: "contact".into(),
            owner_source_id: "P1".into(),
            r#type: "RESIDENTIAL".into(),
            ..ImportAddress::default()
        }));
        let mut names = Names::default();
        assert_eq!(names.record_name(&address), "Residential address of P1");
        let parents = vec![client("C1"), client("C2")];
        let person = Person { name: "Ann Smith".into(), parents, ..Person::default() };
        names.0.insert((Kind::Contact, "P1".into()), person);
        names.0.insert(client("C1"), Person::default());
        let reference = "REF2".to_owned();
        names.0.insert(client("C2"), Person { reference, ..Person::default() });
        assert_eq!(names.record_name(&address), "Residential address of Ann Smith");
        assert_eq!(names.client_reference(&address), "REF2");
    }

    #[test]
    fn a_contact_has_the_reference_of_its_first_client_that_has_one() {
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
        let mut names = Names::default();
        assert_eq!(names.client_reference(&contact), "");
        for (id, reference) in [("C1", "REF1"), ("C2", "REF2")] {
            let reference = reference.to_owned();
            names.0.insert(client(id), Person { reference, ..Person::default() });
        }
        assert_eq!(names.client_reference(&contact), "REF1");
        assert_eq!(names.record_name(&contact), "Smith");
    }
}
