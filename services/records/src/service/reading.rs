//! Queries of records: they return the stored images.

use std::collections::HashMap;

use bytes::Bytes;
use chrono::NaiveDate;
use concord_core::{
    caller::Caller,
    page::{self, ResponseBudget},
    status::ApiError,
};
use concord_proto::pb::records::{
    BatchGetClientsResponse, Client, Contact, ContactWithPerson, Entry, ErrorReason, Person,
    RecordKind,
};
use serde::Serialize;
use uuid::Uuid;

use super::{Records, open::parse_contact, resolve};
use crate::{
    domain::record::{RecordRef, id_kind},
    error::RecordError,
    image::{decode, decode_on},
    store::{batch_load::LoadedRecord, clients, contacts, images, persons},
};

/// The requested page of a list.
#[derive(Clone, Debug)]
pub(crate) struct PageRequest {
    pub(crate) size: u64,
    pub(crate) token: String,
}

/// The owner of a list of contacts, by an id or an alias.
#[derive(Clone, Debug)]
pub(crate) enum ContactsOf {
    Client(String),
    Person(String),
}

/// The query that a page token is bound to. A token is rejected for another query.
#[derive(Serialize)]
struct ListKey<'a, A> {
    list: &'static str,
    practice: &'a str,
    arguments: A,
}

impl Records {
    /// A client, with the person of an individual.
    pub(crate) async fn client(
        &self,
        caller: &Caller,
        name: &str,
    ) -> Result<(Client, Option<Person>), RecordError> {
        let LoadedRecord { image, person } = self.load(caller, RecordKind::Client, name).await?;
        let today = self.clock.today();
        let person = person.map(|person| decode_on(person, today)).transpose()?;
        Ok((decode_on(image, today)?, person))
    }

    /// Several clients, in the order of `names`, as many as one response can hold.
    pub(crate) async fn clients(
        &self,
        caller: &Caller,
        names: &[String],
    ) -> Result<BatchGetClientsResponse, RecordError> {
        self.check_connected(caller).await?;
        let db = self.db.reader_of(&caller.practice);
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for (n, name) in names.iter().enumerate() {
            let field = format!("clients[{n}]");
            match resolve::of_kind(db, RecordKind::Client, &field, name).await {
                Ok(record) => found.push((name, record)),
                Err(RecordError::Api(error)) if error.reason() == ErrorReason::NotFound => {
                    missing.push(name.clone());
                }
                Err(error) => return Err(error),
            }
        }
        let mut answer = BatchGetClientsResponse::default();
        let today = self.clock.today();
        let mut budget = ResponseBudget::default();
        for part in found.chunks(READ_AT_ONCE) {
            if !answer.left_out.is_empty() {
                answer.left_out.extend(part.iter().map(|(name, _)| (*name).clone()));
                continue;
            }
            let records: Vec<RecordRef> = part.iter().map(|(_, record)| *record).collect();
            let images = images::get_all(db, &records).await?;
            for (name, record) in part {
                match images.get(&record.id) {
                    None => missing.push((*name).clone()),
                    Some(image) if budget.try_take(image.len()) => {
                        answer.clients.push(decode_on(image.clone(), today)?);
                    }
                    Some(_) => answer.left_out.push((*name).clone()),
                }
            }
        }
        answer.not_found = missing;
        Ok(answer)
    }

    /// A contact with its person.
    pub(crate) async fn contact(
        &self,
        caller: &Caller,
        id: &str,
    ) -> Result<(Contact, Option<Person>), RecordError> {
        let contact = RecordRef::contact(parse_contact(id)?);
        let reading = self.loader.load(caller, contact).await?;
        let LoadedRecord { image, person } =
            reading.ok_or_else(|| ApiError::not_found("contact", id))?;
        let today = self.clock.today();
        let person = person.map(|person| decode_on(person, today)).transpose()?;
        Ok((decode(image)?, person))
    }

    /// A page of persons, with the token of the next.
    pub(crate) async fn list_persons(
        &self,
        caller: &Caller,
        show_orphaned: bool,
        request: PageRequest,
    ) -> Result<(Vec<Person>, String), RecordError> {
        self.check_connected(caller).await?;
        let (db, practice) = (self.db.reader_of(&caller.practice), caller.practice.as_str());
        let key = ListKey { list: "persons", practice, arguments: show_orphaned };
        let after = page::begin_after(&request.token, &key)?;
        let rows = persons::page(db, after, show_orphaned, request.size + 1).await?;
        let (rows, next) =
            paginate(rows, request.size, &key, |(id, _)| *id, |(_, image)| image.len());
        let today = self.clock.today();
        let persons = rows.into_iter().map(|(_, image)| decode_on(image.into(), today));
        Ok((persons.collect::<Result<_, _>>()?, next))
    }

    /// A person.
    pub(crate) async fn person(&self, caller: &Caller, name: &str) -> Result<Person, RecordError> {
        let loaded = self.load(caller, RecordKind::Person, name).await?;
        decode_on(loaded.image, self.clock.today())
    }

    /// The image of a client or a person, by an id or an alias.
    async fn load(
        &self,
        caller: &Caller,
        kind: RecordKind,
        name: &str,
    ) -> Result<LoadedRecord, RecordError> {
        let (db, field) = (self.db.reader_of(&caller.practice), id_kind(kind).to_string());
        if !resolve::is_id(name) {
            // An alias needs a lookup, which a product that is not connected must not do.
            self.check_connected(caller).await?;
        }
        let record = resolve::of_kind(db, kind, &field, name).await?;
        let loaded = self.loader.load(caller, record).await?;
        loaded.ok_or_else(|| ApiError::not_found(&field, name).into())
    }

