//! Polls an import until its end: total duration, and duration of each phase. The API does
//! not return the phase, so it is read from the table of imports.

use std::fmt;

use anyhow::{Context as _, bail, ensure};
use concord_proto::pb::imports::{Import, ImportState};
use sea_orm::{ConnectionTrait as _, DatabaseConnection, Statement};
use tokio::time::{Duration, Instant, sleep};

/// Interval between polls: short in relation to the measurement, and long enough not to slow
/// it down.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Timeout for an import.
const TIMEOUT: Duration = Duration::from_mins(30);

/// The query for the progress. The database has one import.
const PROGRESS_SQL: &str = "SELECT state, phase,
    CAST((SELECT COALESCE(SUM(n), 0) FROM import_tally WHERE status = 'IMPORTED') AS bigint)
      AS imported
  FROM import";

/// The durations of an import.
#[derive(Clone, Debug, Default)]
pub(crate) struct Followed {
    /// From the seal to the end.
    pub(crate) took: Duration,
    phases: Vec<(String, Duration)>,
}

impl Followed {
    /// Records that the import was in a phase until `at`.
    fn note(&mut self, phase: String, at: Duration) {
        let more = at.saturating_sub(self.took);
        self.took = at;
        match self.phases.last_mut().filter(|(last, _)| *last == phase) {
            Some((_, time)) => *time += more,
            None => self.phases.push((phase, more)),
        }
    }
}

impl fmt::Display for Followed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} s", self.took.as_secs_f64())?;
        for (index, (phase, time)) in self.phases.iter().enumerate() {
            let before = if index == 0 { ": " } else { ", " };
            write!(f, "{before}{phase} {:.2}", time.as_secs_f64())?;
        }
        Ok(())
    }
}

/// Polls the only import of a database until its end. Calls `on_progress` with the number of
/// imported records.
pub(super) async fn to_the_end(
    db: &DatabaseConnection,
    begun: Instant,
    mut on_progress: impl AsyncFnMut(usize) -> anyhow::Result<()>,
) -> anyhow::Result<Followed> {
    let progress = Statement::from_string(db.get_database_backend(), PROGRESS_SQL);
    let mut followed = Followed::default();
    loop {
        let row = db.query_one_raw(progress.clone()).await?.context("the import does not exist")?;
        let (state, phase): (String, String) =
            (row.try_get("", "state")?, row.try_get("", "phase")?);
        followed
            .note(if state == "SEALED" { "waiting".to_owned() } else { phase }, begun.elapsed());
        match state.as_str() {
            "SEALED" | "RESOLVING" | "APPLYING" => {}
            "COMPLETED" | "COMPLETED_WITH_FAILURES" => return Ok(followed),
            other => bail!("an import ended as {other}"),
        }
        ensure!(begun.elapsed() < TIMEOUT, "an import has not ended after {TIMEOUT:?}");
        let imported: i64 = row.try_get("", "imported")?;
        on_progress(imported.try_into()?).await?;
        sleep(POLL_INTERVAL).await;
    }
}

/// Checks that all records were imported. Rejected records would distort the measurement.
pub(super) fn check(import: &Import, records: usize) -> anyhow::Result<()> {
    let imported = import.counters.unwrap_or_default().imported;
    ensure!(
        import.state() == ImportState::Completed && usize::try_from(imported)? == records,
        "{imported} of {records} records were imported: {import:?}"
    );
    Ok(())
}

/// Checks that all records failed.
pub(super) fn check_failed(import: &Import, records: usize) -> anyhow::Result<()> {
    let failed = import.counters.unwrap_or_default().failed;
    ensure!(usize::try_from(failed)? == records, "{failed} of {records} failed: {import:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phase_duration_starts_at_the_end_of_the_previous_phase() {
        let mut followed = Followed::default();
        for (phase, at) in [("index", 100), ("index", 200), ("clients", 250), ("contacts", 1_000)] {
            followed.note(phase.to_owned(), Duration::from_millis(at));
        }
        assert_eq!(followed.to_string(), "1.00 s: index 0.20, clients 0.05, contacts 0.75");
    }
}
