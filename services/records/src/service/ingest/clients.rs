//! Clients of an import: created, or linked to the client that has their
//! reference when it is the same one.

use std::collections::{HashMap, HashSet};

use prost::Message as _;
use sea_orm::ConnectionTrait;
use shared::{
    ids::new_uuid,
    pb::{
        internal::ApplyOutcome,
        records::{self as pb, ChangeKind, ErrorReason, RecordKind, RecordState},
    },
    rules::{
        Violation,
        draft::{ClientDraft, Identifiers, PersonDraft},
        import::ImportDraft,
        text::match_key,
        value::PersonName,
    },
};
use uuid::Uuid;

use super::{Chunk, Incoming, failed, failed_own};
use crate::{
    domain::{
        change::Change,
        link::ImportOutcome,
        record::{Client, Life, RecordRef},
    },
    error::RecordError,
    image::timestamp,
    service::reading::decode_on,
    store::{clients, images, links},
};

/// A live client that has the reference of an incoming one.
struct Candidate {
    client: Client,
    image: pb::Client,
    /// The name as it is compared.
    name_key: String,
    /// Whether the caller's account has linked it under another source id.
    taken: bool,
}

pub(super) async fn apply(
    db: &impl ConnectionTrait,
    chunk: &mut Chunk<'_>,
    incoming: &[Incoming],
) -> Result<(), RecordError> {
    let mut candidates = candidates(db, chunk, incoming).await?;
    chunk.look_up(db, incoming).await?;
    let mut references: HashMap<String, Uuid> = HashMap::new();
    let mut rewritten = Rewritten::default();
    for record in incoming {
        let outcome = match chunk.admit(record) {
            Err(outcome) => outcome,
            Ok(ImportDraft::Client { client, individual }) => {
                let key = &client.reference.key;
                if let Some(id) = references.get(key) {
                    duplicate(client, *id)
                } else if let Some(candidate) = candidates.get_mut(key) {
                    if candidate.taken || !is_same(client, individual.as_ref(), candidate) {
                        duplicate(client, candidate.client.id)
                    } else {
                        link(chunk, record, candidate, &mut rewritten)
                    }
                } else {
                    let outcome = create(chunk, record, client.clone(), individual.clone());
                    let id = chunk.new.clients.last().map(|client| client.id);
                    references.extend(id.map(|id| (key.clone(), id)));
                    outcome
                }
            }
            Ok(_) => failed_own(record),
        };
        chunk.outcomes.push(outcome);
    }
    let (practice, now) = (&chunk.caller.practice, chunk.at.now);
    for (client, image) in rewritten.restored {
        clients::update(db, practice, client, image).await?;
    }
    images::replace(db, practice, RecordKind::Client, rewritten.linked, now).await
}

/// Clients that were there, and have changed by being linked.
#[derive(Default)]
struct Rewritten {
    linked: Vec<images::NewImage>,
    /// Those that waited for their removal, with their new images.
    restored: Vec<(Client, Vec<u8>)>,
}

/// The live clients with the references of the chunk, by the references' keys.
/// Locked, so that they stay as they are until the links are there.
async fn candidates(
    db: &impl ConnectionTrait,
    chunk: &Chunk<'_>,
    incoming: &[Incoming],
) -> Result<HashMap<String, Candidate>, RecordError> {
    let key = |record: &Incoming| match &record.draft {
        Ok(ImportDraft::Client { client, .. }) => Some(client.reference.key.clone()),
        _ => None,
    };
    let keys: Vec<String> = incoming.iter().filter_map(key).collect();
    let caller = chunk.caller;
    let found = clients::lock_by_references(db, &caller.practice, &keys).await?;
    let ids: Vec<Uuid> = found.iter().map(|client| client.id).collect();
    let account = (&caller.product, &caller.account);
    let taken = links::linked_records(db, &caller.practice, account, &ids).await?;
    let taken: HashSet<Uuid> = taken.into_iter().collect();
    let persons = found.iter().filter_map(|client| client.person_id).map(RecordRef::person);
    let records: Vec<RecordRef> =
        ids.iter().copied().map(RecordRef::client).chain(persons).collect();
    let images = images::get_all(db, caller.practice.as_str(), &records).await?;
    let image = |id: &Uuid| images.get(id).cloned().ok_or(RecordError::Corrupt("no image"));
    let candidate = |client: Client| {
        let own: pb::Client = decode_on(image(&client.id)?, chunk.at.today)?;
        let name_key = match client.person_id {
            Some(person) => person_key(&decode_on::<pb::Person>(image(&person)?, chunk.at.today)?),
            None => match_key(&own.registered_name),
        };
        let taken = taken.contains(&client.id);
        Ok((client.reference.key.clone(), Candidate { client, image: own, name_key, taken }))
    };
    found.into_iter().map(candidate).collect()
}

fn person_key(person: &pb::Person) -> String {
    let name = person.name.clone().unwrap_or_default();
    PersonName::parse(&name, "").map(|name| name.match_key()).unwrap_or_default()
}

/// Links the record to the client that is the same one; an orphaned one is
/// restored by it.
fn link(
    chunk: &mut Chunk<'_>,
    record: &Incoming,
    candidate: &mut Candidate,
    rewritten: &mut Rewritten,
) -> ApplyOutcome {
    candidate.taken = true;
    let client = &mut candidate.client;
    let was_orphaned = client.life.state == RecordState::Orphaned;
    let (record_ref, person) = (RecordRef::client(client.id), client.person_id);
    let change = |life: &Life, kind| {
        Change::new(new_uuid(), record_ref, life.version, kind).with(person.map(RecordRef::person))
    };
    client.life = client.life.changed(chunk.at.now);
    chunk.new.changes.push(change(&client.life, ChangeKind::Linked));
    if was_orphaned {
        client.life = client.life.restored(chunk.at.now);
        chunk.new.changes.push(change(&client.life, ChangeKind::Restored));
        let image = pb::Client {
            state: client.life.state.into(),
            purge_time: None,
            version: client.life.version,
            update_time: Some(timestamp(client.life.updated_at)),
            ..candidate.image.clone()
        };
        rewritten.restored.push((client.clone(), image.encode_to_vec()));
    } else {
        let image = images::NewImage::next_client(client.id, &candidate.image, client.life);
        rewritten.linked.push(image);
    }
    let id = client.id;
    chunk.link(record, id, ImportOutcome::Linked)
}

/// An equal identifier, or an equal name.
fn is_same(draft: &ClientDraft, individual: Option<&PersonDraft>, candidate: &Candidate) -> bool {
    let name_key = match (individual, &draft.registered_name) {
        (Some(person), _) => person.name.match_key(),
        (None, Some(name)) => match_key(&name.name),
        (None, None) => String::new(),
    };
    let same_name = !name_key.is_empty() && name_key == candidate.name_key;
    same_name || share_identifier(&draft.identifiers, &candidate.client.identifiers)
}

fn share_identifier(one: &Identifiers, other: &Identifiers) -> bool {
    let equal = |a: &Option<String>, b: &Option<String>| a.is_some() && a == b;
    equal(&one.company_number, &other.company_number)
        || equal(&one.utr, &other.utr)
        || equal(&one.vat_number, &other.vat_number)
        || equal(&one.paye_reference, &other.paye_reference)
}

fn duplicate(draft: &ClientDraft, existing: Uuid) -> ApplyOutcome {
    let id = RecordRef::client(existing).text();
    let text = format!("Client reference {} is already used by {id}", draft.reference.text);
    failed(vec![Violation::new("client_reference", ErrorReason::DuplicateReference, text)])
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
