//! Purges the uploads of an import. Of each record, its position, verdict and record id
//! remain, but no content.

use concord_db::row_id_in;
use sea_orm::{ConnectionTrait, DbErr};

use super::sql;
use crate::domain::import::{ImportKey, RowId};

/// Tables with content of records, and the rest of their primary keys.
const CONTENT: [(&str, &str); 7] = [
    ("import_staged", "batch, row_no"),
    ("import_parent", "batch, row_no"),
    ("import_known", "kind, source_id"),
    ("import_failure", "batch, row_no"),
    ("import_attempt", "round, batch, row_no"),
    ("import_duplicate", "batch, row_no"),
    ("import_likeness", "field, value"),
];

/// Removes the next `limit` rows of the content of an import, then clears the content
/// columns of its records after `emptied`; the records and their keys remain. Returns
/// the last record that was cleared; `None` if nothing is left.
pub(crate) async fn remove_some(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    emptied: RowId,
    limit: u64,
) -> Result<Option<RowId>, DbErr> {
    let mut left = limit;
    for (table, order) in CONTENT {
        let next = format!(
            "WHERE practice_id = $1 AND import_id = $2 \
             ORDER BY practice_id, import_id, {order} LIMIT {left}"
        );
        let next = row_id_in(db.get_database_backend(), table, &next);
        let text = format!("DELETE FROM {table} WHERE {next}");
        left = left.saturating_sub(sql::execute(db, &text, sql::key_binds(key)).await?);
        if left == 0 {
            return Ok(Some(emptied));
        }
    }
    empty_records(db, key, emptied, left).await
}

async fn empty_records(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    after: RowId,
    count: u64,
) -> Result<Option<RowId>, DbErr> {
    let after_it = "WHERE practice_id = $1 AND import_id = $2 AND (batch, row_no) > ($3, $4)";
    let skipped = count.saturating_sub(1);
    let text = format!(
        "SELECT batch, row_no FROM import_record {after_it} \
         ORDER BY batch, row_no LIMIT 1 OFFSET {skipped}"
    );
    let after_binds = || sql::key_binds_with(key, sql::row_id(after));
    let last = sql::query(db, &text, after_binds()).await?.into_iter().next();
    let last = last.map(|row| {
        Ok::<_, DbErr>(RowId { batch: row.try_get("", "batch")?, row: row.try_get("", "row_no")? })
    });
    let last = last.transpose()?;
    let (up_to_it, values) = match last {
        Some(last) => {
            let values = sql::row_id(after).into_iter().chain(sql::row_id(last));
            ("AND (batch, row_no) <= ($5, $6)", sql::key_binds_with(key, values))
        }
        None => ("", after_binds()),
    };
    let text = format!(
        "UPDATE import_record SET reference = '', reference_key = NULL, timeline = NULL, \
           active_from = NULL, active_to = NULL, ends_on = NULL {after_it} {up_to_it}"
    );
    sql::execute(db, &text, values).await?;
    Ok(last)
}
