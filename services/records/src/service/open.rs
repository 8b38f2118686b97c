//! Opening a record for a change: resolve its name, lock it, and check that the caller's
//! product is linked to it.

use concord_core::{
    ids::{self, IdKind},
    status::ApiError,
};
use concord_proto::pb::records::{self as pb, ErrorReason, RecordState};
use tonic::Code;
use uuid::Uuid;

use super::{resolve, unit_of_work::UnitOfWork};
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
    /// The client as a message.
    pub(super) fn image(&self, work: &UnitOfWork) -> pb::Client {
        image::client(&self.client, &self.entries, work.at.today)
    }
}

/// A person with its timelines, locked.
#[derive(Debug)]
pub(super) struct OpenPerson {
    pub(super) person: Person,
    pub(super) entries: Vec<Entry>,
}

impl OpenPerson {
    /// The person as a message.
    pub(super) fn image(&self, work: &UnitOfWork) -> pb::Person {
        image::person(&self.person, &self.entries, work.at.today)
    }
}

/// The client with the id or alias `name`, in any state.
pub(super) async fn client(
    work: &UnitOfWork,
    field: &str,
    name: &str,
) -> Result<OpenClient, RecordError> {
    let id = resolve::client(work.db(), &work.caller.practice, field, name).await?;
    let found = client_by_id(work, id).await?;
    found.ok_or_else(|| ApiError::not_found("client", name).into())
}

/// The client with this id, in any state.
pub(super) async fn client_by_id(
    work: &UnitOfWork,
    id: Uuid,
) -> Result<Option<OpenClient>, RecordError> {
    let (db, practice) = (work.db(), &work.caller.practice);
    let Some(client) = clients::lock(db, practice, &[id]).await?.into_iter().next() else {
        return Ok(None);
    };
    let mut entries = entries::of_owners(db, practice, &[id]).await?;
    Ok(Some(OpenClient { client, entries: entries.remove(&id).unwrap_or_default() }))
}

/// The person with the id or alias `name`, in any state.
pub(super) async fn person(
    work: &UnitOfWork,
    field: &str,
    name: &str,
) -> Result<OpenPerson, RecordError> {
    let id = resolve::person(work.db(), &work.caller.practice, field, name).await?;
    let found = person_by_id(work, id).await?;
    found.ok_or_else(|| ApiError::not_found("person", name).into())
}

/// The person with this id, in any state.
pub(super) async fn person_by_id(
    work: &UnitOfWork,
    id: Uuid,
) -> Result<Option<OpenPerson>, RecordError> {
    let (db, practice) = (work.db(), &work.caller.practice);
    let Some(person) = persons::lock(db, practice, &[id]).await?.into_iter().next() else {
        return Ok(None);
    };
    let mut entries = entries::of_owners(db, practice, &[id]).await?;
    Ok(Some(OpenPerson { person, entries: entries.remove(&id).unwrap_or_default() }))
}

/// As [`client`]. The client must be active and linked to the caller's product.
pub(super) async fn linked_client(
    work: &UnitOfWork,
    field: &str,
    name: &str,
) -> Result<OpenClient, RecordError> {
    let open = client(work, field, name).await?;
    let record = RecordRef::client(open.client.id);
    check_active(record, open.client.meta.state)?;
    check_linked(work, record, &[record.id]).await?;
    Ok(open)
}

/// As [`person`]. The person must be active and linked to the caller's product: itself, or
/// a client that it is a contact of, or its individual client.
pub(super) async fn linked_person(
    work: &UnitOfWork,
    field: &str,
    name: &str,
) -> Result<OpenPerson, RecordError> {
    let open = person(work, field, name).await?;
    let record = RecordRef::person(open.person.id);
    check_active(record, open.person.meta.state)?;
    check_person_linked(work, record.id).await?;
    Ok(open)
}

/// Checks that the caller's product is linked to the person or to a client of it.
pub(super) async fn check_person_linked(work: &UnitOfWork, id: Uuid) -> Result<(), RecordError> {
    let (db, practice) = (work.db(), &work.caller.practice);
    let contacts = contacts::of_persons(db, practice, &[id]).await?;
    let mut records: Vec<Uuid> = contacts.iter().map(|contact| contact.client_id).collect();
    records.extend(clients::ids_by_person(db, practice, id).await?);
    records.push(id);
    check_linked(work, RecordRef::person(id), &records).await
}

/// The contact with the id `text`. Its client is locked, and must be active and linked to
/// the caller's product.
pub(super) async fn linked_contact(work: &UnitOfWork, text: &str) -> Result<Contact, RecordError> {
    let (db, practice) = (work.db(), &work.caller.practice);
    let id = parse_contact(text)?;
    let missing = || ApiError::not_found("contact", text);
    let unlocked = contacts::by_id(db, practice, id).await?.ok_or_else(missing)?;
    // Locks the client first, as every writer does. Then reads the contact again: it may
    // have been removed before the lock.
    let client = clients::lock(db, practice, &[unlocked.client_id]).await?;
    let client = client.into_iter().next().ok_or_else(missing)?;
    let record = RecordRef::client(client.id);
    check_active(record, client.meta.state)?;
    check_linked(work, record, &[record.id]).await?;
    Ok(contacts::by_id(db, practice, id).await?.ok_or_else(missing)?)
}

/// Parses the id of a contact.
pub(super) fn parse_contact(text: &str) -> Result<Uuid, ApiError> {
    ids::parse(IdKind::Contact, text).ok_or_else(|| {
        let text = "does not name a contact: use an id such as con_0197…";
        ApiError::invalid_field("contact", ErrorReason::InvalidId, text)
    })
}

fn check_active(record: RecordRef, state: RecordState) -> Result<(), ApiError> {
    if state == RecordState::Active {
        return Ok(());
    }
    let id = record.text();
    Err(ApiError::new(
        Code::FailedPrecondition,
        ErrorReason::RecordOrphaned,
        format!("{id} has no link and waits for its removal; link it to your product first"),
    )
    .precondition(&id, "link the record to your product first"))
}

async fn check_linked(
    work: &UnitOfWork,
    record: RecordRef,
    any_of: &[Uuid],
) -> Result<(), RecordError> {
    let caller = &work.caller;
    let links = links::products_of(work.db(), &caller.practice, any_of).await?;
    if links.iter().any(|(_, product)| product == caller.product.as_str()) {
        Ok(())
    } else {
        Err(not_linked(record).into())
    }
}

/// Checks the etag of a request (optimistic concurrency).
///
/// # Errors
///
/// `ETAG_MISMATCH` when the record was changed since the caller read it, `ETAG_REQUIRED`
/// when the etag is missing.
pub(super) async fn check_etag(
    work: &UnitOfWork,
    field: &str,
    given: &str,
    current: &str,
    record: RecordRef,
) -> Result<(), RecordError> {
    if given == current {
        return Ok(());
    }
    if given.is_empty() {
        let text = "give the etag of the version that you have read";
        return Err(ApiError::invalid_field(field, ErrorReason::EtagRequired, text).into());
    }
    let last = audit::page(work.db(), &work.caller.practice, Some(record.id), None, 1).await?;
    let mut error = ApiError::new(
        Code::Aborted,
        ErrorReason::EtagMismatch,
        "it was changed since you read it; read it again, then decide and retry",
    )
    .with("current_etag", current)
    .with("record_id", record.text());
    if let Some(last) = last.first() {
        error = error
            .with("changed_by_product", &last.product)
            .with("changed_at", last.changed_at.to_rfc3339());
    }
    Err(error.into())
}
