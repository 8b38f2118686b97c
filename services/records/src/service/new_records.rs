//! The records that one transaction creates. They are collected first and then inserted
//! table by table, so that the number of statements does not depend on the number of
//! records.

use std::collections::HashMap;

use chrono::NaiveDate;
use concord_core::{
    ids::new_uuid,
    rules::{
        date::Period,
        draft::{AddressDraft, ClientDraft, DatedName, PersonDraft},
        value::Value,
    },
};
use concord_proto::pb::records as pb;
use prost::Message as _;
use uuid::Uuid;

use super::{
    search_document,
    unit_of_work::{RequestTime, UnitOfWork},
};
use crate::{
    domain::{
        change::Change,
        link::Link,
        record::{Client, Contact, Person, RecordMeta, RecordRef},
        search::SearchDocument,
        timeline::{Entry, TimelineKey},
    },
    error::RecordError,
    image,
    store::{changes::Recipients, clients, contacts, entries, links, persons, search},
};

/// The records that a transaction creates.
#[derive(Debug, Default)]
pub(super) struct NewRecords {
    pub(super) clients: Vec<Client>,
    pub(super) persons: Vec<Person>,
    pub(super) contacts: Vec<Contact>,
    /// Entries of new and of existing clients and persons.
    pub(super) entries: Vec<Entry>,
    pub(super) links: Vec<Link>,
    pub(super) changes: Vec<Change>,
}

/// The images of the created records, for the answer.
#[derive(Debug, Default)]
pub(super) struct Images {
    pub(super) clients: Vec<pb::Client>,
    pub(super) persons: Vec<pb::Person>,
    pub(super) contacts: Vec<pb::Contact>,
}

impl NewRecords {
    /// Adds a client with its names. The caller adds the change.
    pub(super) fn client(
        &mut self,
        draft: ClientDraft,
        person: Option<Uuid>,
        at: RequestTime,
    ) -> Uuid {
        let id = new_uuid();
        let ClientDraft {
            client_type,
            jurisdiction,
            reference,
            registered_name,
            trading_name,
            identifiers,
            emails,
            phones,
        } = draft;
        let names = [
            (TimelineKey::RegisteredName, registered_name),
            (TimelineKey::TradingName, trading_name),
        ];
        for (timeline, name) in names {
            if let Some(DatedName { name, active_from }) = name {
                let period = Period::new(active_from, None);
                let value = Value::Name(name);
                self.entries.push(Entry::new(new_uuid(), id, timeline, value, period, at.today));
            }
        }
        self.clients.push(Client {
            id,
            client_type,
            jurisdiction,
            reference,
            person_id: person,
            identifiers,
            emails,
            phones,
            meta: RecordMeta::new(at.now),
        });
        id
    }

    /// Adds a person with its name. The caller adds the change.
    pub(super) fn person(&mut self, draft: PersonDraft, at: RequestTime) -> Uuid {
        let id = new_uuid();
        let PersonDraft { name, name_active_from, birth_date, nino, ppsn, emails, phones } = draft;
        let period = Period::new(name_active_from, None);
        let (timeline, value) = (TimelineKey::PersonName, Value::PersonName(name));
        self.entries.push(Entry::new(new_uuid(), id, timeline, value, period, at.today));
        let meta = RecordMeta::new(at.now);
        self.persons.push(Person { id, birth_date, nino, ppsn, emails, phones, meta });
        id
    }

    /// Adds an address of a new or an existing record. `implicit_end`: its end was not
    /// given, but is the start of the next address.
    pub(super) fn address(
        &mut self,
        owner: Uuid,
        draft: AddressDraft,
        implicit_end: bool,
        at: RequestTime,
    ) -> Entry {
        let AddressDraft { address_type, address, period } = draft;
        let (timeline, value) = (TimelineKey::Address(address_type), Value::Address(address));
        let entry = Entry::new(new_uuid(), owner, timeline, value, period, at.today);
        let entry = if implicit_end { entry.with_implicit_end() } else { entry };
        self.entries.push(entry.clone());
        entry
    }

