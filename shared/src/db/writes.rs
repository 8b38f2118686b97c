//! Writes that are sent together.
//!
//! Each statement costs a round trip to PostgreSQL, or on SQLite a visit to the
//! thread of its connection: more than most of them take to run. The last writes of
//! a transaction need no answer, so they need not wait for each other. On
//! PostgreSQL they become one statement, on SQLite one text of several.

use sea_orm::{
    ActiveModelTrait, ColumnTrait as _, ConnectionTrait, DbBackend, DbErr, EntityName as _,
    EntityTrait, IdenStatic as _, Iterable as _, Statement, Value,
};

use super::lists::{Column, Parameters, names, parts};

/// Parameters of a statement of SQLite, which takes 32,766, and of those that are
/// sent there together.
const SQLITE_PARAMETERS: usize = 4_000;

/// Writes that wait to be sent.
///
/// They see the tables as they were before the first of them, and their order is
/// not defined: none may touch a row that another one writes. What a write gives
/// back (by RETURNING) can be read by those after it, by its name.
#[derive(Debug)]
pub struct Writes {
    engine: DbBackend,
    parameters: Parameters,
    statements: Vec<String>,
    /// On SQLite: what is full already.
    full: Vec<Statement>,
}

impl Writes {
    /// None, so far.
    pub fn new(engine: DbBackend) -> Self {
        let parameters = Parameters::new(engine);
        Self { engine, parameters, statements: Vec::new(), full: Vec::new() }
    }

    /// The engine that they are for.
    pub fn engine(&self) -> DbBackend {
        self.engine
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.statements.is_empty() && self.full.is_empty()
    }

    /// Adds rows of a table.
    pub fn insert<A: ActiveModelTrait>(&mut self, rows: Vec<A>) {
        let rows = rows.into_iter().map(values_of).collect();
        self.insert_list(A::Entity::default().table_name(), &columns_of::<A>(), rows);
    }

    /// Adds rows of a table, given as values.
    pub fn insert_list(&mut self, table: &str, columns: &[Column<'_>], rows: Vec<Vec<Value>>) {
        let names = names(columns);
        for part in self.parts(rows, columns.len()) {
            self.make_room(part.len() * columns.len());
            self.add(|parameters| {
                let list = parameters.list(columns, part);
                format!("INSERT INTO {table} ({names}) {list}")
            });
        }
    }

    /// Adds a statement, which `text` writes with its parameters.
    pub fn add(&mut self, text: impl FnOnce(&mut Parameters) -> String) {
        let name = format!("w{}", self.statements.len());
        self.add_named(&name, text);
    }

    /// The same, with a name by which the statements after it read what it gives
    /// back; on PostgreSQL alone.
    pub fn add_named(&mut self, name: &str, text: impl FnOnce(&mut Parameters) -> String) {
        let text = text(&mut self.parameters);
        if self.engine == DbBackend::Postgres {
            self.statements.push(format!("{name} AS ({text})"));
            return;
        }
        self.statements.push(text);
    }

    /// On SQLite: sees to it that so many parameters fit with those that are there.
    pub fn make_room(&mut self, parameters: usize) {
        let full = self.parameters.len() + parameters > SQLITE_PARAMETERS;
        if full && self.engine == DbBackend::Sqlite {
            self.close();
        }
    }

    /// The rows in the parts that fit one statement.
    pub fn parts(
        &self,
        rows: Vec<Vec<Value>>,
        columns: usize,
    ) -> impl Iterator<Item = Vec<Vec<Value>>> + use<> {
        parts(self.engine, rows, SQLITE_PARAMETERS / columns.max(1))
    }

    /// Sends them all.
    ///
    /// # Errors
    ///
    /// When one of them fails; the transaction is lost then.
    pub async fn run(mut self, db: &impl ConnectionTrait) -> Result<(), DbErr> {
        self.close();
        for statement in self.full {
            db.execute_raw(statement).await?;
        }
        Ok(())
    }

    fn close(&mut self) {
        let statements = std::mem::take(&mut self.statements);
        let parameters = std::mem::replace(&mut self.parameters, Parameters::new(self.engine));
        if statements.is_empty() {
            return;
        }
        let sql = match self.engine {
            // All of them run to their end, although nobody reads them.
            DbBackend::Postgres => format!("WITH {} SELECT 1", statements.join(", ")),
            _ => statements.join("; "),
        };
        let values = parameters.into_values();
        self.full.push(Statement::from_sql_and_values(self.engine, sql, values));
    }
}

/// The columns of a table of ours.
pub fn columns_of<A: ActiveModelTrait>() -> Vec<Column<'static>> {
    <A::Entity as EntityTrait>::Column::iter()
        .map(|column| Column { name: column.as_str(), may_be_null: column.def().is_null() })
        .collect()
}

/// The values of a row, in the order of its columns. One that is not set is null.
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

    fn sent(mut writes: Writes) -> Vec<Statement> {
        writes.close();
        writes.full
    }

    fn two(engine: DbBackend) -> Vec<Statement> {
        let mut writes = Writes::new(engine);
        writes.insert_list("one", &[Column::of("a"), Column::of("b")], vec![pair(1), pair(2)]);
        writes.add(|parameters| format!("DELETE FROM two WHERE c = {}", parameters.bind(3_i64)));
        sent(writes)
    }

    #[test]
    fn writes_are_one_statement_of_postgresql() {
        let statements = two(DbBackend::Postgres);
        assert_eq!(statements.len(), 1);
        assert_eq!(
            statements[0].sql,
            "WITH w0 AS (INSERT INTO one (a, b) SELECT a, b \
             FROM UNNEST($1::bigint[], $2::bigint[]) AS list(a, b)), \
             w1 AS (DELETE FROM two WHERE c = $3) SELECT 1"
        );
    }

    #[test]
    fn writes_are_one_text_of_sqlite() {
        let statements = two(DbBackend::Sqlite);
        assert_eq!(statements.len(), 1);
        assert_eq!(
            statements[0].sql,
            "INSERT INTO one (a, b) VALUES (?, ?), (?, ?); DELETE FROM two WHERE c = ?"
        );
        let values = statements[0].values.clone().unwrap().0;
        assert_eq!(values, [1, 1, 2, 2, 3_i64].map(Value::from));
    }

    #[test]
    fn many_rows_are_sent_in_few_lengths() {
        let mut writes = Writes::new(DbBackend::Sqlite);
        let columns = [Column::of("a"), Column::of("b")];
        writes.insert_list("one", &columns, (0..5_000).map(pair).collect());
        let lengths = |statement: &Statement| statement.values.as_ref().map_or(0, |v| v.0.len());
        let lengths: Vec<usize> = sent(writes).iter().map(lengths).collect();
        // 1,024 rows four times; 512, 256, 128 and 8 together.
        assert_eq!(lengths.iter().sum::<usize>(), 10_000);
        assert!(lengths.iter().all(|length| *length <= SQLITE_PARAMETERS), "{lengths:?}");
    }

    #[test]
    fn nothing_is_sent_for_no_rows() {
        let mut writes = Writes::new(DbBackend::Postgres);
        writes.insert_list("one", &[Column::of("a")], Vec::new());
        assert!(writes.is_empty());
        assert!(sent(writes).is_empty());
    }
}
