//! Retry of failed background work, with exponential backoff.
//!
//! A record that cannot be processed must not block the others. Each outcome is
//! [recorded](Failures::record) separately: a failure is logged and counted, and the record
//! is retried after a delay that doubles each time.

use std::{collections::HashMap, fmt};

use chrono::{DateTime, TimeDelta, Utc};

use crate::meter::{Meter, catalog};

/// The delay before the retry after the first failure. It doubles with each further
/// one.
const FIRST: TimeDelta = TimeDelta::seconds(20);

/// The longest delay before a retry.
const LONGEST: TimeDelta = TimeDelta::hours(1);

/// How long after the end of its delay a failure is removed: another replica did the
/// work, or the work is no longer needed.
const RETENTION: TimeDelta = TimeDelta::days(1);

/// An error of background work.
pub trait JobError: fmt::Display {
    /// Returns `true` if the record is not the cause: the database is unreachable, or a
    /// write conflicted.
    fn is_transient(&self) -> bool;
}

/// The subject of background work. Empty for all subjects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The practice, if any.
    pub practice: Option<String>,
    /// The product, if any.
    pub product: Option<String>,
    /// The id of the record, or of the import, if any.
    pub record: Option<String>,
}

#[derive(Clone, Copy, Debug)]
struct Failed {
    times: u32,
    not_before: DateTime<Utc>,
}

impl Failed {
    fn is_backing_off(&self, now: DateTime<Utc>) -> bool {
        let left = self.not_before - now;
        // More than the longest delay is left only after the clock was set back.
        left > TimeDelta::zero() && left <= LONGEST
    }
}

/// The failed background work of this process.
#[derive(Debug)]
pub struct Failures {
    meter: Meter,
    failed: HashMap<(&'static str, Subject), Failed>,
}

impl Failures {
    /// No failures. The counter of each kind of work starts at zero, so that the first
    /// failure shows as an increase.
    pub fn new(meter: &Meter, jobs: &[&'static str]) -> Self {
        for job in jobs {
            meter.counter(&catalog::JOB_FAILURES, [*job]).increment(0);
        }
        Self { meter: meter.clone(), failed: HashMap::new() }
    }

    /// Records the outcome of the kind of work `job` on `subject`, and returns the result of
    /// a success. A failure is logged, counted, and delays the next attempt.
    pub fn record<T, E: JobError>(
        &mut self,
        job: &'static str,
        subject: Subject,
        outcome: Result<T, E>,
        now: DateTime<Utc>,
    ) -> Option<T> {
        match outcome {
            Ok(done) => {
                self.failed.remove(&(job, subject));
                Some(done)
            }
            Err(error) => {
                self.add(job, subject, &error, now);
                None
            }
        }
    }

    fn add(
        &mut self,
        job: &'static str,
        subject: Subject,
        error: &dyn JobError,
        now: DateTime<Utc>,
    ) {
        let key = (job, subject);
        let before = self.failed.get(&key).map_or(0, |failed| failed.times);
        // A transient failure does not increase the delay.
        let times = if error.is_transient() { before.max(1) } else { before.saturating_add(1) };
        let delay = if error.is_transient() { FIRST } else { backoff(times) };
        let (_, Subject { practice, product, record }) = &key;
        let (practice, product) = (practice.as_deref(), product.as_deref());
        let (record, retry_seconds) = (record.as_deref(), delay.num_seconds());
        if error.is_transient() {
            tracing::warn!(
                job, practice, product, record, retry_seconds, %error, "background job failed"
            );
        } else {
            tracing::error!(
                job, practice, product, record, times, retry_seconds, %error,
                "background job failed"
            );
        }
        self.meter.counter(&catalog::JOB_FAILURES, [job]).increment(1);
        self.failed.insert(key, Failed { times, not_before: now + delay });
    }

    /// Returns `true` if work on `subject` has failed and its retry is not due yet.
    pub fn is_backing_off(&self, job: &'static str, subject: &Subject, now: DateTime<Utc>) -> bool {
        self.failed.get(&(job, subject.clone())).is_some_and(|failed| failed.is_backing_off(now))
    }

    /// The records whose work has failed and whose retry is not due yet. The query for
    /// due records excludes them, so that they cannot fill its page.
    pub fn backing_off(&mut self, job: &'static str, now: DateTime<Utc>) -> Vec<String> {
        self.failed.retain(|_, failed| now - failed.not_before < RETENTION);
        let failed = self.failed.iter();
        let waiting = failed.filter(|((of, _), failed)| *of == job && failed.is_backing_off(now));
        waiting.filter_map(|((_, subject), _)| subject.record.clone()).collect()
    }
}

/// The exponential backoff after `times` failures.
fn backoff(times: u32) -> TimeDelta {
    let doubled = 1_i32.checked_shl(times.saturating_sub(1).min(16)).unwrap_or(i32::MAX);
    FIRST.checked_mul(doubled).map_or(LONGEST, |delay| delay.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct TestError {
        transient: bool,
    }

    impl fmt::Display for TestError {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an error")
        }
    }

    impl JobError for TestError {
        fn is_transient(&self) -> bool {
            self.transient
        }
    }

    const JOB: &str = "purge_clients";

    fn record(id: &str) -> Subject {
        Subject {
            practice: Some("p1".to_owned()),
            record: Some(id.to_owned()),
            ..Subject::default()
        }
    }

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    fn fail(failures: &mut Failures, transient: bool, second: i64) {
        failures.record(JOB, record("cli_1"), Err::<(), _>(TestError { transient }), at(second));
    }

    #[test]
    fn backoff_doubles_up_to_an_hour() {
        let mut failures = Failures::new(&Meter::new("records"), &[]);
        for delay in [20, 40, 80, 160, 320, 640, 1_280, 2_560, 3_600, 3_600] {
            fail(&mut failures, false, 0);
            assert_eq!(failures.backing_off(JOB, at(delay - 1)), ["cli_1"], "{delay}");
            assert!(failures.backing_off(JOB, at(delay)).is_empty(), "{delay}");
        }
        assert!(failures.backing_off("purge_persons", at(0)).is_empty());
        failures.record(JOB, record("cli_1"), Ok::<_, TestError>(()), at(0));
        assert!(!failures.is_backing_off(JOB, &record("cli_1"), at(0)));
    }

    #[test]
    fn repeated_transient_failure_keeps_first_delay() {
        let mut failures = Failures::new(&Meter::new("records"), &[]);
        for _ in 0..10 {
            fail(&mut failures, true, 0);
        }
        assert!(failures.is_backing_off(JOB, &record("cli_1"), at(19)));
        assert!(!failures.is_backing_off(JOB, &record("cli_1"), at(20)));
    }

    #[test]
    fn backoff_ends_when_clock_is_set_back() {
        let mut failures = Failures::new(&Meter::new("records"), &[]);
        fail(&mut failures, false, 1_000_000);
        assert!(!failures.is_backing_off(JOB, &record("cli_1"), at(0)));
        assert!(failures.backing_off(JOB, at(1_200_000)).is_empty());
        assert!(failures.failed.is_empty(), "removed");
    }

    #[test]
    fn failures_are_counted_by_job() {
        let meter = Meter::new("records");
        let mut failures = Failures::new(&meter, &[]);
        fail(&mut failures, false, 0);
        fail(&mut failures, true, 0);
        let line = "concord_job_failures_total{service=\"records\",job=\"purge_clients\"} 2";
        assert!(meter.text().contains(line), "{}", meter.text());
    }
}
