//! Creating contacts.

use concord_core::{
    caller::Caller,
    ids::{self, IdKind, new_uuid},
};
use concord_proto::pb::records::CreateContactResponse;
use uuid::Uuid;

use super::{
    Records,
    contact_edits::demote_primary,
    create::{WhichPerson, existing_person, lay_out_person, new_person, person_image},
    duplicates,
    links::new_link,
    new_records::NewRecords,
    open,
    request_context::RequestContext,
    unit_of_work::{Answer, UnitOfWork},
};
use crate::{
    domain::{
        link::LinkKind,
        record::{Client, Contact, HeldRole, RecordMeta, RecordRef},
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

impl Records {
    /// Creates a contact: a person at a client.
    pub(crate) async fn create_contact(
        &self,
        caller: Caller,
        context: RequestContext,
        mut command: ContactCommand,
    ) -> Result<CreateContactResponse, RecordError> {
        if let WhichPerson::New(person) = &mut command.person {
            lay_out_person(person, self.request_time())?;
        }
        let created = self.mutate(caller, context, command, move |work, command| async move {
            create_contact(&work, ContactCommand::clone(&command)).await
        });
        created.await
    }
}

async fn create_contact(
    work: &UnitOfWork,
    command: ContactCommand,
) -> Result<Answer<CreateContactResponse>, RecordError> {
    let recipients = work.recipients().await?;
    let client = open::linked::<Client>(work, &command.client).await?.record.id;
    let mut new = NewRecords::default();
    let (mut own_id, mut response) = (None, CreateContactResponse::default());
    let person = match command.person {
        WhichPerson::New(mut person) => {
            response.warnings = std::mem::take(&mut person.warnings);
            response.possible_duplicates = duplicates::of_person(work, &person.draft).await?;
            let id = new_person(&mut new, work, *person);
            own_id = Some(ids::text(IdKind::Person, id));
            id
        }
        WhichPerson::Existing(name) => {
            let id = existing_person(work, "person_id", &name).await?;
            refuse_duplicate_contact(work, client, id).await?;
            id
        }
    };
    if let Some(external_id) = command.external_id.or(own_id) {
        new.links.push(new_link(work, LinkKind::Person, external_id, person));
    }
    let id = new_uuid();
    let contact = Contact {
        id,
        client_id: client,
        person_id: person,
        roles: command.roles,
        is_primary: command.is_primary,
        meta: RecordMeta::new(work.at.now),
    };
    if contact.is_primary {
        new.changes.extend(demote_primary(work, &contact).await?);
    }
    new.contacts.push(contact);
    new.created_within(
        RecordRef::contact(id),
        vec![RecordRef::person(person)],
        vec![client, person],
    );
    response.change_ids =
        new.changes.iter().map(|change| ids::text(IdKind::Change, change.id)).collect();
    let images = new.write(work, &recipients).await?;
    response.contact = images.contacts.into_iter().next();
    response.person = Some(person_image(work, images.persons, person).await?);
    Ok(Answer { response, record: person })
}

async fn refuse_duplicate_contact(
    work: &UnitOfWork,
    client: Uuid,
    person: Uuid,
) -> Result<(), RecordError> {
    let existing = contacts::of_clients(work.db(), &[client]).await?;
    match existing.iter().find(|contact| contact.person_id == person) {
        Some(contact) => Err(duplicate_contact(RecordRef::contact(contact.id)).into()),
        None => Ok(()),
    }
}
