//! Opening a record for a change: found by its name, locked, and only for a
//! product that is linked to it.

use shared::{
    ids::{self, IdKind},
    pb::records::{self as pb, ErrorReason, RecordState},
    status::Refusal,
};
use tonic::Code;
use uuid::Uuid;

use super::{names, script::Script};
use crate::{
    domain::{
        record::{Client, Contact, Person, RecordRef},
        timeline::Entry,
    },
    error::{RecordError, not_linked},
    image,
    store::{audit, clients, contacts, entries, links, persons},
};

/// A client with its timelines, locked.
#[derive(Debug)]
pub(super) struct OpenClient {
    pub(super) client: Client,
    pub(super) entries: Vec<Entry>,
}

impl OpenClient {
    /// As callers see it.
    pub(super) fn image(&self, script: &Script) -> pb::Client {
        image::client(&self.client, &self.entries, script.at.today)
    }
}

/// A person with its timelines, locked.
#[derive(Debug)]
pub(super) struct OpenPerson {
    pub(super) person: Person,
    pub(super) entries: Vec<Entry>,
}

impl OpenPerson {
    /// As callers see it.
    pub(super) fn image(&self, script: &Script) -> pb::Person {
        image::person(&self.person, &self.entries, script.at.today)
    }
}

/// The client that `name` names, in any state.
pub(super) async fn client(
    script: &Script,
    field: &str,
    name: &str,
) -> Result<OpenClient, RecordError> {
    let id = names::client(script.db(), &script.caller.practice, field, name).await?;
    let found = client_by_id(script, id).await?;
    found.ok_or_else(|| Refusal::not_found("client", name).into())
}

/// The client with this id, in any state.
pub(super) async fn client_by_id(
    script: &Script,
    id: Uuid,
) -> Result<Option<OpenClient>, RecordError> {
    let (db, practice) = (script.db(), &script.caller.practice);
    let Some(client) = clients::lock(db, practice, &[id]).await?.into_iter().next() else {
        return Ok(None);
    };
    let mut entries = entries::of_owners(db, practice, &[id]).await?;
    Ok(Some(OpenClient { client, entries: entries.remove(&id).unwrap_or_default() }))
}

/// The person that `name` names, in any state.
pub(super) async fn person(
    script: &Script,
    field: &str,
    name: &str,
) -> Result<OpenPerson, RecordError> {
    let id = names::person(script.db(), &script.caller.practice, field, name).await?;
    let found = person_by_id(script, id).await?;
    found.ok_or_else(|| Refusal::not_found("person", name).into())
}

/// The person with this id, in any state.
pub(super) async fn person_by_id(
    script: &Script,
    id: Uuid,
) -> Result<Option<OpenPerson>, RecordError> {
    let (db, practice) = (script.db(), &script.caller.practice);
    let Some(person) = persons::lock(db, practice, &[id]).await?.into_iter().next() else {
        return Ok(None);
    };
    let mut entries = entries::of_owners(db, practice, &[id]).await?;
    Ok(Some(OpenPerson { person, entries: entries.remove(&id).unwrap_or_default() }))
}

/// As [`client`], active, and linked to the caller's product.
pub(super) async fn linked_client(
    script: &Script,
    field: &str,
    name: &str,
) -> Result<OpenClient, RecordError> {
    let open = client(script, field, name).await?;
    let record = RecordRef::client(open.client.id);
    check_active(record, open.client.life.state)?;
    check_linked(script, record, &[record.id]).await?;
    Ok(open)
}

/// As [`person`], active, and linked to the caller's product: by itself, by a
/// client that it is a contact of, or by the individual client that it is.
pub(super) async fn linked_person(
    script: &Script,
    field: &str,
    name: &str,
) -> Result<OpenPerson, RecordError> {
    let open = person(script, field, name).await?;
    let record = RecordRef::person(open.person.id);
    check_active(record, open.person.life.state)?;
    check_person_linked(script, record.id).await?;
    Ok(open)
}

/// Refuses a product that has no link to the person nor to a client of it.
pub(super) async fn check_person_linked(script: &Script, id: Uuid) -> Result<(), RecordError> {
    let (db, practice) = (script.db(), &script.caller.practice);
    let places = contacts::of_persons(db, practice, &[id]).await?;
    let mut records: Vec<Uuid> = places.iter().map(|contact| contact.client_id).collect();
    records.extend(clients::ids_by_person(db, practice, id).await?);
    records.push(id);
    check_linked(script, RecordRef::person(id), &records).await
}

/// The contact with the id `text`, with the client that it is of, locked and
/// linked to the caller's product.
pub(super) async fn linked_contact(script: &Script, text: &str) -> Result<Contact, RecordError> {
    let (db, practice) = (script.db(), &script.caller.practice);
    let id = parse_contact(text)?;
    let missing = || Refusal::not_found("contact", text);
    let unlocked = contacts::by_id(db, practice, id).await?.ok_or_else(missing)?;
    // The client is locked first, as every writer does; then the contact is as
    // it was, or gone.
    let client = clients::lock(db, practice, &[unlocked.client_id]).await?;
    let client = client.into_iter().next().ok_or_else(missing)?;
    let record = RecordRef::client(client.id);
    check_active(record, client.life.state)?;
    check_linked(script, record, &[record.id]).await?;
    Ok(contacts::by_id(db, practice, id).await?.ok_or_else(missing)?)
}

/// Reads the id of a contact.
pub(super) fn parse_contact(text: &str) -> Result<Uuid, Refusal> {
    ids::parse(IdKind::Contact, text).ok_or_else(|| {
        let text = "does not name a contact: use an id such as con_0197…";
        Refusal::invalid_field("contact", ErrorReason::InvalidId, text)
    })
}

fn check_active(record: RecordRef, state: RecordState) -> Result<(), Refusal> {
    if state == RecordState::Active {
        return Ok(());
    }
    let id = record.text();
    Err(Refusal::new(
        Code::FailedPrecondition,
        ErrorReason::RecordOrphaned,
        format!("{id} has no link and waits for its removal; link it to your product first"),
    )
    .precondition(&id, "link the record to your product first"))
}

async fn check_linked(
    script: &Script,
    record: RecordRef,
    any_of: &[Uuid],
) -> Result<(), RecordError> {
    let caller = &script.caller;
    let links = links::products_of(script.db(), &caller.practice, any_of).await?;
    if links.iter().any(|(_, product)| product == caller.product.as_str()) {
        Ok(())
    } else {
        Err(not_linked(record).into())
    }
}

/// Refuses an etag that is not the one that the record has now.
pub(super) async fn check_etag(
    script: &Script,
    field: &str,
    given: &str,
    current: &str,
    record: RecordRef,
) -> Result<(), RecordError> {
    if given == current {
        return Ok(());
    }
    if given.is_empty() {
        let text = "give the etag that you have read; it says that you know what you change";
        return Err(Refusal::invalid_field(field, ErrorReason::EtagRequired, text).into());
    }
    let last = audit::page(script.db(), &script.caller.practice, Some(record.id), None, 1).await?;
    let mut refusal = Refusal::new(
        Code::Aborted,
        ErrorReason::EtagMismatch,
        "it was changed since you read it; read it again, and decide anew",
    )
    .with("current_etag", current)
    .with("record_id", record.text());
    if let Some(last) = last.first() {
        refusal = refusal
            .with("changed_by_product", &last.product)
            .with("changed_at", last.changed_at.to_rfc3339());
    }
    Err(refusal.into())
}
