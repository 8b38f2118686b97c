//! Purging a record: removes it with its timelines and all personal data, and leaves a
//! tombstone with its id.

use concord_core::{caller::Caller, ids::new_uuid, status::ApiError};
use concord_proto::pb::records::{ChangeKind, PurgeNowResponse, RecordKind, RecordState};
use tonic::Code;
use uuid::Uuid;

use super::{
    Records,
    links::{append, is_person_used},
    open,
    request_context::RequestContext,
    resolve,
    unit_of_work::{Answer, UnitOfWork},
};
use crate::{
    domain::{change::Change, record::RecordRef},
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
            let (db, practice) = (work.db(), &work.caller.practice);
            let record = resolve::client_or_person(db, practice, "record", &name).await?;
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
            let recipients = Recipients::everyone(work.db(), &work.caller.practice).await?;
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
        RecordKind::Person => open::person_by_id(work, record.id).await?.map(|o| o.person.meta),
        _ => open::client_by_id(work, record.id).await?.map(|open| open.client.meta),
    };
    Ok(meta.and_then(|meta| meta.purge_at).is_some_and(|at| at <= work.at.now))
}

/// The records to purge with an orphaned record; `None` when it is in use.
async fn collect(work: &UnitOfWork, record: RecordRef) -> Result<Option<Purged>, RecordError> {
    match record.kind {
        RecordKind::Person => collect_person(work, record.id).await,
        _ => collect_client(work, record.id).await,
    }
}

async fn collect_person(work: &UnitOfWork, id: Uuid) -> Result<Option<Purged>, RecordError> {
    let open = open::person_by_id(work, id).await?;
    let open = open.ok_or_else(|| ApiError::not_found("person", &RecordRef::person(id).text()))?;
    let meta = open.person.meta;
    if meta.state != RecordState::Orphaned || is_person_used(work, id).await? {
        return Ok(None);
    }
    Ok(Some(vec![(RecordRef::person(id), meta.version)]))
}

/// A client is purged with its contacts, and with the persons that are not used otherwise.
async fn collect_client(work: &UnitOfWork, id: Uuid) -> Result<Option<Purged>, RecordError> {
    let (db, practice) = (work.db(), &work.caller.practice);
    let open = open::client_by_id(work, id).await?;
    let open = open.ok_or_else(|| ApiError::not_found("client", &RecordRef::client(id).text()))?;
    let meta = open.client.meta;
    let linked = !links::of_record(db, practice, id).await?.is_empty();
    if meta.state != RecordState::Orphaned || linked {
        return Ok(None);
    }
    let contacts = contacts::of_clients(db, practice, &[id]).await?;
    let mut people: Vec<Uuid> = contacts.iter().map(|contact| contact.person_id).collect();
    people.extend(open.client.person_id);
    people.sort_unstable();
    people.dedup();
    let mut purged: Purged = contacts
        .iter()
        .map(|contact| (RecordRef::contact(contact.id), contact.meta.version))
        .collect();
    purged.push((RecordRef::client(id), meta.version));
    // Removed before the check, so that only other uses of the persons are found.
    images::remove(db, practice, &refs(&purged)).await?;
    for person in persons::lock(db, practice, &people).await? {
        if !is_person_used(work, person.id).await? {
            purged.push((RecordRef::person(person.id), person.meta.version));
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
    let (db, practice) = (work.db(), &work.caller.practice);
    let records = refs(&purged);
    let ids: Vec<Uuid> = records.iter().map(|record| record.id).collect();
    let entries = entries::of_owners(db, practice, &ids).await?;
    let entry_ids: Vec<Uuid> = entries.values().flatten().map(|entry| entry.id).collect();
    links::remove_all(db, practice, &entry_ids).await?;
    links::remove_all(db, practice, &ids).await?;
    entries::remove_of_owners(db, practice, &ids).await?;
    images::remove(db, practice, &records).await?;
    search::remove(db, practice, &ids).await?;
    requests::clear_answers(db, practice, &ids).await?;
    audit::redact(db, practice, &ids).await?;
    erasures::insert_tombstones(db, practice, &records, work.at.now).await?;
    erasures::add(db, practice, &records, work.at.now).await?;
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
