//! Links of products to records, with their external ids.

use concord_core::caller::{Account, PracticeId, Product};
use concord_db::{StatementBatch, TenantBinds, TenantDb};
use sea_orm::{ConnectionTrait, DbBackend, IntoActiveModel as _, QueryFilter, Select};
use uuid::Uuid;

use super::{
    bulk::{self, sorted_chunks},
    entities::link,
    erasures, write_now,
};
use crate::{
    domain::link::{ImportOutcome, Link, LinkKind},
    error::RecordError,
};

/// Inserts new links.
pub(crate) fn insert(batch: &mut StatementBatch, links: Vec<Link>) {
    let practice = batch.practice();
    let row = |link| to_row(practice, link).into_active_model();
    let rows: Vec<_> = links.into_iter().map(row).collect();
    batch.insert(rows);
}

/// Inserts a new link without deferring it.
///
/// # Errors
///
/// As [`write_now`].
pub(crate) async fn insert_now(
    db: TenantDb<'_, impl ConnectionTrait>,
    link: Link,
) -> Result<(), RecordError> {
    let fill = |batch: &mut StatementBatch| {
        insert(batch, vec![link]);
        Ok(())
    };
    write_now(db, fill).await
}

/// The links of an account of a product with these external ids.
pub(crate) async fn by_external_ids(
    db: TenantDb<'_, impl ConnectionTrait>,
    (product, account): (&Product, &Account),
    kind: LinkKind,
    external_ids: &[String],
) -> Result<Vec<Link>, RecordError> {
    let query = of_account(db.select::<link::Entity>(), product, account);
    let query = query.filter(link::COLUMN.kind.eq(kind.as_str()));
    let rows = bulk::find(db, query, link::Column::ExternalId, external_ids).await?;
    rows.into_iter().map(from_row).collect()
}

/// The records among `records` that the account of the product is linked to.
pub(crate) async fn linked_records(
    db: TenantDb<'_, impl ConnectionTrait>,
    (product, account): (&Product, &Account),
    records: &[Uuid],
) -> Result<Vec<Uuid>, RecordError> {
    let query = of_account(db.select::<link::Entity>(), product, account);
    let key = link::Column::RecordId;
    bulk::find_columns(db, query, [key], key, records).await
}

/// The external ids of the account of the product for `records`.
pub(crate) async fn external_ids(
    db: TenantDb<'_, impl ConnectionTrait>,
    (product, account): (&Product, &Account),
    records: &[Uuid],
) -> Result<Vec<(Uuid, String)>, RecordError> {
    let query = of_account(db.select::<link::Entity>(), product, account);
    let key = link::Column::RecordId;
    bulk::find_columns(db, query, [key, link::Column::ExternalId], key, records).await
}

/// The products that are linked to `records`, in any account, each with the record.
pub(crate) async fn products_of(
    db: TenantDb<'_, impl ConnectionTrait>,
    records: &[Uuid],
) -> Result<Vec<(Uuid, String)>, RecordError> {
    let (query, key) = (db.select::<link::Entity>(), link::Column::RecordId);
    bulk::find_columns(db, query, [key, link::Column::Product], key, records).await
}

/// The products that are linked to the clients that `persons` are, or are contacts of,
/// each with the person.
pub(crate) async fn products_of_clients_of(
    db: TenantDb<'_, impl ConnectionTrait>,
    persons: &[Uuid],
) -> Result<Vec<(Uuid, String)>, RecordError> {
    let mut products = Vec::new();
    for persons in sorted_chunks(persons) {
        let rows = db.query(|sql| {
            let of_contacts = products_through(sql, ("contact", "client_id"), &persons);
            format!("{of_contacts} UNION {}", products_through(sql, ("client", "id"), &persons))
        });
        for row in rows.await? {
            products.push((row.try_get("", "person_id")?, row.try_get("", "product")?));
        }
    }
    Ok(products)
}

/// Selects the products that are linked to the clients of `persons`, which are in a column
/// of a table.
fn products_through(
    sql: &mut TenantBinds<'_>,
    (table, client): (&str, &str),
    persons: &[Uuid],
) -> String {
    // SQLite would scan all contacts, or all links, of the practice otherwise.
    let by = match sql.engine() {
        DbBackend::Sqlite => format!("INDEXED BY {table}_person"),
        _ => String::new(),
    };
    format!(
        "SELECT x.person_id, l.product FROM {table} x {by} CROSS JOIN link l \
         WHERE x.practice_id = {} AND x.person_id {} \
         AND l.practice_id = x.practice_id AND l.record_id = x.{client}",
        sql.practice(),
        sql.among(persons.iter().map(|person| (*person).into()).collect())
    )
}

