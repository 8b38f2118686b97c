//! Updating plain fields of clients and persons: fields without history.

use concord_core::{
    caller::Caller,
    ids::new_uuid,
    rules::{
        date::date_text,
        draft::{Identifiers, Reference},
        identifier::company_number,
        terms::Term as _,
    },
    status::ApiError,
};
use concord_proto::pb::records::{
    ChangeKind, Jurisdiction, UpdateClientResponse, UpdatePersonResponse,
};
use serde_json::{Map, Value as Json, json};

use super::{
    Records,
    links::append,
    open::{self, check_etag},
    request_context::RequestContext,
    save::{self, Names},
    unit_of_work::{Answer, UnitOfWork},
};
use crate::{
    domain::{
        change::Change,
        record::{Client, Person, RecordRef},
    },
    error::{RecordError, UniqueViolation, duplicate_reference},
    store::clients,
};

/// A new value of one plain field of a client.
#[derive(Clone, Debug)]
pub(crate) enum ClientEdit {
    Jurisdiction(Jurisdiction),
    Reference(Reference),
    /// The number as given. Its format depends on the jurisdiction of the client.
    CompanyNumber(String),
    Utr(Option<String>),
    VatNumber(Option<String>),
    PayeReference(Option<String>),
    Emails(Vec<String>),
    Phones(Vec<String>),
}

/// A new value of one plain field of a person.
#[derive(Clone, Debug)]
pub(crate) enum PersonEdit {
    BirthDate(Option<chrono::NaiveDate>),
    Nino(Option<String>),
    Ppsn(Option<String>),
    Emails(Vec<String>),
    Phones(Vec<String>),
}

/// The edits of a record, with the etag that the caller has read.
#[derive(Clone, Debug)]
pub(crate) struct UpdateCommand<E> {
    /// An id or an alias.
    pub(crate) record: String,
    pub(crate) edits: Vec<E>,
    pub(crate) etag: String,
}

/// The fields that differ after an update, for the feed and the audit.
#[derive(Debug, Default)]
struct Differences {
    fields: Vec<String>,
    before: Map<String, Json>,
    after: Map<String, Json>,
}

impl Differences {
    /// Sets a field, and records the difference.
    fn set<T: PartialEq>(&mut self, name: &str, field: &mut T, to: T, json: impl Fn(&T) -> Json) {
        if *field != to {
            self.fields.push(name.to_owned());
            self.before.insert(name.to_owned(), json(field));
            self.after.insert(name.to_owned(), json(&to));
            *field = to;
        }
    }

    fn change(self, record: RecordRef, version: i64) -> Change {
        Change {
            changed_fields: self.fields,
            before: Some(Json::Object(self.before)),
            after: Some(Json::Object(self.after)),
            ..Change::new(new_uuid(), record, version, ChangeKind::Updated)
        }
    }
}

impl Records {
    /// Changes plain fields of a client.
    pub(crate) async fn update_client(
        &self,
        caller: Caller,
        context: RequestContext,
        command: UpdateCommand<ClientEdit>,
    ) -> Result<UpdateClientResponse, RecordError> {
        let practice = caller.practice.clone();
        let reference = command.edits.iter().find_map(|edit| match edit {
            ClientEdit::Reference(reference) => Some(reference.key.clone()),
            _ => None,
        });
        let updated = self.mutate(caller, context, command, move |work, command| async move {
            update_client(&work, &command).await
        });
        match (updated.await, reference) {
            (Err(RecordError::UniqueViolation(UniqueViolation::Reference)), Some(key)) => {
                let existing = clients::id_by_reference(self.db.reader(), &practice, &key).await?;
                let duplicate = |id| duplicate_reference(RecordRef::client(id)).into();
                Err(existing.map_or(RecordError::WriteConflict, duplicate))
            }
            (outcome, _) => outcome,
        }
    }

    /// Changes plain fields of a person.
    pub(crate) async fn update_person(
        &self,
        caller: Caller,
        context: RequestContext,
        command: UpdateCommand<PersonEdit>,
    ) -> Result<UpdatePersonResponse, RecordError> {
        let updated = self.mutate(caller, context, command, move |work, command| async move {
            update_person(&work, &command).await
        });
        updated.await
    }
}

