//! Sequencing: assigns the next positions of a feed to pending changes.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbBackend, EntityTrait as _, QuerySelect as _, Statement};

use crate::{error::RecordError, store::entities::feed_product};

/// Maximum number of changes that one transaction sequences.
pub(super) const BATCH: i64 = 5_000;
/// Maximum number of changes of one practice in a batch, so that the import of one tenant
/// does not delay the others.
pub(super) const BATCH_OF_PRACTICE: i64 = 200;

/// The products that have pending changes.
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

/// Assigns the next positions to the oldest pending changes of `product`, and notifies the
/// other replicas. Returns the number of changes.
///
/// The lock on the product's row serialises the sequencers of different replicas. READ
/// COMMITTED is essential on PostgreSQL: the statement after the lock must see what was
/// committed while it waited for the lock.
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
    // No row if nothing was pending.
    let Some(row) = rows.first() else { return Ok(0) };
    Ok(row.try_get::<i64>("", "head")? - feed.head)
}

/// Selects pending rows, inserts them as entries, deletes them from the pending ones, and
/// advances the head: one statement on PostgreSQL, one text of three statements on SQLite.
///
/// Stores the last practice of the round robin: the greatest of those that were reached
/// after the wrap-around, or else of all.
fn sequence_sql(engine: DbBackend) -> String {
    let take = take_sql(engine);
    if engine == DbBackend::Postgres {
        // Deletes by `ctid`: for a join, the planner would scan all pending rows instead
        // of looking up a few thousand.
        return format!(
            "{take}, placed AS ({INSERT_ENTRIES}), \
             gone AS (DELETE FROM feed_pending \
               WHERE ctid = ANY (ARRAY(SELECT row_id FROM taken))), \
             new AS (SELECT COUNT(*) AS count, MAX(practice_id) AS last, \
               MAX(practice_id) FILTER (WHERE practice_id <= $2) AS round FROM taken) \
             UPDATE feed_product SET head = $3 + new.count, \
               last_practice = COALESCE(new.round, new.last) \
             FROM new WHERE product = $1 AND new.count > 0 \
             RETURNING head, pg_notify('{CHANNEL}', product)"
        );
    }
    format!("{take} {INSERT_ENTRIES}; {DELETE_TAKEN}; {ADVANCE}")
}

/// Positions follow `seq`, so that the changes of a practice stay in their order.
const INSERT_ENTRIES: &str = "INSERT INTO feed_entry( \
      product, pos, seq, practice_id, linked, sequenced_at) \
    SELECT $1, $3 + ROW_NUMBER() OVER (ORDER BY seq), seq, practice_id, linked, $4 FROM taken";

const DELETE_TAKEN: &str = "DELETE FROM feed_pending WHERE product = $1 \
    AND (practice_id, seq) IN (SELECT practice_id, seq FROM feed_entry \
      WHERE product = $1 AND pos > $3)";

/// The unary plus disables the practice index on SQLite, so that it reads only the new
/// positions and not the whole feed in the order of practices.
const ADVANCE: &str = "UPDATE feed_product SET \
    head = COALESCE((SELECT MAX(pos) FROM feed_entry WHERE product = $1), head), \
    last_practice = COALESCE( \
      (SELECT MAX(+practice_id) FROM feed_entry \
       WHERE product = $1 AND pos > $3 AND +practice_id <= $2), \
      (SELECT MAX(+practice_id) FROM feed_entry WHERE product = $1 AND pos > $3), \
      last_practice) \
    WHERE product = $1 RETURNING head";

/// Selects the next pending rows: a round robin over the practices, which starts after the
/// last one served (`$2`) and wraps around, with the oldest rows of each.
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

/// Selects the oldest pending rows of each practice in `served`: a range scan of the
/// primary key up to the bound. Written differently for each engine, so that it has no
/// other plan: for a join, the planner of PostgreSQL looks up the bound again for every
/// pending row of the product, and a batch during an import of 20,000 records takes a
/// second.
fn taken_sql(engine: DbBackend) -> String {
    if engine == DbBackend::Postgres {
        return format!(
            "taken AS ( \
               SELECT p.practice_id, p.seq, p.linked, p.row_id \
               FROM served CROSS JOIN LATERAL ( \
                 SELECT x.practice_id, x.seq, x.linked, x.ctid AS row_id FROM feed_pending x \
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

/// The PostgreSQL channel on which a sequencer notifies the other replicas of new
/// positions. Writing transactions do not notify: a notification takes a lock of the whole
/// cluster until its commit. SQLite has a single process and no channel.
pub(crate) const CHANNEL: &str = "concord_feed";
