//! Snapshot reads: all current records of a practice, by keyset pagination.

use bytes::Bytes;
use concord_core::caller::Product;
use concord_db::Binds;
use concord_proto::pb::records::RecordKind;
use sea_orm::ConnectionTrait;
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
    let row = concord_db::query_one(db, |sql| {
        format!(
            "SELECT MIN(practice_id) AS practice FROM connection \
             WHERE product = {} AND practice_id {compared} {}",
            sql.bind(product.as_str()),
            sql.bind(with)
        )
    });
    let row = row.await?;
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
    let after = (practice, after);
    let rows = concord_db::query(db, |sql| page_sql(sql, product, kind, after, limit)).await?;
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

fn page_sql(
    sql: &mut Binds,
    product: &Product,
    kind: RecordKind,
    (practice, after): (&str, Uuid),
    limit: i64,
) -> String {
    let linked = |sql: &mut Binds, record: &str| {
        format!(
            "EXISTS (SELECT 1 FROM link l WHERE l.practice_id = r.practice_id \
             AND l.record_id = {record} AND l.product = {})",
            sql.bind_shared("product", product.as_str())
        )
    };
    let through = |sql: &mut Binds, table: &str, client: &str| {
        format!(
            "EXISTS (SELECT 1 FROM {table} x JOIN link l ON l.practice_id = x.practice_id \
             AND l.record_id = x.{client} AND l.product = {} \
             WHERE x.practice_id = r.practice_id AND x.person_id = r.id)",
            sql.bind_shared("product", product.as_str())
        )
    };
    let (table, person, linked) = match kind {
        RecordKind::Person => {
            let own = linked(sql, "r.id");
            let contact = through(sql, "contact", "client_id");
            let individual = through(sql, "client", "id");
            ("person", "CAST(NULL AS uuid)", format!("{own} OR {contact} OR {individual}"))
        }
        RecordKind::Contact => {
            let of = format!("{} OR {}", linked(sql, "r.client_id"), linked(sql, "r.person_id"));
            ("contact", "r.person_id", of)
        }
        RecordKind::Client | RecordKind::Unspecified => {
            ("client", "r.person_id", linked(sql, "r.id"))
        }
    };
    format!(
        "SELECT r.id, r.version, r.image, {person} AS person_id, ({linked}) AS linked \
         FROM {table} r WHERE r.practice_id = {} AND r.id > {} ORDER BY r.id LIMIT {}",
        sql.bind(practice),
        sql.bind(after),
        sql.bind(limit)
    )
}
