//! The parents of records: references to them, external parents, and their states.

use std::collections::HashMap;

use sea_orm::{ConnectionTrait, DbErr, QueryResult, Value};

use super::sql;
use crate::{
    domain::{enums::Kind, import::ImportKey, issue::root_cause, parents::ParentState},
    error::ImportError,
};

/// A key: the kind of a record, and its source id.
pub(crate) type SourceKey = (Kind, String);

/// The display name and reference of an external parent.
#[derive(Clone, Debug)]
pub(crate) struct ExternalNames {
    pub(crate) name: String,
    pub(crate) reference: String,
}

/// The source ids of a kind that records refer to as parents, after one.
pub(crate) async fn referenced(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    kind: Kind,
    after: &str,
    limit: u64,
) -> Result<Vec<String>, DbErr> {
    let text = format!(
        "SELECT DISTINCT source_id FROM import_parent
         WHERE practice_id = $1 AND import_id = $2 AND kind = $3 AND source_id > $4
         ORDER BY source_id LIMIT {limit}"
    );
    let values = sql::key_binds_with(key, [kind.as_str().into(), after.into()]);
    let rows = sql::query(db, &text, values).await?;
    rows.into_iter().map(|row| row.try_get("", "source_id")).collect()
}

/// The best result of the records of a key, as text that sorts by rank in its first
/// character: linked before failed, failed before excluded.
const BEST: &str = "(SELECT max(CASE
      WHEN r.record_id IS NOT NULL THEN '3' || r.record_id
      WHEN r.status IN ('FAILED', 'BLOCKED') THEN '2'
      WHEN r.status = 'EXCLUDED' THEN '1' ELSE '0' END)
    FROM import_record r WHERE r.practice_id = $1 AND r.import_id = $2
    AND r.kind = v.kind AND r.source_id = v.source_id AND r.status <> 'REPLACED')";

/// The states of the records of some keys.
pub(crate) async fn parent_states(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    keys: Vec<SourceKey>,
) -> Result<HashMap<SourceKey, ParentState>, ImportError> {
    let statement = format!(
        "SELECT kind, source_id, coalesce({BEST},
          (SELECT '3' || k.record_id FROM import_known k WHERE k.practice_id = $1
            AND k.import_id = $2 AND k.kind = v.kind AND k.source_id = v.source_id)) AS best
         FROM v"
    );
    let rows = by_keys(db, key, keys, &statement).await?;
    let (mut parent_states, mut failed) = (HashMap::new(), Vec::new());
    for row in rows {
        let parent = source_key(&row)?;
        let best: Option<String> = row.try_get("", "best")?;
        match best.as_deref().map(|best| best.split_at(best.len().min(1))) {
            Some(("3", record_id)) => {
                drop(parent_states.insert(parent, ParentState::Resolved(record_id.to_owned())));
            }
            Some(("2", _)) => failed.push(parent),
            Some(("1", _)) => drop(parent_states.insert(parent, ParentState::Excluded)),
            // Not in the import; or without a verdict, which must not happen in this
            // phase.
            _ => drop(parent_states.insert(parent, ParentState::NotFound)),
        }
    }
    parent_states.extend(failures(db, key, failed).await?);
    Ok(parent_states)
}

/// The failed records of some keys: their names and root causes. Of several records of
/// a key, the one with the lowest digest counts, so that the result is independent of
/// their order.
async fn failures(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    keys: Vec<SourceKey>,
) -> Result<Vec<(SourceKey, ParentState)>, ImportError> {
    let worst = |column: &str| {
        format!(
            "(SELECT {column} FROM import_record r WHERE r.practice_id = $1 AND r.import_id = $2
              AND r.kind = v.kind AND r.source_id = v.source_id
              AND r.status IN ('FAILED', 'BLOCKED')
              ORDER BY r.digest, r.batch, r.row_no LIMIT 1)"
        )
    };
    let first = |column: &str| {
        let value = worst(&format!(
            "(SELECT f.{column} FROM import_failure f WHERE f.practice_id = $1
              AND f.import_id = $2 AND f.batch = r.batch AND f.row_no = r.row_no
              ORDER BY f.ordinal LIMIT 1)"
        ));
        format!("{value} AS {column}")
    };
    let statement = format!(
        "SELECT kind, source_id, {} AS reference, {}, {} FROM v",
        worst("r.reference"),
        first("reason_text"),
        first("root_cause")
    );
    let rows = by_keys(db, key, keys, &statement).await?;
    let read = |row: QueryResult| {
        let (kind, source_id) = source_key(&row)?;
        let text =
            |column| row.try_get::<Option<String>>("", column).map(Option::unwrap_or_default);
        let (reference, reason, root) =
            (text("reference")?, text("reason_text")?, text("root_cause")?);
        let name = if reference.is_empty() { source_id.clone() } else { reference };
        let root_cause = if root.is_empty() { root_cause(kind, &source_id, &reason) } else { root };
        Ok(((kind, source_id), ParentState::Failed { name, root_cause }))
    };
    rows.into_iter().map(read).collect()
}

/// The keys that the import itself contains.
pub(crate) async fn in_import(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    keys: Vec<SourceKey>,
) -> Result<Vec<SourceKey>, ImportError> {
    let statement = format!("SELECT kind, source_id, {BEST} AS best FROM v");
    let rows = by_keys(db, key, keys, &statement).await?;
    let mut found = Vec::new();
    for row in rows {
        if row.try_get::<Option<String>>("", "best")?.is_some() {
            found.push(source_key(&row)?);
        }
    }
    Ok(found)
}

/// Removes the external parents, so that they are resolved again.
pub(crate) async fn remove_external(
    db: &impl ConnectionTrait,
    key: &ImportKey,
) -> Result<(), DbErr> {
    let text = "DELETE FROM import_known WHERE practice_id = $1 AND import_id = $2";
    sql::execute(db, text, sql::key_binds(key)).await.map(drop)
}

/// The display names of external parents.
pub(crate) async fn external_names(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    keys: Vec<SourceKey>,
) -> Result<HashMap<SourceKey, ExternalNames>, ImportError> {
    let column = |column: &str| {
        format!(
            "(SELECT k.{column} FROM import_known k WHERE k.practice_id = $1
              AND k.import_id = $2 AND k.kind = v.kind AND k.source_id = v.source_id) AS {column}"
        )
    };
    let statement =
        format!("SELECT kind, source_id, {}, {} FROM v", column("name"), column("reference"));
    let rows = by_keys(db, key, keys, &statement).await?;
    let mut names = HashMap::new();
    for row in rows {
        let name: Option<String> = row.try_get("", "name")?;
        let reference: Option<String> = row.try_get("", "reference")?;
        if let Some((name, reference)) = name.zip(reference) {
            names.insert(source_key(&row)?, ExternalNames { name, reference });
        }
    }
    Ok(names)
}

async fn by_keys(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    keys: Vec<SourceKey>,
    statement: &str,
) -> Result<Vec<QueryResult>, DbErr> {
    let row = |(kind, id): SourceKey| -> Vec<Value> { vec![kind.as_str().into(), id.into()] };
    let rows = keys.into_iter().map(row).collect();
    sql::query_with(db, &sql::key_binds(key), &["kind", "source_id"], rows, statement).await
}

fn source_key(row: &QueryResult) -> Result<SourceKey, ImportError> {
    let kind = row.try_get::<String>("", "kind")?.parse()?;
    Ok((kind, row.try_get("", "source_id")?))
}
