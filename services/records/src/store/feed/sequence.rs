//! From pending changes to positions.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbBackend, EntityTrait as _, QuerySelect as _, Statement};

use crate::{error::RecordError, store::entities::feed_product};

/// At most this many changes get their positions in one transaction.
pub(super) const BATCH: i64 = 5_000;
/// At most this many of them are of one practice, so that its import does not
/// hold up the others.
pub(super) const BATCH_OF_PRACTICE: i64 = 200;

/// The products that have changes without positions.
pub(crate) async fn products_with_pending(
    db: &impl ConnectionTrait,
) -> Result<Vec<String>, RecordError> {
    let sql = "SELECT f.product FROM feed_product f \
               WHERE EXISTS (SELECT 1 FROM feed_pending p WHERE p.product = f.product) \
               ORDER BY f.product";
    let statement = Statement::from_string(db.get_database_backend(), sql);
    let rows = db.query_all_raw(statement).await?;
    Ok(rows.iter().map(|row| row.try_get("", "product")).collect::<Result<_, _>>()?)
}

/// Gives the oldest pending changes of `product` the next positions, and tells the
/// other replicas; says how many there were.
///
/// The lock on the product's row makes sequencers of different replicas take
/// turns. READ COMMITTED is essential on PostgreSQL: the statement after the lock
/// must see what was committed while it was waited for.
pub(crate) async fn sequence(
    db: &impl ConnectionTrait,
    product: &str,
    now: DateTime<Utc>,
) -> Result<i64, RecordError> {
    let feed = feed_product::Entity::find_by_id(product).lock_exclusive().one(db).await?;
    let Some(feed) = feed else { return Ok(0) };
    let engine = db.get_database_backend();
    let values = [product.into(), feed.last_practice.as_str().into(), feed.head.into(), now.into()];
    let statement = Statement::from_sql_and_values(engine, sequence_sql(engine), values);
    let rows = db.query_all_raw(statement).await?;
    // None, when nothing was pending.
    let Some(row) = rows.first() else { return Ok(0) };
    Ok(row.try_get::<i64>("", "head")? - feed.head)
}

/// Takes pending rows, gives them positions, removes them from what is pending, and
/// moves the head: one statement on PostgreSQL, one text of three on SQLite.
///
/// The practice that was served last is remembered: the greatest of those that were
/// reached by going round, or else of all.
fn sequence_sql(engine: DbBackend) -> String {
    let take = take_sql(engine);
    if engine == DbBackend::Postgres {
        // The rows are removed by where they are: of a join, the planner would
        // rather read all that is pending than look a few thousand rows up.
        return format!(
            "{take}, placed AS ({PLACE}), \
             gone AS (DELETE FROM feed_pending \
               WHERE ctid = ANY (ARRAY(SELECT place FROM taken))), \
             new AS (SELECT COUNT(*) AS count, MAX(practice_id) AS last, \
               MAX(practice_id) FILTER (WHERE practice_id <= $2) AS round FROM taken) \
             UPDATE feed_product SET head = $3 + new.count, \
               last_practice = COALESCE(new.round, new.last) \
             FROM new WHERE product = $1 AND new.count > 0 \
             RETURNING head, pg_notify('{CHANNEL}', product)"
        );
    }
    format!("{take} {PLACE}; {DELETE_TAKEN}; {ADVANCE}")
}

/// Positions follow `seq`, so that the changes of a practice stay in their order.
const PLACE: &str = "INSERT INTO feed_entry(product, pos, seq, practice_id, linked, sequenced_at) \
    SELECT $1, $3 + ROW_NUMBER() OVER (ORDER BY seq), seq, practice_id, linked, $4 FROM taken";

const DELETE_TAKEN: &str = "DELETE FROM feed_pending WHERE product = $1 \
    AND (practice_id, seq) IN (SELECT practice_id, seq FROM feed_entry \
      WHERE product = $1 AND pos > $3)";

