//! Gauges that are computed from the database at an interval, not at each scrape of the
//! metrics.

use std::time::Duration;

use concord_server::meter::{GaugeFamily, NONE, catalog};

use crate::{domain::enums::State, error::ImportError, service::Imports, store};

/// Interval of the updates.
const INTERVAL: Duration = Duration::from_secs(10);

/// Updates the gauges until the service stops.
pub(crate) async fn run(imports: Imports) {
    let mut states = GaugeFamily::new(&imports.meter, &catalog::IMPORTS);
    loop {
        if let Err(error) = update(&imports, &mut states).await {
            tracing::debug!(%error, "reading the import gauges failed");
        }
        tokio::select! {
            () = imports.stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

async fn update(imports: &Imports, states: &mut GaugeFamily) -> Result<(), ImportError> {
    let found = store::gauges::unfinished(imports.db.reader()).await?;
    let waiting = found.iter().find(|one| one.state == State::Sealed);
    let waiting = waiting.and_then(|one| one.since).map(|since| imports.clock.now() - since);
    let age = waiting.and_then(|time| time.to_std().ok()).unwrap_or_default();
    imports.meter.gauge(&catalog::IMPORTS_WAITING_AGE, NONE).set(age.as_secs_f64());
    // A state without imports is reported as 0.
    let none = State::ALL.iter().filter(|state| !state.is_end()).map(|state| (*state, 0));
    let counted = found.iter().map(|one| (one.state, one.count));
    let label = |(state, count): (State, u32)| (vec![state.to_string()], f64::from(count));
    states.show(none.chain(counted).map(label), |one, other| one + other);
    Ok(())
}
