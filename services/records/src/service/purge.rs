//! Purging a record: removes it with its timelines and all personal data, and leaves a
//! tombstone with its id.

use concord_core::{caller::Caller, ids::new_uuid, status::ApiError};
use concord_proto::pb::records::{ChangeKind, PurgeNowResponse, RecordKind, RecordState};
use tonic::Code;
use uuid::Uuid;

use super::{
    Records,
    links::{append, is_used},
    open,
    request_context::RequestContext,
    resolve,
    subject::Subject as _,
    unit_of_work::{Answer, UnitOfWork},
};
use crate::{
    domain::{
        change::Change,
        record::{Client, Person, RecordRef},
    },
    error::RecordError,
    store::{
        audit, changes::Recipients, contacts, entries, erasures, images, links, persons, requests,
        search,
    },
};

/// The records to purge, with their last versions.
type Purged = Vec<(RecordRef, i64)>;

impl Records {
    /// Purges an orphaned record before its purge time.
    pub(crate) async fn purge_now(
        &self,
        caller: Caller,
        context: RequestContext,
        name: String,
    ) -> Result<PurgeNowResponse, RecordError> {
        let purged = self.mutate(caller, context, name, move |work, name| async move {
            let recipients = work.recipients().await?;
            let record = resolve::client_or_person(work.db(), "record", &name).await?;
            let purged = collect(&work, record).await?;
            let purged = purged.ok_or_else(|| still_in_use(record))?;
            let response = PurgeNowResponse {
                record_ids: purged.iter().map(|(record, _)| record.text()).collect(),
                change_ids: remove(&work, &recipients, purged).await?,
            };
            Ok(Answer { response, record: record.id })
        });
        let purged = purged.await?;
        self.db.request_erasure();
        Ok(purged)
    }

    /// Purges a record whose purge time has passed, unless it was linked meanwhile. Called
    /// by the background job.
    pub(crate) async fn purge_due(
        &self,
        system: Caller,
        record: RecordRef,
    ) -> Result<(), RecordError> {
        self.write(system, record, move |work, record| async move {
            if !is_due(&work, *record).await? {
                return Ok(());
            }
            let recipients = Recipients::all_products(work.db()).await?;
            // A record in use would stay due forever.
            let purged = collect(&work, *record).await?;
            let purged = purged.ok_or(RecordError::Corrupt("an orphaned record that is in use"))?;
            remove(&work, &recipients, purged).await?;
            Ok(())
        })
        .await?;
        self.db.request_erasure();
        Ok(())
    }
}

/// Locks the record, and returns true if its purge time has passed.
async fn is_due(work: &UnitOfWork, record: RecordRef) -> Result<bool, RecordError> {
    let meta = match record.kind {
        RecordKind::Person => Person::lock(work, record.id).await?.map(|person| person.meta),
        _ => Client::lock(work, record.id).await?.map(|client| client.meta),
    };
    Ok(meta.and_then(|meta| meta.purge_at).is_some_and(|at| at <= work.at.now))
}

/// The records to purge with an orphaned record; `None` when it is in use. A client is purged
/// with its contacts, and with the persons that are not used otherwise.
async fn collect(work: &UnitOfWork, record: RecordRef) -> Result<Option<Purged>, RecordError> {
    let (db, name) = (work.db(), record.text());
    let (meta, individual) = if record.kind == RecordKind::Person {
        (open::subject::<Person>(work, &name).await?.subject.meta, None)
    } else {
        let client = open::subject::<Client>(work, &name).await?.subject;
        (client.meta, client.person_id)
    };
    if meta.state != RecordState::Orphaned || is_used(work, record).await? {
        return Ok(None);
    }
    if record.kind == RecordKind::Person {
        return Ok(Some(vec![(record, meta.version)]));
    }
    let contacts = contacts::of_clients(db, &[record.id]).await?;
    let mut people: Vec<Uuid> = contacts.iter().map(|contact| contact.person_id).collect();
    people.extend(individual);
    people.sort_unstable();
    people.dedup();
    let mut purged: Purged = contacts
        .iter()
        .map(|contact| (RecordRef::contact(contact.id), contact.meta.version))
        .collect();
    purged.push((record, meta.version));
    // Removed before the check, so that only other uses of the persons are found.
    images::remove(db, &refs(&purged)).await?;
    for person in persons::lock(db, &people).await? {
        let record = RecordRef::person(person.id);
        if !is_used(work, record).await? {
            purged.push((record, person.meta.version));
        }
    }
    Ok(Some(purged))
}

/// Removes the records with all personal data. Returns the ids of the changes.
async fn remove(
    work: &UnitOfWork,
    recipients: &Recipients,
    purged: Purged,
) -> Result<Vec<String>, RecordError> {
    let db = work.db();
    let records = refs(&purged);
    let ids: Vec<Uuid> = records.iter().map(|record| record.id).collect();
    let entries = entries::of_owners(db, &ids).await?;
    let entry_ids: Vec<Uuid> = entries.values().flatten().map(|entry| entry.id).collect();
    links::remove_all(db, &entry_ids).await?;
    links::remove_all(db, &ids).await?;
    entries::remove_of_owners(db, &ids).await?;
    images::remove(db, &records).await?;
    search::remove(db, &ids).await?;
    requests::clear_answers(db, &ids).await?;
    audit::redact(db, &ids).await?;
    erasures::insert_tombstones(db, &records, work.at.now).await?;
    erasures::add(db, &records, work.at.now).await?;
    let change = |(record, version): (RecordRef, i64)| {
        Change::new(new_uuid(), record, version + 1, ChangeKind::Purged)
    };
    append(work, recipients, purged.into_iter().map(change).collect()).await
}

fn refs(purged: &[(RecordRef, i64)]) -> Vec<RecordRef> {
    purged.iter().map(|(record, _)| *record).collect()
}

fn still_in_use(record: RecordRef) -> ApiError {
    let id = record.text();
    ApiError::new(
        Code::FailedPrecondition,
        concord_proto::pb::records::ErrorReason::RecordInUse,
        format!("{id} is in use; only a record without links, which is orphaned, is removed"),
    )
    .precondition(&id, "every product must unlink it first")
}
