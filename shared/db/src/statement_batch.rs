//! A batch of write statements of one tenant that need no result.
//!
//! A statement costs a round trip on PostgreSQL and a thread hop on SQLite, usually more
//! than its execution. [`StatementBatch::run`] sends the batch as one statement with CTEs
//! (PostgreSQL) or one multi-statement text (SQLite).

use concord_core::caller::PracticeId;
use sea_orm::{
    ActiveModelTrait, ColumnTrait as _, ConnectionTrait, DbBackend, DbErr, EntityName as _,
    EntityTrait, IdenStatic as _, Iterable as _, Statement, Value,
};

use super::binds::{Binds, Column, chunks, column_names};

/// The maximum number of parameters of a text for SQLite, which allows 32,766.
const SQLITE_PARAMETERS: usize = 4_000;

/// A batch of write statements of one tenant that need no result.
///
/// All statements see the tables as before the batch, and their order is undefined: no two
/// may write the same row. Later statements can read the RETURNING rows of a named one.
#[derive(Debug)]
pub struct StatementBatch {
    engine: DbBackend,
    practice: PracticeId,
    binds: Binds,
    statements: Vec<String>,
    /// On SQLite: texts that have reached the maximum number of parameters.
    complete: Vec<Statement>,
}

impl StatementBatch {
    /// An empty batch, for rows of a tenant.
    pub fn new(engine: DbBackend, practice: &PracticeId) -> Self {
        let (practice, binds) = (practice.clone(), Binds::new(engine));
        Self { engine, practice, binds, statements: Vec::new(), complete: Vec::new() }
    }

    /// The database engine of the batch.
    pub fn engine(&self) -> DbBackend {
        self.engine
    }

    /// The tenant, to whom all rows of the batch belong.
    pub fn practice(&self) -> &PracticeId {
        &self.practice
    }

    /// Adds an INSERT of rows.
    pub fn insert<A: ActiveModelTrait>(&mut self, rows: Vec<A>) {
        let rows = rows.into_iter().map(values_of).collect();
        self.insert_list(A::Entity::default().table_name(), &columns_of::<A>(), rows);
    }

    /// Adds an INSERT of rows, given as values.
    pub fn insert_list(&mut self, table: &str, columns: &[Column<'_>], rows: Vec<Vec<Value>>) {
        let names = column_names(columns);
        for chunk in self.chunks(rows, columns.len()) {
            self.reserve_binds(chunk.len() * columns.len());
            self.add(|binds| {
                let list = binds.list(columns, chunk);
                format!("INSERT INTO {table} ({names}) {list}")
            });
        }
    }

    /// Adds a statement, whose text and parameters `text` creates.
    pub fn add(&mut self, text: impl FnOnce(&mut Binds) -> String) {
        let name = format!("w{}", self.statements.len());
        self.add_named(&name, text);
    }

    /// Adds a statement with a name, by which later statements read its RETURNING rows; on
    /// PostgreSQL only.
    pub fn add_named(&mut self, name: &str, text: impl FnOnce(&mut Binds) -> String) {
        let text = text(&mut self.binds);
        if self.engine == DbBackend::Postgres {
            self.statements.push(format!("{name} AS ({text})"));
            return;
        }
        self.statements.push(text);
    }

    /// On SQLite: starts a new text unless `binds` further parameters fit the current one.
    pub fn reserve_binds(&mut self, binds: usize) {
        let is_full = self.binds.len() + binds > SQLITE_PARAMETERS;
        if is_full && self.engine == DbBackend::Sqlite {
            self.complete_text();
        }
    }

    /// Splits rows into chunks that fit one statement.
    pub fn chunks(
        &self,
        rows: Vec<Vec<Value>>,
        columns: usize,
    ) -> impl Iterator<Item = Vec<Vec<Value>>> + use<> {
        chunks(self.engine, rows, SQLITE_PARAMETERS / columns.max(1))
    }

    /// Executes the batch.
    ///
    /// # Errors
    ///
    /// If a statement fails; the transaction must be rolled back then.
    pub async fn run(mut self, db: &impl ConnectionTrait) -> Result<(), DbErr> {
        self.complete_text();
        for statement in self.complete {
            db.execute_raw(statement).await?;
        }
        Ok(())
    }

    fn complete_text(&mut self) {
        let statements = std::mem::take(&mut self.statements);
        let binds = std::mem::replace(&mut self.binds, Binds::new(self.engine));
        if statements.is_empty() {
            return;
        }
        let sql = match self.engine {
            // PostgreSQL executes data-modifying CTEs to completion, also if they are not read.
            DbBackend::Postgres => format!("WITH {} SELECT 1", statements.join(", ")),
            _ => statements.join("; "),
        };
        let values = binds.into_values();
        self.complete.push(Statement::from_sql_and_values(self.engine, sql, values));
    }
}

/// The columns of an entity.
pub fn columns_of<A: ActiveModelTrait>() -> Vec<Column<'static>> {
    <A::Entity as EntityTrait>::Column::iter()
        .map(|column| Column { name: column.as_str(), nullable: column.def().is_null() })
        .collect()
}

