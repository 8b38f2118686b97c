//! A template of the statements of a call: unique values are placeholders. They are the
//! values in which two recordings of the call differ.

use anyhow::{Context as _, bail};
use concord_core::ids::new_uuid;
use sea_orm::{DbBackend, Statement, Value, sea_query::ArrayType};
use uuid::Uuid;

use super::Recording;
use crate::sample::UniqueValues;

/// The template of the statements of one call.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    pub(crate) steps: Vec<Step>,
    /// Number of UUIDs that are unique in every call.
    ids: usize,
}

/// The template of one statement.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) sql: String,
    pub(crate) values: Vec<TemplateValue>,
    engine: DbBackend,
}

/// A value of a statement: constant or a placeholder.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TemplateValue {
    /// A constant, or a value that may be treated as one.
    Fixed(Value),
    /// The unique UUID with this index.
    Id(usize),
    /// Text with unique parts.
    Text(Vec<TextPart>),
    /// An array of PostgreSQL.
    List(ArrayType, Vec<TemplateValue>),
}

/// A part of a text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TextPart {
    /// A constant part.
    Plain(String),
    /// The unique UUID with this index.
    Id { index: usize, form: Form },
    /// The digits of [`UniqueValues`].
    Digits,
}

/// The text form of a UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) hyphens: bool,
    pub(crate) capitals: bool,
}

impl Form {
    const ALL: [Self; 4] = [
        Self { hyphens: false, capitals: false },
        Self { hyphens: false, capitals: true },
        Self { hyphens: true, capitals: false },
        Self { hyphens: true, capitals: true },
    ];

    fn write(self, id: Uuid) -> String {
        let Self { hyphens, capitals } = self;
        let text = if hyphens { id.to_string() } else { id.as_simple().to_string() };
        if capitals { text.to_uppercase() } else { text }
    }
}

impl Template {
    /// Derives the template from two recordings with the same statements.
    pub(crate) fn of([one, other]: &[Recording<UniqueValues>; 2]) -> anyhow::Result<Self> {
        let ids = unique_ids(one, other);
        let unique = &one.made_with;
        let mut steps = Vec::with_capacity(one.statements.len());
        for (statement, twin) in one.statements.iter().zip(&other.statements) {
            let pairs = values(statement).iter().zip(values(twin));
            let values = pairs.map(|(value, twin)| template_value(value, twin, &ids, unique));
            let values = values.collect::<anyhow::Result<Vec<_>>>();
            let values = values.with_context(|| statement.sql.clone())?;
            steps.push(Step { sql: statement.sql.clone(), values, engine: statement.db_backend });
        }
        Ok(Self { steps, ids: ids.len() })
    }

    /// Generates the unique values of a call.
    pub(crate) fn bindings(&self) -> Bindings {
        let ids = (0..self.ids).map(|_| new_uuid()).collect();
        Bindings { ids, digits: UniqueValues::next().digits }
    }
}

/// The unique values of one call.
#[derive(Debug)]
pub(crate) struct Bindings {
    ids: Vec<Uuid>,
    digits: String,
}

impl Step {
    /// True if the statement returns rows.
    pub(crate) fn returns_rows(&self) -> bool {
        self.sql.starts_with("SELECT")
    }

    /// The statement with the values of a call.
    pub(crate) fn bind(&self, bindings: &Bindings) -> Statement {
        let values = self.values.iter().map(|value| value.bind(bindings));
        Statement::from_sql_and_values(self.engine, self.sql.as_str(), values.collect::<Vec<_>>())
    }
}

impl TemplateValue {
    fn bind(&self, bindings: &Bindings) -> Value {
        match self {
            Self::Fixed(value) => value.clone(),
            Self::Id(index) => bindings.id(*index).into(),
            Self::Text(parts) => {
                parts.iter().map(|part| part.bind(bindings)).collect::<String>().into()
            }
            Self::List(of, values) => {
                let values = values.iter().map(|value| value.bind(bindings)).collect();
                Value::Array(of.clone(), Some(Box::new(values)))
            }
        }
    }
}

impl TextPart {
    fn bind(&self, bindings: &Bindings) -> String {
        match self {
            Self::Plain(text) => text.clone(),
            Self::Id { index, form } => form.write(bindings.id(*index)),
            Self::Digits => bindings.digits.clone(),
        }
    }
}

impl Bindings {
    fn id(&self, index: usize) -> Uuid {
        self.ids.get(index).copied().unwrap_or_default()
    }
}

fn values(statement: &Statement) -> &[Value] {
    statement.values.as_ref().map_or(&[], |values| values.0.as_slice())
}

/// The UUIDs of the first call that the second call does not have.
fn unique_ids(one: &Recording<UniqueValues>, other: &Recording<UniqueValues>) -> Vec<Uuid> {
    let mut ids = vec![one.made_with.id];
    for (statement, twin) in one.statements.iter().zip(&other.statements) {
        for (value, twin) in values(statement).iter().zip(values(twin)) {
            add_unique_ids(&mut ids, value, twin);
        }
    }
    ids
}

