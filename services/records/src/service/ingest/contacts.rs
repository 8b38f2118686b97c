//! Contacts of an import: a person is created with its contacts, or linked to the same
//! person if one of its clients has that person already.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::NaiveDate;
use concord_core::{
    ids::new_uuid,
    rules::{
        draft::PersonDraft,
        import::{ClientRoles, ImportDraft},
        value::PersonName,
    },
};
use concord_db::TenantDb;
use concord_proto::pb::{
    internal::ApplyOutcome,
    records::{self as pb, ChangeKind, RecordKind, RecordState},
};
use sea_orm::ConnectionTrait;
use uuid::Uuid;

use super::chunk::{Chunk, Incoming, failed_invalid, parent_gone};
use crate::{
    domain::{
        change::Change,
        link::ImportOutcome,
        record::{Client, Contact, HeldRole, Person, RecordMeta, RecordRef},
    },
    error::RecordError,
    image::decode_on,
    store::{clients, contacts, images, links, persons},
};

/// Identifies a person of a client: the match key of the name, and the birth date.
type PersonKey = (String, Option<NaiveDate>);

/// The existing data of the clients of the contacts.
struct KnownContacts {
    /// The active clients; in a dry run also those that earlier chunks would create.
    clients: HashSet<Uuid>,
    /// Persons of a client that are not linked to the caller's account yet, by
    /// key; the oldest first.
    persons: HashMap<(Uuid, PersonKey), BTreeMap<Uuid, Person>>,
    /// The images of those persons.
    images: HashMap<Uuid, pb::Person>,
    /// The existing contacts of those persons: client and person.
    contacts: HashSet<(Uuid, Uuid)>,
}

pub(super) async fn apply(
    db: TenantDb<'_, impl ConnectionTrait>,
    chunk: &mut Chunk<'_>,
    incoming: &[Incoming],
) -> Result<(), RecordError> {
    let mut known = load_known(db, chunk, incoming).await?;
    chunk.look_up(db, incoming).await?;
    let mut linked = Vec::new();
    for record in incoming {
        let outcome = match chunk.admit(record) {
            Err(outcome) => outcome,
            Ok(ImportDraft::Contact { person, clients }) => {
                match resolve(record, clients, &known) {
                    Err(outcome) => outcome,
                    Ok(held) => apply_contact(chunk, record, person, held, &mut known, &mut linked),
                }
            }
            Ok(_) => failed_invalid(record),
        };
        chunk.outcomes.push(outcome);
    }
    images::replace(db, RecordKind::Person, linked, chunk.at.now).await
}

/// The clients of a contact, with the roles of the person. Clients that the import excludes
/// are not among the parents, and are omitted.
fn resolve(
    record: &Incoming,
    clients: &[ClientRoles],
    known: &KnownContacts,
) -> Result<Vec<(Uuid, Vec<HeldRole>)>, ApplyOutcome> {
    let mut held = Vec::new();
    for parent in &record.parents {
        let id = RecordRef::parse(&parent.record_id).filter(|r| r.kind == RecordKind::Client);
        let id = id.map(|record| record.id).filter(|id| known.clients.contains(id));
        let id = id.ok_or_else(|| parent_gone("client_source_id", &parent.source_id))?;
        let client = clients.iter().find(|client| client.client_source_id == parent.source_id);
        let client = client.ok_or_else(|| parent_gone("client_source_id", &parent.source_id))?;
        held.push((id, HeldRole::undated(&client.roles)));
    }
    match clients.first() {
        Some(first) if held.is_empty() => {
            Err(parent_gone("client_source_id", &first.client_source_id))
        }
        _ => Ok(held),
    }
}

