//! Validated records (drafts): all fields are valid; the relations to other records are
//! not checked yet.

use chrono::NaiveDate;

use super::{
    date::{Period, parse_date},
    identifier,
    terms::Term as _,
    text::{
        self, MAX_EMAILS, MAX_NAME, MAX_PHONE, MAX_PHONES, MAX_REFERENCE, MAX_SOURCE_ID, plain,
        plain_id, required_id, too_many,
    },
    value::{Address, PersonName},
    violation::{FieldViolations, ValueError},
};
use concord_proto::pb::records::{
    AddressType, ClientIdentifiers, ClientType, Jurisdiction, NewAddress, NewName, NewPerson,
};

/// The reference that the practice assigns to a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// The text for display.
    pub text: String,
    /// The key for comparison: unique in a practice, case-insensitive.
    pub key: String,
}

impl Reference {
    /// Parses a reference: required, at most [`MAX_REFERENCE`] characters.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        let text = required_id("Client reference", text, MAX_REFERENCE)?;
        Ok(Self { key: text::reference_key(&text), text })
    }
}

/// A name with its first day.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DatedName {
    /// The name.
    pub name: String,
    /// The first day; `None` if unknown.
    pub active_from: Option<NaiveDate>,
}

impl DatedName {
    /// Parses an optional name. A date without a name is a violation. `label` is the name of
    /// the field for users; violations have the fields of the message.
    pub fn parse(name: &NewName, label: &str) -> Result<Option<Self>, FieldViolations> {
        let NewName { name, active_from } = name;
        let mut violations = FieldViolations::new();
        let text = violations.field("name", plain(label, name, MAX_NAME));
        let active_from = violations.field("active_from", parse_date(active_from)).flatten();
        if active_from.is_some() && text.as_deref() == Some("") {
            violations.add(text::blank(label).at("name"));
        }
        let name = text.filter(|text| !text.is_empty());
        violations.finish(Some(name.map(|name| Self { name, active_from })))
    }
}

/// The numbers of a client at registers and tax offices, in canonical form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identifiers {
    /// The number at Companies House or at the register of the jurisdiction.
    pub company_number: Option<String>,
    /// The Unique Taxpayer Reference.
    pub utr: Option<String>,
    /// The VAT registration number.
    pub vat_number: Option<String>,
    /// The employer PAYE reference.
    pub paye_reference: Option<String>,
}

impl Identifiers {
    /// Parses the numbers of a client in a jurisdiction. Each number may be blank.
    pub fn parse(
        identifiers: &ClientIdentifiers,
        jurisdiction: Jurisdiction,
    ) -> Result<Self, FieldViolations> {
        let ClientIdentifiers { company_number, utr, vat_number, paye_reference } = identifiers;
        let mut violations = FieldViolations::new();
        let company_number = identifier::company_number(company_number, jurisdiction);
        let identifiers = Self {
            company_number: violations.field("company_number", company_number).flatten(),
            utr: violations.field("utr", identifier::utr(utr)).flatten(),
            vat_number: violations
                .field("vat_number", identifier::vat_number(vat_number))
                .flatten(),
            paye_reference: violations
                .field("paye_reference", identifier::paye_reference(paye_reference))
                .flatten(),
        };
        violations.finish(Some(identifiers))
    }
}

/// A client whose fields are valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientDraft {
    /// The legal form.
    pub client_type: ClientType,
    /// The jurisdiction; unspecified if unknown.
    pub jurisdiction: Jurisdiction,
    /// The reference that the practice assigns.
    pub reference: Reference,
    /// The registered name; `None` for an individual only.
    pub registered_name: Option<DatedName>,
    /// The trading name.
    pub trading_name: Option<DatedName>,
    /// The numbers of registers and tax offices.
    pub identifiers: Identifiers,
    /// E-mail addresses, in the given order.
    pub emails: Vec<String>,
    /// Telephone numbers, in the given order.
    pub phones: Vec<String>,
}

/// A person whose fields are valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonDraft {
    /// The name.
    pub name: PersonName,
    /// The first day of the name; `None` if unknown.
    pub name_active_from: Option<NaiveDate>,
    /// The date of birth. The year is not checked: registers contain 1904, and some products
    /// store a placeholder.
    pub birth_date: Option<NaiveDate>,
    /// The National Insurance number.
    pub nino: Option<String>,
    /// The Personal Public Service number.
    pub ppsn: Option<String>,
    /// E-mail addresses, in the given order.
    pub emails: Vec<String>,
    /// Telephone numbers, in the given order.
    pub phones: Vec<String>,
}

