//! Parser of a contact record of an import: one person with its roles at clients.

use std::collections::BTreeMap;

use super::{
    digest::Canonical,
    fields::{damaged, email, first_name, given, own_source_id, phone},
    record::{ClientRoles, ImportDraft, ParsedRecord},
};
use crate::rules::{
    date::parse_date,
    draft::{self, PersonDraft},
    terms::{Term, term_key},
    text::{MAX_CONTACT_CLIENTS, blank, normalise_id, too_many},
    value::PersonName,
    violation::FieldViolations,
    warning,
};
use concord_proto::pb::{
    imports::{ContactClient, ImportContact, ImportRecordKind},
    records::{self, ErrorReason, Role},
};

/// The name of the source id of a client, for users.
const CLIENT_LABEL: &str = "Client source id";

/// The given roles by [`term_key`], for each client by normalised source id. Repeated
/// clients are merged.
type RolesByClient = BTreeMap<String, BTreeMap<String, String>>;

pub(super) fn parse(record: &ImportContact) -> ParsedRecord {
    let mut violations = FieldViolations::new();
    let source_id = own_source_id(&mut violations, &record.source_id);
    let by_client = roles_by_client(&record.clients);
    let parents: Vec<_> = by_client
        .keys()
        .filter_map(|id| draft::source_id(CLIENT_LABEL, id).ok())
        .map(|id| (ImportRecordKind::Client, id))
        .collect();
    let clients = validate_clients(&mut violations, &by_client);
    let mut warnings = warnings(record);
    let person = person(&mut violations, &mut warnings, record);
    ParsedRecord {
        kind: ImportRecordKind::Contact,
        source_id,
        excluded: false,
        reference_key: None,
        parents,
        address_slot: None,
        record_name: record_name(record),
        own_reference: String::new(),
        outcome: violations.finish(person.map(|person| ImportDraft::Contact { person, clients })),
        warnings,
    }
}

/// Groups the roles by client. One entry may have several roles, separated by `;`.
fn roles_by_client(clients: &[ContactClient]) -> RolesByClient {
    let mut by_client = RolesByClient::new();
    for ContactClient { client_source_id, roles } in clients {
        let by_key = by_client.entry(normalise_id(client_source_id)).or_default();
        for role in roles.iter().flat_map(|roles| roles.split(';')) {
            let key = term_key(role);
            if !key.is_empty() {
                by_key.entry(key).or_insert_with(|| role.to_owned());
            }
        }
    }
    by_client
}

fn validate_clients(
    violations: &mut FieldViolations,
    by_client: &RolesByClient,
) -> Vec<ClientRoles> {
    if by_client.is_empty() {
        violations.add(blank(CLIENT_LABEL).at("client_source_id"));
    }
    if by_client.len() > MAX_CONTACT_CLIENTS {
        let error = too_many("Clients", by_client.len(), MAX_CONTACT_CLIENTS);
        violations.add(error.at("client_source_id"));
        return Vec::new();
    }
    for client_source_id in by_client.keys() {
        violations.field("client_source_id", draft::source_id(CLIENT_LABEL, client_source_id));
    }
    by_client.iter().map(|(id, roles)| client_roles(violations, id, roles)).collect()
}

fn client_roles(
    violations: &mut FieldViolations,
    id: &str,
    given_roles: &BTreeMap<String, String>,
) -> ClientRoles {
    if given_roles.is_empty() {
        let text = "Contact has no role assigned";
        violations.push("roles", ErrorReason::ContactRoleMissing, text);
    }
    let roles = given_roles.values().map(|role| given(Role::LABEL, Role::parse(role)));
    let mut roles: Vec<Role> = roles.filter_map(|role| violations.field("roles", role)).collect();
    roles.sort_unstable();
    ClientRoles { client_source_id: id.to_owned(), roles }
}

/// The warnings for the stored fields.
fn warnings(record: &ImportContact) -> FieldViolations {
    let mut warnings = FieldViolations::new();
    damaged(
        &mut warnings,
        [
            ("source_id", "Source id", &record.source_id),
            ("email", "E-mail address", &record.email),
            ("phone", "Telephone number", &record.phone),
        ],
    );
    for client in &record.clients {
        let id = &client.client_source_id;
        warning::damaged(&mut warnings, "client_source_id", CLIENT_LABEL, id);
    }
    warnings.extend(warning::of_person_name(&person_name(record)));
    warnings
}

fn person(
    violations: &mut FieldViolations,
    warnings: &mut FieldViolations,
    record: &ImportContact,
) -> Option<PersonDraft> {
    let name = violations.part("", PersonName::parse(&person_name(record), ""));
    let birth_date = violations.field("birth_date", parse_date(&record.birth_date)).flatten();
    let emails = email(violations, warnings, &record.email);
    let phones = phone(violations, warnings, &record.phone);
    Some(PersonDraft {
        name: name?,
        name_active_from: None,
        birth_date,
        nino: None,
        ppsn: None,
        emails,
        phones,
    })
}

fn person_name(record: &ImportContact) -> records::PersonName {
    records::PersonName {
        title: record.title.clone(),
        forename: record.forename.clone(),
        middle_names: record.middle_names.clone(),
        surname: record.surname.clone(),
    }
}

fn record_name(record: &ImportContact) -> String {
    let name = PersonName::from(&person_name(record)).display();
    first_name([&name, &record.source_id])
}

/// The digest of all fields by number. The build fails if a new field is missing here.
pub(super) fn digest(record: &ImportContact) -> [u8; 32] {
    let ImportContact {
        source_id,
        clients,
        title,
        forename,
        middle_names,
        surname,
        birth_date,
        email,
        phone,
    } = record;
    let by_client = roles_by_client(clients);
    let mut canonical = Canonical::new(ImportRecordKind::Contact);
    canonical.field(1, source_id);
    canonical.number(2);
    canonical.number(by_client.len() as u64);
    for (client_source_id, roles) in &by_client {
        canonical.value(client_source_id);
        canonical.number(roles.len() as u64);
        for role in roles.keys() {
            canonical.value(role);
        }
    }
    canonical.field(3, title);
    canonical.field(4, forename);
    canonical.field(5, middle_names);
    canonical.field(6, surname);
    canonical.field(7, birth_date);
    canonical.field(8, email);
    canonical.field(9, phone);
    canonical.finish()
}
