//! A client of an import.

use super::{
    Canonical, ImportDraft, ParsedRecord, damaged, email, first_name, given, ignored,
    own_source_id, phone,
};
use crate::{
    pb::{
        imports::{ImportClient, ImportRecordKind},
        records::{self, ClientIdentifiers, ClientType, ErrorReason, Jurisdiction},
    },
    rules::{
        date::parse_date,
        draft::{ClientDraft, DatedName, Identifiers, PersonDraft, Reference},
        terms::{Term, term_key},
        text::{MAX_NAME, MAX_REFERENCE, plain, required, shorten},
        value::PersonName,
        violation::Violations,
        warning,
    },
};

/// The type of client that is left out; [`term_key`] of what files hold.
const SELF_ASSESSMENT: &str = "SELF_ASSESSMENT";

pub(super) fn parse(record: &ImportClient) -> ParsedRecord {
    let mut wrong = Violations::new();
    let source_id = own_source_id(&mut wrong, &record.source_id);
    let excluded = term_key(&record.client_type) == SELF_ASSESSMENT;
    let mut reference_key = None;
    let mut warnings = Violations::new();
    let outcome = match (excluded, source_id.is_empty()) {
        (true, false) => {
            let text = "Client type is Self-Assessment";
            wrong.push("client_type", ErrorReason::ClientTypeExcluded, text);
            Err(wrong)
        }
        // Without a key the record fails, whatever its type.
        (true, true) => Err(wrong),
        (false, _) => {
            let reference = Reference::parse(&record.client_reference);
            reference_key = reference.as_ref().ok().map(|reference| reference.key.clone());
            let reference = wrong.field("client_reference", reference);
            draft(record, wrong, &mut warnings, reference)
        }
    };
    ParsedRecord {
        kind: ImportRecordKind::Client,
        excluded: excluded && !source_id.is_empty(),
        source_id,
        digest: digest(record),
        reference_key,
        parents: Vec::new(),
        address_slot: None,
        record_name: record_name(record),
        own_reference: shorten(&record.client_reference, MAX_REFERENCE),
        outcome,
        warnings,
    }
}

/// Judges every field after the reference.
fn draft(
    record: &ImportClient,
    mut wrong: Violations,
    warnings: &mut Violations,
    reference: Option<Reference>,
) -> Result<ImportDraft, Violations> {
    let client_type = given(ClientType::LABEL, ClientType::parse(&record.client_type));
    let client_type = wrong.field("client_type", client_type);
    let registered_name = registered_name(&mut wrong, record, client_type);
    let trading_name = plain("Trading name", &record.trading_name, MAX_NAME);
    let trading_name = wrong.field("trading_name", trading_name).and_then(dated);
    let jurisdiction = Jurisdiction::parse(&record.jurisdiction);
    let jurisdiction = wrong.field("jurisdiction", jurisdiction).map(Option::unwrap_or_default);
    let identifiers = ClientIdentifiers {
        company_number: record.company_number.clone(),
        utr: record.utr.clone(),
        vat_number: record.vat_number.clone(),
        paye_reference: record.paye_reference.clone(),
    };
    let identifiers = Identifiers::parse(&identifiers, jurisdiction.unwrap_or_default());
    let identifiers = wrong.part("", identifiers);
    let individual = individual(&mut wrong, record, client_type);
    let emails = email(&mut wrong, warnings, &record.email);
    let phones = phone(&mut wrong, warnings, &record.phone);
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
    wrong.finish(parts.map(client))
}

/// Warns of the fields that are kept.
fn warn(warnings: &mut Violations, record: &ImportClient, client_type: Option<ClientType>) {
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

/// Required of every type but an individual; not judged while the type is not
/// known.
fn registered_name(
    wrong: &mut Violations,
    record: &ImportClient,
    client_type: Option<ClientType>,
) -> Option<DatedName> {
    const LABEL: &str = "Registered name";
    if matches!(client_type, None | Some(ClientType::Individual)) {
        ignored(wrong, "registered_name", LABEL, &record.registered_name);
        return None;
    }
    let name = required(LABEL, &record.registered_name, MAX_NAME);
    wrong.field("registered_name", name).and_then(dated)
}

/// A name without a date; `None` when it is empty.
fn dated(name: String) -> Option<DatedName> {
    (!name.is_empty()).then_some(DatedName { name, active_from: None })
}

/// The person of an individual; of all other types the fields are not judged.
fn individual(
    wrong: &mut Violations,
    record: &ImportClient,
    client_type: Option<ClientType>,
) -> Option<PersonDraft> {
    if client_type != Some(ClientType::Individual) {
        ignored(wrong, "title", "Title", &record.title);
        ignored(wrong, "forename", "Forename", &record.forename);
        ignored(wrong, "surname", "Surname", &record.surname);
        ignored(wrong, "birth_date", "Date", &record.birth_date);
        return None;
    }
    let name = wrong.part("", PersonName::parse(&person_name(record), ""));
    let birth_date = wrong.field("birth_date", parse_date(&record.birth_date)).flatten();
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

/// The registered name, or the person's, which comes first for an individual.
fn record_name(record: &ImportClient) -> String {
    let ImportClient { registered_name, client_reference, source_id, .. } = record;
    let person = PersonName::from(&person_name(record)).display();
    if ClientType::parse(&record.client_type) == Ok(Some(ClientType::Individual)) {
        first_name([&person, registered_name, client_reference, source_id])
    } else {
        first_name([registered_name, &person, client_reference, source_id])
    }
}

/// Every field, by its number: a new one does not build until it is here.
fn digest(record: &ImportClient) -> [u8; 32] {
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
