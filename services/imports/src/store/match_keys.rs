//! The match keys of the records of a running dry run.

use std::collections::HashMap;

use concord_core::rules::match_key::MatchKey;
use sea_orm::{ConnectionTrait, DbErr, Value};

use super::{ImportDb, storable};
use crate::{domain::duplicate::OtherRecord, error::ImportError};

/// The first record with a match key.
#[derive(Clone, Debug)]
pub(crate) struct NewMatchKey {
    pub(crate) match_key: MatchKey,
    pub(crate) first: OtherRecord,
}

/// Stores the first records of new match keys.
pub(super) async fn insert(
    db: ImportDb<'_, impl ConnectionTrait>,
    match_keys: &[NewMatchKey],
) -> Result<(), DbErr> {
    let columns = ["field", "value", "kind", "source_id", "name", "reference"];
    let row = |NewMatchKey { match_key, first }: &NewMatchKey| -> Vec<Value> {
        vec![
            match_key.field.as_str().into(),
            match_key.value.as_str().into(),
            first.kind.as_str().into(),
            first.source_id.as_str().into(),
            storable(&first.name).into(),
            storable(&first.reference).into(),
        ]
    };
    db.insert("import_likeness", &columns, match_keys.iter().map(row).collect()).await
}

/// The first records of those match keys that an earlier record had.
pub(crate) async fn firsts(
    db: ImportDb<'_, impl ConnectionTrait>,
    match_keys: impl IntoIterator<Item = &MatchKey>,
) -> Result<HashMap<MatchKey, OtherRecord>, ImportError> {
    let row = |match_key: &MatchKey| -> Vec<Value> {
        vec![match_key.field.as_str().into(), match_key.value.as_str().into()]
    };
    let rows = match_keys.into_iter().map(row).collect();
    let rows = db.query_list(&["field", "value"], rows, |sql| {
        let first = ["kind", "source_id", "name", "reference"].map(|column| {
            format!(
                "(SELECT l.{column} FROM import_likeness l WHERE {}
                  AND l.field = v.field AND l.value = v.value) AS {column}",
                sql.scope_of("l")
            )
        });
        format!("SELECT field, value, {} FROM v", first.join(", "))
    });
    let mut firsts = HashMap::new();
    for row in rows.await? {
        let text = |column: &str| row.try_get::<String>("", column);
        let Some(kind) = row.try_get::<Option<String>>("", "kind")? else { continue };
        let field = text("field")?.parse().map_err(|_| ImportError::Corrupt("match key"))?;
        let first = OtherRecord {
            kind: kind.parse()?,
            record_id: String::new(),
            source_id: text("source_id")?,
            name: text("name")?,
            reference: text("reference")?,
        };
        firsts.insert(MatchKey { field, value: text("value")? }, first);
    }
    Ok(firsts)
}

/// Removes all match keys.
pub(crate) async fn remove_all(db: ImportDb<'_, impl ConnectionTrait>) -> Result<(), DbErr> {
    let removed = db.execute(|sql| format!("DELETE FROM import_likeness WHERE {}", sql.scope()));
    removed.await.map(drop)
}
