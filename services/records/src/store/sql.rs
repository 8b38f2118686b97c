//! What the queries of the tables share: locks, values that are stored as text, and the
//! unique keys.

use concord_db::{TenantDb, TenantTable, UniqueKey, violates};
use concord_proto::pb::records::{ChangeKind, EchoMode, RecordKind, RecordState};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, DbErr, IntoSimpleExpr as _, QueryOrder as _,
    QuerySelect as _, Select, sea_query::Expr,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::error::{RecordError, UniqueViolation};

/// Selects rows, and on PostgreSQL locks them in the order of `column`, so that two writers
/// cannot deadlock. SQLite has no row locks; with an ORDER BY it would scan all rows of the
/// practice in that order instead of using the index of the filter.
pub(super) fn locked_in_order<E: TenantTable>(
    db: TenantDb<'_, impl ConnectionTrait>,
    column: E::Column,
) -> Select<E> {
    let rows = db.select::<E>();
    match db.engine() {
        DbBackend::Postgres => rows.order_by_asc(column).lock_exclusive(),
        _ => rows,
    }
}

/// A column that filters and orders a query without its index, because another index is
/// selective. On SQLite the unary plus disables the index; otherwise SQLite would scan all
/// rows of the practice.
pub(super) fn without_index(engine: DbBackend, column: impl ColumnTrait) -> Expr {
    let column = column.into_simple_expr();
    match engine {
        DbBackend::Sqlite => Expr::cust_with_exprs("+$1", [column]),
        _ => column,
    }
}

/// An enum of the contract that is stored by its name, without the prefix.
pub(super) trait Stored: Sized {
    fn stored(&self) -> String;
    fn read(text: &str) -> Result<Self, RecordError>;
}

macro_rules! stored {
    ($name:ty, $prefix:literal) => {
        impl Stored for $name {
            fn stored(&self) -> String {
                self.as_str_name().trim_start_matches($prefix).to_owned()
            }

            fn read(text: &str) -> Result<Self, RecordError> {
                let name = [$prefix, text].concat();
                Self::from_str_name(&name).ok_or(RecordError::Corrupt("an enum's name"))
            }
        }
    };
}

stored!(ChangeKind, "CHANGE_KIND_");
stored!(EchoMode, "ECHO_MODE_");
stored!(RecordKind, "RECORD_KIND_");
stored!(RecordState, "RECORD_STATE_");

pub(super) fn to_json(value: &impl Serialize) -> Result<String, RecordError> {
    serde_json::to_string(value).map_err(|_| RecordError::Corrupt("a value that JSON cannot hold"))
}

pub(super) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, RecordError> {
    serde_json::from_str(text).map_err(|_| RecordError::Corrupt("JSON"))
}

/// A reference names one client of a practice.
const REFERENCE: UniqueKey =
    UniqueKey { name: "client_reference", columns: "client.practice_id, client.reference_key" };

/// A person is a contact of a client once.
const CONTACT: UniqueKey = UniqueKey {
    name: "contact_place",
    columns: "contact.practice_id, contact.client_id, contact.person_id",
};

/// An external id names one record of an account of a product.
const EXTERNAL_ID: UniqueKey = UniqueKey {
    name: "link_pkey",
    columns: "link.practice_id, link.product, link.account, link.kind, link.external_id",
};

/// A record has one external id in an account of a product.
const LINK: UniqueKey = UniqueKey {
    name: "link_record",
    columns: "link.practice_id, link.record_id, link.product, link.account",
};

/// A request id is used once by a product.
const REQUEST: UniqueKey = UniqueKey {
    name: "request_pkey",
    columns: "request.practice_id, request.product, request.request_id",
};

/// Classifies an error of the database. A violation of the request key is a write conflict:
/// the same request was sent twice concurrently, and a retry finds the stored response.
pub(super) fn classify(error: DbErr) -> RecordError {
    let keys = [
        (&REFERENCE, UniqueViolation::Reference),
        (&CONTACT, UniqueViolation::Contact),
        (&EXTERNAL_ID, UniqueViolation::ExternalId),
        (&LINK, UniqueViolation::Link),
    ];
    let violated = keys.into_iter().find(|(key, _)| violates(&error, key));
    match violated {
        Some((_, violation)) => RecordError::UniqueViolation(violation),
        None if violates(&error, &REQUEST) => RecordError::WriteConflict,
        None => error.into(),
    }
}
