//! Lookups by lists of keys.

use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, IntoSimpleExpr as _, QueryOrder as _,
    QuerySelect as _, Select, Value,
    sea_query::{Expr, postgres_array::NotU8},
};

use concord_db::pad_to_power_of_two;

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
