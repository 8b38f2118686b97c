//! Retry of failed background work, with exponential backoff.
//!
//! A record that cannot be processed must not block the others. Each outcome is
//! [noted](Failures::note) separately: a failure is logged and counted, and the record
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
const FORGOTTEN: TimeDelta = TimeDelta::days(1);

/// Why background work was not done.
pub trait JobError: fmt::Display {
    /// Whether it is not the fault of what was worked on: the database cannot be
    /// reached, or other writers were in the way.
    fn is_passing(&self) -> bool;
}

/// The subject of background work. Empty for all subjects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The practice, when it is about one.
    pub practice: Option<String>,
    /// The product, when it is about one.
    pub product: Option<String>,
    /// The id of the record, or of the import, when it is about one.
    pub record: Option<String>,
}

#[derive(Clone, Copy, Debug)]
struct Failed {
    times: u32,
    not_before: DateTime<Utc>,
}

impl Failed {
    fn waits(&self, now: DateTime<Utc>) -> bool {
        let left = self.not_before - now;
        // More than the longest time is left after the clock was put back only.
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
    /// No failures yet, of these kinds of work. Each is counted from zero, so that the
    /// rate of its first failure is known.
    pub fn new(meter: &Meter, jobs: &[&'static str]) -> Self {
        for job in jobs {
            meter.counter(&catalog::JOB_FAILURES, [*job]).increment(0);
        }
        Self { meter: meter.clone(), failed: HashMap::new() }
    }

    /// The outcome of the kind of work `job` on `subject`, when it is a success. A
    /// failure is logged, counted, and delays the next attempt.
    pub fn note<T, E: JobError>(
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
        let times = if error.is_passing() { before.max(1) } else { before.saturating_add(1) };
        let pause = if error.is_passing() { FIRST } else { pause(times) };
        let (_, Subject { practice, product, record }) = &key;
        let (practice, product) = (practice.as_deref(), product.as_deref());
        let (record, retry_seconds) = (record.as_deref(), pause.num_seconds());
        if error.is_passing() {
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
        self.failed.insert(key, Failed { times, not_before: now + pause });
    }

    /// Whether work on `subject` has failed, and is not to be tried again yet.
    pub fn waits(&self, job: &'static str, subject: &Subject, now: DateTime<Utc>) -> bool {
        self.failed.get(&(job, subject.clone())).is_some_and(|failed| failed.waits(now))
    }

    /// The records whose work has failed and whose retry is not due yet. The query for
    /// due records excludes them, so that they cannot fill its page.
    pub fn waiting(&mut self, job: &'static str, now: DateTime<Utc>) -> Vec<String> {
        self.failed.retain(|_, failed| now - failed.not_before < FORGOTTEN);
        let waiting =
            self.failed.iter().filter(|((of, _), failed)| *of == job && failed.waits(now));
        waiting.filter_map(|((_, subject), _)| subject.record.clone()).collect()
    }
}

fn pause(times: u32) -> TimeDelta {
    let doubled = 1_i32.checked_shl(times.saturating_sub(1).min(16)).unwrap_or(i32::MAX);
    FIRST.checked_mul(doubled).map_or(LONGEST, |pause| pause.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fault {
        passing: bool,
    }

    impl fmt::Display for Fault {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a fault")
        }
    }

    impl JobError for Fault {
        fn is_passing(&self) -> bool {
            self.passing
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

    fn fail(failures: &mut Failures, passing: bool, second: i64) {
        failures.note(JOB, record("cli_1"), Err::<(), _>(Fault { passing }), at(second));
    }

    #[test]
    fn a_failure_waits_twice_as_long_each_time_up_to_an_hour() {
        let mut failures = Failures::new(&Meter::new("records"), &[]);
        for pause in [20, 40, 80, 160, 320, 640, 1_280, 2_560, 3_600, 3_600] {
            fail(&mut failures, false, 0);
            assert_eq!(failures.waiting(JOB, at(pause - 1)), ["cli_1"], "{pause}");
            assert!(failures.waiting(JOB, at(pause)).is_empty(), "{pause}");
        }
        assert!(failures.waiting("purge_persons", at(0)).is_empty());
        failures.note(JOB, record("cli_1"), Ok::<_, Fault>(()), at(0));
        assert!(!failures.waits(JOB, &record("cli_1"), at(0)));
    }

    #[test]
    fn a_passing_failure_waits_no_longer_for_being_repeated() {
        let mut failures = Failures::new(&Meter::new("records"), &[]);
        for _ in 0..10 {
            fail(&mut failures, true, 0);
        }
        assert!(failures.waits(JOB, &record("cli_1"), at(19)));
        assert!(!failures.waits(JOB, &record("cli_1"), at(20)));
    }

    #[test]
    fn a_clock_that_is_put_back_keeps_nothing_waiting() {
        let mut failures = Failures::new(&Meter::new("records"), &[]);
        fail(&mut failures, false, 1_000_000);
        assert!(!failures.waits(JOB, &record("cli_1"), at(0)));
        assert!(failures.waiting(JOB, at(1_200_000)).is_empty());
        assert!(failures.failed.is_empty(), "forgotten");
    }

    #[test]
    fn every_failure_is_counted_by_its_kind_of_work() {
        let meter = Meter::new("records");
        let mut failures = Failures::new(&meter, &[]);
        fail(&mut failures, false, 0);
        fail(&mut failures, true, 0);
        let line = "concord_job_failures_total{service=\"records\",job=\"purge_clients\"} 2";
        assert!(meter.text().contains(line), "{}", meter.text());
    }
}
