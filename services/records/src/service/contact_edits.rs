//! Changing and removing contacts.

use concord_core::{
    caller::Caller,
    ids::new_uuid,
    rules::{
        date::{Period, date_text},
        terms::Term as _,
    },
    status::ApiError,
};
use concord_proto::pb::records::{
    self as pb, ChangeKind, ErrorReason, RecordState, RemoveContactResponse, UpdateContactResponse,
};
use prost::Message as _;
use serde_json::{Value as Json, json};

use super::{
    Records,
    links::{append, is_used},
    open::{self, Names, check_etag},
    request_context::RequestContext,
    subject::Subject as _,
    unit_of_work::{Answer, UnitOfWork},
};
use crate::{
    domain::{
        change::Change,
        record::{Contact, HeldRole, Person, RecordRef},
    },
    error::RecordError,
    image,
    store::{audit, contacts, erasures, images, requests},
};

/// Maximum number of roles of a contact, including past ones.
pub(crate) const MAX_ROLES: usize = 100;

/// A change of a contact.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ContactEdit {
    /// Sets whether it is the primary contact.
    Primary(bool),
    /// Adds a role; its number is assigned here.
    AddRole(HeldRole),
    /// Replaces the role with the same number.
    CorrectRole(HeldRole),
    /// Ends the role with this number, today by default.
    EndRole(i32, Option<chrono::NaiveDate>),
}

/// The contact to change, with the etag that the caller has read.
#[derive(Clone, Debug)]
pub(crate) struct ContactEditCommand {
    /// The id.
    pub(crate) contact: String,
    pub(crate) etag: String,
}

impl Records {
    /// Changes a contact.
    pub(crate) async fn edit_contact(
        &self,
        caller: Caller,
        context: RequestContext,
        command: ContactEditCommand,
        edit: ContactEdit,
    ) -> Result<UpdateContactResponse, RecordError> {
        let edited = self.mutate(caller, context, command, move |work, command| async move {
            edit_contact(&work, &command, edit).await
        });
        edited.await
    }

    /// Removes a contact.
    pub(crate) async fn remove_contact(
        &self,
        caller: Caller,
        context: RequestContext,
        command: ContactEditCommand,
    ) -> Result<RemoveContactResponse, RecordError> {
        let removed = self.mutate(caller, context, command, move |work, command| async move {
            remove_contact(&work, &command).await
        });
        removed.await
    }
}

async fn edit_contact(
    work: &UnitOfWork,
    command: &ContactEditCommand,
    edit: ContactEdit,
) -> Result<Answer<UpdateContactResponse>, RecordError> {
    let recipients = work.recipients().await?;
    let before = open::linked_contact(work, &command.contact).await?;
    let record = RecordRef::contact(before.id);
    let etag = image::contact(&before).etag;
    check_etag(work, "etag", &command.etag, &etag, record).await?;
    let mut after = before.clone();
    apply(work, &mut after, edit)?;
    let mut response =
        UpdateContactResponse { contact: Some(image::contact(&before)), change_ids: Vec::new() };
    if after == before {
        return Ok(Answer { response, record: before.person_id });
    }
    let mut changes = Vec::new();
    if after.is_primary && !before.is_primary {
        changes.extend(demote_primary(work, &after).await?);
    }
    let (image, change) = save_contact(work, &before, after).await?;
    changes.push(change);
    response.contact = Some(image);
    response.change_ids = append(work, &recipients, changes).await?;
    Ok(Answer { response, record: before.person_id })
}

fn apply(work: &UnitOfWork, contact: &mut Contact, edit: ContactEdit) -> Result<(), RecordError> {
    match edit {
        ContactEdit::Primary(is_primary) => contact.is_primary = is_primary,
        ContactEdit::AddRole(role) => {
            if contact.roles.len() >= MAX_ROLES {
                let text = format!("a contact has at most {MAX_ROLES} roles");
                let error = ApiError::invalid_field("role", ErrorReason::ValueTooLong, text);
                return Err(error.into());
            }
            let number = contact.roles.iter().map(|held| held.number).max().unwrap_or(0) + 1;
            contact.roles.push(HeldRole { number, ..role });
        }
        ContactEdit::CorrectRole(role) => *held(contact, role.number)? = role,
        ContactEdit::EndRole(number, day) => {
            let today = work.at.today;
            let held = held(contact, number)?;
            let resigned_on = Some(day.unwrap_or(today));
            let period = Period::new(held.appointed_on, resigned_on).check();
            period.map_err(|problem| ApiError::invalid(vec![problem.at("resigned_on")]))?;
            held.resigned_on = resigned_on;
        }
    }
    Ok(())
}

