//! What the records of a dry run look like, while it is at work.

use std::collections::HashMap;

use sea_orm::{ConnectionTrait, DbErr, Value};
use shared::rules::likeness::Likeness;

use super::{edits::storable, sql};
use crate::{
    domain::{duplicate::OtherRecord, import::ImportKey},
    error::ImportError,
};

/// The first record of a likeness.
#[derive(Clone, Debug)]
pub(crate) struct NewLikeness {
    pub(crate) likeness: Likeness,
    pub(crate) first: OtherRecord,
}

/// Remembers the first records of some likenesses, which had none.
pub(super) async fn insert(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    likenesses: &[NewLikeness],
) -> Result<(), DbErr> {
    let columns = ["field", "value", "kind", "source_id", "name", "reference"];
    let row = |NewLikeness { likeness, first }: &NewLikeness| -> Vec<Value> {
        vec![
            likeness.of.as_str().into(),
            likeness.value.as_str().into(),
            first.kind.as_str().into(),
            first.source_id.as_str().into(),
            storable(&first.name).into(),
            storable(&first.reference).into(),
        ]
    };
    let rows = likenesses.iter().map(row).collect();
    super::edits::insert(db, key, "import_likeness", &columns, rows).await
}

/// The first records of those likenesses that a record has had.
pub(crate) async fn firsts(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    likenesses: impl IntoIterator<Item = &Likeness>,
) -> Result<HashMap<Likeness, OtherRecord>, ImportError> {
    let columns = ["kind", "source_id", "name", "reference"];
    let column = |column: &str| {
        format!(
            "(SELECT l.{column} FROM import_likeness l WHERE l.practice_id = $1
              AND l.import_id = $2 AND l.field = v.field AND l.value = v.value) AS {column}"
        )
    };
    let statement = format!("SELECT field, value, {} FROM v", columns.map(column).join(", "));
    let row = |likeness: &Likeness| -> Vec<Value> {
        vec![likeness.of.as_str().into(), likeness.value.as_str().into()]
    };
    let rows = likenesses.into_iter().map(row).collect();
    let rows = sql::query_with(db, &sql::scope(key), &["field", "value"], rows, &statement).await?;
    let mut firsts = HashMap::new();
    for row in rows {
        let text = |column: &str| row.try_get::<String>("", column);
        let Some(kind) = row.try_get::<Option<String>>("", "kind")? else { continue };
        let of = text("field")?.parse().map_err(|_| ImportError::Corrupt("a likeness"))?;
        let first = OtherRecord {
            kind: kind.parse()?,
            record_id: String::new(),
            source_id: text("source_id")?,
            name: text("name")?,
            reference: text("reference")?,
        };
        firsts.insert(Likeness { of, value: text("value")? }, first);
    }
    Ok(firsts)
}

/// Forgets them all.
pub(crate) async fn remove_all(db: &impl ConnectionTrait, key: &ImportKey) -> Result<(), DbErr> {
    let text = "DELETE FROM import_likeness WHERE practice_id = $1 AND import_id = $2";
    sql::execute(db, text, sql::scope(key)).await.map(drop)
}
