//! Parser of a client record of an import.

use super::{
    digest::Canonical,
    fields::{damaged, email, first_name, given, ignored, own_source_id, phone},
    record::{ImportDraft, ParsedRecord},
};
use crate::rules::{
    date::parse_date,
    draft::{ClientDraft, DatedName, Identifiers, PersonDraft, Reference},
    terms::{Term, term_key},
    text::{MAX_NAME, MAX_REFERENCE, plain, required, shorten},
    value::PersonName,
    violation::FieldViolations,
    warning,
};
use concord_proto::pb::{
    imports::{ImportClient, ImportRecordKind},
    records::{self, ClientIdentifiers, ClientType, ErrorReason, Jurisdiction},
};

/// The [`term_key`] of the client type that is not imported.
const SELF_ASSESSMENT: &str = "SELF_ASSESSMENT";

pub(super) fn parse(record: &ImportClient) -> ParsedRecord {
    let mut violations = FieldViolations::new();
    let source_id = own_source_id(&mut violations, &record.source_id);
    let excluded = term_key(&record.client_type) == SELF_ASSESSMENT;
    let mut reference_key = None;
    let mut warnings = FieldViolations::new();
    let outcome = match (excluded, source_id.is_empty()) {
        (true, false) => {
            let text = "Client type is Self-Assessment";
            violations.push("client_type", ErrorReason::ClientTypeExcluded, text);
            Err(violations)
        }
        // A record without a key fails, even if its type is excluded.
        (true, true) => Err(violations),
        (false, _) => {
            let reference = Reference::parse(&record.client_reference);
            reference_key = reference.as_ref().ok().map(|reference| reference.key.clone());
            let reference = violations.field("client_reference", reference);
            draft(record, violations, &mut warnings, reference)
        }
    };
    ParsedRecord {
        kind: ImportRecordKind::Client,
        excluded: excluded && !source_id.is_empty(),
        source_id,
        reference_key,
        parents: Vec::new(),
        address_slot: None,
        record_name: record_name(record),
        own_reference: shorten(&record.client_reference, MAX_REFERENCE),
        outcome,
        warnings,
    }
}

/// Validates every field after the reference.
fn draft(
    record: &ImportClient,
    mut violations: FieldViolations,
    warnings: &mut FieldViolations,
    reference: Option<Reference>,
) -> Result<ImportDraft, FieldViolations> {
    let client_type = given(ClientType::LABEL, ClientType::parse(&record.client_type));
    let client_type = violations.field("client_type", client_type);
    let registered_name = registered_name(&mut violations, record, client_type);
    let trading_name = plain("Trading name", &record.trading_name, MAX_NAME);
    let trading_name = violations.field("trading_name", trading_name).and_then(dated);
    let jurisdiction = Jurisdiction::parse(&record.jurisdiction);
    let jurisdiction =
        violations.field("jurisdiction", jurisdiction).map(Option::unwrap_or_default);
    let identifiers = ClientIdentifiers {
        company_number: record.company_number.clone(),
        utr: record.utr.clone(),
        vat_number: record.vat_number.clone(),
        paye_reference: record.paye_reference.clone(),
    };
    let identifiers = Identifiers::parse(&identifiers, jurisdiction.unwrap_or_default());
    let identifiers = violations.part("", identifiers);
    let individual = individual(&mut violations, record, client_type);
    let emails = email(&mut violations, warnings, &record.email);
    let phones = phone(&mut violations, warnings, &record.phone);
    warn(warnings, record, client_type);
    let parts = client_type.zip(reference).zip(jurisdiction.zip(identifiers));
    let client = |((client_type, reference), (jurisdiction, identifiers))| ImportDraft::Client {
        client: ClientDraft {
            client_type,
            jurisdiction,
            reference,
            registered_name,
            trading_name,
            identifiers,
            emails,
            phones,
        },
        individual,
    };
    violations.finish(parts.map(client))
}