fn held(contact: &mut Contact, number: i32) -> Result<&mut HeldRole, ApiError> {
    contact
        .roles
        .iter_mut()
        .find(|held| held.number == number)
        .ok_or_else(|| ApiError::not_found("role", &number.to_string()))
}

/// Demotes the other primary contact of the client: a client has one at most.
pub(super) async fn demote_primary(
    work: &UnitOfWork,
    primary: &Contact,
) -> Result<Vec<Change>, RecordError> {
    let mut changes = Vec::new();
    for other in contacts::of_clients(work.db(), &[primary.client_id]).await? {
        if other.is_primary && other.id != primary.id {
            let after = Contact { is_primary: false, ..other.clone() };
            changes.push(save_contact(work, &other, after).await?.1);
        }
    }
    Ok(changes)
}

/// Writes a contact. Returns its image and the change.
async fn save_contact(
    work: &UnitOfWork,
    before: &Contact,
    mut after: Contact,
) -> Result<(pb::Contact, Change), RecordError> {
    after.meta = before.meta.changed(work.at.now);
    let image = image::contact(&after);
    let encoded = image.encode_to_vec();
    contacts::update(work.db(), &after, encoded).await?;
    let (old, new) = (to_json(before), to_json(&after));
    let fields =
        ["is_primary", "roles"].into_iter().filter(|field| old.get(field) != new.get(field));
    let record = RecordRef::contact(after.id);
    let change = Change::new(new_uuid(), record, after.meta.version, ChangeKind::Updated);
    let change = Change {
        changed_fields: fields.map(ToOwned::to_owned).collect(),
        before: Some(old),
        after: Some(new),
        ..change
            .with([RecordRef::person(after.person_id)])
            .within([after.client_id, after.person_id])
    };
    Ok((image, change))
}

fn to_json(contact: &Contact) -> Json {
    let role = |held: &HeldRole| {
        json!({
            "number": held.number,
            "role": held.role.name(),
            "appointed_on": date_text(held.appointed_on),
            "resigned_on": date_text(held.resigned_on),
        })
    };
    json!({
        "is_primary": contact.is_primary,
        "roles": contact.roles.iter().map(role).collect::<Vec<_>>(),
    })
}

async fn remove_contact(
    work: &UnitOfWork,
    command: &ContactEditCommand,
) -> Result<Answer<RemoveContactResponse>, RecordError> {
    let db = work.db();
    let recipients = work.recipients().await?;
    let contact = open::linked_contact(work, &command.contact).await?;
    let record = RecordRef::contact(contact.id);
    let etag = image::contact(&contact).etag;
    check_etag(work, "etag", &command.etag, &etag, record).await?;
    images::remove(db, &[record]).await?;
    audit::redact(db, &[contact.id]).await?;
    requests::clear_answers(db, &[contact.id]).await?;
    erasures::insert_tombstones(db, &[record], work.at.now).await?;
    let version = contact.meta.version + 1;
    let change = Change::new(new_uuid(), record, version, ChangeKind::Purged);
    let change = change
        .with([RecordRef::person(contact.person_id)])
        .within([contact.client_id, contact.person_id]);
    let mut changes = vec![change];
    changes.extend(orphan_if_unused(work, contact.person_id).await?);
    let change_ids = append(work, &recipients, changes).await?;
    let response = RemoveContactResponse { change_ids };
    Ok(Answer { response, record: contact.person_id })
}

/// Orphans a person that is not used any more. Returns the change.
async fn orphan_if_unused(
    work: &UnitOfWork,
    person: uuid::Uuid,
) -> Result<Option<Change>, RecordError> {
    let Some(mut open) = open::by_id::<Person>(work, person).await? else { return Ok(None) };
    let meta = open.subject.meta;
    if meta.state != RecordState::Active || is_used(work, open.record).await? {
        return Ok(None);
    }
    let orphaned = meta.orphaned(work.at.now, work.purge_at);
    let change = open.subject.changed(ChangeKind::Orphaned, orphaned);
    open.save(work, Names::Same).await?;
    Ok(Some(change))
}
