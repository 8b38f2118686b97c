//! One record with its history, contacts, links and changes, as a page of text or as JSON.

use std::{
    collections::HashMap,
    fmt::{self, Formatter},
};

use concord_proto::pb::records::{
    Address, AddressType, AuditEntry, ChangeKind, Client, ClientType, Contact, ContactRole,
    ContactWithPerson, Entry, EntryStatus, GetRecordSummaryResponse, Jurisdiction, Link, Person,
    RecordState, Role, Timeline, entry,
};
use serde_json::{Map, Value};

use super::{
    event_text::{by, made_by},
    json::message_json,
    names::{full_name, record_name, seconds, words},
    output::escaped,
};

/// A client or a person, with its contacts, links and changes.
#[derive(Debug)]
pub(crate) struct RecordPage {
    pub(crate) summary: GetRecordSummaryResponse,
    /// The clients of a person's contacts, by id.
    pub(crate) clients: HashMap<String, Client>,
}

impl RecordPage {
    /// As a JSON object: the summary, with the name of the record, and the reference of the
    /// client of a person's contact.
    pub(crate) fn json(&self) -> anyhow::Result<Value> {
        let GetRecordSummaryResponse { client, person, contacts, .. } = &self.summary;
        let mut page = message_json("concord.records.v1.GetRecordSummaryResponse", &self.summary)?;
        let name = record_name(client.as_ref(), person.as_ref());
        let contacts = contacts.iter().map(|with| self.contact_json(with));
        let contacts = contacts.collect::<anyhow::Result<Vec<_>>>()?;
        page.insert("name".to_owned(), name.into());
        page.insert("contacts".to_owned(), contacts.into());
        Ok(page.into())
    }

    fn contact_json(&self, with: &ContactWithPerson) -> anyhow::Result<Map<String, Value>> {
        let client = with.contact.as_ref().and_then(|contact| self.clients.get(&contact.client_id));
        let reference = client.map(|client| client.client_reference.as_str());
        let mut contact = message_json("concord.records.v1.ContactWithPerson", with)?;
        contact.insert("client_reference".to_owned(), reference.into());
        Ok(contact)
    }

    /// A contact as a line: the person, or for a person the client; then the roles.
    fn contact_line(&self, with: &ContactWithPerson) -> String {
        let contact = with.contact.clone().unwrap_or_default();
        let (named, id) = if self.summary.client.is_some() {
            let named = record_name(None, with.person.as_ref());
            (named.unwrap_or_default(), contact.person_id.as_str())
        } else {
            let client = self.clients.get(&contact.client_id);
            let named = client.map(|client| {
                let called = record_name(Some(client), None).unwrap_or_default();
                format!("{called} ({})", client.client_reference).trim_start().to_owned()
            });
            (named.unwrap_or_default(), contact.client_id.as_str())
        };
        format!("{named}: {}  [{id}]", roles(&contact))
    }

    fn change_line(&self, change: &AuditEntry) -> String {
        let when = change.time.as_ref().map(seconds).unwrap_or_default();
        let kind = words::<ChangeKind>(change.kind);
        let by = change.origin.as_ref().map(made_by).unwrap_or_default();
        let what = match self.changed(change).as_str() {
            "" => String::new(),
            what => format!(" ({what})"),
        };
        let reason = match change.reason.as_str() {
            "" => String::new(),
            reason => format!(": {reason}"),
        };
        format!("{when}  {kind}{what}, {by}{reason}")
    }

    /// The timeline of the changed entry, while the entry exists; else the changed fields.
    fn changed(&self, change: &AuditEntry) -> String {
        let GetRecordSummaryResponse { client, person, .. } = &self.summary;
        let of_client = client.iter().flat_map(|client| &client.entries);
        let of_person = person.iter().flat_map(|person| &person.entries);
        let mut entries = of_client.chain(of_person);
        let entry = entries.find(|entry| !entry.id.is_empty() && entry.id == change.entry_id);
        entry.map_or_else(|| change.changed_fields.join(", "), timeline)
    }
}

impl fmt::Display for RecordPage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let GetRecordSummaryResponse { client, person, contacts, links, changes } = &self.summary;
        let named = record_name(client.as_ref(), person.as_ref()).unwrap_or_default();
        f.write_str(&escaped(&named))?;
        if let Some(client) = client {
            write_client(f, client)?;
        }
        if let Some(person) = person {
            write_person(f, person)?;
        }
        let of_client = client.iter().flat_map(|client| &client.entries);
        let of_person = person.iter().flat_map(|person| &person.entries);
        write_timelines(f, of_client.chain(of_person))?;
        let places = if client.is_some() { "Contacts" } else { "Contact of" };
        write_section(f, places, contacts.iter().map(|with| self.contact_line(with)))?;
        write_section(f, "Used by", links.iter().map(link_line))?;
        write_section(f, "Last changes", changes.iter().map(|change| self.change_line(change)))
    }
}

