//! Images: the encoded message of each record, timelines included.
//!
//! An image is stored in the row of the record and replaced in every transaction that
//! changes the record. Reads, events and snapshots send the stored image. Images can be
//! rebuilt from the tables.

use std::cmp::Reverse;

use bytes::Bytes;
use chrono::{DateTime, NaiveDate, Utc};
use concord_core::{
    ids::{self, IdKind},
    rules::{date::date_text, draft::Identifiers, value::Value},
};
use concord_proto::pb::records::{self as pb, EntryStatus, entry::Value as PbValue};
use prost::Message;
use prost_types::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::{
    domain::{
        record::{Client, Contact, Person, RecordMeta, RecordRef},
        timeline::{Entry, TimelineKey},
    },
    error::RecordError,
};

/// The client as it is on the day `today`.
pub(crate) fn client(client: &Client, entries: &[Entry], today: NaiveDate) -> pb::Client {
    let Client { id, client_type, jurisdiction, reference, person_id, .. } = client;
    let mut image = pb::Client {
        id: ids::text(IdKind::Client, *id),
        r#type: (*client_type).into(),
        jurisdiction: (*jurisdiction).into(),
        client_reference: reference.text.clone(),
        person_id: person_id.map(|id| ids::text(IdKind::Person, id)).unwrap_or_default(),
        identifiers: identifiers(&client.identifiers),
        emails: client.emails.clone(),
        phones: client.phones.clone(),
        entries: undated_entries(entries),
        ..pb::Client::default()
    };
    image.etag = etag(&image);
    image.set_day(today);
    let RecordMeta { state, version, created_at, updated_at, purge_at } = client.meta;
    image.purge_time = purge_at.map(timestamp);
    image.state = state.into();
    image.version = version;
    image.create_time = Some(timestamp(created_at));
    image.update_time = Some(timestamp(updated_at));
    image
}

/// The person as it is on the day `today`.
pub(crate) fn person(person: &Person, entries: &[Entry], today: NaiveDate) -> pb::Person {
    let mut image = pb::Person {
        id: ids::text(IdKind::Person, person.id),
        birth_date: date_text(person.birth_date),
        nino: person.nino.clone().unwrap_or_default(),
        ppsn: person.ppsn.clone().unwrap_or_default(),
        emails: person.emails.clone(),
        phones: person.phones.clone(),
        entries: undated_entries(entries),
        ..pb::Person::default()
    };
    image.etag = etag(&image);
    image.set_day(today);
    let RecordMeta { state, version, created_at, updated_at, purge_at } = person.meta;
    image.purge_time = purge_at.map(timestamp);
    image.state = state.into();
    image.version = version;
    image.create_time = Some(timestamp(created_at));
    image.update_time = Some(timestamp(updated_at));
    image
}

/// The contact.
pub(crate) fn contact(contact: &Contact) -> pb::Contact {
    let role = |held: &crate::domain::record::HeldRole| pb::ContactRole {
        number: held.number,
        role: held.role.into(),
        appointed_on: date_text(held.appointed_on),
        resigned_on: date_text(held.resigned_on),
    };
    let mut image = pb::Contact {
        id: RecordRef::contact(contact.id).text(),
        client_id: RecordRef::client(contact.client_id).text(),
        person_id: RecordRef::person(contact.person_id).text(),
        roles: contact.roles.iter().map(role).collect(),
        is_primary: contact.is_primary,
        ..pb::Contact::default()
    };
    image.etag = etag(&image);
    let RecordMeta { state, version, created_at, updated_at, purge_at: _ } = contact.meta;
    image.state = state.into();
    image.version = version;
    image.create_time = Some(timestamp(created_at));
    image.update_time = Some(timestamp(updated_at));
    image
}

/// The entries as messages, by timeline, the earliest first.
pub(crate) fn entries(entries: &[Entry], today: NaiveDate) -> Vec<pb::Entry> {
    let mut images = undated_entries(entries);
    set_statuses(&mut images, today);
    images
}

/// A record whose message depends on the day: the statuses of its entries and its current
/// names. A stored image has those of the day on which it was stored.
pub(crate) trait AsOfDay {
    /// Sets the statuses and names of the day `today`.
    fn set_day(&mut self, today: NaiveDate);
}

impl AsOfDay for pb::Client {
    fn set_day(&mut self, today: NaiveDate) {
        set_statuses(&mut self.entries, today);
        self.registered_name = name(&self.entries, pb::Timeline::RegisteredName);
        self.trading_name = name(&self.entries, pb::Timeline::TradingName);
    }
}

impl AsOfDay for pb::Person {
    fn set_day(&mut self, today: NaiveDate) {
        set_statuses(&mut self.entries, today);
        self.name = match current(&self.entries, pb::Timeline::PersonName) {
            Some(PbValue::PersonName(name)) => Some(name.clone()),
            _ => None,
        };
    }
}

