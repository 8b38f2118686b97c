//! Records that look like an imported one: named beside it, never merged.

use std::collections::{BTreeSet, HashMap, HashSet};

use sea_orm::ConnectionTrait;
use shared::{
    caller::Caller,
    pb::{
        imports::RecordStatus,
        internal::{ApplyDuplicate, ApplyOutcome},
        records::RecordKind,
    },
    rules::likeness::{self, Likeness, Trait},
};
use uuid::Uuid;

use super::{Incoming, resolve};
use crate::{
    domain::record::RecordRef,
    error::RecordError,
    store::{clients, likeness::oldest, links},
};

/// Looks for what the imported records of a chunk look like, once the chunk is
/// written: its own records are compared with each other too.
pub(super) struct LookAlikes<'a> {
    pub(super) caller: &'a Caller,
    /// The persons of the individual clients that the chunk has created.
    pub(super) persons: HashMap<Uuid, Uuid>,
    /// Whether the chunk is undone: its own records are nothing to name then.
    pub(super) validate_only: bool,
}

/// A likeness of an imported record.
struct Own {
    /// The place of the record in the chunk.
    at: usize,
    /// The client or the person that has it.
    id: Uuid,
    likeness: Likeness,
}

/// A record that was found: the place of the one that looks like it, by what, and
/// the client or the person.
type Found = (usize, Trait, Uuid);

impl LookAlikes<'_> {
    /// Names beside each imported record the oldest one that shares a likeness
    /// with it, when that is older: so each is named after what was there before,
    /// and a chunk that is sent again is answered alike.
    pub(super) async fn name(
        mut self,
        db: &impl ConnectionTrait,
        incoming: &[Incoming],
        outcomes: &mut [ApplyOutcome],
    ) -> Result<(), RecordError> {
        let own = self.own(db, incoming, outcomes).await?;
        if own.is_empty() {
            return Ok(());
        }
        let asked: BTreeSet<Likeness> = own.iter().map(|own| own.likeness.clone()).collect();
        let oldest = oldest(db, &self.caller.practice, &asked).await?;
        let passing: HashSet<Uuid> =
            own.iter().filter(|_| self.validate_only).map(|own| own.id).collect();
        let older = |own: Own| {
            let other = *oldest.get(&own.likeness)?;
            let is_older = other < own.id && !passing.contains(&other);
            is_older.then_some((own.at, own.likeness.of, other))
        };
        let found: Vec<Found> = own.into_iter().filter_map(older).collect();
        let named = self.named(db, &found).await?;
        for (at, of, other) in found {
            if let Some((outcome, named)) = outcomes.get_mut(at).zip(named.get(&other)) {
                let named = ApplyDuplicate { field: of.to_string(), ..named.clone() };
                outcome.possible_duplicates.push(named);
            }
        }
        Ok(())
    }

    /// The likenesses of the records that were imported, also of those that were
    /// imported when the chunk came before.
    async fn own(
        &mut self,
        db: &impl ConnectionTrait,
        incoming: &[Incoming],
        outcomes: &[ApplyOutcome],
    ) -> Result<Vec<Own>, RecordError> {
        let mut imported = Vec::new();
        for (at, (record, outcome)) in incoming.iter().zip(outcomes).enumerate() {
            let became = RecordRef::parse(&outcome.record_id);
            let (Ok(draft), Some(became)) = (&record.draft, became) else { continue };
            if outcome.status() == RecordStatus::Imported {
                let likenesses = likeness::of_import(draft).into_iter();
                imported.extend(likenesses.map(|likeness| (at, became, likeness)));
            }
        }
        let is_of_person = |became: &RecordRef, likeness: &Likeness| {
            became.kind == RecordKind::Client && likeness.of == Trait::NameAndBirthDate
        };
        let individuals = imported.iter().filter(|(_, became, like)| is_of_person(became, like));
        let individuals = individuals.map(|(_, became, _)| became.id);
        let known: Vec<Uuid> = individuals.filter(|id| !self.persons.contains_key(id)).collect();
        if !known.is_empty() {
            let persons = clients::individuals(db, &self.caller.practice, &known).await?;
            self.persons.extend(persons);
        }
        let own = |(at, became, likeness): (usize, RecordRef, Likeness)| {
            let id = if is_of_person(&became, &likeness) {
                *self.persons.get(&became.id)?
            } else {
                became.id
            };
            Some(Own { at, id, likeness })
        };
        Ok(imported.into_iter().filter_map(own).collect())
    }

    /// What people call the records that were found, with all but the field.
    async fn named(
        &self,
        db: &impl ConnectionTrait,
        found: &[Found],
    ) -> Result<HashMap<Uuid, ApplyDuplicate>, RecordError> {
        if found.is_empty() {
            return Ok(HashMap::new());
        }
        let records = self.records(db, found).await?;
        let of_kind = |kind: RecordKind| -> Vec<Uuid> {
            records.values().filter(|record| record.kind == kind).map(|record| record.id).collect()
        };
        let Caller { practice, product, account, .. } = self.caller;
        let (clients, persons) = (of_kind(RecordKind::Client), of_kind(RecordKind::Person));
        let mut names = resolve::client_names(db, self.caller, &clients).await?;
        names.extend(resolve::person_names(db, self.caller, &persons).await?);
        let all: Vec<Uuid> = clients.into_iter().chain(persons).collect();
        let source_ids = links::external_ids(db, practice, (product, account), &all).await?;
        let source_ids: HashMap<Uuid, String> = source_ids.into_iter().collect();
        let describe = |(other, record): (Uuid, RecordRef)| {
            let (name, client_reference) = names.get(&record.id).cloned().unwrap_or_default();
            let source_id = source_ids.get(&record.id).cloned().unwrap_or_default();
            let (record_id, field) = (record.text(), String::new());
            (other, ApplyDuplicate { field, record_id, name, client_reference, source_id })
        };
        Ok(records.into_iter().map(describe).collect())
    }

    /// The records that were found. A person that is an individual client is named
    /// as the client.
    async fn records(
        &self,
        db: &impl ConnectionTrait,
        found: &[Found],
    ) -> Result<HashMap<Uuid, RecordRef>, RecordError> {
        let record = |(_, of, id): &Found| match of {
            Trait::NameAndBirthDate => RecordRef::person(*id),
            Trait::CompanyNumber | Trait::Utr | Trait::VatNumber => RecordRef::client(*id),
        };
        let mut records: HashMap<Uuid, RecordRef> =
            found.iter().map(|found| (found.2, record(found))).collect();
        let persons = records.values().filter(|record| record.kind == RecordKind::Person);
        let persons: Vec<Uuid> = persons.map(|record| record.id).collect();
        let individuals =
            clients::individuals_of(db, &self.caller.practice, &persons).await?.into_iter().rev();
        records.extend(individuals.map(|(client, person)| (person, RecordRef::client(client))));
        Ok(records)
    }
}
