//! The table of contacts.

use chrono::NaiveDate;
use concord_core::{caller::PracticeId, rules::terms::Term as _};
use concord_db::{StatementBatch, TenantDb};
use concord_proto::pb::records::{RecordState, Role};
use sea_orm::{
    ConnectionTrait, ExprTrait as _, Order, QueryFilter as _, QueryOrder as _, QuerySelect as _,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    bulk,
    conditions::without_index,
    entities::contact,
    stored::{Stored as _, from_json, to_json},
};
use crate::{
    domain::record::{Contact, HeldRole, RecordMeta},
    error::RecordError,
};

/// The stored form of a role. The names are short: every contact has one.
#[derive(Serialize, Deserialize)]
struct RoleRow {
    /// The number of the role in its contact, from 1.
    n: i32,
    role: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<NaiveDate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<NaiveDate>,
}

/// Inserts new contacts with their images.
pub(crate) fn insert(
    batch: &mut StatementBatch,
    contacts: Vec<(Contact, Vec<u8>)>,
) -> Result<(), RecordError> {
    bulk::insert(batch, contacts, |practice, (contact, image)| to_row(practice, &contact, image))
}

/// The contacts of these clients.
pub(crate) async fn of_clients(
    db: TenantDb<'_, impl ConnectionTrait>,
    clients: &[Uuid],
) -> Result<Vec<Contact>, RecordError> {
    read_in_order(db, contact::Column::ClientId, clients).await
}

/// Reads contacts in the order of their ids. Sorted here: see [`locked_in_order`].
///
/// [`locked_in_order`]: super::conditions::locked_in_order
async fn read_in_order(
    db: TenantDb<'_, impl ConnectionTrait>,
    column: contact::Column,
    keys: &[Uuid],
) -> Result<Vec<Contact>, RecordError> {
    let mut rows = bulk::find(db, db.select::<contact::Entity>(), column, keys).await?;
    rows.sort_unstable_by_key(|row| row.id);
    rows.iter().map(from_row).collect()
}

/// The contacts of these persons.
pub(crate) async fn of_persons(
    db: TenantDb<'_, impl ConnectionTrait>,
    persons: &[Uuid],
) -> Result<Vec<Contact>, RecordError> {
    read_in_order(db, contact::Column::PersonId, persons).await
}

/// The contact with this id.
pub(crate) async fn by_id(
    db: TenantDb<'_, impl ConnectionTrait>,
    id: Uuid,
) -> Result<Option<Contact>, RecordError> {
    let query = db.select::<contact::Entity>().filter(contact::COLUMN.id.eq(id));
    let row = query.one(db.connection()).await?;
    row.as_ref().map(from_row).transpose()
}

/// Updates the row of a contact. The caller holds the lock of its client.
pub(crate) async fn update(
    db: TenantDb<'_, impl ConnectionTrait>,
    contact: &Contact,
    image: Vec<u8>,
) -> Result<(), RecordError> {
    use sea_orm::{ActiveModelTrait as _, IntoActiveModel as _};
    let row = to_row(db.practice(), contact, image)?.into_active_model().reset_all();
    row.update_without_returning(db.connection()).await?;
    Ok(())
}

/// The owner of a page of contacts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PageOf {
    Client(Uuid),
    Person(Uuid),
}

/// A page of ids, persons and images in the order of creation (keyset pagination).
pub(crate) async fn page(
    db: TenantDb<'_, impl ConnectionTrait>,
    of_what: PageOf,
    after: Option<Uuid>,
    limit: u64,
) -> Result<Vec<(Uuid, Uuid, Vec<u8>)>, RecordError> {
    let is_owner = match of_what {
        PageOf::Client(id) => contact::COLUMN.client_id.eq(id),
        PageOf::Person(id) => contact::COLUMN.person_id.eq(id),
    };
    let mut query = db.select::<contact::Entity>().filter(is_owner);
    if let Some(after) = after {
        query = query.filter(without_index(db.engine(), contact::Column::Id).gt(after));
    }
    let columns = [contact::Column::Id, contact::Column::PersonId, contact::Column::Image];
    let in_order = without_index(db.engine(), contact::Column::Id);
    let query = query.order_by(in_order, Order::Asc).limit(limit);
    Ok(query.select_only().columns(columns).into_tuple().all(db.connection()).await?)
}

fn to_row(
    practice: &PracticeId,
    contact: &Contact,
    image: Vec<u8>,
) -> Result<contact::Model, RecordError> {
    let Contact { id, client_id, person_id, roles, is_primary, meta } = contact;
    let role = |held: &HeldRole| RoleRow {
        n: held.number,
        role: held.role.name().to_owned(),
        from: held.appointed_on,
        to: held.resigned_on,
    };
    let RecordMeta { state, version, created_at, updated_at, purge_at: _ } = *meta;
    Ok(contact::Model {
        practice_id: practice.to_string(),
        id: *id,
        client_id: *client_id,
        person_id: *person_id,
        roles: to_json(&roles.iter().map(role).collect::<Vec<_>>())?,
        is_primary: *is_primary,
        state: state.stored(),
        version,
        created_at,
        updated_at,
        image,
    })
}

fn from_row(row: &contact::Model) -> Result<Contact, RecordError> {
    let roles: Vec<RoleRow> = from_json(&row.roles)?;
    let role = |role: RoleRow| {
        let term = Role::parse(&role.role).ok().flatten();
        let term = term.ok_or(RecordError::Corrupt("a role's name"))?;
        Ok(HeldRole { number: role.n, role: term, appointed_on: role.from, resigned_on: role.to })
    };
    Ok(Contact {
        id: row.id,
        client_id: row.client_id,
        person_id: row.person_id,
        roles: roles.into_iter().map(role).collect::<Result<_, RecordError>>()?,
        is_primary: row.is_primary,
        meta: RecordMeta {
            state: RecordState::read(&row.state)?,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
            purge_at: None,
        },
    })
}
