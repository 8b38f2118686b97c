//! Records that look like a new one: named in the answer, never merged by
//! themselves.

use shared::{
    pb::records::PossibleDuplicate,
    rules::{
        draft::{ClientDraft, PersonDraft},
        likeness,
    },
};
use uuid::Uuid;

use super::script::Script;
use crate::{
    domain::record::RecordRef,
    error::RecordError,
    store::{clients, persons},
};

/// Duplicates that are named at most.
const MAX_NAMED: usize = 10;

/// Clients with an equal number.
pub(super) async fn of_client(
    script: &Script,
    client: &ClientDraft,
) -> Result<Vec<PossibleDuplicate>, RecordError> {
    let (db, practice) = (script.db(), &script.caller.practice);
    let numbers = (&client.identifiers, client.jurisdiction);
    let found = clients::with_equal_identifier(db, practice, numbers).await?;
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
    let Some(likeness) = likeness::of_person(&draft.name, draft.birth_date) else {
        return Ok(Vec::new());
    };
    let found = persons::ids_by_likeness(db, practice, &likeness, MAX_NAMED as u64).await?;
    let name = |id| PossibleDuplicate {
        record_id: RecordRef::person(id).text(),
        field: likeness.of.to_string(),
    };
    Ok(found.into_iter().map(name).collect())
}
