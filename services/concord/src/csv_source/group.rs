//! Makes contacts of rows: a file has one row for each client of a person, and
//! an import one record for the person, with its clients.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use prost::Message as _;
use shared::{
    pb::imports::{ContactClient, ImportContact, import_record::Record},
    rules::text::normalise_id,
};

use super::{encode, read::Row};

/// What one row says: a person, and one place of it.
#[derive(Clone, Debug)]
pub(super) struct ContactRow {
    /// The person; without clients.
    pub(super) person: ImportContact,
    pub(super) client_source_id: String,
    pub(super) roles: Vec<String>,
}

/// Reads a row. Removes space around values and invisible characters in ids: rows of
/// one person must not differ by these.
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

/// Rows, put together by person.
///
/// Rows of one source id with other fields of the person stay apart: which of
/// them is right is for the practice to say, and the server fails them all.
#[derive(Debug, Default)]
pub(super) struct Contacts {
    /// By the encoded person: it takes a fraction of the memory.
    people: HashMap<Box<[u8]>, Vec<Place>>,
    /// Nothing says that two rows without a source id are of one person.
    without_id: Vec<ImportContact>,
}

/// A client and the roles of a person there.
#[derive(Debug)]
struct Place {
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
        let places = self.people.entry(person.encode_to_vec().into()).or_default();
        places.push(Place { client_source_id: client_source_id.into(), roles: roles.into() });
    }

    /// The records, the same and in the same order whatever the order of the
    /// rows was.
    pub(super) fn into_records(self) -> anyhow::Result<Vec<Bytes>> {
        let mut records = Vec::with_capacity(self.people.len() + self.without_id.len());
        for (person, places) in self.people {
            let person = ImportContact::decode(&*person)?;
            let contact = ImportContact { clients: clients(places), ..person };
            records.push(encode(Record::Contact(contact), "")?);
        }
        for contact in self.without_id {
            records.push(encode(Record::Contact(contact), "")?);
        }
        records.sort_unstable();
        Ok(records)
    }
}

/// Each client once, with all of the roles there; both sorted.
fn clients(places: Vec<Place>) -> Vec<ContactClient> {
    let mut roles: BTreeMap<Box<str>, BTreeSet<String>> = BTreeMap::new();
    for place in places {
        roles.entry(place.client_source_id).or_default().extend(place.roles);
    }
    let clients = roles.into_iter().map(|(client_source_id, roles)| ContactClient {
        client_source_id: client_source_id.into(),
        roles: roles.into_iter().collect(),
    });
    clients.collect()
}
