//! Removing what was uploaded: what is left of a record is where it came from,
//! how it ended and what it became, without a word of what it said.

use sea_orm::{ConnectionTrait, DbErr};

use super::sql;
use crate::domain::import::ImportKey;

/// Tables that hold what people wrote.
const CONTENT: [&str; 7] = [
    "import_staged",
    "import_parent",
    "import_known",
    "import_failure",
    "import_attempt",
    "import_duplicate",
    "import_likeness",
];

/// Removes the content of an import; its records stay, with their keys.
pub(crate) async fn remove_content(
    db: &impl ConnectionTrait,
    key: &ImportKey,
) -> Result<(), DbErr> {
    for table in CONTENT {
        let text = format!("DELETE FROM {table} WHERE practice_id = $1 AND import_id = $2");
        sql::execute(db, &text, sql::scope(key)).await?;
    }
    let text = "UPDATE import_record SET reference = '', reference_key = NULL, timeline = NULL,
        active_from = NULL, active_to = NULL, ends_on = NULL
        WHERE practice_id = $1 AND import_id = $2";
    sql::execute(db, text, sql::scope(key)).await.map(drop)
}
