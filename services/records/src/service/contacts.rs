//! Giving persons places at clients.

use sea_orm::ConnectionTrait;
use shared::{
    caller::Caller,
    ids::{self, IdKind, new_uuid},
    pb::records::{Contact, RecordState},
    status::Refusal,
};
use uuid::Uuid;

use super::{
    Records,
    create::{Created, WhichPerson, existing_person, lay_out, link, new_person},
    names,
    new_records::{Moment, NewRecords},
    reading::decode,
};
use crate::{
    domain::{
        link::LinkKind,
        record::{Contact as ContactRecord, HeldRole, Life, RecordRef},
    },
    error::{RecordError, duplicate_contact, not_linked},
    store::{changes::Audience, clients, contacts, images, links},
};

/// A new contact.
#[derive(Clone, Debug)]
pub(crate) struct ContactCommand {
    /// The client: an id or an alias.
    pub(crate) client: String,
    pub(crate) person: WhichPerson,
    pub(crate) roles: Vec<HeldRole>,
    pub(crate) is_primary: bool,
    /// The product's own id of the person.
    pub(crate) external_id: Option<String>,
}

/// Whose contacts are listed: by an id or an alias.
#[derive(Clone, Debug)]
pub(crate) enum OfWhat {
    Client(String),
    Person(String),
}

impl Records {
    /// Gives a person a place at a client.
    pub(crate) async fn create_contact(
        &self,
        caller: Caller,
        mut command: ContactCommand,
    ) -> Result<Created<Contact>, RecordError> {
        let at = self.moment();
        if let WhichPerson::New(person) = &mut command.person {
            lay_out(&mut person.addresses, "person.addresses", at)?;
        }
        let created = self.write((caller, command), move |tx, input| async move {
            create_contact(&*tx, &input.0, input.1.clone(), at).await
        });
        created.await
    }
}

async fn create_contact(
    db: &impl ConnectionTrait,
    caller: &Caller,
    command: ContactCommand,
    at: Moment,
) -> Result<Created<Contact>, RecordError> {
    let audience = Audience::of(db, caller).await?;
    let client = linked_client(db, caller, &command.client).await?;
    let mut new = NewRecords::default();
    let (person, is_new) = match command.person {
        WhichPerson::New(person) => (new_person(&mut new, caller, person, at), true),
        WhichPerson::Existing(name) => {
            (existing_person(db, caller, "person_id", &name).await?, false)
        }
    };
    if !is_new {
        refuse_second_place(db, caller, client, person).await?;
    }
    let own_id = is_new.then(|| ids::text(IdKind::Person, person));
    if let Some(external_id) = command.external_id.or(own_id) {
        new.links.push(link(caller, LinkKind::Person, external_id, person, at));
    }
    let id = new_uuid();
    new.contacts.push(ContactRecord {
        id,
        client_id: client,
        person_id: person,
        roles: command.roles,
        is_primary: command.is_primary,
        life: Life::new(at.now),
    });
    let change = new.created(RecordRef::contact(id), vec![RecordRef::person(person)]);
    let images = new.write(db, caller, &audience, at).await?;
    let person = match images.persons.into_iter().next() {
        Some(person) => Some(person),
        None => images::get(db, &caller.practice, RecordRef::person(person))
            .await?
            .map(decode)
            .transpose()?,
    };
    Ok(Created {
        record: images.contacts.into_iter().next().unwrap_or_default(),
        person,
        change_ids: vec![ids::text(IdKind::Change, change)],
    })
}

/// The client that `name` names, locked, if the caller's product is linked to
/// it.
async fn linked_client(
    db: &impl ConnectionTrait,
    caller: &Caller,
    name: &str,
) -> Result<Uuid, RecordError> {
    let id = names::client(db, &caller.practice, "client", name).await?;
    let found = clients::lock(db, &caller.practice, &[id]).await?;
    if !found.iter().any(|client| client.life.state == RecordState::Active) {
        return Err(Refusal::not_found("client", name).into());
    }
    let products = links::products_of(db, &caller.practice, &[id]).await?;
    if products.iter().any(|(_, product)| product == caller.product.as_str()) {
        Ok(id)
    } else {
        Err(not_linked(RecordRef::client(id)).into())
    }
}

async fn refuse_second_place(
    db: &impl ConnectionTrait,
    caller: &Caller,
    client: Uuid,
    person: Uuid,
) -> Result<(), RecordError> {
    let places = contacts::of_clients(db, &caller.practice, &[client]).await?;
    match places.iter().find(|contact| contact.person_id == person) {
        Some(contact) => Err(duplicate_contact(RecordRef::contact(contact.id)).into()),
        None => Ok(()),
    }
}
