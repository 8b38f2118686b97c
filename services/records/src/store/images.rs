//! The images of records of any kind: batch reads by id, bulk updates, and deletes.

use std::collections::HashMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use concord_core::caller::PracticeId;
use concord_db::{Binds, Column, chunk_rows, pad_to_power_of_two};
use concord_proto::pb::records::{self as pb, RecordKind};
use prost::Message as _;
use sea_orm::{
    ConnectionTrait, DbBackend, EntityTrait as _, QueryFilter as _, QuerySelect as _, Statement,
    Value,
};
use uuid::Uuid;

use super::{
    entities::{client, contact, person},
    sql::{KEYS_OF_STATEMENT, among, sorted_chunks},
};
use crate::{
    domain::record::{RecordMeta, RecordRef},
    error::RecordError,
    image::timestamp,
};

/// The kinds that have images.
const KINDS: [RecordKind; 3] = [RecordKind::Client, RecordKind::Person, RecordKind::Contact];

const fn table(kind: RecordKind) -> &'static str {
    match kind {
        RecordKind::Person => "person",
        RecordKind::Contact => "contact",
        RecordKind::Client | RecordKind::Unspecified => "client",
    }
}

/// The image of one record.
pub(crate) async fn get(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    record: RecordRef,
) -> Result<Option<Bytes>, RecordError> {
    let found = of_kind(db, practice.as_str(), record.kind, &[record.id]).await?;
    Ok(found.into_iter().next().map(|(_, image)| image))
}

/// Loads the images of records of any kinds. Omits records that do not exist.
pub(crate) async fn get_all(
    db: &impl ConnectionTrait,
    practice: &str,
    records: &[RecordRef],
) -> Result<HashMap<Uuid, Bytes>, RecordError> {
    let mut images = HashMap::with_capacity(records.len());
    for kind in KINDS {
        for ids in sorted_chunks(&ids_of(records, kind)) {
            images.extend(of_kind(db, practice, kind, &ids).await?);
        }
    }
    Ok(images)
}

/// Loads the images of records of several practices.
pub(crate) async fn get_of_practices(
    db: &impl ConnectionTrait,
    records: &HashMap<String, Vec<RecordRef>>,
) -> Result<HashMap<Uuid, Bytes>, RecordError> {
    let mut images = HashMap::new();
    for kind in KINDS {
        let keys = records.iter().flat_map(|(practice, records)| {
            ids_of(records, kind)
                .into_iter()
                .map(move |id| vec![practice.as_str().into(), id.into()])
        });
        let keys: Vec<Vec<Value>> = keys.collect();
        for rows in keys.chunks(KEYS_OF_STATEMENT / 2) {
            let statement = of_practices(db.get_database_backend(), kind, rows.to_vec());
            for row in db.query_all_raw(statement).await? {
                let (id, image): (Uuid, Vec<u8>) =
                    (row.try_get("", "id")?, row.try_get("", "image")?);
                images.insert(id, image.into());
            }
        }
    }
    Ok(images)
}

/// Joins pairs of practice and id. With two separate lists, the engine would look up each
/// id in every practice.
fn of_practices(engine: DbBackend, kind: RecordKind, mut rows: Vec<Vec<Value>>) -> Statement {
    if engine == DbBackend::Sqlite {
        pad_to_power_of_two(&mut rows);
    }
    let mut binds = Binds::new(engine);
    let list = binds.list(&["practice", "id"].map(Column::of), rows);
    let sql = format!(
        "WITH v(practice, id) AS ({list}) SELECT r.id, r.image FROM v CROSS JOIN {} r \
         WHERE r.practice_id = v.practice AND r.id = v.id",
        table(kind)
    );
    Statement::from_sql_and_values(engine, sql, binds.into_values())
}

async fn of_kind(
    db: &impl ConnectionTrait,
    practice: &str,
    kind: RecordKind,
    ids: &[Uuid],
) -> Result<Vec<(Uuid, Bytes)>, RecordError> {
    macro_rules! images_of {
        ($table:ident) => {
            $table::Entity::find()
                .filter($table::COLUMN.practice_id.eq(practice))
                .filter(among(db, $table::Column::Id, ids.to_vec()))
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

/// Deletes the rows of records of any kinds.
pub(crate) async fn remove(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    records: &[RecordRef],
) -> Result<(), RecordError> {
    macro_rules! remove_from {
        ($table:ident, $kind:ident) => {
            for ids in sorted_chunks(&ids_of(records, RecordKind::$kind)) {
                $table::Entity::delete_many()
                    .filter($table::COLUMN.practice_id.eq(practice.as_str()))
                    .filter(among(db, $table::Column::Id, ids))
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

/// The new version and image of a record.
#[derive(Debug)]
pub(crate) struct NewImage {
    pub(crate) id: Uuid,
    pub(crate) version: i64,
    pub(crate) image: Vec<u8>,
}

impl NewImage {
    /// The image of a client with changed content.
    pub(crate) fn of_client(id: Uuid, image: &pb::Client) -> Self {
        Self { id, version: image.version, image: image.encode_to_vec() }
    }

    /// The image of a person with changed content.
    pub(crate) fn of_person(id: Uuid, image: &pb::Person) -> Self {
        Self { id, version: image.version, image: image.encode_to_vec() }
    }

    /// The image of a client with a new version and unchanged content.
    pub(crate) fn next_client(id: Uuid, image: &pb::Client, meta: RecordMeta) -> Self {
        let (version, update_time) = (meta.version, Some(timestamp(meta.updated_at)));
        Self::of_client(id, &pb::Client { version, update_time, ..image.clone() })
    }

    /// The image of a person with a new version and unchanged content.
    pub(crate) fn next_person(id: Uuid, image: &pb::Person, meta: RecordMeta) -> Self {
        let (version, update_time) = (meta.version, Some(timestamp(meta.updated_at)));
        Self::of_person(id, &pb::Person { version, update_time, ..image.clone() })
    }
}

/// Updates the versions and images of records of one kind, in as few statements as the
/// limit of binds allows.
pub(crate) async fn replace(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    kind: RecordKind,
    images: Vec<NewImage>,
    now: DateTime<Utc>,
) -> Result<(), RecordError> {
    let table = table(kind);
    let mut images = images.into_iter().peekable();
    while images.peek().is_some() {
        let chunk: Vec<NewImage> = images.by_ref().take(chunk_rows(3)).collect();
        let engine = db.get_database_backend();
        let statement = replace_statement(engine, table, practice, chunk, now);
        db.execute_raw(statement).await?;
    }
    Ok(())
}

fn replace_statement(
    engine: DbBackend,
    table: &str,
    practice: &PracticeId,
    chunk: Vec<NewImage>,
    now: DateTime<Utc>,
) -> Statement {
    let mut binds = Binds::new(engine);
    let columns = [Column::of("id"), Column::of("version"), Column::of("image")];
    let row = |NewImage { id, version, image }| vec![id.into(), version.into(), image.into()];
    let list = binds.list(&columns, chunk.into_iter().map(row).collect());
    let (now, practice) = (binds.bind(now), binds.bind(practice.as_str()));
    let sql = format!(
        "WITH new(id, version, image) AS ({list}) \
         UPDATE {table} SET version = new.version, image = new.image, updated_at = {now} \
         FROM new WHERE {table}.practice_id = {practice} AND {table}.id = new.id"
    );
    Statement::from_sql_and_values(engine, sql, binds.into_values())
}
