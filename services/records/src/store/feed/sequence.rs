//! Sequencing: assigns the next positions of a feed to pending changes.

use chrono::{DateTime, Utc};
use concord_db::Binds;
use sea_orm::{ConnectionTrait, DbBackend, EntityTrait as _, QuerySelect as _};

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
    let rows = concord_db::query(db, |_| sql.to_owned()).await?;
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
    let rows = concord_db::query(db, |sql| sequence_sql(sql, &feed, now)).await?;
    // No row if nothing was pending.
    let Some(row) = rows.first() else { return Ok(0) };
    Ok(row.try_get::<i64>("", "head")? - feed.head)
}

/// Selects pending rows, inserts them as entries, deletes them from the pending ones, and
/// advances the head: one statement on PostgreSQL, one text of three statements on SQLite.
///
/// Stores the last practice of the round robin: the greatest of those that were reached
/// after the wrap-around, or else of all.
fn sequence_sql(sql: &mut Binds, feed: &feed_product::Model, now: DateTime<Utc>) -> String {
    let taken = take_sql(sql, feed);
    let inserted = insert_entries_sql(sql, feed, now);
    if sql.engine() == DbBackend::Postgres {
        // Deletes by `ctid`: for a join, the planner would scan all pending rows instead
        // of looking up a few thousand.
        return format!(
            "{taken}, placed AS ({inserted}), \
             gone AS (DELETE FROM feed_pending \
               WHERE ctid = ANY (ARRAY(SELECT row_id FROM taken))), \
             new AS (SELECT COUNT(*) AS count, MAX(practice_id) AS last, \
               MAX(practice_id) FILTER (WHERE practice_id <= {}) AS round FROM taken) \
             UPDATE feed_product SET head = {} + new.count, \
               last_practice = COALESCE(new.round, new.last) \
             FROM new WHERE product = {} AND new.count > 0 \
             RETURNING head, pg_notify('{CHANNEL}', product)",
            last_practice(sql, feed),
            head(sql, feed),
            product(sql, feed)
        );
    }
    format!("{taken} {inserted}; {}; {}", delete_taken_sql(sql, feed), advance_sql(sql, feed))
}

fn product(sql: &mut Binds, feed: &feed_product::Model) -> String {
    sql.bind_shared("product", feed.product.as_str())
}

fn last_practice(sql: &mut Binds, feed: &feed_product::Model) -> String {
    sql.bind_shared("last_practice", feed.last_practice.as_str())
}

fn head(sql: &mut Binds, feed: &feed_product::Model) -> String {
    sql.bind_shared("head", feed.head)
}

/// Positions follow `seq`, so that the changes of a practice stay in their order.
fn insert_entries_sql(sql: &mut Binds, feed: &feed_product::Model, now: DateTime<Utc>) -> String {
    format!(
        "INSERT INTO feed_entry( \
           product, pos, seq, practice_id, linked, sequenced_at) \
         SELECT {}, {} + ROW_NUMBER() OVER (ORDER BY seq), seq, practice_id, linked, {} FROM taken",
        product(sql, feed),
        head(sql, feed),
        sql.bind(now)
    )
}

fn delete_taken_sql(sql: &mut Binds, feed: &feed_product::Model) -> String {
    format!(
        "DELETE FROM feed_pending WHERE product = {} \
         AND (practice_id, seq) IN (SELECT practice_id, seq FROM feed_entry \
           WHERE product = {} AND pos > {})",
        product(sql, feed),
        product(sql, feed),
        head(sql, feed)
    )
}

