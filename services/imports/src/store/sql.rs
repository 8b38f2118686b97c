//! SQL statements with a list of rows.

use concord_db::{Binds, Column};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement, Value};

use crate::domain::import::{ImportKey, RowId};

/// Maximum number of rows per statement on SQLite.
const MAX_ROWS: usize = 1_024;

/// Maximum number of binds per statement on SQLite, whose limit is 32,766.
const MAX_BINDS: usize = 30_000;

/// The binds `$1` and `$2` of every statement: the practice and the import.
pub(super) fn key_binds(key: &ImportKey) -> Vec<Value> {
    vec![key.practice.as_str().into(), key.id.into()]
}

/// [`key_binds()`] and further binds.
pub(super) fn key_binds_with(key: &ImportKey, more: impl IntoIterator<Item = Value>) -> Vec<Value> {
    key_binds(key).into_iter().chain(more).collect()
}

/// Runs a query.
pub(super) async fn query(
    db: &impl ConnectionTrait,
    sql: &str,
    values: Vec<Value>,
) -> Result<Vec<QueryResult>, DbErr> {
    let engine = db.get_database_backend();
    db.query_all_raw(Statement::from_sql_and_values(engine, sql, values)).await
}

/// Runs a statement; returns the number of changed rows.
pub(super) async fn execute(
    db: &impl ConnectionTrait,
    sql: &str,
    values: Vec<Value>,
) -> Result<u64, DbErr> {
    let engine = db.get_database_backend();
    let done = db.execute_raw(Statement::from_sql_and_values(engine, sql, values)).await?;
    Ok(done.rows_affected())
}

/// Runs `statement`, which reads a list of rows as the table `v`.
pub(super) async fn execute_with(
    db: &impl ConnectionTrait,
    binds: &[Value],
    columns: &[&str],
    rows: Vec<Vec<Value>>,
    statement: &str,
) -> Result<(), DbErr> {
    let engine = db.get_database_backend();
    for chunk in chunks(engine, rows, binds.len(), columns.len()) {
        let (sql, values) = with_list(engine, binds, columns, chunk, statement);
        execute(db, &sql, values).await?;
    }
    Ok(())
}

/// Runs the query `statement`, which reads a list of rows as the table `v`.
pub(super) async fn query_with(
    db: &impl ConnectionTrait,
    binds: &[Value],
    columns: &[&str],
    rows: Vec<Vec<Value>>,
    statement: &str,
) -> Result<Vec<QueryResult>, DbErr> {
    let engine = db.get_database_backend();
    let mut found = Vec::new();
    for chunk in chunks(engine, rows, binds.len(), columns.len()) {
        let (sql, values) = with_list(engine, binds, columns, chunk, statement);
        found.extend(query(db, &sql, values).await?);
    }
    Ok(found)
}

