//! The table of clients.

use concord_core::{
    caller::PracticeId,
    rules::{
        draft::{Identifiers, Reference},
        identifier::register,
        match_key::MatchField,
        terms::Term,
    },
};
use concord_db::StatementBatch;
use concord_proto::pb::records::{ClientType, Jurisdiction, RecordState};
use sea_orm::{
    ConnectionTrait, EntityTrait as _, ExprTrait as _, IntoActiveModel as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
    sea_query::{Expr, Query},
};
use uuid::Uuid;

use super::{
    entities::{client, link},
    sql::{self, Stored as _, among, from_json, locked_in_order, sorted_chunks, to_json},
};
use crate::{
    domain::record::{Client, RecordMeta},
    error::RecordError,
};

/// Maximum number of ids that a lookup returns.
const MAX_NAMED: u64 = 100;

/// Inserts new clients with their images.
pub(crate) fn insert(
    batch: &mut StatementBatch,
    practice: &PracticeId,
    clients: Vec<(Client, Vec<u8>)>,
) -> Result<(), RecordError> {
    let rows = clients.into_iter().map(|(client, image)| to_row(practice, client, image));
    let rows = rows.map(|row| row.map(client::Model::into_active_model));
    batch.insert(rows.collect::<Result<Vec<_>, _>>()?);
    Ok(())
}

/// The clients with these ids, locked until the end of the transaction. Locks in the order
/// of ids, so that two writers cannot deadlock. Ids of other practices are not found. On
/// SQLite the single writer holds the only lock.
pub(crate) async fn lock(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    ids: &[Uuid],
) -> Result<Vec<Client>, RecordError> {
    let mut clients = Vec::new();
    for ids in sorted_chunks(ids) {
        let query = of(practice).filter(among(db, client::Column::Id, ids));
        clients.extend(read_locked(query, db).await?);
    }
    Ok(clients)
}

/// The clients with these reference keys, locked as by [`lock`].
pub(crate) async fn lock_by_references(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    keys: &[String],
) -> Result<Vec<Client>, RecordError> {
    let mut clients = Vec::new();
    for keys in sorted_chunks(keys) {
        let query = of(practice).filter(among(db, client::Column::ReferenceKey, keys));
        clients.extend(read_locked(query, db).await?);
    }
    Ok(clients)
}

/// The client with this id, without a lock.
pub(crate) async fn by_id(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    id: Uuid,
) -> Result<Option<Client>, RecordError> {
    let row = of(practice).filter(client::COLUMN.id.eq(id)).one(db).await?;
    row.map(from_row).transpose()
}

/// The id of the client with this reference key.
pub(crate) async fn id_by_reference(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    key: &str,
) -> Result<Option<Uuid>, RecordError> {
    let query = of(practice).filter(client::COLUMN.reference_key.eq(key));
    Ok(ids(query, db, 1).await?.into_iter().next())
}

/// Up to two clients with one of these company numbers, of one register or of any. Two are
/// enough to detect an ambiguous number.
pub(crate) async fn ids_by_company_number(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    numbers: &[String],
    register: Option<Jurisdiction>,
) -> Result<Vec<Uuid>, RecordError> {
    let column = client::Column::CompanyNumber;
    let mut query =
        of(practice).filter(sea_orm::ColumnTrait::is_in(&column, numbers.iter().cloned()));
    if let Some(register) = register {
        query = query.filter(in_register(register));
    }
    ids(query, db, 2).await
}

/// The condition that a client's company number belongs to a register, by its format or by
/// the client's jurisdiction.
fn in_register(register: Jurisdiction) -> sea_orm::sea_query::SimpleExpr {
    use sea_orm::ColumnTrait as _;
    let column = client::Column::Jurisdiction;
    match register {
        // Its numbers have a format of their own; foreign ones may have any.
        Jurisdiction::Unspecified => column.ne(Jurisdiction::Other.name()),
        Jurisdiction::IsleOfMan => column.is_in([Jurisdiction::IsleOfMan.name(), ""]),
        register => column.eq(register.name()),
    }
}