/// The values of a row, in the order of its columns. A value that is not set is null.
pub fn values_of<A: ActiveModelTrait>(mut row: A) -> Vec<Value> {
    let columns = <A::Entity as EntityTrait>::Column::iter();
    columns.map(|column| row.take(column).into_value().unwrap_or(Value::Bool(None))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(n: i64) -> Vec<Value> {
        vec![n.into(), n.into()]
    }

    fn statements(mut batch: StatementBatch) -> Vec<Statement> {
        batch.complete_text();
        batch.complete
    }

    fn new_batch(engine: DbBackend) -> StatementBatch {
        StatementBatch::new(engine, &"p1".parse().unwrap())
    }

    fn insert_and_delete(engine: DbBackend) -> Vec<Statement> {
        let mut batch = new_batch(engine);
        batch.insert_list("one", &[Column::of("a"), Column::of("b")], vec![pair(1), pair(2)]);
        batch.add(|binds| format!("DELETE FROM two WHERE c = {}", binds.bind(3_i64)));
        statements(batch)
    }

    #[test]
    fn postgresql_batch_is_one_statement() {
        let statements = insert_and_delete(DbBackend::Postgres);
        assert_eq!(statements.len(), 1);
        assert_eq!(
            statements[0].sql,
            "WITH w0 AS (INSERT INTO one (a, b) SELECT a, b \
             FROM UNNEST($1::bigint[], $2::bigint[]) AS list(a, b)), \
             w1 AS (DELETE FROM two WHERE c = $3) SELECT 1"
        );
    }

    #[test]
    fn sqlite_batch_is_one_text() {
        let statements = insert_and_delete(DbBackend::Sqlite);
        assert_eq!(statements.len(), 1);
        assert_eq!(
            statements[0].sql,
            "INSERT INTO one (a, b) VALUES (?, ?), (?, ?); DELETE FROM two WHERE c = ?"
        );
        let values = statements[0].values.clone().unwrap().0;
        assert_eq!(values, [1, 1, 2, 2, 3_i64].map(Value::from));
    }

    #[test]
    fn sqlite_rows_are_chunked_by_powers_of_two() {
        let mut batch = new_batch(DbBackend::Sqlite);
        let columns = [Column::of("a"), Column::of("b")];
        batch.insert_list("one", &columns, (0..5_000).map(pair).collect());
        let lengths = |statement: &Statement| statement.values.as_ref().map_or(0, |v| v.0.len());
        let lengths: Vec<usize> = statements(batch).iter().map(lengths).collect();
        // 1,024 rows four times; then 512, 256, 128 and 8 in one text.
        assert_eq!(lengths.iter().sum::<usize>(), 10_000);
        assert!(lengths.iter().all(|length| *length <= SQLITE_PARAMETERS), "{lengths:?}");
    }

    #[test]
    fn empty_batch_has_no_statement() {
        let mut batch = new_batch(DbBackend::Postgres);
        batch.insert_list("one", &[Column::of("a")], Vec::new());
        assert!(statements(batch).is_empty());
    }
}
