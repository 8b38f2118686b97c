//! Records whose fields are valid: what is left to judge is how they stand to
//! other records.

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
    violation::{Problem, Violations},
};
use crate::pb::records::{
    AddressType, ClientIdentifiers, ClientType, Jurisdiction, NewAddress, NewName, NewPerson,
};

/// The practice's own reference of a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// As it is shown.
    pub text: String,
    /// As it is compared: unique in a practice, letter case aside.
    pub key: String,
}

impl Reference {
    /// Reads a reference: required, at most [`MAX_REFERENCE`] characters.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let text = required_id("Client reference", text, MAX_REFERENCE)?;
        Ok(Self { key: text::reference_key(&text), text })
    }
}

/// A name with its first day.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DatedName {
    /// The name.
    pub name: String,
    /// The first day; `None` when it is not known.
    pub active_from: Option<NaiveDate>,
}

impl DatedName {
    /// Reads a name that may be left out, with its date then. `label` is what
    /// people call it; the violations are of the message's fields.
    pub fn parse(name: &NewName, label: &str) -> Result<Option<Self>, Violations> {
        let NewName { name, active_from } = name;
        let mut wrong = Violations::new();
        let text = wrong.field("name", plain(label, name, MAX_NAME));
        let active_from = wrong.field("active_from", parse_date(active_from)).flatten();
        if active_from.is_some() && text.as_deref() == Some("") {
            wrong.add(text::blank(label).at("name"));
        }
        let name = text.filter(|text| !text.is_empty());
        wrong.finish(Some(name.map(|name| Self { name, active_from })))
    }
}

/// The numbers that registers and tax offices know a client by, canonical.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identifiers {
    /// At Companies House, or at the register of the client's jurisdiction.
    pub company_number: Option<String>,
    /// The Unique Taxpayer Reference.
    pub utr: Option<String>,
    /// The VAT registration number.
    pub vat_number: Option<String>,
    /// The employer PAYE reference.
    pub paye_reference: Option<String>,
}

impl Identifiers {
    /// Reads the numbers, each of which may be blank, of a client under the law of
    /// `jurisdiction`.
    pub fn parse(
        identifiers: &ClientIdentifiers,
        jurisdiction: Jurisdiction,
    ) -> Result<Self, Violations> {
        let ClientIdentifiers { company_number, utr, vat_number, paye_reference } = identifiers;
        let mut wrong = Violations::new();
        let company_number = identifier::company_number(company_number, jurisdiction);
        let identifiers = Self {
            company_number: wrong.field("company_number", company_number).flatten(),
            utr: wrong.field("utr", identifier::utr(utr)).flatten(),
            vat_number: wrong.field("vat_number", identifier::vat_number(vat_number)).flatten(),
            paye_reference: wrong
                .field("paye_reference", identifier::paye_reference(paye_reference))
                .flatten(),
        };
        wrong.finish(Some(identifiers))
    }
}

/// A client whose fields are valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientDraft {
    /// What it is, in law.
    pub client_type: ClientType,
    /// The law that it is under; unspecified when it is not known.
    pub jurisdiction: Jurisdiction,
    /// The practice's own reference.
    pub reference: Reference,
    /// The registered name; `None` for an individual, and only then.
    pub registered_name: Option<DatedName>,
    /// The name that it trades under.
    pub trading_name: Option<DatedName>,
    /// The numbers of registers and tax offices.
    pub identifiers: Identifiers,
    /// E-mail addresses, the first one first.
    pub emails: Vec<String>,
    /// Telephone numbers, the first one first.
    pub phones: Vec<String>,
}

/// A person whose fields are valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonDraft {
    /// The name.
    pub name: PersonName,
    /// The first day of the name; `None` when it is not known.
    pub name_active_from: Option<NaiveDate>,
    /// The day of birth. Any year: registers hold 1904, and some products a
    /// placeholder.
    pub birth_date: Option<NaiveDate>,
    /// The National Insurance number.
    pub nino: Option<String>,
    /// The Personal Public Service number.
    pub ppsn: Option<String>,
    /// E-mail addresses, the first one first.
    pub emails: Vec<String>,
    /// Telephone numbers, the first one first.
    pub phones: Vec<String>,
}

