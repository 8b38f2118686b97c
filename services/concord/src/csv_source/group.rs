//! Makes contacts of rows: a file has one row for each client of a person, and
//! an import one record for the person, with its clients.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use prost::Message as _;
use shared::pb::imports::{ContactClient, ImportContact};

use super::read::Row;

/// What one row says: a person, and one place of it.
#[derive(Clone, Debug)]
pub(super) struct ContactRow {
    /// The person; without clients.
    pub(super) person: ImportContact,
    pub(super) client_source_id: String,
    pub(super) roles: Vec<String>,
}

/// Reads a row. Space around a value is nothing that rows of one person should
/// differ by.
pub(super) fn contact_row(row: Row<'_>) -> ContactRow {
    let text = |column| row.text(column).trim().to_owned();
    let roles = row.text("roles");
    let roles = roles.split(';').map(str::trim).filter(|role| !role.is_empty());
    ContactRow {
        person: ImportContact {
            source_id: text("source_id"),
            clients: Vec::new(),
            title: text("title"),
            forename: text("forename"),
            middle_names: text("middle_names"),
            surname: text("surname"),
            birth_date: text("birth_date"),
            email: text("email"),
            phone: text("phone"),
        },
        client_source_id: text("client_source_id"),
        roles: roles.map(str::to_owned).collect(),
    }
}

/// The roles of a person by client. Sorted, so that the records are the same
/// whatever the order of the rows is.
type Places = BTreeMap<String, BTreeSet<String>>;

/// Rows, put together by person.
///
/// Rows of one source id with other fields of the person stay apart: which of
/// them is right is for the practice to say, and the server fails them all.
#[derive(Debug, Default)]
pub(super) struct Contacts {
    /// By the encoded person.
    people: HashMap<Vec<u8>, (ImportContact, Places)>,
    /// Nothing says that two rows without a source id are of one person.
    without_id: Vec<ImportContact>,
}

impl Contacts {
    pub(super) fn add(&mut self, row: ContactRow) {
        let ContactRow { person, client_source_id, roles } = row;
        if person.source_id.is_empty() {
            let clients = vec![ContactClient { client_source_id, roles }];
            self.without_id.push(ImportContact { clients, ..person });
            return;
        }
        let entry = self.people.entry(person.encode_to_vec());
        let (_, places) = entry.or_insert_with(|| (person, Places::new()));
        places.entry(client_source_id).or_default().extend(roles);
    }

    /// The records, by source id.
    pub(super) fn into_records(self) -> Vec<ImportContact> {
        let people = self.people.into_values().map(|(person, places)| {
            let clients = places.into_iter().map(|(client_source_id, roles)| ContactClient {
                client_source_id,
                roles: roles.into_iter().collect(),
            });
            ImportContact { clients: clients.collect(), ..person }
        });
        let mut records: Vec<_> = people.chain(self.without_id).collect();
        records.sort_by_cached_key(|contact| (contact.source_id.clone(), contact.encode_to_vec()));
        records
    }
}
