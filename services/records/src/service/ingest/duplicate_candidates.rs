//! Duplicate candidates of imported records: listed in the outcome, never merged.

use std::collections::{BTreeSet, HashMap, HashSet};

use concord_core::{
    caller::Caller,
    rules::match_key::{self, MatchField, MatchKey},
};
use concord_db::TenantDb;
use concord_proto::pb::{
    imports::RecordStatus,
    internal::{ApplyDuplicate, ApplyOutcome},
    records::RecordKind,
};
use sea_orm::ConnectionTrait;
use uuid::Uuid;

use super::{chunk::Incoming, resolve};
use crate::{
    domain::record::RecordRef,
    error::RecordError,
    store::{clients, links, match_keys::oldest},
};

/// Finds the duplicate candidates of the imported records of a chunk. Runs after the chunk
/// is written, so that its own records are compared with each other too.
pub(super) struct DuplicateCandidates<'a> {
    pub(super) caller: &'a Caller,
    /// The persons of the individual clients that the chunk has created.
    pub(super) persons: HashMap<Uuid, Uuid>,
    /// True for a dry run. The records of the chunk are rolled back, so they are no
    /// candidates.
    pub(super) validate_only: bool,
}

/// A match key of an imported record.
struct ImportedKey {
    /// The index of the record in the chunk.
    index: usize,
    /// The client or person with the key.
    id: Uuid,
    key: MatchKey,
}

/// A candidate: the index of the imported record, the equal field, and the older client or
/// person.
type Found = (usize, MatchField, Uuid);

impl DuplicateCandidates<'_> {
    /// Adds to the outcome of each imported record the oldest record with an equal match
    /// key, if that is older than the imported one. So the candidates do not depend on
    /// later records, and a repeated chunk gets the same answer.
    pub(super) async fn add_to(
        mut self,
        db: TenantDb<'_, impl ConnectionTrait>,
        incoming: &[Incoming],
        outcomes: &mut [ApplyOutcome],
    ) -> Result<(), RecordError> {
        let imported = self.imported_keys(db, incoming, outcomes).await?;
        if imported.is_empty() {
            return Ok(());
        }
        let keys: BTreeSet<MatchKey> = imported.iter().map(|own| own.key.clone()).collect();
        let oldest = oldest(db, &keys).await?;
        let rolled_back: HashSet<Uuid> =
            imported.iter().filter(|_| self.validate_only).map(|own| own.id).collect();
        let older = |own: ImportedKey| {
            let other = *oldest.get(&own.key)?;
            let is_older = other < own.id && !rolled_back.contains(&other);
            is_older.then_some((own.index, own.key.field, other))
        };
        let found: Vec<Found> = imported.into_iter().filter_map(older).collect();
        let described = self.describe(db, &found).await?;
        for (index, field, other) in found {
            if let Some((outcome, other)) = outcomes.get_mut(index).zip(described.get(&other)) {
                let duplicate = ApplyDuplicate { field: field.to_string(), ..other.clone() };
                outcome.possible_duplicates.push(duplicate);
            }
        }
        Ok(())
    }

    /// The match keys of the imported records, also of those that an earlier call of the
    /// same chunk imported.
    async fn imported_keys(
        &mut self,
        db: TenantDb<'_, impl ConnectionTrait>,
        incoming: &[Incoming],
        outcomes: &[ApplyOutcome],
    ) -> Result<Vec<ImportedKey>, RecordError> {
        let mut imported = Vec::new();
        for (index, (record, outcome)) in incoming.iter().zip(outcomes).enumerate() {
            let became = RecordRef::parse(&outcome.record_id);
            let (Ok(draft), Some(became)) = (&record.draft, became) else { continue };
            if outcome.status() == RecordStatus::Imported {
                let keys = match_key::of_import(draft).into_iter();
                imported.extend(keys.map(|key| (index, became, key)));
            }
        }
        let is_of_person = |became: &RecordRef, key: &MatchKey| {
            became.kind == RecordKind::Client && key.field == MatchField::NameAndBirthDate
        };
        let individuals = imported.iter().filter(|(_, became, key)| is_of_person(became, key));
        let individuals = individuals.map(|(_, became, _)| became.id);
        let known: Vec<Uuid> = individuals.filter(|id| !self.persons.contains_key(id)).collect();
        if !known.is_empty() {
            let persons = clients::individuals(db, &known).await?;
            self.persons.extend(persons);
        }
        let with_id = |(index, became, key): (usize, RecordRef, MatchKey)| {
            let id = if is_of_person(&became, &key) {
                *self.persons.get(&became.id)?
            } else {
                became.id
            };
            Some(ImportedKey { index, id, key })
        };
        Ok(imported.into_iter().filter_map(with_id).collect())
    }

    /// Describes the candidates to end users: all but the equal field.
    async fn describe(
        &self,
        db: TenantDb<'_, impl ConnectionTrait>,
        found: &[Found],
    ) -> Result<HashMap<Uuid, ApplyDuplicate>, RecordError> {
        if found.is_empty() {
            return Ok(HashMap::new());
        }
        let records = records(db, found).await?;
        let of_kind = |kind: RecordKind| -> Vec<Uuid> {
            records.values().filter(|record| record.kind == kind).map(|record| record.id).collect()
        };
        let Caller { product, account, .. } = self.caller;
        let (clients, persons) = (of_kind(RecordKind::Client), of_kind(RecordKind::Person));
        let mut names = resolve::client_names(db, &clients).await?;
        names.extend(resolve::person_names(db, &persons).await?);
        let all: Vec<Uuid> = clients.into_iter().chain(persons).collect();
        let source_ids = links::external_ids(db, (product, account), &all).await?;
        let source_ids: HashMap<Uuid, String> = source_ids.into_iter().collect();
        let describe = |(other, record): (Uuid, RecordRef)| {
            let (name, client_reference) = names.get(&record.id).cloned().unwrap_or_default();
            let source_id = source_ids.get(&record.id).cloned().unwrap_or_default();
            let (record_id, field) = (record.text(), String::new());
            (other, ApplyDuplicate { field, record_id, name, client_reference, source_id })
        };
        Ok(records.into_iter().map(describe).collect())
    }
}

/// The candidates as records. A person that is an individual client is replaced by the
/// client.
async fn records(
    db: TenantDb<'_, impl ConnectionTrait>,
    found: &[Found],
) -> Result<HashMap<Uuid, RecordRef>, RecordError> {
    let record = |(_, of, id): &Found| match of {
        MatchField::NameAndBirthDate => RecordRef::person(*id),
        MatchField::CompanyNumber | MatchField::Utr | MatchField::VatNumber => {
            RecordRef::client(*id)
        }
    };
    let mut records: HashMap<Uuid, RecordRef> =
        found.iter().map(|found| (found.2, record(found))).collect();
    let persons = records.values().filter(|record| record.kind == RecordKind::Person);
    let persons: Vec<Uuid> = persons.map(|record| record.id).collect();
    let individuals = clients::individuals_of(db, &persons).await?.into_iter().rev();
    records.extend(individuals.map(|(client, person)| (person, RecordRef::client(client))));
    Ok(records)
}
