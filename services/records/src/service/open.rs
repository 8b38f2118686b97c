//! Opening a record for a change: resolve its name, lock it, and check that the caller's
//! product is linked to it. An opened record is saved with its image.

use concord_core::{
    ids::{self, IdKind},
    status::ApiError,
};
use concord_proto::pb::records::{ErrorReason, RecordKind, RecordState};
use tonic::Code;
use uuid::Uuid;

use super::{
    resolve,
    subject::{Subject, entries_of},
    unit_of_work::UnitOfWork,
};
use crate::{
    domain::{
        record::{Contact, RecordRef, id_kind},
        timeline::Entry,
    },
    error::{RecordError, not_linked},
    store::{audit, clients, contacts, links},
};

/// A client or a person with its timelines, locked.
#[derive(Debug)]
pub(super) struct Open<S> {
    pub(super) record: RecordRef,
    pub(super) subject: S,
    pub(super) entries: Vec<Entry>,
}

/// Whether the search document of a record has to be rebuilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    Changed,
    Same,
}

impl<S: Subject> Open<S> {
    /// The subject as a message.
    pub(super) fn image(&self, work: &UnitOfWork) -> S::Image {
        self.subject.image(&self.entries, work.at.today)
    }

    /// Writes the row, the image and the search document. The caller has updated the
    /// metadata.
    pub(super) async fn save(
        self,
        work: &UnitOfWork,
        names: Names,
    ) -> Result<S::Image, RecordError> {
        if names == Names::Changed {
            self.subject.reindex(work, &self.entries).await?;
        }
        let image = self.image(work);
        self.subject.update(work, &image).await?;
        Ok(image)
    }
}

/// The client or person with the id or alias `name`, in any state.
pub(super) async fn subject<S: Subject>(
    work: &UnitOfWork,
    name: &str,
) -> Result<Open<S>, RecordError> {
    let kind = id_kind(S::KIND).to_string();
    // The field of a request has the name of the kind.
    let field = &kind;
    let record = resolve::of_kind(work.db(), S::KIND, field, name).await?;
    let found = by_id::<S>(work, record.id).await?;
    found.ok_or_else(|| ApiError::not_found(&kind, name).into())
}

/// The client or person with this id, in any state.
pub(super) async fn by_id<S: Subject>(
    work: &UnitOfWork,
    id: Uuid,
) -> Result<Option<Open<S>>, RecordError> {
    let Some(subject) = S::lock(work, id).await? else { return Ok(None) };
    let record = RecordRef { kind: S::KIND, id };
    Ok(Some(Open { record, subject, entries: entries_of(work, id).await? }))
}

/// As [`subject`]. The client or person must be active and linked to the caller's product.
pub(super) async fn linked<S: Subject>(
    work: &UnitOfWork,
    name: &str,
) -> Result<Open<S>, RecordError> {
    let open = subject::<S>(work, name).await?;
    check_linked(work, open.record, open.subject.meta().state).await?;
    Ok(open)
}

/// The contact with the id `text`. Its client is locked, and must be active and linked to
/// the caller's product.
pub(super) async fn linked_contact(work: &UnitOfWork, text: &str) -> Result<Contact, RecordError> {
    let db = work.db();
    let id = parse_contact(text)?;
    let missing = || ApiError::not_found("contact", text);
    let unlocked = contacts::by_id(db, id).await?.ok_or_else(missing)?;
    // Locks the client first, as every writer does. Then reads the contact again: it may
    // have been removed before the lock.
    let client = clients::lock(db, &[unlocked.client_id]).await?;
    let client = client.into_iter().next().ok_or_else(missing)?;
    check_linked(work, RecordRef::client(client.id), client.meta.state).await?;
    Ok(contacts::by_id(db, id).await?.ok_or_else(missing)?)
}

/// Parses the id of a contact.
pub(super) fn parse_contact(text: &str) -> Result<Uuid, ApiError> {
    ids::parse(IdKind::Contact, text).ok_or_else(|| {
        let text = "does not name a contact: use an id such as con_0197…";
        ApiError::invalid_field("contact", ErrorReason::InvalidId, text)
    })
}

/// Checks that the record is active and linked to the caller's product: a person itself, or
/// a client that it is a contact of, or its individual client.
async fn check_linked(
    work: &UnitOfWork,
    record: RecordRef,
    state: RecordState,
) -> Result<(), RecordError> {
    let db = work.db();
    if state != RecordState::Active {
        return Err(orphaned(record).into());
    }
    // The records whose links count.
    let mut records = vec![record.id];
    if record.kind == RecordKind::Person {
        let contacts = contacts::of_persons(db, &[record.id]).await?;
        records.extend(contacts.iter().map(|contact| contact.client_id));
        records.extend(clients::ids_by_person(db, record.id).await?);
    }
    let links = links::products_of(db, &records).await?;
    if links.iter().any(|(_, product)| product == work.caller.product.as_str()) {
        Ok(())
    } else {
        Err(not_linked(record).into())
    }
}

fn orphaned(record: RecordRef) -> ApiError {
    let id = record.text();
    ApiError::new(
        Code::FailedPrecondition,
        ErrorReason::RecordOrphaned,
        format!("{id} has no link and will be purged; link it to your product first"),
    )
    .precondition(&id, "link the record to your product first")
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
    let last = audit::page(work.db(), Some(record.id), None, 1).await?;
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
