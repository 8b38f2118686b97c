//! Links of products to records, with their external ids.

use concord_core::caller::{Account, PracticeId, Product};
use concord_db::{Binds, StatementBatch};
use sea_orm::{
    ConnectionTrait, DbBackend, EntityTrait as _, IntoActiveModel as _, QueryFilter as _,
    QuerySelect as _, Statement,
};
use uuid::Uuid;

use super::{
    entities::link,
    erasures,
    sql::{among, sorted_chunks},
    write_now,
};
use crate::{
    domain::link::{ImportOutcome, Link, LinkKind},
    error::RecordError,
};

/// Inserts new links.
pub(crate) fn insert(batch: &mut StatementBatch, practice: &PracticeId, links: Vec<Link>) {
    let rows = links.into_iter().map(|link| to_row(practice, link).into_active_model());
    batch.insert(rows.collect());
}

/// Inserts a new link without deferring it.
///
/// # Errors
///
/// As [`write_now`].
pub(crate) async fn insert_now(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    link: Link,
) -> Result<(), RecordError> {
    let fill = |batch: &mut StatementBatch| {
        insert(batch, practice, vec![link]);
        Ok(())
    };
    write_now(db, fill).await
}

/// The links of an account of a product with these external ids.
pub(crate) async fn by_external_ids(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    (product, account): (&Product, &Account),
    kind: LinkKind,
    external_ids: &[String],
) -> Result<Vec<Link>, RecordError> {
    let mut links = Vec::new();
    for external_ids in sorted_chunks(external_ids) {
        let query = of_account(practice, product, account)
            .filter(link::COLUMN.kind.eq(kind.as_str()))
            .filter(among(db, link::Column::ExternalId, external_ids));
        for row in query.all(db).await? {
            links.push(from_row(row)?);
        }
    }
    Ok(links)
}

/// The records among `records` that the account of the product is linked to.
pub(crate) async fn linked_records(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    (product, account): (&Product, &Account),
    records: &[Uuid],
) -> Result<Vec<Uuid>, RecordError> {
    let mut linked = Vec::new();
    for records in sorted_chunks(records) {
        let query = of_account(practice, product, account)
            .filter(among(db, link::Column::RecordId, records))
            .select_only()
            .column(link::Column::RecordId);
        linked.extend(query.into_tuple::<Uuid>().all(db).await?);
    }
    Ok(linked)
}

/// The external ids of the account of the product for `records`.
pub(crate) async fn external_ids(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    (product, account): (&Product, &Account),
    records: &[Uuid],
) -> Result<Vec<(Uuid, String)>, RecordError> {
    let mut ids = Vec::new();
    for records in sorted_chunks(records) {
        let query = of_account(practice, product, account)
            .filter(among(db, link::Column::RecordId, records))
            .select_only()
            .columns([link::Column::RecordId, link::Column::ExternalId]);
        ids.extend(query.into_tuple::<(Uuid, String)>().all(db).await?);
    }
    Ok(ids)
}

/// The products that are linked to `records`, in any account, each with the record.
pub(crate) async fn products_of(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    records: &[Uuid],
) -> Result<Vec<(Uuid, String)>, RecordError> {
    let mut products = Vec::new();
    for records in sorted_chunks(records) {
        let query = link::Entity::find()
            .filter(link::COLUMN.practice_id.eq(practice.as_str()))
            .filter(among(db, link::Column::RecordId, records))
            .select_only()
            .columns([link::Column::RecordId, link::Column::Product]);
        products.extend(query.into_tuple::<(Uuid, String)>().all(db).await?);
    }
    Ok(products)
}

