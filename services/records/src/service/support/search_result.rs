//! A search result: the data of its record on a day, and the name that matched.

use std::collections::HashMap;

use bytes::Bytes;
use chrono::NaiveDate;
use concord_core::rules::value::PersonName;
use concord_proto::pb::records::{
    Client, Entry, Person, RecordKind, RecordState, SearchMatch, SearchResult, entry,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    domain::{
        record::RecordRef,
        search::{Rank, words},
    },
    error::RecordError,
    image::decode_on,
};

/// The sort key of a search result, which a page token holds (keyset pagination).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct SortKey {
    pub(super) rank: i64,
    pub(super) sort_name: String,
    pub(super) id: Uuid,
}

/// The data of a record for a search result, with its entries.
pub(super) struct Shown {
    pub(super) name: String,
    client_reference: String,
    state: RecordState,
    pub(super) entries: Vec<Entry>,
}

/// The data of a record on the day `today`; `None` when it was removed meanwhile.
pub(super) fn shown(
    record: RecordRef,
    images: &HashMap<Uuid, Bytes>,
    today: NaiveDate,
) -> Result<Option<Shown>, RecordError> {
    let Some(image) = images.get(&record.id).cloned() else { return Ok(None) };
    if record.kind == RecordKind::Person {
        let person: Person = decode_on(image, today)?;
        let (name, state) = (person_name(&person), person.state());
        let entries = person.entries;
        return Ok(Some(Shown { name, client_reference: String::new(), state, entries }));
    }
    let client: Client = decode_on(image, today)?;
    let person = RecordRef::parse(&client.person_id);
    let person = person.and_then(|person| images.get(&person.id).cloned());
    let person: Option<Person> = person.map(|person| decode_on(person, today)).transpose()?;
    let state = client.state();
    let Client { registered_name, client_reference, mut entries, .. } = client;
    let name = person.as_ref().map_or(registered_name, person_name);
    entries.extend(person.into_iter().flat_map(|person| person.entries));
    Ok(Some(Shown { name, client_reference, state, entries }))
}

/// A search result as a message.
pub(super) fn result(
    key: &SortKey,
    record: RecordRef,
    shown: Shown,
    query: &[String],
) -> SearchResult {
    let Shown { name, client_reference, state, entries } = shown;
    let rank = Rank::of_number(key.rank);
    let matched_name = match rank {
        Rank::FormerName => entries
            .iter()
            .filter_map(name_of)
            .find(|name| has_words(name, query))
            .unwrap_or_default(),
        Rank::CurrentName | Rank::Reference => String::new(),
    };
    SearchResult {
        record_kind: record.kind.into(),
        record_id: record.text(),
        name,
        client_reference,
        r#match: match rank {
            Rank::Reference => SearchMatch::Reference,
            Rank::CurrentName => SearchMatch::CurrentName,
            Rank::FormerName => SearchMatch::OtherName,
        }
        .into(),
        matched_name,
        state: state.into(),
    }
}

/// True if each word of a query is a prefix of a word of the name.
pub(super) fn has_words(name: &str, query: &[String]) -> bool {
    let found = words(name);
    query.iter().all(|prefix| found.iter().any(|word| word.starts_with(prefix)))
}

fn person_name(person: &Person) -> String {
    person.name.as_ref().map(|name| PersonName::from(name).display()).unwrap_or_default()
}

/// The name of an entry; `None` for an address.
pub(super) fn name_of(entry: &Entry) -> Option<String> {
    match &entry.value {
        Some(entry::Value::Name(name)) => Some(name.clone()),
        Some(entry::Value::PersonName(name)) => Some(PersonName::from(name).display()),
        Some(entry::Value::Address(_)) | None => None,
    }
}
