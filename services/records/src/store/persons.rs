//! The table of persons.

use concord_core::{
    caller::PracticeId,
    rules::{
        match_key::{self, MatchKey},
        value::PersonName,
    },
};
use concord_db::{StatementBatch, TenantDb};
use concord_proto::pb::records::{self as pb, RecordState};
use prost::Message as _;
use sea_orm::{ConnectionTrait, QueryFilter as _, QueryOrder as _, QuerySelect as _};
use uuid::Uuid;

use super::{
    bulk,
    conditions::locked_in_order,
    entities::person,
    stored::{Stored as _, from_json, to_json},
};
use crate::{
    domain::record::{Person, RecordMeta},
    error::RecordError,
};

/// Inserts new persons with their images.
pub(crate) fn insert(
    batch: &mut StatementBatch,
    persons: Vec<(Person, &pb::Person)>,
) -> Result<(), RecordError> {
    bulk::insert(batch, persons, |practice, (person, image)| to_row(practice, person, image))
}

/// The persons with these ids, locked until the end of the transaction in the order of
/// ids. On SQLite the single writer holds the only lock.
pub(crate) async fn lock(
    db: TenantDb<'_, impl ConnectionTrait>,
    ids: &[Uuid],
) -> Result<Vec<Person>, RecordError> {
    let query = locked_in_order::<person::Entity>(db, person::Column::Id);
    let mut rows = bulk::find(db, query, person::Column::Id, ids).await?;
    rows.sort_unstable_by_key(|row| row.id);
    rows.into_iter().map(from_row).collect()
}

/// The ids of at most `limit` persons with this match key, the oldest first.
pub(crate) async fn ids_by_match_key(
    db: TenantDb<'_, impl ConnectionTrait>,
    key: &MatchKey,
    limit: u64,
) -> Result<Vec<Uuid>, RecordError> {
    let query = db.select::<person::Entity>();
    let query = query.filter(person::COLUMN.likeness.eq(key.value.as_str()));
    let query = query.order_by_asc(person::Column::Id).limit(limit);
    let query = query.select_only().column(person::Column::Id);
    Ok(query.into_tuple().all(db.connection()).await?)
}

/// A page of images in the order of creation, with their ids (keyset pagination).
pub(crate) async fn page(
    db: TenantDb<'_, impl ConnectionTrait>,
    after: Option<Uuid>,
    show_orphaned: bool,
    limit: u64,
) -> Result<Vec<(Uuid, Vec<u8>)>, RecordError> {
    let mut query = db.select::<person::Entity>();
    if let Some(after) = after {
        query = query.filter(person::COLUMN.id.gt(after));
    }
    if !show_orphaned {
        query = query.filter(person::COLUMN.state.eq(RecordState::Active.stored()));
    }
    let query = query.order_by_asc(person::Column::Id).limit(limit);
    let columns = [person::Column::Id, person::Column::Image];
    Ok(query.select_only().columns(columns).into_tuple().all(db.connection()).await?)
}

/// Updates the row of a person. The caller holds its lock.
pub(crate) async fn update(
    db: TenantDb<'_, impl ConnectionTrait>,
    person: Person,
    image: &pb::Person,
) -> Result<(), RecordError> {
    use sea_orm::{ActiveModelTrait as _, IntoActiveModel as _};
    let row = to_row(db.practice(), person, image)?.into_active_model().reset_all();
    row.update_without_returning(db.connection()).await?;
    Ok(())
}

fn to_row(
    practice: &PracticeId,
    person: Person,
    image: &pb::Person,
) -> Result<person::Model, RecordError> {
    let likeness = match_key_of(&person, image);
    let Person { id, birth_date, nino, ppsn, emails, phones, meta } = person;
    let RecordMeta { state, version, created_at, updated_at, purge_at } = meta;
    Ok(person::Model {
        practice_id: practice.to_string(),
        id,
        birth_date,
        nino,
        ppsn,
        emails: to_json(&emails)?,
        phones: to_json(&phones)?,
        state: state.stored(),
        version,
        created_at,
        updated_at,
        image: image.encode_to_vec(),
        purge_at,
        likeness,
    })
}

/// The match key of a person by its current name.
fn match_key_of(person: &Person, image: &pb::Person) -> Option<String> {
    let name = PersonName::from(image.name.as_ref()?);
    match_key::of_person(&name, person.birth_date).map(|key| key.value)
}

fn from_row(row: person::Model) -> Result<Person, RecordError> {
    Ok(Person {
        id: row.id,
        birth_date: row.birth_date,
        nino: row.nino,
        ppsn: row.ppsn,
        emails: from_json(&row.emails)?,
        phones: from_json(&row.phones)?,
        meta: RecordMeta {
            state: RecordState::read(&row.state)?,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
            purge_at: row.purge_at,
        },
    })
}
