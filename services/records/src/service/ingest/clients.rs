//! Clients of an import: created, or linked to the existing client with the same
//! reference if it is the same client.

use std::collections::{BTreeSet, HashMap, HashSet};

use concord_core::{
    ids::new_uuid,
    rules::{
        FieldViolation,
        draft::{ClientDraft, PersonDraft},
        import::ImportDraft,
        match_key::of_client,
        text::{match_key, quote},
        value::PersonName,
    },
};
use concord_db::TenantDb;
use concord_proto::pb::{
    internal::ApplyOutcome,
    records::{self as pb, ChangeKind, ErrorReason, RecordKind, RecordState},
};
use sea_orm::ConnectionTrait;
use uuid::Uuid;

use super::chunk::{Chunk, Incoming, failed, failed_invalid};
use crate::{
    domain::{
        change::Change,
        link::ImportOutcome,
        record::{Client, RecordMeta, RecordRef},
    },
    error::RecordError,
    image::{decode_on, timestamp},
    store::{clients, images, links},
};

/// An existing client with the reference of an incoming client.
struct Candidate {
    client: Client,
    image: pb::Client,
    /// The current name.
    name: String,
    /// The match key of the name.
    name_key: String,
    /// True if the caller's account has linked it under another source id.
    linked: bool,
}

pub(super) async fn apply(
    db: TenantDb<'_, impl ConnectionTrait>,
    chunk: &mut Chunk<'_>,
    incoming: &[Incoming],
) -> Result<(), RecordError> {
    let mut candidates = candidates(db, chunk, incoming).await?;
    chunk.look_up(db, incoming).await?;
    let mut references: HashMap<String, ReferenceHolder> = HashMap::new();
    let mut updated = UpdatedClients::default();
    let mut duplicates = Vec::new();
    for record in incoming {
        let outcome = match chunk.admit(record) {
            Err(outcome) => outcome,
            Ok(ImportDraft::Client { client, individual }) => {
                let key = &client.reference.key;
                if let Some(holder) = references.get(key) {
                    duplicates.push((chunk.outcomes.len(), client, holder.clone()));
                    ApplyOutcome::default()
                } else if let Some(candidate) = candidates.get_mut(key) {
                    if candidate.linked || !is_same(client, individual.as_ref(), candidate) {
                        duplicates.push((
                            chunk.outcomes.len(),
                            client,
                            ReferenceHolder::of(candidate),
                        ));
                        ApplyOutcome::default()
                    } else {
                        link(chunk, record, candidate, &mut updated)
                    }
                } else {
                    let outcome = create(chunk, record, client.clone(), individual.clone());
                    let id = chunk.new.clients.last().map(|client| client.id);
                    let holder = |id| ReferenceHolder {
                        id,
                        ..ReferenceHolder::new(client, individual.as_ref())
                    };
                    references.extend(id.map(|id| (key.clone(), holder(id))));
                    outcome
                }
            }
            Ok(_) => failed_invalid(record),
        };
        chunk.outcomes.push(outcome);
    }
    fail_duplicates(db, chunk, duplicates).await?;
    for (client, image) in updated.restored {
        clients::update(db, client, &image).await?;
    }
    images::replace(db, RecordKind::Client, updated.linked, chunk.at.now).await
}

/// Existing clients that a new link has changed.
#[derive(Default)]
struct UpdatedClients {
    linked: Vec<images::NewImage>,
    /// Formerly orphaned clients, with their new images.
    restored: Vec<(Client, pb::Client)>,
}

/// The existing clients with the references of the chunk, by the key of the reference.
/// Locks them until the links are committed.
async fn candidates(
    db: TenantDb<'_, impl ConnectionTrait>,
    chunk: &Chunk<'_>,
    incoming: &[Incoming],
) -> Result<HashMap<String, Candidate>, RecordError> {
    let key = |record: &Incoming| match &record.draft {
        Ok(ImportDraft::Client { client, .. }) => Some(client.reference.key.clone()),
        _ => None,
    };
    let keys: Vec<String> = incoming.iter().filter_map(key).collect();
    let caller = chunk.caller;
    let found = clients::lock_by_references(db, &keys).await?;
    let ids: Vec<Uuid> = found.iter().map(|client| client.id).collect();
    let account = (&caller.product, &caller.account);
    let linked = links::linked_records(db, account, &ids).await?;
    let linked: HashSet<Uuid> = linked.into_iter().collect();
    let persons = found.iter().filter_map(|client| client.person_id).map(RecordRef::person);
    let records: Vec<RecordRef> =
        ids.iter().copied().map(RecordRef::client).chain(persons).collect();
    let images = images::get_all(db, &records).await?;
    let image = |id: &Uuid| images.get(id).cloned().ok_or(RecordError::Corrupt("no image"));
    let candidate = |client: Client| {
        let own: pb::Client = decode_on(image(&client.id)?, chunk.at.today)?;
        let (name, name_key) = match client.person_id {
            Some(person) => {
                let name = person_name(&decode_on::<pb::Person>(image(&person)?, chunk.at.today)?);
                (name.display(), name.match_key())
            }
            None => (own.registered_name.clone(), match_key(&own.registered_name)),
        };
        let linked = linked.contains(&client.id);
        let key = client.reference.key.clone();
        Ok((key, Candidate { client, image: own, name, name_key, linked }))
    };
    found.into_iter().map(candidate).collect()
}

