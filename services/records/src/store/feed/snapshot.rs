//! Snapshot reads: all current records of a practice, by keyset pagination.

use bytes::Bytes;
use concord_core::caller::Product;
use concord_proto::pb::records::RecordKind;
use sea_orm::{ConnectionTrait, Statement};
use uuid::Uuid;

use crate::error::RecordError;

/// A record of a snapshot.
#[derive(Debug)]
pub(crate) struct SnapshotRow {
    pub(crate) id: Uuid,
    pub(crate) version: i64,
    pub(crate) image: Bytes,
    pub(crate) linked: bool,
    /// The person of a contact or an individual client.
    pub(crate) person_id: Option<Uuid>,
}

/// The first practice from `from` on, in the order of names, that the product is
/// connected to.
pub(crate) async fn practice_from(
    db: &impl ConnectionTrait,
    product: &Product,
    from: &str,
) -> Result<Option<String>, RecordError> {
    practice(db, product, ">=", from).await
}

/// The next practice after `after` that the product is connected to.
pub(crate) async fn practice_after(
    db: &impl ConnectionTrait,
    product: &Product,
    after: &str,
) -> Result<Option<String>, RecordError> {
    practice(db, product, ">", after).await
}

async fn practice(
    db: &impl ConnectionTrait,
    product: &Product,
    compared: &str,
    with: &str,
) -> Result<Option<String>, RecordError> {
    let sql = format!(
        "SELECT MIN(practice_id) AS practice FROM connection \
         WHERE product = $1 AND practice_id {compared} $2"
    );
    let values = [product.as_str().into(), with.into()];
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    let row = db.query_one_raw(statement).await?;
    Ok(row.map(|row| row.try_get::<Option<String>>("", "practice")).transpose()?.flatten())
}

/// A page of the records of one kind in one practice, active and orphaned, after the id
/// `after` in the order of ids (keyset pagination). `linked` is true if any account of the
/// product is linked to the record or to what it belongs to, as in the feed.
pub(crate) async fn page(
    db: &impl ConnectionTrait,
    product: &Product,
    practice: &str,
    kind: RecordKind,
    after: Uuid,
    limit: i64,
) -> Result<Vec<SnapshotRow>, RecordError> {
    let linked = |record: &str| {
        format!(
            "EXISTS (SELECT 1 FROM link l WHERE l.practice_id = r.practice_id \
             AND l.record_id = {record} AND l.product = $4)"
        )
    };
    let through = |table: &str, client: &str| {
        format!(
            "EXISTS (SELECT 1 FROM {table} x JOIN link l ON l.practice_id = x.practice_id \
             AND l.record_id = x.{client} AND l.product = $4 \
             WHERE x.practice_id = r.practice_id AND x.person_id = r.id)"
        )
    };
    let own = linked("r.id");
    let (table, person, linked) = match kind {
        RecordKind::Person => {
            let (contact, individual) = (through("contact", "client_id"), through("client", "id"));
            ("person", "CAST(NULL AS uuid)", format!("{own} OR {contact} OR {individual}"))
        }
        RecordKind::Contact => {
            let of = format!("{} OR {}", linked("r.client_id"), linked("r.person_id"));
            ("contact", "r.person_id", of)
        }
        RecordKind::Client | RecordKind::Unspecified => ("client", "r.person_id", own),
    };
    let sql = format!(
        "SELECT r.id, r.version, r.image, {person} AS person_id, ({linked}) AS linked \
         FROM {table} r WHERE r.practice_id = $1 AND r.id > $2 ORDER BY r.id LIMIT $3"
    );
    let values = [practice.into(), after.into(), limit.into(), product.as_str().into()];
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    let rows = db.query_all_raw(statement).await?;
    rows.iter()
        .map(|row| {
            let image: Vec<u8> = row.try_get("", "image")?;
            Ok(SnapshotRow {
                id: row.try_get("", "id")?,
                version: row.try_get("", "version")?,
                image: image.into(),
                linked: row.try_get("", "linked")?,
                person_id: row.try_get("", "person_id")?,
            })
        })
        .collect()
}
