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
use concord_db::{StatementBatch, TenantDb};
use concord_proto::pb::records::{self as pb, ClientType, Jurisdiction, RecordState};
use prost::Message as _;
use sea_orm::{
    ConnectionTrait, ExprTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    sea_query::{Expr, Query},
};
use uuid::Uuid;

use super::{
    bulk::{self, Key},
    conditions::locked_in_order,
    entities::{client, link},
    stored::{Stored as _, from_json, to_json},
    unique_keys,
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
    clients: Vec<(Client, Vec<u8>)>,
) -> Result<(), RecordError> {
    bulk::insert(batch, clients, |practice, (client, image)| to_row(practice, client, image))
}

/// The clients with these ids, locked until the end of the transaction. Locks in the order
/// of ids, so that two writers cannot deadlock. Ids of other practices are not found. On
/// SQLite the single writer holds the only lock.
pub(crate) async fn lock(
    db: TenantDb<'_, impl ConnectionTrait>,
    ids: &[Uuid],
) -> Result<Vec<Client>, RecordError> {
    read_locked(db, client::Column::Id, ids).await
}

/// The clients with these reference keys, locked as by [`lock`].
pub(crate) async fn lock_by_references(
    db: TenantDb<'_, impl ConnectionTrait>,
    keys: &[String],
) -> Result<Vec<Client>, RecordError> {
    read_locked(db, client::Column::ReferenceKey, keys).await
}

/// The client with this id, without a lock.
pub(crate) async fn by_id(
    db: TenantDb<'_, impl ConnectionTrait>,
    id: Uuid,
) -> Result<Option<Client>, RecordError> {
    let query = db.select::<client::Entity>().filter(client::COLUMN.id.eq(id));
    let row = query.one(db.connection()).await?;
    row.map(from_row).transpose()
}

/// The id of the client with this reference key.
pub(crate) async fn id_by_reference(
    db: TenantDb<'_, impl ConnectionTrait>,
    key: &str,
) -> Result<Option<Uuid>, RecordError> {
    let query = db.select::<client::Entity>();
    let query = query.filter(client::COLUMN.reference_key.eq(key));
    Ok(ids(query, db, 1).await?.into_iter().next())
}

/// Up to two clients with one of these company numbers, of one register or of any. Two are
/// enough to detect an ambiguous number.
pub(crate) async fn ids_by_company_number(
    db: TenantDb<'_, impl ConnectionTrait>,
    numbers: &[String],
    register: Option<Jurisdiction>,
) -> Result<Vec<Uuid>, RecordError> {
    let column = client::Column::CompanyNumber;
    let is_one = sea_orm::ColumnTrait::is_in(&column, numbers.iter().cloned());
    let mut query = db.select::<client::Entity>().filter(is_one);
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
    db: TenantDb<'_, impl ConnectionTrait>,
    person: Uuid,
) -> Result<Vec<Uuid>, RecordError> {
    let query = db.select::<client::Entity>();
    ids(query.filter(client::COLUMN.person_id.eq(person)), db, MAX_NAMED).await
}

/// The individuals among some clients, each with its person.
pub(crate) async fn individuals(
    db: TenantDb<'_, impl ConnectionTrait>,
    clients: &[Uuid],
) -> Result<Vec<(Uuid, Uuid)>, RecordError> {
    let query = db.select::<client::Entity>().filter(client::COLUMN.person_id.is_not_null());
    bulk::find_columns(db, query, WITH_PERSON, client::Column::Id, clients).await
}

/// The individual clients of some persons, each with its person; the oldest first.
pub(crate) async fn individuals_of(
    db: TenantDb<'_, impl ConnectionTrait>,
    persons: &[Uuid],
) -> Result<Vec<(Uuid, Uuid)>, RecordError> {
    let (query, key) = (db.select::<client::Entity>(), client::Column::PersonId);
    let found = bulk::find_columns(db, query, WITH_PERSON, key, persons);
    let mut found: Vec<(Uuid, Uuid)> = found.await?;
    found.sort_unstable();
    Ok(found)
}

/// The columns of an individual client and its person.
const WITH_PERSON: [client::Column; 2] = [client::Column::Id, client::Column::PersonId];

/// The clients with one of these numbers, each with the name of the field.
pub(crate) async fn with_equal_identifier(
    db: TenantDb<'_, impl ConnectionTrait>,
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
            let is_equal = sea_orm::ColumnTrait::eq(&column, number.as_str());
            let mut equal = db.select::<client::Entity>().filter(is_equal);
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
    db: TenantDb<'_, impl ConnectionTrait>,
    client: Client,
    image: &pb::Client,
) -> Result<(), RecordError> {
    use sea_orm::{ActiveModelTrait as _, IntoActiveModel as _};
    let row = to_row(db.practice(), client, image.encode_to_vec())?;
    let row = row.into_active_model().reset_all();
    row.update_without_returning(db.connection()).await.map_err(unique_keys::classify)?;
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
    db: TenantDb<'_, impl ConnectionTrait>,
    which: &PageOf,
    limit: u64,
) -> Result<Vec<(Uuid, Vec<u8>)>, RecordError> {
    let mut query = db.select::<client::Entity>();
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
        .all(db.connection())
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

async fn read_locked(
    db: TenantDb<'_, impl ConnectionTrait>,
    column: client::Column,
    keys: &[impl Key],
) -> Result<Vec<Client>, RecordError> {
    let query = locked_in_order::<client::Entity>(db, client::Column::Id);
    let mut rows = bulk::find(db, query, column, keys).await?;
    rows.sort_unstable_by_key(|row| row.id);
    rows.into_iter().map(from_row).collect()
}

async fn ids(
    query: sea_orm::Select<client::Entity>,
    db: TenantDb<'_, impl ConnectionTrait>,
    limit: u64,
) -> Result<Vec<Uuid>, RecordError> {
    // Sorted here: with an ORDER BY, SQLite would scan all clients in that order instead
    // of using the index of the filter.
    let query = query.select_only().column(client::Column::Id).limit(limit);
    let mut ids: Vec<Uuid> = query.into_tuple().all(db.connection()).await?;
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