impl PersonDraft {
    /// Reads a new person without its addresses, which are records of their own
    /// on the way in.
    pub fn parse(person: &NewPerson) -> Result<Self, Violations> {
        let mut wrong = Violations::new();
        let name = person.name.clone().unwrap_or_default();
        let name = wrong.part("name", PersonName::parse(&name, ""));
        let name_active_from =
            wrong.field("name_active_from", parse_date(&person.name_active_from)).flatten();
        let birth_date = wrong.field("birth_date", parse_date(&person.birth_date)).flatten();
        let nino = wrong.field("nino", identifier::nino(&person.nino)).flatten();
        let ppsn = wrong.field("ppsn", identifier::ppsn(&person.ppsn)).flatten();
        let emails = wrong.part("emails", emails(&person.emails)).unwrap_or_default();
        let phones = wrong.part("phones", phones(&person.phones)).unwrap_or_default();
        wrong.finish(name.map(|name| Self {
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
    /// What it is for.
    pub address_type: AddressType,
    /// The address.
    pub address: Address,
    /// When it holds.
    pub period: Period,
}

impl AddressDraft {
    /// Reads a new address: type and address are required, and it must not end
    /// before it begins.
    pub fn parse(address: &NewAddress) -> Result<Self, Violations> {
        let mut wrong = Violations::new();
        let address_type = AddressType::from_wire(address.r#type)
            .and_then(|term| term.ok_or_else(|| text::blank(AddressType::LABEL)));
        let address_type = wrong.field("type", address_type);
        let value = address.address.clone().unwrap_or_default();
        let value = wrong.part("address", Address::parse(&value, ""));
        let period = period(&mut wrong, &address.active_from, &address.active_to);
        let draft = address_type.zip(value).zip(period);
        wrong.finish(draft.map(|((address_type, address), period)| Self {
            address_type,
            address,
            period,
        }))
    }
}

/// Reads `active_from` and `active_to`, which may both be blank; `None` after
/// noting what is wrong with them.
pub fn period(wrong: &mut Violations, active_from: &str, active_to: &str) -> Option<Period> {
    let from = wrong.field("active_from", parse_date(active_from));
    let to = wrong.field("active_to", parse_date(active_to));
    let (from, to) = from.zip(to)?;
    wrong.field("active_to", Period::new(from, to).check())
}

/// Reads a product's own id of a record: required, at most [`MAX_SOURCE_ID`]
/// characters, letter case kept, without invisible characters. `label` is the name of
/// the field for users.
pub fn source_id(label: &str, text: &str) -> Result<String, Problem> {
    required_id(label, text, MAX_SOURCE_ID)
}

/// Reads e-mail addresses, at most [`MAX_EMAILS`]. Blank ones, and those that
/// stand there already, are left out. The violations are of `[0]`, `[1]` and so
/// on.
pub fn emails(emails: &[String]) -> Result<Vec<String>, Violations> {
    list("E-mail addresses", emails, MAX_EMAILS, identifier::email)
}

/// Reads telephone numbers as [`emails`] reads its list: at most [`MAX_PHONES`].
pub fn phones(phones: &[String]) -> Result<Vec<String>, Violations> {
    list("Telephone numbers", phones, MAX_PHONES, phone)
}

/// A telephone number: any text of at most [`MAX_PHONE`] characters, since
/// extensions and remarks are part of it.
pub fn phone(text: &str) -> Result<Option<String>, Problem> {
    let number = plain_id("Telephone number", text, MAX_PHONE)?;
    Ok(Some(number).filter(|number| !number.is_empty()))
}

fn list(
    label: &str,
    texts: &[String],
    max: usize,
    read: fn(&str) -> Result<Option<String>, Problem>,
) -> Result<Vec<String>, Violations> {
    if texts.len() > max {
        return Err(too_many(label, texts.len(), max).at("").into());
    }
    let mut wrong = Violations::new();
    let mut values = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        match wrong.field(&format!("[{index}]"), read(text)) {
            Some(Some(value)) if !values.contains(&value) => values.push(value),
            _ => {}
        }
    }
    wrong.finish(Some(values))
}

#[cfg(test)]
mod tests;
