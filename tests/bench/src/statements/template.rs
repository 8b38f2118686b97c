//! The statements of a call with what is new in every call left open. What that
//! is, two recordings of the call tell: it is where they differ.

use anyhow::{Context as _, bail};
use sea_orm::{DbBackend, Statement, Value, sea_query::ArrayType};
use shared::ids::new_uuid;
use uuid::Uuid;

use super::Recording;
use crate::sample::Novelty;

/// The statements of one call.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    pub(crate) steps: Vec<Step>,
    /// How many UUIDs are new in every call.
    ids: usize,
}

/// One statement.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) sql: String,
    pub(crate) values: Vec<Open>,
    engine: DbBackend,
}

/// A value of a statement.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Open {
    /// The same in every call, or as well as that.
    Fixed(Value),
    /// The new UUID with this index.
    Id(usize),
    /// Text with something new in it.
    Text(Vec<Piece>),
    /// A list, of PostgreSQL.
    List(ArrayType, Vec<Open>),
}

/// A piece of text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Piece {
    /// The same in every call.
    Plain(String),
    /// The new UUID with this index.
    Id { index: usize, form: Form },
    /// The digits of [`Novelty`].
    Digits,
}

/// How a UUID is written.
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
    /// Finds what is new in every call by comparing two calls, which have run
    /// the same statements.
    pub(crate) fn of([one, other]: &[Recording<Novelty>; 2]) -> anyhow::Result<Self> {
        let ids = new_ids(one, other);
        let novelty = &one.made_with;
        let mut steps = Vec::with_capacity(one.statements.len());
        for (statement, twin) in one.statements.iter().zip(&other.statements) {
            let pairs = values(statement).iter().zip(values(twin));
            let open = pairs.map(|(value, twin)| open(value, twin, &ids, novelty));
            let values = open.collect::<anyhow::Result<Vec<_>>>();
            let values = values.with_context(|| statement.sql.clone())?;
            steps.push(Step { sql: statement.sql.clone(), values, engine: statement.db_backend });
        }
        Ok(Self { steps, ids: ids.len() })
    }

    /// What one more call is made with.
    pub(crate) fn given(&self) -> Given {
        let ids = (0..self.ids).map(|_| new_uuid()).collect();
        Given { ids, digits: Novelty::next().digits }
    }
}

/// What is new in one call.
#[derive(Debug)]
pub(crate) struct Given {
    ids: Vec<Uuid>,
    digits: String,
}

impl Step {
    /// Whether it answers with rows.
    pub(crate) fn returns_rows(&self) -> bool {
        self.sql.starts_with("SELECT")
    }

    /// The statement with all of its values.
    pub(crate) fn fill(&self, given: &Given) -> Statement {
        let values = self.values.iter().map(|value| value.fill(given));
        Statement::from_sql_and_values(self.engine, self.sql.as_str(), values.collect::<Vec<_>>())
    }
}

impl Open {
    fn fill(&self, given: &Given) -> Value {
        match self {
            Self::Fixed(value) => value.clone(),
            Self::Id(index) => given.id(*index).into(),
            Self::Text(pieces) => {
                pieces.iter().map(|piece| piece.fill(given)).collect::<String>().into()
            }
            Self::List(of, values) => {
                let values = values.iter().map(|value| value.fill(given)).collect();
                Value::Array(of.clone(), Some(Box::new(values)))
            }
        }
    }
}

impl Piece {
    fn fill(&self, given: &Given) -> String {
        match self {
            Self::Plain(text) => text.clone(),
            Self::Id { index, form } => form.write(given.id(*index)),
            Self::Digits => given.digits.clone(),
        }
    }
}

impl Given {
    fn id(&self, index: usize) -> Uuid {
        self.ids.get(index).copied().unwrap_or_default()
    }
}

fn values(statement: &Statement) -> &[Value] {
    statement.values.as_ref().map_or(&[], |values| values.0.as_slice())
}

/// The UUIDs that the first call has and the second has not.
fn new_ids(one: &Recording<Novelty>, other: &Recording<Novelty>) -> Vec<Uuid> {
    let mut ids = vec![one.made_with.id];
    for (statement, twin) in one.statements.iter().zip(&other.statements) {
        for (value, twin) in values(statement).iter().zip(values(twin)) {
            add_new_ids(&mut ids, value, twin);
        }
    }
    ids
}

fn add_new_ids(ids: &mut Vec<Uuid>, value: &Value, twin: &Value) {
    match (value, twin) {
        (Value::Uuid(Some(id)), twin) if value != twin && !ids.contains(id) => ids.push(*id),
        (Value::Array(_, Some(list)), Value::Array(_, Some(twins))) => {
            for (value, twin) in list.iter().zip(twins.iter()) {
                add_new_ids(ids, value, twin);
            }
        }
        _ => {}
    }
}

