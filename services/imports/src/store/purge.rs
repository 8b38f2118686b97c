//! Removing what was uploaded: what is left of a record is where it came from,
//! how it ended and what it became, without a word of what it said.

use sea_orm::{ConnectionTrait, DbErr};
use shared::db::chosen;

use super::sql;
use crate::domain::import::{ImportKey, RowId};

/// Tables that hold what people wrote, and the rest of their keys.
const CONTENT: [(&str, &str); 7] = [
    ("import_staged", "batch, row_no"),
    ("import_parent", "batch, row_no"),
    ("import_known", "kind, source_id"),
    ("import_failure", "batch, row_no"),
    ("import_attempt", "round, batch, row_no"),
    ("import_duplicate", "batch, row_no"),
    ("import_likeness", "field, value"),
];

/// Removes the next `limit` rows of the content of an import, and then empties its
/// records after `emptied`, which stay with their keys. The record that was emptied
/// last; none when nothing is left to do.
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
        let next = chosen(db.get_database_backend(), table, &next);
        let text = format!("DELETE FROM {table} WHERE {next}");
        left = left.saturating_sub(sql::execute(db, &text, sql::scope(key)).await?);
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
    let place = || sql::scoped(key, sql::row_id(after));
    let last = sql::query(db, &text, place()).await?.into_iter().next();
    let last = last.map(|row| {
        Ok::<_, DbErr>(RowId { batch: row.try_get("", "batch")?, row: row.try_get("", "row_no")? })
    });
    let last = last.transpose()?;
    let (up_to_it, values) = match last {
        Some(last) => {
            let values = sql::row_id(after).into_iter().chain(sql::row_id(last));
            ("AND (batch, row_no) <= ($5, $6)", sql::scoped(key, values))
        }
        None => ("", place()),
    };
    let text = format!(
        "UPDATE import_record SET reference = '', reference_key = NULL, timeline = NULL, \
           active_from = NULL, active_to = NULL, ends_on = NULL {after_it} {up_to_it}"
    );
    sql::execute(db, &text, values).await?;
    Ok(last)
}
