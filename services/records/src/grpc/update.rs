//! Field masks: parses the edits of plain fields.

use concord_core::{
    rules::{
        FieldViolations,
        date::parse_date,
        draft::{Reference, emails, phones},
        identifier,
        terms::Term as _,
        violation::path,
    },
    status::quoted,
};
use concord_proto::pb::records::{
    ClientFields, ErrorReason, Jurisdiction, PersonFields, UpdateClientRequest, UpdatePersonRequest,
};

use crate::service::update::{ClientEdit, PersonEdit, UpdateCommand};

/// Fields with a timeline. They need an RPC of the history: the caller must state whether
/// the value changed or was wrong.
const TIMELINES: [&str; 8] = [
    "name",
    "registered_name",
    "trading_name",
    "entries",
    "addresses",
    "address",
    "registered_names",
    "trading_names",
];

/// Parses the edits of a client.
pub(super) fn client(
    request: UpdateClientRequest,
) -> Result<UpdateCommand<ClientEdit>, FieldViolations> {
    let mut wrong = FieldViolations::new();
    let fields = request.fields.unwrap_or_default();
    let mut edits = Vec::new();
    for field in paths(&mut wrong, request.update_mask) {
        edits.extend(client_edits(&mut wrong, &field, &fields));
    }
    wrong.finish(Some(UpdateCommand { record: request.client, edits, etag: request.etag }))
}

/// Parses the edits of a person.
pub(super) fn person(
    request: UpdatePersonRequest,
) -> Result<UpdateCommand<PersonEdit>, FieldViolations> {
    let mut wrong = FieldViolations::new();
    let fields = request.fields.unwrap_or_default();
    let mut edits = Vec::new();
    for field in paths(&mut wrong, request.update_mask) {
        edits.extend(person_edit(&mut wrong, &field, &fields));
    }
    wrong.finish(Some(UpdateCommand { record: request.person, edits, etag: request.etag }))
}

/// The paths of a mask in snake case. Some callers send camel case, as in JSON.
fn paths(wrong: &mut FieldViolations, mask: Option<prost_types::FieldMask>) -> Vec<String> {
    let paths = mask.unwrap_or_default().paths;
    if paths.is_empty() {
        let text = "name the fields to change; a field that is in the mask and empty is cleared";
        wrong.push("update_mask", ErrorReason::InvalidMask, text);
    }
    let mut fields: Vec<String> = paths.iter().map(|path| snake_case(path)).collect();
    fields.sort();
    fields.dedup();
    fields
}

fn snake_case(path: &str) -> String {
    let mut snake = String::with_capacity(path.len() + 4);
    for c in path.trim().chars().take(200) {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

fn client_edits(
    wrong: &mut FieldViolations,
    field: &str,
    fields: &ClientFields,
) -> Vec<ClientEdit> {
    let numbers = fields.identifiers.clone().unwrap_or_default();
    let at = path("fields", field);
    let edit = match field {
        "jurisdiction" => wrong
            .field(&at, Jurisdiction::from_wire(fields.jurisdiction))
            .map(|value| ClientEdit::Jurisdiction(value.unwrap_or_default())),
        "client_reference" => {
            wrong.field(&at, Reference::parse(&fields.client_reference)).map(ClientEdit::Reference)
        }
        "identifiers.company_number" => wrong
            .field(&at, identifier::possible_company_numbers(&numbers.company_number))
            // The format depends on the jurisdiction, which may be that of the client.
            .map(|_| ClientEdit::CompanyNumber(numbers.company_number.clone())),
        "identifiers.utr" => wrong.field(&at, identifier::utr(&numbers.utr)).map(ClientEdit::Utr),
        "identifiers.vat_number" => {
            wrong.field(&at, identifier::vat_number(&numbers.vat_number)).map(ClientEdit::VatNumber)
        }
        "identifiers.paye_reference" => wrong
            .field(&at, identifier::paye_reference(&numbers.paye_reference))
            .map(ClientEdit::PayeReference),
        "identifiers" => {
            let parts = ["company_number", "utr", "vat_number", "paye_reference"];
            let each = parts.map(|part| path(field, part));
            return each.iter().flat_map(|part| client_edits(wrong, part, fields)).collect();
        }
        "emails" => wrong.part(&at, emails(&fields.emails)).map(ClientEdit::Emails),
        "phones" => wrong.part(&at, phones(&fields.phones)).map(ClientEdit::Phones),
        other => {
            refuse_path(wrong, other);
            None
        }
    };
    edit.into_iter().collect()
}

fn person_edit(
    wrong: &mut FieldViolations,
    field: &str,
    fields: &PersonFields,
) -> Option<PersonEdit> {
    let at = path("fields", field);
    match field {
        "birth_date" => wrong.field(&at, parse_date(&fields.birth_date)).map(PersonEdit::BirthDate),
        "nino" => wrong.field(&at, identifier::nino(&fields.nino)).map(PersonEdit::Nino),
        "ppsn" => wrong.field(&at, identifier::ppsn(&fields.ppsn)).map(PersonEdit::Ppsn),
        "emails" => wrong.part(&at, emails(&fields.emails)).map(PersonEdit::Emails),
        "phones" => wrong.part(&at, phones(&fields.phones)).map(PersonEdit::Phones),
        other => {
            refuse_path(wrong, other);
            None
        }
    }
}

fn refuse_path(wrong: &mut FieldViolations, field: &str) {
    let first = field.split('.').next().unwrap_or_default();
    if TIMELINES.contains(&first) {
        let text =
            "say what you mean: AddEntry when it has changed, CorrectEntry when it was wrong";
        wrong.push("update_mask", ErrorReason::HistoryFieldNeedsIntent, text);
    } else {
        let text = format!("{:?} is not a field that can be changed here", quoted(field));
        wrong.push("update_mask", ErrorReason::InvalidMask, text);
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
