//! Statements with a list of rows.

use sea_orm::{ConnectionTrait, DbErr, QueryResult, Statement, Value};

use crate::domain::import::{ImportKey, RowId};

/// Rows of one statement at most. Shorter lists are sent in parts whose lengths
/// are powers of two: so there are few different statements, and the few are
/// prepared once.
const MAX_ROWS: usize = 1_024;

/// Parameters of one statement; SQLite takes 32,766.
const MAX_PARAMETERS: usize = 30_000;

/// The parameters `$1` and `$2` of every statement: the practice and the import.
pub(super) fn scope(key: &ImportKey) -> Vec<Value> {
    vec![key.practice.as_str().into(), key.id.into()]
}

/// [`scope()`] and further parameters.
pub(super) fn scoped(key: &ImportKey, more: impl IntoIterator<Item = Value>) -> Vec<Value> {
    scope(key).into_iter().chain(more).collect()
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

/// Runs a statement; the number of rows that it changed.
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
    scope: &[Value],
    columns: &[&str],
    rows: Vec<Vec<Value>>,
    statement: &str,
) -> Result<(), DbErr> {
    for part in parts(rows, scope.len(), columns.len()) {
        let (sql, values) = with(scope, columns, part, statement);
        execute(db, &sql, values).await?;
    }
    Ok(())
}

/// Runs the query `statement`, which reads a list of rows as the table `v`.
pub(super) async fn query_with(
    db: &impl ConnectionTrait,
    scope: &[Value],
    columns: &[&str],
    rows: Vec<Vec<Value>>,
    statement: &str,
) -> Result<Vec<QueryResult>, DbErr> {
    let mut found = Vec::new();
    for part in parts(rows, scope.len(), columns.len()) {
        let (sql, values) = with(scope, columns, part, statement);
        found.extend(query(db, &sql, values).await?);
    }
    Ok(found)
}

/// A row of the list `v(batch, row_no)`.
pub(super) fn row_id(at: RowId) -> Vec<Value> {
    vec![at.batch.into(), at.row.into()]
}

fn parts(
    rows: Vec<Vec<Value>>,
    scope: usize,
    columns: usize,
) -> impl Iterator<Item = Vec<Vec<Value>>> {
    let fitting = (MAX_PARAMETERS - scope) / columns.max(1);
    let largest = MAX_ROWS.min(1 << fitting.max(1).ilog2());
    let mut rows = rows.into_iter();
    std::iter::from_fn(move || {
        let left = rows.len();
        if left == 0 {
            return None;
        }
        let length = largest.min(1 << left.ilog2());
        Some(rows.by_ref().take(length).collect())
    })
}

fn with(
    scope: &[Value],
    columns: &[&str],
    rows: Vec<Vec<Value>>,
    statement: &str,
) -> (String, Vec<Value>) {
    let mut next = scope.len();
    let mut placeholder = || {
        next += 1;
        format!("${next}")
    };
    let mut row = |_| {
        let row: Vec<String> = columns.iter().map(|_| placeholder()).collect();
        format!("({})", row.join(", "))
    };
    let list: Vec<String> = rows.iter().map(&mut row).collect();
    let sql = format!("WITH v({}) AS (VALUES {}) {statement}", columns.join(", "), list.join(", "));
    (sql, scope.iter().cloned().chain(rows.into_iter().flatten()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_sent_in_few_lengths() {
        let rows = |n: i64| (0..n).map(|n| vec![Value::from(n)]).collect::<Vec<_>>();
        let lengths = |n, columns| -> Vec<usize> {
            parts(rows(n), 2, columns).map(|part| part.len()).collect()
        };
        assert_eq!(lengths(2_600, 1), [1_024, 1_024, 512, 32, 8]);
        assert_eq!(lengths(0, 1), [0; 0]);
        // 100 columns: 299 rows would fit.
        assert_eq!(lengths(300, 100), [256, 32, 8, 4]);
    }

    #[test]
    fn placeholders_go_on_after_those_of_the_scope() {
        let rows = vec![vec![1_i64.into(), 2_i64.into()], vec![3_i64.into(), 4_i64.into()]];
        let (sql, values) = with(&[7_i64.into()], &["a", "b"], rows, "SELECT a FROM v");
        assert_eq!(sql, "WITH v(a, b) AS (VALUES ($2, $3), ($4, $5)) SELECT a FROM v");
        assert_eq!(values.len(), 5);
    }
}
