//! Following an import to its end: when, and how long each phase took. The phases
//! are not told to callers, so they are read from the table of imports.

use std::fmt;

use anyhow::{Context as _, bail, ensure};
use sea_orm::{ConnectionTrait as _, DatabaseConnection, Statement};
use shared::pb::imports::{Import, ImportState};
use tokio::time::{Duration, Instant, sleep};

/// How often to look: a small part of what is measured, and not so often that it
/// slows it down.
const EVERY: Duration = Duration::from_millis(20);

/// How long an import may take.
const PATIENCE: Duration = Duration::from_mins(30);

/// How far it is. The database has one import.
const LOOK: &str = "SELECT state, phase,
    CAST((SELECT COALESCE(SUM(n), 0) FROM import_tally WHERE status = 'IMPORTED') AS bigint)
      AS imported
  FROM import";

/// How an import went.
#[derive(Clone, Debug, Default)]
pub(crate) struct Followed {
    /// From the call that sealed it to its end.
    pub(crate) took: Duration,
    phases: Vec<(String, Duration)>,
}

impl Followed {
    /// It was in a phase until `at`, from the end of the phase before.
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
        for (place, (phase, time)) in self.phases.iter().enumerate() {
            let before = if place == 0 { ": " } else { ", " };
            write!(f, "{before}{phase} {:.2}", time.as_secs_f64())?;
        }
        Ok(())
    }
}

/// Follows the one import of a database. `seen` hears how many records are
/// imported.
pub(super) async fn to_the_end(
    db: &DatabaseConnection,
    begun: Instant,
    mut seen: impl AsyncFnMut(usize) -> anyhow::Result<()>,
) -> anyhow::Result<Followed> {
    let look = Statement::from_string(db.get_database_backend(), LOOK);
    let mut followed = Followed::default();
    loop {
        let row = db.query_one_raw(look.clone()).await?.context("the import has gone")?;
        let (state, phase): (String, String) =
            (row.try_get("", "state")?, row.try_get("", "phase")?);
        followed
            .note(if state == "SEALED" { "waiting".to_owned() } else { phase }, begun.elapsed());
        match state.as_str() {
            "SEALED" | "RESOLVING" | "APPLYING" => {}
            "COMPLETED" | "COMPLETED_WITH_FAILURES" => return Ok(followed),
            other => bail!("an import ended as {other}"),
        }
        ensure!(begun.elapsed() < PATIENCE, "an import has not ended after {PATIENCE:?}");
        let imported: i64 = row.try_get("", "imported")?;
        seen(imported.try_into()?).await?;
        sleep(EVERY).await;
    }
}

/// Whether all records were imported: what was rejected has cost less.
pub(super) fn check(import: &Import, records: usize) -> anyhow::Result<()> {
    let imported = import.counters.unwrap_or_default().imported;
    ensure!(
        import.state() == ImportState::Completed && usize::try_from(imported)? == records,
        "{imported} of {records} records were imported: {import:?}"
    );
    Ok(())
}

/// Whether all records failed.
pub(super) fn check_failed(import: &Import, records: usize) -> anyhow::Result<()> {
    let failed = import.counters.unwrap_or_default().failed;
    ensure!(usize::try_from(failed)? == records, "{failed} of {records} failed: {import:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_phase_begins_with_the_end_of_the_one_before() {
        let mut followed = Followed::default();
        for (phase, at) in [("index", 100), ("index", 200), ("clients", 250), ("contacts", 1_000)] {
            followed.note(phase.to_owned(), Duration::from_millis(at));
        }
        assert_eq!(followed.to_string(), "1.00 s: index 0.20, clients 0.05, contacts 0.75");
    }
}
