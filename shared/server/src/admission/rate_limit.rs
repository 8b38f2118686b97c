//! The rate limit: calls a second of one product in one practice, by a token bucket.

use std::sync::atomic::{AtomicUsize, Ordering};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock as _};

use crate::limits::Limits;
use concord_core::{
    caller::{Identity, PracticeId, Product},
    status::ApiError,
};

/// The number of calls between two removals of full buckets, which are equal to new ones.
/// It bounds the number of buckets by the number of active callers, whatever practices a
/// caller names.
const CALLS_BETWEEN_SWEEPS: usize = 4_096;

/// A practice (none for a stream of all practices of a product), and a product.
type Key = (Option<PracticeId>, Product);

/// A rate limiter with a token bucket for each product of each practice.
#[derive(Debug)]
pub(super) struct RateLimit {
    limits: Limits,
    buckets: Option<DefaultKeyedRateLimiter<Key>>,
    calls: AtomicUsize,
}

impl RateLimit {
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
    /// If the rate is exceeded, with the time until the next call is admitted.
    pub(super) fn check(&self, identity: &Identity) -> Result<(), ApiError> {
        let Some(buckets) = &self.buckets else { return Ok(()) };
        if self.calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(CALLS_BETWEEN_SWEEPS) {
            buckets.retain_recent();
        }
        let key = (identity.practice.clone(), identity.product.clone());
        buckets.check_key(&key).map_err(|early| {
            let wait = early.wait_time_from(buckets.clock().now());
            let Limits { requests_per_second: rate, requests_at_once: burst, .. } = self.limits;
            let message = format!(
                "{} exceeds the rate limit in this practice: {rate} a second, {burst} at once",
                identity.product
            );
            ApiError::limit_reached("requests", message, wait)
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
    use crate::admission::tests::identity;

    fn rate(requests_per_second: u32, requests_at_once: u32) -> RateLimit {
        RateLimit::new(&Limits { requests_per_second, requests_at_once, ..Limits::default() })
    }

    #[tokio::test]
    async fn call_over_rate_is_admitted_after_retry_delay() {
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
    fn each_product_of_each_practice_has_own_bucket() {
        let rate = rate(1, 1);
        for (practice, product) in [("p1", "books"), ("p2", "books"), ("p1", "manager")] {
            rate.check(&identity(practice, product)).unwrap();
            assert!(rate.check(&identity(practice, product)).is_err());
        }
    }

    #[test]
    fn zero_rate_admits_every_call() {
        let rate = rate(0, 1);
        assert!((0..10_000).all(|_| rate.check(&identity("p1", "books")).is_ok()));
        assert_eq!(rate.buckets(), 0);
    }

    #[test]
    fn idle_practices_keep_no_bucket() {
        let rate = rate(1_000_000, 1);
        for practice in 0..20_000 {
            rate.check(&identity(&format!("p{practice}"), "books")).unwrap();
        }
        assert!(rate.buckets() <= CALLS_BETWEEN_SWEEPS + 1_000, "{}", rate.buckets());
    }
}
