//! Lists of rows in a statement.
//!
//! On PostgreSQL a list is one parameter for each column, an array: whatever its
//! length, the statement is the same and is prepared once, and neither side spends
//! its time on thousands of parameters. SQLite has no arrays; there a list is what
//! it is elsewhere, a parameter for each value.

use sea_orm::{
    DbBackend, Value,
    prelude::{Date, DateTimeUtc, Uuid},
    sea_query::ArrayType,
};

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

    /// Adds a list of keys; the condition that a value before it is one of them. SQLite
    /// has the last one again, up to a power of two, so that there are few statements.
    pub fn among(&mut self, mut keys: Vec<Value>) -> String {
        if self.engine == DbBackend::Postgres {
            return format!("= ANY ({})", self.array(keys));
        }
        if let Some(last) = keys.last().cloned() {
            keys.resize(keys.len().next_power_of_two(), last);
        }
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
            if column.may_be_null || values.iter().any(is_null) {
                // An array of ours has no nulls: beside it stands which of its
                // values are there.
                let there = values.iter().map(|value| (!is_null(value)).into()).collect();
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
        let (name, kind, filler) = kind_of(values.first());
        let values = values.into_iter();
        let values = values.map(|value| if is_null(&value) { filler.clone() } else { value });
        let array = Value::Array(kind, Some(Box::new(values.collect())));
        format!("{}::{name}[]", self.bind(array))
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

fn is_null(value: &Value) -> bool {
    matches!(
        value,
        Value::Bool(None)
            | Value::BigInt(None)
            | Value::String(None)
            | Value::Bytes(None)
            | Value::ChronoDate(None)
            | Value::ChronoDateTimeUtc(None)
            | Value::Uuid(None)
    )
}

/// What PostgreSQL calls the type of a value, and a value of it to stand where one
/// is null. The tables have these types and no others.
fn kind_of(value: Option<&Value>) -> (&'static str, ArrayType, Value) {
    match value {
        Some(Value::Bool(_)) => ("boolean", ArrayType::Bool, false.into()),
        Some(Value::BigInt(_)) => ("bigint", ArrayType::BigInt, 0_i64.into()),
        Some(Value::Bytes(_)) => ("bytea", ArrayType::Bytes, Vec::<u8>::new().into()),
        Some(Value::ChronoDate(_)) => ("date", ArrayType::ChronoDate, Date::default().into()),
        Some(Value::ChronoDateTimeUtc(_)) => {
            ("timestamptz", ArrayType::ChronoDateTimeUtc, DateTimeUtc::UNIX_EPOCH.into())
        }
        Some(Value::Uuid(_)) => ("uuid", ArrayType::Uuid, Uuid::nil().into()),
        _ => ("text", ArrayType::String, "".into()),
    }
}

#[cfg(test)]
mod tests {
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
