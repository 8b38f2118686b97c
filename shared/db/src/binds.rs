//! Bind parameters of a statement, and lists of rows as parameters.
//!
//! On PostgreSQL a list is one array parameter for each column. The statement is the same
//! for any length, is prepared once, and has few parameters. SQLite has no arrays; there a
//! list has a parameter for each value.

use sea_orm::{DbBackend, Value};

/// The bind parameters of a statement.
///
/// On SQLite parameters are positional (`?`), and must be bound in the order of the
/// statement. Numbered parameters would be resolved in quadratic time.
#[derive(Debug)]
pub struct Binds {
    engine: DbBackend,
    values: Vec<Value>,
    /// The names of the shared values, and their placeholders. Used on PostgreSQL only.
    shared: Vec<(&'static str, String)>,
}

impl Binds {
    /// No parameters, for a statement of `engine`.
    pub(super) fn new(engine: DbBackend) -> Self {
        Self { engine, values: Vec::new(), shared: Vec::new() }
    }

    /// The database engine of the statement.
    pub fn engine(&self) -> DbBackend {
        self.engine
    }

    /// The number of parameters.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// The values, in order.
    pub(super) fn into_values(self) -> Vec<Value> {
        self.values
    }

    /// Binds a value, and returns its placeholder.
    pub fn bind(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        match self.engine {
            DbBackend::Postgres => format!("${}", self.values.len()),
            _ => "?".to_owned(),
        }
    }

    /// Binds a value that the statement needs repeatedly, such as the practice, and returns
    /// its placeholder. On PostgreSQL values with the same `name`, which must be equal, share
    /// one parameter.
    pub fn bind_shared(&mut self, name: &'static str, value: impl Into<Value>) -> String {
        if let Some((_, placeholder)) = self.shared.iter().find(|(known, _)| *known == name) {
            return placeholder.clone();
        }
        let placeholder = self.bind(value);
        if self.engine == DbBackend::Postgres {
            self.shared.push((name, placeholder.clone()));
        }
        placeholder
    }

    /// Binds a list of rows, and returns a query that yields it with these columns. The list
    /// must not be empty: SQLite has no VALUES without rows, and on PostgreSQL the type of a
    /// column is that of its first value. On SQLite the caller must respect the maximum number
    /// of parameters.
    pub fn list(&mut self, columns: &[Column<'_>], rows: Vec<Vec<Value>>) -> String {
        match self.engine {
            DbBackend::Postgres => self.arrays(columns, rows),
            _ => self.tuples(columns, rows),
        }
    }

    /// Binds a list of keys, and returns the right side of the condition that a value is one
    /// of them. The list must not be empty: on PostgreSQL the type of the keys is that of the
    /// first one. On SQLite the caller must respect the maximum number of parameters.
    pub fn among(&mut self, mut keys: Vec<Value>) -> String {
        if self.engine == DbBackend::Postgres {
            return format!("= ANY ({})", self.array(keys));
        }
        pad_to_power_of_two(&mut keys);
        let marks = vec!["?"; keys.len()].join(", ");
        self.values.extend(keys);
        format!("IN ({marks})")
    }

    /// Binds a list of texts of any length as one parameter, and returns the right side of
    /// the condition that a text is none of them.
    pub fn none_of<'a>(&mut self, texts: impl Iterator<Item = &'a str>) -> String {
        if self.engine == DbBackend::Postgres {
            let texts: Vec<String> = texts.map(str::to_owned).collect();
            return format!("<> ALL ({}::text[])", self.bind(texts));
        }
        let texts = texts.collect::<serde_json::Value>().to_string();
        format!("NOT IN (SELECT value FROM json_each({}))", self.bind(texts))
    }

