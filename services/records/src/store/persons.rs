//! Persons.

use sea_orm::{
    ConnectionTrait, EntityTrait as _, IntoActiveModel as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};
use shared::{caller::PracticeId, db::insert_all, pb::records::RecordState};
use uuid::Uuid;

use super::{
    entities::person,
    text::{Stored as _, from_json, pieces, to_json},
};
use crate::{
    domain::record::{Life, Person},
    error::RecordError,
};

/// Inserts new persons with their images.
pub(crate) async fn insert(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    persons: Vec<(Person, Vec<u8>)>,
) -> Result<(), RecordError> {
    let rows = persons.into_iter().map(|(person, image)| to_row(practice, person, image));
    let rows = rows.map(|row| row.map(person::Model::into_active_model));
    Ok(insert_all(db, rows.collect::<Result<Vec<_>, _>>()?).await?)
}

/// The persons with these ids, locked until the end of the transaction, in the
/// order of their ids. On SQLite the one writer holds the only lock there is.
pub(crate) async fn lock(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    ids: &[Uuid],
) -> Result<Vec<Person>, RecordError> {
    let mut persons = Vec::new();
    for ids in pieces(ids) {
        let rows = person::Entity::find()
            .filter(person::COLUMN.practice_id.eq(practice.as_str()))
            .filter(person::COLUMN.id.is_in(ids))
            .order_by_asc(person::Column::Id)
            .lock_exclusive()
            .all(db)
            .await?;
        for row in rows {
            persons.push(from_row(row)?);
        }
    }
    Ok(persons)
}

fn to_row(
    practice: &PracticeId,
    person: Person,
    image: Vec<u8>,
) -> Result<person::Model, RecordError> {
    let Person { id, birth_date, nino, ppsn, emails, phones, life } = person;
    let Life { state, version, created_at, updated_at } = life;
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
        image,
    })
}

fn from_row(row: person::Model) -> Result<Person, RecordError> {
    Ok(Person {
        id: row.id,
        birth_date: row.birth_date,
        nino: row.nino,
        ppsn: row.ppsn,
        emails: from_json(&row.emails)?,
        phones: from_json(&row.phones)?,
        life: Life {
            state: RecordState::read(&row.state)?,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        },
    })
}
