//! The handle of store functions: a connection or transaction that is restricted to one
//! import, and filters its queries by it.

use concord_db::{Binds, Column, Database, TenantDb, WriteTx, chunk_rows};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr,
    QueryFilter as _, QueryResult, Select, UpdateMany, Value,
};

use super::entities::{batch, import};
use crate::domain::import::{ImportKey, RowId};

/// Maximum number of rows per statement on SQLite.
const MAX_ROWS: usize = 1_024;

/// A connection that is restricted to one import of a practice. Store functions take it
/// instead of a connection and a key. Queries of entities are filtered by the import; SQL
/// texts filter by [`ImportBinds::scope`].
#[derive(Debug)]
pub(crate) struct ImportDb<'a, C> {
    connection: &'a C,
    key: &'a ImportKey,
}

impl<C> Clone for ImportDb<'_, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for ImportDb<'_, C> {}

impl<'a> ImportDb<'a, DatabaseConnection> {
    /// The connections for reads of one import; as [`Database::reader_of`].
    pub(crate) fn reader_of(db: &'a Database, key: &'a ImportKey) -> Self {
        Self::new(db.reader(), key)
    }
}

impl<'a> ImportDb<'a, DatabaseTransaction> {
    /// The transaction, for the rows of one import; as [`WriteTx::of`].
    pub(crate) fn of(tx: &'a WriteTx, key: &'a ImportKey) -> Self {
        Self::new(tx, key)
    }
}

impl<'a, C: ConnectionTrait> ImportDb<'a, C> {
    /// Restricts a connection to one import.
    pub(super) fn new(connection: &'a C, key: &'a ImportKey) -> Self {
        Self { connection, key }
    }

    /// The connection, which executes the queries of this type.
    pub(super) fn connection(self) -> &'a C {
        self.connection
    }

    /// The key of the import.
    pub(crate) fn key(self) -> &'a ImportKey {
        self.key
    }

    /// The database engine.
    pub(super) fn engine(self) -> DbBackend {
        self.connection.get_database_backend()
    }

    /// Selects the import.
    pub(super) fn select_import(self) -> Select<import::Entity> {
        self.tenant().select::<import::Entity>().filter(import::Column::Id.eq(self.key.id))
    }

    /// Updates the import.
    pub(super) fn update_import(self) -> UpdateMany<import::Entity> {
        self.tenant().update::<import::Entity>().filter(import::Column::Id.eq(self.key.id))
    }

    /// Selects batches of the import.
    pub(super) fn select_batches(self) -> Select<batch::Entity> {
        self.tenant().select::<batch::Entity>().filter(batch::Column::ImportId.eq(self.key.id))
    }

    fn tenant(self) -> TenantDb<'a, C> {
        TenantDb::new(self.connection, &self.key.practice)
    }

    /// Runs a query.
    pub(super) async fn query(
        self,
        text: impl FnOnce(&mut ImportBinds<'_>) -> String,
    ) -> Result<Vec<QueryResult>, DbErr> {
        concord_db::query(self.connection, |binds| text(&mut ImportBinds { binds, key: self.key }))
            .await
    }

    /// Runs a statement; returns the number of changed rows.
    pub(super) async fn execute(
        self,
        text: impl FnOnce(&mut ImportBinds<'_>) -> String,
    ) -> Result<u64, DbErr> {
        concord_db::execute(self.connection, |binds| {
            text(&mut ImportBinds { binds, key: self.key })
        })
        .await
    }

    /// Runs a query that reads a list of rows as the table `v`.
    pub(super) async fn query_list(
        self,
        columns: &[&str],
        rows: Vec<Vec<Value>>,
        text: impl Fn(&mut ImportBinds<'_>) -> String,
    ) -> Result<Vec<QueryResult>, DbErr> {
        let mut found = Vec::new();
        for chunk in chunks(self.engine(), rows, columns.len()) {
            found.extend(self.query(|sql| sql.with_list(columns, chunk, &text)).await?);
        }
        Ok(found)
    }

    /// Runs a statement that reads a list of rows as the table `v`.
    pub(super) async fn execute_list(
        self,
        columns: &[&str],
        rows: Vec<Vec<Value>>,
        text: impl Fn(&mut ImportBinds<'_>) -> String,
    ) -> Result<(), DbErr> {
        for chunk in chunks(self.engine(), rows, columns.len()) {
            self.execute(|sql| sql.with_list(columns, chunk, &text)).await?;
        }
        Ok(())
    }

    /// Inserts rows into a table of the import.
    pub(super) async fn insert(
        self,
        table: &str,
        columns: &[&str],
        rows: Vec<Vec<Value>>,
    ) -> Result<(), DbErr> {
        self.execute_list(columns, rows, |sql| sql.insert_list(table, columns)).await
    }

    /// Inserts rows into a table of the import. `on_conflict` says what happens with a row
    /// whose key exists: the rest of the statement from `ON CONFLICT` on.
    pub(super) async fn upsert(
        self,
        table: &str,
        columns: &[&str],
        rows: Vec<Vec<Value>>,
        on_conflict: &str,
    ) -> Result<(), DbErr> {
        // SQLite needs WHERE, or it would read ON as that of a join.
        let text = |sql: &mut ImportBinds<'_>| {
            format!("{} WHERE true {on_conflict}", sql.insert_list(table, columns))
        };
        self.execute_list(columns, rows, text).await
    }

    /// Removes the rows of some records from a table of the import.
    pub(super) async fn remove_by_row_ids(
        self,
        table: &str,
        rows: impl Iterator<Item = RowId>,
    ) -> Result<(), DbErr> {
        let (engine, keys) = (self.engine(), ["batch", "row_no"]);
        let next = last_key_column(table);
        let text = |sql: &mut ImportBinds<'_>| match engine {
            DbBackend::Postgres => format!(
                "DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT r.ctid FROM {}))",
                sql.joined(table, &keys, next)
            ),
            _ => format!(
                "DELETE FROM {table} WHERE {} AND (batch, row_no) IN (SELECT batch, row_no FROM v)",
                sql.scope()
            ),
        };
        self.execute_list(&keys, rows.map(row_id).collect(), text).await
    }
}

/// The bind parameters of a statement of one import.
#[derive(Debug)]
pub(super) struct ImportBinds<'a> {
    binds: &'a mut Binds,
    key: &'a ImportKey,
}