impl PersonDraft {
    /// Parses a new person without its addresses, which are parsed separately.
    pub fn parse(person: &NewPerson) -> Result<Self, FieldViolations> {
        let mut violations = FieldViolations::new();
        let name = person.name.clone().unwrap_or_default();
        let name = violations.part("name", PersonName::parse(&name, ""));
        let name_active_from =
            violations.field("name_active_from", parse_date(&person.name_active_from)).flatten();
        let birth_date = violations.field("birth_date", parse_date(&person.birth_date)).flatten();
        let nino = violations.field("nino", identifier::nino(&person.nino)).flatten();
        let ppsn = violations.field("ppsn", identifier::ppsn(&person.ppsn)).flatten();
        let emails = violations.part("emails", emails(&person.emails)).unwrap_or_default();
        let phones = violations.part("phones", phones(&person.phones)).unwrap_or_default();
        violations.finish(name.map(|name| Self {
            name,
            name_active_from,
            birth_date,
            nino,
            ppsn,
            emails,
            phones,
        }))
    }
}

/// An address with its type and dates, all valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressDraft {
    /// The type of the address.
    pub address_type: AddressType,
    /// The address.
    pub address: Address,
    /// The period of the address.
    pub period: Period,
}

impl AddressDraft {
    /// Parses a new address: type and address are required, and the end must be after the
    /// start.
    pub fn parse(address: &NewAddress) -> Result<Self, FieldViolations> {
        let mut violations = FieldViolations::new();
        let address_type = AddressType::from_wire(address.r#type)
            .and_then(|term| term.ok_or_else(|| text::blank(AddressType::LABEL)));
        let address_type = violations.field("type", address_type);
        let value = address.address.clone().unwrap_or_default();
        let value = violations.part("address", Address::parse(&value, ""));
        let period = period(&mut violations, &address.active_from, &address.active_to);
        let draft = address_type.zip(value).zip(period);
        violations.finish(draft.map(|((address_type, address), period)| Self {
            address_type,
            address,
            period,
        }))
    }
}

/// Parses `active_from` and `active_to`, which may be blank. On an error, records the
/// violations and returns `None`.
pub fn period(
    violations: &mut FieldViolations,
    active_from: &str,
    active_to: &str,
) -> Option<Period> {
    let from = violations.field("active_from", parse_date(active_from));
    let to = violations.field("active_to", parse_date(active_to));
    let (from, to) = from.zip(to)?;
    violations.field("active_to", Period::new(from, to).check())
}

/// Parses the id that a product assigns to a record: required, at most [`MAX_SOURCE_ID`]
/// characters, case-sensitive, without invisible characters. `label` is the name of the
/// field for users.
pub fn source_id(label: &str, text: &str) -> Result<String, ValueError> {
    required_id(label, text, MAX_SOURCE_ID)
}

/// Parses e-mail addresses, at most [`MAX_EMAILS`]. Drops blank and repeated ones.
/// Violations have the fields `[0]`, `[1]` and so on.
pub fn emails(emails: &[String]) -> Result<Vec<String>, FieldViolations> {
    list("E-mail addresses", emails, MAX_EMAILS, identifier::email)
}

/// Parses telephone numbers, as [`emails`]: at most [`MAX_PHONES`].
pub fn phones(phones: &[String]) -> Result<Vec<String>, FieldViolations> {
    list("Telephone numbers", phones, MAX_PHONES, phone)
}

/// Parses a telephone number: any text of at most [`MAX_PHONE`] characters, because it may
/// contain an extension and a remark.
pub fn phone(text: &str) -> Result<Option<String>, ValueError> {
    let number = plain_id("Telephone number", text, MAX_PHONE)?;
    Ok(Some(number).filter(|number| !number.is_empty()))
}

fn list(
    label: &str,
    texts: &[String],
    max: usize,
    read: fn(&str) -> Result<Option<String>, ValueError>,
) -> Result<Vec<String>, FieldViolations> {
    if texts.len() > max {
        return Err(too_many(label, texts.len(), max).at("").into());
    }
    let mut violations = FieldViolations::new();
    let mut values = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        match violations.field(&format!("[{index}]"), read(text)) {
            Some(Some(value)) if !values.contains(&value) => values.push(value),
            _ => {}
        }
    }
    violations.finish(Some(values))
}

#[cfg(test)]
mod tests;
