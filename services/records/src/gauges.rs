//! Gauges of the change feed. They are read from the database at an interval, not on each
//! scrape of the metrics.

use std::time::Duration;

use chrono::{DateTime, Utc};
use concord_server::meter::{GaugeFamily, Meter, catalog};

use crate::{
    error::RecordError,
    service::Records,
    store::feed::gauges::{FeedStats, SubscriptionStats, feed_stats, subscription_stats},
};

/// Interval between refreshes.
const INTERVAL: Duration = Duration::from_secs(10);

/// Refreshes the gauges until the service stops.
pub(crate) async fn run(records: Records, meter: Meter) {
    let mut gauges = Gauges::new(&meter);
    loop {
        if let Err(error) = gauges.refresh(&records).await {
            tracing::debug!(%error, "refreshing the gauges of the feeds failed");
        }
        tokio::select! {
            () = records.feed.stop().cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

#[derive(Debug)]
struct Gauges {
    meter: Meter,
    head: GaugeFamily,
    pending: GaugeFamily,
    pending_age: GaugeFamily,
    subscriptions: GaugeFamily,
    lag: GaugeFamily,
}

impl Gauges {
    fn new(meter: &Meter) -> Self {
        let family = |metric| GaugeFamily::new(meter, metric);
        Self {
            meter: meter.clone(),
            head: family(&catalog::FEED_HEAD),
            pending: family(&catalog::FEED_PENDING),
            pending_age: family(&catalog::FEED_PENDING_AGE),
            subscriptions: family(&catalog::SUBSCRIPTIONS),
            lag: family(&catalog::FEED_LAG),
        }
    }

    async fn refresh(&mut self, records: &Records) -> Result<(), RecordError> {
        let (db, now) = (records.db.reader(), records.clock.now());
        let feeds = feed_stats(db).await?;
        let subscriptions = subscription_stats(db, now).await?;
        self.show(&feeds, &subscriptions, now);
        Ok(())
    }

    fn show(
        &mut self,
        feeds: &[FeedStats],
        subscriptions: &[SubscriptionStats],
        now: DateTime<Utc>,
    ) {
        let meter = self.meter.clone();
        let by_product = |value: &dyn Fn(&FeedStats) -> f64| {
            let one = |feed: &FeedStats| (vec![meter.product(&feed.product)], value(feed));
            feeds.iter().map(one).collect::<Vec<_>>()
        };
        self.head.show(by_product(&|feed| number(feed.head)), f64::max);
        self.pending.show(by_product(&|feed| number(feed.pending)), sum);
        let age = |feed: &FeedStats| feed.oldest.map_or(0.0, |oldest| seconds(now, oldest));
        self.pending_age.show(by_product(&age), f64::max);

        let by_stream_state = |value: &dyn Fn(&SubscriptionStats) -> f64| {
            let one = |of: &SubscriptionStats| {
                let stream = if of.open { "open" } else { "closed" };
                (vec![meter.product(&of.product), stream.to_owned()], value(of))
            };
            subscriptions.iter().map(one).collect::<Vec<_>>()
        };
        self.subscriptions.show(by_stream_state(&|of| number(of.count)), sum);
        let lag = |of: &SubscriptionStats| {
            let feed = feeds.iter().find(|feed| feed.product == of.product);
            feed.map_or(0.0, |feed| number((feed.head - of.least).max(0)))
        };
        self.lag.show(by_stream_state(&lag), f64::max);
    }
}

fn sum(one: f64, other: f64) -> f64 {
    one + other
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53, and shown as a gauge")]
fn number(count: i64) -> f64 {
    count as f64
}

fn seconds(now: DateTime<Utc>, then: DateTime<Utc>) -> f64 {
    (now - then).to_std().unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests;
