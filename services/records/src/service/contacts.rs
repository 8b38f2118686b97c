//! Giving persons places at clients.

use shared::{
    caller::Caller,
    ids::{self, IdKind, new_uuid},
    pb::records::CreateContactResponse,
};
use uuid::Uuid;

use super::{
    Records,
    create::{WhichPerson, existing_person, lay_out_person, link, new_person, person_image},
    duplicates,
    intent::Intent,
    new_records::NewRecords,
    open::linked_client,
    places::step_back,
    script::{Answer, Script},
};
use crate::{
    domain::{
        link::LinkKind,
        record::{Contact, HeldRole, Life, RecordRef},
    },
    error::{RecordError, duplicate_contact},
    store::contacts,
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
        intent: Intent,
        mut command: ContactCommand,
    ) -> Result<CreateContactResponse, RecordError> {
        if let WhichPerson::New(person) = &mut command.person {
            lay_out_person(person, self.moment())?;
        }
        let created = self.mutate(caller, intent, command, move |script, command| async move {
            create_contact(&script, ContactCommand::clone(&command)).await
        });
        created.await
    }
}

async fn create_contact(
    script: &Script,
    command: ContactCommand,
) -> Result<Answer<CreateContactResponse>, RecordError> {
    let audience = script.audience().await?;
    let client = linked_client(script, "client", &command.client).await?.client.id;
    let mut new = NewRecords::default();
    let (mut own_id, mut response) = (None, CreateContactResponse::default());
    let person = match command.person {
        WhichPerson::New(mut person) => {
            response.warnings = std::mem::take(&mut person.warnings);
            response.possible_duplicates = duplicates::of_person(script, &person.draft).await?;
            let id = new_person(&mut new, script, *person);
            own_id = Some(ids::text(IdKind::Person, id));
            id
        }
        WhichPerson::Existing(name) => {
            let id = existing_person(script, "person_id", &name).await?;
            refuse_second_place(script, client, id).await?;
            id
        }
    };
    if let Some(external_id) = command.external_id.or(own_id) {
        new.links.push(link(script, LinkKind::Person, external_id, person));
    }
    let id = new_uuid();
    let contact = Contact {
        id,
        client_id: client,
        person_id: person,
        roles: command.roles,
        is_primary: command.is_primary,
        life: Life::new(script.at.now),
    };
    if contact.is_primary {
        new.changes.extend(step_back(script, &contact).await?);
    }
    new.contacts.push(contact);
    new.created_within(
        RecordRef::contact(id),
        vec![RecordRef::person(person)],
        vec![client, person],
    );
    response.change_ids =
        new.changes.iter().map(|change| ids::text(IdKind::Change, change.id)).collect();
    let images = new.write(script, &audience).await?;
    response.contact = images.contacts.into_iter().next();
    response.person = Some(person_image(script, images.persons, person).await?);
    Ok(Answer { response, record: person })
}

async fn refuse_second_place(
    script: &Script,
    client: Uuid,
    person: Uuid,
) -> Result<(), RecordError> {
    let places = contacts::of_clients(script.db(), &script.caller.practice, &[client]).await?;
    match places.iter().find(|contact| contact.person_id == person) {
        Some(contact) => Err(duplicate_contact(RecordRef::contact(contact.id)).into()),
        None => Ok(()),
    }
}
