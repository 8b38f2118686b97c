//! Parts of SeaORM queries that differ between the database engines: lists of keys, locks,
//! and columns without their index.

use concord_db::{TenantDb, TenantTable, pad_to_power_of_two};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, IntoSimpleExpr as _, QueryOrder as _,
    QuerySelect as _, Select, sea_query::Expr,
};

use super::bulk::Key;

/// The condition that a column is one of `keys`: as [`Binds::among`], for the queries of
/// SeaORM.
///
/// [`Binds::among`]: concord_db::Binds::among
pub(super) fn among<K: Key>(engine: DbBackend, column: impl ColumnTrait, mut keys: Vec<K>) -> Expr {
    if engine == DbBackend::Postgres {
        return column.eq_any(keys);
    }
    pad_to_power_of_two(&mut keys);
    column.is_in(keys)
}

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