impl std::ops::Deref for ImportBinds<'_> {
    type Target = Binds;

    fn deref(&self) -> &Binds {
        self.binds
    }
}

impl std::ops::DerefMut for ImportBinds<'_> {
    fn deref_mut(&mut self) -> &mut Binds {
        self.binds
    }
}

impl ImportBinds<'_> {
    /// Binds the practice, and returns its placeholder.
    pub(super) fn practice(&mut self) -> String {
        self.binds.bind_shared("practice", self.key.practice.as_str())
    }

    /// Binds the id of the import, and returns its placeholder.
    pub(super) fn import(&mut self) -> String {
        self.binds.bind_shared("import", self.key.id)
    }

    /// The condition for rows of the import, in a table of its content.
    pub(super) fn scope(&mut self) -> String {
        format!("practice_id = {} AND import_id = {}", self.practice(), self.import())
    }

    /// [`scope`](Self::scope), of the table with this alias.
    pub(super) fn scope_of(&mut self, alias: &str) -> String {
        let (practice, import) = (self.practice(), self.import());
        format!("{alias}.practice_id = {practice} AND {alias}.import_id = {import}")
    }

    /// The condition for the row of the import in the table `import`.
    pub(super) fn is_import(&mut self) -> String {
        format!("practice_id = {} AND id = {}", self.practice(), self.import())
    }

    /// The tuple of the position `at`, to compare with `(batch, row_no)`.
    pub(super) fn row_id(&mut self, at: RowId) -> String {
        format!("({}, {})", self.bind(at.batch), self.bind(at.row))
    }

    /// A join of the list `v` with the rows `r` of a table that have the same `keys`, as
    /// one index lookup per row of the list. `next` is the column after the keys in the
    /// index to use. A plain join would leave the order to the planner, which may scan all
    /// rows of the import in the table, once per row of the list.
    pub(super) fn joined(&mut self, table: &str, keys: &[&str], next: &str) -> String {
        let engine = self.binds.engine();
        let mut same = |alias: &str| {
            let same = keys.iter().map(|key| format!("{alias}.{key} = v.{key}"));
            let same = same.collect::<Vec<_>>().join(" AND ");
            format!("{} AND {same}", self.scope_of(alias))
        };
        match engine {
            // OFFSET prevents the planner from flattening the subquery into a plain join.
            // Without statistics all indexes look equal to the planner; ORDER BY excludes
            // those without this order.
            DbBackend::Postgres => format!(
                "v CROSS JOIN LATERAL
                 (SELECT t.*, t.ctid FROM {table} t WHERE {} ORDER BY t.{next} OFFSET 0) AS r",
                same("t")
            ),
            // SQLite does not reorder a CROSS JOIN.
            _ => format!("v CROSS JOIN {table} AS r ON {}", same("r")),
        }
    }

    fn insert_list(&mut self, table: &str, columns: &[&str]) -> String {
        let (practice, import, names) = (self.practice(), self.import(), columns.join(", "));
        format!(
            "INSERT INTO {table} (practice_id, import_id, {names})
             SELECT {practice}, {import}, {names} FROM v"
        )
    }

    /// A statement with a list of rows as the table `v`.
    fn with_list(
        &mut self,
        columns: &[&str],
        rows: Vec<Vec<Value>>,
        text: impl Fn(&mut Self) -> String,
    ) -> String {
        let of_list: Vec<Column<'_>> = columns.iter().map(|name| Column::of(name)).collect();
        let list = self.list(&of_list, rows);
        format!("WITH v({}) AS ({list}) {}", columns.join(", "), text(self))
    }
}

