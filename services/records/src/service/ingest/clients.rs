//! Clients of an import: created, or linked to the client that has their
//! reference when it is the same one.

use std::collections::{BTreeSet, HashMap, HashSet};

use prost::Message as _;
use sea_orm::ConnectionTrait;
use shared::{
    caller::Caller,
    ids::new_uuid,
    pb::{
        internal::ApplyOutcome,
        records::{self as pb, ChangeKind, ErrorReason, RecordKind, RecordState},
    },
    rules::{
        Violation,
        draft::{ClientDraft, PersonDraft},
        import::ImportDraft,
        likeness::of_client,
        text::{match_key, quote},
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
    /// The name of today.
    name: String,
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
    let mut references: HashMap<String, User> = HashMap::new();
    let mut rewritten = Rewritten::default();
    let mut refused = Vec::new();
    for record in incoming {
        let outcome = match chunk.admit(record) {
            Err(outcome) => outcome,
            Ok(ImportDraft::Client { client, individual }) => {
                let key = &client.reference.key;
                if let Some(user) = references.get(key) {
                    refused.push((chunk.outcomes.len(), client, user.clone()));
                    ApplyOutcome::default()
                } else if let Some(candidate) = candidates.get_mut(key) {
                    if candidate.taken || !is_same(client, individual.as_ref(), candidate) {
                        refused.push((chunk.outcomes.len(), client, User::of(candidate)));
                        ApplyOutcome::default()
                    } else {
                        link(chunk, record, candidate, &mut rewritten)
                    }
                } else {
                    let outcome = create(chunk, record, client.clone(), individual.clone());
                    let id = chunk.new.clients.last().map(|client| client.id);
                    let user = |id| User { id, ..User::new(client, individual.as_ref()) };
                    references.extend(id.map(|id| (key.clone(), user(id))));
                    outcome
                }
            }
            Ok(_) => failed_own(record),
        };
        chunk.outcomes.push(outcome);
    }
    refuse(db, chunk, refused).await?;
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
        let (name, name_key) = match client.person_id {
            Some(person) => {
                let name = person_name(&decode_on::<pb::Person>(image(&person)?, chunk.at.today)?);
                (name.display(), name.match_key())
            }
            None => (own.registered_name.clone(), match_key(&own.registered_name)),
        };
        let taken = taken.contains(&client.id);
        let key = client.reference.key.clone();
        Ok((key, Candidate { client, image: own, name, name_key, taken }))
    };
    found.into_iter().map(candidate).collect()
}

fn person_name(person: &pb::Person) -> PersonName {
    person.name.as_ref().map(PersonName::from).unwrap_or_default()
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
    let client = &candidate.client;
    let likenesses = of_client(&client.identifiers, client.jurisdiction);
    let own = of_client(&draft.identifiers, draft.jurisdiction);
    let payroll = &draft.identifiers.paye_reference;
    same_name
        || own.iter().any(|likeness| likenesses.contains(likeness))
        || (payroll.is_some() && *payroll == client.identifiers.paye_reference)
}

/// A client that uses a reference already, for people.
#[derive(Clone)]
struct User {
    id: Uuid,
    name: String,
    reference: String,
}

impl User {
    fn of(candidate: &Candidate) -> Self {
        let Candidate { client, name, .. } = candidate;
        Self { id: client.id, name: name.clone(), reference: client.reference.text.clone() }
    }

    /// One that is about to be created; its id is not known yet.
    fn new(draft: &ClientDraft, individual: Option<&PersonDraft>) -> Self {
        let name = match (individual, &draft.registered_name) {
            (Some(person), _) => person.name.display(),
            (None, Some(name)) => name.name.clone(),
            (None, None) => String::new(),
        };
        Self { id: Uuid::nil(), name, reference: draft.reference.text.clone() }
    }
}

/// Fails the records, each at its place in the chunk, whose reference is used by a
/// client which is another one.
async fn refuse(
    db: &impl ConnectionTrait,
    chunk: &mut Chunk<'_>,
    refused: Vec<(usize, &ClientDraft, User)>,
) -> Result<(), RecordError> {
    if refused.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = refused.iter().map(|(_, _, user)| user.id).collect();
    let Caller { practice, product, .. } = chunk.caller;
    let mut products: HashMap<Uuid, BTreeSet<String>> = HashMap::new();
    for (id, product) in links::products_of(db, practice, &ids).await? {
        products.entry(id).or_default().insert(product);
    }
    for new in &chunk.new.clients {
        products.entry(new.id).or_default().insert(product.to_string());
    }
    for (place, draft, user) in refused {
        let kept = products.get(&user.id).map(|products| {
            let products: Vec<&str> = products.iter().map(String::as_str).collect();
            format!(", kept by {}", products.join(" and "))
        });
        let User { id, name, reference } = user;
        let text = format!(
            "Client reference {} is already used by {} ({reference}){} ({})",
            draft.reference.text,
            quote(&name),
            kept.unwrap_or_default(),
            RecordRef::client(id).text()
        );
        let reason = ErrorReason::DuplicateReference;
        let outcome = failed(vec![Violation::new("client_reference", reason, text)]);
        if let Some(at) = chunk.outcomes.get_mut(place) {
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