/// The individual clients of a person.
pub(crate) async fn ids_by_person(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    person: Uuid,
) -> Result<Vec<Uuid>, RecordError> {
    ids(of(practice).filter(client::COLUMN.person_id.eq(person)), db, MAX_NAMED).await
}

/// The individuals among some clients, each with its person.
pub(crate) async fn individuals(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    clients: &[Uuid],
) -> Result<Vec<(Uuid, Uuid)>, RecordError> {
    let mut found = Vec::new();
    for ids in sorted_chunks(clients) {
        let query = of(practice)
            .filter(among(db, client::Column::Id, ids))
            .filter(client::COLUMN.person_id.is_not_null());
        found.extend(with_persons(query, db).await?);
    }
    Ok(found)
}

/// The individual clients of some persons, each with its person; the oldest first.
pub(crate) async fn individuals_of(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    persons: &[Uuid],
) -> Result<Vec<(Uuid, Uuid)>, RecordError> {
    let mut found = Vec::new();
    for ids in sorted_chunks(persons) {
        let query = of(practice).filter(among(db, client::Column::PersonId, ids));
        found.extend(with_persons(query, db).await?);
    }
    found.sort_unstable();
    Ok(found)
}

async fn with_persons(
    query: sea_orm::Select<client::Entity>,
    db: &impl ConnectionTrait,
) -> Result<Vec<(Uuid, Uuid)>, RecordError> {
    let query = query.select_only();
    let columns = [client::Column::Id, client::Column::PersonId];
    Ok(query.columns(columns).into_tuple().all(db).await?)
}

/// The clients with one of these numbers, each with the name of the field.
pub(crate) async fn with_equal_identifier(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    (identifiers, jurisdiction): (&Identifiers, Jurisdiction),
) -> Result<Vec<(Uuid, &'static str)>, RecordError> {
    let Identifiers { company_number, utr, vat_number, paye_reference: _ } = identifiers;
    let numbers = [
        (company_number, "company_number", client::Column::CompanyNumber),
        (utr, "utr", client::Column::Utr),
        (vat_number, "vat_number", client::Column::VatNumber),
    ];
    let mut found = Vec::new();
    for (number, field, column) in numbers {
        if let Some(number) = number {
            let mut equal = of(practice).filter(sea_orm::ColumnTrait::eq(&column, number.as_str()));
            if field == MatchField::CompanyNumber.as_str() {
                equal = equal.filter(in_register(register(number, jurisdiction)));
            }
            found.extend(ids(equal, db, MAX_NAMED).await?.into_iter().map(|id| (id, field)));
        }
    }
    Ok(found)
}

/// Updates the row of a client. The caller holds its lock.
///
/// # Errors
///
/// [`RecordError::UniqueViolation`] if its new reference is in use; the transaction is
/// aborted then.
pub(crate) async fn update(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    client: Client,
    image: Vec<u8>,
) -> Result<(), RecordError> {
    use sea_orm::{ActiveModelTrait as _, IntoActiveModel as _};
    let row = to_row(practice, client, image)?.into_active_model().reset_all();
    row.update_without_returning(db).await.map_err(sql::classify)?;
    Ok(())
}

/// The filter of a page of clients.
#[derive(Clone, Debug, Default)]
pub(crate) struct PageOf {
    /// Only clients after this id.
    pub(crate) after: Option<Uuid>,
    /// Only clients that this product is linked to.
    pub(crate) linked_product: Option<String>,
    /// Includes orphaned clients.
    pub(crate) show_orphaned: bool,
}

