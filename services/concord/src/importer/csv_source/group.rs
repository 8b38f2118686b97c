//! Groups contact rows by person: a file has one row for each client of a person, and an import
//! has one record for the person with all clients.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use concord_core::rules::text::normalise_id;
use concord_proto::pb::imports::{ContactClient, ImportContact, import_record::Record};
use prost::Message as _;

use super::{read::Row, record::encode};

/// One row: a person, and its roles at one client.
#[derive(Clone, Debug)]
pub(super) struct ContactRow {
    /// The person; without clients.
    pub(super) person: ImportContact,
    pub(super) client_source_id: String,
    pub(super) roles: Vec<String>,
}

/// Reads a row. Trims values and removes invisible characters in ids, so that rows of one
/// person do not differ by these.
pub(super) fn contact_row(row: Row<'_>) -> ContactRow {
    let text = |column| row.text(column).trim().to_owned();
    let roles = row.text("roles");
    let roles = roles.split(';').map(str::trim).filter(|role| !role.is_empty());
    ContactRow {
        person: ImportContact {
            source_id: normalise_id(&row.text("source_id")),
            clients: Vec::new(),
            title: text("title"),
            forename: text("forename"),
            middle_names: text("middle_names"),
            surname: text("surname"),
            birth_date: text("birth_date"),
            email: text("email"),
            phone: text("phone"),
        },
        client_source_id: normalise_id(&row.text("client_source_id")),
        roles: roles.map(str::to_owned).collect(),
    }
}

/// Contact rows, grouped by person.
///
/// Rows with one source id and different fields of the person stay separate. The server fails
/// them all, because only the practice can decide which is right.
#[derive(Debug, Default)]
pub(super) struct Contacts {
    /// By the encoded person, which takes a fraction of the memory of the decoded one.
    people: HashMap<Box<[u8]>, Vec<ClientRoles>>,
    /// Rows without a source id, which cannot be grouped.
    without_id: Vec<ImportContact>,
}

/// A client, and the roles of a person at it.
#[derive(Debug)]
struct ClientRoles {
    client_source_id: Box<str>,
    roles: Box<[String]>,
}

impl Contacts {
    pub(super) fn add(&mut self, row: ContactRow) {
        let ContactRow { person, client_source_id, roles } = row;
        if person.source_id.is_empty() {
            let clients = vec![ContactClient { client_source_id, roles }];
            self.without_id.push(ImportContact { clients, ..person });
            return;
        }
        let clients = self.people.entry(person.encode_to_vec().into()).or_default();
        clients
            .push(ClientRoles { client_source_id: client_source_id.into(), roles: roles.into() });
    }

    /// The records. They and their order do not depend on the order of the rows.
    pub(super) fn into_records(self) -> anyhow::Result<Vec<Bytes>> {
        let mut records = Vec::with_capacity(self.people.len() + self.without_id.len());
        for (person, client_roles) in self.people {
            let person = ImportContact::decode(&*person)?;
            let contact = ImportContact { clients: clients(client_roles), ..person };
            records.push(encode(Record::Contact(contact), "")?);
        }
        for contact in self.without_id {
            records.push(encode(Record::Contact(contact), "")?);
        }
        records.sort_unstable();
        Ok(records)
    }
}

/// Merges the roles by client; sorts clients and roles.
fn clients(client_roles: Vec<ClientRoles>) -> Vec<ContactClient> {
    let mut roles: BTreeMap<Box<str>, BTreeSet<String>> = BTreeMap::new();
    for one in client_roles {
        roles.entry(one.client_source_id).or_default().extend(one.roles);
    }
    let clients = roles.into_iter().map(|(client_source_id, roles)| ContactClient {
        client_source_id: client_source_id.into(),
        roles: roles.into_iter().collect(),
    });
    clients.collect()
}
