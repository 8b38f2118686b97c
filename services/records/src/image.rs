//! Images: each record as callers see it, timelines included, encoded.
//!
//! An image is kept in the record's row and replaced in every transaction that
//! changes the record; reads, events and snapshots send it as it is. Images
//! hold nothing that the tables do not: they can be built again from them.

use std::cmp::Reverse;

use chrono::{DateTime, NaiveDate, Utc};
use prost::Message;
use prost_types::Timestamp;
use sha2::{Digest as _, Sha256};
use shared::{
    ids::{self, IdKind},
    pb::records::{self as pb, EntryStatus, entry::Value as PbValue},
    rules::{date::date_text, draft::Identifiers, value::Value},
};

use crate::domain::{
    record::{Client, Contact, Life, Person, RecordRef},
    timeline::{Entry, TimelineKey},
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
    image.follow(today);
    let Life { state, version, created_at, updated_at, purge_at } = client.life;
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
    image.follow(today);
    let Life { state, version, created_at, updated_at, purge_at } = person.life;
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
    let Life { state, version, created_at, updated_at, purge_at: _ } = contact.life;
    image.state = state.into();
    image.version = version;
    image.create_time = Some(timestamp(created_at));
    image.update_time = Some(timestamp(updated_at));
    image
}

/// The entries as callers see them, by timeline and from the earliest on.
pub(crate) fn entries(entries: &[Entry], today: NaiveDate) -> Vec<pb::Entry> {
    let mut images = undated_entries(entries);
    set_statuses(&mut images, today);
    images
}

/// What a day makes of a record: the statuses of its entries, and the names of that
/// day. An image that was kept on an earlier day has those of that day.
pub(crate) trait FollowsDays {
    /// Makes it say what holds on the day `today`.
    fn follow(&mut self, today: NaiveDate);
}

impl FollowsDays for pb::Client {
    fn follow(&mut self, today: NaiveDate) {
        set_statuses(&mut self.entries, today);
        self.registered_name = name(&self.entries, pb::Timeline::RegisteredName);
        self.trading_name = name(&self.entries, pb::Timeline::TradingName);
    }
}

impl FollowsDays for pb::Person {
    fn follow(&mut self, today: NaiveDate) {
        set_statuses(&mut self.entries, today);
        self.name = match current(&self.entries, pb::Timeline::PersonName) {
            Some(PbValue::PersonName(name)) => Some(name.clone()),
            _ => None,
        };
    }
}

/// An instant on the wire.
pub(crate) fn timestamp(at: DateTime<Utc>) -> Timestamp {
    Timestamp {
        seconds: at.timestamp(),
        nanos: i32::try_from(at.timestamp_subsec_nanos()).unwrap_or_default(),
    }
}

/// Of the content only: neither of what today makes of it, nor of its life.
fn etag(content: &impl Message) -> String {
    hex(&Sha256::digest(content.encode_to_vec()))
}

/// Enough of a digest to tell contents apart.
fn hex(digest: &[u8]) -> String {
    let start = digest.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    format!("{start:016x}")
}

/// Of an entry's value and dates.
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
    ordered.sort_by_key(|entry| (entry.timeline, entry.place().0, Reverse(entry.id)));
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
    // As text, days of four-digit years are in the order of time.
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

/// The value that is current; before the first name of those that are never without
/// one begins, that first one.
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