    fn tuples(&mut self, columns: &[Column<'_>], rows: Vec<Vec<Value>>) -> String {
        let marks = vec!["?"; columns.len()].join(", ");
        let list = vec![format!("({marks})"); rows.len()].join(", ");
        self.values.extend(rows.into_iter().flatten());
        format!("VALUES {list}")
    }

    fn arrays(&mut self, columns: &[Column<'_>], rows: Vec<Vec<Value>>) -> String {
        let mut values: Vec<Vec<Value>> =
            columns.iter().map(|_| Vec::with_capacity(rows.len())).collect();
        for row in rows {
            for (column, value) in values.iter_mut().zip(row) {
                column.push(value);
            }
        }
        let (mut arrays, mut names, mut selected) = (Vec::new(), Vec::new(), Vec::new());
        for (column, values) in columns.iter().zip(values) {
            let name = column.name;
            if column.nullable || !values.iter().all(Value::is_some) {
                // Arrays are bound without nulls: a second array marks the values that are
                // not null.
                let is_set = values.iter().map(|value| value.is_some().into()).collect();
                selected.push(format!("CASE WHEN {name}_is_set THEN {name} END AS {name}"));
                names.extend([name.to_owned(), format!("{name}_is_set")]);
                arrays.extend([self.array(values), self.array(is_set)]);
            } else {
                selected.push(name.to_owned());
                names.push(name.to_owned());
                arrays.push(self.array(values));
            }
        }
        let (selected, arrays, names) = (selected.join(", "), arrays.join(", "), names.join(", "));
        format!("SELECT {selected} FROM UNNEST({arrays}) AS list({names})")
    }

    fn array(&mut self, values: Vec<Value>) -> String {
        // Of any value, also of a null: the type of the whole array.
        let typed = values.first().cloned().unwrap_or(Value::String(None));
        let filled = |value: Value| if value.is_some() { value } else { value.dummy_value() };
        let values = values.into_iter().map(filled).collect();
        let array = Value::Array(typed.array_type(), Some(Box::new(values)));
        format!("{}::{}[]", self.bind(array), type_name(&typed))
    }
}

/// A column of a list.
#[derive(Clone, Copy, Debug)]
pub struct Column<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its values may be null, in this list or another one. The statement is the same then
    /// whether there are nulls or not.
    pub nullable: bool,
}

impl<'a> Column<'a> {
    /// A column that is not nullable.
    pub const fn of(name: &'a str) -> Self {
        Self { name, nullable: false }
    }
}

/// The names of columns, separated by commas.
pub fn column_names(columns: &[Column<'_>]) -> String {
    columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ")
}

/// The condition that a row of `table` is in the result of a subquery of the table, by its
/// physical row id; `rest` follows the table name in the subquery. For statements that
/// change a bounded number of rows: the plan is that of the subquery.
pub fn row_id_in(engine: DbBackend, table: &str, rest: &str) -> String {
    match engine {
        DbBackend::Postgres => format!("ctid = ANY (ARRAY(SELECT ctid FROM {table} {rest}))"),
        _ => format!("rowid IN (SELECT rowid FROM {table} {rest})"),
    }
}

/// An expression for the hexadecimal digits of the UUID in `column`. It does not fail,
/// whatever the column holds.
pub fn uuid_hex(engine: DbBackend, column: &str) -> String {
    match engine {
        DbBackend::Postgres => format!("REPLACE(CAST({column} AS text), '-', '')"),
        _ => format!("LOWER(HEX({column}))"),
    }
}

/// The name of the PostgreSQL type of a value. The tables use no other types.
const fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "boolean",
        Value::BigInt(_) => "bigint",
        Value::Bytes(_) => "bytea",
        Value::ChronoDate(_) => "date",
        Value::ChronoDateTimeUtc(_) => "timestamptz",
        Value::Uuid(_) => "uuid",
        _ => "text",
    }
}

/// Pads `list` to a power of two with copies of its last element, so that lists of many
/// lengths share few prepared statements of SQLite. For lists in which duplicates have no
/// effect.
pub fn pad_to_power_of_two<T: Clone>(list: &mut Vec<T>) {
    if let Some(last) = list.last().cloned() {
        list.resize(list.len().next_power_of_two(), last);
    }
}

/// The maximum number of parameters of a statement. SQLite allows 32,766 and PostgreSQL
/// 65,535.
const MAX_PARAMETERS: usize = 30_000;

/// The maximum number of rows of `columns` columns in one statement.
pub const fn chunk_rows(columns: usize) -> usize {
    match MAX_PARAMETERS.checked_div(columns) {
        Some(rows) => rows,
        None => MAX_PARAMETERS,
    }
}

/// Splits rows into chunks of one statement each. On SQLite a chunk has at most `fitting`
/// rows, and its length is a power of two, so that few statements are prepared. On
/// PostgreSQL, where a list of any length is the same statement, there is one chunk.
pub fn chunks<T>(engine: DbBackend, rows: Vec<T>, fitting: usize) -> impl Iterator<Item = Vec<T>> {
    let largest = 1 << fitting.max(1).ilog2();
    let mut rows = rows.into_iter();
    std::iter::from_fn(move || {
        let length = match rows.len() {
            0 => return None,
            left if engine == DbBackend::Postgres => left,
            left => largest.min(1 << left.ilog2()),
        };
        Some(rows.by_ref().take(length).collect())
    })
}

#[cfg(test)]
mod tests {
    use sea_orm::sea_query::ArrayType;