/// The links of a record, by product and account.
pub(crate) async fn of_record(
    db: TenantDb<'_, impl ConnectionTrait>,
    record: Uuid,
) -> Result<Vec<Link>, RecordError> {
    use sea_orm::QueryOrder as _;
    let rows = db
        .select::<link::Entity>()
        .filter(link::COLUMN.record_id.eq(record))
        .order_by_asc(link::Column::Product)
        .order_by_asc(link::Column::Account)
        .all(db.connection())
        .await?;
    rows.into_iter().map(from_row).collect()
}

/// The number of links that a product has in the practice.
pub(crate) async fn count_of_product(
    db: TenantDb<'_, impl ConnectionTrait>,
    product: &Product,
) -> Result<u64, RecordError> {
    use sea_orm::PaginatorTrait as _;
    let links = db.select::<link::Entity>().filter(link::COLUMN.product.eq(product.as_str()));
    Ok(links.count(db.connection()).await?)
}

/// Deletes the links of an account to these records and entries. Returns their number.
pub(crate) async fn remove(
    db: TenantDb<'_, impl ConnectionTrait>,
    (product, account): (&Product, &Account),
    records: &[Uuid],
) -> Result<u64, RecordError> {
    note_keys(db, of_account(db.select(), product, account), records).await?;
    let delete = of_account(db.delete::<link::Entity>(), product, account);
    bulk::delete(db, delete, link::Column::RecordId, records).await
}

/// Deletes all links to these records and entries.
pub(crate) async fn remove_all(
    db: TenantDb<'_, impl ConnectionTrait>,
    records: &[Uuid],
) -> Result<(), RecordError> {
    note_keys(db, db.select(), records).await?;
    let delete = db.delete::<link::Entity>();
    bulk::delete(db, delete, link::Column::RecordId, records).await.map(drop)
}

/// Records the key digests of links to `records` before the links are deleted. Links of
/// entries are not needed: an entry is erased with its owner.
async fn note_keys(
    db: TenantDb<'_, impl ConnectionTrait>,
    query: Select<link::Entity>,
    records: &[Uuid],
) -> Result<(), RecordError> {
    let query = query.filter(link::COLUMN.kind.ne(LinkKind::Entry.as_str()));
    let links = bulk::find(db, query, link::Column::RecordId, records).await?;
    let links = links.into_iter().map(from_row).collect::<Result<Vec<_>, _>>()?;
    erasures::note_keys(db, &links).await
}

/// Restricts a statement to the links of an account of a product.
fn of_account<Q: QueryFilter>(statement: Q, product: &Product, account: &Account) -> Q {
    statement
        .filter(link::COLUMN.product.eq(product.as_str()))
        .filter(link::COLUMN.account.eq(account.as_str()))
}

fn to_row(practice: &PracticeId, link: Link) -> link::Model {
    let Link { product, account, kind, external_id, record_id, import, linked_at, linked_by } =
        link;
    link::Model {
        practice_id: practice.to_string(),
        product: product.to_string(),
        account: account.to_string(),
        kind: kind.as_str().to_owned(),
        external_id,
        record_id,
        import_id: import.map(|(id, _)| id),
        outcome: import.map(|(_, outcome)| outcome.as_str().to_owned()),
        linked_at,
        linked_by,
    }
}

fn from_row(row: link::Model) -> Result<Link, RecordError> {
    let outcome = row.outcome.as_deref().and_then(ImportOutcome::parse);
    Ok(Link {
        product: row.product.parse().map_err(|_| RecordError::Corrupt("a product"))?,
        account: row.account.parse().map_err(|_| RecordError::Corrupt("an account"))?,
        kind: LinkKind::parse(&row.kind).ok_or(RecordError::Corrupt("a kind of link"))?,
        external_id: row.external_id,
        record_id: row.record_id,
        import: row.import_id.zip(outcome),
        linked_at: row.linked_at,
        linked_by: row.linked_by,
    })
}
