//! Addresses of an import: added to the timelines of clients and persons, or linked to an
//! equal entry.

use std::collections::{BTreeMap, HashMap, HashSet};

use concord_core::{
    ids::new_uuid,
    rules::{
        FieldViolation, date::Period, draft::AddressDraft, import::ImportDraft, text::quote,
        value::Value,
    },
};
use concord_db::TenantDb;
use concord_proto::pb::{
    imports::RecordStatus,
    internal::ApplyOutcome,
    records::{ChangeKind, ErrorReason, RecordKind, RecordState},
};
use sea_orm::ConnectionTrait;
use uuid::Uuid;

use super::chunk::{Chunk, Incoming, failed, failed_invalid, outcome, parent_gone, period_of};
use crate::{
    domain::{
        change::Change,
        link::ImportOutcome,
        record::{Client, Person, RecordMeta, RecordRef},
        timeline::{self, Entry, MAX_DAYS_AHEAD, MAX_ENTRIES, Placement, TimelineKey},
    },
    error::RecordError,
    image,
    store::{clients, entries, images, links, persons},
};

/// A client or a person that addresses are added to.
enum Owner {
    Client(Client),
    Person(Person),
}

impl Owner {
    fn meta(&mut self) -> &mut RecordMeta {
        match self {
            Self::Client(client) => &mut client.meta,
            Self::Person(person) => &mut person.meta,
        }
    }
}

/// The owners of the addresses of a chunk, with their timelines, which include the entries
/// that the chunk has added.
struct Owners {
    rows: BTreeMap<RecordRef, Owner>,
    entries: HashMap<Uuid, Vec<Entry>>,
    /// Entries that the caller's account has linked already.
    linked: HashSet<Uuid>,
    /// Owners with added entries.
    changed: HashSet<RecordRef>,
    /// Orphaned owners.
    orphaned: HashSet<RecordRef>,
}

pub(super) async fn apply(
    db: TenantDb<'_, impl ConnectionTrait>,
    chunk: &mut Chunk<'_>,
    incoming: &[Incoming],
) -> Result<(), RecordError> {
    let mut owners = owners(db, chunk, incoming).await?;
    chunk.look_up(db, incoming).await?;
    for record in incoming {
        let outcome = match chunk.admit(record) {
            Err(outcome) => outcome,
            Ok(ImportDraft::Address { owner_source_id, address, .. }) => {
                let owner = record.parents.first();
                let owner = owner.and_then(|parent| RecordRef::parse(&parent.record_id));
                match owner {
                    Some(owner) if owners.rows.contains_key(&owner) => {
                        apply_address(chunk, record, address, owner, &mut owners)
                    }
                    // A dry run has not created the owner. Its addresses were checked
                    // with each other by the import.
                    Some(owner) if chunk.validate_only && !owners.orphaned.contains(&owner) => {
                        outcome(RecordStatus::Imported, chunk.link_kind, new_uuid())
                    }
                    _ => parent_gone("owner_source_id", owner_source_id),
                }
            }
            Ok(_) => failed_invalid(record),
        };
        chunk.outcomes.push(outcome);
    }
    replace_images(db, chunk, &owners).await
}

/// Locks the owners. The lock order is that of every writer: clients before persons, each
/// in the order of their ids.
async fn owners(
    db: TenantDb<'_, impl ConnectionTrait>,
    chunk: &Chunk<'_>,
    incoming: &[Incoming],
) -> Result<Owners, RecordError> {
    let caller = chunk.caller;
    let parents = incoming.iter().filter_map(|record| record.parents.first());
    let named: HashSet<RecordRef> =
        parents.filter_map(|parent| RecordRef::parse(&parent.record_id)).collect();
    let of_kind = |kind| named.iter().filter(move |r| r.kind == kind).map(|r| r.id).collect();
    let client_ids: Vec<Uuid> = of_kind(RecordKind::Client);
    let person_ids: Vec<Uuid> = of_kind(RecordKind::Person);
    let mut rows = BTreeMap::new();
    for client in clients::lock(db, &client_ids).await? {
        rows.insert(RecordRef::client(client.id), Owner::Client(client));
    }
    for person in persons::lock(db, &person_ids).await? {
        rows.insert(RecordRef::person(person.id), Owner::Person(person));
    }
    let mut orphaned = HashSet::new();
    rows.retain(|record, owner| {
        let is_active = owner.meta().state == RecordState::Active;
        if !is_active {
            orphaned.insert(*record);
        }
        is_active
    });
    let ids: Vec<Uuid> = rows.keys().map(|record| record.id).collect();
    let entries = entries::of_owners(db, &ids).await?;
    let addresses = entries.values().flatten().filter(|entry| is_address(entry));
    let addresses: Vec<Uuid> = addresses.map(|entry| entry.id).collect();
    let account = (&caller.product, &caller.account);
    let linked = links::linked_records(db, account, &addresses).await?;
    let linked = linked.into_iter().collect();
    Ok(Owners { rows, entries, linked, changed: HashSet::new(), orphaned })
}

