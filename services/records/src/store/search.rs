//! The search index: finds records by words and prefixes.
//!
//! It has one row for each word of each line. A prefix is a range of the primary key, so
//! that both engines scan the same rows in the same order.

use concord_core::caller::PracticeId;
use concord_db::StatementBatch;
use concord_proto::pb::records::RecordKind;
use sea_orm::{
    ConnectionTrait, EntityTrait as _, FromQueryResult, IntoActiveModel as _, QueryFilter as _,
    Statement, Value,
};
use uuid::Uuid;

use super::{
    entities::search_word,
    sql::{Stored as _, among, sorted_chunks},
    write_now,
};
use crate::{
    domain::{
        record::RecordRef,
        search::{Rank, SearchDocument},
    },
    error::RecordError,
};

/// A matching line of the index.
#[derive(Clone, Debug)]
pub(crate) struct SearchHit {
    pub(crate) record: RecordRef,
    pub(crate) rank: Rank,
    pub(crate) sort_name: String,
}

/// Inserts the search documents of new records.
pub(crate) fn insert(
    batch: &mut StatementBatch,
    practice: &PracticeId,
    findables: &[SearchDocument],
) {
    let mut rows = Vec::new();
    for findable in findables {
        for (line, n) in findable.lines.iter().zip(0_i64..) {
            for word in &line.words {
                let row = search_word::Model {
                    practice_id: practice.to_string(),
                    word: word.clone(),
                    record_id: findable.id,
                    line: n,
                    record_kind: findable.kind.stored(),
                    rank: line.rank.number(),
                    sort_name: findable.sort_name.clone(),
                };
                rows.push(row.into_active_model());
            }
        }
    }
    batch.insert(rows);
}

/// Reindexes a record: replaces its search document.
pub(crate) async fn replace(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    findable: &SearchDocument,
) -> Result<(), RecordError> {
    remove(db, practice, &[findable.id]).await?;
    let fill = |batch: &mut StatementBatch| {
        insert(batch, practice, std::slice::from_ref(findable));
        Ok(())
    };
    write_now(db, fill).await
}

/// Deletes the search documents of records.
pub(crate) async fn remove(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    records: &[Uuid],
) -> Result<(), RecordError> {
    for records in sorted_chunks(records) {
        search_word::Entity::delete_many()
            .filter(search_word::COLUMN.practice_id.eq(practice.as_str()))
            .filter(among(db, search_word::Column::RecordId, records))
            .exec(db)
            .await?;
    }
    Ok(())
}

#[derive(FromQueryResult)]
struct FoundRow {
    record_id: Uuid,
    record_kind: String,
    rank: i64,
    sort_name: String,
}

/// Finds at most `limit` lines that have a word with each of `prefixes`, in the order of
/// the words.
pub(crate) async fn find(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    prefixes: &[String],
    kind: Option<RecordKind>,
    limit: u64,
) -> Result<Vec<SearchHit>, RecordError> {
    // Scans this prefix, and looks up the others by line.
    let Some(driver) = most_selective(db, practice, prefixes).await? else { return Ok(Vec::new()) };
    let mut values: Vec<Value> = vec![practice.as_str().into()];
    let mut bind = |value: Value| {
        values.push(value);
        format!("${}", values.len())
    };
    let mut sql = format!(
        "SELECT s.record_id, s.record_kind, s.rank, s.sort_name FROM search_word s \
         WHERE s.practice_id = $1 AND s.word >= {} AND s.word < {}",
        bind(driver.as_str().into()),
        bind(after(driver).into()),
    );
    if let Some(kind) = kind {
        let bound = bind(kind.stored().into());
        sql.extend([" AND s.record_kind = ", bound.as_str()]);
    }
    for other in prefixes.iter().filter(|prefix| *prefix != driver) {
        let exists = format!(
            " AND EXISTS (SELECT 1 FROM search_word o WHERE o.practice_id = s.practice_id \
             AND o.record_id = s.record_id AND o.line = s.line AND o.word >= {} AND o.word < {})",
            bind(other.as_str().into()),
            bind(after(other).into()),
        );
        sql.push_str(&exists);
    }
    let order = format!(" ORDER BY s.word, s.record_id, s.line LIMIT {limit}");
    sql.push_str(&order);
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    let rows = FoundRow::find_by_statement(statement).all(db).await?;
    rows.into_iter().map(from_row).collect()
}

/// The most selective prefix: the one with the fewest lines; among frequent ones, the
/// longest. Every match has all prefixes, so a scan of a frequent one would be wasted.
async fn most_selective<'a>(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    prefixes: &'a [String],
) -> Result<Option<&'a String>, RecordError> {
    if let [_] | [] = prefixes {
        return Ok(prefixes.first());
    }
    let mut counted = Vec::with_capacity(prefixes.len());
    for prefix in prefixes {
        let sql = format!(
            "SELECT COUNT(*) AS lines FROM (SELECT 1 FROM search_word s WHERE s.practice_id = $1 \
             AND s.word >= $2 AND s.word < $3 LIMIT {MAX_COUNTED}) few"
        );
        let values =
            [practice.as_str().into(), prefix.as_str().into(), after(prefix).as_str().into()];
        let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
        let row = db.query_one_raw(statement).await?;
        let lines: i64 = row.map_or(Ok(0), |row| row.try_get("", "lines"))?;
        counted.push((lines, std::cmp::Reverse(prefix.len()), prefix));
    }
    Ok(counted.into_iter().min().map(|(.., prefix)| prefix))
}

/// Maximum number of lines of a prefix that are counted.
const MAX_COUNTED: i64 = 1_000;

/// Finds lines with exactly this word.
pub(crate) async fn find_exact(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    word: &str,
    kind: Option<RecordKind>,
    limit: u64,
) -> Result<Vec<SearchHit>, RecordError> {
    use sea_orm::{QueryOrder as _, QuerySelect as _};
    let mut query = search_word::Entity::find()
        .filter(search_word::COLUMN.practice_id.eq(practice.as_str()))
        .filter(search_word::COLUMN.word.eq(word));
    if let Some(kind) = kind {
        query = query.filter(search_word::COLUMN.record_kind.eq(kind.stored()));
    }
    let rows = query.order_by_asc(search_word::Column::RecordId).limit(limit).all(db).await?;
    let row = |row: search_word::Model| {
        let search_word::Model { record_id, record_kind, rank, sort_name, .. } = row;
        from_row(FoundRow { record_id, record_kind, rank, sort_name })
    };
    rows.into_iter().map(row).collect()
}

/// The upper bound of the range of texts with this prefix.
fn after(prefix: &str) -> String {
    format!("{prefix}\u{10FFFF}")
}

fn from_row(row: FoundRow) -> Result<SearchHit, RecordError> {
    let kind = RecordKind::read(&row.record_kind)?;
    Ok(SearchHit {
        record: RecordRef { kind, id: row.record_id },
        rank: Rank::of_number(row.rank),
        sort_name: row.sort_name,
    })
}