/// The unary plus disables the practice index on SQLite, so that it reads only the new
/// positions and not the whole feed in the order of practices.
fn advance_sql(sql: &mut Binds, feed: &feed_product::Model) -> String {
    format!(
        "UPDATE feed_product SET \
         head = COALESCE((SELECT MAX(pos) FROM feed_entry WHERE product = {}), head), \
         last_practice = COALESCE( \
           (SELECT MAX(+practice_id) FROM feed_entry \
            WHERE product = {} AND pos > {} AND +practice_id <= {}), \
           (SELECT MAX(+practice_id) FROM feed_entry WHERE product = {} AND pos > {}), \
           last_practice) \
         WHERE product = {} RETURNING head",
        product(sql, feed),
        product(sql, feed),
        head(sql, feed),
        last_practice(sql, feed),
        product(sql, feed),
        head(sql, feed),
        product(sql, feed)
    )
}

/// Selects the next pending rows: a round robin over the practices, which starts after the
/// last one served and wraps around, with the oldest rows of each.
fn take_sql(sql: &mut Binds, feed: &feed_product::Model) -> String {
    let practices = BATCH / BATCH_OF_PRACTICE;
    let next = |sql: &mut Binds| {
        let product = product(sql, feed);
        format!("SELECT MIN(q.practice_id) FROM feed_pending q WHERE q.product = {product}")
    };
    format!(
        "WITH RECURSIVE later(n, id) AS ( \
           SELECT 1, ({} AND q.practice_id > {}) \
           UNION ALL \
           SELECT n + 1, ({} AND q.practice_id > later.id) \
           FROM later WHERE id IS NOT NULL AND n < {practices} \
         ), earlier(n, id) AS ( \
           SELECT {practices} + 1, ({} AND q.practice_id <= {}) \
           UNION ALL \
           SELECT n + 1, ({} AND q.practice_id > earlier.id AND q.practice_id <= {}) \
           FROM earlier WHERE id IS NOT NULL AND n < 2 * {practices} \
         ), served(id) AS ( \
           SELECT id FROM (SELECT * FROM later UNION ALL SELECT * FROM earlier) AS either \
           WHERE id IS NOT NULL ORDER BY n LIMIT {practices} \
         ), {}",
        next(sql),
        last_practice(sql, feed),
        next(sql),
        next(sql),
        last_practice(sql, feed),
        next(sql),
        last_practice(sql, feed),
        taken_sql(sql, feed)
    )
}

/// Selects the oldest pending rows of each practice in `served`: a range scan of the
/// primary key up to the bound. Written differently for each engine, so that it has no
/// other plan: for a join, the planner of PostgreSQL looks up the bound again for every
/// pending row of the product, and a batch during an import of 20,000 records takes a
/// second.
fn taken_sql(sql: &mut Binds, feed: &feed_product::Model) -> String {
    if sql.engine() == DbBackend::Postgres {
        return format!(
            "taken AS ( \
               SELECT p.practice_id, p.seq, p.linked, p.row_id \
               FROM served CROSS JOIN LATERAL ( \
                 SELECT x.practice_id, x.seq, x.linked, x.ctid AS row_id FROM feed_pending x \
                 WHERE x.product = {} AND x.practice_id = served.id \
                 ORDER BY x.product, x.practice_id, x.seq LIMIT {BATCH_OF_PRACTICE}) p)",
            product(sql, feed)
        );
    }
    let (skip, no_bound) = (BATCH_OF_PRACTICE - 1, i64::MAX);
    format!(
        "bounded(id, upto) AS MATERIALIZED ( \
           SELECT id, COALESCE((SELECT x.seq FROM feed_pending x \
             WHERE x.product = {} AND x.practice_id = served.id \
             ORDER BY x.seq LIMIT 1 OFFSET {skip}), {no_bound}) FROM served \
         ), taken AS ( \
           SELECT p.practice_id, p.seq, p.linked FROM bounded \
           JOIN feed_pending p ON p.product = {} AND p.practice_id = bounded.id \
             AND p.seq <= bounded.upto)",
        product(sql, feed),
        product(sql, feed)
    )
}

/// The PostgreSQL channel on which a sequencer notifies the other replicas of new
/// positions. Writing transactions do not notify: a notification takes a lock of the whole
/// cluster until its commit. SQLite has a single process and no channel.
pub(crate) const CHANNEL: &str = "concord_feed";