fn is_address(entry: &Entry) -> bool {
    matches!(entry.timeline, TimelineKey::Address(_))
}

/// Adds an address to the timeline of its owner, or links the equal entry.
fn apply_address(
    chunk: &mut Chunk<'_>,
    record: &Incoming,
    draft: &AddressDraft,
    owner: RecordRef,
    owners: &mut Owners,
) -> ApplyOutcome {
    let Some(period) = period_of(record) else { return failed_invalid(record) };
    let timeline = TimelineKey::Address(draft.address_type);
    let value = Value::Address(draft.address.clone());
    let all = owners.entries.entry(owner.id).or_default();
    let same: Vec<Entry> = all.iter().filter(|e| e.timeline == timeline).cloned().collect();
    let linked = |id| owners.linked.contains(&id);
    match timeline::place(&same, &value, period, chunk.at.today, linked) {
        Err(error) => failed(vec![violation(&error, &same)]),
        Ok(Placement::Equal(id)) => {
            owners.linked.insert(id);
            chunk.link(record, id, ImportOutcome::Linked)
        }
        Ok(Placement::Added) if all.len() >= MAX_ENTRIES => {
            let text = format!("A record has at most {MAX_ENTRIES} names and addresses");
            failed(vec![FieldViolation::new("owner_source_id", ErrorReason::ValueTooLong, text)])
        }
        Ok(Placement::Added) => {
            let implicit_end = draft.period.to.is_none() && period.to.is_some();
            let draft = AddressDraft { period, ..draft.clone() };
            let entry = chunk.new.address(owner.id, draft, implicit_end, chunk.at);
            let id = entry.id;
            all.push(entry);
            owners.linked.insert(id);
            added(chunk, owner, id, owners);
            chunk.link(record, id, ImportOutcome::Imported)
        }
    }
}

/// The violation of an address that conflicts with others of its owner and type. The text
/// is for end users: it contains addresses and dates, but no ids and no RPCs.
fn violation(error: &timeline::TimelineError, entries: &[Entry]) -> FieldViolation {
    let named = error.entries().iter().take(MAX_NAMED);
    let named = named.filter_map(|id| entries.iter().find(|entry| entry.id == *id));
    let named: Vec<String> = named.map(describe).collect();
    let (named, more) = (named.join("; "), error.entries().len() > MAX_NAMED);
    let more = if more { " and others" } else { "" };
    let text = match error {
        timeline::TimelineError::Overlap(_) => {
            format!("Period overlaps what is kept already: {named}{more}")
        }
        timeline::TimelineError::ScheduledExists(_) => {
            format!("Only one address of a type can begin after today, and there is one: {named}")
        }
        timeline::TimelineError::TooFar => {
            format!("The first day is more than {MAX_DAYS_AHEAD} days ahead: choose a nearer one")
        }
        _ => "The dates do not fit the other addresses of this type".to_owned(),
    };
    FieldViolation::new("active_from", error.reason(), text)
}

/// Maximum number of addresses in one text.
const MAX_NAMED: usize = 3;

fn describe(entry: &Entry) -> String {
    let Period { from, to } = entry.period;
    let from = from.map(|day| format!(" from {day}")).unwrap_or_default();
    let to = to.map(|day| format!(" to {day}")).unwrap_or_default();
    format!("{}{from}{to}", quote(&entry.value.display()))
}

/// Records the change of the owner for an added entry.
fn added(chunk: &mut Chunk<'_>, owner: RecordRef, entry: Uuid, owners: &mut Owners) {
    let Some(row) = owners.rows.get_mut(&owner) else { return };
    let meta = row.meta();
    *meta = meta.changed(chunk.at.now);
    let version = meta.version;
    let companions = match row {
        Owner::Client(client) => client.person_id.map(RecordRef::person).into_iter().collect(),
        Owner::Person(_) => Vec::new(),
    };
    owners.changed.insert(owner);
    chunk.new.changes.push(Change {
        changed_fields: vec!["entries".to_owned()],
        ..Change::new(new_uuid(), owner, version, ChangeKind::EntryAdded)
            .of_entry(entry)
            .with(companions)
    });
}

async fn replace_images(
    db: TenantDb<'_, impl ConnectionTrait>,
    chunk: &Chunk<'_>,
    owners: &Owners,
) -> Result<(), RecordError> {
    let (mut clients, mut persons) = (Vec::new(), Vec::new());
    let today = chunk.at.today;
    for (record, owner) in &owners.rows {
        if !owners.changed.contains(record) {
            continue;
        }
        let entries = owners.entries.get(&record.id).map_or(&[] as &[Entry], Vec::as_slice);
        match owner {
            Owner::Client(client) => {
                let image = image::client(client, entries, today);
                clients.push(images::NewImage::of_client(client.id, &image));
            }
            Owner::Person(person) => {
                let image = image::person(person, entries, today);
                persons.push(images::NewImage::of_person(person.id, &image));
            }
        }
    }
    images::replace(db, RecordKind::Client, clients, chunk.at.now).await?;
    images::replace(db, RecordKind::Person, persons, chunk.at.now).await
}
