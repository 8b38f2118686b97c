//! Lists of rows in a statement.
//!
//! On PostgreSQL a list is one parameter for each column, an array: whatever its
//! length, the statement is the same and is prepared once, and neither side spends
//! its time on thousands of parameters. SQLite has no arrays; there a list is what
//! it is elsewhere, a parameter for each value.

use sea_orm::{DbBackend, Value};

/// The parameters of a statement that is being written.
///
/// On SQLite they have no names, and stand in the order in which the statement
/// mentions them: a name is looked for among all that were there before, which
/// takes the square of their number.
#[derive(Debug)]
pub struct Parameters {
    engine: DbBackend,
    values: Vec<Value>,
}

impl Parameters {
    /// Of a statement without parameters so far.
    pub fn new(engine: DbBackend) -> Self {
        Self { engine, values: Vec::new() }
    }

    /// The engine that the statement is for.
    pub fn engine(&self) -> DbBackend {
        self.engine
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The values, in their order.
    pub fn into_values(self) -> Vec<Value> {
        self.values
    }

    /// Adds a parameter; how the statement mentions it.
    pub fn bind(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        match self.engine {
            DbBackend::Postgres => format!("${}", self.values.len()),
            _ => "?".to_owned(),
        }
    }

    /// Adds a list of rows; a query of it, with these columns. On SQLite the caller
    /// sees to its limit on parameters.
    pub fn list(&mut self, columns: &[Column<'_>], rows: Vec<Vec<Value>>) -> String {
        match self.engine {
            DbBackend::Postgres => self.arrays(columns, rows),
            _ => self.tuples(columns, rows),
        }
    }

    /// Adds a list of keys; the condition that a value before it is one of them.
    pub fn among(&mut self, mut keys: Vec<Value>) -> String {
        if self.engine == DbBackend::Postgres {
            return format!("= ANY ({})", self.array(keys));
        }
        pad(&mut keys);
        let marks = vec!["?"; keys.len()].join(", ");
        self.values.extend(keys);
        format!("IN ({marks})")
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
        let (mut arrays, mut names, mut shown) = (Vec::new(), Vec::new(), Vec::new());
        for (column, values) in columns.iter().zip(values) {
            let name = column.name;
            if column.may_be_null || !values.iter().all(Value::is_some) {
                // An array of ours has no nulls: beside it stands which of its
                // values are there.
                let there = values.iter().map(|value| value.is_some().into()).collect();
                shown.push(format!("CASE WHEN {name}_there THEN {name} END AS {name}"));
                names.extend([name.to_owned(), format!("{name}_there")]);
                arrays.extend([self.array(values), self.array(there)]);
            } else {
                shown.push(name.to_owned());
                names.push(name.to_owned());
                arrays.push(self.array(values));
            }
        }
        let (shown, arrays, names) = (shown.join(", "), arrays.join(", "), names.join(", "));
        format!("SELECT {shown} FROM UNNEST({arrays}) AS list({names})")
    }

    fn array(&mut self, values: Vec<Value>) -> String {
        let like = values.first().cloned().unwrap_or(Value::String(None));
        let filled = |value: Value| if value.is_some() { value } else { value.dummy_value() };
        let values = values.into_iter().map(filled).collect();
        let array = Value::Array(like.array_type(), Some(Box::new(values)));
        format!("{}::{}[]", self.bind(array), type_name(&like))
    }
}

/// A column of a list.
#[derive(Clone, Copy, Debug)]
pub struct Column<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether a value of it may be null, in this list or in another one: then the
    /// statement is the same for all.
    pub may_be_null: bool,
}

impl<'a> Column<'a> {
    /// A column whose values are all there, as a rule.
    pub const fn of(name: &'a str) -> Self {
        Self { name, may_be_null: false }
    }
}

/// The names of columns, as a statement lists them.
pub fn names(columns: &[Column<'_>]) -> String {
    columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ")
}

/// The condition that a row of `table` is one of those that a query of it leaves, of
/// which `rest` is what follows its name: for statements that change a bounded number
/// of rows. They are found by where they are, so that the plan is that of the query.
pub fn chosen(engine: DbBackend, table: &str, rest: &str) -> String {
    match engine {
        DbBackend::Postgres => format!("ctid = ANY (ARRAY(SELECT ctid FROM {table} {rest}))"),
        _ => format!("rowid IN (SELECT rowid FROM {table} {rest})"),
    }
}

/// The hexadecimal digits of the UUID in `column`. Whatever is in it, they can be read.
pub fn hex_of(engine: DbBackend, column: &str) -> String {
    match engine {
        DbBackend::Postgres => format!("REPLACE(CAST({column} AS text), '-', '')"),
        _ => format!("LOWER(HEX({column}))"),
    }
}

/// The condition that `text` is none of `values`, however many there are; and the value
/// of the parameter that the condition mentions.
pub fn none_of<'a>(
    engine: DbBackend,
    text: &str,
    parameter: &str,
    values: impl Iterator<Item = &'a str>,
) -> (String, Value) {
    if engine == DbBackend::Postgres {
        let values: Vec<String> = values.map(str::to_owned).collect();
        return (format!("{text} <> ALL ({parameter}::text[])"), values.into());
    }
    let values = values.collect::<serde_json::Value>().to_string();
    (format!("{text} NOT IN (SELECT value FROM json_each({parameter}))"), values.into())
}

/// What PostgreSQL calls the type of a value. The tables have these types and no
/// others.
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

/// Repeats the last of `list` up to a power of two: lists of many lengths become few
/// statements of SQLite, and each is prepared once. For lists that mean the same when
/// something is in them twice.
pub fn pad<T: Clone>(list: &mut Vec<T>) {
    if let Some(last) = list.last().cloned() {
        list.resize(list.len().next_power_of_two(), last);
    }
}

/// The rows in the parts of one statement each: of SQLite at most `fitting`, in lengths
/// that are powers of two, so that there are few statements and each is prepared once;
/// on PostgreSQL, where a list of any length is the same statement, all at once.
pub fn parts<T>(engine: DbBackend, rows: Vec<T>, fitting: usize) -> impl Iterator<Item = Vec<T>> {
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
    fn a_list_of_sqlite_has_a_parameter_for_each_value() {
        let mut parameters = Parameters::new(DbBackend::Sqlite);
        let list = parameters.list(&[Column::of("n"), Column::of("name")], rows());
        assert_eq!(list, "VALUES (?, ?), (?, ?)");
        assert_eq!(parameters.into_values(), rows().concat());
    }

    #[test]
    fn a_list_of_postgresql_has_an_array_for_each_column() {
        let mut parameters = Parameters::new(DbBackend::Postgres);
        assert_eq!(parameters.bind("practice"), "$1");
        let list = parameters.list(&[Column::of("n"), Column::of("name")], rows());
        assert_eq!(
            list,
            "SELECT n, CASE WHEN name_there THEN name END AS name \
             FROM UNNEST($2::bigint[], $3::text[], $4::boolean[]) AS list(n, name, name_there)"
        );
        let array = |kind, values| Value::Array(kind, Some(Box::new(values)));
        let values = [
            "practice".into(),
            array(ArrayType::BigInt, vec![1_i64.into(), 2_i64.into()]),
            array(ArrayType::String, vec!["a".into(), "".into()]),
            array(ArrayType::Bool, vec![true.into(), false.into()]),
        ];
        assert_eq!(parameters.into_values(), values);
    }

    #[test]
    fn keys_are_an_array_or_padded() {
        let keys = || vec![1_i64.into(), 2_i64.into(), 3_i64.into()];
        assert_eq!(Parameters::new(DbBackend::Postgres).among(keys()), "= ANY ($1::bigint[])");
        let mut parameters = Parameters::new(DbBackend::Sqlite);
        assert_eq!(parameters.among(keys()), "IN (?, ?, ?, ?)");
        assert_eq!(parameters.into_values(), [1, 2, 3, 3_i64].map(Value::from));
    }

    #[test]
    fn a_column_that_may_be_null_has_one_statement_whether_it_is_or_not() {
        let list = |value: Value| {
            let mut parameters = Parameters::new(DbBackend::Postgres);
            let column = Column { name: "utr", may_be_null: true };
            parameters.list(&[column], vec![vec![value]])
        };
        assert_eq!(list("1".into()), list(Value::String(None)));
    }
}