/// The products that are linked to the clients that `persons` are, or are contacts of,
/// each with the person.
pub(crate) async fn products_of_clients_of(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    persons: &[Uuid],
) -> Result<Vec<(Uuid, String)>, RecordError> {
    let mut products = Vec::new();
    for persons in sorted_chunks(persons) {
        let engine = db.get_database_backend();
        let mut binds = Binds::new(engine);
        // SQLite would scan all contacts, or all links, of the practice otherwise.
        let by = |index: &str| match engine {
            DbBackend::Sqlite => format!("INDEXED BY {index}"),
            _ => String::new(),
        };
        let mut linked = |table: &str, client: &str| {
            let by = by(&format!("{table}_person"));
            let practice = binds.bind(practice.as_str());
            let persons = persons.iter().map(|person| (*person).into()).collect();
            format!(
                "SELECT x.person_id, l.product FROM {table} x {by} CROSS JOIN link l \
                 WHERE x.practice_id = {practice} AND x.person_id {} \
                 AND l.practice_id = x.practice_id AND l.record_id = x.{client}",
                binds.among(persons)
            )
        };
        let sql = format!("{} UNION {}", linked("contact", "client_id"), linked("client", "id"));
        let statement = Statement::from_sql_and_values(engine, sql, binds.into_values());
        for row in db.query_all_raw(statement).await? {
            products.push((row.try_get("", "person_id")?, row.try_get("", "product")?));
        }
    }
    Ok(products)
}

/// The links of a record, by product and account.
pub(crate) async fn of_record(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    record: Uuid,
) -> Result<Vec<Link>, RecordError> {
    use sea_orm::QueryOrder as _;
    let rows = link::Entity::find()
        .filter(link::COLUMN.practice_id.eq(practice.as_str()))
        .filter(link::COLUMN.record_id.eq(record))
        .order_by_asc(link::Column::Product)
        .order_by_asc(link::Column::Account)
        .all(db)
        .await?;
    rows.into_iter().map(from_row).collect()
}

/// The number of links that a product has in the practice.
pub(crate) async fn count_of_product(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    product: &Product,
) -> Result<u64, RecordError> {
    use sea_orm::PaginatorTrait as _;
    let links = link::Entity::find()
        .filter(link::COLUMN.practice_id.eq(practice.as_str()))
        .filter(link::COLUMN.product.eq(product.as_str()));
    Ok(links.count(db).await?)
}

/// Deletes the links of an account to these records and entries. Returns their number.
pub(crate) async fn remove(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    (product, account): (&Product, &Account),
    records: &[Uuid],
) -> Result<u64, RecordError> {
    let mut removed = 0;
    for records in sorted_chunks(records) {
        let query = of_account(practice, product, account).filter(among(
            db,
            link::Column::RecordId,
            records.clone(),
        ));
        note_keys(db, practice, query).await?;
        let deleted = link::Entity::delete_many()
            .filter(link::COLUMN.practice_id.eq(practice.as_str()))
            .filter(link::COLUMN.product.eq(product.as_str()))
            .filter(link::COLUMN.account.eq(account.as_str()))
            .filter(among(db, link::Column::RecordId, records))
            .exec(db)
            .await?;
        removed += deleted.rows_affected;
    }
    Ok(removed)
}

/// Deletes all links to these records and entries.
pub(crate) async fn remove_all(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    records: &[Uuid],
) -> Result<(), RecordError> {
    for records in sorted_chunks(records) {
        let query = link::Entity::find()
            .filter(link::COLUMN.practice_id.eq(practice.as_str()))
            .filter(among(db, link::Column::RecordId, records.clone()));
        note_keys(db, practice, query).await?;
        link::Entity::delete_many()
            .filter(link::COLUMN.practice_id.eq(practice.as_str()))
            .filter(among(db, link::Column::RecordId, records))
            .exec(db)
            .await?;
    }
    Ok(())
}

/// Records the key digests of links before the links are deleted.
async fn note_keys(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    query: sea_orm::Select<link::Entity>,
) -> Result<(), RecordError> {
    let query = query.filter(link::COLUMN.kind.ne(LinkKind::Entry.as_str()));
    let links = query.all(db).await?.into_iter().map(from_row);
    erasures::note_keys(db, practice, &links.collect::<Result<Vec<_>, _>>()?).await
}

fn of_account(
    practice: &PracticeId,
    product: &Product,
    account: &Account,
) -> sea_orm::Select<link::Entity> {
    link::Entity::find()
        .filter(link::COLUMN.practice_id.eq(practice.as_str()))
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