/// The signs hide the practice from the indexes of SQLite: only the new positions are
/// looked at, and not the feed in the order of its practices.
const ADVANCE: &str = "UPDATE feed_product SET \
    head = COALESCE((SELECT MAX(pos) FROM feed_entry WHERE product = $1), head), \
    last_practice = COALESCE( \
      (SELECT MAX(+practice_id) FROM feed_entry \
       WHERE product = $1 AND pos > $3 AND +practice_id <= $2), \
      (SELECT MAX(+practice_id) FROM feed_entry WHERE product = $1 AND pos > $3), \
      last_practice) \
    WHERE product = $1 RETURNING head";

/// The pending rows whose turn it is: practice after practice, beginning after the
/// one that was served last (`$2`) and going round, the oldest of each.
fn take_sql(engine: DbBackend) -> String {
    let practices = BATCH / BATCH_OF_PRACTICE;
    let next = |above: &str| {
        format!("SELECT MIN(q.practice_id) FROM feed_pending q WHERE q.product = $1 AND {above}")
    };
    format!(
        "WITH RECURSIVE later(n, id) AS ( \
           SELECT 1, ({first_later}) \
           UNION ALL \
           SELECT n + 1, ({next_later}) FROM later WHERE id IS NOT NULL AND n < {practices} \
         ), earlier(n, id) AS ( \
           SELECT {practices} + 1, ({first_earlier}) \
           UNION ALL \
           SELECT n + 1, ({next_earlier}) FROM earlier \
           WHERE id IS NOT NULL AND n < 2 * {practices} \
         ), served(id) AS ( \
           SELECT id FROM (SELECT * FROM later UNION ALL SELECT * FROM earlier) AS either \
           WHERE id IS NOT NULL ORDER BY n LIMIT {practices} \
         ), {taken}",
        first_later = next("q.practice_id > $2"),
        next_later = next("q.practice_id > later.id"),
        first_earlier = next("q.practice_id <= $2"),
        next_earlier = next("q.practice_id > earlier.id AND q.practice_id <= $2"),
        taken = taken_sql(engine),
    )
}

/// The oldest pending rows of each practice in `served`: a walk along the primary
/// key, as far as the bound and no further. Each engine is told so in the words
/// that leave it no other way: of a join, the planner of PostgreSQL looks the bound
/// up again for every pending row of the product, and a batch beside an import of
/// 20,000 records takes a second.
fn taken_sql(engine: DbBackend) -> String {
    if engine == DbBackend::Postgres {
        return format!(
            "taken AS ( \
               SELECT p.practice_id, p.seq, p.linked, p.place \
               FROM served CROSS JOIN LATERAL ( \
                 SELECT x.practice_id, x.seq, x.linked, x.ctid AS place FROM feed_pending x \
                 WHERE x.product = $1 AND x.practice_id = served.id \
                 ORDER BY x.product, x.practice_id, x.seq LIMIT {BATCH_OF_PRACTICE}) p)"
        );
    }
    let (skip, no_bound) = (BATCH_OF_PRACTICE - 1, i64::MAX);
    format!(
        "bounded(id, upto) AS MATERIALIZED ( \
           SELECT id, COALESCE((SELECT x.seq FROM feed_pending x \
             WHERE x.product = $1 AND x.practice_id = served.id \
             ORDER BY x.seq LIMIT 1 OFFSET {skip}), {no_bound}) FROM served \
         ), taken AS ( \
           SELECT p.practice_id, p.seq, p.linked FROM bounded \
           JOIN feed_pending p ON p.product = $1 AND p.practice_id = bounded.id \
             AND p.seq <= bounded.upto)"
    )
}

/// The PostgreSQL channel by which a sequencer tells the other replicas that a
/// product's feed has grown. Only the sequencer does, never a writing transaction:
/// a notification takes a lock of the whole cluster until its commit. SQLite has
/// one process, and none.
pub(crate) const CHANNEL: &str = "concord_feed";