    use super::*;

    fn rows() -> Vec<Vec<Value>> {
        vec![vec![1_i64.into(), "a".into()], vec![2_i64.into(), Value::String(None)]]
    }

    #[test]
    fn sqlite_list_has_parameter_for_each_value() {
        let mut binds = Binds::new(DbBackend::Sqlite);
        let list = binds.list(&[Column::of("n"), Column::of("name")], rows());
        assert_eq!(list, "VALUES (?, ?), (?, ?)");
        assert_eq!(binds.into_values(), rows().concat());
    }

    #[test]
    fn postgresql_list_has_array_for_each_column() {
        let mut binds = Binds::new(DbBackend::Postgres);
        assert_eq!(binds.bind("practice"), "$1");
        let list = binds.list(&[Column::of("n"), Column::of("name")], rows());
        assert_eq!(
            list,
            "SELECT n, CASE WHEN name_is_set THEN name END AS name \
             FROM UNNEST($2::bigint[], $3::text[], $4::boolean[]) AS list(n, name, name_is_set)"
        );
        let array = |kind, values| Value::Array(kind, Some(Box::new(values)));
        let values = [
            "practice".into(),
            array(ArrayType::BigInt, vec![1_i64.into(), 2_i64.into()]),
            array(ArrayType::String, vec!["a".into(), "".into()]),
            array(ArrayType::Bool, vec![true.into(), false.into()]),
        ];
        assert_eq!(binds.into_values(), values);
    }

    #[test]
    fn keys_are_array_or_padded_list() {
        let keys = || vec![1_i64.into(), 2_i64.into(), 3_i64.into()];
        assert_eq!(Binds::new(DbBackend::Postgres).among(keys()), "= ANY ($1::bigint[])");
        let mut binds = Binds::new(DbBackend::Sqlite);
        assert_eq!(binds.among(keys()), "IN (?, ?, ?, ?)");
        assert_eq!(binds.into_values(), [1, 2, 3, 3_i64].map(Value::from));
    }

    #[test]
    fn shared_value_is_one_parameter_on_postgresql() {
        let text = |engine| {
            let mut binds = Binds::new(engine);
            let shared = |binds: &mut Binds| {
                [binds.bind_shared("practice", "p"), binds.bind_shared("n", 1_i64)].join(" ")
            };
            let text = [binds.bind("p"), shared(&mut binds), shared(&mut binds)].join(" ");
            assert_eq!(text.contains('?'), engine == DbBackend::Sqlite);
            (text, binds.len())
        };
        assert_eq!(text(DbBackend::Postgres), ("$1 $2 $3 $2 $3".to_owned(), 3));
        assert_eq!(text(DbBackend::Sqlite), ("? ? ? ? ?".to_owned(), 5));
    }

    #[test]
    fn nullable_column_has_one_statement() {
        let list = |value: Value| {
            let mut binds = Binds::new(DbBackend::Postgres);
            let column = Column { name: "utr", nullable: true };
            binds.list(&[column], vec![vec![value]])
        };
        assert_eq!(list("1".into()), list(Value::String(None)));
    }
}