async fn update_client(
    work: &UnitOfWork,
    command: &UpdateCommand<ClientEdit>,
) -> Result<Answer<UpdateClientResponse>, RecordError> {
    let recipients = work.recipients().await?;
    let mut open = open::linked_client(work, "client", &command.record).await?;
    let record = RecordRef::client(open.client.id);
    let image = open.image(work);
    check_etag(work, "etag", &command.etag, &image.etag, record).await?;
    let mut differences = Differences::default();
    for edit in &command.edits {
        edit_client(&mut differences, &mut open.client, edit.clone());
    }
    edit_company_number(&mut differences, &mut open.client, &command.edits)?;
    if differences.fields.is_empty() {
        let response = UpdateClientResponse { client: Some(image), change_ids: Vec::new() };
        return Ok(Answer { response, record: record.id });
    }
    open.client.meta = open.client.meta.changed(work.at.now);
    let companions = open.client.person_id.map(RecordRef::person);
    let change = differences.change(record, open.client.meta.version).with(companions);
    let client = save::client(work, open, Names::Changed).await?;
    let change_ids = append(work, &recipients, vec![change]).await?;
    let response = UpdateClientResponse { client: Some(client), change_ids };
    Ok(Answer { response, record: record.id })
}

fn edit_client(differences: &mut Differences, client: &mut Client, edit: ClientEdit) {
    let Identifiers { company_number: _, utr, vat_number, paye_reference } =
        &mut client.identifiers;
    match edit {
        ClientEdit::Jurisdiction(to) => {
            differences.set("jurisdiction", &mut client.jurisdiction, to, |j| json!(j.name()));
        }
        ClientEdit::Reference(to) => {
            differences.set("client_reference", &mut client.reference, to, |r| json!(r.text));
        }
        // Applied by `edit_company_number`, after the jurisdiction.
        ClientEdit::CompanyNumber(_) => {}
        ClientEdit::Utr(to) => differences.set("identifiers.utr", utr, to, |n| json!(n)),
        ClientEdit::VatNumber(to) => {
            differences.set("identifiers.vat_number", vat_number, to, |n| json!(n));
        }
        ClientEdit::PayeReference(to) => {
            differences.set("identifiers.paye_reference", paye_reference, to, |n| json!(n));
        }
        ClientEdit::Emails(to) => {
            differences.set("emails", &mut client.emails, to, |list| json!(list));
        }
        ClientEdit::Phones(to) => {
            differences.set("phones", &mut client.phones, to, |list| json!(list));
        }
    }
}

/// Normalises the company number to the format of the register, also when only the
/// jurisdiction has changed.
fn edit_company_number(
    differences: &mut Differences,
    client: &mut Client,
    edits: &[ClientEdit],
) -> Result<(), ApiError> {
    let given = edits.iter().find_map(|edit| match edit {
        ClientEdit::CompanyNumber(number) => Some(number.clone()),
        _ => None,
    });
    let was_moved = edits.iter().any(|edit| matches!(edit, ClientEdit::Jurisdiction(_)));
    let number = match given {
        Some(number) => number,
        None if was_moved => client.identifiers.company_number.clone().unwrap_or_default(),
        None => return Ok(()),
    };
    let number = company_number(&number, client.jurisdiction).map_err(|problem| {
        ApiError::invalid(vec![problem.at("fields.identifiers.company_number")])
    })?;
    let own = &mut client.identifiers.company_number;
    differences.set("identifiers.company_number", own, number, |n| json!(n));
    Ok(())
}

async fn update_person(
    work: &UnitOfWork,
    command: &UpdateCommand<PersonEdit>,
) -> Result<Answer<UpdatePersonResponse>, RecordError> {
    let recipients = work.recipients().await?;
    let mut open = open::linked_person(work, "person", &command.record).await?;
    let record = RecordRef::person(open.person.id);
    let image = open.image(work);
    check_etag(work, "etag", &command.etag, &image.etag, record).await?;
    let mut differences = Differences::default();
    for edit in &command.edits {
        edit_person(&mut differences, &mut open.person, edit.clone());
    }
    if differences.fields.is_empty() {
        let response = UpdatePersonResponse { person: Some(image), change_ids: Vec::new() };
        return Ok(Answer { response, record: record.id });
    }
    open.person.meta = open.person.meta.changed(work.at.now);
    let change = differences.change(record, open.person.meta.version);
    let person = save::person(work, open, Names::Same).await?;
    let change_ids = append(work, &recipients, vec![change]).await?;
    let response = UpdatePersonResponse { person: Some(person), change_ids };
    Ok(Answer { response, record: record.id })
}

fn edit_person(differences: &mut Differences, person: &mut Person, edit: PersonEdit) {
    match edit {
        PersonEdit::BirthDate(to) => {
            differences.set("birth_date", &mut person.birth_date, to, |d| json!(date_text(*d)));
        }
        PersonEdit::Nino(to) => differences.set("nino", &mut person.nino, to, |n| json!(n)),
        PersonEdit::Ppsn(to) => differences.set("ppsn", &mut person.ppsn, to, |n| json!(n)),
        PersonEdit::Emails(to) => {
            differences.set("emails", &mut person.emails, to, |list| json!(list));
        }
        PersonEdit::Phones(to) => {
            differences.set("phones", &mut person.phones, to, |list| json!(list));
        }
    }
}