/// A join of the list `v` with the rows `r` of a table that have the same `keys`, as
/// one index lookup per row of the list. `next` is the column after the keys in the
/// index to use. A plain join would leave the order to the planner, which may scan all
/// rows of the import in the table, once per row of the list.
pub(super) fn joined(engine: DbBackend, table: &str, keys: &[&str], next: &str) -> String {
    let same = |alias: &str| {
        let same = keys.iter().map(|key| format!("{alias}.{key} = v.{key}"));
        let same = same.collect::<Vec<_>>().join(" AND ");
        format!("{alias}.practice_id = $1 AND {alias}.import_id = $2 AND {same}")
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

/// A row of the list `v(batch, row_no)`.
pub(super) fn row_id(at: RowId) -> Vec<Value> {
    vec![at.batch.into(), at.row.into()]
}

/// Inserts rows into a table.
pub(super) async fn insert(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    table: &str,
    columns: &[&str],
    rows: Vec<Vec<Value>>,
) -> Result<(), DbErr> {
    let names = columns.join(", ");
    let statement = format!(
        "INSERT INTO {table} (practice_id, import_id, {names}) SELECT $1, $2, {names} FROM v"
    );
    execute_with(db, &key_binds(key), columns, rows, &statement).await
}

/// Removes the rows of some records from a table.
pub(super) async fn remove_by_row_ids(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    table: &str,
    rows: impl Iterator<Item = RowId>,
) -> Result<(), DbErr> {
    let (engine, keys) = (db.get_database_backend(), ["batch", "row_no"]);
    let next = if table == "import_duplicate" { "field" } else { "ordinal" };
    let statement = match engine {
        DbBackend::Postgres => format!(
            "DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT r.ctid FROM {}))",
            joined(engine, table, &keys, next)
        ),
        _ => format!(
            "DELETE FROM {table} WHERE practice_id = $1 AND import_id = $2
             AND (batch, row_no) IN (SELECT batch, row_no FROM v)"
        ),
    };
    let rows = rows.map(row_id).collect();
    execute_with(db, &key_binds(key), &["batch", "row_no"], rows, &statement).await
}

/// Text without NUL characters, truncated to a maximum length, which both databases
/// accept.
pub(super) fn storable(text: &str) -> String {
    const MAX_CHARACTERS: usize = 500;
    text.chars().filter(|c| *c != '\0').take(MAX_CHARACTERS).collect()
}

fn chunks(
    engine: DbBackend,
    rows: Vec<Vec<Value>>,
    binds: usize,
    columns: usize,
) -> impl Iterator<Item = Vec<Vec<Value>>> {
    let fitting = (MAX_BINDS - binds) / columns.max(1);
    concord_db::chunks(engine, rows, fitting.min(MAX_ROWS))
}

/// The statement with the list as a CTE, and its binds: those of the list come first,
/// and the `$1` of the statement after them.
fn with_list(
    engine: DbBackend,
    binds: &[Value],
    columns: &[&str],
    rows: Vec<Vec<Value>>,
    statement: &str,
) -> (String, Vec<Value>) {
    let mut list_binds = Binds::new(engine);
    let of_list: Vec<Column<'_>> = columns.iter().map(|name| Column::of(name)).collect();
    let list = list_binds.list(&of_list, rows);
    let (columns, statement) = (columns.join(", "), renumbered(statement, list_binds.len()));
    let sql = format!("WITH v({columns}) AS ({list}) {statement}");
    (sql, list_binds.into_values().into_iter().chain(binds.iter().cloned()).collect())
}

/// The statement with the numbers of its binds increased by `by`.
fn renumbered(statement: &str, by: usize) -> String {
    let mut parts = statement.split('$');
    let mut raised = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, rest) = part.split_at(digits);
        let number = number.parse::<usize>().unwrap_or_default() + by;
        raised = format!("{raised}${number}{rest}");
    }
    raised
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_padded_to_few_lengths() {
        let rows = |n: i64| (0..n).map(|n| vec![Value::from(n)]).collect::<Vec<_>>();
        let lengths = |n, columns| -> Vec<usize> {
            chunks(DbBackend::Sqlite, rows(n), 2, columns).map(|chunk| chunk.len()).collect()
        };
        assert_eq!(lengths(2_600, 1), [1_024, 1_024, 512, 32, 8]);
        assert_eq!(lengths(0, 1), [0; 0]);
        // 100 columns: 299 rows would fit.
        assert_eq!(lengths(300, 100), [256, 32, 8, 4]);
        assert_eq!(chunks(DbBackend::Postgres, rows(2_600), 2, 1).count(), 1);
    }

    #[test]
    fn statement_binds_follow_list_binds() {
        let rows = || vec![vec![1_i64.into(), 2_i64.into()], vec![3_i64.into(), 4_i64.into()]];
        let binds = [7_i64.into(), 8_i64.into()];
        let statement = "SELECT a FROM v WHERE $2 = b AND $1 = c";
        let (sql, values) = with_list(DbBackend::Postgres, &binds, &["a", "b"], rows(), statement);
        let list = "WITH v(a, b) AS (SELECT a, b \
                    FROM UNNEST($1::bigint[], $2::bigint[]) AS list(a, b))";
        assert_eq!(sql, format!("{list} SELECT a FROM v WHERE $4 = b AND $3 = c"));
        assert_eq!(values[2..], binds);
        let (sql, values) = with_list(DbBackend::Sqlite, &binds, &["a", "b"], rows(), statement);
        let list = "WITH v(a, b) AS (VALUES (?, ?), (?, ?))";
        assert_eq!(sql, format!("{list} SELECT a FROM v WHERE $6 = b AND $5 = c"));
        assert_eq!(values[4..], binds);
    }
}
