//! Records of any kind: their images read by id and replaced in sets, their rows
//! removed.

use std::collections::HashMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use prost::Message as _;
use sea_orm::{
    ConnectionTrait, DbBackend, EntityTrait as _, QueryFilter as _, QuerySelect as _, Statement,
    Value,
};
use shared::{
    caller::PracticeId,
    db::chunk_rows,
    pb::records::{self as pb, RecordKind},
};
use uuid::Uuid;

use super::{
    entities::{client, contact, person},
    text::pieces,
};
use crate::{
    domain::record::{Life, RecordRef},
    error::RecordError,
    image::timestamp,
};

/// The image of one record.
pub(crate) async fn get(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    record: RecordRef,
) -> Result<Option<Bytes>, RecordError> {
    let practices = [practice.to_string()];
    let found = of_kind(db, &practices, record.kind, &[record.id]).await?;
    Ok(found.into_iter().next().map(|(_, image)| image))
}

/// The images of records of any kinds; those that are gone are left out.
///
/// Of several practices, because a product's feed is. An id is unique beyond its
/// practice, so that the two lists together name each record once.
pub(crate) async fn get_all(
    db: &impl ConnectionTrait,
    practices: &[String],
    records: &[RecordRef],
) -> Result<HashMap<Uuid, Bytes>, RecordError> {
    let mut images = HashMap::with_capacity(records.len());
    for kind in [RecordKind::Client, RecordKind::Person, RecordKind::Contact] {
        for ids in pieces(&ids_of(records, kind)) {
            images.extend(of_kind(db, practices, kind, &ids).await?);
        }
    }
    Ok(images)
}

async fn of_kind(
    db: &impl ConnectionTrait,
    practices: &[String],
    kind: RecordKind,
    ids: &[Uuid],
) -> Result<Vec<(Uuid, Bytes)>, RecordError> {
    macro_rules! images_of {
        ($table:ident) => {
            $table::Entity::find()
                .filter($table::COLUMN.practice_id.is_in(practices.iter().cloned()))
                .filter($table::COLUMN.id.is_in(ids.iter().copied()))
                .select_only()
                .columns([$table::Column::Id, $table::Column::Image])
                .into_tuple::<(Uuid, Vec<u8>)>()
                .all(db)
                .await?
        };
    }
    let rows = match kind {
        RecordKind::Client => images_of!(client),
        RecordKind::Person => images_of!(person),
        RecordKind::Contact => images_of!(contact),
        RecordKind::Unspecified => Vec::new(),
    };
    Ok(rows.into_iter().map(|(id, image)| (id, image.into())).collect())
}

/// Removes the rows of records of any kinds.
pub(crate) async fn remove(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    records: &[RecordRef],
) -> Result<(), RecordError> {
    macro_rules! remove_from {
        ($table:ident, $kind:ident) => {
            for ids in pieces(&ids_of(records, RecordKind::$kind)) {
                $table::Entity::delete_many()
                    .filter($table::COLUMN.practice_id.eq(practice.as_str()))
                    .filter($table::COLUMN.id.is_in(ids))
                    .exec(db)
                    .await?;
            }
        };
    }
    remove_from!(contact, Contact);
    remove_from!(client, Client);
    remove_from!(person, Person);
    Ok(())
}

fn ids_of(records: &[RecordRef], kind: RecordKind) -> Vec<Uuid> {
    records.iter().filter(|record| record.kind == kind).map(|record| record.id).collect()
}

/// A record's next version and image.
#[derive(Debug)]
pub(crate) struct NewImage {
    pub(crate) id: Uuid,
    pub(crate) version: i64,
    pub(crate) image: Vec<u8>,
}

impl NewImage {
    /// Of a client that was changed.
    pub(crate) fn of_client(id: Uuid, image: &pb::Client) -> Self {
        Self { id, version: image.version, image: image.encode_to_vec() }
    }

    /// Of a person that was changed.
    pub(crate) fn of_person(id: Uuid, image: &pb::Person) -> Self {
        Self { id, version: image.version, image: image.encode_to_vec() }
    }

    /// Of a client whose content is as it was, and whose life goes on.
    pub(crate) fn next_client(id: Uuid, image: &pb::Client, life: Life) -> Self {
        let (version, update_time) = (life.version, Some(timestamp(life.updated_at)));
        Self::of_client(id, &pb::Client { version, update_time, ..image.clone() })
    }

    /// Of a person whose content is as it was, and whose life goes on.
    pub(crate) fn next_person(id: Uuid, image: &pb::Person, life: Life) -> Self {
        let (version, update_time) = (life.version, Some(timestamp(life.updated_at)));
        Self::of_person(id, &pb::Person { version, update_time, ..image.clone() })
    }
}

/// Replaces the versions and images of records of one kind, in as few
/// statements as the limits allow.
pub(crate) async fn replace(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    kind: RecordKind,
    images: Vec<NewImage>,
    now: DateTime<Utc>,
) -> Result<(), RecordError> {
    let table = match kind {
        RecordKind::Person => "person",
        RecordKind::Contact => "contact",
        RecordKind::Client | RecordKind::Unspecified => "client",
    };
    let mut images = images.into_iter().peekable();
    while images.peek().is_some() {
        let chunk: Vec<NewImage> = images.by_ref().take(chunk_rows(3)).collect();
        let statement = replace_statement(db, table, practice, chunk, now);
        db.execute_raw(statement).await?;
    }
    Ok(())
}

fn replace_statement(
    db: &impl ConnectionTrait,
    table: &str,
    practice: &PracticeId,
    chunk: Vec<NewImage>,
    now: DateTime<Utc>,
) -> Statement {
    // SQLite looks every numbered parameter up among all others, and a long
    // list costs the square of its length; there they are counted instead.
    let is_sqlite = db.get_database_backend() == DbBackend::Sqlite;
    let row = |n: usize| {
        if is_sqlite {
            "(?, ?, ?)".to_owned()
        } else {
            format!("(${}, ${}, ${})", 3 * n + 1, 3 * n + 2, 3 * n + 3)
        }
    };
    let rows = (0..chunk.len()).map(row).collect::<Vec<_>>().join(", ");
    let after =
        |n: usize| if is_sqlite { "?".to_owned() } else { format!("${}", 3 * chunk.len() + n) };
    let sql = format!(
        "WITH new(id, version, image) AS (VALUES {rows}) \
         UPDATE {table} SET version = new.version, image = new.image, updated_at = {} \
         FROM new WHERE {table}.practice_id = {} AND {table}.id = new.id",
        after(1),
        after(2),
    );
    let mut values: Vec<Value> = Vec::with_capacity(3 * chunk.len() + 2);
    for NewImage { id, version, image } in chunk {
        values.extend([id.into(), version.into(), image.into()]);
    }
    values.extend([now.into(), practice.as_str().into()]);
    Statement::from_sql_and_values(db.get_database_backend(), sql, values)
}
