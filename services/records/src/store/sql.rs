//! What the queries of the tables share: lists of keys, values that are stored as text, and
//! the unique keys.

use concord_db::{UniqueKey, pad_to_power_of_two, violates};
use concord_proto::pb::records::{ChangeKind, EchoMode, RecordKind, RecordState};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, IntoSimpleExpr as _,
    QueryOrder as _, QuerySelect as _, Select, Value,
    sea_query::{Expr, postgres_array::NotU8},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::error::{RecordError, UniqueViolation};

/// Maximum number of keys in one statement. Padded, and with its other parameters, it is
/// well below the limit of SQLite.
pub(super) const KEYS_OF_STATEMENT: usize = 16_384;

/// Sorts and deduplicates keys, and splits them into chunks that fit one statement. Sorted,
/// so that all transactions lock rows in the same order.
pub(super) fn sorted_chunks<T: Ord + Clone>(keys: &[T]) -> Vec<Vec<T>> {
    let mut sorted = keys.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    sorted.chunks(KEYS_OF_STATEMENT).map(<[T]>::to_vec).collect()
}

/// The condition that a column is one of `keys`: as [`Binds::among`], for the
/// queries of SeaORM.
///
/// [`Binds::among`]: concord_db::Binds::among
pub(super) fn among<T>(
    db: &impl ConnectionTrait,
    column: impl ColumnTrait,
    mut keys: Vec<T>,
) -> Expr
where
    T: Clone + Into<Value> + NotU8,
{
    if db.get_database_backend() == DbBackend::Postgres {
        return column.eq_any(keys);
    }
    pad_to_power_of_two(&mut keys);
    column.is_in(keys)
}

/// Locks the rows of a query in the order of `column` on PostgreSQL, so that two writers
/// cannot deadlock. SQLite has no row locks; with an ORDER BY it would scan all rows of the
/// practice in that order instead of using the index of the filter.
pub(super) fn locked_in_order<E: EntityTrait>(
    db: &impl ConnectionTrait,
    query: Select<E>,
    column: E::Column,
) -> Select<E> {
    match db.get_database_backend() {
        DbBackend::Postgres => query.order_by_asc(column).lock_exclusive(),
        _ => query,
    }
}

/// A column that filters and orders a query without its index, because another index is
/// selective. On SQLite the unary plus disables the index; otherwise SQLite would scan all
/// rows of the practice.
pub(super) fn without_index(db: &impl ConnectionTrait, column: impl ColumnTrait) -> Expr {
    let column = column.into_simple_expr();
    match db.get_database_backend() {
        DbBackend::Sqlite => Expr::cust_with_exprs("+$1", [column]),
        _ => column,
    }
}

/// An enum of the contract that is stored by its name, without the prefix.
pub(super) trait Stored: Sized {
    const PREFIX: &'static str;
    fn full_name(&self) -> &'static str;
    fn from_full_name(name: &str) -> Option<Self>;

    fn stored(&self) -> String {
        self.full_name().trim_start_matches(Self::PREFIX).to_owned()
    }

    fn read(text: &str) -> Result<Self, RecordError> {
        Self::from_full_name(&format!("{}{text}", Self::PREFIX))
            .ok_or(RecordError::Corrupt("an enum's name"))
    }
}

macro_rules! stored {
    ($name:ty, $prefix:literal) => {
        impl Stored for $name {
            const PREFIX: &'static str = $prefix;

            fn full_name(&self) -> &'static str {
                self.as_str_name()
            }

            fn from_full_name(name: &str) -> Option<Self> {
                Self::from_str_name(name)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_chunks_are_sorted_and_deduplicated() {
        assert_eq!(sorted_chunks(&[3, 1, 3, 2]), [[1, 2, 3]]);
        assert_eq!(sorted_chunks::<i32>(&[]), Vec::<Vec<i32>>::new());
        let lengths: Vec<usize> =
            sorted_chunks(&(0..40_000).collect::<Vec<_>>()).iter().map(Vec::len).collect();
        assert_eq!(lengths, [16_384, 16_384, 7_232]);
    }
}
