//! A contact of an import: one person with its places at clients.

use std::collections::BTreeMap;

use super::{
    Canonical, ContactPlace, ImportDraft, ParsedRecord, damaged, email, first_name, given,
    own_source_id, phone,
};
use crate::{
    pb::{
        imports::{ContactClient, ImportContact, ImportRecordKind},
        records::{self, ErrorReason, Role},
    },
    rules::{
        date::parse_date,
        draft::{self, PersonDraft},
        terms::{Term, term_key},
        text::{MAX_CONTACT_CLIENTS, blank, normalise_id, too_many},
        value::PersonName,
        violation::Violations,
        warning,
    },
};

/// What people call the source id of a contact's client.
const CLIENT_LABEL: &str = "Client source id";

/// The roles at each client, as they were given, by [`term_key`]; the clients by
/// normalised source id. So a client that is named twice is one.
type Places = BTreeMap<String, BTreeMap<String, String>>;

pub(super) fn parse(record: &ImportContact) -> ParsedRecord {
    let mut wrong = Violations::new();
    let source_id = own_source_id(&mut wrong, &record.source_id);
    let given_places = places(&record.clients);
    let parents: Vec<_> = given_places
        .keys()
        .filter_map(|id| draft::source_id(CLIENT_LABEL, id).ok())
        .map(|id| (ImportRecordKind::Client, id))
        .collect();
    let clients = judge_places(&mut wrong, &given_places);
    let mut warnings = warnings(record);
    let person = person(&mut wrong, &mut warnings, record);
    ParsedRecord {
        kind: ImportRecordKind::Contact,
        source_id,
        digest: digest(record, &given_places),
        excluded: false,
        reference_key: None,
        parents,
        address_slot: None,
        record_name: record_name(record),
        own_reference: String::new(),
        outcome: wrong.finish(person.map(|person| ImportDraft::Contact { person, clients })),
        warnings,
    }
}

/// Gathers the clients. One entry may hold several roles, with `;` between them.
fn places(clients: &[ContactClient]) -> Places {
    let mut places = Places::new();
    for ContactClient { client_source_id, roles } in clients {
        let place = places.entry(normalise_id(client_source_id)).or_default();
        for role in roles.iter().flat_map(|roles| roles.split(';')) {
            let key = term_key(role);
            if !key.is_empty() {
                place.entry(key).or_insert_with(|| role.to_owned());
            }
        }
    }
    places
}

fn judge_places(wrong: &mut Violations, places: &Places) -> Vec<ContactPlace> {
    if places.is_empty() {
        wrong.add(blank(CLIENT_LABEL).at("client_source_id"));
    }
    if places.len() > MAX_CONTACT_CLIENTS {
        let problem = too_many("Clients", places.len(), MAX_CONTACT_CLIENTS);
        wrong.add(problem.at("client_source_id"));
        return Vec::new();
    }
    for client_source_id in places.keys() {
        wrong.field("client_source_id", draft::source_id(CLIENT_LABEL, client_source_id));
    }
    places.iter().map(|(id, roles)| place(wrong, id, roles)).collect()
}

fn place(wrong: &mut Violations, id: &str, given_roles: &BTreeMap<String, String>) -> ContactPlace {
    if given_roles.is_empty() {
        let text = "Contact has no role assigned";
        wrong.push("roles", ErrorReason::ContactRoleMissing, text);
    }
    let roles = given_roles.values().map(|role| given(Role::LABEL, Role::parse(role)));
    let mut roles: Vec<Role> = roles.filter_map(|role| wrong.field("roles", role)).collect();
    roles.sort_unstable();
    ContactPlace { client_source_id: id.to_owned(), roles }
}

/// Warns of the fields that are kept.
fn warnings(record: &ImportContact) -> Violations {
    let mut warnings = Violations::new();
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
    wrong: &mut Violations,
    warnings: &mut Violations,
    record: &ImportContact,
) -> Option<PersonDraft> {
    let name = wrong.part("", PersonName::parse(&person_name(record), ""));
    let birth_date = wrong.field("birth_date", parse_date(&record.birth_date)).flatten();
    let emails = email(wrong, warnings, &record.email);
    let phones = phone(wrong, warnings, &record.phone);
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

/// Every field, by its number: a new one does not build until it is here.
fn digest(record: &ImportContact, places: &Places) -> [u8; 32] {
    let ImportContact {
        source_id,
        clients: _,
        title,
        forename,
        middle_names,
        surname,
        birth_date,
        email,
        phone,
    } = record;
    let mut canonical = Canonical::new(ImportRecordKind::Contact);
    canonical.field(1, source_id);
    canonical.number(2);
    canonical.number(places.len() as u64);
    for (client_source_id, roles) in places {
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
