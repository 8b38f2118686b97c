//! What clients and persons are found by.

use chrono::NaiveDate;
use shared::{
    pb::records::{EntryStatus, RecordKind},
    rules::draft::Identifiers,
};
use uuid::Uuid;

use crate::domain::{
    record::Client,
    search::Findable,
    timeline::{Entry, TimelineKey},
};

/// A client, by its names, its reference and its identifiers; an individual by
/// the names of its `person`.
pub(super) fn client(
    client: &Client,
    entries: &[Entry],
    person: &[Entry],
    today: NaiveDate,
) -> Findable {
    let name_of_today =
        names(person, today).chain(names(entries, today)).find(|(_, current)| *current);
    let name = name_of_today.map(|(name, _)| name).unwrap_or_default();
    let mut findable = Findable::new(RecordKind::Client, client.id, &name);
    for (name, current) in names(entries, today).chain(names(person, today)) {
        findable.name(&name, current);
    }
    findable.reference(&client.reference.text);
    let Identifiers { company_number, utr, vat_number, paye_reference } = &client.identifiers;
    for number in [company_number, utr, vat_number, paye_reference].into_iter().flatten() {
        findable.reference(number);
    }
    findable
}

/// A person, by the names alone: a National Insurance or PPS number is nothing
/// to look people up by.
pub(super) fn person(id: Uuid, entries: &[Entry], today: NaiveDate) -> Findable {
    let current = names(entries, today).find(|(_, current)| *current);
    let name = current.map(|(name, _)| name).unwrap_or_default();
    let mut findable = Findable::new(RecordKind::Person, id, &name);
    for (name, current) in names(entries, today) {
        findable.name(&name, current);
    }
    findable
}

/// The names on the timelines, and whether each is that of today.
fn names(entries: &[Entry], today: NaiveDate) -> impl Iterator<Item = (String, bool)> {
    let names = entries.iter().filter(|e| !matches!(e.timeline, TimelineKey::Address(_)));
    let mut names: Vec<_> = names.collect();
    names.sort_by_key(|entry| (entry.timeline, entry.place()));
    let told = |entry: &Entry| {
        let current = entry.period.status(today) == EntryStatus::Current;
        (entry.value.display(), current)
    };
    names.into_iter().map(told).collect::<Vec<_>>().into_iter()
}