/// Decodes the image of a record with timelines, with the statuses of the day `today`. The
/// background job that updates the image after midnight may not have run yet.
pub(crate) fn decode_on<T: Message + Default + AsOfDay>(
    image: Bytes,
    today: NaiveDate,
) -> Result<T, RecordError> {
    let mut record: T = decode(image)?;
    record.set_day(today);
    Ok(record)
}

/// Decodes a stored image.
pub(crate) fn decode<T: Message + Default>(image: Bytes) -> Result<T, RecordError> {
    T::decode(image).map_err(|_| RecordError::Corrupt("an image"))
}

/// An instant as a protobuf timestamp.
pub(crate) fn timestamp(at: DateTime<Utc>) -> Timestamp {
    Timestamp {
        seconds: at.timestamp(),
        nanos: i32::try_from(at.timestamp_subsec_nanos()).unwrap_or_default(),
    }
}

/// The etag of the content alone. It does not depend on the day nor on the metadata.
fn etag(content: &impl Message) -> String {
    hex(&Sha256::digest(content.encode_to_vec()))
}

/// The first 64 bits of a digest, as 16 hexadecimal digits.
fn hex(digest: &[u8]) -> String {
    let start = digest.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    format!("{start:016x}")
}

/// The etag of an entry: of its id, value and dates.
pub(crate) fn entry_etag(entry: &Entry) -> String {
    let mut digest = Sha256::new();
    digest.update(entry.id.as_bytes());
    digest.update(serde_json::to_vec(&entry.value).unwrap_or_default());
    digest.update(date_text(entry.period.from));
    digest.update("/");
    digest.update(date_text(entry.period.to));
    hex(&digest.finalize())
}

fn identifiers(identifiers: &Identifiers) -> Option<pb::ClientIdentifiers> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let image = pb::ClientIdentifiers {
        company_number: text(&identifiers.company_number),
        utr: text(&identifiers.utr),
        vat_number: text(&identifiers.vat_number),
        paye_reference: text(&identifiers.paye_reference),
    };
    (image != pb::ClientIdentifiers::default()).then_some(image)
}

fn in_order(entries: &[Entry]) -> Vec<&Entry> {
    let mut ordered: Vec<&Entry> = entries.iter().collect();
    ordered.sort_by_key(|entry| (entry.timeline, entry.sort_key().0, Reverse(entry.id)));
    ordered
}

fn undated_entries(entries: &[Entry]) -> Vec<pb::Entry> {
    in_order(entries).into_iter().map(undated_entry).collect()
}

fn undated_entry(entry: &Entry) -> pb::Entry {
    let (timeline, address_type) = match entry.timeline {
        TimelineKey::RegisteredName => (pb::Timeline::RegisteredName, None),
        TimelineKey::TradingName => (pb::Timeline::TradingName, None),
        TimelineKey::PersonName => (pb::Timeline::PersonName, None),
        TimelineKey::Address(kind) => (pb::Timeline::Address, Some(kind)),
    };
    pb::Entry {
        id: ids::text(IdKind::Entry, entry.id),
        timeline: timeline.into(),
        address_type: address_type.unwrap_or_default().into(),
        active_from: date_text(entry.period.from),
        active_to: date_text(entry.period.to),
        status: EntryStatus::Unspecified.into(),
        etag: entry_etag(entry),
        value: Some(match &entry.value {
            Value::Name(name) => PbValue::Name(name.clone()),
            Value::PersonName(name) => PbValue::PersonName(name.clone().into()),
            Value::Address(address) => PbValue::Address(address.clone().into()),
        }),
    }
}

fn set_statuses(images: &mut [pb::Entry], today: NaiveDate) {
    // ISO dates with four-digit years sort as text.
    let today = date_text(Some(today));
    for image in images {
        let status = if today < image.active_from {
            EntryStatus::Scheduled
        } else if !image.active_to.is_empty() && image.active_to <= today {
            EntryStatus::Past
        } else {
            EntryStatus::Current
        };
        image.status = status.into();
    }
}

/// The current value. On a timeline without gaps that starts in the future, the first
/// value.
fn current(entries: &[pb::Entry], timeline: pb::Timeline) -> Option<&PbValue> {
    let of_timeline = || entries.iter().filter(|entry| entry.timeline() == timeline);
    let current = of_timeline().find(|entry| entry.status() == EntryStatus::Current);
    let contiguous = timeline != pb::Timeline::TradingName;
    current.or_else(|| of_timeline().next().filter(|_| contiguous))?.value.as_ref()
}

fn name(entries: &[pb::Entry], timeline: pb::Timeline) -> String {
    match current(entries, timeline) {
        Some(PbValue::Name(name)) => name.clone(),
        _ => String::new(),
    }
}
