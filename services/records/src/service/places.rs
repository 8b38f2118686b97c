//! Changing and removing contacts: the places of persons at clients.

use prost::Message as _;
use serde_json::{Value as Json, json};
use shared::{
    caller::Caller,
    ids::new_uuid,
    pb::records::{
        self as pb, ChangeKind, ErrorReason, RecordState, RemoveContactResponse,
        UpdateContactResponse,
    },
    rules::{
        date::{Period, date_text},
        terms::Term as _,
    },
    status::Refusal,
};

use super::{
    Records,
    intent::Intent,
    links::{append, is_person_used},
    open::{self, check_etag},
    save::{self, Names},
    script::{Answer, Script},
};
use crate::{
    domain::{
        change::Change,
        record::{Contact, HeldRole, RecordRef},
    },
    error::RecordError,
    image,
    store::{audit, contacts, images, requests, tombstones},
};

/// Roles of a contact at most, those that have ended counted.
pub(crate) const MAX_ROLES: usize = 100;

/// A change of a contact.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PlaceEdit {
    /// Whether it is the first person to ask for.
    Primary(bool),
    /// One more role; its number is given here.
    AddRole(HeldRole),
    /// A role as it should be; its number says which.
    CorrectRole(HeldRole),
    /// The role with a number ends; today, when no day is given.
    EndRole(i32, Option<chrono::NaiveDate>),
}

/// Which contact, with the etag that was read.
#[derive(Clone, Debug)]
pub(crate) struct PlaceCommand {
    /// The id.
    pub(crate) contact: String,
    pub(crate) etag: String,
}

impl Records {
    /// Changes a contact.
    pub(crate) async fn edit_contact(
        &self,
        caller: Caller,
        intent: Intent,
        command: PlaceCommand,
        edit: PlaceEdit,
    ) -> Result<UpdateContactResponse, RecordError> {
        let edited = self.mutate(caller, intent, command, move |script, command| async move {
            edit_contact(&script, &command, edit).await
        });
        edited.await
    }

    /// Removes a contact.
    pub(crate) async fn remove_contact(
        &self,
        caller: Caller,
        intent: Intent,
        command: PlaceCommand,
    ) -> Result<RemoveContactResponse, RecordError> {
        let removed = self.mutate(caller, intent, command, move |script, command| async move {
            remove_contact(&script, &command).await
        });
        removed.await
    }
}

async fn edit_contact(
    script: &Script,
    command: &PlaceCommand,
    edit: PlaceEdit,
) -> Result<Answer<UpdateContactResponse>, RecordError> {
    let audience = script.audience().await?;
    let before = open::linked_contact(script, &command.contact).await?;
    let record = RecordRef::contact(before.id);
    let etag = image::contact(&before).etag;
    check_etag(script, "etag", &command.etag, &etag, record).await?;
    let mut after = before.clone();
    apply(script, &mut after, edit)?;
    let mut response =
        UpdateContactResponse { contact: Some(image::contact(&before)), change_ids: Vec::new() };
    if after == before {
        return Ok(Answer { response, record: before.person_id });
    }
    let mut changes = Vec::new();
    if after.is_primary && !before.is_primary {
        changes.extend(step_back(script, &after).await?);
    }
    let (image, change) = save_contact(script, &before, after).await?;
    changes.push(change);
    response.contact = Some(image);
    response.change_ids = append(script, &audience, changes).await?;
    Ok(Answer { response, record: before.person_id })
}

fn apply(script: &Script, contact: &mut Contact, edit: PlaceEdit) -> Result<(), RecordError> {
    match edit {
        PlaceEdit::Primary(is_primary) => contact.is_primary = is_primary,
        PlaceEdit::AddRole(role) => {
            if contact.roles.len() >= MAX_ROLES {
                let text = format!("a contact has at most {MAX_ROLES} roles");
                let refusal = Refusal::invalid_field("role", ErrorReason::ValueTooLong, text);
                return Err(refusal.into());
            }
            let number = contact.roles.iter().map(|held| held.number).max().unwrap_or(0) + 1;
            contact.roles.push(HeldRole { number, ..role });
        }
        PlaceEdit::CorrectRole(role) => *held(contact, role.number)? = role,
        PlaceEdit::EndRole(number, day) => {
            let today = script.at.today;
            let held = held(contact, number)?;
            let resigned_on = Some(day.unwrap_or(today));
            let period = Period::new(held.appointed_on, resigned_on).check();
            period.map_err(|problem| Refusal::invalid(vec![problem.at("resigned_on")]))?;
            held.resigned_on = resigned_on;
        }
    }
    Ok(())
}

