//! Finding records by words.
//!
//! One row for each word of each line. A prefix is a range of the primary key,
//! so that both engines walk the same rows in the same order.

use sea_orm::{
    ConnectionTrait, EntityTrait as _, FromQueryResult, IntoActiveModel as _, QueryFilter as _,
    Statement, Value,
};
use shared::{caller::PracticeId, db::Writes, pb::records::RecordKind};
use uuid::Uuid;

use super::{
    entities::search_word,
    keys::{among, pieces},
    text::Stored as _,
    write_now,
};
use crate::{
    domain::{
        record::RecordRef,
        search::{Findable, Rank},
    },
    error::RecordError,
};

/// A line that was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) record: RecordRef,
    pub(crate) rank: Rank,
    pub(crate) sort_name: String,
}

/// Adds what new records are found by.
pub(crate) fn insert(writes: &mut Writes, practice: &PracticeId, findables: &[Findable]) {
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
    writes.insert(rows);
}

/// Replaces what a record is found by.
pub(crate) async fn replace(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    findable: &Findable,
) -> Result<(), RecordError> {
    remove(db, practice, &[findable.id]).await?;
    let fill = |writes: &mut Writes| {
        insert(writes, practice, std::slice::from_ref(findable));
        Ok(())
    };
    write_now(db, fill).await
}

/// Removes everything that these records are found by.
pub(crate) async fn remove(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    records: &[Uuid],
) -> Result<(), RecordError> {
    for records in pieces(records) {
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

/// Lines with a word that begins with each of `prefixes`, or that is `whole`;
/// at most `limit` of them, in the order of the words.
pub(crate) async fn find(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    prefixes: &[String],
    kind: Option<RecordKind>,
    limit: u64,
) -> Result<Vec<Found>, RecordError> {
    // The others are looked up by line.
    let Some(driver) = rarest(db, practice, prefixes).await? else { return Ok(Vec::new()) };
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

/// The prefix that the fewest lines have; of those that many have, the longest. What
/// is found has all of them, so that one which is in every line must not lead.
async fn rarest<'a>(
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
             AND s.word >= $2 AND s.word < $3 LIMIT {MANY}) few"
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

/// Lines of a prefix that are counted at most.
const MANY: i64 = 1_000;

/// Lines that are this word, whole.
pub(crate) async fn find_whole(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    word: &str,
    kind: Option<RecordKind>,
    limit: u64,
) -> Result<Vec<Found>, RecordError> {
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

/// The least text that is greater than all texts with this beginning.
fn after(prefix: &str) -> String {
    format!("{prefix}\u{10FFFF}")
}

fn from_row(row: FoundRow) -> Result<Found, RecordError> {
    let kind = RecordKind::read(&row.record_kind)?;
    Ok(Found {
        record: RecordRef { kind, id: row.record_id },
        rank: Rank::of_number(row.rank),
        sort_name: row.sort_name,
    })
}