    /// A client or a person, and its entries with their current statuses, by timeline, the
    /// earliest first.
    pub(crate) async fn entries(
        &self,
        caller: &Caller,
        name: &str,
    ) -> Result<(RecordRef, Vec<Entry>), RecordError> {
        self.check_connected(caller).await?;
        let db = self.db.reader_of(&caller.practice);
        let record = resolve::client_or_person(db, "record", name).await?;
        let image = images::get(db, record).await?;
        let kind = id_kind(record.kind).to_string();
        let image = image.ok_or_else(|| ApiError::not_found(&kind, name))?;
        let today = self.clock.today();
        let entries = match record.kind {
            RecordKind::Person => decode_on::<Person>(image, today)?.entries,
            _ => decode_on::<Client>(image, today)?.entries,
        };
        Ok((record, entries))
    }

    /// A page of clients, with the token of the next.
    pub(crate) async fn list_clients(
        &self,
        caller: &Caller,
        mut which: clients::PageOf,
        request: PageRequest,
    ) -> Result<(Vec<Client>, String), RecordError> {
        self.check_connected(caller).await?;
        let arguments = (&which.linked_product, which.show_orphaned);
        let key = ListKey { list: "clients", practice: caller.practice.as_str(), arguments };
        which.after = page::begin_after(&request.token, &key)?;
        let key = ListKey {
            list: "clients",
            practice: caller.practice.as_str(),
            arguments: (&which.linked_product, which.show_orphaned),
        };
        let rows = clients::page(self.db.reader_of(&caller.practice), &which, request.size + 1);
        let (rows, next) =
            paginate(rows.await?, request.size, &key, |(id, _)| *id, |(_, image)| image.len());
        let today = self.clock.today();
        let clients = rows.into_iter().map(|(_, image)| decode_on(image.into(), today));
        Ok((clients.collect::<Result<_, _>>()?, next))
    }

    /// A page of the contacts of a client or of a person.
    pub(crate) async fn list_contacts(
        &self,
        caller: &Caller,
        of: ContactsOf,
        request: PageRequest,
    ) -> Result<(Vec<ContactWithPerson>, String), RecordError> {
        self.check_connected(caller).await?;
        let (db, practice) = (self.db.reader_of(&caller.practice), caller.practice.as_str());
        let (record, of) = match of {
            ContactsOf::Client(name) => {
                let client = resolve::of_kind(db, RecordKind::Client, "client", &name).await?;
                (client, contacts::PageOf::Client(client.id))
            }
            ContactsOf::Person(name) => {
                let person = resolve::of_kind(db, RecordKind::Person, "person", &name).await?;
                (person, contacts::PageOf::Person(person.id))
            }
        };
        if images::get(db, record).await?.is_none() {
            return Err(
                ApiError::not_found(&id_kind(record.kind).to_string(), &record.text()).into()
            );
        }
        let key = ListKey { list: "contacts", practice, arguments: record.text() };
        let after = page::begin_after(&request.token, &key)?;
        let rows = contacts::page(db, of, after, request.size + 1).await?;
        let persons: Vec<RecordRef> =
            rows.iter().map(|(_, id, _)| RecordRef::person(*id)).collect();
        let persons = images::get_all(db, &persons).await?;
        let bytes = |(_, person, image): &(Uuid, Uuid, Vec<u8>)| {
            image.len() + persons.get(person).map_or(0, Bytes::len)
        };
        let (rows, next) = paginate(rows, request.size, &key, |(id, _, _)| *id, bytes);
        let today = self.clock.today();
        let contact = |(_, person, image)| with_person(image, &person, &persons, today);
        Ok((rows.into_iter().map(contact).collect::<Result<_, _>>()?, next))
    }
}

fn with_person(
    contact: Vec<u8>,
    person: &Uuid,
    persons: &HashMap<Uuid, Bytes>,
    today: NaiveDate,
) -> Result<ContactWithPerson, RecordError> {
    let person = persons.get(person).cloned();
    let person = person.map(|person| decode_on(person, today)).transpose()?;
    Ok(ContactWithPerson { contact: Some(decode::<Contact>(contact.into())?), person })
}

/// Images per statement of a batch read. The response may not hold all of them.
const READ_AT_ONCE: usize = 20;

/// Cuts a page from rows of which one more was read (keyset pagination). Returns the rows
/// and the token of the next page. A page has at least one row, whatever its size.
fn paginate<T>(
    mut rows: Vec<T>,
    size: u64,
    key: &impl Serialize,
    id: impl Fn(&T) -> Uuid,
    bytes: impl Fn(&T) -> usize,
) -> (Vec<T>, String) {
    let mut budget = ResponseBudget::default();
    let fits = rows.iter().take_while(|row| budget.try_take(bytes(row)));
    let keep = fits.count().min(usize::try_from(size).unwrap_or(usize::MAX));
    if rows.len() <= keep {
        return (rows, String::new());
    }
    rows.truncate(keep);
    let next = rows.last().map(|last| page::token(key, &id(last)));
    (rows, next.unwrap_or_default())
}
