//! Statements for many rows: inserts, and reads, updates and deletes by lists of keys.

use concord_core::caller::PracticeId;
use concord_db::{StatementBatch, TenantDb};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbBackend, DeleteMany, EntityTrait,
    IntoActiveModel, QueryFilter, QuerySelect as _, Select, TryGetableMany, UpdateMany, Value,
    sea_query::postgres_array::NotU8,
};

use super::conditions::among;
use crate::error::RecordError;

/// Maximum number of keys in one statement. Padded, and with its other parameters, it is
/// well below the limit of SQLite.
pub(super) const KEYS_OF_STATEMENT: usize = 16_384;

/// A key of a list: a value of a column.
pub(super) trait Key: Ord + Clone + Into<Value> + NotU8 {}

impl<T: Ord + Clone + Into<Value> + NotU8> Key for T {}

/// Adds an INSERT of `items`, which `to_row` converts to the rows of a table.
pub(super) fn insert<T, M: IntoActiveModel<A>, A: ActiveModelTrait>(
    batch: &mut StatementBatch,
    items: impl IntoIterator<Item = T>,
    to_row: impl Fn(&PracticeId, T) -> Result<M, RecordError>,
) -> Result<(), RecordError> {
    let practice = batch.practice();
    let rows = items.into_iter().map(|item| to_row(practice, item).map(M::into_active_model));
    let rows: Vec<A> = rows.collect::<Result<_, _>>()?;
    batch.insert(rows);
    Ok(())
}

/// The rows of `query` in which `column` is one of `keys`.
pub(super) async fn find<E: EntityTrait>(
    db: TenantDb<'_, impl ConnectionTrait>,
    query: Select<E>,
    column: E::Column,
    keys: &[impl Key],
) -> Result<Vec<E::Model>, RecordError> {
    let mut rows = Vec::new();
    for query in by_chunk(db.engine(), query, column, keys) {
        rows.extend(query.all(db.connection()).await?);
    }
    Ok(rows)
}

/// As [`find`], but selects only `columns`.
pub(super) async fn find_columns<E: EntityTrait, T: TryGetableMany>(
    db: TenantDb<'_, impl ConnectionTrait>,
    query: Select<E>,
    columns: impl IntoIterator<Item = E::Column>,
    column: E::Column,
    keys: &[impl Key],
) -> Result<Vec<T>, RecordError> {
    let query = query.select_only().columns(columns);
    let mut rows = Vec::new();
    for query in by_chunk(db.engine(), query, column, keys) {
        rows.extend(query.into_tuple::<T>().all(db.connection()).await?);
    }
    Ok(rows)
}

/// Executes `update` for the rows in which `column` is one of `keys`.
pub(super) async fn update<E: EntityTrait>(
    db: TenantDb<'_, impl ConnectionTrait>,
    update: UpdateMany<E>,
    column: E::Column,
    keys: &[impl Key],
) -> Result<(), RecordError> {
    for update in by_chunk(db.engine(), update, column, keys) {
        update.exec(db.connection()).await?;
    }
    Ok(())
}

/// Executes `delete` for the rows in which `column` is one of `keys`. Returns their number.
pub(super) async fn delete<E: EntityTrait>(
    db: TenantDb<'_, impl ConnectionTrait>,
    delete: DeleteMany<E>,
    column: E::Column,
    keys: &[impl Key],
) -> Result<u64, RecordError> {
    let mut deleted = 0;
    for delete in by_chunk(db.engine(), delete, column, keys) {
        deleted += delete.exec(db.connection()).await?.rows_affected;
    }
    Ok(deleted)
}

/// A statement for each chunk of keys: `statement` for the rows in which `column` is one of
/// them.
fn by_chunk<Q: QueryFilter + Clone>(
    engine: DbBackend,
    statement: Q,
    column: impl ColumnTrait,
    keys: &[impl Key],
) -> Vec<Q> {
    let of_chunk = move |keys| statement.clone().filter(among(engine, column, keys));
    sorted_chunks(keys).into_iter().map(of_chunk).collect()
}

/// Sorts and deduplicates keys, and splits them into chunks that fit one statement. Sorted,
/// so that all transactions lock rows in the same order.
pub(super) fn sorted_chunks<T: Ord + Clone>(keys: &[T]) -> Vec<Vec<T>> {
    let mut sorted = keys.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    sorted.chunks(KEYS_OF_STATEMENT).map(<[T]>::to_vec).collect()
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
