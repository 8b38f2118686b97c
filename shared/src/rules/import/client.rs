//! A client of an import.

use super::{Canonical, ImportDraft, ParsedRecord, first_name, given, ignored, own_source_id};
use crate::{
    pb::{
        imports::{ImportClient, ImportRecordKind},
        records::{self, ClientIdentifiers, ClientType, ErrorReason, Jurisdiction},
    },
    rules::{
        date::parse_date,
        draft::{self, ClientDraft, DatedName, Identifiers, PersonDraft, Reference},
        identifier,
        terms::{Term, term_key},
        text::{MAX_NAME, MAX_REFERENCE, plain, required, shorten},
        value::PersonName,
        violation::Violations,
    },
};

/// The type of client that is left out; [`term_key`] of what files hold.
const SELF_ASSESSMENT: &str = "SELF_ASSESSMENT";

pub(super) fn parse(record: &ImportClient) -> ParsedRecord {
    let mut wrong = Violations::new();
    let source_id = own_source_id(&mut wrong, &record.source_id);
    let excluded = term_key(&record.client_type) == SELF_ASSESSMENT;
    let mut reference_key = None;
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
            draft(record, wrong, reference)
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
    }
}

/// Judges every field after the reference.
fn draft(
    record: &ImportClient,
    mut wrong: Violations,
    reference: Option<Reference>,
) -> Result<ImportDraft, Violations> {
    let client_type = given(ClientType::LABEL, ClientType::parse(&record.client_type));
    let client_type = wrong.field("client_type", client_type);
    let registered_name = registered_name(&mut wrong, record, client_type);
    let trading_name = plain("Trading name", &record.trading_name, MAX_NAME);
    let trading_name = wrong.field("trading_name", trading_name).and_then(dated);
    let identifiers = Identifiers::parse(&ClientIdentifiers {
        company_number: record.company_number.clone(),
        utr: record.utr.clone(),
        vat_number: record.vat_number.clone(),
        paye_reference: record.paye_reference.clone(),
    });
    let identifiers = wrong.part("", identifiers);
    let individual = individual(&mut wrong, record, client_type);
    let email = wrong.field("email", identifier::email(&record.email)).flatten();
    let phone = wrong.field("phone", draft::phone(&record.phone)).flatten();
    let parts = client_type.zip(reference).zip(identifiers);
    wrong.finish(parts.map(|((client_type, reference), identifiers)| ImportDraft::Client {
        client: ClientDraft {
            client_type,
            jurisdiction: Jurisdiction::Unspecified,
            reference,
            registered_name,
            trading_name,
            identifiers,
            emails: email.into_iter().collect(),
            phones: phone.into_iter().collect(),
        },
        individual,
    }))
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
    canonical.finish()
}
