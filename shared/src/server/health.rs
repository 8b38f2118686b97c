//! Whether a replica can serve: its database answers, and it is not stopping.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    db::{Outage, Probe, plainly},
    meter::{Meter, NONE, catalog},
};

/// How often the database is asked.
const EVERY: Duration = Duration::from_secs(2);

/// How long its answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether a replica can serve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// It can.
    #[default]
    Ready,
    /// Its database does not answer.
    NoDatabase,
    /// It is stopping: it takes no new calls, and brings those under way to their
    /// end.
    Draining,
}

impl State {
    /// In words, with the reason why the database does not take writes.
    pub(super) fn text(self, takes_no_writes: Option<Outage>) -> String {
        let cause = takes_no_writes.and_then(Outage::of_the_database);
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

/// The [`State`] of a replica, for all who look at it.
#[derive(Clone, Debug, Default)]
pub(super) struct Readiness(Arc<watch::Sender<State>>);

impl Readiness {
    pub(super) fn state(&self) -> State {
        *self.0.borrow()
    }

    /// Whether the state is another one now. Whoever drains goes on to the end.
    fn becomes(&self, state: State) -> bool {
        self.0.send_if_modified(|current| {
            let changes = *current != state && *current != State::Draining;
            if changes {
                *current = state;
            }
            changes
        })
    }
}

/// Tells the standard health service, for each service and for all of them, whose
/// name is empty.
pub(super) async fn tell(health: &HealthReporter, names: &[&'static str], state: State) {
    let status = match state {
        State::Ready => ServingStatus::Serving,
        State::NoDatabase | State::Draining => ServingStatus::NotServing,
    };
    for name in names.iter().copied().chain([""]) {
        health.set_service_status(name, status).await;
    }
}

/// Tells it of every change.
pub(super) async fn report(
    mut health: HealthReporter,
    names: Vec<&'static str>,
    readiness: Readiness,
) {
    let mut states = readiness.0.subscribe();
    loop {
        let state = *states.borrow_and_update();
        tell(&health, &names, state).await;
        if state == State::Draining {
            // Whoever watches has heard the last word: an open stream would hold up
            // the drain.
            for name in names.iter().copied().chain([""]) {
                health.clear_service_status(name).await;
            }
            return;
        }
        // The sender is held here.
        if states.changed().await.is_err() {
            return;
        }
    }
}

/// Asks the database again and again until the replica drains.
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
            answered = tokio::time::timeout(PATIENCE, probe.ask()) => answered,
        };
        match answered {
            Ok(Ok(())) => {
                up.set(1.0);
                if readiness.becomes(State::Ready) {
                    tracing::info!("the database answers again: this replica serves");
                }
            }
            failed => {
                up.set(0.0);
                if readiness.becomes(State::NoDatabase) {
                    let error = match &failed {
                        Ok(Err(error)) => plainly(error).to_string(),
                        _ => format!("no answer in {} s", PATIENCE.as_secs()),
                    };
                    tracing::warn!(
                        error,
                        "the database does not answer: this replica does not serve"
                    );
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
    readiness.becomes(State::Draining);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_drains_does_not_serve_again() {
        let readiness = Readiness::default();
        assert!(!readiness.becomes(State::Ready));
        assert!(readiness.becomes(State::NoDatabase) && readiness.becomes(State::Ready));
        assert!(readiness.becomes(State::Draining));
        assert!(!readiness.becomes(State::Ready) && !readiness.becomes(State::NoDatabase));
        assert_eq!(readiness.state(), State::Draining);
    }
}
