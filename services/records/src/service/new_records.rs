//! Records that one transaction creates: collected first, then written table by
//! table, so that one client and five thousand take the same statements.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use prost::Message as _;
use sea_orm::ConnectionTrait;
use shared::{
    caller::Caller,
    ids::new_uuid,
    pb::records::{self as pb, ChangeKind},
    rules::{
        date::Period,
        draft::{AddressDraft, ClientDraft, DatedName, PersonDraft},
        value::Value,
    },
};
use uuid::Uuid;

use crate::{
    domain::{
        change::Change,
        link::Link,
        record::{Client, Contact, Life, Person, RecordRef},
        timeline::{Entry, TimelineKey},
    },
    error::RecordError,
    image,
    store::{
        changes::{self, Audience},
        clients, contacts, entries, links, persons,
    },
};

/// The time of a transaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now: DateTime<Utc>,
    /// The practice's day.
    pub(super) today: NaiveDate,
}

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
                self.entry(id, timeline, Value::Name(name), period);
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
        self.entry(id, TimelineKey::PersonName, Value::PersonName(name), period);
        let life = Life::new(at.now);
        self.persons.push(Person { id, birth_date, nino, ppsn, emails, phones, life });
        id
    }

    /// Adds addresses of a new record, whose periods were laid out before.
    pub(super) fn addresses(&mut self, owner: Uuid, addresses: Vec<AddressDraft>) -> Vec<Uuid> {
        let add = |AddressDraft { address_type, address, period }| {
            self.entry(owner, TimelineKey::Address(address_type), Value::Address(address), period)
        };
        addresses.into_iter().map(add).collect()
    }

    /// Adds an entry of a new record, or of one that was there before.
    pub(super) fn entry(
        &mut self,
        owner: Uuid,
        timeline: TimelineKey,
        value: Value,
        period: Period,
    ) -> Uuid {
        let id = new_uuid();
        self.entries.push(Entry { id, owner, timeline, value, period });
        id
    }

    /// Adds the change that creates `record`.
    pub(super) fn created(&mut self, record: RecordRef, companions: Vec<RecordRef>) -> Uuid {
        let id = new_uuid();
        self.changes.push(Change {
            id,
            record,
            version: 1,
            kind: ChangeKind::Created,
            entry_id: None,
            companions,
            new_record: true,
        });
        id
    }

    /// Writes everything, the changes last.
    pub(super) async fn write(
        self,
        db: &impl ConnectionTrait,
        caller: &Caller,
        audience: &Audience,
        at: Moment,
    ) -> Result<Images, RecordError> {
        let practice = &caller.practice;
        let images = self.images(at.today);
        let encoded = |image: &pb::Client| image.encode_to_vec();
        let rows = self.clients.into_iter().zip(images.clients.iter().map(encoded));
        clients::insert(db, practice, rows.collect()).await?;
        let encoded = |image: &pb::Person| image.encode_to_vec();
        let rows = self.persons.into_iter().zip(images.persons.iter().map(encoded));
        persons::insert(db, practice, rows.collect()).await?;
        let encoded = |image: &pb::Contact| image.encode_to_vec();
        let rows = self.contacts.into_iter().zip(images.contacts.iter().map(encoded));
        contacts::insert(db, practice, rows.collect()).await?;
        entries::insert(db, practice, &self.entries, at.now).await?;
        links::insert(db, practice, self.links).await?;
        changes::append(db, caller, audience, &self.changes, at.now).await?;
        Ok(images)
    }

    fn images(&self, today: NaiveDate) -> Images {
        let mut by_owner: HashMap<Uuid, Vec<Entry>> = HashMap::new();
        for entry in &self.entries {
            by_owner.entry(entry.owner).or_default().push(entry.clone());
        }
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
