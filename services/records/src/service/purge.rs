//! The end of a record: removed with its timelines and everything personal,
//! leaving a tombstone of ids.

use shared::{
    caller::Caller,
    ids::new_uuid,
    pb::records::{ChangeKind, PurgeNowResponse, RecordKind, RecordState},
    status::Refusal,
};
use tonic::Code;
use uuid::Uuid;

use super::{
    Records,
    intent::Intent,
    links::{append, is_person_used},
    names, open,
    script::{Answer, Script},
};
use crate::{
    domain::{change::Change, record::RecordRef},
    error::RecordError,
    store::{
        audit, changes::Audience, contacts, entries, erasures, images, links, persons, requests,
        search, tombstones,
    },
};

/// What goes: the records with their last versions.
type Gone = Vec<(RecordRef, i64)>;

impl Records {
    /// Removes an orphaned record before its time.
    pub(crate) async fn purge_now(
        &self,
        caller: Caller,
        intent: Intent,
        name: String,
    ) -> Result<PurgeNowResponse, RecordError> {
        let purged = self.mutate(caller, intent, name, move |script, name| async move {
            let audience = script.audience().await?;
            let (db, practice) = (script.db(), &script.caller.practice);
            let record = names::client_or_person(db, practice, "record", &name).await?;
            let gone = collect(&script, record).await?;
            let gone = gone.ok_or_else(|| still_in_use(record))?;
            let response = PurgeNowResponse {
                record_ids: gone.iter().map(|(record, _)| record.text()).collect(),
                change_ids: remove(&script, &audience, gone).await?,
            };
            Ok(Answer { response, record: record.id })
        });
        let purged = purged.await?;
        self.db.erased();
        Ok(purged)
    }

    /// Removes a record whose purge time has come, unless a link came first:
    /// for the job that goes round.
    pub(crate) async fn purge_due(
        &self,
        system: Caller,
        record: RecordRef,
    ) -> Result<(), RecordError> {
        self.write(system, record, move |script, record| async move {
            if !is_due(&script, *record).await? {
                return Ok(());
            }
            let audience = Audience::everyone(script.db(), &script.caller.practice).await?;
            // One in use would be due again and again.
            let gone = collect(&script, *record).await?;
            let gone = gone.ok_or(RecordError::Corrupt("an orphaned record that is in use"))?;
            remove(&script, &audience, gone).await?;
            Ok(())
        })
        .await?;
        self.db.erased();
        Ok(())
    }
}

/// Whether the purge time has come, seen under the record's lock.
async fn is_due(script: &Script, record: RecordRef) -> Result<bool, RecordError> {
    let life = match record.kind {
        RecordKind::Person => open::person_by_id(script, record.id).await?.map(|o| o.person.life),
        _ => open::client_by_id(script, record.id).await?.map(|open| open.client.life),
    };
    Ok(life.and_then(|life| life.purge_at).is_some_and(|at| at <= script.at.now))
}

/// What goes with an orphaned record; nothing, when it is in use after all.
async fn collect(script: &Script, record: RecordRef) -> Result<Option<Gone>, RecordError> {
    match record.kind {
        RecordKind::Person => collect_person(script, record.id).await,
        _ => collect_client(script, record.id).await,
    }
}

async fn collect_person(script: &Script, id: Uuid) -> Result<Option<Gone>, RecordError> {
    let open = open::person_by_id(script, id).await?;
    let open = open.ok_or_else(|| Refusal::not_found("person", &RecordRef::person(id).text()))?;
    let life = open.person.life;
    if life.state != RecordState::Orphaned || is_person_used(script, id).await? {
        return Ok(None);
    }
    Ok(Some(vec![(RecordRef::person(id), life.version)]))
}

/// A client goes with its contacts, and with the persons that nothing else uses.
async fn collect_client(script: &Script, id: Uuid) -> Result<Option<Gone>, RecordError> {
    let (db, practice) = (script.db(), &script.caller.practice);
    let open = open::client_by_id(script, id).await?;
    let open = open.ok_or_else(|| Refusal::not_found("client", &RecordRef::client(id).text()))?;
    let life = open.client.life;
    let linked = !links::of_record(db, practice, id).await?.is_empty();
    if life.state != RecordState::Orphaned || linked {
        return Ok(None);
    }
    let places = contacts::of_clients(db, practice, &[id]).await?;
    let mut people: Vec<Uuid> = places.iter().map(|contact| contact.person_id).collect();
    people.extend(open.client.person_id);
    people.sort_unstable();
    people.dedup();
    let mut gone: Gone = places
        .iter()
        .map(|contact| (RecordRef::contact(contact.id), contact.life.version))
        .collect();
    gone.push((RecordRef::client(id), life.version));
    // Removed here already: only then does it show which people are still used.
    images::remove(db, practice, &refs(&gone)).await?;
    for person in persons::lock(db, practice, &people).await? {
        if !is_person_used(script, person.id).await? {
            gone.push((RecordRef::person(person.id), person.life.version));
        }
    }
    Ok(Some(gone))
}

/// Removes the records with all that is personal; tells the changes' ids.
async fn remove(
    script: &Script,
    audience: &Audience,
    gone: Gone,
) -> Result<Vec<String>, RecordError> {
    let (db, practice) = (script.db(), &script.caller.practice);
    let records = refs(&gone);
    let ids: Vec<Uuid> = records.iter().map(|record| record.id).collect();
    let entries = entries::of_owners(db, practice, &ids).await?;
    let entry_ids: Vec<Uuid> = entries.values().flatten().map(|entry| entry.id).collect();
    links::remove_all(db, practice, &entry_ids).await?;
    links::remove_all(db, practice, &ids).await?;
    entries::remove_of_owners(db, practice, &ids).await?;
    images::remove(db, practice, &records).await?;
    search::remove(db, practice, &ids).await?;
    requests::forget_records(db, practice, &ids).await?;
    audit::redact(db, practice, &ids).await?;
    tombstones::insert(db, practice, &records, script.at.now).await?;
    erasures::add(db, practice, &records, script.at.now).await?;
    let change = |(record, version): (RecordRef, i64)| {
        Change::new(new_uuid(), record, version + 1, ChangeKind::Purged)
    };
    append(script, audience, gone.into_iter().map(change).collect()).await
}

fn refs(gone: &[(RecordRef, i64)]) -> Vec<RecordRef> {
    gone.iter().map(|(record, _)| *record).collect()
}

fn still_in_use(record: RecordRef) -> Refusal {
    let id = record.text();
    Refusal::new(
        Code::FailedPrecondition,
        shared::pb::records::ErrorReason::RecordInUse,
        format!("{id} is in use; only a record without links, which is orphaned, is removed"),
    )
    .precondition(&id, "every product must unlink it first")
}