/// A page of images in the order of creation, with their ids (keyset pagination).
pub(crate) async fn page(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    which: &PageOf,
    limit: u64,
) -> Result<Vec<(Uuid, Vec<u8>)>, RecordError> {
    let mut query = of(practice);
    if let Some(after) = which.after {
        query = query.filter(client::COLUMN.id.gt(after));
    }
    if !which.show_orphaned {
        query = query.filter(client::COLUMN.state.eq(RecordState::Active.stored()));
    }
    if let Some(product) = &which.linked_product {
        query = query.filter(Expr::exists(link_of(product)));
    }
    let rows = query
        .order_by_asc(client::Column::Id)
        .limit(limit)
        .select_only()
        .columns([client::Column::Id, client::Column::Image])
        .into_tuple()
        .all(db)
        .await?;
    Ok(rows)
}

/// A correlated subquery for the links of a product to the client. It is evaluated for
/// each client of the page; for a list, SQLite would read all linked clients first.
fn link_of(product: &str) -> sea_orm::sea_query::SelectStatement {
    let same = |of_link: link::Column, of_client: client::Column| {
        Expr::col((link::Entity, of_link)).equals((client::Entity, of_client))
    };
    Query::select()
        .expr(Expr::val(1))
        .from(link::Entity)
        .and_where(same(link::Column::PracticeId, client::Column::PracticeId))
        .and_where(same(link::Column::RecordId, client::Column::Id))
        .and_where(Expr::col((link::Entity, link::Column::Product)).eq(product))
        .to_owned()
}

fn of(practice: &PracticeId) -> sea_orm::Select<client::Entity> {
    client::Entity::find().filter(client::COLUMN.practice_id.eq(practice.as_str()))
}

async fn read_locked(
    query: sea_orm::Select<client::Entity>,
    db: &impl ConnectionTrait,
) -> Result<Vec<Client>, RecordError> {
    let mut rows = locked_in_order(db, query, client::Column::Id).all(db).await?;
    rows.sort_unstable_by_key(|row| row.id);
    rows.into_iter().map(from_row).collect()
}

async fn ids(
    query: sea_orm::Select<client::Entity>,
    db: &impl ConnectionTrait,
    limit: u64,
) -> Result<Vec<Uuid>, RecordError> {
    // Sorted here: with an ORDER BY, SQLite would scan all clients in that order instead
    // of using the index of the filter.
    let query = query.select_only().column(client::Column::Id).limit(limit);
    let mut ids: Vec<Uuid> = query.into_tuple().all(db).await?;
    ids.sort_unstable();
    Ok(ids)
}

fn to_row(
    practice: &PracticeId,
    client: Client,
    image: Vec<u8>,
) -> Result<client::Model, RecordError> {
    let Client {
        id,
        client_type,
        jurisdiction,
        reference,
        person_id,
        identifiers,
        emails,
        phones,
        meta,
    } = client;
    let Identifiers { company_number, utr, vat_number, paye_reference } = identifiers;
    let RecordMeta { state, version, created_at, updated_at, purge_at } = meta;
    Ok(client::Model {
        practice_id: practice.to_string(),
        id,
        client_type: client_type.name().to_owned(),
        jurisdiction: jurisdiction.name().to_owned(),
        reference: reference.text,
        reference_key: reference.key,
        person_id,
        company_number,
        utr,
        vat_number,
        paye_reference,
        emails: to_json(&emails)?,
        phones: to_json(&phones)?,
        state: state.stored(),
        version,
        created_at,
        updated_at,
        image,
        purge_at,
    })
}

fn from_row(row: client::Model) -> Result<Client, RecordError> {
    Ok(Client {
        id: row.id,
        client_type: term::<ClientType>(&row.client_type)?,
        jurisdiction: term::<Jurisdiction>(&row.jurisdiction)?,
        reference: Reference { text: row.reference, key: row.reference_key },
        person_id: row.person_id,
        identifiers: Identifiers {
            company_number: row.company_number,
            utr: row.utr,
            vat_number: row.vat_number,
            paye_reference: row.paye_reference,
        },
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

/// A term by its name. An unset term is stored as empty text.
fn term<T: Term + Default>(name: &str) -> Result<T, RecordError> {
    let term = T::parse(name).map_err(|_| RecordError::Corrupt("a term's name"))?;
    Ok(term.unwrap_or_default())
}