fn held(contact: &mut Contact, number: i32) -> Result<&mut HeldRole, Refusal> {
    contact
        .roles
        .iter_mut()
        .find(|held| held.number == number)
        .ok_or_else(|| Refusal::not_found("role", &number.to_string()))
}

/// The other first contact of the client is the first no longer: there is one.
pub(super) async fn step_back(
    script: &Script,
    primary: &Contact,
) -> Result<Vec<Change>, RecordError> {
    let (db, practice) = (script.db(), &script.caller.practice);
    let mut changes = Vec::new();
    for other in contacts::of_clients(db, practice, &[primary.client_id]).await? {
        if other.is_primary && other.id != primary.id {
            let after = Contact { is_primary: false, ..other.clone() };
            changes.push(save_contact(script, &other, after).await?.1);
        }
    }
    Ok(changes)
}

/// Writes a contact; its image, and the change that it is.
async fn save_contact(
    script: &Script,
    before: &Contact,
    mut after: Contact,
) -> Result<(pb::Contact, Change), RecordError> {
    after.life = before.life.changed(script.at.now);
    let image = image::contact(&after);
    let encoded = image.encode_to_vec();
    contacts::update(script.db(), &script.caller.practice, &after, encoded).await?;
    let (old, new) = (to_json(before), to_json(&after));
    let fields =
        ["is_primary", "roles"].into_iter().filter(|field| old.get(field) != new.get(field));
    let record = RecordRef::contact(after.id);
    let change = Change::new(new_uuid(), record, after.life.version, ChangeKind::Updated);
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
    script: &Script,
    command: &PlaceCommand,
) -> Result<Answer<RemoveContactResponse>, RecordError> {
    let (db, practice) = (script.db(), &script.caller.practice);
    let audience = script.audience().await?;
    let contact = open::linked_contact(script, &command.contact).await?;
    let record = RecordRef::contact(contact.id);
    let etag = image::contact(&contact).etag;
    check_etag(script, "etag", &command.etag, &etag, record).await?;
    images::remove(db, practice, &[record]).await?;
    audit::redact(db, practice, &[contact.id]).await?;
    requests::forget_records(db, practice, &[contact.id]).await?;
    tombstones::insert(db, practice, &[record], script.at.now).await?;
    let version = contact.life.version + 1;
    let change = Change::new(new_uuid(), record, version, ChangeKind::Purged);
    let change = change
        .with([RecordRef::person(contact.person_id)])
        .within([contact.client_id, contact.person_id]);
    let mut changes = vec![change];
    changes.extend(orphan_if_unused(script, contact.person_id).await?);
    let change_ids = append(script, &audience, changes).await?;
    let response = RemoveContactResponse { change_ids };
    Ok(Answer { response, record: contact.person_id })
}

/// The change that a person is orphaned, when this was the last use of it.
async fn orphan_if_unused(
    script: &Script,
    person: uuid::Uuid,
) -> Result<Option<Change>, RecordError> {
    let Some(mut open) = open::person_by_id(script, person).await? else { return Ok(None) };
    if open.person.life.state != RecordState::Active || is_person_used(script, person).await? {
        return Ok(None);
    }
    open.person.life = open.person.life.orphaned(script.at.now, script.purge_at);
    let (record, version) = (RecordRef::person(person), open.person.life.version);
    save::person(script, open, Names::Same).await?;
    Ok(Some(Change::new(new_uuid(), record, version, ChangeKind::Orphaned)))
}