fn open(value: &Value, twin: &Value, ids: &[Uuid], novelty: &Novelty) -> anyhow::Result<Open> {
    if let (Value::Array(of, Some(list)), Value::Array(_, Some(twins))) = (value, twin) {
        let pairs = list.iter().zip(twins.iter());
        let values = pairs.map(|(value, twin)| open(value, twin, ids, novelty));
        return Ok(Open::List(of.clone(), values.collect::<anyhow::Result<_>>()?));
    }
    if value == twin {
        return Ok(Open::Fixed(value.clone()));
    }
    Ok(match value {
        Value::Uuid(Some(id)) => match ids.iter().position(|new| new == id) {
            Some(index) => Open::Id(index),
            None => bail!("a new UUID was not found again"),
        },
        Value::String(Some(text)) => match pieces(text, ids, novelty) {
            Some(pieces) => Open::Text(pieces),
            None => Open::Fixed(value.clone()),
        },
        Value::BigInt(Some(number)) => {
            bail!("{number} differs between two calls, and nobody knows where it is from")
        }
        // Times, images, digests: in no unique key, and as long in every call.
        _ => Open::Fixed(value.clone()),
    })
}

/// Takes text apart at what is new in it; none when nothing is.
fn pieces(text: &str, ids: &[Uuid], novelty: &Novelty) -> Option<Vec<Piece>> {
    let mut news = vec![(novelty.digits.clone(), Piece::Digits)];
    for (index, id) in ids.iter().enumerate() {
        for form in Form::ALL {
            news.push((form.write(*id), Piece::Id { index, form }));
        }
    }
    let (mut pieces, mut rest) = (Vec::new(), text);
    while let Some((at, (new, piece))) = news
        .iter()
        .filter_map(|new| rest.find(&new.0).map(|at| (at, new)))
        // The longest of those that begin first: digits may be in a UUID.
        .min_by_key(|(at, (new, _))| (*at, std::cmp::Reverse(new.len())))
    {
        if at > 0 {
            pieces.push(Piece::Plain(rest.get(..at)?.to_owned()));
        }
        pieces.push(piece.clone());
        rest = rest.get(at + new.len()..)?;
    }
    if pieces.is_empty() {
        return None;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Plain(rest.to_owned()));
    }
    Some(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call that inserts a client, and a list that names it.
    fn recording(number: i64) -> Recording<Novelty> {
        let (novelty, client) = (Novelty::next(), new_uuid());
        let statement = |sql: &str, values: Vec<Value>| {
            Statement::from_sql_and_values(DbBackend::Postgres, sql, values)
        };
        let name = format!("Harbour {} Limited", novelty.id.as_simple());
        let key = novelty.id.as_simple().to_string().to_uppercase();
        let id = format!("cli_{}", client.as_simple());
        let statements = vec![
            statement(
                "INSERT INTO client VALUES ($1, $2, $3, $4, $5)",
                vec![
                    client.into(),
                    name.into(),
                    key.into(),
                    novelty.digits.as_str().into(),
                    number.into(),
                ],
            ),
            statement(
                "INSERT INTO change SELECT * FROM UNNEST($1::text[])",
                vec![list(vec![id.into(), "CREATED".into()])],
            ),
        ];
        Recording { statements, made_with: novelty }
    }

    fn list(values: Vec<Value>) -> Value {
        Value::Array(ArrayType::String, Some(Box::new(values)))
    }

    #[test]
    fn what_differs_between_two_calls_is_new_in_the_next() {
        let recordings = [recording(7), recording(7)];
        let template = Template::of(&recordings).unwrap();
        let given = template.given();
        let filled: Vec<Statement> = template.steps.iter().map(|step| step.fill(&given)).collect();
        let [novelty, client] = given.ids[..] else { panic!("{:?}", given.ids) };
        let text = |id: Uuid| id.as_simple().to_string();
        let expected: [Value; 5] = [
            client.into(),
            format!("Harbour {} Limited", text(novelty)).into(),
            text(novelty).to_uppercase().into(),
            given.digits.clone().into(),
            7_i64.into(),
        ];
        assert_eq!(values(&filled[0]), expected);
        let named = list(vec![format!("cli_{}", text(client)).into(), "CREATED".into()]);
        assert_eq!(values(&filled[1]), [named]);
    }

    #[test]
    fn a_number_that_nobody_gave_is_refused() {
        let error = Template::of(&[recording(7), recording(8)]).unwrap_err();
        assert!(format!("{error:#}").contains("7 differs"), "{error:#}");
    }
}