/// The last column of the primary key of a table with several rows for each record. The
/// columns before it are the import and the row id (`batch, row_no`).
fn last_key_column(table: &str) -> &'static str {
    match table {
        "import_duplicate" => "field",
        // `import_failure` and `import_parent`.
        _ => "ordinal",
    }
}

/// The values of a row of the list `v(batch, row_no)`.
pub(super) fn row_id(at: RowId) -> Vec<Value> {
    vec![at.batch.into(), at.row.into()]
}

/// Splits the rows of a list into those of one statement each.
fn chunks(
    engine: DbBackend,
    rows: Vec<Vec<Value>>,
    columns: usize,
) -> impl Iterator<Item = Vec<Vec<Value>>> {
    concord_db::chunks(engine, rows, chunk_rows(columns).min(MAX_ROWS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_split_into_few_lengths() {
        let rows = |n: i64| (0..n).map(|n| vec![Value::from(n)]).collect::<Vec<_>>();
        let lengths = |n, columns| -> Vec<usize> {
            chunks(DbBackend::Sqlite, rows(n), columns).map(|chunk| chunk.len()).collect()
        };
        assert_eq!(lengths(2_600, 1), [1_024, 1_024, 512, 32, 8]);
        assert_eq!(lengths(0, 1), [0; 0]);
        // 100 columns: 300 rows would fit.
        assert_eq!(lengths(310, 100), [256, 32, 16, 4, 2]);
        assert_eq!(chunks(DbBackend::Postgres, rows(2_600), 1).count(), 1);
    }

    #[test]
    fn statement_binds_follow_list_binds() {
        let statement = |engine| {
            let key = ImportKey { practice: "p1".parse().unwrap(), id: uuid::Uuid::nil() };
            let rows = vec![vec![1_i64.into(), 2_i64.into()], vec![3_i64.into(), 4_i64.into()]];
            concord_db::statement(engine, |binds| {
                let text = |sql: &mut ImportBinds<'_>| {
                    let (scope, other) = (sql.scope(), sql.bind(7_i64));
                    format!("SELECT a FROM v WHERE {scope} AND b = {other} AND {}", sql.scope())
                };
                ImportBinds { binds, key: &key }.with_list(&["a", "b"], rows, text)
            })
        };
        let on_postgres = statement(DbBackend::Postgres);
        assert_eq!(
            on_postgres.sql,
            "WITH v(a, b) AS (SELECT a, b FROM UNNEST($1::bigint[], $2::bigint[]) AS list(a, b)) \
             SELECT a FROM v WHERE practice_id = $3 AND import_id = $4 AND b = $5 \
             AND practice_id = $3 AND import_id = $4"
        );
        assert_eq!(on_postgres.values.unwrap().0.len(), 5);
        let on_sqlite = statement(DbBackend::Sqlite);
        assert_eq!(
            on_sqlite.sql,
            "WITH v(a, b) AS (VALUES (?, ?), (?, ?)) SELECT a FROM v WHERE practice_id = ? \
             AND import_id = ? AND b = ? AND practice_id = ? AND import_id = ?"
        );
        assert_eq!(on_sqlite.values.unwrap().0.len(), 9);
    }
}