    /// Adds the change that creates `record`.
    pub(super) fn created(&mut self, record: RecordRef, companions: Vec<RecordRef>) -> Uuid {
        self.created_within(record, companions, Vec::new())
    }

    /// As [`created`](Self::created), for a record that belongs to others.
    pub(super) fn created_within(
        &mut self,
        record: RecordRef,
        companions: Vec<RecordRef>,
        within: Vec<Uuid>,
    ) -> Uuid {
        let id = new_uuid();
        self.changes.push(Change::created(id, record).with(companions).within(within));
        id
    }

    /// The persons of the new individual clients, by client.
    pub(super) fn persons_of_clients(&self) -> HashMap<Uuid, Uuid> {
        let clients = self.clients.iter();
        clients.filter_map(|client| Some((client.id, client.person_id?))).collect()
    }

    /// Adds everything to the deferred statements of the unit of work.
    pub(super) async fn write(
        self,
        work: &UnitOfWork,
        recipients: &Recipients,
    ) -> Result<Images, RecordError> {
        let at = work.at;
        let images = self.images(at.today);
        let documents = self.documents(work).await?;
        let changes = self.changes;
        work.defer(|writes| {
            let encoded = |image: &pb::Client| image.encode_to_vec();
            let rows = self.clients.into_iter().zip(images.clients.iter().map(encoded));
            clients::insert(writes, rows.collect())?;
            let rows = self.persons.into_iter().zip(&images.persons);
            persons::insert(writes, rows.collect())?;
            let encoded = |image: &pb::Contact| image.encode_to_vec();
            let rows = self.contacts.into_iter().zip(images.contacts.iter().map(encoded));
            contacts::insert(writes, rows.collect())?;
            entries::insert(writes, &self.entries, at.now)?;
            search::insert(writes, &documents);
            links::insert(writes, self.links);
            Ok(())
        })?;
        work.append(work.author(), recipients, &changes).await?;
        Ok(images)
    }

    fn by_owner(&self) -> HashMap<Uuid, Vec<Entry>> {
        let mut by_owner: HashMap<Uuid, Vec<Entry>> = HashMap::new();
        for entry in &self.entries {
            by_owner.entry(entry.owner).or_default().push(entry.clone());
        }
        by_owner
    }

    /// The search documents of the new clients and persons. An individual is found by the
    /// names of its person, which may have existed before.
    async fn documents(&self, work: &UnitOfWork) -> Result<Vec<SearchDocument>, RecordError> {
        let mut by_owner = self.by_owner();
        let persons = self.clients.iter().filter_map(|client| client.person_id);
        let known: Vec<Uuid> = persons.filter(|id| !by_owner.contains_key(id)).collect();
        by_owner.extend(entries::of_owners(work.db(), &known).await?);
        let entries = |owner: Uuid| by_owner.get(&owner).map_or(&[] as &[Entry], Vec::as_slice);
        let today = work.at.today;
        let clients = self.clients.iter().map(|client| {
            let person = client.person_id.map_or(&[] as &[Entry], entries);
            search_document::client(client, entries(client.id), person, today)
        });
        let persons = self
            .persons
            .iter()
            .map(|person| search_document::person(person.id, entries(person.id), today));
        Ok(clients.chain(persons).collect())
    }

    fn images(&self, today: NaiveDate) -> Images {
        let by_owner = self.by_owner();
        let entries = |owner: Uuid| by_owner.get(&owner).map_or(&[] as &[Entry], Vec::as_slice);
        let client = |client: &Client| image::client(client, entries(client.id), today);
        let person = |person: &Person| image::person(person, entries(person.id), today);
        Images {
            clients: self.clients.iter().map(client).collect(),
            persons: self.persons.iter().map(person).collect(),
            contacts: self.contacts.iter().map(image::contact).collect(),
        }
    }
}
