//! The sequencer's handling of a feed that it cannot write.

use concord_core::clock::Clock;
use concord_testing::{TestDb, storage_tests};
use sea_orm::{ConnectionTrait as _, Statement};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::migrations::Migrator;

storage_tests! {
    unwritable_feed_does_not_block_other_feeds,
}

async fn execute(feed: &Feed, sql: &str) {
    let statement = Statement::from_string(feed.db().engine(), sql);
    let written = feed.db().write(TenantScope::AllPractices, move |tx| {
        let statement = statement.clone();
        async move { tx.execute_raw(statement).await.map(drop) }
    });
    written.await.unwrap();
}

/// The head position of a product's feed.
async fn head(feed: &Feed, product: &str) -> i64 {
    let sql = format!("SELECT head FROM feed_product WHERE product = '{product}'");
    let statement = Statement::from_string(feed.db().engine(), sql);
    let row = feed.db().reader().query_one_raw(statement).await.unwrap().unwrap();
    row.try_get("", "head").unwrap()
}

async fn unwritable_feed_does_not_block_other_feeds(t: TestDb) {
    let db = t.database().await;
    db.migrate::<Migrator>().await.unwrap();
    let clock = Clock::fixed("2026-03-01T10:00:00Z".parse().unwrap());
    let feed = Feed::new(db, clock.clone(), CancellationToken::new());
    // The product that sorts first is damaged: the position of its next change is taken.
    let id = if t.is_postgres() { "gen_random_uuid()" } else { "randomblob(16)" };
    for product in ["ap", "books"] {
        execute(
            &feed,
            &format!(
                "INSERT INTO feed_product (product, epoch, head, floor, last_practice) \
                 VALUES ('{product}', {id}, 0, 1, '')"
            ),
        )
        .await;
        execute(&feed, &format!("INSERT INTO feed_pending VALUES ('{product}', 'p1', 7, true)"))
            .await;
    }
    let now = if t.is_postgres() { "now()" } else { "'2026-03-01T10:00:00+00:00'" };
    let damage = format!("INSERT INTO feed_entry VALUES ('ap', 1, 3, 'p1', true, {now})");
    execute(&feed, &damage).await;

    let meter = Meter::new("records");
    let mut failures = Failures::new(&meter, &[SEQUENCE_FEED]);
    sequence_all(&feed, &meter, &mut failures).await.unwrap();
    assert_eq!((head(&feed, "ap").await, head(&feed, "books").await), (0, 1));
    let failed = "concord_job_failures_total{service=\"records\",job=\"sequence_feed\"} 1";
    assert!(meter.text().contains(failed), "{}", meter.text());
    execute(&feed, "INSERT INTO feed_pending VALUES ('books', 'p1', 8, true)").await;
    sequence_all(&feed, &meter, &mut failures).await.unwrap();
    assert_eq!(head(&feed, "books").await, 2);
    assert!(meter.text().contains(failed), "no retry before the backoff has passed");

    execute(&feed, "DELETE FROM feed_entry WHERE product = 'ap'").await;
    clock.set("2026-03-01T10:00:20Z".parse().unwrap());
    sequence_all(&feed, &meter, &mut failures).await.unwrap();
    assert_eq!(head(&feed, "ap").await, 1);
}
