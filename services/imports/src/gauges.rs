//! Numbers that stand in the database: looked up now and then, not whenever somebody
//! reads the metrics.

use std::time::Duration;

use shared::meter::{GaugeFamily, NONE, catalog};

use crate::{domain::words::State, error::ImportError, service::Imports, store};

/// How often they are looked up.
const ROUND: Duration = Duration::from_secs(10);

/// Looks them up until the service stops.
pub(crate) async fn run(imports: Imports) {
    let mut states = GaugeFamily::new(&imports.meter, &catalog::IMPORTS);
    loop {
        if let Err(error) = look(&imports, &mut states).await {
            tracing::debug!(%error, "the numbers of the imports could not be looked up");
        }
        tokio::select! {
            () = imports.stop.cancelled() => return,
            () = tokio::time::sleep(ROUND) => {}
        }
    }
}

async fn look(imports: &Imports, states: &mut GaugeFamily) -> Result<(), ImportError> {
    let found = store::gauges::unfinished(imports.db.reader()).await?;
    let waiting = found.iter().find(|one| one.state == State::Sealed);
    let waiting = waiting.and_then(|one| one.since).map(|since| imports.clock.now() - since);
    let age = waiting.and_then(|time| time.to_std().ok()).unwrap_or_default();
    imports.meter.gauge(&catalog::IMPORTS_WAITING_AGE, NONE).set(age.as_secs_f64());
    // None of a state is a number too.
    let none = State::ALL.iter().filter(|state| !state.is_end()).map(|state| (*state, 0));
    let counted = found.iter().map(|one| (one.state, one.count));
    let label = |(state, count): (State, u32)| (vec![state.to_string()], f64::from(count));
    states.show(none.chain(counted).map(label), |one, other| one + other);
    Ok(())
}
