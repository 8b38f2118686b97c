//! Records that one transaction creates: collected first, then written table by
//! table, so that one client and five thousand take the same statements.

use std::collections::HashMap;

use chrono::NaiveDate;
use prost::Message as _;
use shared::{
    ids::new_uuid,
    pb::records as pb,
    rules::{
        date::Period,
        draft::{AddressDraft, ClientDraft, DatedName, PersonDraft},
        value::Value,
    },
};
use uuid::Uuid;

use super::{findable, script::Script};
use crate::{
    domain::{
        change::Change,
        link::Link,
        moment::Moment,
        record::{Client, Contact, Life, Person, RecordRef},
        search::Findable,
        timeline::{Entry, TimelineKey},
    },
    error::RecordError,
    image,
    store::{changes::Audience, clients, contacts, entries, links, persons, search},
};

/// What a transaction creates.
#[derive(Debug, Default)]
pub(super) struct NewRecords {
    pub(super) clients: Vec<Client>,
    pub(super) persons: Vec<Person>,
    pub(super) contacts: Vec<Contact>,
    /// Of new clients and persons, and of those that were there before.
    pub(super) entries: Vec<Entry>,
    pub(super) links: Vec<Link>,
    pub(super) changes: Vec<Change>,
}

/// The images of what was created, for the answer.
#[derive(Debug, Default)]
pub(super) struct Images {
    pub(super) clients: Vec<pb::Client>,
    pub(super) persons: Vec<pb::Person>,
    pub(super) contacts: Vec<pb::Contact>,
}

impl NewRecords {
    /// Adds a client with its names. Its change is for the caller to add.
    pub(super) fn client(&mut self, draft: ClientDraft, person: Option<Uuid>, at: Moment) -> Uuid {
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
            life: Life::new(at.now),
        });
        id
    }

    /// Adds a person with its name. Its change is for the caller to add.
    pub(super) fn person(&mut self, draft: PersonDraft, at: Moment) -> Uuid {
        let id = new_uuid();
        let PersonDraft { name, name_active_from, birth_date, nino, ppsn, emails, phones } = draft;
        let period = Period::new(name_active_from, None);
        let (timeline, value) = (TimelineKey::PersonName, Value::PersonName(name));
        self.entries.push(Entry::new(new_uuid(), id, timeline, value, period, at.today));
        let life = Life::new(at.now);
        self.persons.push(Person { id, birth_date, nino, ppsn, emails, phones, life });
        id
    }

    /// Adds an address of a new record, or of one that was there before.
    /// `closed_by_next`: its end is only the start of the one that follows.
    pub(super) fn address(
        &mut self,
        owner: Uuid,
        draft: AddressDraft,
        closed_by_next: bool,
        at: Moment,
    ) -> Entry {
        let AddressDraft { address_type, address, period } = draft;
        let (timeline, value) = (TimelineKey::Address(address_type), Value::Address(address));
        let entry = Entry::new(new_uuid(), owner, timeline, value, period, at.today);
        let entry = if closed_by_next { entry.closed_by_next() } else { entry };
        self.entries.push(entry.clone());
        entry
    }

    /// Adds the change that creates `record`.
    pub(super) fn created(&mut self, record: RecordRef, companions: Vec<RecordRef>) -> Uuid {
        self.created_within(record, companions, Vec::new())
    }

    /// The same of a record that belongs to others.
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

    /// Writes everything with what the script writes last.
    pub(super) async fn write(
        self,
        script: &Script,
        audience: &Audience,
    ) -> Result<Images, RecordError> {
        let (practice, at) = (&script.caller.practice, script.at);
        let images = self.images(at.today);
        let findables = self.findables(script).await?;
        let changes = self.changes;
        script.write_last(|writes| {
            let encoded = |image: &pb::Client| image.encode_to_vec();
            let rows = self.clients.into_iter().zip(images.clients.iter().map(encoded));
            clients::insert(writes, practice, rows.collect())?;
            let rows = self.persons.into_iter().zip(&images.persons);
            persons::insert(writes, practice, rows.collect())?;
            let encoded = |image: &pb::Contact| image.encode_to_vec();
            let rows = self.contacts.into_iter().zip(images.contacts.iter().map(encoded));
            contacts::insert(writes, practice, rows.collect())?;
            entries::insert(writes, practice, &self.entries, at.now)?;
            search::insert(writes, practice, &findables);
            links::insert(writes, practice, self.links);
            Ok(())
        })?;
        script.append(script.author(), audience, &changes).await?;
        Ok(images)
    }

    fn by_owner(&self) -> HashMap<Uuid, Vec<Entry>> {
        let mut by_owner: HashMap<Uuid, Vec<Entry>> = HashMap::new();
        for entry in &self.entries {
            by_owner.entry(entry.owner).or_default().push(entry.clone());
        }
        by_owner
    }

    /// What the new clients and persons are found by. An individual is found by
    /// the names of its person, who may have been there before.
    async fn findables(&self, script: &Script) -> Result<Vec<Findable>, RecordError> {
        let mut by_owner = self.by_owner();
        let persons = self.clients.iter().filter_map(|client| client.person_id);
        let known: Vec<Uuid> = persons.filter(|id| !by_owner.contains_key(id)).collect();
        by_owner.extend(entries::of_owners(script.db(), &script.caller.practice, &known).await?);
        let entries = |owner: Uuid| by_owner.get(&owner).map_or(&[] as &[Entry], Vec::as_slice);
        let today = script.at.today;
        let clients = self.clients.iter().map(|client| {
            let person = client.person_id.map_or(&[] as &[Entry], entries);
            findable::client(client, entries(client.id), person, today)
        });
        let persons = self
            .persons
            .iter()
            .map(|person| findable::person(person.id, entries(person.id), today));
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