fn write_client(f: &mut Formatter<'_>, client: &Client) -> fmt::Result {
    let kind = words::<ClientType>(client.r#type);
    let reference = escaped(&client.client_reference);
    write!(f, "\n  client      {reference} ({}), {kind}", client.id)?;
    write_state(f, client.state(), client.purge_time.as_ref())?;
    if client.jurisdiction() != Jurisdiction::Unspecified {
        write_field(f, "law of", &words::<Jurisdiction>(client.jurisdiction))?;
    }
    let identifiers = client.identifiers.clone().unwrap_or_default();
    write_field(f, "company no", &identifiers.company_number)?;
    write_field(f, "UTR", &identifiers.utr)?;
    write_field(f, "VAT", &identifiers.vat_number)?;
    write_field(f, "PAYE", &identifiers.paye_reference)?;
    write_field(f, "e-mail", &client.emails.join(", "))?;
    write_field(f, "telephone", &client.phones.join(", "))
}

fn write_person(f: &mut Formatter<'_>, person: &Person) -> fmt::Result {
    write!(f, "\n  person      {}", person.id)?;
    write_state(f, person.state(), person.purge_time.as_ref())?;
    write_field(f, "born", &person.birth_date)?;
    write_field(f, "NINO", &person.nino)?;
    write_field(f, "PPSN", &person.ppsn)?;
    write_field(f, "e-mail", &person.emails.join(", "))?;
    write_field(f, "telephone", &person.phones.join(", "))
}

/// Writes the purge time of an orphaned record.
fn write_state(
    f: &mut Formatter<'_>,
    state: RecordState,
    purge_time: Option<&prost_types::Timestamp>,
) -> fmt::Result {
    if state != RecordState::Orphaned {
        return Ok(());
    }
    let when = purge_time.map(seconds).unwrap_or_default();
    write!(f, "\n              orphaned: no product uses it; it is purged at {when}")
}

fn write_field(f: &mut Formatter<'_>, label: &str, value: &str) -> fmt::Result {
    if value.is_empty() { Ok(()) } else { write!(f, "\n  {label:<10}  {}", escaped(value)) }
}

fn write_section(
    f: &mut Formatter<'_>,
    title: &str,
    lines: impl ExactSizeIterator<Item = String>,
) -> fmt::Result {
    if lines.len() == 0 {
        return Ok(());
    }
    write!(f, "\n\n{title}")?;
    lines.into_iter().try_for_each(|line| write!(f, "\n  {}", escaped(&line)))
}

/// Writes the entries, which are grouped by timeline, and ordered from the earliest to the
/// latest.
fn write_timelines<'e>(
    f: &mut Formatter<'_>,
    entries: impl Iterator<Item = &'e Entry>,
) -> fmt::Result {
    let mut of = None;
    for entry in entries {
        if of.replace((entry.timeline, entry.address_type))
            != Some((entry.timeline, entry.address_type))
        {
            write!(
                f,
                "\n\n{}\n  {:<12}{:<12}{:<11}value",
                timeline(entry),
                "from",
                "to",
                "status"
            )?;
        }
        let Entry { active_from, active_to, .. } = entry;
        let (from, to) = (day(active_from), day(active_to));
        let status = words::<EntryStatus>(entry.status);
        write!(f, "\n  {from:<12}{to:<12}{status:<11}{}", escaped(&value(entry)))?;
    }
    Ok(())
}

/// The name of the timeline of an entry: `Registered name`, `Address: trading`.
fn timeline(entry: &Entry) -> String {
    match entry.timeline() {
        Timeline::Address => format!("Address: {}", words::<AddressType>(entry.address_type)),
        Timeline::RegisteredName => "Registered name".to_owned(),
        Timeline::TradingName => "Trading name".to_owned(),
        Timeline::PersonName => "Name".to_owned(),
        Timeline::Unspecified => words::<Timeline>(entry.timeline),
    }
}

fn value(entry: &Entry) -> String {
    match &entry.value {
        Some(entry::Value::Name(name)) => name.clone(),
        Some(entry::Value::PersonName(name)) => full_name(name),
        Some(entry::Value::Address(address)) => address_line(address),
        None => String::new(),
    }
}

fn address_line(address: &Address) -> String {
    let Address { line_1, line_2, line_3, town, county, postcode, country } = address;
    let parts = [line_1, line_2, line_3, town, county, postcode, country].map(String::as_str);
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

/// A day; a dash when there is none.
fn day(day: &str) -> &str {
    if day.is_empty() { "–" } else { day }
}

fn roles(contact: &Contact) -> String {
    let mut roles: Vec<_> = contact.roles.iter().map(role).collect();
    if contact.is_primary {
        roles.insert(0, "primary contact".to_owned());
    }
    roles.join(", ")
}

fn role(role: &ContactRole) -> String {
    let mut text = words::<Role>(role.role);
    for (label, day) in [("from", &role.appointed_on), ("to", &role.resigned_on)] {
        if !day.is_empty() {
            text = format!("{text} {label} {day}");
        }
    }
    text
}

fn link_line(link: &Link) -> String {
    let Link { product, account, external_id, linked_by, import_id, .. } = link;
    let when = link.link_time.as_ref().map(seconds).unwrap_or_default();
    let by = by(linked_by, import_id);
    format!("{product}/{account} as {external_id}, since {when}{by}")
}
