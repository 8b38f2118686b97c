//! Updating plain fields of clients and persons: fields without history.

use concord_core::{
    caller::Caller,
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
use prost::Message;
use serde_json::{Map, Value as Json, json};

use super::{
    Records,
    links::append,
    open::{self, Names, check_etag},
    request_context::RequestContext,
    subject::Subject,
    unit_of_work::Answer,
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

    /// Adds the differences to a change.
    fn add_to(self, change: Change) -> Change {
        Change {
            changed_fields: self.fields,
            before: Some(Json::Object(self.before)),
            after: Some(Json::Object(self.after)),
            ..change
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
        let edit = |differences: &mut Differences, client: &mut Client, edits: &[ClientEdit]| {
            for edit in edits {
                edit_client(differences, client, edit.clone());
            }
            edit_company_number(differences, client, edits)
        };
        let names = Names::Changed;
        let response = |client, change_ids| UpdateClientResponse { client, change_ids };
        let updated = self.update::<Client, _, _>(caller, context, command, edit, names, response);
        match (updated.await, reference) {
            (Err(RecordError::UniqueViolation(UniqueViolation::Reference)), Some(key)) => {
                let existing = clients::id_by_reference(self.db.reader_of(&practice), &key).await?;
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
        let edit = |differences: &mut Differences, person: &mut Person, edits: &[PersonEdit]| {
            for edit in edits {
                edit_person(differences, person, edit.clone());
            }
            Ok(())
        };
        let response = |person, change_ids| UpdatePersonResponse { person, change_ids };
        self.update::<Person, _, _>(caller, context, command, edit, Names::Same, response).await
    }

    /// Changes plain fields of a client or a person. `names` is `Changed` if a search document
    /// contains such fields. `response` builds the answer from the image and the ids of the
    /// changes.
    async fn update<S: Subject, E: Send + Sync + 'static, R: Message + Default + 'static>(
        &self,
        caller: Caller,
        context: RequestContext,
        command: UpdateCommand<E>,
        edit: fn(&mut Differences, &mut S, &[E]) -> Result<(), ApiError>,
        names: Names,
        response: fn(Option<S::Image>, Vec<String>) -> R,
    ) -> Result<R, RecordError> {
        let updated = self.mutate(caller, context, command, move |work, command| async move {
            let recipients = work.recipients().await?;
            let mut open = open::linked::<S>(&work, &command.record).await?;
            let record = open.record;
            let image = open.image(&work);
            check_etag(&work, "etag", &command.etag, S::etag(&image), record).await?;
            let mut differences = Differences::default();
            edit(&mut differences, &mut open.subject, &command.edits)?;
            let (image, change_ids) = if differences.fields.is_empty() {
                (image, Vec::new())
            } else {
                let meta = open.subject.meta().changed(work.at.now);
                let change = differences.add_to(open.subject.changed(ChangeKind::Updated, meta));
                let image = open.save(&work, names).await?;
                (image, append(&work, &recipients, vec![change]).await?)
            };
            Ok(Answer { response: response(Some(image), change_ids), record: record.id })
        });
        updated.await
    }
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
