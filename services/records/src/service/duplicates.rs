//! Duplicate candidates of a new record. They are listed in the answer, and never merged
//! automatically.

use concord_core::rules::{
    draft::{ClientDraft, PersonDraft},
    match_key,
};
use concord_proto::pb::records::PossibleDuplicate;
use uuid::Uuid;

use super::unit_of_work::UnitOfWork;
use crate::{
    domain::record::RecordRef,
    error::RecordError,
    store::{clients, persons},
};

/// Maximum number of listed duplicates.
const MAX_NAMED: usize = 10;

/// Clients with an equal identifier.
pub(super) async fn of_client(
    work: &UnitOfWork,
    client: &ClientDraft,
) -> Result<Vec<PossibleDuplicate>, RecordError> {
    let numbers = (&client.identifiers, client.jurisdiction);
    let found = clients::with_equal_identifier(work.db(), numbers).await?;
    let name = |(id, field): (Uuid, &'static str)| PossibleDuplicate {
        record_id: RecordRef::client(id).text(),
        field: field.to_owned(),
    };
    Ok(found.into_iter().take(MAX_NAMED).map(name).collect())
}

/// Persons with an equal name and birth date.
pub(super) async fn of_person(
    work: &UnitOfWork,
    draft: &PersonDraft,
) -> Result<Vec<PossibleDuplicate>, RecordError> {
    let Some(key) = match_key::of_person(&draft.name, draft.birth_date) else {
        return Ok(Vec::new());
    };
    let found = persons::ids_by_match_key(work.db(), &key, MAX_NAMED as u64).await?;
    let name = |id| PossibleDuplicate {
        record_id: RecordRef::person(id).text(),
        field: key.field.to_string(),
    };
    Ok(found.into_iter().map(name).collect())
}
