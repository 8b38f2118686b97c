//! Changing plain fields of clients and persons.

use serde_json::{Map, Value as Json, json};
use shared::{
    caller::Caller,
    ids::new_uuid,
    pb::records::{ChangeKind, Jurisdiction, UpdateClientResponse, UpdatePersonResponse},
    rules::{
        date::date_text,
        draft::{Identifiers, Reference},
        identifier::company_number,
        terms::Term as _,
    },
    status::Refusal,
};

use super::{
    Records,
    intent::Intent,
    links::append,
    open::{self, check_etag},
    save::{self, Names},
    script::{Answer, Script},
};
use crate::{
    domain::{
        change::Change,
        record::{Client, Person, RecordRef},
    },
    error::{RecordError, Taken, duplicate_reference},
    store::clients,
};

/// A new value of one plain field of a client.
#[derive(Clone, Debug)]
pub(crate) enum ClientEdit {
    Jurisdiction(Jurisdiction),
    Reference(Reference),
    /// As it was given: its form is that of the client's jurisdiction.
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

/// What is changed, with the etag that was read.
#[derive(Clone, Debug)]
pub(crate) struct UpdateCommand<E> {
    /// An id or an alias.
    pub(crate) record: String,
    pub(crate) edits: Vec<E>,
    pub(crate) etag: String,
}

/// What a change of fields came to, for the feed and the audit.
#[derive(Debug, Default)]
struct Differences {
    fields: Vec<String>,
    before: Map<String, Json>,
    after: Map<String, Json>,
}

impl Differences {
    /// Sets a field, and notes it when it was another.
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
        intent: Intent,
        command: UpdateCommand<ClientEdit>,
    ) -> Result<UpdateClientResponse, RecordError> {
        let practice = caller.practice.clone();
        let reference = command.edits.iter().find_map(|edit| match edit {
            ClientEdit::Reference(reference) => Some(reference.key.clone()),
            _ => None,
        });
        let updated = self.mutate(caller, intent, command, move |script, command| async move {
            update_client(&script, &command).await
        });
        match (updated.await, reference) {
            (Err(RecordError::Taken(Taken::Reference)), Some(key)) => {
                let existing = clients::id_by_reference(self.db.reader(), &practice, &key).await?;
                let refused = |id| duplicate_reference(RecordRef::client(id)).into();
                Err(existing.map_or(RecordError::Raced, refused))
            }
            (outcome, _) => outcome,
        }
    }

    /// Changes plain fields of a person.
    pub(crate) async fn update_person(
        &self,
        caller: Caller,
        intent: Intent,
        command: UpdateCommand<PersonEdit>,
    ) -> Result<UpdatePersonResponse, RecordError> {
        let updated = self.mutate(caller, intent, command, move |script, command| async move {
            update_person(&script, &command).await
        });
        updated.await
    }
}

async fn update_client(
    script: &Script,
    command: &UpdateCommand<ClientEdit>,
) -> Result<Answer<UpdateClientResponse>, RecordError> {
    let audience = script.audience().await?;
    let mut open = open::linked_client(script, "client", &command.record).await?;
    let record = RecordRef::client(open.client.id);
    let image = open.image(script);
    check_etag(script, "etag", &command.etag, &image.etag, record).await?;
    let mut differences = Differences::default();
    for edit in &command.edits {
        edit_client(&mut differences, &mut open.client, edit.clone());
    }
    edit_company_number(&mut differences, &mut open.client, &command.edits)?;
    if differences.fields.is_empty() {
        let response = UpdateClientResponse { client: Some(image), change_ids: Vec::new() };
        return Ok(Answer { response, record: record.id });
    }
    open.client.life = open.client.life.changed(script.at.now);
    let companions = open.client.person_id.map(RecordRef::person);
    let change = differences.change(record, open.client.life.version).with(companions);
    let client = save::client(script, open, Names::Changed).await?;
    let change_ids = append(script, &audience, vec![change]).await?;
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
        // Once the jurisdiction is known.
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

/// Brings the company number to the form of the register, also when only the
/// jurisdiction has changed.
fn edit_company_number(
    differences: &mut Differences,
    client: &mut Client,
    edits: &[ClientEdit],
) -> Result<(), Refusal> {
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
        Refusal::invalid(vec![problem.at("fields.identifiers.company_number")])
    })?;
    let own = &mut client.identifiers.company_number;
    differences.set("identifiers.company_number", own, number, |n| json!(n));
    Ok(())
}

async fn update_person(
    script: &Script,
    command: &UpdateCommand<PersonEdit>,
) -> Result<Answer<UpdatePersonResponse>, RecordError> {
    let audience = script.audience().await?;
    let mut open = open::linked_person(script, "person", &command.record).await?;
    let record = RecordRef::person(open.person.id);
    let image = open.image(script);
    check_etag(script, "etag", &command.etag, &image.etag, record).await?;
    let mut differences = Differences::default();
    for edit in &command.edits {
        edit_person(&mut differences, &mut open.person, edit.clone());
    }
    if differences.fields.is_empty() {
        let response = UpdatePersonResponse { person: Some(image), change_ids: Vec::new() };
        return Ok(Answer { response, record: record.id });
    }
    open.person.life = open.person.life.changed(script.at.now);
    let change = differences.change(record, open.person.life.version);
    let person = save::person(script, open, Names::Same).await?;
    let change_ids = append(script, &audience, vec![change]).await?;
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
