//! The search index: finds records by words and prefixes.
//!
//! It has one row for each word of each line. A prefix is a range of the primary key, so
//! that both engines scan the same rows in the same order.

use concord_db::{StatementBatch, TenantBinds, TenantDb};
use concord_proto::pb::records::RecordKind;
use sea_orm::{ConnectionTrait, FromQueryResult, IntoActiveModel as _, QueryFilter as _};
use uuid::Uuid;

use super::{bulk, entities::search_word, stored::Stored as _, write_now};
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
pub(crate) fn insert(batch: &mut StatementBatch, findables: &[SearchDocument]) {
    let mut rows = Vec::new();
    for findable in findables {
        for (line, n) in findable.lines.iter().zip(0_i64..) {
            for word in &line.words {
                let row = search_word::Model {
                    practice_id: batch.practice().to_string(),
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
    db: TenantDb<'_, impl ConnectionTrait>,
    findable: &SearchDocument,
) -> Result<(), RecordError> {
    remove(db, &[findable.id]).await?;
    let fill = |batch: &mut StatementBatch| {
        insert(batch, std::slice::from_ref(findable));
        Ok(())
    };
    write_now(db, fill).await
}

/// Deletes the search documents of records.
pub(crate) async fn remove(
    db: TenantDb<'_, impl ConnectionTrait>,
    records: &[Uuid],
) -> Result<(), RecordError> {
    let (delete, key) = (db.delete::<search_word::Entity>(), search_word::Column::RecordId);
    bulk::delete(db, delete, key, records).await.map(drop)
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
    db: TenantDb<'_, impl ConnectionTrait>,
    prefixes: &[String],
    kind: Option<RecordKind>,
    limit: u64,
) -> Result<Vec<SearchHit>, RecordError> {
    // Scans this prefix, and looks up the others by line.
    let Some(driver) = most_selective(db, prefixes).await? else { return Ok(Vec::new()) };
    let rows = db.query(|sql| find_sql(sql, driver, prefixes, kind, limit)).await?;
    rows.iter().map(|row| from_row(FoundRow::from_query_result(row, "")?)).collect()
}

fn find_sql(
    sql: &mut TenantBinds<'_>,
    driver: &str,
    prefixes: &[String],
    kind: Option<RecordKind>,
    limit: u64,
) -> String {
    let mut text = format!(
        "SELECT s.record_id, s.record_kind, s.rank, s.sort_name FROM search_word s \
         WHERE s.practice_id = {} AND {}",
        sql.practice(),
        starts_with(sql, "s.word", driver)
    );
    if let Some(kind) = kind {
        text.extend([" AND s.record_kind = ", &sql.bind(kind.stored())]);
    }
    for other in prefixes.iter().filter(|prefix| *prefix != driver) {
        let exists = format!(
            " AND EXISTS (SELECT 1 FROM search_word o WHERE o.practice_id = s.practice_id \
             AND o.record_id = s.record_id AND o.line = s.line AND {})",
            starts_with(sql, "o.word", other)
        );
        text.push_str(&exists);
    }
    format!("{text} ORDER BY s.word, s.record_id, s.line LIMIT {limit}")
}

/// The condition that a column starts with this prefix.
fn starts_with(sql: &mut TenantBinds<'_>, column: &str, prefix: &str) -> String {
    format!("{column} >= {} AND {column} < {}", sql.bind(prefix), sql.bind(after(prefix)))
}

/// The most selective prefix: the one with the fewest lines; among frequent ones, the
/// longest. Every match has all prefixes, so a scan of a frequent one would be wasted.
async fn most_selective<'a>(
    db: TenantDb<'_, impl ConnectionTrait>,
    prefixes: &'a [String],
) -> Result<Option<&'a String>, RecordError> {
    if let [_] | [] = prefixes {
        return Ok(prefixes.first());
    }
    let mut counted = Vec::with_capacity(prefixes.len());
    for prefix in prefixes {
        let row = db.query_one(|sql| {
            format!(
                "SELECT COUNT(*) AS lines FROM (SELECT 1 FROM search_word s \
                 WHERE s.practice_id = {} AND {} LIMIT {MAX_COUNTED}) few",
                sql.practice(),
                starts_with(sql, "s.word", prefix)
            )
        });
        let lines: i64 = row.await?.map_or(Ok(0), |row| row.try_get("", "lines"))?;
        counted.push((lines, std::cmp::Reverse(prefix.len()), prefix));
    }
    Ok(counted.into_iter().min().map(|(.., prefix)| prefix))
}

/// Maximum number of lines of a prefix that are counted.
const MAX_COUNTED: i64 = 1_000;

/// Finds lines with exactly this word.
pub(crate) async fn find_exact(
    db: TenantDb<'_, impl ConnectionTrait>,
    word: &str,
    kind: Option<RecordKind>,
    limit: u64,
) -> Result<Vec<SearchHit>, RecordError> {
    use sea_orm::{QueryOrder as _, QuerySelect as _};
    let mut query = db.select::<search_word::Entity>().filter(search_word::COLUMN.word.eq(word));
    if let Some(kind) = kind {
        query = query.filter(search_word::COLUMN.record_kind.eq(kind.stored()));
    }
    let query = query.order_by_asc(search_word::Column::RecordId).limit(limit);
    let rows = query.into_model::<FoundRow>().all(db.connection()).await?;
    rows.into_iter().map(from_row).collect()
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