/// The warnings for the stored fields.
fn warn(warnings: &mut FieldViolations, record: &ImportClient, client_type: Option<ClientType>) {
    damaged(
        warnings,
        [
            ("source_id", "Source id", &record.source_id),
            ("client_reference", "Client reference", &record.client_reference),
            ("email", "E-mail address", &record.email),
            ("phone", "Telephone number", &record.phone),
        ],
    );
    if client_type == Some(ClientType::Individual) {
        warnings.extend(warning::of_person_name(&person_name(record)));
    } else {
        let name = &record.registered_name;
        warning::of_text(warnings, "registered_name", "Registered name", name);
    }
    warning::of_text(warnings, "trading_name", "Trading name", &record.trading_name);
}

/// Parses the registered name. Required for every type except an individual; not validated
/// if the type is invalid.
fn registered_name(
    violations: &mut FieldViolations,
    record: &ImportClient,
    client_type: Option<ClientType>,
) -> Option<DatedName> {
    const LABEL: &str = "Registered name";
    if matches!(client_type, None | Some(ClientType::Individual)) {
        ignored(violations, "registered_name", LABEL, &record.registered_name);
        return None;
    }
    let name = required(LABEL, &record.registered_name, MAX_NAME);
    violations.field("registered_name", name).and_then(dated)
}

/// A name without a date; `None` if empty.
fn dated(name: String) -> Option<DatedName> {
    (!name.is_empty()).then_some(DatedName { name, active_from: None })
}

/// Parses the person of an individual. For other types these fields are not validated.
fn individual(
    violations: &mut FieldViolations,
    record: &ImportClient,
    client_type: Option<ClientType>,
) -> Option<PersonDraft> {
    if client_type != Some(ClientType::Individual) {
        ignored(violations, "title", "Title", &record.title);
        ignored(violations, "forename", "Forename", &record.forename);
        ignored(violations, "surname", "Surname", &record.surname);
        ignored(violations, "birth_date", "Date", &record.birth_date);
        return None;
    }
    let name = violations.part("", PersonName::parse(&person_name(record), ""));
    let birth_date = violations.field("birth_date", parse_date(&record.birth_date)).flatten();
    Some(PersonDraft {
        name: name?,
        name_active_from: None,
        birth_date,
        nino: None,
        ppsn: None,
        emails: Vec::new(),
        phones: Vec::new(),
    })
}

fn person_name(record: &ImportClient) -> records::PersonName {
    records::PersonName {
        title: record.title.clone(),
        forename: record.forename.clone(),
        middle_names: String::new(),
        surname: record.surname.clone(),
    }
}

/// The display name: the registered name, or for an individual the name of the person.
fn record_name(record: &ImportClient) -> String {
    let ImportClient { registered_name, client_reference, source_id, .. } = record;
    let person = PersonName::from(&person_name(record)).display();
    if ClientType::parse(&record.client_type) == Ok(Some(ClientType::Individual)) {
        first_name([&person, registered_name, client_reference, source_id])
    } else {
        first_name([registered_name, &person, client_reference, source_id])
    }
}

/// The digest of all fields by number. The build fails if a new field is missing here.
pub(super) fn digest(record: &ImportClient) -> [u8; 32] {
    let ImportClient {
        source_id,
        client_reference,
        client_type,
        registered_name,
        trading_name,
        company_number,
        utr,
        vat_number,
        paye_reference,
        title,
        forename,
        surname,
        birth_date,
        email,
        phone,
        jurisdiction,
    } = record;
    let mut canonical = Canonical::new(ImportRecordKind::Client);
    canonical.field(1, source_id);
    canonical.field(2, client_reference);
    canonical.field(3, &term_key(client_type));
    canonical.field(4, registered_name);
    canonical.field(5, trading_name);
    canonical.field(6, company_number);
    canonical.field(7, utr);
    canonical.field(8, vat_number);
    canonical.field(9, paye_reference);
    canonical.field(10, title);
    canonical.field(11, forename);
    canonical.field(12, surname);
    canonical.field(13, birth_date);
    canonical.field(14, email);
    canonical.field(15, phone);
    canonical.field(16, &term_key(jurisdiction));
    canonical.finish()
}
