//! How many calls a second one product may make in one practice.

use std::sync::atomic::{AtomicUsize, Ordering};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock as _};

use crate::{
    caller::{Identity, PracticeId, Product},
    server::limits::Limits,
    status::Refusal,
};

/// Every so many calls the buckets go that are full again, and are therefore like
/// new ones. So there are never many more of them than callers at work, whatever
/// practices a backend names.
const CALLS_BETWEEN_SWEEPS: usize = 4_096;

/// A practice, or all of them together for a product-wide stream, and a product.
type Key = (Option<PracticeId>, Product);

/// A bucket of calls for each product of each practice.
#[derive(Debug)]
pub(super) struct RequestRate {
    limits: Limits,
    buckets: Option<DefaultKeyedRateLimiter<Key>>,
    calls: AtomicUsize,
}

impl RequestRate {
    pub(super) fn new(limits: &Limits) -> Self {
        let quota = limits.requests_per_second.try_into().ok().map(Quota::per_second);
        let burst = limits.requests_at_once.max(1).try_into();
        let quota = quota.map(|quota| burst.map_or(quota, |burst| quota.allow_burst(burst)));
        let buckets = quota.map(RateLimiter::keyed);
        Self { limits: *limits, buckets, calls: AtomicUsize::new(0) }
    }

    /// Counts a call.
    ///
    /// # Errors
    ///
    /// When the caller's product makes too many of them, with the time after which
    /// the next one is taken.
    pub(super) fn check(&self, identity: &Identity) -> Result<(), Refusal> {
        let Some(buckets) = &self.buckets else { return Ok(()) };
        if self.calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(CALLS_BETWEEN_SWEEPS) {
            buckets.retain_recent();
        }
        let key = (identity.practice.clone(), identity.product.clone());
        buckets.check_key(&key).map_err(|early| {
            let wait = early.wait_time_from(buckets.clock().now());
            let Limits { requests_per_second: rate, requests_at_once: burst, .. } = self.limits;
            let message = format!(
                "{} makes too many calls in this practice: {rate} a second are taken, and {burst} at once",
                identity.product
            );
            Refusal::limit_reached("requests", message, wait)
        })
    }

    #[cfg(test)]
    fn buckets(&self) -> usize {
        self.buckets.as_ref().map_or(0, RateLimiter::len)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic::Status;
    use tonic_types::StatusExt as _;

    use super::*;
    use crate::server::admission::tests::identity;

    fn rate(requests_per_second: u32, requests_at_once: u32) -> RequestRate {
        RequestRate::new(&Limits { requests_per_second, requests_at_once, ..Limits::default() })
    }

    #[tokio::test]
    async fn a_call_over_the_rate_is_taken_after_the_time_that_is_told() {
        let rate = rate(4, 3);
        let books = identity("p1", "books");
        for _ in 0..3 {
            rate.check(&books).unwrap();
        }
        let refused = Status::from(rate.check(&books).unwrap_err());
        let details = refused.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "LIMIT_REACHED");
        assert_eq!(details.quota_failure().unwrap().violations[0].subject, "requests");
        let wait = details.retry_info().unwrap().retry_delay.unwrap();
        assert!(wait > Duration::ZERO && wait <= Duration::from_millis(250), "{wait:?}");
        tokio::time::sleep(wait).await;
        rate.check(&books).unwrap();
        assert!(rate.check(&books).is_err());
    }

    #[test]
    fn each_product_of_each_practice_has_calls_of_its_own() {
        let rate = rate(1, 1);
        for (practice, product) in [("p1", "books"), ("p2", "books"), ("p1", "manager")] {
            rate.check(&identity(practice, product)).unwrap();
            assert!(rate.check(&identity(practice, product)).is_err());
        }
    }

    #[test]
    fn without_a_rate_every_call_is_taken() {
        let rate = rate(0, 1);
        assert!((0..10_000).all(|_| rate.check(&identity("p1", "books")).is_ok()));
        assert_eq!(rate.buckets(), 0);
    }

    #[test]
    fn practices_that_are_quiet_again_take_no_memory() {
        let rate = rate(1_000_000, 1);
        for practice in 0..20_000 {
            rate.check(&identity(&format!("p{practice}"), "books")).unwrap();
        }
        assert!(rate.buckets() <= CALLS_BETWEEN_SWEEPS + 1_000, "{}", rate.buckets());
    }
}
