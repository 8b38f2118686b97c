//! The parents of records: references to them, external parents, and their states.

use std::collections::HashMap;

use sea_orm::{ConnectionTrait, DbErr, QueryResult, Value};

use super::{ImportDb, import_db::ImportBinds};
use crate::{
    domain::{enums::Kind, issue::root_cause, parents::ParentState},
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
    db: ImportDb<'_, impl ConnectionTrait>,
    kind: Kind,
    after: &str,
    limit: u64,
) -> Result<Vec<String>, DbErr> {
    let rows = db.query(|sql| {
        format!(
            "SELECT DISTINCT source_id FROM import_parent
             WHERE {} AND kind = {} AND source_id > {}
             ORDER BY source_id LIMIT {limit}",
            sql.scope(),
            sql.bind(kind.as_str()),
            sql.bind(after)
        )
    });
    rows.await?.into_iter().map(|row| row.try_get("", "source_id")).collect()
}

/// The best result of the records of a key, as text that sorts by rank in its first
/// character: linked before failed, failed before excluded.
fn best(sql: &mut ImportBinds<'_>) -> String {
    format!(
        "(SELECT max(CASE
           WHEN r.record_id IS NOT NULL THEN '3' || r.record_id
           WHEN r.status IN ('FAILED', 'BLOCKED') THEN '2'
           WHEN r.status = 'EXCLUDED' THEN '1' ELSE '0' END)
         FROM import_record r WHERE {}
         AND r.kind = v.kind AND r.source_id = v.source_id AND r.status <> 'REPLACED')",
        sql.scope_of("r")
    )
}

/// A value of the external parent `k` with a key.
fn external(sql: &mut ImportBinds<'_>, value: &str) -> String {
    format!(
        "(SELECT {value} FROM import_known k WHERE {}
          AND k.kind = v.kind AND k.source_id = v.source_id)",
        sql.scope_of("k")
    )
}

/// The states of the records of some keys.
pub(crate) async fn parent_states(
    db: ImportDb<'_, impl ConnectionTrait>,
    keys: Vec<SourceKey>,
) -> Result<HashMap<SourceKey, ParentState>, ImportError> {
    let rows = by_keys(db, keys, |sql| {
        format!(
            "SELECT kind, source_id, coalesce({}, {}) AS best FROM v",
            best(sql),
            external(sql, "'3' || k.record_id")
        )
    });
    let (mut parent_states, mut failed) = (HashMap::new(), Vec::new());
    for row in rows.await? {
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
    parent_states.extend(failures(db, failed).await?);
    Ok(parent_states)
}

/// The failed records of some keys: their names and root causes. Of several records of
/// a key, the one with the lowest digest counts, so that the result is independent of
/// their order.
async fn failures(
    db: ImportDb<'_, impl ConnectionTrait>,
    keys: Vec<SourceKey>,
) -> Result<Vec<(SourceKey, ParentState)>, ImportError> {
    let rows = by_keys(db, keys, |sql| {
        format!(
            "SELECT kind, source_id, {} AS reference, {} AS reason_text, {} AS root_cause FROM v",
            of_first(sql, "r.reference"),
            of_first_failure(sql, "reason_text"),
            of_first_failure(sql, "root_cause")
        )
    });
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
    rows.await?.into_iter().map(read).collect()
}

/// A value of the failed record `r` that counts for a key.
fn of_first(sql: &mut ImportBinds<'_>, value: &str) -> String {
    format!(
        "(SELECT {value} FROM import_record r WHERE {}
          AND r.kind = v.kind AND r.source_id = v.source_id
          AND r.status IN ('FAILED', 'BLOCKED')
          ORDER BY r.digest, r.batch, r.row_no LIMIT 1)",
        sql.scope_of("r")
    )
}

/// A column of the first failure of that record.
fn of_first_failure(sql: &mut ImportBinds<'_>, column: &str) -> String {
    // The text of the value comes first in that of the record, and so do its parameters.
    let value = format!(
        "(SELECT f.{column} FROM import_failure f WHERE {}
          AND f.batch = r.batch AND f.row_no = r.row_no
          ORDER BY f.ordinal LIMIT 1)",
        sql.scope_of("f")
    );
    of_first(sql, &value)
}

/// The keys that the import itself contains.
pub(crate) async fn in_import(
    db: ImportDb<'_, impl ConnectionTrait>,
    keys: Vec<SourceKey>,
) -> Result<Vec<SourceKey>, ImportError> {
    let rows =
        by_keys(db, keys, |sql| format!("SELECT kind, source_id, {} AS best FROM v", best(sql)));
    let mut found = Vec::new();
    for row in rows.await? {
        if row.try_get::<Option<String>>("", "best")?.is_some() {
            found.push(source_key(&row)?);
        }
    }
    Ok(found)
}

/// Removes the external parents, so that they are resolved again.
pub(crate) async fn remove_external(db: ImportDb<'_, impl ConnectionTrait>) -> Result<(), DbErr> {
    let removed = db.execute(|sql| format!("DELETE FROM import_known WHERE {}", sql.scope()));
    removed.await.map(drop)
}

/// The display names of external parents.
pub(crate) async fn external_names(
    db: ImportDb<'_, impl ConnectionTrait>,
    keys: Vec<SourceKey>,
) -> Result<HashMap<SourceKey, ExternalNames>, ImportError> {
    let rows = by_keys(db, keys, |sql| {
        format!(
            "SELECT kind, source_id, {} AS name, {} AS reference FROM v",
            external(sql, "k.name"),
            external(sql, "k.reference")
        )
    });
    let mut names = HashMap::new();
    for row in rows.await? {
        let name: Option<String> = row.try_get("", "name")?;
        let reference: Option<String> = row.try_get("", "reference")?;
        if let Some((name, reference)) = name.zip(reference) {
            names.insert(source_key(&row)?, ExternalNames { name, reference });
        }
    }
    Ok(names)
}

async fn by_keys(
    db: ImportDb<'_, impl ConnectionTrait>,
    keys: Vec<SourceKey>,
    text: impl Fn(&mut ImportBinds<'_>) -> String,
) -> Result<Vec<QueryResult>, DbErr> {
    let row = |(kind, id): SourceKey| -> Vec<Value> { vec![kind.as_str().into(), id.into()] };
    db.query_list(&["kind", "source_id"], keys.into_iter().map(row).collect(), text).await
}

fn source_key(row: &QueryResult) -> Result<SourceKey, ImportError> {
    let kind = row.try_get::<String>("", "kind")?.parse()?;
    Ok((kind, row.try_get("", "source_id")?))
}