fn person_name(person: &pb::Person) -> PersonName {
    person.name.as_ref().map(PersonName::from).unwrap_or_default()
}

/// Links the record to the same client. The link restores an orphaned client.
fn link(
    chunk: &mut Chunk<'_>,
    record: &Incoming,
    candidate: &mut Candidate,
    updated: &mut UpdatedClients,
) -> ApplyOutcome {
    candidate.linked = true;
    let client = &mut candidate.client;
    let was_orphaned = client.meta.state == RecordState::Orphaned;
    let (record_ref, person) = (RecordRef::client(client.id), client.person_id);
    let change = |meta: &RecordMeta, kind| {
        Change::new(new_uuid(), record_ref, meta.version, kind).with(person.map(RecordRef::person))
    };
    client.meta = client.meta.changed(chunk.at.now);
    chunk.new.changes.push(change(&client.meta, ChangeKind::Linked));
    if was_orphaned {
        client.meta = client.meta.restored(chunk.at.now);
        chunk.new.changes.push(change(&client.meta, ChangeKind::Restored));
        let image = pb::Client {
            state: client.meta.state.into(),
            purge_time: None,
            version: client.meta.version,
            update_time: Some(timestamp(client.meta.updated_at)),
            ..candidate.image.clone()
        };
        updated.restored.push((client.clone(), image));
    } else {
        let image = images::NewImage::next_client(client.id, &candidate.image, client.meta);
        updated.linked.push(image);
    }
    let id = client.id;
    chunk.link(record, id, ImportOutcome::Linked)
}

/// True if an identifier or the name is equal.
fn is_same(draft: &ClientDraft, individual: Option<&PersonDraft>, candidate: &Candidate) -> bool {
    let name_key = match (individual, &draft.registered_name) {
        (Some(person), _) => person.name.match_key(),
        (None, Some(name)) => match_key(&name.name),
        (None, None) => String::new(),
    };
    let same_name = !name_key.is_empty() && name_key == candidate.name_key;
    let client = &candidate.client;
    let existing = of_client(&client.identifiers, client.jurisdiction);
    let own = of_client(&draft.identifiers, draft.jurisdiction);
    let payroll = &draft.identifiers.paye_reference;
    same_name
        || own.iter().any(|key| existing.contains(key))
        || (payroll.is_some() && *payroll == client.identifiers.paye_reference)
}

/// The client that holds a reference already, as described to end users.
#[derive(Clone)]
struct ReferenceHolder {
    id: Uuid,
    name: String,
    reference: String,
}

impl ReferenceHolder {
    fn of(candidate: &Candidate) -> Self {
        let Candidate { client, name, .. } = candidate;
        Self { id: client.id, name: name.clone(), reference: client.reference.text.clone() }
    }

    /// A client that the chunk creates; its id is not assigned yet.
    fn new(draft: &ClientDraft, individual: Option<&PersonDraft>) -> Self {
        let name = match (individual, &draft.registered_name) {
            (Some(person), _) => person.name.display(),
            (None, Some(name)) => name.name.clone(),
            (None, None) => String::new(),
        };
        Self { id: Uuid::nil(), name, reference: draft.reference.text.clone() }
    }
}

/// Fails the records whose reference belongs to another client. Each comes with its index
/// in the chunk.
async fn fail_duplicates(
    db: TenantDb<'_, impl ConnectionTrait>,
    chunk: &mut Chunk<'_>,
    duplicates: Vec<(usize, &ClientDraft, ReferenceHolder)>,
) -> Result<(), RecordError> {
    if duplicates.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = duplicates.iter().map(|(_, _, holder)| holder.id).collect();
    let mut products: HashMap<Uuid, BTreeSet<String>> = HashMap::new();
    for (id, product) in links::products_of(db, &ids).await? {
        products.entry(id).or_default().insert(product);
    }
    let own = &chunk.caller.product;
    for new in &chunk.new.clients {
        products.entry(new.id).or_default().insert(own.to_string());
    }
    for (index, draft, holder) in duplicates {
        let kept = products.get(&holder.id).map(|products| {
            let products: Vec<&str> = products.iter().map(String::as_str).collect();
            format!(", kept by {}", products.join(" and "))
        });
        let ReferenceHolder { id, name, reference } = holder;
        let text = format!(
            "Client reference {} is already used by {} ({reference}){} ({})",
            draft.reference.text,
            quote(&name),
            kept.unwrap_or_default(),
            RecordRef::client(id).text()
        );
        let reason = ErrorReason::DuplicateReference;
        let outcome = failed(vec![FieldViolation::new("client_reference", reason, text)]);
        if let Some(at) = chunk.outcomes.get_mut(index) {
            *at = outcome;
        }
    }
    Ok(())
}

fn create(
    chunk: &mut Chunk<'_>,
    record: &Incoming,
    draft: ClientDraft,
    individual: Option<PersonDraft>,
) -> ApplyOutcome {
    let at = chunk.at;
    let person = individual.map(|person| chunk.new.person(person, at));
    let id = chunk.new.client(draft, person, at);
    let companions = person.map(RecordRef::person).into_iter().collect();
    chunk.new.created(RecordRef::client(id), companions);
    chunk.link(record, id, ImportOutcome::Imported)
}
