//! Lists of keys that rows are looked up by.

use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, IntoSimpleExpr as _, QueryOrder as _,
    QuerySelect as _, Select, Value,
    sea_query::{Expr, postgres_array::NotU8},
};

use shared::db::pad;

/// Keys of one statement: padded, and with its other parameters, well below the
/// limit of SQLite.
pub(super) const KEYS_OF_STATEMENT: usize = 16_384;

/// A list of keys in sorted pieces without repetition, each short enough for
/// one statement. Sorted, so that rows are locked in one order everywhere.
pub(super) fn pieces<T: Ord + Clone>(keys: &[T]) -> Vec<Vec<T>> {
    let mut sorted = keys.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    sorted.chunks(KEYS_OF_STATEMENT).map(<[T]>::to_vec).collect()
}

/// Whether the value of a column is among `keys`: as [`Parameters::among`], in the
/// queries of SeaORM.
///
/// [`Parameters::among`]: shared::db::Parameters::among
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
    pad(&mut keys);
    column.is_in(keys)
}

/// A query whose rows are locked in the order of `column`: on PostgreSQL, so that two
/// writers never wait for each other. SQLite has no such locks, and asked for an order
/// it would rather walk all rows of the practice in it than use the index that the
/// filter is for.
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

/// A column for the filter and the order of a query whose rows another index leaves
/// few of. SQLite is kept from walking all rows of the practice instead: the sign, which
/// changes nothing, hides the column from its indexes.
pub(super) fn without_index(db: &impl ConnectionTrait, column: impl ColumnTrait) -> Expr {
    let column = column.into_simple_expr();
    match db.get_database_backend() {
        DbBackend::Sqlite => Expr::cust_with_exprs("+$1", [column]),
        _ => column,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_sorted_and_repeat_nothing() {
        assert_eq!(pieces(&[3, 1, 3, 2]), [[1, 2, 3]]);
        assert_eq!(pieces::<i32>(&[]), Vec::<Vec<i32>>::new());
        let lengths: Vec<usize> =
            pieces(&(0..40_000).collect::<Vec<_>>()).iter().map(Vec::len).collect();
        assert_eq!(lengths, [16_384, 16_384, 7_232]);
    }
}