async fn load_known(
    db: TenantDb<'_, impl ConnectionTrait>,
    chunk: &Chunk<'_>,
    incoming: &[Incoming],
) -> Result<KnownContacts, RecordError> {
    let caller = chunk.caller;
    let parents = incoming.iter().flat_map(|record| &record.parents);
    let parents = parents.filter_map(|parent| RecordRef::parse(&parent.record_id));
    let ids: HashSet<Uuid> = parents.map(|record| record.id).collect();
    let ids: Vec<Uuid> = ids.into_iter().collect();
    let found = clients::lock(db, &ids).await?;
    let is_active = |client: &&Client| client.meta.state == RecordState::Active;
    let mut clients: HashSet<Uuid> =
        found.iter().filter(is_active).map(|client| client.id).collect();
    if chunk.validate_only {
        let found: HashSet<Uuid> = found.iter().map(|client| client.id).collect();
        clients.extend(ids.iter().filter(|id| !found.contains(id)));
    }
    let of_clients = contacts::of_clients(db, &ids).await?;
    let person_ids: HashSet<Uuid> = of_clients.iter().map(|contact| contact.person_id).collect();
    let person_ids: Vec<Uuid> = person_ids.into_iter().collect();
    let account = (&caller.product, &caller.account);
    let own = links::linked_records(db, account, &person_ids).await?;
    let own: HashSet<Uuid> = own.into_iter().collect();
    let free: Vec<Uuid> = person_ids.into_iter().filter(|id| !own.contains(id)).collect();
    let mut known = KnownContacts {
        clients,
        persons: HashMap::new(),
        images: HashMap::new(),
        contacts: HashSet::new(),
    };
    if free.is_empty() {
        return Ok(known);
    }
    let rows = persons::lock(db, &free).await?;
    let rows: HashMap<Uuid, Person> = rows.into_iter().map(|person| (person.id, person)).collect();
    let records: Vec<RecordRef> = free.iter().copied().map(RecordRef::person).collect();
    let images = images::get_all(db, &records).await?;
    for (id, image) in images {
        known.images.insert(id, decode_on(image, chunk.at.today)?);
    }
    for contact in contacts::of_persons(db, &free).await? {
        known.contacts.insert((contact.client_id, contact.person_id));
        let person = rows.get(&contact.person_id).zip(known.images.get(&contact.person_id));
        if let Some((person, image)) = person {
            let key = (contact.client_id, key_of_image(person, image));
            known.persons.entry(key).or_default().insert(person.id, person.clone());
        }
    }
    Ok(known)
}

fn key_of_image(person: &Person, image: &pb::Person) -> PersonKey {
    let name = image.name.clone().unwrap_or_default();
    let key = PersonName::parse(&name, "").map(|name| name.match_key()).unwrap_or_default();
    (key, person.birth_date)
}

/// Links the record to the same person at one of its clients, or creates the person. Then
/// creates the missing contacts.
fn apply_contact(
    chunk: &mut Chunk<'_>,
    record: &Incoming,
    draft: &PersonDraft,
    held: Vec<(Uuid, Vec<HeldRole>)>,
    known: &mut KnownContacts,
    linked: &mut Vec<images::NewImage>,
) -> ApplyOutcome {
    let key = (draft.name.match_key(), draft.birth_date);
    let same = held.iter().find_map(|(client, _)| {
        let same = known.persons.get(&(*client, key.clone()))?;
        same.values().next().cloned()
    });
    let Some(person) = same else {
        let id = chunk.new.person(draft.clone(), chunk.at);
        let clients = held.iter().map(|(client, _)| *client).collect();
        let contacts = add_contacts(chunk, id, held, &HashSet::new());
        chunk.new.created_within(RecordRef::person(id), contacts, clients);
        return chunk.link(record, id, ImportOutcome::Imported);
    };
    for persons in known.persons.values_mut() {
        persons.remove(&person.id);
    }
    let contacts = add_contacts(chunk, person.id, held, &known.contacts);
    let meta = person.meta.changed(chunk.at.now);
    if let Some(image) = known.images.get(&person.id) {
        linked.push(images::NewImage::next_person(person.id, image, meta));
    }
    chunk.new.changes.push(
        Change::new(new_uuid(), RecordRef::person(person.id), meta.version, ChangeKind::Linked)
            .with(contacts),
    );
    chunk.link(record, person.id, ImportOutcome::Linked)
}

/// Adds the missing contacts of a person.
fn add_contacts(
    chunk: &mut Chunk<'_>,
    person: Uuid,
    held: Vec<(Uuid, Vec<HeldRole>)>,
    existing: &HashSet<(Uuid, Uuid)>,
) -> Vec<RecordRef> {
    let mut added = Vec::new();
    for (client, roles) in held {
        if !existing.contains(&(client, person)) {
            let id = new_uuid();
            chunk.new.contacts.push(Contact {
                id,
                client_id: client,
                person_id: person,
                roles,
                is_primary: false,
                meta: RecordMeta::new(chunk.at.now),
            });
            added.push(RecordRef::contact(id));
        }
    }
    added
}
