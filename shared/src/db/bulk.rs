//! Inserting many rows, below the limits on parameters of a statement.

use sea_orm::{
    ActiveModelTrait, ConnectionTrait, DbErr, EntityTrait, Iterable as _, sea_query::OnConflict,
};

/// Parameters of one statement. SQLite takes 32,766 and PostgreSQL 65,535.
const MAX_PARAMETERS: usize = 30_000;

/// How many rows of `columns` columns fit one statement.
pub const fn chunk_rows(columns: usize) -> usize {
    match MAX_PARAMETERS.checked_div(columns) {
        Some(rows) => rows,
        None => MAX_PARAMETERS,
    }
}

/// Inserts all `rows`, in as few statements as the limits allow.
pub async fn insert_all<A>(connection: &impl ConnectionTrait, rows: Vec<A>) -> Result<(), DbErr>
where
    A: ActiveModelTrait,
{
    insert(connection, rows, None).await
}

async fn insert<A>(
    connection: &impl ConnectionTrait,
    rows: Vec<A>,
    on_conflict: Option<OnConflict>,
) -> Result<(), DbErr>
where
    A: ActiveModelTrait,
{
    let columns = <A::Entity as EntityTrait>::Column::iter().count();
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        let chunk: Vec<A> = rows.by_ref().take(chunk_rows(columns)).collect();
        let mut insert = A::Entity::insert_many(chunk);
        if let Some(on_conflict) = &on_conflict {
            insert = insert.on_conflict(on_conflict.clone());
        }
        insert.exec_without_returning(connection).await?;
    }
    Ok(())
}
