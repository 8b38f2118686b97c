//! Builds the search documents of clients and persons.

use chrono::NaiveDate;
use concord_core::rules::draft::Identifiers;
use concord_proto::pb::records::{EntryStatus, RecordKind};
use uuid::Uuid;

use crate::domain::{
    record::Client,
    search::SearchDocument,
    timeline::{Entry, TimelineKey},
};

/// The search document of a client: its names, reference and identifiers. An individual is
/// found by the names of its `person`.
pub(super) fn client(
    client: &Client,
    entries: &[Entry],
    person: &[Entry],
    today: NaiveDate,
) -> SearchDocument {
    let current_name =
        names(person, today).chain(names(entries, today)).find(|(_, current)| *current);
    let name = current_name.map(|(name, _)| name).unwrap_or_default();
    let mut document = SearchDocument::new(RecordKind::Client, client.id, &name);
    for (name, current) in names(entries, today).chain(names(person, today)) {
        document.name(&name, current);
    }
    document.reference(&client.reference.text);
    let Identifiers { company_number, utr, vat_number, paye_reference } = &client.identifiers;
    for number in [company_number, utr, vat_number, paye_reference].into_iter().flatten() {
        document.reference(number);
    }
    document
}

/// The search document of a person: its names only. A National Insurance or PPS number
/// must not be searchable.
pub(super) fn person(id: Uuid, entries: &[Entry], today: NaiveDate) -> SearchDocument {
    let current = names(entries, today).find(|(_, current)| *current);
    let name = current.map(|(name, _)| name).unwrap_or_default();
    let mut document = SearchDocument::new(RecordKind::Person, id, &name);
    for (name, current) in names(entries, today) {
        document.name(&name, current);
    }
    document
}

/// The names on the timelines; true for those that are current.
fn names(entries: &[Entry], today: NaiveDate) -> impl Iterator<Item = (String, bool)> {
    let names = entries.iter().filter(|e| !matches!(e.timeline, TimelineKey::Address(_)));
    let mut names: Vec<_> = names.collect();
    names.sort_by_key(|entry| (entry.timeline, entry.sort_key()));
    let with_status = |entry: &Entry| {
        let current = entry.period.status(today) == EntryStatus::Current;
        (entry.value.display(), current)
    };
    names.into_iter().map(with_status).collect::<Vec<_>>().into_iter()
}