fn add_unique_ids(ids: &mut Vec<Uuid>, value: &Value, twin: &Value) {
    match (value, twin) {
        (Value::Uuid(Some(id)), twin) if value != twin && !ids.contains(id) => ids.push(*id),
        (Value::Array(_, Some(list)), Value::Array(_, Some(twins))) => {
            for (value, twin) in list.iter().zip(twins.iter()) {
                add_unique_ids(ids, value, twin);
            }
        }
        _ => {}
    }
}

fn template_value(
    value: &Value,
    twin: &Value,
    ids: &[Uuid],
    unique: &UniqueValues,
) -> anyhow::Result<TemplateValue> {
    if let (Value::Array(of, Some(list)), Value::Array(_, Some(twins))) = (value, twin) {
        let pairs = list.iter().zip(twins.iter());
        let values = pairs.map(|(value, twin)| template_value(value, twin, ids, unique));
        return Ok(TemplateValue::List(of.clone(), values.collect::<anyhow::Result<_>>()?));
    }
    if value == twin {
        return Ok(TemplateValue::Fixed(value.clone()));
    }
    Ok(match value {
        Value::Uuid(Some(id)) => match ids.iter().position(|new| new == id) {
            Some(index) => TemplateValue::Id(index),
            None => bail!("a unique UUID was not found"),
        },
        Value::String(Some(text)) => match text_parts(text, ids, unique) {
            Some(parts) => TemplateValue::Text(parts),
            None => TemplateValue::Fixed(value.clone()),
        },
        Value::BigInt(Some(number)) => {
            bail!("{number} differs between two calls, and its source is unknown")
        }
        // Times, images, digests: not in a unique key, and of constant length.
        _ => TemplateValue::Fixed(value.clone()),
    })
}

/// Splits text at the unique values in it; `None` without unique values.
fn text_parts(text: &str, ids: &[Uuid], unique: &UniqueValues) -> Option<Vec<TextPart>> {
    let mut needles = vec![(unique.digits.clone(), TextPart::Digits)];
    for (index, id) in ids.iter().enumerate() {
        for form in Form::ALL {
            needles.push((form.write(*id), TextPart::Id { index, form }));
        }
    }
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some((at, (needle, part))) = needles
        .iter()
        .filter_map(|needle| rest.find(&needle.0).map(|at| (at, needle)))
        // The longest of the first matches: a UUID may contain the digits.
        .min_by_key(|(at, (needle, _))| (*at, std::cmp::Reverse(needle.len())))
    {
        if at > 0 {
            parts.push(TextPart::Plain(rest.get(..at)?.to_owned()));
        }
        parts.push(part.clone());
        rest = rest.get(at + needle.len()..)?;
    }
    if parts.is_empty() {
        return None;
    }
    if !rest.is_empty() {
        parts.push(TextPart::Plain(rest.to_owned()));
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The recording of a call that inserts a client and a list with its id.
    fn recording(number: i64) -> Recording<UniqueValues> {
        let (unique, client) = (UniqueValues::next(), new_uuid());
        let statement = |sql: &str, values: Vec<Value>| {
            Statement::from_sql_and_values(DbBackend::Postgres, sql, values)
        };
        let name = format!("Harbour {} Limited", unique.id.as_simple());
        let key = unique.id.as_simple().to_string().to_uppercase();
        let id = format!("cli_{}", client.as_simple());
        let statements = vec![
            statement(
                "INSERT INTO client VALUES ($1, $2, $3, $4, $5)",
                vec![
                    client.into(),
                    name.into(),
                    key.into(),
                    unique.digits.as_str().into(),
                    number.into(),
                ],
            ),
            statement(
                "INSERT INTO change SELECT * FROM UNNEST($1::text[])",
                vec![list(vec![id.into(), "CREATED".into()])],
            ),
        ];
        Recording { statements, made_with: unique }
    }

    fn list(values: Vec<Value>) -> Value {
        Value::Array(ArrayType::String, Some(Box::new(values)))
    }

    #[test]
    fn values_that_differ_between_calls_become_placeholders() {
        let recordings = [recording(7), recording(7)];
        let template = Template::of(&recordings).unwrap();
        let bindings = template.bindings();
        let filled: Vec<Statement> =
            template.steps.iter().map(|step| step.bind(&bindings)).collect();
        let [unique, client] = bindings.ids[..] else { panic!("{:?}", bindings.ids) };
        let text = |id: Uuid| id.as_simple().to_string();
        let expected: [Value; 5] = [
            client.into(),
            format!("Harbour {} Limited", text(unique)).into(),
            text(unique).to_uppercase().into(),
            bindings.digits.clone().into(),
            7_i64.into(),
        ];
        assert_eq!(values(&filled[0]), expected);
        let expected = list(vec![format!("cli_{}", text(client)).into(), "CREATED".into()]);
        assert_eq!(values(&filled[1]), [expected]);
    }

    #[test]
    fn number_of_unknown_source_is_rejected() {
        let error = Template::of(&[recording(7), recording(8)]).unwrap_err();
        assert!(format!("{error:#}").contains("7 differs"), "{error:#}");
    }
}
