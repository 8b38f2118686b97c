//! The readiness of a replica: its database responds, and it is not draining.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::meter::{Meter, NONE, catalog};
use concord_db::{Outage, Probe, redacted};

/// The interval between two probes of the database.
const PROBE_INTERVAL: Duration = Duration::from_secs(2);

/// The timeout of a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// The readiness of a replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// The replica serves.
    #[default]
    Ready,
    /// The database does not respond.
    NoDatabase,
    /// The replica shuts down: it rejects new calls, and completes those in progress.
    Draining,
}

impl State {
    /// The text of `/readyz`, with the cause why the database rejects writes.
    pub(super) fn text(self, write_outage: Option<Outage>) -> String {
        let cause = write_outage.and_then(Outage::database_cause);
        match (self, cause) {
            (Self::Ready, Some(cause)) => format!("{}, but writes fail: {cause}", self.word()),
            _ => self.word().to_owned(),
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::NoDatabase => "the database does not answer",
            Self::Draining => "draining",
        }
    }
}

/// The shared [`State`] of a replica.
#[derive(Clone, Debug, Default)]
pub(super) struct Readiness(Arc<watch::Sender<State>>);

impl Readiness {
    pub(super) fn state(&self) -> State {
        *self.0.borrow()
    }

    /// Changes the state; `true` if it was another one. Draining is final.
    fn transition(&self, state: State) -> bool {
        self.0.send_if_modified(|current| {
            let changes = *current != state && *current != State::Draining;
            if changes {
                *current = state;
            }
            changes
        })
    }
}

/// Sets the status in the standard health service, for each service and for the server as
/// a whole, whose name is empty.
pub(super) async fn set_status(health: &HealthReporter, names: &[&'static str], state: State) {
    let status = match state {
        State::Ready => ServingStatus::Serving,
        State::NoDatabase | State::Draining => ServingStatus::NotServing,
    };
    for name in names.iter().copied().chain([""]) {
        health.set_service_status(name, status).await;
    }
}

/// Reports each change of the readiness to the standard health service.
pub(super) async fn report(
    mut health: HealthReporter,
    names: Vec<&'static str>,
    readiness: Readiness,
) {
    let mut states = readiness.0.subscribe();
    loop {
        let state = *states.borrow_and_update();
        set_status(&health, &names, state).await;
        if state == State::Draining {
            // Ends the open streams of Watch, which would delay the drain.
            for name in names.iter().copied().chain([""]) {
                health.clear_service_status(name).await;
            }
            return;
        }
        if states.changed().await.is_err() {
            return;
        }
    }
}

/// Probes the database at an interval until the replica drains.
pub(super) async fn probe(
    mut probe: Probe,
    meter: Meter,
    readiness: Readiness,
    stop: CancellationToken,
) {
    let up = meter.gauge(&catalog::DATABASE_UP, NONE);
    loop {
        let answered = tokio::select! {
            () = stop.cancelled() => break,
            answered = tokio::time::timeout(PROBE_TIMEOUT, probe.check()) => answered,
        };
        match answered {
            Ok(Ok(())) => {
                up.set(1.0);
                if readiness.transition(State::Ready) {
                    tracing::info!("the database responds again: the replica is ready");
                }
            }
            failed => {
                up.set(0.0);
                if readiness.transition(State::NoDatabase) {
                    let error = match &failed {
                        Ok(Err(error)) => redacted(error).to_string(),
                        _ => format!("no answer in {} s", PROBE_TIMEOUT.as_secs()),
                    };
                    tracing::warn!(
                        error,
                        "the database does not respond: the replica is not ready"
                    );
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(PROBE_INTERVAL) => {}
        }
    }
    readiness.transition(State::Draining);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draining_state_is_final() {
        let readiness = Readiness::default();
        assert!(!readiness.transition(State::Ready));
        assert!(readiness.transition(State::NoDatabase) && readiness.transition(State::Ready));
        assert!(readiness.transition(State::Draining));
        assert!(!readiness.transition(State::Ready) && !readiness.transition(State::NoDatabase));
        assert_eq!(readiness.state(), State::Draining);
    }
}
