//! Purges the uploads of an import. Of each record, its position, verdict and record id
//! remain, but no content.

use concord_db::row_id_in;
use sea_orm::{ConnectionTrait, DbErr};

use super::{ImportDb, import_db::ImportBinds, records};
use crate::domain::import::RowId;

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
    db: ImportDb<'_, impl ConnectionTrait>,
    emptied: RowId,
    limit: u64,
) -> Result<Option<RowId>, DbErr> {
    let mut left = limit;
    for (table, order) in CONTENT {
        let removed = db.execute(|sql| {
            let next = format!(
                "WHERE {} ORDER BY practice_id, import_id, {order} LIMIT {left}",
                sql.scope()
            );
            format!("DELETE FROM {table} WHERE {}", row_id_in(sql.engine(), table, &next))
        });
        let removed = removed.await?;
        left = left.saturating_sub(removed);
        if left == 0 {
            return Ok(Some(emptied));
        }
    }
    empty_records(db, emptied, left).await
}

async fn empty_records(
    db: ImportDb<'_, impl ConnectionTrait>,
    after: RowId,
    count: u64,
) -> Result<Option<RowId>, DbErr> {
    let skipped = count.saturating_sub(1);
    let last = db.query(|sql| {
        format!(
            "SELECT batch, row_no FROM import_record {} \
             ORDER BY batch, row_no LIMIT 1 OFFSET {skipped}",
            records_after(sql, after)
        )
    });
    let last = last.await?.first().map(records::row_id).transpose()?;
    let emptied = db.execute(|sql| {
        let mut rows = records_after(sql, after);
        if let Some(last) = last {
            rows = format!("{rows} AND (batch, row_no) <= {}", sql.row_id(last));
        }
        format!(
            "UPDATE import_record SET reference = '', reference_key = NULL, timeline = NULL, \
               active_from = NULL, active_to = NULL, ends_on = NULL {rows}"
        )
    });
    emptied.await?;
    Ok(last)
}

fn records_after(sql: &mut ImportBinds<'_>, after: RowId) -> String {
    format!("WHERE {} AND (batch, row_no) > {}", sql.scope(), sql.row_id(after))
}
