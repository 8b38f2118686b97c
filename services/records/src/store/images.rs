//! The images of records of any kind: batch reads by id, bulk updates, and deletes.

use std::collections::HashMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use concord_db::{Binds, Column, TenantBinds, TenantDb, chunk_rows, pad_to_power_of_two};
use concord_proto::pb::records::{self as pb, RecordKind};
use prost::Message as _;
use sea_orm::{ConnectionTrait, DbBackend, Value};
use uuid::Uuid;

use super::{
    bulk::{self, KEYS_OF_STATEMENT},
    entities::{client, contact, person},
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
    db: TenantDb<'_, impl ConnectionTrait>,
    record: RecordRef,
) -> Result<Option<Bytes>, RecordError> {
    let found = of_kind(db, record.kind, &[record.id]).await?;
    Ok(found.into_iter().next().map(|(_, image)| image))
}

/// Loads the images of records of any kinds. Omits records that do not exist.
pub(crate) async fn get_all(
    db: TenantDb<'_, impl ConnectionTrait>,
    records: &[RecordRef],
) -> Result<HashMap<Uuid, Bytes>, RecordError> {
    let mut images = HashMap::with_capacity(records.len());
    for kind in KINDS {
        images.extend(of_kind(db, kind, &ids_of(records, kind)).await?);
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
            let found = concord_db::query(db, |sql| of_practices(sql, kind, rows.to_vec()));
            for row in found.await? {
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
fn of_practices(sql: &mut Binds, kind: RecordKind, mut rows: Vec<Vec<Value>>) -> String {
    if sql.engine() == DbBackend::Sqlite {
        pad_to_power_of_two(&mut rows);
    }
    format!(
        "WITH v(practice, id) AS ({}) SELECT r.id, r.image FROM v CROSS JOIN {} r \
         WHERE r.practice_id = v.practice AND r.id = v.id",
        sql.list(&["practice", "id"].map(Column::of), rows),
        table(kind)
    )
}

async fn of_kind(
    db: TenantDb<'_, impl ConnectionTrait>,
    kind: RecordKind,
    ids: &[Uuid],
) -> Result<Vec<(Uuid, Bytes)>, RecordError> {
    macro_rules! images_of {
        ($table:ident) => {{
            let (query, key) = (db.select::<$table::Entity>(), $table::Column::Id);
            bulk::find_columns(db, query, [key, $table::Column::Image], key, ids).await?
        }};
    }
    let rows: Vec<(Uuid, Vec<u8>)> = match kind {
        RecordKind::Client => images_of!(client),
        RecordKind::Person => images_of!(person),
        RecordKind::Contact => images_of!(contact),
        RecordKind::Unspecified => Vec::new(),
    };
    Ok(rows.into_iter().map(|(id, image)| (id, image.into())).collect())
}

/// Deletes the rows of records of any kinds.
pub(crate) async fn remove(
    db: TenantDb<'_, impl ConnectionTrait>,
    records: &[RecordRef],
) -> Result<(), RecordError> {
    use RecordKind::{Client, Contact, Person};
    let of = |kind| ids_of(records, kind);
    bulk::delete(db, db.delete::<contact::Entity>(), contact::Column::Id, &of(Contact)).await?;
    bulk::delete(db, db.delete::<client::Entity>(), client::Column::Id, &of(Client)).await?;
    bulk::delete(db, db.delete::<person::Entity>(), person::Column::Id, &of(Person)).await?;
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
    db: TenantDb<'_, impl ConnectionTrait>,
    kind: RecordKind,
    images: Vec<NewImage>,
    now: DateTime<Utc>,
) -> Result<(), RecordError> {
    let table = table(kind);
    let mut images = images.into_iter().peekable();
    while images.peek().is_some() {
        let chunk: Vec<NewImage> = images.by_ref().take(chunk_rows(3)).collect();
        db.execute(|sql| replace_sql(sql, table, chunk, now)).await?;
    }
    Ok(())
}

fn replace_sql(
    sql: &mut TenantBinds<'_>,
    table: &str,
    chunk: Vec<NewImage>,
    now: DateTime<Utc>,
) -> String {
    let columns = [Column::of("id"), Column::of("version"), Column::of("image")];
    let row = |NewImage { id, version, image }| vec![id.into(), version.into(), image.into()];
    format!(
        "WITH new(id, version, image) AS ({}) \
         UPDATE {table} SET version = new.version, image = new.image, updated_at = {} \
         FROM new WHERE {table}.practice_id = {} AND {table}.id = new.id",
        sql.list(&columns, chunk.into_iter().map(row).collect()),
        sql.bind(now),
        sql.practice()
    )
}
