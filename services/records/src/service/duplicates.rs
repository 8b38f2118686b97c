//! Records that look like a new one: named in the answer, never merged by
//! themselves.

use std::collections::HashMap;

use shared::{
    pb::records::{Person, PossibleDuplicate},
    rules::{
        draft::{Identifiers, PersonDraft},
        value::PersonName,
    },
};
use uuid::Uuid;

use super::{reading::decode, script::Script};
use crate::{
    domain::record::RecordRef,
    error::RecordError,
    store::{clients, images, persons},
};

/// Duplicates that are named at most.
const MAX_NAMED: usize = 10;

/// Clients with an equal number.
pub(super) async fn of_client(
    script: &Script,
    identifiers: &Identifiers,
) -> Result<Vec<PossibleDuplicate>, RecordError> {
    let (db, practice) = (script.db(), &script.caller.practice);
    let found = clients::with_equal_identifier(db, practice, identifiers).await?;
    let name = |(id, field): (Uuid, &'static str)| PossibleDuplicate {
        record_id: RecordRef::client(id).text(),
        field: field.to_owned(),
    };
    Ok(found.into_iter().take(MAX_NAMED).map(name).collect())
}

/// Persons with an equal name and day of birth.
pub(super) async fn of_person(
    script: &Script,
    draft: &PersonDraft,
) -> Result<Vec<PossibleDuplicate>, RecordError> {
    let (db, practice) = (script.db(), &script.caller.practice);
    let Some(birth_date) = draft.birth_date else { return Ok(Vec::new()) };
    let same_day = persons::ids_by_birth_date(db, practice, birth_date).await?;
    let records: Vec<RecordRef> = same_day.into_iter().map(RecordRef::person).collect();
    let images = images::get_all(db, &[practice.to_string()], &records).await?;
    let images: HashMap<Uuid, Person> = images
        .into_iter()
        .map(|(id, image)| Ok((id, decode(image)?)))
        .collect::<Result<_, RecordError>>()?;
    let key = draft.name.match_key();
    let same_name = |person: &Person| {
        person.name.as_ref().is_some_and(|name| PersonName::from(name).match_key() == key)
    };
    let named = records.iter().filter(|record| images.get(&record.id).is_some_and(same_name));
    let named = named.take(MAX_NAMED).map(|record| PossibleDuplicate {
        record_id: record.text(),
        field: "name and birth_date".to_owned(),
    });
    Ok(named.collect())
}
